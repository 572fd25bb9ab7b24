//! Looks at a snapshot or an instance that is being created, and says how long to wait before the
//! next look.
//!
//! AWS calls: DescribeDBSnapshots or DescribeDBInstances.
//!
//! Repeating it is safe: it only reads. Waiting is data: the state machine loops, this never sleeps.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbInstance, DbSnapshot};
use serde::Deserialize;
use workflow::Error;
use workflow::describe::{find_instance, find_snapshot, has_pending_modifications};
use workflow::ids::{InstanceId, SnapshotId};
use workflow::look::Look;
use workflow::status::{self, Class};
use workflow::wait;

/// RDS is eventually consistent: what was just created can be missing from a Describe for a while.
const UNSEEN_SECONDS_MAX: u64 = 120;
/// An instance can say `available` shortly before it reboots, so one look does not prove it.
const STEADY_LOOKS: u32 = 2;
/// Between the first steady look and the one that confirms it.
const CONFIRM_SECONDS: u64 = 15;

#[derive(Debug, Deserialize)]
#[serde(tag = "resource", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Snapshot { id: SnapshotId, previous: Look, max_wait_seconds: u64 },
    Instance { id: InstanceId, previous: Look, max_wait_seconds: u64 },
}

pub async fn handle(client: &Client, request: Request) -> Result<Look, Error> {
    match request {
        Request::Snapshot { id, previous, max_wait_seconds } => {
            let name = format!("DB snapshot `{id}`");
            let seen = find_snapshot(client, &id).await?;
            let look = match seen {
                Some(snapshot) => snapshot_look(&name, &snapshot)?,
                None if previous.wait.waited_seconds < UNSEEN_SECONDS_MAX => Look::default(),
                None => return Err(Error::SnapshotNotFound(vanished(&name))),
            };
            or_wait(&name, look, &previous, max_wait_seconds)
        }
        Request::Instance { id, previous, max_wait_seconds } => {
            let name = format!("DB instance `{id}`");
            let seen = find_instance(client, &id).await?;
            let look = match seen {
                Some(instance) => instance_look(&name, &instance, &previous)?,
                None if previous.wait.waited_seconds < UNSEEN_SECONDS_MAX => {
                    Look { resource_id: previous.resource_id.clone(), ..Look::default() }
                }
                None => return Err(Error::InstanceNotFound(vanished(&name))),
            };
            or_wait(&name, look, &previous, max_wait_seconds)
        }
    }
}

fn snapshot_look(name: &str, snapshot: &DbSnapshot) -> Result<Look, Error> {
    let status = snapshot.status().unwrap_or_default();
    let class = status::snapshot(status);
    match class {
        Class::Failed { remedy } => return Err(Error::SnapshotFailed(format!("{name} is `{status}`: {remedy}"))),
        Class::Pending { known: false } => unknown(name, status),
        Class::Pending { known: true } | Class::Ready => {}
    }
    Ok(Look {
        ready: class == Class::Ready,
        percent_progress: snapshot.percent_progress(),
        snapshot_database_time: snapshot.snapshot_database_time().map(ToString::to_string),
        ..Look::first(Some(status))
    })
}

fn instance_look(name: &str, instance: &DbInstance, previous: &Look) -> Result<Look, Error> {
    let status = instance.db_instance_status().unwrap_or_default();
    let class = status::instance(status);
    match class {
        Class::Failed { remedy } => return Err(Error::InstanceFailed(format!("{name} is `{status}`: {remedy}"))),
        Class::Pending { known: false } => unknown(name, status),
        Class::Pending { known: true } | Class::Ready => {}
    }
    let resource_id = instance.dbi_resource_id().map(str::to_owned);
    if previous.resource_id.is_some() && resource_id != previous.resource_id {
        return Err(Error::InstanceNotFound(format!(
            "{name} is another instance now ({} instead of {}): somebody deleted or renamed ours",
            resource_id.as_deref().unwrap_or("without a resource id"),
            previous.resource_id.as_deref().unwrap_or_default()
        )));
    }
    let steady = class == Class::Ready && !has_pending_modifications(instance) && instance.endpoint().is_some();
    let steady_looks = if steady { previous.steady_looks + 1 } else { 0 };
    Ok(Look { ready: steady_looks >= STEADY_LOOKS, steady_looks, resource_id, ..Look::first(Some(status)) })
}

fn or_wait(name: &str, look: Look, previous: &Look, max_wait_seconds: u64) -> Result<Look, Error> {
    if look.ready {
        return Ok(Look { wait: previous.wait.clone(), ..look });
    }
    let wait = if look.steady_looks > 0 {
        wait::sleep(Some(&previous.wait), CONFIRM_SECONDS, max_wait_seconds)
    } else {
        wait::next(Some(&previous.wait), look.percent_progress, max_wait_seconds)
    };
    let wait = wait.map_err(|_| {
        Error::WaitTimedOut(format!(
            "{name} is `{}`{} after {max_wait_seconds} s, the longest that max_wait_minutes allows one wait",
            look.status.as_deref().unwrap_or("not to be seen"),
            look.percent_progress.map(|percent| format!(" at {percent} %")).unwrap_or_default()
        ))
    })?;
    Ok(Look { wait, ..look })
}

fn vanished(name: &str) -> String {
    format!("{name} was created by this execution and does not exist: somebody deleted it")
}

/// A status that no table lists is waited for like any other, until the deadline.
fn unknown(name: &str, status: &str) {
    tracing::warn!(resource = name, status, "unknown status: waiting until it changes or the deadline passes");
}
