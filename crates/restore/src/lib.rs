//! Restores the encrypted copy as the target instance, with every setting that a restore can take.
//!
//! AWS calls: RestoreDBInstanceFromDBSnapshot; DescribeDBInstances when the name is taken.
//!
//! Repeating it is safe: an instance of that name that carries this execution's tag is the one an
//! earlier attempt made. Any other is a `NameConflict`.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbInstance;
use serde::Deserialize;
use workflow::Error;
use workflow::adopt::adopt_instance;
use workflow::ids::{InstanceId, SnapshotId};
use workflow::look::Look;
use workflow::owner::{Owner, TagPair};
use workflow::settings::Settings;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub snapshot_id: SnapshotId,
    pub target_instance_id: InstanceId,
    pub settings: Settings,
    pub owner: Owner,
    pub tags: Vec<TagPair>,
}

pub async fn handle(client: &Client, request: Request) -> Result<Look, Error> {
    let Request { snapshot_id, target_instance_id, settings, owner, tags } = request;
    let answer = settings
        .for_restore()
        .db_snapshot_identifier(snapshot_id.as_str())
        .db_instance_identifier(target_instance_id.as_str())
        .set_tags(Some(owner.tags_with(&tags)))
        .send_with(client)
        .await;
    let instance = match answer {
        Ok(output) => output.db_instance.unwrap_or_else(|| DbInstance::builder().build()),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_db_instance_already_exists_fault()) => {
            adopt_instance(client, &target_instance_id, &owner).await?
        }
        Err(error) => {
            let operation = format!("restore DB instance `{target_instance_id}` from snapshot `{snapshot_id}`");
            return Err(Error::from_call(operation, error));
        }
    };
    Ok(Look {
        resource_id: instance.dbi_resource_id().map(str::to_owned),
        ..Look::first(instance.db_instance_status())
    })
}
