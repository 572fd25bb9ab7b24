//! Gives the source other security groups: the isolating one, so that clients with a cached name
//! cannot write to the old instance during the cutover, or its own again when the cutover is undone.
//!
//! AWS calls: DescribeDBInstances, ModifyDBInstance (VpcSecurityGroupIds).
//!
//! It is one turn of a loop. Repeating it is safe: groups that are in force already are not set again.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbInstance;
use serde::Deserialize;
use workflow::Error;
use workflow::describe::find_by_resource_id;
use workflow::status::{self, Class};
use workflow::turn::{HIDDEN_SECONDS_MAX, Turn};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub resource_id: String,
    pub security_group_ids: Vec<String>,
    pub previous: Option<Turn>,
    pub max_wait_seconds: u64,
}

pub async fn handle(client: &Client, request: Request) -> Result<Turn, Error> {
    let Request { resource_id, mut security_group_ids, previous, max_wait_seconds } = request;
    security_group_ids.sort();
    let what = format!("DB instance {resource_id} does not have the security groups {}", security_group_ids.join(", "));
    let mut turn = Turn::after(previous);
    let Some(source) = find_by_resource_id(client, &resource_id).await? else {
        // A rename can have come before this.
        if turn.unseen_seconds() >= HIDDEN_SECONDS_MAX {
            return Err(Error::InstanceNotFound(format!(
                "the source, DB instance {resource_id}, has not been seen for {HIDDEN_SECONDS_MAX} s: somebody deleted it"
            )));
        }
        turn.status = None;
        return turn.end(false, &what, max_wait_seconds);
    };
    let id = source.db_instance_identifier().unwrap_or_default();
    let status = source.db_instance_status().unwrap_or_default();
    turn.see(Some(status));
    if let Class::Failed { remedy } = status::instance(status) {
        return Err(Error::InstanceFailed(format!("DB instance `{id}` is `{status}`: {remedy}")));
    }
    if active_groups(&source) == security_group_ids {
        // A group on its way in or out keeps nobody out, or lets nobody in, yet.
        return turn.end(status::serves_clients(status) && !is_changing(&source), &what, max_wait_seconds);
    }
    if status::instance(status) == Class::Ready && (!turn.requested || !is_changing(&source)) {
        let call = client
            .modify_db_instance()
            .db_instance_identifier(id)
            .set_vpc_security_group_ids(Some(security_group_ids))
            .apply_immediately(true);
        let outcome = call.send().await;
        outcome.map_err(|error| Error::from_call(format!("set the security groups of DB instance `{id}`"), error))?;
        turn.requested = true;
    }
    turn.end(false, &what, max_wait_seconds)
}

/// Those in force, or about to be; one that is being taken away is neither.
fn active_groups(instance: &DbInstance) -> Vec<String> {
    let groups = instance.vpc_security_groups().iter();
    let active = groups.filter(|group| group.status() != Some("removing"));
    let mut ids: Vec<String> = active.filter_map(|group| group.vpc_security_group_id()).map(str::to_owned).collect();
    ids.sort();
    ids
}

fn is_changing(instance: &DbInstance) -> bool {
    instance.vpc_security_groups().iter().any(|group| group.status() != Some("active"))
}

#[cfg(test)]
mod tests;
