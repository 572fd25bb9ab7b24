//! One line for each instance, from what find-unencrypted wrote and what the Map state's executions came to.

use std::collections::BTreeMap;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bucket::Bucket;
use bucket::results::{Child, load, parse};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use workflow::Error;

use crate::Request;

/// How Step Functions names it when the name of the execution is taken [A70].
const NAME_IS_TAKEN: &str = "StepFunctions.ExecutionAlreadyExistsException";

#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub outcome: Outcome,
    /// Of a plan: which is started first.
    pub order: usize,
    pub instance_id: String,
    pub resource_id: String,
    pub engine: String,
    pub class: String,
    pub allocated_gib: i64,
    pub way: String,
    pub encrypted_instance_id: String,
    /// Why it was left out, or the name of the error.
    pub reason: String,
    /// The same in words, with what to do.
    pub detail: String,
    /// How long its execution took; of a plan, how long it may take.
    pub minutes: f64,
    /// Of these, what its execution waited for, by phase. The rest are its steps, an approval, a cutover.
    pub phases: BTreeMap<String, f64>,
    pub execution: String,
    #[serde(skip)]
    pub minutes_at_least: f64,
    #[serde(skip)]
    pub snapshot_gib_at_most: i64,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    Failed,
    Encrypted,
    Planned,
    LeftOut,
}

/// Of an item or of one that was left out: the fields that both have, and those of one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    instance_id: String,
    resource_id: String,
    engine: String,
    class: String,
    allocated_gib: i64,
    minutes_at_least: f64,
    minutes_at_most: f64,
    snapshot_gib_at_most: i64,
    way: String,
    reason: String,
    detail: String,
}

/// What the item's execution answers.
#[derive(Deserialize)]
struct Encrypted {
    execution: String,
    encrypted_instance_id: String,
    /// By phase.
    waited_seconds: BTreeMap<String, f64>,
}

pub(crate) async fn read(bucket: &Bucket, request: &Request) -> Result<Vec<Line>, Error> {
    let left_out: Vec<Entry> = load(bucket, &request.left_out_key).await?;
    let mut lines = match &request.results {
        Some(results) => results.read(bucket, of_child).await?,
        None => {
            let items: Vec<Entry> = load(bucket, &request.items_key).await?;
            items.into_iter().enumerate().map(planned).collect()
        }
    };
    lines.extend(left_out.into_iter().map(|entry| line(Outcome::LeftOut, entry)));
    // What somebody has to look at comes first.
    lines.sort_by(|one, other| {
        (one.outcome, one.order, &one.instance_id).cmp(&(other.outcome, other.order, &other.instance_id))
    });
    Ok(lines)
}

fn planned((position, item): (usize, Entry)) -> Line {
    let (minutes_at_least, minutes) = (item.minutes_at_least, item.minutes_at_most);
    let snapshot_gib_at_most = item.snapshot_gib_at_most;
    Line { order: position + 1, minutes_at_least, minutes, snapshot_gib_at_most, ..line(Outcome::Planned, item) }
}

fn of_child(child: Child) -> Result<Line, Error> {
    let item: Entry = parse("the list", child.input.as_bytes())?;
    let minutes = minutes_between(&child.start_date, &child.stop_date);
    if let Some(output) = &child.output {
        let Encrypted { execution, encrypted_instance_id, waited_seconds } = parse("a result", output.as_bytes())?;
        let phases = waited_seconds.into_iter().map(|(phase, seconds)| (phase, tenths(seconds / 60.0))).collect();
        // What its plan said of the way is over.
        let done = Line { detail: String::new(), ..line(Outcome::Encrypted, item) };
        return Ok(Line { encrypted_instance_id, execution, minutes, phases, ..done });
    }
    let error = child.error.unwrap_or_else(|| "NotStarted".to_owned());
    let cause = child.cause.unwrap_or_default();
    if error == NAME_IS_TAKEN {
        let detail = "an execution of this name was started before: it is looked after".to_owned();
        return Ok(Line { reason: "already_started".to_owned(), detail, ..line(Outcome::LeftOut, item) });
    }
    // "Start workflow executions from a task state": the cause describes the execution that did not succeed.
    let nested: Value = serde_json::from_str(&cause).unwrap_or_default();
    let told = |name: &str| nested[name].as_str().map(str::to_owned);
    Ok(Line {
        reason: told("Error").or_else(|| told("Status")).unwrap_or(error),
        detail: told("Cause").unwrap_or(if nested.is_object() { String::new() } else { cause }),
        execution: told("ExecutionArn").unwrap_or_default(),
        minutes,
        ..line(Outcome::Failed, item)
    })
}

fn line(outcome: Outcome, entry: Entry) -> Line {
    Line {
        outcome,
        order: 0,
        instance_id: entry.instance_id,
        resource_id: entry.resource_id,
        engine: entry.engine,
        class: entry.class,
        allocated_gib: entry.allocated_gib,
        way: entry.way,
        encrypted_instance_id: String::new(),
        reason: entry.reason,
        detail: entry.detail,
        minutes: 0.0,
        phases: BTreeMap::new(),
        execution: String::new(),
        minutes_at_least: 0.0,
        snapshot_gib_at_most: 0,
    }
}

fn minutes_between(start: &str, stop: &str) -> f64 {
    let seconds = |text| DateTime::from_str(text, Format::DateTimeWithOffset).map(|time| time.as_secs_f64());
    match (seconds(start), seconds(stop)) {
        (Ok(start), Ok(stop)) => tenths((stop - start) / 60.0),
        _ => 0.0,
    }
}

pub(crate) fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
