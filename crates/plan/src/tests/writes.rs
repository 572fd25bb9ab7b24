use super::*;

/// The start's minute since the epoch.
const START_MINUTE: i64 = START_SECONDS / 60;

fn stopped() -> Value {
    cutover(json!({"writes_stopped": true}))
}

async fn look(of_minute: fn(i64) -> Option<f64>, state: Value) -> Result<State, Error> {
    let context = account(source()).context_with(vec![connections(of_minute)]);
    plan_again_in(&context, stopped(), state).await
}

#[tokio::test]
async fn writes_that_are_said_to_have_stopped_are_checked_for_the_time_before_the_start() {
    let plan = look(|minute| (START_MINUTE - 3..=START_MINUTE).contains(&minute).then_some(0.0), json!({})).await;
    let plan = plan.expect("planned");
    assert!(plan.source.ready);
    assert_eq!(
        plan.of_snapshot().writes_before.map(|writes| (writes.ready, writes.minutes_without_connections)),
        Some((true, 4))
    );

    let error = look(|minute| Some(if minute == START_MINUTE { 2.0 } else { 0.0 }), json!({})).await;
    let error = error.expect_err("somebody is connected");
    assert_eq!(error.name(), "WritesNotStopped");
    assert!(error.to_string().contains("`orders` had 2 client connections"), "{error}");
}

#[tokio::test]
async fn a_metric_that_is_late_is_waited_for_from_look_to_look() {
    let first = look(|_| None, json!({})).await.expect("it can still come");
    assert!(!first.source.ready && first.source.wait.wait_seconds > 0);
    let state = serde_json::to_value(&first).expect("JSON");
    assert_eq!(state["source"]["wait"], state["writes_before"]["wait"]);
    let second = look(|_| Some(0.0), state.clone()).await.expect("it came");
    assert!(second.source.ready);

    let mut waited = state;
    waited["writes_before"]["wait"]["waited_seconds"] = json!(300);
    assert_eq!(look(|_| None, waited).await.expect_err("it never came").name(), "WritesNotStopped");
}

/// The time before the start does not change: what was proven of it stays proven while the source is busy.
#[tokio::test]
async fn what_was_proven_is_not_read_again() {
    let first = look(|_| Some(0.0), json!({})).await.expect("proven");
    let state = serde_json::to_value(&first).expect("JSON");
    assert!(look(|_| Some(1.0), state).await.expect("not asked").source.ready);
}

#[tokio::test]
async fn a_busy_source_is_waited_for_even_if_nobody_is_connected() {
    let context = account(source().db_instance_status("backing-up")).context();
    let busy = plan_in(&context, stopped()).await.expect("waits");
    assert!(!busy.source.ready);
    assert_eq!(busy.of_snapshot().writes_before.map(|writes| writes.ready), Some(true));
}

#[tokio::test]
async fn nobody_has_stopped_anything_for_a_plan_alone_or_where_writes_may_be_lost() {
    let context = || account(source()).context_with(vec![connections(|_| Some(5.0))]);
    for input in [
        cutover(json!({"writes_stopped": true, "plan_only": true})),
        cutover(json!({"accept_lost_writes": true})),
        orders(),
    ] {
        let plan = plan_in(&context(), input).await.expect("planned");
        assert!(plan.source.ready && plan.of_snapshot().writes_before.is_none());
    }
}
