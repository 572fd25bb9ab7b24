//! A name that is taken: by an earlier attempt of this execution, whose resource is adopted, or by
//! somebody else, whose resource is left alone.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbInstance, DbSnapshot, Tag};

use crate::describe::{find_instance, find_snapshot};
use crate::error::Error;
use crate::ids::{InstanceId, SnapshotId};
use crate::owner::{Owner, execution_of, source_of};

pub async fn adopt_snapshot(client: &Client, id: &SnapshotId, owner: &Owner) -> Result<DbSnapshot, Error> {
    let snapshot = find_snapshot(client, id).await?.ok_or_else(|| {
        Error::SnapshotNotFound(format!("DB snapshot `{id}` was there a moment ago and is gone: something deletes it"))
    })?;
    if owner.owns(snapshot.tag_list()) {
        return Ok(snapshot);
    }
    let remedy = format!("aws rds delete-db-snapshot --db-snapshot-identifier {id}");
    Err(conflict(&format!("DB snapshot `{id}`"), snapshot.tag_list(), &remedy))
}

pub async fn adopt_instance(client: &Client, id: &InstanceId, owner: &Owner) -> Result<DbInstance, Error> {
    let instance = find_instance(client, id).await?.ok_or_else(|| {
        Error::InstanceNotFound(format!("DB instance `{id}` was there a moment ago and is gone: something deletes it"))
    })?;
    if owner.owns(instance.tag_list()) {
        return Ok(instance);
    }
    let remedy = format!("aws rds delete-db-instance --db-instance-identifier {id}");
    Err(conflict(&format!("DB instance `{id}`"), instance.tag_list(), &remedy))
}

/// Says whose the resource is, and how its owner can make room for it.
pub fn conflict(resource: &str, tags: &[Tag], delete_command: &str) -> Error {
    Error::NameConflict(match (execution_of(tags), source_of(tags)) {
        (Some(execution), _) => format!(
            "{resource} was made by the execution {execution}. If that still runs, wait for it. If it ended and left \
             this behind, go on with it by adding \"resume\": \"{execution}\" to the input, or, if you do not need \
             it: {delete_command}"
        ),
        (None, Some(source)) => format!(
            "{resource} is the result of an earlier execution of rds-encrypt for the instance {source}. Choose \
             another `target_instance_id`, or, if you do not need it: {delete_command}"
        ),
        (None, None) => format!(
            "{resource} exists and was not made by rds-encrypt, so it is left alone. Choose another \
             `target_instance_id`, or rename or delete the resource"
        ),
    })
}
