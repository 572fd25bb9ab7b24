//! Going on with what a finished execution left: this one takes over its ownership, so that every
//! step adopts what carries that execution's tag.

use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::Value;
use workflow::Error;

use crate::Context;

/// An execution that was itself resumed leads to the one before it; nobody resumes this often.
const RESUMES_MAX: usize = 20;

/// The execution whose tag this one works under: its own, or that of the one it resumes.
pub(crate) async fn owner(context: &Context, execution: &str, resume: Option<&str>) -> Result<String, Error> {
    let mut owner = execution.to_owned();
    let mut next = resume.map(str::to_owned);
    for _ in 0..RESUMES_MAX {
        let Some(resumed) = next else { return Ok(owner) };
        next = finished(context, execution, &resumed).await?;
        owner = resumed;
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
    let answer = context.sfn.describe_execution().execution_arn(resumed).send().await;
    let output = match answer {
        Ok(output) => output,
        Err(error) if error.as_service_error().is_some_and(|error| error.is_execution_does_not_exist()) => {
            return Err(Error::NotResumable(format!(
                "there is no execution {resumed} (Step Functions forgets them 90 days after their end); delete what it \
                 left by its tag rds-encrypt:execution, and start anew"
            )));
        }
        Err(error) => return Err(Error::from_call(format!("describe execution {resumed}"), error)),
    };
    match output.status() {
        ExecutionStatus::Failed | ExecutionStatus::TimedOut | ExecutionStatus::Aborted => {
            let input: Value = output.input().and_then(|input| serde_json::from_str(input).ok()).unwrap_or_default();
            if input.get("on_failure").and_then(Value::as_str) != Some("keep") {
                // Its undo may be on its way at this moment, and would delete what this one adopts.
                return Err(Error::NotResumable(format!(
                    "{resumed} was to undo what it made, not to keep it (on_failure), so there is nothing to go on \
                     with; start anew without `resume`"
                )));
            }
            Ok(input.get("resume").and_then(Value::as_str).map(str::to_owned))
        }
        ExecutionStatus::Succeeded => {
            Err(Error::NotResumable(format!("{resumed} succeeded; there is nothing to go on with")))
        }
        status => Err(Error::NotResumable(format!("{resumed} is {status}; stop it first, or wait for it"))),
    }
}

/// `arn:…:execution:<machine>:<name>` without the name.
fn machine_of(execution: &str) -> Option<&str> {
    execution.rsplit_once(':').map(|(machine, _)| machine)
}
