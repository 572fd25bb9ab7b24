//! Whether a client was connected to an instance: one look at CloudWatch's DatabaseConnections.
//!
//! AWS call: GetMetricStatistics (AWS/RDS DatabaseConnections, Maximum, by the minute).

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::Statistic;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::ids::InstanceId;
use crate::metrics::{MINUTE_SECONDS, by_minute, minute};
use crate::wait::{self, Wait};

/// Looked at before the time from which the writes must have stopped.
const LEAD_MINUTES: i64 = 3;
/// Of these minutes up to the last one each must be there: whoever connects shortly before a rename would
/// hide in a gap.
const LATEST_MINUTES: i64 = 3;
/// GetMetricStatistics returns at most this many datapoints.
const DATAPOINTS_MAX: i64 = 1_440;
/// CloudWatch shows a minute of RDS's a minute or two after it is over [A19]; one that is not there by
/// then will not come, and no datapoint is no proof.
const LATE_DATAPOINT_SECONDS: u64 = 300;
/// For how long a call that CloudWatch refuses for the moment is made again.
const REFUSED_CALL_SECONDS: u64 = 1_800;

/// What a loop that waits for the metric carries in the state.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Writes {
    /// No client was connected.
    pub ready: bool,
    pub minutes_without_connections: usize,
    pub wait: Wait,
    /// Until when this loop checks: the time of its first look.
    pub until: Option<String>,
}

/// Looks at every minute from shortly before `from` up to `until` (RFC 3339).
///
/// A call that is refused for the moment is a look that saw nothing: the time until the next one counts.
/// A minute without a datapoint is waited for, since the metric comes late, unless it stands alone between two
/// without a connection: RDS misses one now and then, and nobody writes a minute long without being seen at
/// either end of it.
pub async fn look(
    client: &Client,
    instance_id: &InstanceId,
    from: &str,
    until: &str,
    previous: Option<Writes>,
) -> Result<Writes, Error> {
    let previous = previous.unwrap_or_default();
    let until = previous.until.clone().unwrap_or_else(|| until.to_owned());
    let first = minute("from", from)? - LEAD_MINUTES;
    let last = minute("until", &until)?;
    let mut seen = Vec::new();
    let mut start = first;
    while start <= last {
        let end = (start + DATAPOINTS_MAX).min(last + 1);
        match by_minute(client, instance_id.as_str(), "DatabaseConnections", Statistic::Maximum, start, end).await {
            Ok(points) => seen.extend(points),
            Err(error) if error.is_passing() => {
                let wait = wait::next(Some(&previous.wait), None, REFUSED_CALL_SECONDS).map_err(|_| error)?;
                return Ok(Writes { ready: false, wait, until: Some(until), ..previous });
            }
            Err(error) => return Err(error),
        }
        start = end;
    }
    if let Some((minute, connections)) = seen.iter().find(|(_, connections)| *connections > 0.0) {
        return Err(Error::WritesNotStopped(format!(
            "DB instance `{instance_id}` had {connections} client connections in the minute of {}, although the input \
             says writes_stopped; stop every client (its pools and jobs, too) and start again, or accept_lost_writes",
            shown(*minute)
        )));
    }
    let is_seen = |minute: i64| seen.iter().any(|(other, _)| *other == minute);
    let is_alone = |minute: i64| minute <= last - LATEST_MINUTES && is_seen(minute - 1) && is_seen(minute + 1);
    let Some(missing) = (first..=last).find(|minute| !is_seen(*minute) && !is_alone(*minute)) else {
        let minutes_without_connections = seen.len();
        return Ok(Writes { ready: true, minutes_without_connections, until: Some(until), ..previous });
    };
    let wait = wait::next(Some(&previous.wait), None, LATE_DATAPOINT_SECONDS).map_err(|_| {
        Error::WritesNotStopped(format!(
            "CloudWatch has no DatabaseConnections of DB instance `{instance_id}` for the minute of {}, so nothing \
             proves that no client was connected; was the instance stopped or renamed meanwhile? Start again once it \
             has run for some minutes, or accept_lost_writes",
            shown(missing)
        ))
    })?;
    Ok(Writes { ready: false, wait, until: Some(until), ..previous })
}

fn shown(minute: i64) -> String {
    DateTime::from_secs(minute * MINUTE_SECONDS).to_string()
}

#[cfg(test)]
mod tests;
