//! Deletes the snapshots that a successful execution does not keep, or the deployment that is over, and says what
//! there is now.
//!
//! AWS calls: DescribeDBInstances, DescribeDBSnapshots, DeleteDBSnapshot; after a switchover
//! DescribeBlueGreenDeployments and DeleteBlueGreenDeployment, without its instances.
//!
//! It is one look of a loop. Repeating it is safe, because it works from the plan's names and looks at each
//! resource before it touches it: only what carries this execution's tag is deleted.

use aws_sdk_rds::Client;
use serde::Deserialize;
use workflow::Error;
use workflow::deployment;
use workflow::finish::{Finished, Finishing};
use workflow::sweep::still_there;

#[derive(Debug, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Snapshots {
        made: Finishing,
        /// The last answer of this loop.
        previous: Option<Finished>,
        max_wait_seconds: u64,
    },
    Deployment {
        made: deployment::Finishing,
        previous: Option<Finished>,
        max_wait_seconds: u64,
    },
}

pub async fn handle(client: &Client, request: Request) -> Result<Finished, Error> {
    let finished = match request {
        Request::Snapshots { made, previous, max_wait_seconds } => {
            made.look(client, previous, max_wait_seconds).await?
        }
        Request::Deployment { made, previous, max_wait_seconds } => {
            made.look(client, previous, max_wait_seconds).await?
        }
    };
    if finished.ready && !finished.remaining.is_empty() {
        return Err(Error::CleanUpFailed(still_there(&finished.remaining)));
    }
    Ok(finished)
}

#[cfg(test)]
mod tests;
