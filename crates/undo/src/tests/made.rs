//! What an execution made is deleted, and nothing else.

use super::*;

#[tokio::test]
async fn an_undo_deletes_the_target_then_both_snapshots() {
    let rds = Rds::of(OURS);
    let response = rds.run(&preparing()).await.expect("undone");
    assert_eq!(
        rds.calls(),
        ["delete instance orders-encrypted", "delete snapshot orders-encrypted", "delete snapshot orders-no-encrypted"]
    );
    assert_eq!(response.deleted, [TARGET, COPY, PLAINTEXT]);
    assert!(response.whole);
    assert_eq!(response.failure.as_ref().map(|failure| failure.error.as_str()), Some("SnapshotFailed"));
    assert_eq!(cause(&response), format!("it is `failed`. Undone: deleted {TARGET}, {COPY}, {PLAINTEXT}."));
}

#[tokio::test]
async fn a_snapshot_waits_until_the_instance_that_reads_it_is_gone() {
    let rds = Rds::of(OURS);
    let first = rds.look(preparing()).await.expect("a look");
    let second = rds.look(with(&preparing(), "undo", json!(first))).await.expect("a look");
    assert!(!second.ready && !second.gone_before);
    assert_eq!(rds.calls(), ["delete instance orders-encrypted"]);
}

/// It ends when its source is deleted, and cannot be deleted before.
#[tokio::test]
async fn the_plaintext_does_not_wait_for_a_copy_that_is_still_being_made() {
    let rds = Rds::of(OURS).refusing("delete snapshot orders-encrypted", "InvalidDBSnapshotState");
    rds.hide("db-TARGET");
    let response = rds.look(preparing()).await.expect("a look");
    assert_eq!(response.deleted, [PLAINTEXT]);
    assert!(!response.ready);
}

#[tokio::test]
async fn what_another_execution_made_is_left_alone() {
    for on_failure in ["undo", "keep"] {
        let rds = Rds::of("arn:theirs");
        let mut state = preparing();
        state["options"]["on_failure"] = json!(on_failure);
        let response = rds.run(&state).await.expect("done");
        assert!(rds.calls().is_empty(), "{on_failure}");
        assert!(cause(&response).starts_with("it is `failed`. Nothing of this execution "), "{response:?}");
    }
}

#[tokio::test]
async fn what_carries_no_tag_is_left_alone() {
    let rds = Rds::with(&[source("available"), instance("db-OTHER", "orders-encrypted", "available")]);
    let bare = |id: &str| DbSnapshot::builder().db_snapshot_identifier(id).status("available").build();
    rds.lock().snapshots = vec![bare("orders-no-encrypted"), bare("orders-encrypted")];
    rds.run(&preparing()).await.expect("done");
    assert!(rds.calls().is_empty());
}

#[tokio::test]
async fn the_source_is_never_deleted_whatever_its_name_and_tags_are() {
    let mut mixed_up = tagged(OURS, instance("db-SOURCE", "orders-encrypted", "available"));
    mixed_up.deletion_protection = Some(true);
    for resource_id in [json!(null), json!("db-SOURCE")] {
        let rds = Rds::with(std::slice::from_ref(&mixed_up));
        rds.run(&with(&preparing(), "target", json!({"resource_id": resource_id}))).await.expect("done");
        assert!(rds.calls().is_empty());
    }
}

#[tokio::test]
async fn another_instance_than_the_known_target_is_left_alone() {
    let rds = Rds::with(&[source("available"), target("available")]);
    rds.look(with(&preparing(), "target", json!({"resource_id": "db-ANOTHER"}))).await.expect("a look");
    assert!(rds.calls().is_empty());
    rds.look(with(&preparing(), "target", json!({"resource_id": "db-TARGET"}))).await.expect("a look");
    assert_eq!(rds.calls(), ["delete instance orders-encrypted"]);
}

#[tokio::test]
async fn an_undo_never_deletes_what_no_longer_bears_the_planned_name() {
    let rds = Rds::with(&[source("available"), renamed_target("available")]);
    rds.look(with(&preparing(), "target", json!({"resource_id": "db-TARGET"}))).await.expect("a look");
    assert!(rds.calls().is_empty());
}

#[tokio::test]
async fn deletion_protection_is_switched_off_before_the_target_is_deleted() {
    let mut protected = target("available");
    protected.deletion_protection = Some(true);
    let rds = Rds::with(&[source("available"), protected]);
    let response = rds.run(&preparing()).await.expect("undone");
    assert_eq!(rds.calls(), ["protect orders-encrypted false", "delete instance orders-encrypted"]);
    assert_eq!(response.deleted, [TARGET]);
}

#[tokio::test]
async fn what_cannot_be_deleted_yet_is_tried_again() {
    for (call, refusal) in [
        ("delete instance", "InvalidDBInstanceState"),
        ("delete snapshot orders-no-encrypted", "InvalidDBSnapshotState"),
        ("delete instance", "AccessDenied"),
        ("delete snapshot orders-no-encrypted", "AccessDenied"),
    ] {
        let rds = Rds::of(OURS).refusing(call, refusal);
        let first = rds.look(preparing()).await.expect("a look");
        assert!(!first.ready && !first.gone_before && first.remaining.is_empty(), "{call}: {first:?}");
        rds.lock().refused.clear();
        let response = rds.run(&with(&preparing(), "undo", json!(first))).await.expect("undone");
        assert!(response.whole && response.deleted.len() == 3, "{call}: {response:?}");
    }
}

#[tokio::test]
async fn what_vanishes_between_the_look_and_the_call_is_gone() {
    let rds = Rds::of(OURS)
        .refusing("delete instance", "DBInstanceNotFound")
        .refusing("delete snapshot", "DBSnapshotNotFound");
    let response = rds.look(preparing()).await.expect("a look");
    assert!(response.gone_before && response.remaining.is_empty(), "{response:?}");
    assert_eq!(rds.calls().len(), 3);
}

#[tokio::test]
async fn a_refusal_does_not_keep_the_others_from_being_deleted() {
    let rds = Rds::of(OURS).refusing("delete instance", "InvalidParameterCombination");
    let response = rds.run(&preparing()).await.expect("as far as possible");
    assert!(!response.whole);
    assert_eq!(response.deleted, [COPY, PLAINTEXT]);
    let expected = format!(
        "it is `failed`. Undone: deleted {COPY}, {PLAINTEXT}. NOT deleted: {TARGET} (delete {TARGET}: \
         InvalidParameterCombination: no). Delete it by hand once the reason is gone."
    );
    assert_eq!(cause(&response), expected);
}

#[tokio::test]
async fn a_denial_that_lasts_is_a_refusal() {
    let rds = Rds::of(OURS).refusing("delete instance", "AccessDenied");
    let response = rds.run(&preparing()).await.expect("as far as possible");
    assert!(response.remaining[0].contains("AccessDenied"), "{response:?}");
    assert!(response.wait.waited_seconds >= 900, "{response:?}");
}

/// What this execution made may be all that is left of the data.
#[tokio::test]
async fn nothing_is_deleted_of_a_source_that_may_be_lost() {
    for lost in
        [None, Some("deleting"), Some("delete-precheck"), Some("failed"), Some("restore-error"), Some("melting")]
    {
        let rds = Rds::of(OURS);
        rds.hide("db-SOURCE");
        lost.into_iter().for_each(|status| rds.put(source(status)));
        let waiting = rds.look(preparing()).await.expect("it may come back");
        assert!(!waiting.ready && waiting.remaining.is_empty(), "{waiting:?}");
        let last = rds.run(&preparing()).await.expect("a look");
        assert!(last.deleted.is_empty() && !last.whole && rds.calls().is_empty(), "{lost:?}: {last:?}");
        for copy in [TARGET, PLAINTEXT, COPY] {
            assert!(cause(&last).contains(&format!("{copy} (the source is ")), "{lost:?}: {}", cause(&last));
        }
        // It was only hidden.
        rds.put(source("available"));
        rds.look(with(&preparing(), "undo", json!(waiting))).await.expect("a look");
        assert!(!rds.calls().is_empty());
    }
    for alive in ["available", "stopped", "storage-full", "incompatible-network", "maintenance"] {
        let rds = Rds::of(OURS);
        rds.put(source(alive));
        rds.look(preparing()).await.expect("a look");
        assert!(!rds.calls().is_empty(), "{alive}");
    }
}

#[tokio::test]
async fn a_call_that_lands_after_the_step_was_given_up_is_undone() {
    let rds = Rds::with(&[source("available")]);
    let look = async |undo: Option<Response>| rds.look(with(&preparing(), "undo", json!(undo))).await.expect("a look");
    let first = look(None).await;
    assert!(!first.ready && first.gone_before, "nothing is there, but it is too early to say so");
    assert!(first.wait.wait_seconds >= 60, "a function of the template may run for 60 seconds: {first:?}");
    rds.put(target("available"));
    let second = look(Some(first)).await;
    assert!(!second.ready && !second.gone_before);
    rds.time_passes();
    let third = look(Some(second)).await;
    assert!(!third.ready && third.gone_before, "another may follow: {third:?}");
    let last = look(Some(third)).await;
    assert!(last.ready);
    assert_eq!(last.deleted, [TARGET]);
}

#[tokio::test]
async fn a_deletion_whose_reply_was_lost_is_told_once() {
    let rds = Rds::of(OURS);
    // The call lands, and the same look is repeated as if it had not been made.
    rds.look(preparing()).await.expect("a reply that is lost");
    let repeated = rds.look(preparing()).await.expect("a look");
    assert_eq!(repeated.deleted, [TARGET]);
    assert_eq!(rds.calls().len(), 1);
}

#[tokio::test]
async fn at_the_deadline_everything_that_is_left_is_listed() {
    let rds = Rds::of(OURS).refusing("delete instance", "InvalidDBInstanceState");
    let response = rds.look(after(&preparing(), TWO_DAYS_SECONDS)).await.expect("the end");
    assert!(response.ready && !response.whole);
    assert_eq!(response.remaining, [format!("{TARGET} (cannot be deleted yet)")]);
    assert!(!rds.look(after(&preparing(), TWO_DAYS_SECONDS - 1)).await.expect("a look").ready);
}

#[tokio::test]
async fn what_is_to_be_kept_is_listed_with_the_way_on() {
    let mut state = preparing();
    state["options"]["on_failure"] = json!("keep");
    let rds = Rds::of(OURS);
    let response = rds.look(state).await.expect("a report");
    assert!(response.ready && response.whole && rds.calls().is_empty());
    assert_eq!(response.kept, [TARGET, PLAINTEXT, COPY]);
    let said = cause(&response);
    assert!(said.starts_with(&format!("it is `failed`. Left as it is: {TARGET}, {PLAINTEXT}, {COPY}.")), "{said}");
    for words in [
        "--state-machine-arn arn:aws:states:eu-west-1:123456789012:stateMachine:encrypt-instance --input",
        &format!("\"resume\": \"{OURS}\""),
    ] {
        assert!(said.contains(words), "{said} does not say {words}");
    }
}
