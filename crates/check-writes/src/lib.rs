//! Holds the input to its word: `writes_stopped` means that no client was connected to the source,
//! in any minute from before the snapshot until the rename.
//!
//! AWS calls: CloudWatch GetMetricStatistics (AWS/RDS DatabaseConnections, Maximum, by the minute).
//!
//! Repeating it is safe: it only reads.

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::primitives::DateTimeFormat::DateTimeWithOffset;
use aws_sdk_cloudwatch::types::{Datapoint, Dimension, Statistic};
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::error::invalid;
use workflow::ids::InstanceId;
use workflow::wait::{self, Wait};

const MINUTE_SECONDS: i64 = 60;
/// Looked at before the time from which the writes must have stopped.
const LEAD_MINUTES: i64 = 3;
/// GetMetricStatistics returns at most this many datapoints.
const DATAPOINTS_MAX: i64 = 1_440;
/// CloudWatch shows a minute of RDS's a minute or two after it is over [A19]; one that is not there by
/// then will not come, and no datapoint is no proof.
const LATE_DATAPOINT_SECONDS: u64 = 300;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub instance_id: InstanceId,
    /// RFC 3339, from the execution's context object.
    pub from: String,
    pub until: String,
    pub previous: Option<Response>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Response {
    pub ready: bool,
    pub minutes_without_connections: i64,
    pub wait: Wait,
    /// Until when this loop checks: the time of its first look.
    pub until: Option<String>,
}

pub async fn handle(client: &Client, request: Request) -> Result<Response, Error> {
    let Request { instance_id, from, until, previous } = request;
    let previous = previous.unwrap_or_default();
    let until = previous.until.clone().unwrap_or(until);
    let first = minute("from", &from)? - LEAD_MINUTES;
    let last = minute("until", &until)?;
    let mut seen = Vec::new();
    let mut start = first;
    while start <= last {
        let end = (start + DATAPOINTS_MAX).min(last + 1);
        seen.extend(connections(client, &instance_id, start, end).await?);
        start = end;
    }
    if let Some((minute, connections)) = seen.iter().find(|(_, connections)| *connections > 0.0) {
        return Err(Error::WritesNotStopped(format!(
            "DB instance `{instance_id}` had {connections} client connections in the minute of {}, although the input \
             says writes_stopped; stop every client (its pools and jobs, too) and start again, or accept_lost_writes",
            shown(*minute)
        )));
    }
    let missing = (first..=last).find(|minute| !seen.iter().any(|(other, _)| other == minute));
    let Some(missing) = missing else {
        return Ok(Response {
            ready: true,
            minutes_without_connections: last + 1 - first,
            until: Some(until),
            ..previous
        });
    };
    let wait = wait::next(Some(&previous.wait), None, LATE_DATAPOINT_SECONDS).map_err(|_| {
        Error::WritesNotStopped(format!(
            "CloudWatch has no DatabaseConnections of DB instance `{instance_id}` for the minute of {}, so nothing \
             proves that no client was connected; was the instance stopped or renamed meanwhile?",
            shown(missing)
        ))
    })?;
    Ok(Response { ready: false, wait, until: Some(until), ..previous })
}

/// The minutes (since the epoch) of `start..end` that have a datapoint, with their maximum.
async fn connections(client: &Client, id: &InstanceId, start: i64, end: i64) -> Result<Vec<(i64, f64)>, Error> {
    let call = client
        .get_metric_statistics()
        .namespace("AWS/RDS")
        .metric_name("DatabaseConnections")
        .dimensions(Dimension::builder().name("DBInstanceIdentifier").value(id.as_str()).build())
        .start_time(DateTime::from_secs(start * MINUTE_SECONDS))
        .end_time(DateTime::from_secs(end * MINUTE_SECONDS))
        .period(MINUTE_SECONDS as i32)
        .statistics(Statistic::Maximum);
    let output = call.send().await;
    let output =
        output.map_err(|error| Error::from_call(format!("read the connections of DB instance `{id}`"), error))?;
    let point = |point: &Datapoint| Some((point.timestamp()?.secs() / MINUTE_SECONDS, point.maximum()?));
    Ok(output.datapoints().iter().filter_map(point).collect())
}

fn minute(field: &str, time: &str) -> Result<i64, Error> {
    let parsed = DateTime::from_str(time, DateTimeWithOffset);
    parsed.map(|time| time.secs() / MINUTE_SECONDS).map_err(|error| invalid(field, error.to_string()))
}

fn shown(minute: i64) -> String {
    DateTime::from_secs(minute * MINUTE_SECONDS).to_string()
}

#[cfg(test)]
mod tests;
