//! What Step Functions knows of other executions: which run beside this one, and which are being undone.

use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
use aws_sdk_sfn::primitives::DateTime;
use aws_sdk_sfn::types::{ExecutionListItem, ExecutionStatus};
use serde_json::Value;
use workflow::Error;

use crate::Context;

/// Those whose work could meet this execution's.
#[derive(Default)]
pub(crate) struct Others {
    /// Running executions of this machine that began before this one.
    pub(crate) earlier: Vec<Execution>,
    /// Running executions of the machine that undoes.
    pub(crate) undos: Vec<Undo>,
}

pub(crate) struct Execution {
    pub(crate) arn: String,
    pub(crate) input: Value,
}

pub(crate) struct Undo {
    pub(crate) arn: String,
    /// The ARN of the execution that it looks after.
    pub(crate) of: String,
}

impl Others {
    /// ListExecutions is eventually consistent: one that began within the last seconds can be missing.
    pub(crate) async fn of(context: &Context, execution: &str) -> Result<Self, Error> {
        let Some(started) = describe(context, execution).await?.map(|this| order(this.start_date(), execution)) else {
            return Ok(Self::default());
        };
        let mut others = Self::default();
        let machine = machine_of(execution).unwrap_or_default().replacen(":execution:", ":stateMachine:", 1);
        for other in running(context, &machine).await? {
            let arn = other.execution_arn;
            if order(&other.start_date, &arn) >= started {
                continue;
            }
            if let Some(input) = input_of_running(context, &arn).await? {
                others.earlier.push(Execution { arn, input });
            }
        }
        for undo in running(context, &context.undo_state_machine_arn).await? {
            let arn = undo.execution_arn;
            let input = input_of_running(context, &arn).await?;
            if let Some(of) = input.and_then(|input| text_in(&input, "executionArn")) {
                others.undos.push(Undo { arn, of });
            }
        }
        Ok(others)
    }
}

async fn running(context: &Context, machine: &str) -> Result<Vec<ExecutionListItem>, Error> {
    let call = context.sfn.list_executions().state_machine_arn(machine).status_filter(ExecutionStatus::Running);
    let running: Result<_, _> = call.into_paginator().items().send().collect().await;
    running.map_err(|error| Error::from_call(format!("list the executions of {machine}"), error))
}

/// The list can be seconds old: one that has ended meanwhile does not count.
async fn input_of_running(context: &Context, execution: &str) -> Result<Option<Value>, Error> {
    let described = describe(context, execution).await?;
    Ok(described
        .filter(|execution| *execution.status() == ExecutionStatus::Running)
        .map(|execution| input_of(&execution)))
}

/// Who was first; a tie goes by name.
fn order(start: &DateTime, execution: &str) -> (i128, String) {
    (start.as_nanos(), execution.to_owned())
}

pub(crate) async fn describe(context: &Context, execution: &str) -> Result<Option<DescribeExecutionOutput>, Error> {
    match context.sfn.describe_execution().execution_arn(execution).send().await {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_execution_does_not_exist()) => Ok(None),
        Err(error) => Err(Error::from_call(format!("describe execution {execution}"), error)),
    }
}

pub(crate) fn input_of(execution: &DescribeExecutionOutput) -> Value {
    execution.input().and_then(|input| serde_json::from_str(input).ok()).unwrap_or_default()
}

pub(crate) fn text_in(input: &Value, field: &str) -> Option<String> {
    input.get(field).and_then(Value::as_str).map(str::to_owned)
}

pub(crate) fn is_plan_only(input: &Value) -> bool {
    input.get("plan_only") == Some(&Value::Bool(true))
}

/// `arn:…:execution:<machine>:<name>` without the name.
pub(crate) fn machine_of(execution: &str) -> Option<&str> {
    execution.rsplit_once(':').map(|(machine, _)| machine)
}
