//! Who looks after what an execution left, if not this undo.
//!
//! ListExecutions is eventually consistent: what began or ended within the last seconds can be missing.

use aws_sdk_sfn::Client;
use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
use aws_sdk_sfn::primitives::DateTime;
use aws_sdk_sfn::types::{ExecutionListItem, ExecutionStatus};
use serde_json::{Map, Value};
use workflow::Error;

use crate::last_document;

/// Whether another undo has looked after the execution, or does, or another execution goes on with what
/// it left.
pub(crate) async fn has_any(
    client: &Client,
    execution: &DescribeExecutionOutput,
    state: &Map<String, Value>,
    undo: &str,
) -> Result<bool, Error> {
    Ok(has_earlier_undo(client, execution, undo).await? || is_resumed(client, execution, state).await?)
}

/// Undone, finished or kept on purpose before, or by an undo that began before this one and still runs.
async fn has_earlier_undo(client: &Client, execution: &DescribeExecutionOutput, undo: &str) -> Result<bool, Error> {
    let Some(this) = describe(client, undo).await? else { return Ok(false) };
    let since = execution.stop_date();
    let machine = this.state_machine_arn();
    let mut others = list(client, machine, ExecutionStatus::Running, since).await?;
    others.retain(|other| order(other.start_date(), other.execution_arn()) < order(this.start_date(), undo));
    others.extend(list(client, machine, ExecutionStatus::Succeeded, since).await?);
    for other in others {
        let Some(other) = describe(client, other.execution_arn()).await? else { continue };
        let is_of_the_same = json(other.input())["executionArn"] == execution.execution_arn();
        // One that left it to somebody else has looked after nothing.
        if is_of_the_same && json(other.output())["recovery"]["action"] != "nothing" {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a running execution has taken over the ownership, and the source was ready for it: before, it can
/// still be refused.
async fn is_resumed(
    client: &Client,
    execution: &DescribeExecutionOutput,
    state: &Map<String, Value>,
) -> Result<bool, Error> {
    let owner = state.get("owner").and_then(|owner| owner.get("execution"));
    for other in list(client, execution.state_machine_arn(), ExecutionStatus::Running, None).await? {
        let Some(described) = describe(client, other.execution_arn()).await? else { continue };
        if json(described.input())["resume"].is_null() {
            continue;
        }
        let planned = last_document(client, other.execution_arn()).await?.map(Value::Object).unwrap_or_default();
        if owner == planned["owner"].get("execution") && planned["source"]["ready"] == true {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Those of a machine that have the status and began at that time or later, the latest first.
async fn list(
    client: &Client,
    machine: &str,
    status: ExecutionStatus,
    since: Option<&DateTime>,
) -> Result<Vec<ExecutionListItem>, Error> {
    let call = client.list_executions().state_machine_arn(machine).status_filter(status).max_results(1_000);
    let mut pages = call.into_paginator().items().send();
    let mut executions = vec![];
    while let Some(execution) = pages.next().await {
        let execution =
            execution.map_err(|error| Error::from_call(format!("list the executions of {machine}"), error))?;
        if since.is_some_and(|since| execution.start_date().as_nanos() < since.as_nanos()) {
            break;
        }
        executions.push(execution);
    }
    Ok(executions)
}

/// Nothing of an execution that Step Functions has forgotten, 90 days after its end.
async fn describe(client: &Client, execution_arn: &str) -> Result<Option<DescribeExecutionOutput>, Error> {
    match client.describe_execution().execution_arn(execution_arn).send().await {
        Ok(execution) => Ok(Some(execution)),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_execution_does_not_exist()) => Ok(None),
        Err(error) => Err(Error::from_call(format!("describe execution {execution_arn}"), error)),
    }
}

/// Who was first; a tie goes by name.
fn order<'a>(start: &DateTime, execution: &'a str) -> (i128, &'a str) {
    (start.as_nanos(), execution)
}

fn json(text: Option<&str>) -> Value {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}
