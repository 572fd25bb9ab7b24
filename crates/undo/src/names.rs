//! Puts back what the cutover changed at the source: its name and its security groups.
//!
//! The commit point is the request for the second rename. Whether that was made is not asked of the
//! state, whose replies may be lost, but of the target: it has the name or is being renamed, or,
//! once no abandoned call can land any more, it never had it and never served a client.

use aws_sdk_rds::types::DbInstance;
use workflow::Error;
use workflow::describe::{find_by_resource_id, pending_identifier};
use workflow::fence::{active_groups, is_changing, set_groups};
use workflow::rename::{NAME_RELEASE_SECONDS, request};
use workflow::status::{self, Class};
use workflow::turn::HIDDEN_SECONDS_MAX;

use crate::document::OfSnapshot;
use crate::{Progress, Undo};

/// What the target says about the commit point.
enum Target {
    /// It has the name, or was asked to take it.
    Named,
    /// Between two names, perhaps.
    Moving,
    AtRest,
}

impl Undo<'_, OfSnapshot> {
    /// The commit point has passed if the target has the name. If not, it is asked again once no abandoned call
    /// can be on its way any more, and at each further look.
    pub(crate) async fn ask_target(&mut self) -> Result<Progress, Error> {
        if matches!(self.target().await?, Target::Named) {
            self.response.past_commit_point = true;
            return Ok(Progress::Over);
        }
        if !self.response.late_calls_are_over {
            self.response.late_calls_are_over = true;
            return Ok(Progress::Pending);
        }
        Ok(Progress::Over)
    }

    /// Gives the source its name back, by DbiResourceId, since names are what is changing.
    pub(crate) async fn name_source(&mut self) -> Result<Progress, Error> {
        let Some(source) = self.source().await? else { return Ok(self.unseen_source()) };
        let target = self.target().await?;
        if matches!(target, Target::Named) {
            self.response.past_commit_point = true;
            return Ok(Progress::Over);
        }
        if matches!(target, Target::AtRest) {
            self.response.target_rested_at_seconds = self.waited_seconds();
        }
        let id = source.db_instance_identifier().unwrap_or_default();
        if id == self.planned.instance_id.as_str() {
            return Ok(if is_at_home(&source) { Progress::Steady } else { Progress::Pending });
        }
        if id != self.way.unencrypted_instance_id.as_str() {
            self.note(format!("The source is called `{id}` now: somebody renamed it, and it is left so."));
            return Ok(Progress::Over);
        }
        // A target that does not come to rest is gone, or its modification is somebody else's.
        let may_take_it = self.waited_seconds() < self.response.target_rested_at_seconds + HIDDEN_SECONDS_MAX;
        if !(matches!(target, Target::Moving) && may_take_it) {
            self.call_back(&source).await?;
        }
        Ok(Progress::Pending)
    }

    /// Asks for the source's rename, if it can take it now.
    async fn call_back(&mut self, source: &DbInstance) -> Result<(), Error> {
        let status = source.db_instance_status().unwrap_or_default();
        if let Class::Failed { remedy } = status::instance(status) {
            return Err(Error::InstanceFailed(format!(
                "the name `{}` is not back at DB instance {}: it is `{status}`: {remedy}",
                self.planned.instance_id, self.planned.owner.source_resource_id
            )));
        }
        if !status::serves_clients(status) || pending_identifier(source).is_some() {
            return Ok(());
        }
        match request(self.client, source, &self.planned.instance_id).await {
            // Not yet: a backup or the like stands in the way.
            Err(Error::InvalidInstanceState(_)) => Ok(()),
            // Not yet free, or about to be the target's: the next looks tell.
            Err(Error::NameConflict(_)) if self.waited_seconds() < HIDDEN_SECONDS_MAX + NAME_RELEASE_SECONDS => Ok(()),
            outcome => outcome,
        }
    }

    /// Gives the source the groups that the fence noted before it changed anything. What was never noted was never
    /// taken, and other groups than the fence's are not ours to change.
    pub(crate) async fn open_source(&mut self) -> Result<Progress, Error> {
        let before = self.way.fenced.as_ref().and_then(|fenced| fenced.security_groups_before.clone());
        let (Some(fence), Some(before)) = (&self.way.options.isolation_security_group_id, before) else {
            return Ok(Progress::Over);
        };
        let Some(source) = self.source().await? else { return Ok(self.unseen_source()) };
        let status = source.db_instance_status().unwrap_or_default();
        if !active_groups(&source).contains(fence) {
            let serves = status::serves_clients(status) || matches!(status::instance(status), Class::Failed { .. });
            return Ok(if serves && !is_changing(&source) { Progress::Steady } else { Progress::Pending });
        }
        if let Class::Failed { remedy } = status::instance(status) {
            return Err(Error::InstanceFailed(format!(
                "DB instance `{}` is not behind its own security groups ({}) again: it is `{status}`: {remedy}",
                source.db_instance_identifier().unwrap_or_default(),
                before.join(", ")
            )));
        }
        if status::can_be_modified(status) && !is_changing(&source) {
            match set_groups(self.client, &source, before).await {
                Ok(()) | Err(Error::InvalidInstanceState(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Progress::Pending)
    }

    pub(crate) async fn source(&mut self) -> Result<Option<DbInstance>, Error> {
        let source = find_by_resource_id(self.client, &self.planned.owner.source_resource_id).await?;
        if source.is_some() {
            self.response.source_seen_at_seconds = self.waited_seconds();
        }
        Ok(source)
    }

    /// A rename hides it for minutes; what is hidden for longer is gone, and cannot be put back.
    pub(crate) fn unseen_source(&mut self) -> Progress {
        if self.waited_seconds() < self.response.source_seen_at_seconds + HIDDEN_SECONDS_MAX {
            return Progress::Pending;
        }
        self.note(format!(
            "The source has not been seen for {HIDDEN_SECONDS_MAX} s: somebody deleted it, so nothing of it can be put back."
        ));
        Progress::Over
    }

    async fn target(&self) -> Result<Target, Error> {
        let Some(resource_id) = &self.way.target.resource_id else { return Ok(Target::AtRest) };
        let Some(target) = find_by_resource_id(self.client, resource_id).await? else { return Ok(Target::Moving) };
        let name = self.planned.instance_id.as_str();
        if [target.db_instance_identifier(), pending_identifier(&target)].contains(&Some(name)) {
            return Ok(Target::Named);
        }
        // A rename can show as either before the new name does.
        let moving = matches!(target.db_instance_status(), Some("renaming" | "modifying"));
        Ok(if moving { Target::Moving } else { Target::AtRest })
    }
}

/// Under its name, with no other on the way. Its own life goes on: a backup that started meanwhile, or a
/// modification that waits for its window, is not ours to wait for.
fn is_at_home(source: &DbInstance) -> bool {
    let status = source.db_instance_status().unwrap_or_default();
    pending_identifier(source).is_none()
        && (status::serves_clients(status) || matches!(status::instance(status), Class::Failed { .. }))
}
