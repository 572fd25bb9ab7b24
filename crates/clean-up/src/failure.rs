//! What a failed execution says: the first error's name, its cause in plain words, what still exists.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use workflow::options::OnFailure;

use crate::{Request, Response, Task};

/// What a Catch puts into the state.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Caught {
    #[serde(rename = "Error")]
    pub error: String,
    /// Text, or the JSON in which Lambda wraps an error of ours.
    #[serde(rename = "Cause", default)]
    pub cause: String,
}

/// What the Fail state takes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Failure {
    pub error: String,
    pub cause: String,
}

pub(crate) fn compose(request: &Request, response: &Response) -> Failure {
    let nothing = Caught { error: "Unknown".to_owned(), cause: "the state holds no error".to_owned() };
    let caught = request.error.as_ref().unwrap_or(&nothing);
    let error = public_name(&caught.error);
    // A time-out comes without a cause.
    let original = Some(caught.error.clone()).filter(|original| *original != error);
    let said = Some(plain(&caught.cause)).filter(|said| !said.is_empty());
    let mut cause = original.into_iter().chain(said).collect::<Vec<_>>().join(": ");
    if !cause.ends_with('.') {
        cause.push('.');
    }
    if let Some(Caught { error, cause: why }) = &request.undo_error {
        let why = plain(why);
        cause.push_str(&format!(" NOT put back: the name or the security groups of the source ({error}: {why})."));
    }
    Failure { error, cause: format!("{cause} {}", outcome(request, response)) }
}

/// Step Functions refuses a Fail state's error name that begins with `States.`.
fn public_name(error: &str) -> String {
    match error {
        "States.Timeout" | "Sandbox.Timedout" => "StepTimedOut",
        reserved if reserved.starts_with("States.") => "StepFailed",
        other => other,
    }
    .to_owned()
}

/// Lambda hands an error over as `{"errorType": …, "errorMessage": …}`; a time-out is plain text.
fn plain(cause: &str) -> String {
    let wrapped: Option<Value> = serde_json::from_str(cause).ok();
    let message = wrapped.as_ref().and_then(|wrapped| wrapped.get("errorMessage")).and_then(Value::as_str);
    message.unwrap_or(cause).trim().to_owned()
}

fn outcome(request: &Request, response: &Response) -> String {
    let Response { deleted, kept, remaining, .. } = response;
    if request.task == Task::Report {
        return match kept.as_slice() {
            [] => "Nothing of this execution exists.".to_owned(),
            kept => format!("Left as it is: {}.{}", kept.join(", "), way_on(request, response)),
        };
    }
    let undone = (!deleted.is_empty()).then(|| format!("Undone: deleted {}.", deleted.join(", ")));
    let left = (!remaining.is_empty()).then(|| format!("NOT deleted: {}", still_there(remaining)));
    match (undone, left) {
        (None, None) => "Nothing of this execution was there to delete.".to_owned(),
        (undone, left) => undone.into_iter().chain(left).collect::<Vec<_>>().join(" "),
    }
}

/// How to go on with what was left.
fn way_on(request: &Request, response: &Response) -> String {
    // What was to be undone is only left where that cannot be any more, although somebody may have deleted the target.
    let past_commit_point = response.past_commit_point || request.on_failure == OnFailure::Undo;
    if past_commit_point || request.undo_error.is_some() {
        // No plan can: the source has another name, or the name leads to the target.
        let execution = request.execution.as_deref().unwrap_or_default();
        return format!(
            " The state machine undo-instance does what is left to do: it starts by itself when an execution fails, and \
             again by hand, once the reason is gone, with {{\"executionArn\":\"{execution}\"}}."
        );
    }
    let machine = request.execution.as_deref().and_then(|execution| {
        let (machine, _) = execution.rsplit_once(':')?;
        Some((execution, machine.replacen(":execution:", ":stateMachine:", 1)))
    });
    match (machine, &request.error) {
        (Some((execution, machine)), Some(_)) => format!(
            " To go on with it, give the first input again and name this execution: aws stepfunctions start-execution \
             --state-machine-arn {machine} --input '{{…, \"resume\": \"{execution}\"}}'"
        ),
        _ => String::new(),
    }
}

pub(crate) fn still_there(remaining: &[String]) -> String {
    format!("{}. Delete it by hand once the reason is gone.", remaining.join("; "))
}
