//! Going on with what a finished execution left: this one takes over its ownership, so that every
//! step adopts what carries that execution's tag. Only one execution at a time may, and none while an
//! undo looks after just that.

use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
use aws_sdk_sfn::primitives::DateTime;
use aws_sdk_sfn::types::{ExecutionListItem, ExecutionStatus};
use serde_json::Value;
use workflow::Error;

use crate::Context;

/// An execution that was itself resumed leads to the one before it; nobody resumes this often.
const RESUMES_MAX: usize = 20;

/// The execution whose tag this one works under: its own, or that of the one it resumes.
pub(crate) async fn owner(context: &Context, execution: &str, resume: Option<&str>) -> Result<String, Error> {
    let Some(resumed) = resume else { return Ok(execution.to_owned()) };
    let owner = first_of_chain(context, execution, resumed).await?;
    refuse_beside_another(context, execution, &owner).await?;
    refuse_beside_an_undo(context, &owner).await?;
    Ok(owner)
}

/// Who made what the execution `resumed` left: itself, or the first of those that it resumed.
async fn first_of_chain(context: &Context, execution: &str, resumed: &str) -> Result<String, Error> {
    let mut owner = resumed.to_owned();
    for _ in 0..RESUMES_MAX {
        match finished(context, execution, &owner).await? {
            Some(earlier) => owner = earlier,
            None => return Ok(owner),
        }
    }
    Err(Error::NotResumable(format!("the chain of executions before {execution} has more than {RESUMES_MAX} links")))
}

/// Checks that an execution of this state machine is over, and returns the one that it resumed.
async fn finished(context: &Context, execution: &str, resumed: &str) -> Result<Option<String>, Error> {
    if machine_of(resumed) != machine_of(execution) {
        return Err(Error::NotResumable(format!(
            "{resumed} is an execution of another state machine than {execution}"
        )));
    }
    let Some(output) = describe(context, resumed).await? else {
        return Err(Error::NotResumable(format!(
            "there is no execution {resumed} (Step Functions forgets them 90 days after their end); delete what it left \
             by its tag rds-encrypt:execution, and start anew"
        )));
    };
    match output.status() {
        ExecutionStatus::Failed | ExecutionStatus::TimedOut | ExecutionStatus::Aborted => {
            let input = input_of(&output);
            if !keeps(&input) {
                // Its undo may be on its way at this moment, and would delete what this one adopts.
                return Err(Error::NotResumable(format!(
                    "{resumed} was to undo what it made, not to keep it (on_failure), so there is nothing to go on \
                     with; start anew without `resume`"
                )));
            }
            Ok(resume_in(&input))
        }
        ExecutionStatus::Succeeded => {
            Err(Error::NotResumable(format!("{resumed} succeeded; there is nothing to go on with")))
        }
        status => Err(Error::NotResumable(format!("{resumed} is {status}; stop it first, or wait for it"))),
    }
}

/// Two executions that go on with the same resources would each undo the other's work. Of two that
/// are started at once, the later gives way. (ListExecutions is eventually consistent: one that began
/// within the last seconds can be missing from it.)
async fn refuse_beside_another(context: &Context, execution: &str, owner: &str) -> Result<(), Error> {
    let Some(started) = describe(context, execution).await?.map(|this| order(this.start_date(), execution)) else {
        return Ok(());
    };
    let machine = machine_of(execution).unwrap_or_default().replacen(":execution:", ":stateMachine:", 1);
    for other in running(context, &machine).await? {
        let arn = other.execution_arn();
        if order(&other.start_date, arn) >= started {
            continue;
        }
        let Some(input) = describe(context, arn).await?.map(|other| input_of(&other)) else { continue };
        let Some(resumed) = resume_in(&input).filter(|_| input.get("plan_only") != Some(&Value::Bool(true))) else {
            continue;
        };
        let first = match first_of_chain(context, arn, &resumed).await {
            Ok(first) => first,
            // It resumes what cannot be resumed, and is about to fail.
            Err(Error::NotResumable(_)) => continue,
            Err(error) => return Err(error),
        };
        if first == owner {
            return Err(Error::NotResumable(format!(
                "{arn} goes on with {owner} already; wait for it, or stop it and resume it instead"
            )));
        }
    }
    Ok(())
}

/// The undo of the execution, or of one that resumed it before, would put back names and groups under this
/// one's hands, or delete what it adopts.
async fn refuse_beside_an_undo(context: &Context, owner: &str) -> Result<(), Error> {
    for undo in running(context, &context.undo_state_machine_arn).await? {
        let undo = undo.execution_arn();
        let Some(described) = describe(context, undo).await? else { continue };
        let Some(undone) = text_in(&input_of(&described), "executionArn") else { continue };
        if described.status() == &ExecutionStatus::Running && leads_to(context, &undone, owner).await? {
            return Err(Error::NotResumable(format!(
                "{undo} still looks after what {undone} left; wait for its end, then resume again (or, if it mailed `was \
                 undone`, start anew)"
            )));
        }
    }
    Ok(())
}

/// Whether an execution is that one, or resumed it, or one that did.
async fn leads_to(context: &Context, execution: &str, owner: &str) -> Result<bool, Error> {
    let mut link = execution.to_owned();
    for _ in 0..RESUMES_MAX {
        if link == owner {
            return Ok(true);
        }
        let input = describe(context, &link).await?.map(|link| input_of(&link));
        let Some(resumed) = input.as_ref().and_then(resume_in) else { return Ok(false) };
        link = resumed;
    }
    Ok(false)
}

async fn running(context: &Context, machine: &str) -> Result<Vec<ExecutionListItem>, Error> {
    let call = context.sfn.list_executions().state_machine_arn(machine).status_filter(ExecutionStatus::Running);
    let running: Result<_, _> = call.into_paginator().items().send().collect().await;
    running.map_err(|error| Error::from_call(format!("list the executions of {machine}"), error))
}

/// Who was first; a tie goes by name.
fn order(start: &DateTime, execution: &str) -> (i128, String) {
    (start.as_nanos(), execution.to_owned())
}

async fn describe(context: &Context, execution: &str) -> Result<Option<DescribeExecutionOutput>, Error> {
    match context.sfn.describe_execution().execution_arn(execution).send().await {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_execution_does_not_exist()) => Ok(None),
        Err(error) => Err(Error::from_call(format!("describe execution {execution}"), error)),
    }
}

fn input_of(execution: &DescribeExecutionOutput) -> Value {
    execution.input().and_then(|input| serde_json::from_str(input).ok()).unwrap_or_default()
}

/// Whether an execution of this input leaves what it made when it fails.
fn keeps(input: &Value) -> bool {
    input.get("on_failure").and_then(Value::as_str) == Some("keep")
}

fn resume_in(input: &Value) -> Option<String> {
    text_in(input, "resume")
}

fn text_in(input: &Value, field: &str) -> Option<String> {
    input.get(field).and_then(Value::as_str).map(str::to_owned)
}

/// `arn:…:execution:<machine>:<name>` without the name.
fn machine_of(execution: &str) -> Option<&str> {
    execution.rsplit_once(':').map(|(machine, _)| machine)
}
