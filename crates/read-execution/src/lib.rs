//! Reads what a finished execution of `encrypt-instance` knew, for the undo from outside: its last
//! state document, and whether it had passed the commit point.
//!
//! AWS calls: Step Functions DescribeExecution, GetExecutionHistory, ListExecutions.
//!
//! Repeating it is safe: it only reads. Repeating the undo is safe, because it answers `nothing` where
//! another has been through or goes on with what was left: by then the source's name and security
//! groups can be another execution's affair.

use std::collections::BTreeSet;

use aws_sdk_sfn::Client;
use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
use aws_sdk_sfn::types::{ExecutionStatus, HistoryEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use workflow::Error;

mod successors;

/// Entered only once the target is proven and, with a cutover, has its name.
const AFTER_COMMIT: &str = "ProtectTarget";
/// Its own undo could not go on.
const UNDO_FAILED: &str = "UndoFailed";
/// Where an execution ends that has undone, kept or reported everything by itself.
const ENDS: &[&str] = &["Failed", "StepTimedOut"];
/// From the first of these on, the source may have other security groups or another name.
const CUTOVER: &[&str] = &["FenceSource", "RenameSource"];

#[derive(Debug, Deserialize)]
pub struct Request {
    /// As an EventBridge event names it ("Step Functions Execution Status Change", `detail`), whose
    /// other fields are not needed.
    #[serde(rename = "executionArn")]
    pub execution_arn: String,
    /// The execution of `undo-instance` that this is for.
    pub undo_execution_arn: String,
}

/// The execution's last state, with the fields that the undo's own loops start from, and `recovery`.
pub type Response = Map<String, Value>;

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// It succeeded, still runs, had created nothing, or has undone it by itself; or another undo, or an
    /// execution that resumes it, looks after what it left.
    Nothing,
    Undo,
    /// The target is proven: what is left is to release and protect it and to clean up.
    Finish,
}

pub async fn handle(client: &Client, request: Request) -> Result<Response, Error> {
    let execution_arn = &request.execution_arn;
    let answer = client.describe_execution().execution_arn(execution_arn).send().await;
    let execution = answer.map_err(|error| Error::from_call(format!("describe execution {execution_arn}"), error))?;
    let status = execution.status();
    if matches!(status, ExecutionStatus::Running | ExecutionStatus::Succeeded | ExecutionStatus::PendingRedrive) {
        return Ok(recovery(Map::new(), Action::Nothing, false, &execution));
    }
    let history = read_history(client, execution_arn).await?;
    let Some(mut state) = history.state else {
        return Ok(recovery(Map::new(), Action::Nothing, false, &execution));
    };
    let target_is_named = state.get("restored_names").is_some_and(|names| names["committed"] == true);
    let committed = history.entered_after_commit || target_is_named;
    // A name or a security group that it could not put back keeps clients from the source.
    // An undo that was refused something ends in order, too; the reason can be gone by now.
    let remaining = state.get("undo").and_then(|undo| undo.get("remaining")).and_then(Value::as_array);
    let looked_after_itself = history.looked_after_itself
        && state.get("undo_error").is_none_or(Value::is_null)
        && remaining.is_none_or(Vec::is_empty);
    let action = match (committed, looked_after_itself) {
        (true, _) => Action::Finish,
        (false, true) => Action::Nothing,
        (false, false) => Action::Undo,
    };
    if !matches!(action, Action::Nothing)
        && successors::has_any(client, &execution, &state, &request.undo_execution_arn).await?
    {
        return Ok(recovery(Map::new(), Action::Nothing, false, &execution));
    }
    // The Fail state's own words, or what ended the execution from outside.
    let cause =
        execution.cause().map_or_else(|| format!("The execution {execution_arn} ended as {status}."), str::to_owned);
    state.insert("error".to_owned(), json!({"Error": execution.error().unwrap_or(status.as_str()), "Cause": cause}));
    for loop_of_the_undo in
        ["undo", "undo_error", "restored_names", "unfenced", "target_renamed", "protected", "cleaned"]
    {
        state.insert(loop_of_the_undo.to_owned(), Value::Null);
    }
    Ok(recovery(state, action, history.cutover_began, &execution))
}

fn recovery(mut state: Response, action: Action, cutover_began: bool, execution: &DescribeExecutionOutput) -> Response {
    let recovery = json!({
        "action": action,
        "cutover_began": cutover_began,
        "execution": execution.execution_arn(),
        "status": execution.status().as_str(),
    });
    state.insert("recovery".to_owned(), recovery);
    state
}

struct History {
    entered_after_commit: bool,
    looked_after_itself: bool,
    cutover_began: bool,
    /// The input of the last state that was entered with the plan's fields.
    state: Option<Map<String, Value>>,
}

/// A history has at most 25,000 events, which is 25 calls [A22].
async fn read_history(client: &Client, execution_arn: &str) -> Result<History, Error> {
    let mut pages = client
        .get_execution_history()
        .execution_arn(execution_arn)
        .reverse_order(true)
        .include_execution_data(true)
        .max_results(1_000)
        .into_paginator()
        .items()
        .send();
    let mut entered = BTreeSet::new();
    let mut state = None;
    while let Some(event) = pages.next().await {
        let event: HistoryEvent =
            event.map_err(|error| Error::from_call(format!("read the history of {execution_arn}"), error))?;
        let Some(details) = event.state_entered_event_details() else { continue };
        entered.insert(details.name().to_owned());
        if state.is_none() {
            state = details.input().and_then(planned);
        }
    }
    Ok(History {
        entered_after_commit: entered.contains(AFTER_COMMIT),
        looked_after_itself: ENDS.iter().any(|end| entered.contains(*end)) && !entered.contains(UNDO_FAILED),
        cutover_began: CUTOVER.iter().any(|state| entered.contains(*state)),
        state,
    })
}

/// The state as the plan and the later steps left it; the input of the plan itself is not one.
fn planned(input: &str) -> Option<Map<String, Value>> {
    let Ok(Value::Object(state)) = serde_json::from_str(input) else { return None };
    ["owner", "options", "encrypted_instance_id"].iter().all(|field| state.contains_key(*field)).then_some(state)
}

#[cfg(test)]
mod tests;
