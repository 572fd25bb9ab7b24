use std::time::{Duration, SystemTime};

use aws_sdk_cloudwatch::operation::get_metric_statistics::GetMetricStatisticsOutput;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::Datapoint;
use aws_smithy_mocks::{RuleMode, mock, mock_client};
use serde_json::{Value, json};

use super::*;

/// CloudWatch, which has no connection in any minute, or no datapoint.
fn client(has_points: bool) -> Client {
    let rule = mock!(Client::get_metric_statistics).then_compute_output(move |input| {
        let minute = |time: Option<&DateTime>| time.expect("a time").secs() / 60;
        let minutes = (minute(input.start_time())..minute(input.end_time())).filter(|_| has_points);
        let point = |minute| Datapoint::builder().timestamp(DateTime::from_secs(minute * 60)).maximum(0.0).build();
        GetMetricStatisticsOutput::builder().set_datapoints(Some(minutes.map(point).collect())).build()
    });
    mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, [&rule])
}

fn seconds_ago(seconds: u64) -> String {
    DateTime::from(SystemTime::now() - Duration::from_secs(seconds)).to_string()
}

async fn check(has_points: bool, previous: Value, outage_before: Value, until: &str) -> Result<Response, Error> {
    let request = json!({
        "instance_id": "orders", "from": until, "until": until, "previous": previous, "outage_before": outage_before,
    });
    handle(&client(has_points), workflow::serve::decode(request).expect("a request")).await
}

fn fenced(outage_seconds: u64) -> Value {
    json!([null, {"ready": true, "status": "available", "outage_seconds": outage_seconds}])
}

#[tokio::test]
async fn its_own_answer_is_the_next_looks_previous() {
    let first = check(false, Value::Null, json!([]), &seconds_ago(200)).await.expect("late");
    assert!(!first.writes.ready && first.writes.wait.wait_seconds > 0);
    let previous = serde_json::to_value(&first).expect("JSON");
    let second = check(true, previous, json!([]), &seconds_ago(0)).await.expect("there");
    assert!(second.writes.ready);
    assert_eq!(second.writes.until, first.writes.until, "what comes after the first look is not checked");
}

#[tokio::test]
async fn its_waiting_and_its_attempts_count_on_top_of_the_outage_that_began_before() {
    let first = check(false, Value::Null, fenced(60), &seconds_ago(30)).await.expect("time is left");
    let least = 60 + 30 + first.writes.wait.wait_seconds;
    assert!((least..least + 20).contains(&first.outage_seconds), "{first:?}");
    let previous = serde_json::to_value(&first).expect("JSON");
    let second = check(false, previous.clone(), fenced(60), &seconds_ago(0)).await.expect("time is left");
    assert!(second.outage_seconds >= first.outage_seconds + second.writes.wait.wait_seconds, "{second:?}");

    let error = check(false, previous.clone(), fenced(1_799), &seconds_ago(0)).await.expect_err("half an hour is over");
    assert_eq!(error.name(), "WaitTimedOut");
    assert!(error.to_string().contains("`orders`") && error.to_string().contains("of 1800 s at most"), "{error}");
    let there = check(true, previous, fenced(1_799), &seconds_ago(0)).await.expect("the rename decides");
    assert!(there.writes.ready && there.outage_seconds >= 1_799);
}

#[tokio::test]
async fn without_an_outage_nothing_counts() {
    for before in [json!([]), json!([null, null])] {
        assert_eq!(check(false, Value::Null, before, &seconds_ago(600)).await.expect("late").outage_seconds, 0);
    }
}
