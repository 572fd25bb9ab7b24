//! The last settings of the target: it passes the commit point, and gets what would have been in the way
//! before, deletion protection and, after a cutover, its backups.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbInstance;
use serde::{Deserialize, Serialize};

use crate::wanted::Wanted;
use crate::{Changes, Settings};
use workflow::Error;
use workflow::commit;
use workflow::describe::{can_be_modified, has_pending_modifications};
use workflow::members::Pass;
use workflow::owner::DENIED_SECONDS;
use workflow::status::{self, Class};
use workflow::steady::SteadyLooks;
use workflow::wait::Wait;

/// What was asked for and still differs after this long counts as refused.
const SETTLE_SECONDS: u64 = 600;

/// One look of the loop.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Protection {
    pub ready: bool,
    /// AWS's word at this look.
    pub status: Option<String>,
    /// What was set, in the order of the calls.
    pub applied: Vec<String>,
    /// The settings as they were wanted when something was last set.
    pub asked: Option<Settings>,
    pub steady_looks: SteadyLooks,
    /// The time waited when something was last set.
    pub acted_at_seconds: u64,
    /// What the owner should know of the target as it is.
    pub notes: Vec<String>,
    pub wait: Wait,
}

/// Sets what differs, which is nothing the second time.
pub async fn look(
    client: &Client,
    target: &DbInstance,
    wanted: &Wanted,
    previous: Option<Protection>,
    max_wait_seconds: u64,
) -> Result<Protection, Error> {
    let name = format!("DB instance `{}`", target.db_instance_identifier().unwrap_or_default());
    let status = target.db_instance_status().unwrap_or_default();
    if let Class::Failed { remedy } = status::instance(status) {
        return Err(Error::InstanceFailed(format!("{name} is `{status}`: {remedy}")));
    }
    let mut look = Protection { ready: false, status: Some(status.to_owned()), ..previous.unwrap_or_default() };
    let acted = look.act(client, target, wanted).await?;
    if acted {
        look.acted_at_seconds = look.wait.waited_seconds;
    }
    let steady = !acted && is_steady(target, wanted);
    look.steady_looks.count(steady);
    if look.steady_looks.are_enough() {
        return Ok(Protection { ready: true, notes: notes(target), ..look });
    }
    if !acted && !steady && can_be_modified(target) && look.was_long_ago() && commit::is_passed(target) {
        return Err(Error::NotProven(format!(
            "{name} is proven and stays, but its last settings do not take: {} was asked for {SETTLE_SECONDS} s ago, \
             and the instance is `{status}` without it",
            look.applied.join(", ")
        )));
    }
    let waited = look.steady_looks.wait(&look.wait, None, max_wait_seconds);
    look.wait = waited.map_err(|_| {
        Error::WaitTimedOut(format!(
            "{name} is `{status}` and still applies its last settings ({}) after {max_wait_seconds} s, the longest that \
             max_wait_minutes allows",
            look.applied.join(", ")
        ))
    })?;
    Ok(look)
}

impl Pass for Protection {
    fn is_ready(&self) -> bool {
        self.ready
    }

    fn wait(&self) -> &Wait {
        &self.wait
    }
}

impl Protection {
    /// Does the next thing that is due, if the instance can take it now. Returns whether it did.
    async fn act(&mut self, client: &Client, target: &DbInstance, wanted: &Wanted) -> Result<bool, Error> {
        if !commit::is_passed(target) {
            return match commit::pass(client, target).await {
                Ok(()) => Ok(true),
                // The tag may be gone, and this look be of before.
                Err(Error::AccessDenied(_)) if self.wait.waited_seconds < DENIED_SECONDS => Ok(false),
                Err(error) => Err(error),
            };
        }
        if !can_be_modified(target) {
            return Ok(false);
        }
        match wanted.settings.protection(target, wanted.cutover) {
            Some(changes) if changes.settings.iter().any(|setting| !self.was_asked_for(setting, wanted)) => {
                self.modify(client, target, wanted, changes).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The same value is not asked for again while it may still be on its way.
    fn was_asked_for(&self, setting: &str, wanted: &Wanted) -> bool {
        self.applied.iter().any(|applied| applied == setting)
            && self.asked.as_ref().is_some_and(|asked| asked.get(setting) == wanted.settings.get(setting))
    }

    async fn modify(
        &mut self,
        client: &Client,
        target: &DbInstance,
        wanted: &Wanted,
        changes: Changes,
    ) -> Result<(), Error> {
        let id = target.db_instance_identifier().unwrap_or_default();
        let operation = format!("set {} on DB instance `{id}`", changes.settings.join(", "));
        let outcome = changes.input.db_instance_identifier(id).send_with(client).await;
        outcome.map_err(|error| Error::from_call(operation, error))?;
        for setting in changes.settings {
            if self.applied.iter().all(|applied| applied != setting) {
                self.applied.push(setting.to_owned());
            }
        }
        self.asked = Some(wanted.settings.clone());
        Ok(())
    }

    fn was_long_ago(&self) -> bool {
        self.wait.waited_seconds >= self.acted_at_seconds + SETTLE_SECONDS
    }
}

/// The first backup of an instance whose settings are in place is nobody's wait.
fn is_steady(target: &DbInstance, wanted: &Wanted) -> bool {
    status::serves_clients(target.db_instance_status().unwrap_or_default())
        && !has_pending_modifications(target)
        && wanted.settings.protection(target, wanted.cutover).is_none()
        && commit::is_passed(target)
}

fn notes(target: &DbInstance) -> Vec<String> {
    let mut notes = vec![];
    if target.db_instance_status() == Some("backing-up") {
        notes.push(
            "The first backup of the target is being taken (backing-up): the instance serves clients, and point-in-time \
             recovery begins when it is done. Until then the encrypted snapshot is the only recovery point."
                .to_owned(),
        );
    }
    if let Some(secret) = target.master_user_secret().and_then(|secret| secret.secret_arn()) {
        notes.push(format!("RDS manages the master user's password of the target in a new secret: {secret}"));
    }
    notes
}
