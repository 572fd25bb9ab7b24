//! Past the commit point: the target gets its last settings, and what the input does not keep is deleted.

use aws_sdk_rds::types::DbInstance;
use settings::protect;
use workflow::Error;
use workflow::describe::{find_by_resource_id, pending_identifier};
use workflow::online::DatabaseTask;
use workflow::options::Cutover;
use workflow::status::{self, Class};
use workflow::turn::HIDDEN_SECONDS_MAX;

use crate::document::OfSnapshot;
use crate::steps::{Forward, Step};
use crate::{DEADLINE_SECONDS, Progress, Undo};

impl Undo<'_, OfSnapshot> {
    /// Goes on with a step, and says whether it is over.
    pub(crate) async fn go_on(&mut self, step: &Step, forward: Forward) -> Result<bool, Error> {
        if self.is_over(step) {
            return Ok(true);
        }
        let over = match forward {
            Forward::OpenTarget => matches!(self.ask_database(DatabaseTask::OpenTarget), Progress::Over),
            Forward::DeleteReplication => matches!(self.delete_replication().await?, Progress::Over),
            Forward::Protect => self.protect_target().await?,
            Forward::CleanUp => self.clean_up().await?,
            Forward::DeleteDeployment => true,
        };
        if over {
            self.end(step);
        }
        Ok(over)
    }

    async fn protect_target(&mut self) -> Result<bool, Error> {
        let resource_id = self.way.target.resource_id.as_deref().unwrap_or_default();
        let Some(target) = find_by_resource_id(self.client, resource_id).await? else {
            if self.waited_seconds() < self.response.target_rested_at_seconds + HIDDEN_SECONDS_MAX {
                return Ok(false);
            }
            return Err(Error::InstanceNotFound(format!(
                "DB instance {resource_id}, the target, has not been seen for {HIDDEN_SECONDS_MAX} s: somebody deleted it"
            )));
        };
        self.response.target_rested_at_seconds = self.waited_seconds();
        if !self.has_final_name(&target)? {
            return Ok(false);
        }
        let wanted = self.way.wanted(self.planned).guarded(self.client).await?;
        let previous = self.response.protected.take();
        let protection = protect::look(self.client, &target, &wanted, previous, DEADLINE_SECONDS).await?;
        let over = protection.ready;
        protection.notes.iter().for_each(|note| self.note(note.clone()));
        self.response.protected = Some(protection);
        Ok(over)
    }

    /// A rename that was asked for takes its time, and only a target that runs can end it.
    fn has_final_name(&self, target: &DbInstance) -> Result<bool, Error> {
        let id = target.db_instance_identifier().unwrap_or_default();
        let status = target.db_instance_status().unwrap_or_default();
        if let Class::Failed { remedy } = status::instance(status) {
            return Err(Error::InstanceFailed(format!(
                "DB instance `{id}`, the encrypted target, is `{status}`: {remedy}"
            )));
        }
        Ok(match self.way.options.cutover {
            Cutover::None => true,
            Cutover::Rename => {
                id == self.planned.instance_id.as_str()
                    && pending_identifier(target).is_none()
                    && status::serves_clients(status)
            }
        })
    }

    async fn clean_up(&mut self) -> Result<bool, Error> {
        let previous = self.response.finished.take();
        let finished = self.way.finishing(self.planned).look(self.client, previous, DEADLINE_SECONDS).await?;
        let over = finished.ready;
        self.response.deleted.clone_from(&finished.deleted);
        self.response.kept.clone_from(&finished.kept);
        self.response.remaining.clone_from(&finished.remaining);
        self.response.finished = Some(finished);
        Ok(over)
    }
}
