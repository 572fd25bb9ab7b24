//! What a failed execution says: the first error's name, its cause in plain words, what still exists.

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    let mut cause = plain(&caught.cause);
    if error != caught.error {
        cause = format!("{}: {cause}", caught.error);
    }
    if !cause.ends_with('.') {
        cause.push('.');
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
    let mut said = match request.task {
        Task::Report if response.kept.is_empty() => "Nothing of this execution exists.".to_owned(),
        Task::Report => format!("Left as it is: {}.", response.kept.join(", ")),
        _ if response.deleted.is_empty() => "Nothing of this execution was there to delete.".to_owned(),
        _ => format!("Undone: deleted {}.", response.deleted.join(", ")),
    };
    if !response.remaining.is_empty() {
        said.push_str(&format!(" NOT deleted: {}", still_there(&response.remaining)));
    }
    said
}

pub(crate) fn still_there(remaining: &[String]) -> String {
    format!("{}. Delete it by hand once the reason is gone.", remaining.join("; "))
}
