//! Takes back what a failed execution did, or finishes forward what it may not take back any more.
//!
//! AWS calls: DescribeDBInstances, DescribeDBSnapshots, ModifyDBInstance (identifier, security groups, deletion
//! protection), RemoveTagsFromResource, DeleteDBInstance, DeleteDBSnapshot; of a blue/green deployment
//! DescribeBlueGreenDeployments and DeleteBlueGreenDeployment; of AWS DMS the Describe calls of tasks, endpoints and
//! replication instances, ListTagsForResource, and the calls that stop and delete them.
//!
//! It is one look of a loop, the same in every machine: it does what can be done now and answers `ready`, or how
//! long to wait. [`STEPS`] is the order: before the commit point the undo goes through it from the end, past it
//! from the commit point on. Repeating it is safe, because each row asks AWS and not the state what was done: names
//! and security groups are looked at before they are put back, and only what carries this execution's tag is
//! deleted, never the source.

mod blue_green;
mod databases;
mod document;
mod failure;
mod forward;
mod made;
mod names;
mod steps;
#[cfg(test)]
mod tests;

use aws_sdk_rds::Client;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use settings::protect::Protection;
use workflow::Error;
use workflow::finish::Finished;
use workflow::members::Each;
use workflow::online::Undone;
use workflow::options::OnFailure;
use workflow::owner::DENIED_SECONDS;
use workflow::steady::SteadyLooks;
use workflow::turn::LATE_CALL_SECONDS;
use workflow::wait::{self, Wait};

use crate::document::{Document, OfSnapshot, OfWay, Phase, Planned};
pub use crate::failure::{Caught, Failure};
use crate::steps::steps;
pub use crate::steps::{Compensation, STEPS, Step};

/// What was done is taken back whatever it takes (a snapshot in `creating` cannot be deleted, a source that is
/// backed up cannot be renamed); only after this a human must look.
const DEADLINE_SECONDS: u64 = 48 * 60 * 60;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The whole document: the undo is the one step that must know everything.
    pub state: Value,
    /// The execution whose machine asks.
    pub execution: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Response {
    pub ready: bool,
    /// For the Fail state and the mail; there once `ready` is.
    pub failure: Option<Failure>,
    /// Nothing is left that should not be there, and everything of the source is as it was, or was meant to be.
    pub whole: bool,

    /// A call that Step Functions gave up on cannot land any more.
    pub late_calls_are_over: bool,
    /// The rows of the table that need no further look.
    pub over: Vec<String>,
    pub past_commit_point: bool,
    /// Of the row at hand: how many looks in a row found nothing to do.
    pub steady_looks: SteadyLooks,
    /// The time waited at the last look that saw the source, and at the last that saw the target at rest.
    pub source_seen_at_seconds: u64,
    pub target_rested_at_seconds: u64,
    pub protected: Option<Protection>,
    /// Of the members of a deployment.
    pub members_protected: Option<Each<Protection>>,
    pub finished: Option<Finished>,
    /// What is asked of the step that logs in, and its answer.
    pub database: Option<Undone>,
    /// The DbiResourceIds of what goes with a deployment.
    pub greens: Vec<String>,
    /// Everything was gone at the last look already.
    pub gone_before: bool,

    /// Deleted by this loop, as `DB snapshot ‹id›`.
    pub deleted: Vec<String>,
    /// Left on purpose.
    pub kept: Vec<String>,
    /// Still there although it should not be, each with the reason.
    pub remaining: Vec<String>,
    /// Why the source could not be put back, or the target not be finished.
    pub stuck: Option<String>,
    /// What was found and left as it is.
    pub notes: Vec<String>,
    pub wait: Wait,
}

/// What a row came to at this look.
enum Progress {
    Over,
    /// Nothing is left to do, if the next look sees so, too.
    Steady,
    Pending,
}

pub async fn handle(
    client: &Client,
    dms: &aws_sdk_databasemigration::Client,
    request: Request,
) -> Result<Response, Error> {
    let document = Document::read(&request.state)?;
    let execution = document.recovered_execution().unwrap_or(&request.execution).to_owned();
    let Some((planned, of_way)) = &document.planned else { return Ok(failure::nothing_was_created(&document)) };
    let response = Response { ready: false, failure: None, ..document.undo.clone().unwrap_or_default() };
    let phase = document.phase;
    let mut response = match of_way {
        OfWay::Snapshot(way) => Undo { client, dms, planned, way: &**way, phase, response }.run().await?,
        OfWay::BlueGreen(way) => Undo { client, dms, planned, way: &**way, phase, response }.run().await?,
    };
    if response.ready {
        response.whole = response.stuck.is_none() && response.remaining.is_empty();
        response.failure = Some(failure::compose(&document, planned, &response, &execution));
    }
    Ok(response)
}

/// What the undo does for an execution that went this way.
trait Looks {
    /// Does what can be done now, and says whether everything is over.
    async fn look(&mut self) -> Result<bool, Error>;
    /// Says what this execution leaves, and deletes nothing.
    async fn report(&mut self) -> Result<(), Error>;
}

struct Undo<'a, OfWay> {
    client: &'a Client,
    dms: &'a aws_sdk_databasemigration::Client,
    planned: &'a Planned,
    way: &'a OfWay,
    phase: Phase,
    response: Response,
}

impl<'a, OfWay> Undo<'a, OfWay>
where
    Self: Looks,
{
    async fn run(self) -> Result<Response, Error> {
        let mut undo = self;
        match undo.look().await {
            Ok(true) => Ok(Response { ready: true, ..undo.response }),
            Ok(false) => undo.wait(),
            // The tag by which we may do it can be too young to count.
            Err(Error::AccessDenied(_)) if undo.response.wait.waited_seconds < DENIED_SECONDS => undo.wait(),
            Err(error) if error.is_passing() => Err(error),
            // What belongs to the source could not be put back: nothing is deleted, and a human is told what there is.
            Err(error) => {
                undo.response.stuck.get_or_insert(error.to_string());
                undo.report().await?;
                Ok(Response { ready: true, ..undo.response })
            }
        }
    }
}

impl Looks for Undo<'_, OfSnapshot> {
    async fn look(&mut self) -> Result<bool, Error> {
        if self.phase == Phase::Committed {
            self.response.past_commit_point = true;
        }
        if !self.response.past_commit_point {
            for step in steps(self.way.way).rev() {
                if !self.take_back_of_source(step).await? {
                    return Ok(false);
                }
            }
            if !self.response.past_commit_point {
                return self.take_back_what_was_made().await;
            }
        }
        for step in steps(self.way.way) {
            if let Compensation::GoOn(forward) = step.compensation
                && !self.go_on(step, forward).await?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn report(&mut self) -> Result<(), Error> {
        self.report_what_was_made().await
    }
}

impl Undo<'_, OfSnapshot> {
    /// Names and security groups of the source, from the last step back to the first. Returns whether it is over.
    async fn take_back_of_source(&mut self, step: &Step) -> Result<bool, Error> {
        if self.response.past_commit_point || self.is_over(step) {
            return Ok(true);
        }
        let progress = match step.compensation {
            Compensation::OpenDatabases => self.open_databases().await?,
            Compensation::DeleteReplication if !self.is_replicated_by_dms() => return Ok(true),
            Compensation::DeleteReplication => self.take_back_replication().await?,
            _ if self.phase != Phase::Cutover => return Ok(true),
            Compensation::AskTarget => self.ask_target().await?,
            Compensation::NameSource => self.name_source().await?,
            Compensation::Unfence => self.unfence().await?,
            Compensation::OpenSource => self.open_source().await?,
            _ => return Ok(true),
        };
        match progress {
            Progress::Pending => self.response.steady_looks.count(false),
            Progress::Steady => self.response.steady_looks.count(true),
            Progress::Over => {}
        }
        let over = matches!(progress, Progress::Over) || self.response.steady_looks.are_enough();
        if over {
            self.end(step);
        }
        Ok(over)
    }

    /// Deletes what was made, unless it is to be kept or may be the last copy of the data.
    async fn take_back_what_was_made(&mut self) -> Result<bool, Error> {
        if self.planned.options.on_failure == OnFailure::Keep {
            self.report().await?;
            return Ok(true);
        }
        self.delete_what_was_made().await
    }
}

impl<OfWay> Undo<'_, OfWay> {
    fn is_over(&self, step: &Step) -> bool {
        self.response.over.iter().any(|state| state == step.state)
    }

    fn end(&mut self, step: &Step) {
        self.response.over.push(step.state.to_owned());
        self.response.steady_looks = SteadyLooks::default();
    }

    fn waited_seconds(&self) -> u64 {
        self.response.wait.waited_seconds
    }

    fn note(&mut self, note: String) {
        if !self.response.notes.contains(&note) {
            self.response.notes.push(note);
        }
    }

    /// How long to sleep before the next look.
    fn wait(self) -> Result<Response, Error> {
        let response = self.response;
        let is_first_look = response.steady_looks == SteadyLooks::default()
            && (self.phase == Phase::Cutover || response.late_calls_are_over)
            && response.over.is_empty()
            && response.wait.looks == 0;
        // Only a look after the last abandoned call proves that nothing is left.
        let next = if response.gone_before || is_first_look {
            wait::sleep(Some(&response.wait), LATE_CALL_SECONDS, DEADLINE_SECONDS)
        } else {
            response.steady_looks.wait(&response.wait, None, DEADLINE_SECONDS)
        };
        let wait = next.map_err(|_| {
            Error::WaitTimedOut(format!(
                "the undo is not over after {DEADLINE_SECONDS} s: {}",
                response.notes.join("; ")
            ))
        })?;
        Ok(Response { wait, ..response })
    }
}
