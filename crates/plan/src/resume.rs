//! Going on with what a finished execution left: this one takes over its ownership, so that every
//! step adopts what carries that execution's tag. Only one execution at a time may, and none while an
//! undo looks after just that.

use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::Value;
use workflow::Error;

use crate::Context;
use crate::executions::{Others, describe, input_of, is_plan_only, machine_of, text_in};

/// An execution that was itself resumed leads to the one before it; nobody resumes this often.
const RESUMES_MAX: usize = 20;

/// The execution whose tag this one works under: its own, or that of the one it resumes.
pub(crate) async fn owner(
    context: &Context,
    execution: &str,
    resume: Option<&str>,
    others: &Others,
) -> Result<String, Error> {
    let Some(resumed) = resume else { return Ok(execution.to_owned()) };
    let owner = first_of_chain(context, execution, resumed).await?;
    refuse_beside_another(context, &owner, others).await?;
    refuse_beside_an_undo(context, &owner, others).await?;
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
            "there is no execution {resumed} (Step Functions forgets them 90 days after their end); delete what it \
             left by its tag rds-encrypt:execution, and start anew"
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
/// are started at once, the later gives way.
async fn refuse_beside_another(context: &Context, owner: &str, others: &Others) -> Result<(), Error> {
    for other in &others.earlier {
        let Some(resumed) = resume_in(&other.input).filter(|_| !is_plan_only(&other.input)) else { continue };
        let first = match first_of_chain(context, &other.arn, &resumed).await {
            Ok(first) => first,
            // It resumes what cannot be resumed, and is about to fail.
            Err(Error::NotResumable(_)) => continue,
            Err(error) => return Err(error),
        };
        if first == owner {
            return Err(Error::NotResumable(format!(
                "{} goes on with {owner} already; wait for it, or stop it and resume it instead",
                other.arn
            )));
        }
    }
    Ok(())
}

/// The undo of the execution, or of one that resumed it before, would put back names and groups under this
/// one's hands, or delete what it adopts.
async fn refuse_beside_an_undo(context: &Context, owner: &str, others: &Others) -> Result<(), Error> {
    for undo in &others.undos {
        if leads_to(context, &undo.of, owner).await? {
            return Err(Error::NotResumable(format!(
                "{} still looks after what {} left; wait for its end, then resume again (or, if it mailed `was \
                 undone`, start anew)",
                undo.arn, undo.of
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

/// Whether an execution of this input leaves what it made when it fails.
fn keeps(input: &Value) -> bool {
    input.get("on_failure").and_then(Value::as_str) == Some("keep")
}

fn resume_in(input: &Value) -> Option<String> {
    text_in(input, "resume")
}
