//! Reads what a finished execution of `encrypt-instance` knew, for the undo from outside: its last
//! state document, and whether it had passed the commit point.
//!
//! AWS calls: Step Functions DescribeExecution, GetExecutionHistory.
//!
//! Repeating it is safe: it only reads.

use std::collections::BTreeSet;

use aws_sdk_sfn::Client;
use aws_sdk_sfn::types::{ExecutionStatus, HistoryEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use workflow::Error;

/// Entered only once the target is proven and, with a cutover, has its name.
const AFTER_COMMIT: &str = "ProtectTarget";
/// Its own undo could not go on.
const UNDO_FAILED: &str = "UndoFailed";
/// Where an execution ends that has undone, kept or reported everything by itself.
const ENDS: &[&str] = &["Failed", "StepTimedOut"];

#[derive(Debug, Deserialize)]
pub struct Request {
    /// As an EventBridge event names it ("Step Functions Execution Status Change", `detail`), whose
    /// other fields are not needed.
    #[serde(rename = "executionArn")]
    pub execution_arn: String,
}

/// The execution's last state, with the fields that the undo's own loops start from, and `recovery`.
pub type Response = Map<String, Value>;

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// It succeeded, still runs, had created nothing, or has undone it by itself.
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
        return Ok(recovery(Map::new(), Action::Nothing, execution_arn, status));
    }
    let history = read_history(client, execution_arn).await?;
    let Some(mut state) = history.state else {
        return Ok(recovery(Map::new(), Action::Nothing, execution_arn, status));
    };
    let committed = history.entered_after_commit || state["restored_names"]["committed"] == true;
    let action = match (committed, history.looked_after_itself) {
        (true, _) => Action::Finish,
        (false, true) => Action::Nothing,
        (false, false) => Action::Undo,
    };
    // The Fail state's own words, or what ended the execution from outside.
    let cause =
        execution.cause().map_or_else(|| format!("The execution {execution_arn} ended as {status}."), str::to_owned);
    state.insert("error".to_owned(), json!({"Error": execution.error().unwrap_or(status.as_str()), "Cause": cause}));
    for loop_of_the_undo in
        ["undo", "undo_error", "restored_names", "unfenced", "target_renamed", "protected", "cleaned"]
    {
        state.insert(loop_of_the_undo.to_owned(), Value::Null);
    }
    Ok(recovery(state, action, execution_arn, status))
}

fn recovery(mut state: Response, action: Action, execution_arn: &str, status: &ExecutionStatus) -> Response {
    let recovery = json!({"action": action, "execution": execution_arn, "status": status.as_str()});
    state.insert("recovery".to_owned(), recovery);
    state
}

struct History {
    entered_after_commit: bool,
    looked_after_itself: bool,
    /// The input of the last state that was entered with the plan's fields.
    state: Option<Map<String, Value>>,
}

/// A history has at most 25,000 events, which is 25 calls.
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
        state,
    })
}

/// The state as the plan and the later steps left it; the input of the plan itself is not one.
fn planned(input: &str) -> Option<Map<String, Value>> {
    let Ok(Value::Object(state)) = serde_json::from_str(input) else { return None };
    ["owner", "options", "encrypted_instance_id"].iter().all(|field| state.contains_key(*field)).then_some(state)
}
