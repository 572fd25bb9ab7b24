//! What a failed execution says: the first error's name, its cause in plain words, what still exists.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use workflow::options::{OnFailure, Way};
use workflow::sweep::still_there;

use crate::Response;
use crate::document::{Document, Planned};

/// What a Catch puts into the state.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Caught {
    #[serde(rename = "Error")]
    pub error: String,
    /// Text, or the JSON in which Lambda wraps an error of ours; a time-out can come without one.
    #[serde(rename = "Cause", default)]
    pub cause: String,
}

/// What the Fail state and the mail take.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    pub error: String,
    pub cause: String,
    /// Of the mail.
    pub subject: String,
}

/// For an execution that failed before its plan was made.
pub(crate) fn nothing_was_created(document: &Document) -> Response {
    let (error, cause) = first_error(document);
    let instance = document.instance_id.as_deref().unwrap_or("an instance");
    // An execution that cannot be read leaves nobody knows what.
    let whole = document.recovery.as_ref().is_none_or(|recovery| recovery.execution.is_some());
    let result = if whole { "failed" } else { "needs you" };
    let failure = Failure { error, cause, subject: format!("rds-encrypt: {instance} {result}") };
    Response { ready: true, whole, failure: Some(failure), ..Response::default() }
}

pub(crate) fn compose(document: &Document, planned: &Planned, response: &Response, execution: &str) -> Failure {
    let (error, mut cause) = first_error(document);
    if let Some(stuck) = &response.stuck {
        let what = if response.past_commit_point { "NOT finished" } else { "NOT put back" };
        cause.push_str(&format!(" {what}: {stuck}."));
    }
    for note in &response.notes {
        cause.push_str(&format!(" {note}"));
    }
    let cause = format!("{cause} {}", outcome(document.way, planned, response, execution));
    let result = match document.recovery {
        None => "failed",
        Some(_) if !response.whole => "needs you",
        Some(_) if response.past_commit_point => "was finished",
        Some(_) if planned.options.on_failure == OnFailure::Keep => "was kept",
        Some(_) => "was undone",
    };
    Failure { error, cause, subject: format!("rds-encrypt: {} {result}", planned.instance_id) }
}

/// The name and the sentence of what went wrong first.
fn first_error(document: &Document) -> (String, String) {
    let Some(caught) = &document.error else {
        return ("StepFailed".to_owned(), "The state holds no error.".to_owned());
    };
    let of_nested = nested(caught);
    let caught = of_nested.as_ref().unwrap_or(caught);
    let error = public_name(&caught.error);
    // A time-out comes without a cause.
    let original = Some(caught.error.clone()).filter(|original| *original != error);
    let said = Some(plain(&caught.cause)).filter(|said| !said.is_empty());
    let mut cause = original.into_iter().chain(said).collect::<Vec<_>>().join(": ");
    if !cause.ends_with('.') {
        cause.push('.');
    }
    (error, cause)
}

/// What a nested execution failed of: Step Functions hands over the whole of DescribeExecution as text [A70].
fn nested(caught: &Caught) -> Option<Caught> {
    let described: Value = serde_json::from_str(&caught.cause).ok()?;
    let arn = described.get("ExecutionArn")?.as_str()?;
    let text = |field| described.get(field).and_then(Value::as_str).map(str::to_owned);
    let status = text("Status")?;
    // One that was stopped or outlived its time has neither.
    let cause = text("Cause").unwrap_or_else(|| format!("the nested execution {arn} ended as {status}"));
    Some(Caught { error: text("Error").unwrap_or_else(|| "StepFailed".to_owned()), cause })
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

fn outcome(way: Way, planned: &Planned, response: &Response, execution: &str) -> String {
    let Response { deleted, kept, remaining, .. } = response;
    let left = (!remaining.is_empty()).then(|| format!("NOT deleted: {}", still_there(remaining)));
    let undone = (!deleted.is_empty()).then(|| format!("Undone: deleted {}.", deleted.join(", ")));
    if response.stuck.is_some() {
        let kept = (!kept.is_empty()).then(|| format!("Left as it is: {}.", kept.join(", ")));
        let nothing = (kept.is_none() && left.is_none()).then(|| "Nothing that this execution made exists.".to_owned());
        let said = [undone, kept, left, nothing, Some(by_hand(execution))];
        return said.into_iter().flatten().collect::<Vec<_>>().join(" ");
    }
    if response.past_commit_point {
        let finished =
            format!("The target is proven and stays; what was left to do is done. Kept: {}.", kept.join(", "));
        let deleted = (!deleted.is_empty()).then(|| format!("Deleted: {}.", deleted.join(", ")));
        return [Some(finished), deleted, left].into_iter().flatten().collect::<Vec<_>>().join(" ");
    }
    if planned.options.on_failure == OnFailure::Keep {
        return match kept.as_slice() {
            [] => "Nothing of this execution exists.".to_owned(),
            // Without its slots a target follows its source no more.
            kept if way == Way::Online => format!("Left as it is, and replicated no more: {}.", kept.join(", ")),
            kept => format!("Left as it is: {}.{}", kept.join(", "), resume(execution)),
        };
    }
    match (undone, left) {
        (None, None) => "Nothing of this execution was there to delete.".to_owned(),
        (undone, left) => undone.into_iter().chain(left).collect::<Vec<_>>().join(" "),
    }
}

/// No plan can go on with it: the source has another name, or the name leads to the target.
fn by_hand(execution: &str) -> String {
    format!(
        "The state machine undo-instance does what is left to do: it starts by itself when an execution fails, and \
         again by hand, once the reason is gone, with {{\"executionArn\":\"{execution}\"}}."
    )
}

fn resume(execution: &str) -> String {
    let Some((machine, _)) = execution.rsplit_once(':') else { return String::new() };
    let machine = machine.replacen(":execution:", ":stateMachine:", 1);
    format!(
        " To go on with it, give the first input again and name this execution: aws stepfunctions start-execution \
         --state-machine-arn {machine} --input '{{…, \"resume\": \"{execution}\"}}'"
    )
}
