//! One line for each instance, from what find-unencrypted wrote and what the Map state's executions came to.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bucket::Bucket;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use workflow::Error;
use workflow::error::invalid;

use crate::Request;

/// How Step Functions names it when the name of the execution is taken [A70].
const NAME_IS_TAKEN: &str = "StepFunctions.ExecutionAlreadyExistsException";

#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub outcome: Outcome,
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
    pub execution: String,
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
    minutes_at_most: f64,
    way: String,
    reason: String,
    detail: String,
}

/// "ResultWriter (Map)" (Step Functions Developer Guide): `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    result_files: ResultFiles,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "UPPERCASE")]
struct ResultFiles {
    succeeded: Vec<File>,
    failed: Vec<File>,
    pending: Vec<File>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    key: String,
}

/// One child of the Map state: Input and Output are JSON in a text.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Child {
    input: String,
    #[serde(default)]
    output: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    cause: Option<String>,
    #[serde(default)]
    start_date: String,
    #[serde(default)]
    stop_date: String,
}

pub(crate) async fn read(bucket: &Bucket, request: &Request) -> Result<Vec<Line>, Error> {
    let left_out: Vec<Entry> = load(bucket, &request.left_out_key).await?;
    let mut lines = match &request.results {
        Some(results) => of_children(bucket, &results.result_writer_details.key).await?,
        None => {
            let items: Vec<Entry> = load(bucket, &request.items_key).await?;
            let minutes = |item: &Entry| item.minutes_at_most;
            items.into_iter().map(|item| Line { minutes: minutes(&item), ..line(Outcome::Planned, item) }).collect()
        }
    };
    lines.extend(left_out.into_iter().map(|entry| line(Outcome::LeftOut, entry)));
    // What somebody has to look at comes first.
    lines.sort_by(|one, other| (one.outcome, &one.instance_id).cmp(&(other.outcome, &other.instance_id)));
    Ok(lines)
}

async fn of_children(bucket: &Bucket, manifest: &str) -> Result<Vec<Line>, Error> {
    let Manifest { result_files: ResultFiles { succeeded, failed, pending } } = load(bucket, manifest).await?;
    let mut lines = vec![];
    for file in succeeded.iter().chain(&failed).chain(&pending) {
        let children: Vec<Child> = load(bucket, &file.key).await?;
        for child in children {
            lines.push(of_child(&file.key, child)?);
        }
    }
    Ok(lines)
}

fn of_child(key: &str, child: Child) -> Result<Line, Error> {
    let item: Entry = parse(key, child.input.as_bytes())?;
    let minutes = minutes_between(&child.start_date, &child.stop_date);
    let output: Value = child.output.as_deref().map_or(Ok(Value::Null), |text| parse(key, text.as_bytes()))?;
    if output != Value::Null {
        let text = |name: &str| output[name].as_str().unwrap_or_default().to_owned();
        let [encrypted_instance_id, execution] = ["encrypted_instance_id", "execution"].map(text);
        return Ok(Line { encrypted_instance_id, execution, minutes, ..line(Outcome::Encrypted, item) });
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
        execution: String::new(),
    }
}

fn minutes_between(start: &str, stop: &str) -> f64 {
    let seconds = |text| DateTime::from_str(text, Format::DateTimeWithOffset).map(|time| time.as_secs_f64());
    match (seconds(start), seconds(stop)) {
        (Ok(start), Ok(stop)) => ((stop - start) / 60.0 * 10.0).round() / 10.0,
        _ => 0.0,
    }
}

async fn load<T: DeserializeOwned>(bucket: &Bucket, key: &str) -> Result<T, Error> {
    parse(key, &bucket.get(key).await?)
}

fn parse<T: DeserializeOwned>(key: &str, text: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(text).map_err(|error| invalid(key, format!("is not what a fleet writes: {error}")))
}
