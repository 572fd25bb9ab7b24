//! Deletes the snapshots that a successful execution does not keep, and says what there is now.
//!
//! AWS calls: DescribeDBInstances, DescribeDBSnapshots, DeleteDBSnapshot.
//!
//! It is one look of a loop. Repeating it is safe, because it works from the plan's names and looks at each
//! snapshot before it touches it: only what carries this execution's tag is deleted.

use aws_sdk_rds::Client;
use serde::Deserialize;
use workflow::Error;
use workflow::finish::{Finished, Finishing};
use workflow::sweep::still_there;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub made: Finishing,
    /// The last answer of this loop.
    pub previous: Option<Finished>,
    pub max_wait_seconds: u64,
}

pub async fn handle(client: &Client, request: Request) -> Result<Finished, Error> {
    let finished = request.made.look(client, request.previous, request.max_wait_seconds).await?;
    if finished.ready && !finished.remaining.is_empty() {
        return Err(Error::CleanUpFailed(still_there(&finished.remaining)));
    }
    Ok(finished)
}

#[cfg(test)]
mod tests;
