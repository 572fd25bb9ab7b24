//! Renames the source out of the way, then the target to the source's name.
//!
//! AWS calls: DescribeDBInstances, ModifyDBInstance (NewDBInstanceIdentifier, at once).
//!
//! It is one turn of a loop. Repeating it is safe, because an instance is told by its DbiResourceId:
//! one that has its new name already is not renamed again. During a rename the old name answers
//! NotFound, the new one may not be there yet, and may show `available` before the instance reboots
//! ("Renaming a DB instance", RDS User Guide; [A9]): only two steady looks at a new endpoint end the loop.

#[cfg(test)]
mod tests;

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbInstance;
use serde::Deserialize;
use workflow::Error;
use workflow::describe::{find_by_resource_id, has_pending_modifications, is_called, pending_identifier};
use workflow::ids::InstanceId;
use workflow::rename::{self, NAME_RELEASE_SECONDS};
use workflow::status;
use workflow::turn::{HIDDEN_SECONDS_MAX, Outage, Turn};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub resource_id: String,
    /// What it is called unless somebody has renamed it.
    pub from_id: InstanceId,
    pub to_id: InstanceId,
    pub until: Until,
    /// The instance that is to take the name: it is not taken from this one before that one is ready.
    pub successor_resource_id: Option<String>,
    /// The endpoint of the old name, where the proof has noted it.
    pub endpoint_before: Option<String>,
    /// The loops before this one: their outage goes on.
    pub outage_before: Vec<Option<Outage>>,
    /// `$$.State.EnteredTime`: what the attempts before this one took belongs to the outage.
    pub entered_at: String,
    pub previous: Option<Turn>,
    /// From the fence to the request of the second rename; without it half an hour.
    #[serde(default)]
    pub max_outage_seconds: Option<u64>,
    pub max_wait_seconds: u64,
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

pub async fn handle(client: &Client, request: Request) -> Result<Turn, Error> {
    let mut turn = Turn::after(request.previous.clone());
    turn.outage_seconds_max = request.max_outage_seconds;
    turn.go_on_with_outage(&request.outage_before, &request.entered_at)?;
    let what = format!("the rename of DB instance {} to `{}` is not done", request.resource_id, request.to_id);
    let steady = match request.turn(client, &mut turn).await {
        Ok(steady) => steady,
        Err(error) => return turn.end_by(error, &what, request.max_wait_seconds),
    };
    if steady && request.until == Until::Named {
        return Ok(Turn { ready: true, ..turn });
    }
    // Once the target was asked to take the name, it goes forward only.
    if turn.requested && request.until == Until::Steady {
        return turn.end(steady, &what, request.max_wait_seconds);
    }
    turn.end_in_outage(steady, &what, request.max_wait_seconds)
}

impl Request {
    /// Does what can be done now, and says whether nothing is left to do.
    async fn turn(&self, client: &Client, turn: &mut Turn) -> Result<bool, Error> {
        let Some(instance) = find_by_resource_id(client, &self.resource_id).await? else {
            return not_seen(&self.resource_id, turn);
        };
        turn.see(instance.db_instance_status());
        turn.endpoint_before = turn.endpoint_before.take().or_else(|| self.endpoint_before.clone());
        if instance.db_instance_identifier() == Some(self.to_id.as_str()) {
            turn.requested = true;
            turn.begin_outage();
            return Ok(self.until == Until::Named || is_steady(&instance, turn));
        }
        is_called(&instance, self.from_id.as_str())?;
        if pending_identifier(&instance) == Some(self.to_id.as_str()) {
            // The reply may be lost.
            turn.requested = true;
            turn.begin_outage();
        }
        if !rename::is_possible(&instance)? || (turn.requested && has_pending_modifications(&instance)) {
            return Ok(false);
        }
        if !turn.requested {
            if has_pending_modifications(&instance) {
                return self.keep_modifications_pending(&instance);
            }
            if let Some(successor) = &self.successor_resource_id {
                match find_by_resource_id(client, successor).await? {
                    None => return not_seen(successor, turn),
                    Some(successor) if !rename::is_possible(&successor)? => return Ok(false),
                    Some(_) => {}
                }
            }
        }
        if turn.endpoint_before.is_none() {
            turn.endpoint_before = address(&instance);
        }
        match rename::request(client, &instance, &self.to_id).await {
            Ok(()) => turn.requested = true,
            Err(Error::NameConflict(_)) if turn.wait.waited_seconds < NAME_RELEASE_SECONDS => return Ok(false),
            // It may have been heard all the same.
            Err(error @ Error::ServiceUnavailable(_)) => {
                turn.begin_outage();
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        turn.begin_outage();
        Ok(false)
    }

    /// A rename takes effect at once, and with it whatever else is pending. Of the target's the end is waited for;
    /// the source's are somebody's, for a time that they have chosen.
    fn keep_modifications_pending(&self, instance: &DbInstance) -> Result<bool, Error> {
        if self.until == Until::Steady {
            return Ok(false);
        }
        Err(Error::InstanceNotUsable(format!(
            "modifications of `{}` are pending, and its rename, which takes effect at once, would apply them in the \
             middle of the outage (ModifyDBInstance, ApplyImmediately): apply or withdraw them, and start again",
            instance.db_instance_identifier().unwrap_or_default()
        )))
    }
}

fn not_seen(resource_id: &str, turn: &mut Turn) -> Result<bool, Error> {
    if turn.unseen_seconds() >= HIDDEN_SECONDS_MAX {
        return Err(Error::InstanceNotFound(format!(
            "DB instance {resource_id} has not been seen for {HIDDEN_SECONDS_MAX} s, longer than any rename hides \
             one: somebody deleted it"
        )));
    }
    turn.status = None;
    Ok(false)
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
