//! What replicates. What only a login can do another function does, in the VPC, and the loop goes on with its answer.

use dms::Replication;
use workflow::Error;
use workflow::online::{DatabaseTask, Undone};
use workflow::options::Engine;

use crate::document::OfSnapshot;
use crate::{Progress, Undo};

/// A database that cannot be reached for so long needs a human; what RDS can do goes on.
const UNREACHABLE_SECONDS_MAX: u64 = 6 * 60 * 60;

impl Undo<'_, OfSnapshot> {
    /// A step that was given up on can still make a slot, which would fill the source's storage.
    pub(crate) async fn open_databases(&mut self) -> Result<Progress, Error> {
        if self.way.preflight.is_none() {
            return Ok(Progress::Over);
        }
        if self.awaits_late_calls() {
            return Ok(Progress::Pending);
        }
        self.ask_source(DatabaseTask::OpenSource).await
    }

    /// Only where a cutover had begun; then nothing is late any more.
    pub(crate) async fn unfence(&mut self) -> Result<Progress, Error> {
        if self.way.preflight.is_none() {
            return Ok(Progress::Over);
        }
        self.ask_source(DatabaseTask::Unfence).await
    }

    /// What is gone has no databases to open, and takes its slots along.
    async fn ask_source(&mut self, task: DatabaseTask) -> Result<Progress, Error> {
        if self.source().await?.is_none() {
            return Ok(self.unseen_source());
        }
        Ok(self.ask_database(task))
    }

    /// Whether there can be anything of it in AWS DMS.
    pub(crate) fn is_replicated_by_dms(&self) -> bool {
        self.way.options.engine == Engine::Dms && self.way.preflight.is_some()
    }

    /// Before the commit point, where a step that was given up on can still make something.
    pub(crate) async fn take_back_replication(&mut self) -> Result<Progress, Error> {
        // It takes long, and the row after it must not take a source for gone that only this one did not look for.
        self.source().await?;
        if self.awaits_late_calls() {
            return Ok(Progress::Pending);
        }
        self.delete_replication().await
    }

    pub(crate) async fn delete_replication(&mut self) -> Result<Progress, Error> {
        let Some(preflight) = self.way.preflight.as_ref().filter(|_| self.is_replicated_by_dms()) else {
            return Ok(Progress::Over);
        };
        let oids = preflight.databases.oids();
        let swept = Replication::of(self.dms, &self.planned.owner).delete(&oids).await?;
        swept.deleted.into_iter().for_each(|name| self.note_deleted(name));
        if swept.pending.is_empty() {
            return Ok(Progress::Over);
        }
        if self.waited_seconds() < UNREACHABLE_SECONDS_MAX {
            return Ok(Progress::Pending);
        }
        self.response.stuck.get_or_insert(format!(
            "AWS DMS does not let go of {}: delete it by hand, since a replication instance is billed",
            swept.pending.join(", ")
        ));
        Ok(Progress::Over)
    }

    /// Once, for as long as a call that Step Functions gave up on can land.
    fn awaits_late_calls(&mut self) -> bool {
        !std::mem::replace(&mut self.response.late_calls_are_over, true)
    }
}

impl<OfWay> Undo<'_, OfWay> {
    /// Asks for the task, or reads what became of it.
    pub(crate) fn ask_database(&mut self, task: DatabaseTask) -> Progress {
        let Some(answer) = self.response.database.take().filter(|answer| answer.task == task) else {
            self.response.database = Some(Undone::ask(task));
            return Progress::Pending;
        };
        if answer.ready {
            answer.notes.iter().for_each(|note| self.note(format!("{note}.")));
            self.response.database = Some(answer);
            return Progress::Over;
        }
        let problem = answer.problem.unwrap_or_else(|| "no answer".to_owned());
        if self.waited_seconds() < UNREACHABLE_SECONDS_MAX {
            // Asked again at the look after this one, which a Wait comes before.
            return Progress::Pending;
        }
        self.response.stuck.get_or_insert(format!(
            "{problem}. Log in, and see to it. PostgreSQL: no database of the source may keep CONNECTION LIMIT 0, or \
             nobody who may CONNECT (pg_database), and no replication slot encrypt_… may stay (SELECT \
             pg_drop_replication_slot(…)), or it fills the storage. MariaDB: no account of the source that was open may \
             stay locked (ALTER USER … ACCOUNT UNLOCK), and none rds_encrypt_… may stay (DROP USER)"
        ));
        Progress::Over
    }
}
