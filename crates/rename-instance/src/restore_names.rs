//! Puts the names back after a failure around the two renames.
//!
//! The commit point is the request for the second rename. Whether that was made is not asked of the
//! state, whose replies may be lost, but of the target: it has the name or is being renamed, or,
//! once no abandoned call can land any more, it never had it and never served a client.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbInstance;
use workflow::Error;
use workflow::describe::{find_by_resource_id, pending_identifier};
use workflow::ids::InstanceId;
use workflow::status::{self, Class};
use workflow::turn::{HIDDEN_SECONDS_MAX, LATE_CALL_SECONDS};
use workflow::wait;

use crate::{NAME_RELEASE_SECONDS, Restored, request};

/// Names go back whatever it takes; only after this a human must look.
const DEADLINE_SECONDS: u64 = 48 * 60 * 60;

pub(crate) struct RestoreNames {
    pub(crate) source_resource_id: String,
    pub(crate) target_resource_id: Option<String>,
    pub(crate) instance_id: InstanceId,
    pub(crate) unencrypted_instance_id: Option<InstanceId>,
}

/// What the target says about the commit point.
enum Target {
    /// It has the name, or was asked to take it.
    Named,
    /// Between two names, perhaps.
    Moving,
    AtRest,
}

impl RestoreNames {
    pub(crate) async fn turn(&self, client: &Client, previous: Restored) -> Result<Restored, Error> {
        let mut restored = Restored { committed: false, ..previous };
        restored.turn.ready = false;
        let source = find_by_resource_id(client, &self.source_resource_id).await?;
        match &source {
            Some(source) => restored.turn.see(source.db_instance_status()),
            None => restored.turn.status = None,
        }
        let target = self.target(client).await?;
        if matches!(target, Target::Named) {
            restored.committed = true;
            restored.turn.ready = true;
            return Ok(restored);
        }
        let waited_seconds = restored.turn.wait.waited_seconds;
        if matches!(target, Target::AtRest) {
            restored.target_rested_at_seconds = waited_seconds;
        }
        if !restored.late_call_is_over {
            restored.late_call_is_over = true;
            let wait = wait::sleep(Some(&restored.turn.wait), LATE_CALL_SECONDS, DEADLINE_SECONDS);
            restored.turn.wait = wait.map_err(|_| Error::WaitTimedOut(self.what()))?;
            return Ok(restored);
        }
        // A target that does not come to rest is gone, or its modification is somebody else's.
        let target_may_take_it = waited_seconds < restored.target_rested_at_seconds + HIDDEN_SECONDS_MAX;
        let steady = match source {
            None if restored.turn.unseen_seconds() >= HIDDEN_SECONDS_MAX => return Err(self.source_is_gone()),
            None => false,
            Some(source) if source.db_instance_identifier() == Some(self.instance_id.as_str()) => is_at_home(&source),
            Some(_) if matches!(target, Target::Moving) && target_may_take_it => false,
            Some(source) => {
                self.call_back(client, &source, waited_seconds).await?;
                false
            }
        };
        restored.turn = restored.turn.end(steady, &self.what(), DEADLINE_SECONDS)?;
        Ok(restored)
    }

    async fn target(&self, client: &Client) -> Result<Target, Error> {
        let Some(resource_id) = &self.target_resource_id else { return Ok(Target::AtRest) };
        let Some(target) = find_by_resource_id(client, resource_id).await? else { return Ok(Target::Moving) };
        if [target.db_instance_identifier(), pending_identifier(&target)].contains(&Some(self.instance_id.as_str())) {
            return Ok(Target::Named);
        }
        // A rename can show as either before the new name does.
        let moving = matches!(target.db_instance_status(), Some("renaming" | "modifying"));
        Ok(if moving { Target::Moving } else { Target::AtRest })
    }

    /// Asks for the source's rename, if it can take it now.
    async fn call_back(&self, client: &Client, source: &DbInstance, waited_seconds: u64) -> Result<(), Error> {
        let id = source.db_instance_identifier().unwrap_or_default();
        if self.unencrypted_instance_id.as_ref().is_some_and(|ours| ours.as_str() != id) {
            return Err(Error::InstanceNotFound(format!(
                "{}: it is called `{id}`, and this execution did not name it so; somebody renamed it",
                self.what()
            )));
        }
        let status = source.db_instance_status().unwrap_or_default();
        if let Class::Failed { remedy } = status::instance(status) {
            return Err(Error::InstanceFailed(format!("{}: it is `{status}`: {remedy}", self.what())));
        }
        if !status::serves_clients(status) || pending_identifier(source).is_some() {
            return Ok(());
        }
        match request(client, source, &self.instance_id).await {
            // Not yet: a backup or the like stands in the way.
            Err(Error::InvalidInstanceState(_)) => Ok(()),
            // Not yet free, or about to be the target's: the next looks tell.
            Err(Error::NameConflict(_)) if waited_seconds < HIDDEN_SECONDS_MAX + NAME_RELEASE_SECONDS => Ok(()),
            outcome => outcome,
        }
    }

    fn what(&self) -> String {
        format!("the name `{}` is not back at DB instance {}", self.instance_id, self.source_resource_id)
    }

    fn source_is_gone(&self) -> Error {
        Error::InstanceNotFound(format!(
            "{}: it has not been seen for {HIDDEN_SECONDS_MAX} s; somebody deleted it",
            self.what()
        ))
    }
}

/// Under its name, with no other on the way. Its own life goes on: a backup that started meanwhile, or a
/// modification that waits for its window, is not ours to wait for.
fn is_at_home(source: &DbInstance) -> bool {
    let status = source.db_instance_status().unwrap_or_default();
    pending_identifier(source).is_none()
        && (status::serves_clients(status) || matches!(status::instance(status), Class::Failed { .. }))
}
