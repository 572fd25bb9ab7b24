use std::sync::{Arc, Mutex};

use aws_sdk_cloudwatch::error::ErrorMetadata;
use aws_sdk_cloudwatch::operation::get_metric_statistics::{GetMetricStatisticsError, GetMetricStatisticsOutput};
use aws_sdk_cloudwatch::types::{Datapoint, Statistic};
use aws_smithy_mocks::{MockResponse, RuleMode, mock, mock_client};

use super::*;

/// 2026-03-01T10:00 in minutes since the epoch.
const TEN: i64 = 1_772_359_200 / MINUTE_SECONDS;

/// A CloudWatch that knows the connections of each minute, and notes from when to when it is asked.
#[derive(Clone, Default)]
struct Metrics {
    connections: Vec<(i64, f64)>,
    asked: Arc<Mutex<Vec<(i64, i64)>>>,
}

impl Metrics {
    fn quiet(minutes: impl IntoIterator<Item = i64>) -> Self {
        Self { connections: minutes.into_iter().map(|minute| (minute, 0.0)).collect(), ..Self::default() }
    }

    fn asked(&self) -> Vec<(i64, i64)> {
        self.asked.lock().expect("no test panicked meanwhile").clone()
    }

    fn client(&self) -> Client {
        let metrics = self.clone();
        let rule = mock!(Client::get_metric_statistics).then_compute_response(move |input| {
            assert_eq!((input.namespace(), input.metric_name()), (Some("AWS/RDS"), Some("DatabaseConnections")));
            assert_eq!((input.period(), input.statistics()), (Some(60), &[Statistic::Maximum][..]));
            let [dimension] = input.dimensions() else { panic!("{input:?}") };
            assert_eq!((dimension.name(), dimension.value()), (Some("DBInstanceIdentifier"), Some("orders")));
            let minute = |time: Option<&DateTime>| {
                let seconds = time.expect("a time").secs();
                assert_eq!(seconds % MINUTE_SECONDS, 0);
                seconds / MINUTE_SECONDS
            };
            let (start, end) = (minute(input.start_time()), minute(input.end_time()));
            assert!(start < end && end - start <= 1_440, "CloudWatch refuses {start} to {end}");
            metrics.asked.lock().expect("no test panicked meanwhile").push((start, end));
            let points = metrics.connections.iter().filter(|(minute, _)| (start..end).contains(minute));
            let points = points.map(|(minute, maximum)| {
                Datapoint::builder().timestamp(DateTime::from_secs(minute * MINUTE_SECONDS)).maximum(*maximum).build()
            });
            let output = GetMetricStatisticsOutput::builder().set_datapoints(Some(points.collect()));
            MockResponse::Output(output.build())
        });
        mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, [&rule])
    }
}

async fn look_again(client: &Client, from: &str, until: &str, previous: Option<Writes>) -> Result<Writes, Error> {
    look(client, &InstanceId::parse("orders").expect("legal"), from, until, previous).await
}

async fn check(metrics: &Metrics, from: &str, until: &str) -> Result<Writes, Error> {
    look_again(&metrics.client(), from, until, None).await
}

fn waited(previous: Writes, waited_seconds: u64) -> Writes {
    Writes { wait: Wait { waited_seconds, ..previous.wait.clone() }, ..previous }
}

#[tokio::test]
async fn no_connection_in_any_minute_from_three_before_to_the_last_is_proof() {
    let metrics = Metrics::quiet(TEN - 3..=TEN + 5);
    let response = check(&metrics, "2026-03-01T10:00:59.999Z", "2026-03-01T10:05:00Z").await.expect("proven");
    assert_eq!((response.ready, response.minutes_without_connections), (true, 9));
    assert_eq!(metrics.asked(), [(TEN - 3, TEN + 6)]);
}

#[tokio::test]
async fn one_moment_is_four_minutes() {
    let metrics = Metrics::quiet(TEN - 3..=TEN);
    let now = "2026-03-01T10:00:30.123Z";
    assert_eq!(check(&metrics, now, now).await.expect("proven").minutes_without_connections, 4);
    let offset = check(&metrics, now, "2026-03-01T12:00:00+02:00").await.expect("the same minute");
    assert!(offset.ready);
}

#[tokio::test]
async fn a_connection_names_its_minute_and_what_to_do() {
    for minute in [TEN - 3, TEN, TEN + 5] {
        let mut metrics = Metrics::quiet(TEN - 3..=TEN + 5);
        metrics.connections.retain(|(quiet, _)| *quiet != minute);
        metrics.connections.push((minute, 2.0));
        let error = check(&metrics, "2026-03-01T10:00:00Z", "2026-03-01T10:05:00Z").await.expect_err("connected");
        assert_eq!(error.name(), "WritesNotStopped");
        let said = format!("had 2 client connections in the minute of {}", shown(minute));
        assert!(error.to_string().contains(&said), "{error}");
        assert!(error.to_string().contains("accept_lost_writes"), "{error}");
    }
    assert_eq!(shown(TEN + 5), "2026-03-01T10:05:00Z");
}

#[tokio::test]
async fn connections_outside_of_the_time_do_not_count() {
    let mut metrics = Metrics::quiet(TEN - 3..=TEN);
    metrics.connections.extend([(TEN - 4, 7.0), (TEN + 1, 7.0)]);
    assert!(check(&metrics, "2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z").await.expect("proven").ready);
}

#[tokio::test]
async fn a_connection_is_an_error_even_while_other_minutes_are_missing() {
    let metrics = Metrics { connections: vec![(TEN, 1.0)], ..Metrics::default() };
    let error = check(&metrics, "2026-03-01T10:00:00Z", "2026-03-01T10:05:00Z").await.expect_err("connected");
    assert!(error.to_string().contains("had 1 client connections"), "{error}");
}

#[tokio::test]
async fn more_minutes_than_cloudwatch_returns_at_once_are_asked_for_piece_by_piece() {
    for (minutes, pieces) in [(1_437, 1), (1_438, 2), (2_880, 3)] {
        let metrics = Metrics::quiet(TEN - 3..TEN + minutes);
        let until = shown(TEN + minutes - 1);
        let response = check(&metrics, "2026-03-01T10:00:00Z", &until).await.expect("proven");
        assert!(response.ready);
        assert_eq!(response.minutes_without_connections, metrics.connections.len());
        let asked = metrics.asked();
        assert_eq!(asked.len(), pieces, "{minutes}");
        assert_eq!((asked[0].0, asked[pieces - 1].1), (TEN - 3, TEN + minutes));
        assert!(asked.windows(2).all(|pair| pair[0].1 == pair[1].0), "no gap: {asked:?}");
    }
}

#[tokio::test]
async fn a_minute_that_is_not_there_yet_is_waited_for_up_to_the_same_moment() {
    let metrics = Metrics::quiet(TEN - 3..TEN);
    let now = "2026-03-01T10:00:00Z";
    let first = check(&metrics, now, now).await.expect("late");
    assert!(!first.ready && first.wait.wait_seconds > 0);
    assert_eq!(first.until.as_deref(), Some(now));

    let metrics = Metrics::quiet(TEN - 3..=TEN);
    let second = look_again(&metrics.client(), now, "2026-03-01T10:07:00Z", Some(first)).await.expect("there");
    assert_eq!((second.ready, second.minutes_without_connections), (true, 4));
}

#[tokio::test]
async fn a_minute_that_does_not_come_proves_nothing() {
    for missing in [TEN - 3, TEN - 1, TEN] {
        let metrics = Metrics::quiet((TEN - 3..=TEN).filter(|minute| *minute != missing));
        let now = "2026-03-01T10:00:00Z";
        let waiting = waited(check(&metrics, now, now).await.expect("late"), LATE_DATAPOINT_SECONDS - 1);
        let waiting = look_again(&metrics.client(), now, now, Some(waiting)).await.expect("a last look");
        assert_eq!(waiting.wait.waited_seconds, LATE_DATAPOINT_SECONDS);
        let error = look_again(&metrics.client(), now, now, Some(waiting)).await.expect_err("never came");
        assert_eq!(error.name(), "WritesNotStopped");
        assert!(error.to_string().contains(&format!("for the minute of {}", shown(missing))), "{error}");
    }
}

#[tokio::test]
async fn a_minute_that_is_missing_alone_between_quiet_ones_hides_nobody() {
    let without = async |missing: &[i64]| {
        let metrics = Metrics::quiet((TEN - 3..=TEN + 9).filter(|minute| !missing.contains(minute)));
        check(&metrics, "2026-03-01T10:00:00Z", "2026-03-01T10:09:00Z").await.expect("no connection")
    };
    for missing in [&[TEN - 2][..], &[TEN + 6], &[TEN, TEN + 2, TEN + 5]] {
        let proven = without(missing).await;
        assert_eq!((proven.ready, proven.minutes_without_connections), (true, 13 - missing.len()), "{missing:?}");
    }
    // At the beginning, shortly before the end, and two in a row.
    for missing in [&[TEN - 3][..], &[TEN + 7], &[TEN + 8], &[TEN + 9], &[TEN + 2, TEN + 3]] {
        assert!(!without(missing).await.ready, "{missing:?}");
    }
}

#[tokio::test]
async fn a_connection_beside_a_missing_minute_counts() {
    let mut metrics = Metrics::quiet((TEN - 3..=TEN + 9).filter(|minute| ![TEN, TEN + 1].contains(minute)));
    metrics.connections.push((TEN + 1, 1.0));
    let error = check(&metrics, "2026-03-01T10:00:00Z", "2026-03-01T10:09:00Z").await.expect_err("connected");
    assert_eq!(error.name(), "WritesNotStopped");
}

#[tokio::test]
async fn a_datapoint_without_a_maximum_is_none() {
    let rule = mock!(Client::get_metric_statistics).then_output(|| {
        let point = Datapoint::builder().timestamp(DateTime::from_secs(TEN * MINUTE_SECONDS)).build();
        GetMetricStatisticsOutput::builder().datapoints(point).build()
    });
    let client = mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, [&rule]);
    let now = "2026-03-01T10:00:00Z";
    assert!(!look_again(&client, now, now, None).await.expect("missing").ready);
}

#[tokio::test]
async fn what_is_no_time_is_named() {
    for (from, until, field) in
        [("yesterday", "2026-03-01T10:00:00Z", "`from`"), ("2026-03-01T10:00:00Z", "", "`until`")]
    {
        let error = check(&Metrics::default(), from, until).await.expect_err(field);
        assert_eq!(error.name(), "InvalidInput");
        assert!(error.to_string().starts_with(field), "{error}");
    }
}

fn refusing(code: &'static str) -> Client {
    let rule = mock!(Client::get_metric_statistics)
        .then_error(move || GetMetricStatisticsError::generic(ErrorMetadata::builder().code(code).build()));
    mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, [&rule])
}

#[tokio::test]
async fn a_call_that_cloudwatch_refuses_is_named() {
    let now = "2026-03-01T10:00:00Z";
    let error = look_again(&refusing("AccessDenied"), now, now, None).await.expect_err("denied");
    assert_eq!(error.name(), "AccessDenied");
    assert!(error.to_string().starts_with("read DatabaseConnections of DB instance `orders`"), "{error}");
}

#[tokio::test]
async fn a_call_that_cloudwatch_refuses_for_the_moment_is_made_again() {
    let now = "2026-03-01T10:00:00Z";
    let first = look_again(&refusing("Throttling"), now, now, None).await.expect("it passes");
    assert!(!first.ready && first.wait.wait_seconds > 0);
    // Longer than a datapoint that does not come.
    let later = waited(first, LATE_DATAPOINT_SECONDS);
    let later = look_again(&refusing("Throttling"), now, now, Some(later)).await.expect("it passes");
    let last = waited(later, REFUSED_CALL_SECONDS);
    let error = look_again(&refusing("Throttling"), now, now, Some(last)).await.expect_err("it does not pass");
    assert_eq!(error.name(), "Throttled");
}
