//! Gives the source the isolating security group, so that clients with a cached name cannot write to
//! the old instance during the cutover.
//!
//! AWS calls: DescribeDBInstances, ModifyDBInstance (VpcSecurityGroupIds).
//!
//! It is one turn of a loop. Repeating it is safe: groups that are in force already are not set again,
//! and the groups of before are noted in a turn of their own, before anything is changed.
//! ModifyDBInstance goes by name, and the name is about to be the target's: the loop does not end while a
//! call that was given up on could still land.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbInstance;
use serde::Deserialize;
use workflow::Error;
use workflow::describe::{can_be_modified, find_by_resource_id, is_called};
use workflow::fence::{active_groups, is_changing, set_groups};
use workflow::ids::InstanceId;
use workflow::status::{self, Class};
use workflow::turn::{HIDDEN_SECONDS_MAX, Turn};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub resource_id: String,
    /// What the source is called unless somebody has renamed it.
    pub instance_id: InstanceId,
    pub isolation_security_group_id: String,
    /// The target: while it cannot take the name, clients are not shut out.
    pub successor_resource_id: Option<String>,
    /// `$$.State.EnteredTime`: what the attempts before this one took belongs to the outage.
    pub entered_at: String,
    /// How many attempts at this turn went before (`$$.State.RetryCount`): their calls may be on their way.
    pub retry_count: u32,
    pub previous: Option<Turn>,
    pub max_wait_seconds: u64,
}

pub async fn handle(client: &Client, request: Request) -> Result<Turn, Error> {
    let mut turn = Turn::after(request.previous.clone());
    if request.retry_count > 0 && turn.security_groups_before.is_some() {
        turn.expect_late_call();
        turn.begin_outage();
    }
    turn.go_on_with_outage(&[], &request.entered_at)?;
    let what = format!("the source, DB instance {}, is not behind the isolating security group", request.resource_id);
    match fence(client, &request, &mut turn).await {
        Ok(steady) => turn.end_in_outage(steady, &what, request.max_wait_seconds),
        Err(error) => turn.end_by(error, &what, request.max_wait_seconds),
    }
}

/// Does what can be done now, and says whether nothing is left to do.
async fn fence(client: &Client, request: &Request, turn: &mut Turn) -> Result<bool, Error> {
    let Some(source) = find_by_resource_id(client, &request.resource_id).await? else {
        if turn.unseen_seconds() >= HIDDEN_SECONDS_MAX {
            return Err(Error::InstanceNotFound(format!(
                "the source, DB instance {}, has not been seen for {HIDDEN_SECONDS_MAX} s: somebody deleted it",
                request.resource_id
            )));
        }
        turn.status = None;
        return Ok(false);
    };
    is_called(&source, request.instance_id.as_str())?;
    let status = source.db_instance_status().unwrap_or_default();
    turn.see(Some(status));
    if let Class::Failed { remedy } = status::instance(status) {
        return Err(Error::InstanceFailed(format!("DB instance `{}` is `{status}`: {remedy}", request.instance_id)));
    }
    if active_groups(&source) == [request.isolation_security_group_id.as_str()] {
        return Ok(status::serves_clients(status) && !is_changing(&source));
    }
    if turn.security_groups_before.is_none() {
        turn.security_groups_before = (!is_changing(&source)).then(|| active_groups(&source));
        return Ok(false);
    }
    if let Some(successor) = &request.successor_resource_id
        && !turn.requested
        && !is_at_rest(find_by_resource_id(client, successor).await?)
    {
        return Ok(false);
    }
    if status::can_be_modified(status) && (!turn.requested || !is_changing(&source)) {
        turn.begin_outage();
        let outcome = set_groups(client, &source, vec![request.isolation_security_group_id.clone()]).await;
        match &outcome {
            Ok(()) => turn.requested = true,
            // It may have been heard all the same.
            Err(Error::ServiceUnavailable(_)) => turn.expect_late_call(),
            Err(_) => {}
        }
        outcome?;
    }
    Ok(false)
}

fn is_at_rest(target: Option<DbInstance>) -> bool {
    target.is_some_and(|target| can_be_modified(&target))
}

#[cfg(test)]
mod tests;
