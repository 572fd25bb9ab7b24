//! What only a login can do: another function does it, in the VPC, and the loop goes on with its answer.

use workflow::online::{DatabaseTask, Undone};

use crate::document::OfSnapshot;
use crate::{Progress, Undo};

/// A database that cannot be reached for so long needs a human; what RDS can do goes on.
const UNREACHABLE_SECONDS_MAX: u64 = 6 * 60 * 60;

impl Undo<'_, OfSnapshot> {
    /// A step that was given up on can still make a slot, which would fill the source's storage.
    pub(crate) fn open_databases(&mut self) -> Progress {
        if self.way.preflight.is_none() {
            return Progress::Over;
        }
        if !self.response.late_calls_are_over {
            self.response.late_calls_are_over = true;
            return Progress::Pending;
        }
        self.ask_database(DatabaseTask::OpenSource)
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
            "{problem}. Log in, and see to it: no database of the source may keep CONNECTION LIMIT 0 (pg_database), \
             and no replication slot rds_encrypt_… may stay (SELECT pg_drop_replication_slot(…)), or it fills the storage"
        ));
        Progress::Over
    }
}
