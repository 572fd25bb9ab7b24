//! Who looks after what an execution left, if not this undo.

use aws_sdk_sfn::Client;
use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
use aws_sdk_sfn::types::{ExecutionListItem, ExecutionStatus};
use serde_json::{Map, Value};
use workflow::Error;

use crate::read_history;

/// Whether the execution was undone (or finished, or kept on purpose) already, or is being resumed.
/// (ListExecutions is eventually consistent: what ended or began within the last seconds can be missing.)
pub(crate) async fn has_any(
    client: &Client,
    execution: &DescribeExecutionOutput,
    state: &Map<String, Value>,
    undo_state_machine_arn: &str,
) -> Result<bool, Error> {
    let this = execution.execution_arn();
    for undo in list(client, undo_state_machine_arn, ExecutionStatus::Succeeded).await? {
        // One that began before the end found nothing to do.
        if execution.stop_date().is_none_or(|end| undo.start_date().as_nanos() < end.as_nanos()) {
            continue;
        }
        if input_field(client, undo.execution_arn(), "executionArn").await?.as_deref() == Some(this) {
            return Ok(true);
        }
    }
    let owner = state.get("owner").and_then(|owner| owner.get("execution")).and_then(Value::as_str);
    for other in list(client, execution.state_machine_arn(), ExecutionStatus::Running).await? {
        let resumed = input_field(client, other.execution_arn(), "resume").await?;
        let resumes_it = resumed.as_deref() == Some(this) || resumed.is_some() && resumed.as_deref() == owner;
        // Before its plan is made it owns nothing, and it may be refused.
        if resumes_it && read_history(client, other.execution_arn()).await?.state.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn list(client: &Client, machine: &str, status: ExecutionStatus) -> Result<Vec<ExecutionListItem>, Error> {
    let call = client.list_executions().state_machine_arn(machine).status_filter(status).into_paginator().items();
    let executions: Result<_, _> = call.send().collect().await;
    executions.map_err(|error| Error::from_call(format!("list the executions of {machine}"), error))
}

async fn input_field(client: &Client, execution_arn: &str, field: &str) -> Result<Option<String>, Error> {
    let call = client.describe_execution().execution_arn(execution_arn);
    let execution = match call.send().await {
        // Step Functions forgets them 90 days after their end.
        Err(error) if error.as_service_error().is_some_and(|error| error.is_execution_does_not_exist()) => {
            return Ok(None);
        }
        answer => answer.map_err(|error| Error::from_call(format!("describe execution {execution_arn}"), error))?,
    };
    let input: Option<Value> = execution.input().and_then(|input| serde_json::from_str(input).ok());
    Ok(input.and_then(|input| input.get(field)?.as_str().map(str::to_owned)))
}
