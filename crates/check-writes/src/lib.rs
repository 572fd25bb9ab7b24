//! Holds the input to its word: `writes_stopped` means that no client was connected to the source, in any
//! minute from before the snapshot until the rename. (What the plan looks at is the time before the start.)
//!
//! AWS calls: CloudWatch GetMetricStatistics, by `workflow::writes`.
//!
//! Repeating it is safe: it only reads.

use aws_sdk_cloudwatch::Client;
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::ids::InstanceId;
use workflow::turn::{OUTAGE_SECONDS_MAX, Outage, Turn};
use workflow::writes::{self, Writes};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub instance_id: InstanceId,
    /// RFC 3339.
    pub from: String,
    /// When this state was entered: the first look's is what is checked, each look's what its attempts count from.
    pub until: String,
    pub previous: Option<Response>,
    /// The loops before this one: their outage goes on.
    #[serde(default)]
    pub outage_before: Vec<Option<Outage>>,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Response {
    #[serde(flatten)]
    pub writes: Writes,
    /// For how long nobody has been able to reach the source, up to this look's end; 0 before the outage.
    pub outage_seconds: u64,
}

pub async fn handle(client: &Client, request: Request) -> Result<Response, Error> {
    let Request { instance_id, from, until, previous, outage_before } = request;
    let Response { writes, outage_seconds } = previous.unwrap_or_default();
    let mut turn = Turn { outage_seconds, ..Turn::default() };
    turn.go_on_with_outage(&outage_before, &until)?;
    let writes = writes::look(client, &instance_id, &from, &until, Some(writes)).await?;
    if turn.is_outage() && !writes.ready {
        turn.outage_seconds += writes.wait.wait_seconds;
        if turn.outage_seconds > OUTAGE_SECONDS_MAX {
            return Err(Error::WaitTimedOut(format!(
                "CloudWatch does not show yet whether a client is connected to DB instance `{instance_id}`, and after \
                 another wait nobody could have reached it for {} s, of {OUTAGE_SECONDS_MAX} s at most: it is given \
                 back to its clients; start again at a quieter time",
                turn.outage_seconds
            )));
        }
    }
    Ok(Response { writes, outage_seconds: turn.outage_seconds })
}

#[cfg(test)]
mod tests;
