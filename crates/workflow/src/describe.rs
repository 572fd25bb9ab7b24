//! Reading one DB instance or snapshot by name, where "it is not there" is an answer, not an error.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbInstance, DbSnapshot, Filter, PendingModifiedValues};

use crate::error::Error;
use crate::ids::{InstanceId, SnapshotId};

pub async fn find_instance(client: &Client, id: &InstanceId) -> Result<Option<DbInstance>, Error> {
    let answer = client.describe_db_instances().db_instance_identifier(id.as_str()).send().await;
    match answer.map_err(|error| Error::from_call(format!("describe DB instance `{id}`"), error)) {
        Ok(output) => Ok(output.db_instances.unwrap_or_default().into_iter().next()),
        Err(Error::InstanceNotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

pub async fn find_snapshot(client: &Client, id: &SnapshotId) -> Result<Option<DbSnapshot>, Error> {
    let answer = client.describe_db_snapshots().db_snapshot_identifier(id.as_str()).send().await;
    match answer.map_err(|error| Error::from_call(format!("describe DB snapshot `{id}`"), error)) {
        Ok(output) => Ok(output.db_snapshots.unwrap_or_default().into_iter().next()),
        Err(Error::SnapshotNotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The target, which must be there and be the instance that this execution restored.
pub async fn find_target(client: &Client, id: &InstanceId, resource_id: Option<&str>) -> Result<DbInstance, Error> {
    let target = find_instance(client, id).await?.ok_or_else(|| {
        Error::InstanceNotFound(format!(
            "DB instance `{id}` was restored by this execution and is gone: somebody deleted or renamed it"
        ))
    })?;
    if resource_id.is_some() && target.dbi_resource_id() != resource_id {
        return Err(Error::InstanceNotFound(format!(
            "DB instance `{id}` is another instance now ({} instead of {}): somebody deleted or renamed ours",
            target.dbi_resource_id().unwrap_or("without a resource id"),
            resource_id.unwrap_or_default()
        )));
    }
    Ok(target)
}

/// Whether a modification was accepted and is not in force yet.
pub fn has_pending_modifications(instance: &DbInstance) -> bool {
    instance.pending_modified_values().is_some_and(|pending| *pending != PendingModifiedValues::builder().build())
}

/// The instance with this DbiResourceId, whatever it is called now; `None` while a rename hides it.
pub async fn find_by_resource_id(client: &Client, resource_id: &str) -> Result<Option<DbInstance>, Error> {
    let filter = Filter::builder().name("dbi-resource-id").values(resource_id).build();
    let answer = client.describe_db_instances().filters(filter).send().await;
    match answer.map_err(|error| Error::from_call(format!("find DB instance {resource_id}"), error)) {
        Ok(output) => Ok(output.db_instances.unwrap_or_default().into_iter().next()),
        Err(Error::InstanceNotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The identifier that an instance is being renamed to.
pub fn pending_identifier(instance: &DbInstance) -> Option<&str> {
    instance.pending_modified_values().and_then(PendingModifiedValues::db_instance_identifier)
}
