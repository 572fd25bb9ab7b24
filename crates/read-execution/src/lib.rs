//! Reads what an ended execution knew, for the undo from outside: its last state document, and whether
//! anything is left to do for it.
//!
//! AWS calls: Step Functions DescribeExecution, GetExecutionHistory, ListExecutions.
//!
//! Repeating it is safe: it only reads. Repeating the undo is safe, because it answers `nothing` where
//! another has been through or goes on with what was left: by then the source's name and security
//! groups can be another execution's affair.

use aws_sdk_sfn::Client;
use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
use aws_sdk_sfn::types::ExecutionStatus;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use workflow::Error;
use workflow::error::invalid;

mod successors;

/// The document that decides is the last one, some events before the end. A page with data can hold 256 KiB an
/// event, so that a few together fit into a function's memory and time [A22].
const EVENTS_A_PAGE: i32 = 25;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Whatever the undo was started with: `detail` of an EventBridge event ("Step Functions Execution Status
    /// Change"), or what a human wrote.
    pub input: Value,
    /// The execution of `undo-instance` that this is for.
    pub undo_execution_arn: String,
}

/// The execution's last state, and `recovery`.
pub type Response = Map<String, Value>;

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// It succeeded, still runs, had created nothing, or has undone it by itself; or another undo, or an
    /// execution that resumes it, looks after what it left.
    Nothing,
    Undo,
}

pub async fn handle(client: &Client, request: Request) -> Result<Response, Error> {
    let execution_arn = execution_in(&request.input)?;
    let answer = client.describe_execution().execution_arn(execution_arn).send().await;
    let execution = answer.map_err(|error| Error::from_call(format!("describe execution {execution_arn}"), error))?;
    let status = execution.status();
    if matches!(status, ExecutionStatus::Running | ExecutionStatus::Succeeded | ExecutionStatus::PendingRedrive) {
        return Ok(recovery(Map::new(), Action::Nothing, &execution));
    }
    let Some(mut state) = last_document(client, execution_arn).await? else {
        return Ok(recovery(Map::new(), Action::Nothing, &execution));
    };
    if looked_after_itself(&state)
        || successors::has_any(client, &execution, &state, &request.undo_execution_arn).await?
    {
        return Ok(recovery(Map::new(), Action::Nothing, &execution));
    }
    // The Fail state's own words, or what ended the execution from outside.
    let cause =
        execution.cause().map_or_else(|| format!("The execution {execution_arn} ended as {status}."), str::to_owned);
    state.insert("error".to_owned(), json!({"Error": execution.error().unwrap_or(status.as_str()), "Cause": cause}));
    for loop_of_the_undo in ["undo", "undo_error"] {
        state.insert(loop_of_the_undo.to_owned(), Value::Null);
    }
    Ok(recovery(state, Action::Undo, &execution))
}

fn execution_in(input: &Value) -> Result<&str, Error> {
    const FIELD: &str = "executionArn";
    let arn = input.get(FIELD).or_else(|| input.get("detail")?.get(FIELD));
    arn.and_then(Value::as_str).filter(|arn| arn.starts_with("arn:")).ok_or_else(|| {
        invalid(
            FIELD,
            "is missing; it names the execution to look after, as in {\"executionArn\": \"arn:aws:states:…\"}",
        )
    })
}

fn recovery(mut state: Response, action: Action, execution: &DescribeExecutionOutput) -> Response {
    let recovery =
        json!({"action": action, "execution": execution.execution_arn(), "status": execution.status().as_str()});
    state.insert("recovery".to_owned(), recovery);
    state
}

/// Whether its own undo came to its end, with everything as it should be.
fn looked_after_itself(state: &Map<String, Value>) -> bool {
    let undo = state.get("undo").unwrap_or(&Value::Null);
    undo["ready"] == true && undo["whole"] == true
}

/// The input of the last state that was entered with the plan's fields: it holds what every step before answered.
async fn last_document(client: &Client, execution_arn: &str) -> Result<Option<Map<String, Value>>, Error> {
    let mut pages = client
        .get_execution_history()
        .execution_arn(execution_arn)
        .reverse_order(true)
        .include_execution_data(true)
        .max_results(EVENTS_A_PAGE)
        .into_paginator()
        .items()
        .send();
    while let Some(event) = pages.next().await {
        let event = event.map_err(|error| Error::from_call(format!("read the history of {execution_arn}"), error))?;
        let input = event.state_entered_event_details().and_then(|details| details.input());
        if let Some(state) = input.and_then(planned) {
            return Ok(Some(state));
        }
    }
    Ok(None)
}

/// The state as the plan and the later steps left it; what came before the plan is not one.
fn planned(input: &str) -> Option<Map<String, Value>> {
    let Ok(Value::Object(state)) = serde_json::from_str(input) else { return None };
    ["owner", "options", "phase"].iter().all(|field| state.contains_key(*field)).then_some(state)
}

#[cfg(test)]
mod tests;
