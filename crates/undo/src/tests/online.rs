//! What only a login can take back is asked for, once nothing can come late any more.

use workflow::online::DatabaseTask;

use super::*;

fn online(state: &Value) -> Value {
    let state = with(state, "way", json!("online"));
    with(&state, "preflight", json!({"databases": []}))
}

/// What another function answers in the place of the question.
fn answered(state: &Value, response: &Response, ready: bool) -> Value {
    let mut undo = json!(response);
    undo["database"]["ready"] = json!(ready);
    undo["database"]["problem"] = if ready { json!(null) } else { json!("nobody answers") };
    with(state, "undo", undo)
}

fn asked(response: &Response) -> Option<DatabaseTask> {
    response.database.as_ref().filter(|database| !database.ready).map(|database| database.task)
}

#[tokio::test]
async fn the_databases_are_opened_once_no_step_can_make_a_slot_any_more() {
    let state = online(&preparing());
    let rds = Rds::with(&[source("available")]);
    let first = rds.look(state.clone()).await.expect("a look");
    assert_eq!((asked(&first), first.wait.wait_seconds), (None, LATE_CALL_SECONDS));
    let second = rds.look(with(&state, "undo", json!(first))).await.expect("a look");
    assert_eq!(asked(&second), Some(DatabaseTask::OpenSource));
    // It could not: it waits, and asks again.
    let third = rds.look(answered(&state, &second, false)).await.expect("a look");
    assert_eq!((asked(&third), third.ready), (None, false));
    let fourth = rds.look(with(&state, "undo", json!(third))).await.expect("a look");
    assert_eq!(asked(&fourth), Some(DatabaseTask::OpenSource));
    let fifth = rds.look(answered(&state, &fourth, true)).await.expect("a look");
    assert_eq!(fifth.over, ["CutOver", "PublishSource"]);
}

#[tokio::test]
async fn nobody_logs_in_where_no_database_was_looked_at() {
    let state = with(&preparing(), "way", json!("online"));
    let response = Rds::with(&[source("available")]).look(state).await.expect("a look");
    assert_eq!((asked(&response), response.late_calls_are_over), (None, false));
}

#[tokio::test]
async fn a_database_that_stays_out_of_reach_is_told_and_the_rest_goes_on() {
    let state = online(&preparing());
    let rds = Rds::with(&[source("available")]);
    let mut response = rds.look(state.clone()).await.expect("a look");
    for _ in 0..1_000 {
        if response.ready {
            break;
        }
        let state = match asked(&response) {
            Some(_) => answered(&state, &response, false),
            None => with(&state, "undo", json!(response)),
        };
        response = rds.look(state.clone()).await.expect("a look");
    }
    assert!(response.ready && !response.whole, "{response:?}");
    let cause = response.failure.expect("a failure").cause;
    assert!(cause.contains("nobody answers") && cause.contains("pg_drop_replication_slot"), "{cause}");
}
