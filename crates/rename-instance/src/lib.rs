//! Switches names: renames an instance, or puts the names back while that is provably harmless.
//!
//! AWS calls: DescribeDBInstances, ModifyDBInstance (NewDBInstanceIdentifier, at once).
//!
//! It is one turn of a loop. Repeating it is safe, because an instance is told by its DbiResourceId:
//! one that has its new name already is not renamed again. During a rename the old name answers
//! NotFound, the new one may not be there yet, and may show `available` before the instance reboots
//! ("Renaming a DB instance", RDS User Guide; [A9]): only two steady looks at a new endpoint end the loop.

mod restore_names;
#[cfg(test)]
mod tests;

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbInstance;
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::describe::{find_by_resource_id, has_pending_modifications, pending_identifier};
use workflow::ids::InstanceId;
use workflow::status::{self, Class};
use workflow::turn::{HIDDEN_SECONDS_MAX, Turn};

use crate::restore_names::RestoreNames;

/// A name that an instance has just lost may be taken for a while yet [A9].
const NAME_RELEASE_SECONDS: u64 = 600;
/// While the target cannot take the name, the name answers nobody: better to give it, or its clients, back
/// to the source.
const OUTAGE_SECONDS_MAX: u64 = 1_800;

#[derive(Debug, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Rename {
        resource_id: String,
        to_id: InstanceId,
        until: Until,
        /// The instance that is to take the name: it is not taken from this one before that one is ready.
        successor_resource_id: Option<String>,
        /// If the source is fenced, nobody reaches it, and waiting is an outage already.
        #[serde(default)]
        isolation_security_group_id: Option<String>,
        previous: Option<Turn>,
        max_wait_seconds: u64,
    },
    /// After a failure around the renames: the source gets its name back, unless the target has it.
    RestoreNames {
        source_resource_id: String,
        target_resource_id: Option<String>,
        instance_id: InstanceId,
        /// What the cutover renames the source to; from any other name somebody else renamed it.
        unencrypted_instance_id: Option<InstanceId>,
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
    /// The time waited when the target was last seen at rest under another name.
    pub target_rested_at_seconds: u64,
    #[serde(flatten)]
    pub turn: Turn,
}

pub async fn handle(client: &Client, request: Request) -> Result<Response, Error> {
    match request {
        Request::Rename {
            resource_id,
            to_id,
            until,
            successor_resource_id,
            isolation_security_group_id,
            previous,
            max_wait_seconds,
        } => {
            let is_outage = until == Until::Steady || isolation_security_group_id.is_some();
            let rename = Rename { resource_id, to_id, until, successor_resource_id, is_outage, max_wait_seconds };
            rename.turn(client, Turn::after(previous)).await.map(Response::Turn)
        }
        Request::RestoreNames {
            source_resource_id,
            target_resource_id,
            instance_id,
            unencrypted_instance_id,
            previous,
        } => {
            let names = RestoreNames { source_resource_id, target_resource_id, instance_id, unencrypted_instance_id };
            names.turn(client, previous.unwrap_or_default()).await.map(Response::Restored)
        }
    }
}

struct Rename {
    resource_id: String,
    to_id: InstanceId,
    until: Until,
    successor_resource_id: Option<String>,
    is_outage: bool,
    max_wait_seconds: u64,
}

impl Rename {
    async fn turn(&self, client: &Client, mut turn: Turn) -> Result<Turn, Error> {
        let Some(instance) = find_by_resource_id(client, &self.resource_id).await? else {
            return self.not_seen(&self.resource_id, turn);
        };
        turn.see(instance.db_instance_status());
        if instance.db_instance_identifier() == Some(self.to_id.as_str()) {
            if self.until == Until::Named {
                return Ok(Turn { ready: true, ..turn });
            }
            turn.requested = true;
            let steady = is_steady(&instance, &turn);
            return self.end(turn, steady);
        }
        if !may_be_renamed(&instance)? || (turn.requested && has_pending_modifications(&instance)) {
            return self.end(turn, false);
        }
        if !turn.requested
            && let Some(successor) = &self.successor_resource_id
        {
            match find_by_resource_id(client, successor).await? {
                None => return self.not_seen(successor, turn),
                Some(successor) if !may_be_renamed(&successor)? => return self.end(turn, false),
                Some(_) => {}
            }
        }
        turn.endpoint_before = address(&instance);
        match request(client, &instance, &self.to_id).await {
            Ok(()) => turn.requested = true,
            Err(Error::NameConflict(_)) if turn.wait.waited_seconds < NAME_RELEASE_SECONDS => {}
            Err(error) => return Err(error),
        }
        self.end(turn, false)
    }

    fn not_seen(&self, resource_id: &str, mut turn: Turn) -> Result<Turn, Error> {
        if turn.unseen_seconds() >= HIDDEN_SECONDS_MAX {
            return Err(Error::InstanceNotFound(format!(
                "DB instance {resource_id} has not been seen for {HIDDEN_SECONDS_MAX} s, longer than any rename hides \
                 one: somebody deleted it"
            )));
        }
        turn.status = None;
        self.end(turn, false)
    }

    fn end(&self, turn: Turn, steady: bool) -> Result<Turn, Error> {
        let deadline_seconds = if self.is_outage && !turn.requested {
            self.max_wait_seconds.min(OUTAGE_SECONDS_MAX)
        } else {
            self.max_wait_seconds
        };
        let what = format!("the rename of DB instance {} to `{}` is not done", self.resource_id, self.to_id);
        turn.end(steady, &what, deadline_seconds)
    }
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
        // It was there a moment ago. The SDK repeats a call whose answer got lost: the first one worked.
        Err(error) if error.as_service_error().is_some_and(|error| error.is_db_instance_not_found_fault()) => Ok(()),
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

/// Serves clients under its new name, at a new endpoint. Other modifications are nobody's wait here.
fn is_steady(instance: &DbInstance, turn: &Turn) -> bool {
    let address = address(instance);
    status::serves_clients(instance.db_instance_status().unwrap_or_default())
        && pending_identifier(instance).is_none()
        && address.is_some()
        && address != turn.endpoint_before
}

fn address(instance: &DbInstance) -> Option<String> {
    instance.endpoint().and_then(|endpoint| endpoint.address()).map(str::to_owned)
}
