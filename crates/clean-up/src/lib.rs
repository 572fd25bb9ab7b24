//! Deletes what this execution made and does not keep: everything after a failure, the snapshots
//! that the input does not keep after a success.
//!
//! AWS calls: DescribeDBInstances, DescribeDBSnapshots, ModifyDBInstance (deletion protection off),
//! DeleteDBInstance, DeleteDBSnapshot.
//!
//! It is one look of a loop: it starts what can be started now and answers whether everything is
//! gone. Repeating it is safe, because it works from the plan's names and looks at each resource
//! before it touches it: only what carries this execution's tag is deleted, never the source.

mod failure;
mod sweep;
#[cfg(test)]
mod tests;

use aws_sdk_rds::Client;
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::ids::{InstanceId, SnapshotId};
use workflow::options::{OnFailure, Snapshots};
use workflow::owner::Owner;
use workflow::wait::Wait;

pub use crate::failure::{Caught, Failure};
use crate::sweep::Sweep;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub task: Task,
    pub owner: Owner,
    pub no_encrypted_snapshot_id: SnapshotId,
    pub encrypted_snapshot_id: SnapshotId,
    pub encrypted_instance_id: InstanceId,
    /// The target's DbiResourceId, where the state knows it.
    pub target_resource_id: Option<String>,
    pub snapshots: Snapshots,
    pub on_failure: OnFailure,
    /// What the failed step's Catch caught.
    pub error: Option<Caught>,
    /// Why the source's name or security groups could not be put back.
    pub undo_error: Option<Caught>,
    /// The failed execution's ARN, for the command that resumes it.
    pub execution: Option<String>,
    /// The last answer of this loop.
    pub previous: Option<Response>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// After a failure before the target is proven: delete all three resources.
    Undo,
    /// After a failure that leaves everything: say what exists.
    Report,
    /// After the target is proven: delete the snapshots that the input does not keep.
    Finish,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Response {
    pub ready: bool,
    /// Deleted by this loop, as `DB snapshot ‹id›`.
    pub deleted: Vec<String>,
    /// Kept on purpose.
    pub kept: Vec<String>,
    /// Still there although it should not be, each with the reason.
    pub remaining: Vec<String>,
    /// The target has the source's name or is released: nothing deletes it any more.
    pub past_commit_point: bool,
    /// Everything was gone at the last look already.
    pub gone_before: bool,
    /// For the Fail state: the first error's name and cause, and what still exists.
    pub failure: Option<Failure>,
    pub wait: Wait,
}

pub async fn handle(client: &Client, request: Request) -> Result<Response, Error> {
    let mut sweep = Sweep::new(client, &request);
    match request.task {
        Task::Undo => sweep.undo().await?,
        Task::Report => sweep.report().await?,
        Task::Finish => sweep.finish().await?,
    }
    let mut response = sweep.into_response();
    if !response.ready {
        return Ok(response);
    }
    match request.task {
        Task::Undo | Task::Report => response.failure = Some(failure::compose(&request, &response)),
        Task::Finish if response.remaining.is_empty() => {}
        Task::Finish => return Err(Error::CleanUpFailed(failure::still_there(&response.remaining))),
    }
    Ok(response)
}
