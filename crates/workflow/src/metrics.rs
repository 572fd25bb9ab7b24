//! What RDS tells CloudWatch of an instance, minute by minute.
//!
//! AWS call: GetMetricStatistics (AWS/RDS).

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::primitives::DateTimeFormat::DateTimeWithOffset;
use aws_sdk_cloudwatch::types::{Datapoint, Dimension, Statistic};
use aws_sdk_rds::types::DbInstance;

use crate::error::{Error, invalid};

pub(crate) const MINUTE_SECONDS: i64 = 60;
/// One of the last of these minutes is there, though CloudWatch shows a minute a minute or two late [A19].
const RECENT_MINUTES: i64 = 6;
const BYTES_PER_GIB: f64 = 1_073_741_824.0;
/// Of a source's storage, so much must stay free while something holds its log back: a twentieth, which is more
/// than nothing for a small one and less than hours of writes for a large one. `storage-full` would stop it.
const FREE_SHARE_MIN: f64 = 0.05;
const FREE_GIB_MIN: f64 = 1.0;
const FREE_GIB_MAX: f64 = 50.0;

/// The minutes (since the epoch) of `start..end` that have a datapoint, with their value.
pub(crate) async fn by_minute(
    client: &Client,
    instance_id: &str,
    metric: &str,
    statistic: Statistic,
    start: i64,
    end: i64,
) -> Result<Vec<(i64, f64)>, Error> {
    let call = client
        .get_metric_statistics()
        .namespace("AWS/RDS")
        .metric_name(metric)
        .dimensions(Dimension::builder().name("DBInstanceIdentifier").value(instance_id).build())
        .start_time(DateTime::from_secs(start * MINUTE_SECONDS))
        .end_time(DateTime::from_secs(end * MINUTE_SECONDS))
        .period(MINUTE_SECONDS as i32)
        .statistics(statistic.clone());
    let output = call.send().await;
    let output =
        output.map_err(|error| Error::from_call(format!("read {metric} of DB instance `{instance_id}`"), error))?;
    let value = |point: &Datapoint| match statistic {
        Statistic::Maximum => point.maximum(),
        _ => point.minimum(),
    };
    let point = |point: &Datapoint| Some((point.timestamp()?.secs() / MINUTE_SECONDS, value(point)?));
    Ok(output.datapoints().iter().filter_map(point).collect())
}

pub(crate) fn minute(field: &str, time: &str) -> Result<i64, Error> {
    let parsed = DateTime::from_str(time, DateTimeWithOffset);
    parsed.map(|time| time.secs() / MINUTE_SECONDS).map_err(|error| invalid(field, error.to_string()))
}

/// The least value of the last minutes before `at` (RFC 3339); `None` while CloudWatch has none.
async fn least(client: &Client, instance_id: &str, metric: &str, at: &str) -> Result<Option<f64>, Error> {
    let end = minute("at", at)? + 1;
    let values = by_minute(client, instance_id, metric, Statistic::Minimum, end - RECENT_MINUTES, end).await?;
    Ok(values.into_iter().map(|(_, value)| value).reduce(f64::min))
}

/// By how many seconds a replica was behind when it was closest, within the last minutes. A source on which nobody
/// writes lets the lag grow up to a minute or more, and fall again [A59].
pub async fn replica_lag_seconds(client: &Client, replica_id: &str, at: &str) -> Result<Option<f64>, Error> {
    least(client, replica_id, "ReplicaLag", at).await
}

/// Whose the source's log is kept for until they have taken it.
#[derive(Clone, Copy, Debug)]
pub enum Follower {
    /// Of a blue/green deployment.
    Green,
    /// By logical replication.
    Target,
}

/// Refuses to go on while a source runs out of storage. Where CloudWatch has no answer nobody can say so.
pub async fn refuse_low_storage(
    client: &Client,
    source: &DbInstance,
    follower: Follower,
    at: &str,
) -> Result<(), Error> {
    let id = source.db_instance_identifier().unwrap_or_default();
    let Some(free_bytes) = least(client, id, "FreeStorageSpace", at).await? else { return Ok(()) };
    let free_gib = free_bytes / BYTES_PER_GIB;
    let size_gib = f64::from(source.allocated_storage().unwrap_or_default());
    let needed_gib = (size_gib * FREE_SHARE_MIN).clamp(FREE_GIB_MIN, FREE_GIB_MAX);
    if free_gib >= needed_gib {
        return Ok(());
    }
    let holder = match follower {
        Follower::Green => "a blue/green deployment holds its log back until green has taken it",
        Follower::Target => "its replication slots hold its log back until the target has taken it",
    };
    Err(Error::SourceStorageLow(format!(
        "DB instance `{id}` has {free_gib:.1} GiB of {size_gib:.0} GiB free, and must keep {needed_gib:.1} GiB: \
         {holder}. Raise its storage (aws rds modify-db-instance --allocated-storage) and start again"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_cloudwatch::operation::get_metric_statistics::GetMetricStatisticsOutput;
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    const AT: &str = "2026-03-01T10:00:30Z";

    fn metric(name: &'static str, values: &'static [f64]) -> Client {
        let rule = mock!(Client::get_metric_statistics)
            .match_requests(move |input| input.metric_name() == Some(name) && input.period() == Some(60))
            .then_output(move || {
                let points = values.iter().zip(0..).map(|(value, minute)| {
                    Datapoint::builder().timestamp(DateTime::from_secs(minute * 60)).minimum(*value).build()
                });
                GetMetricStatisticsOutput::builder().set_datapoints(Some(points.collect())).build()
            });
        mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, [&rule])
    }

    #[tokio::test]
    async fn the_lag_is_the_least_of_the_last_minutes() {
        let lag = replica_lag_seconds(&metric("ReplicaLag", &[60.0, 0.5, 30.0]), "green", AT).await;
        assert_eq!(lag.expect("a lag"), Some(0.5));
        assert_eq!(replica_lag_seconds(&metric("ReplicaLag", &[]), "green", AT).await.expect("none"), None);
    }

    #[tokio::test]
    async fn a_source_that_runs_out_of_storage_is_named_with_its_remedy() {
        for (size_gib, free_gib, is_low) in [
            (100, &[5.1][..], false),
            (100, &[6.0, 4.9, 6.0], true),
            (10, &[0.9], true),
            (10, &[1.1], false),
            (10_000, &[49.0], true),
            (10_000, &[51.0], false),
            (100, &[], false),
        ] {
            let bytes: Vec<f64> = free_gib.iter().map(|gib| gib * BYTES_PER_GIB).collect();
            let source = DbInstance::builder().db_instance_identifier("orders").allocated_storage(size_gib).build();
            let outcome =
                refuse_low_storage(&metric("FreeStorageSpace", bytes.leak()), &source, Follower::Green, AT).await;
            assert_eq!(outcome.is_err(), is_low, "{free_gib:?} of {size_gib}: {outcome:?}");
            if let Err(error) = outcome {
                assert_eq!(error.name(), "SourceStorageLow");
                assert!(error.to_string().contains("--allocated-storage"), "{error}");
            }
        }
    }
}
