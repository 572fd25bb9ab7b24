//! Gives the source the isolating security group, so that clients with a cached name cannot write to
//! the old instance during the cutover, or, when the cutover is undone, the groups that it had before.
//!
//! AWS calls: DescribeDBInstances, ModifyDBInstance (VpcSecurityGroupIds).
//!
//! It is one turn of a loop. Repeating it is safe: groups that are in force already are not set again,
//! and the groups of before are noted in a turn of their own, before anything is changed.
//! ModifyDBInstance goes by name, and the name is about to be the target's: the loop of the fence does
//! not end while a call that was given up on could still land.

use aws_sdk_rds::Client;
use aws_sdk_rds::config::Config;
use aws_sdk_rds::config::retry::RetryConfig;
use aws_sdk_rds::types::DbInstance;
use serde::Deserialize;
use workflow::Error;
use workflow::describe::{find_by_resource_id, has_pending_modifications};
use workflow::settings::Settings;
use workflow::status::{self, Class};
use workflow::turn::{HIDDEN_SECONDS_MAX, Turn};

#[derive(Debug, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Fence {
        resource_id: String,
        isolation_security_group_id: String,
        /// The target: while it cannot take the name, clients are not shut out.
        successor_resource_id: Option<String>,
        /// How many attempts at this turn went before (`$$.State.RetryCount`): their calls may be on their way.
        retry_count: u32,
        previous: Option<Turn>,
        max_wait_seconds: u64,
    },
    Unfence {
        resource_id: String,
        isolation_security_group_id: String,
        /// The last turn of the loop that fenced, if it began.
        fenced: Option<Turn>,
        /// As the plan saw them, in case the groups of before were not noted.
        settings: Settings,
        previous: Option<Turn>,
        max_wait_seconds: u64,
    },
}

pub async fn handle(client: &Client, request: Request) -> Result<Turn, Error> {
    let (resource_id, previous, max_wait_seconds, what) = match &request {
        Request::Fence { resource_id, previous, max_wait_seconds, .. } => {
            (resource_id, previous, *max_wait_seconds, "is not behind the isolating security group")
        }
        Request::Unfence { resource_id, previous, max_wait_seconds, .. } => {
            (resource_id, previous, *max_wait_seconds, "does not have its own security groups again")
        }
    };
    let what = format!("the source, DB instance {resource_id}, {what}");
    let mut turn = Turn::after(previous.clone());
    if let Request::Fence { retry_count: 1.., .. } = request
        && turn.security_groups_before.is_some()
    {
        turn.expect_late_call();
    }
    let Some(source) = find_by_resource_id(client, resource_id).await? else {
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
    let Some(groups) = due(client, &request, &source, &mut turn).await? else {
        // A group on its way in or out keeps nobody out, or lets nobody in, yet.
        let steady = status::serves_clients(status) && !is_changing(&source) && is_done(&request, &source);
        return turn.end(steady, &what, max_wait_seconds);
    };
    if status::instance(status) == Class::Ready && (!turn.requested || !is_changing(&source)) {
        let call = client.modify_db_instance().db_instance_identifier(id).apply_immediately(true);
        let call = call.set_vpc_security_group_ids(Some(groups)).customize();
        // A second attempt of the SDK would hide that the first can still land: Step Functions retries, and counts.
        let once = Config::builder().retry_config(RetryConfig::disabled());
        let outcome = call.config_override(once).send().await;
        outcome.map_err(|error| Error::from_call(format!("set the security groups of DB instance `{id}`"), error))?;
        turn.requested = true;
    }
    turn.end(false, &what, max_wait_seconds)
}

/// The groups to be set now, if any are.
async fn due(
    client: &Client,
    request: &Request,
    source: &DbInstance,
    turn: &mut Turn,
) -> Result<Option<Vec<String>>, Error> {
    if is_done(request, source) {
        return Ok(None);
    }
    match request {
        Request::Fence { isolation_security_group_id, successor_resource_id, .. } => {
            if turn.security_groups_before.is_none() {
                turn.security_groups_before = (!is_changing(source)).then(|| active_groups(source));
                return Ok(None);
            }
            if let Some(successor) = successor_resource_id
                && !turn.requested
                && !is_at_rest(find_by_resource_id(client, successor).await?)
            {
                return Ok(None);
            }
            Ok(Some(vec![isolation_security_group_id.clone()]))
        }
        Request::Unfence { fenced, settings, .. } => {
            let noted = fenced.as_ref().and_then(|fenced| fenced.security_groups_before.clone());
            let groups = noted.or_else(|| settings.texts("VpcSecurityGroupIds")).ok_or_else(|| {
                let id = source.db_instance_identifier().unwrap_or_default();
                Error::InstanceNotUsable(format!(
                    "the security groups that DB instance `{id}` had before its fence are not known: give them back by \
                     hand"
                ))
            })?;
            Ok(Some(groups))
        }
    }
}

fn is_done(request: &Request, source: &DbInstance) -> bool {
    let active = active_groups(source);
    match request {
        Request::Fence { isolation_security_group_id, .. } => active == [isolation_security_group_id.as_str()],
        // Other groups than the fence's are not ours to change.
        Request::Unfence { isolation_security_group_id, .. } => !active.contains(isolation_security_group_id),
    }
}

fn is_at_rest(target: Option<DbInstance>) -> bool {
    target.is_some_and(|target| {
        status::instance(target.db_instance_status().unwrap_or_default()) == Class::Ready
            && !has_pending_modifications(&target)
    })
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
