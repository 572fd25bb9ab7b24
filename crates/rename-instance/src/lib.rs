//! Switches names: renames an instance, or puts the names back while that is provably harmless.
//!
//! AWS calls: DescribeDBInstances, ModifyDBInstance (NewDBInstanceIdentifier, at once).
//!
//! It is one turn of a loop. Repeating it is safe, because an instance is told by its DbiResourceId:
//! one that has its new name already is not renamed again. During a rename the old name answers
//! NotFound, the new one may not be there yet, and may show `available` before the instance reboots
//! ("Renaming a DB instance", RDS User Guide): only two steady looks at a new endpoint end the loop.

mod restore_names;

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbInstance;
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::describe::{find_by_resource_id, has_pending_modifications};
use workflow::ids::InstanceId;
use workflow::status::{self, Class};
use workflow::turn::Turn;

/// A name that an instance has just lost may be taken for a while yet. Assumed: the User Guide says
/// only that the new name works "in about 10 minutes".
const NAME_RELEASE_SECONDS: u64 = 600;

#[derive(Debug, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Rename {
        resource_id: String,
        to_id: InstanceId,
        until: Until,
        previous: Option<Turn>,
        max_wait_seconds: u64,
    },
    /// After a failure around the renames: the source gets its name back, unless the target has it.
    RestoreNames {
        source_resource_id: String,
        target_resource_id: Option<String>,
        instance_id: InstanceId,
        previous: Option<Restored>,
    },
}

/// When the loop of a rename is over.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// The instance has its new name, so the old one is free: for the source, whose reboot is nobody's
    /// wait while the name answers nobody.
    Named,
    /// It serves clients under its new name: for the target.
    Steady,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Response {
    Turn(Turn),
    Restored(Restored),
}

/// A turn of the loop that puts the names back.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Restored {
    /// The target has the name, or is about to: the commit point has passed, and nothing goes back.
    pub committed: bool,
    /// A call that Step Functions gave up on cannot land any more.
    pub late_call_is_over: bool,
    #[serde(flatten)]
    pub turn: Turn,
}

pub async fn handle(client: &Client, request: Request) -> Result<Response, Error> {
    match request {
        Request::Rename { resource_id, to_id, until, previous, max_wait_seconds } => {
            let turn = Turn::after(previous);
            rename(client, &resource_id, &to_id, until, turn, max_wait_seconds).await.map(Response::Turn)
        }
        Request::RestoreNames { source_resource_id, target_resource_id, instance_id, previous } => {
            let target = target_resource_id.as_deref();
            restore_names::turn(client, &source_resource_id, target, &instance_id, previous.unwrap_or_default())
                .await
                .map(Response::Restored)
        }
    }
}

async fn rename(
    client: &Client,
    resource_id: &str,
    to_id: &InstanceId,
    until: Until,
    mut turn: Turn,
    max_wait_seconds: u64,
) -> Result<Turn, Error> {
    let what = format!("the rename of DB instance {resource_id} to `{to_id}` is not done");
    let Some(instance) = find_by_resource_id(client, resource_id).await? else {
        turn.status = None;
        return turn.end(false, &what, max_wait_seconds);
    };
    turn.status = instance.db_instance_status().map(str::to_owned);
    if instance.db_instance_identifier() == Some(to_id.as_str()) {
        if until == Until::Named {
            return Ok(Turn { ready: true, ..turn });
        }
        return turn.clone().end(is_steady(&instance, &turn), &what, max_wait_seconds);
    }
    if may_be_renamed(&instance)? && !(turn.requested && has_pending_modifications(&instance)) {
        match request(client, &instance, to_id).await {
            Ok(()) => {
                turn.requested = true;
                turn.endpoint_before = address(&instance);
            }
            Err(Error::NameConflict(_)) if turn.wait.waited_seconds < NAME_RELEASE_SECONDS => {}
            Err(error) => return Err(error),
        }
    }
    turn.end(false, &what, max_wait_seconds)
}

/// Asks for the rename. It takes effect at once and reboots the instance.
async fn request(client: &Client, instance: &DbInstance, to_id: &InstanceId) -> Result<(), Error> {
    let from_id = instance.db_instance_identifier().unwrap_or_default();
    let call = client
        .modify_db_instance()
        .db_instance_identifier(from_id)
        .new_db_instance_identifier(to_id.as_str())
        .apply_immediately(true);
    match call.send().await {
        Ok(_) => Ok(()),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_db_instance_already_exists_fault()) => {
            Err(Error::NameConflict(format!(
                "DB instance `{from_id}` cannot be renamed to `{to_id}`: somebody has taken that name meanwhile"
            )))
        }
        Err(error) => Err(Error::from_call(format!("rename DB instance `{from_id}` to `{to_id}`"), error)),
    }
}

fn may_be_renamed(instance: &DbInstance) -> Result<bool, Error> {
    let status = instance.db_instance_status().unwrap_or_default();
    match status::instance(status) {
        Class::Ready => Ok(true),
        Class::Pending { .. } => Ok(false),
        Class::Failed { remedy } => {
            let id = instance.db_instance_identifier().unwrap_or_default();
            Err(Error::InstanceFailed(format!("DB instance `{id}` is `{status}` and cannot be renamed: {remedy}")))
        }
    }
}

/// Under its new name, at a new endpoint, with nothing on the way.
fn is_steady(instance: &DbInstance, turn: &Turn) -> bool {
    let address = address(instance);
    status::instance(instance.db_instance_status().unwrap_or_default()) == Class::Ready
        && !has_pending_modifications(instance)
        && address.is_some()
        && address != turn.endpoint_before
}

fn address(instance: &DbInstance) -> Option<String> {
    instance.endpoint().and_then(|endpoint| endpoint.address()).map(str::to_owned)
}
