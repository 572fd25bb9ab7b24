//! Releases the proven target from this execution, and switches on what would have been in the undo's way.
//!
//! AWS calls: DescribeDBInstances, RemoveTagsFromResource, ModifyDBInstance.
//!
//! It is one look of a loop. Repeating it is safe, because it sets what differs, which is nothing the second time.

use aws_sdk_rds::Client;
use serde::Deserialize;
use workflow::Error;
use workflow::describe::find_by_resource_id;
use workflow::protect::{self, Protection};
use workflow::wanted::Wanted;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub target_resource_id: String,
    /// As the plan saw it; the source is looked at again.
    pub wanted: Wanted,
    pub previous: Option<Protection>,
    pub max_wait_seconds: u64,
}

pub async fn handle(client: &Client, request: Request) -> Result<Protection, Error> {
    let Request { target_resource_id, wanted, previous, max_wait_seconds } = request;
    let wanted = wanted.guarded(client).await?;
    let target = find_by_resource_id(client, &target_resource_id).await?.ok_or_else(|| {
        Error::InstanceNotFound(format!(
            "DB instance {target_resource_id} was proven by this execution and is gone: somebody deleted it"
        ))
    })?;
    protect::look(client, &target, &wanted, previous, max_wait_seconds).await
}

#[cfg(test)]
mod tests;
