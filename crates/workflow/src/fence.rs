//! The security groups of an instance, by which the source is fenced off and opened again.

use aws_sdk_rds::Client;
use aws_sdk_rds::config::Config;
use aws_sdk_rds::config::retry::RetryConfig;
use aws_sdk_rds::types::DbInstance;

use crate::error::Error;

/// Those in force, or about to be; one that is being taken away is neither.
pub fn active_groups(instance: &DbInstance) -> Vec<String> {
    let groups = instance.vpc_security_groups().iter();
    let active = groups.filter(|group| group.status() != Some("removing"));
    let mut ids: Vec<String> = active.filter_map(|group| group.vpc_security_group_id()).map(str::to_owned).collect();
    ids.sort();
    ids
}

/// A group on its way in or out keeps nobody out, or lets nobody in, yet.
pub fn is_changing(instance: &DbInstance) -> bool {
    instance.vpc_security_groups().iter().any(|group| group.status() != Some("active"))
}

/// Without ApplyImmediately, which would flush what others have queued: security groups do not wait for the
/// maintenance window ("Settings for DB instances", RDS User Guide). One attempt alone: the SDK's second would
/// hide that the first can still land.
pub async fn set_groups(client: &Client, instance: &DbInstance, groups: Vec<String>) -> Result<(), Error> {
    let id = instance.db_instance_identifier().unwrap_or_default();
    let call = client.modify_db_instance().db_instance_identifier(id).set_vpc_security_group_ids(Some(groups));
    let once = Config::builder().retry_config(RetryConfig::disabled());
    let outcome = call.customize().config_override(once).send().await;
    outcome.map_err(|error| Error::from_call(format!("set the security groups of DB instance `{id}`"), error))?;
    Ok(())
}
