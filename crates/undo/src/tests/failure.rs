//! What is said of a failure, and what is read of a state.

use super::*;
use workflow::options::Way;

#[tokio::test]
async fn a_failure_has_a_name_that_step_functions_takes_and_a_cause_in_plain_words() {
    let wrapped = r#"{"errorType":"SnapshotFailed","errorMessage":"it is `failed`.","stackTrace":[]}"#;
    for (error, cause, name, words) in [
        ("SnapshotFailed", wrapped, "SnapshotFailed", "it is `failed`."),
        ("SnapshotFailed", "plain text", "SnapshotFailed", "plain text."),
        ("SnapshotFailed", r#"{"errorMessage": 5}"#, "SnapshotFailed", r#"{"errorMessage": 5}."#),
        ("SnapshotFailed", "[1, 2", "SnapshotFailed", "[1, 2."),
        ("Runtime.ExitError", "killed", "Runtime.ExitError", "killed."),
        ("States.Timeout", "", "StepTimedOut", "States.Timeout."),
        ("States.Timeout", "after 90 s", "StepTimedOut", "States.Timeout: after 90 s."),
        ("Sandbox.Timedout", "after 60 s", "StepTimedOut", "Sandbox.Timedout: after 60 s."),
        (
            "States.TaskFailed",
            r#"{"ExecutionArn":"arn","Status":"FAILED","Error":"SnapshotFailed","Cause":"it is."}"#,
            "SnapshotFailed",
            "it is.",
        ),
        (
            "States.TaskFailed",
            r#"{"ExecutionArn":"arn","Status":"ABORTED"}"#,
            "StepFailed",
            "the nested execution arn ended as ABORTED.",
        ),
        ("States.DataLimitExceeded", "256 KiB", "StepFailed", "States.DataLimitExceeded: 256 KiB."),
    ] {
        let caught = json!({"Error": error, "Cause": cause});
        let response = Rds::with(&[source("available")]).run(&with(&preparing(), "error", caught)).await.expect("said");
        let failure = response.failure.expect("a failure");
        assert_eq!(failure.error, name);
        assert_eq!(failure.cause, format!("{words} Nothing of this execution was there to delete."));
        assert_eq!(failure.subject, "rds-encrypt: orders failed");
    }
}

#[tokio::test]
async fn a_plan_that_failed_is_told_in_its_own_words_and_nothing_is_looked_at() {
    let refusal = json!({"errorType": "AlreadyEncrypted", "errorMessage": "DB instance `orders` is encrypted already"});
    for (cause, said) in [
        (json!(refusal.to_string()), "DB instance `orders` is encrypted already."),
        (json!("Lambda was out of reach"), "Lambda was out of reach."),
    ] {
        let state = json!({
            "input": [1], "phase": "planning", "instance_id": "an instance", "undo": null,
            "error": {"Error": "AlreadyEncrypted", "Cause": cause},
        });
        let rds = Rds::default().refusing("describe", "AccessDenied");
        let response = rds.look(state).await.expect("said");
        let failure = response.failure.expect("a failure");
        assert_eq!((failure.error.as_str(), failure.cause.as_str()), ("AlreadyEncrypted", said));
        assert_eq!(failure.subject, "rds-encrypt: an instance failed");
        assert!(response.ready && response.whole);
    }
}

/// The undo from outside was given no execution, or one that cannot be read.
#[tokio::test]
async fn an_execution_that_cannot_be_read_needs_a_human() {
    let error = json!({"Error": "AccessDenied", "Cause": "describe execution arn:dead: AccessDenied"});
    let state = json!({
        "instance_id": "an instance", "recovery": {"action": "unknown", "execution": null}, "error": error, "undo": null,
    });
    let response = Rds::default().look(state).await.expect("said");
    assert!(response.ready && !response.whole, "{response:?}");
    assert_eq!(response.failure.expect("a failure").subject, "rds-encrypt: an instance needs you");
}

#[tokio::test]
async fn a_time_out_without_a_cause_is_a_failure_too() {
    let state = json!({"phase": "planning", "error": {"Error": "States.Timeout"}, "undo": null});
    let failure = Rds::default().look(state).await.expect("said").failure.expect("a failure");
    assert_eq!((failure.error.as_str(), failure.cause.as_str()), ("StepTimedOut", "States.Timeout."));
    let failure = Rds::default().look(json!({})).await.expect("said").failure.expect("a failure");
    assert_eq!(failure.error, "StepFailed");
}

/// The mail of an undo from outside says what became of the execution that it looked after.
#[tokio::test]
async fn an_undo_from_outside_says_what_became_of_it() {
    let recovered = |state: Value| with(&state, "recovery", json!({"action": "undo", "execution": "arn:dead"}));
    let subject = |response: Response| response.failure.expect("a failure").subject;
    let undone = Rds::of(OURS).run(&recovered(preparing())).await.expect("undone");
    assert_eq!(subject(undone), "rds-encrypt: orders was undone");

    let mut keeping = recovered(preparing());
    keeping["options"]["on_failure"] = json!("keep");
    let kept = Rds::of(OURS).run(&keeping).await.expect("kept");
    assert!(cause(&kept).contains("\"resume\": \"arn:dead\""), "{kept:?}");
    assert_eq!(subject(kept), "rds-encrypt: orders was kept");

    let mut target = instance("db-TARGET", "orders", "available");
    (target.deletion_protection, target.backup_retention_period) = (Some(true), Some(7));
    let finished =
        Rds::with(&[renamed_source("available"), target]).run(&recovered(committed())).await.expect("finished");
    assert_eq!(subject(finished), "rds-encrypt: orders was finished");

    let rds = Rds::with(&[renamed_source("storage-full"), super::target("available")]);
    let stuck = rds.look(after(&recovered(cutting_over()), 70)).await.expect("said");
    assert_eq!(subject(stuck), "rds-encrypt: orders needs you");
}

/// A row is over when its name is in the answer, so each name stands once.
#[test]
fn each_step_is_in_the_table_once() {
    for way in [Way::Snapshot, Way::BlueGreen] {
        let all: Vec<&str> = steps(way).map(|step| step.state).collect();
        let mut states = all.clone();
        states.sort_unstable();
        states.dedup();
        assert_eq!(states.len(), all.len(), "{way:?}");
    }
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_named_by_its_field() {
    let mut state = preparing();
    state["encrypted_instance_id"] = json!("Orders");
    let error = Rds::default().look(state).await.expect_err("no plan");
    assert_eq!(error.name(), "InvalidInput");
    assert!(error.to_string().contains("`encrypted_instance_id`"), "{error}");
}

/// Fields that this version does not know, and those that it adds, are no reason not to undo.
#[tokio::test]
async fn a_state_of_another_version_is_read() {
    let mut state = preparing();
    state["options"]["to_come"] = json!(1);
    state["to_come"] = json!({"more": []});
    state.as_object_mut().expect("an object").remove("fenced");
    assert!(Rds::of(OURS).run(&state).await.expect("undone").whole);
}
