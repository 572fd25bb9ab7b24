//! Executions that meet what others left, and what is started twice.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cloud::Cloud;
use crate::cutover::undo_of;
use crate::fixtures::{family, fault, instance, seed};

#[tokio::test]
async fn a_rerun_after_success_names_the_owner_and_touches_nothing() {
    let cloud = Cloud::shared().await;
    seed(cloud, "rerun", json!({}));
    let first = cloud.encrypt(json!({"instance_id": "rerun"})).await;
    first.succeeded();
    let before = family(cloud, "rerun").await;
    let second = cloud.encrypt(json!({"instance_id": "rerun"})).await;
    assert!(second.failed("NameConflict").contains(&first.execution), "{second:#?}");
    assert_eq!(family(cloud, "rerun").await, before);
}

#[tokio::test]
async fn a_rerun_after_an_undone_failure_succeeds() {
    let cloud = Cloud::shared().await;
    seed(cloud, "second-try", json!({}));
    let denied = json!({"action": {"type": "error", "code": "AccessDenied", "status": 403}});
    fault(cloud, "second-try", "CopyDBSnapshot", denied);
    cloud.encrypt(json!({"instance_id": "second-try"})).await.failed("AccessDenied");
    cloud.encrypt(json!({"instance_id": "second-try"})).await.succeeded();
}

#[tokio::test]
async fn what_was_kept_is_named_with_the_commands_and_can_be_resumed() {
    let cloud = Cloud::shared().await;
    seed(cloud, "kept", json!({}));
    let denied = json!({"action": {"type": "error", "code": "AccessDenied", "status": 403}});
    fault(cloud, "kept", "RestoreDBInstanceFromDBSnapshot", denied);
    let first = cloud.encrypt(json!({"instance_id": "kept", "on_failure": "keep"})).await;
    let cause = first.failed("AccessDenied");
    assert!(cause.contains("kept-encrypted") && cause.contains("\"resume\""), "{cause}");
    let kept = ["instance kept", "snapshot kept-encrypted", "snapshot kept-no-encrypted"];
    assert_eq!(family(cloud, "kept").await, kept);

    let conflict = cloud.encrypt(json!({"instance_id": "kept"})).await;
    let cause = conflict.failed("NameConflict");
    assert!(cause.contains("resume") && cause.contains("delete-db-snapshot"), "{cause}");
    assert_eq!(family(cloud, "kept").await, kept);

    undo_of(cloud, &first.execution).await.succeeded();
    cloud.control("DELETE", "calls", json!({}));
    let resumed = cloud.encrypt(json!({"instance_id": "kept", "resume": first.execution})).await;
    resumed.succeeded();
    assert_eq!(family(cloud, "kept").await, ["instance kept", "instance kept-encrypted", "snapshot kept-encrypted"]);
}

#[tokio::test]
async fn an_execution_that_succeeded_or_is_unknown_cannot_be_resumed() {
    let cloud = Cloud::shared().await;
    seed(cloud, "resumed", json!({}));
    let first = cloud.encrypt(json!({"instance_id": "resumed", "plan_only": true})).await;
    first.succeeded();
    let succeeded = cloud.encrypt(json!({"instance_id": "resumed", "resume": first.execution})).await;
    succeeded.failed("NotResumable");
    let unknown = first.execution.rsplit_once(':').expect("an ARN").0.to_owned() + ":nobody";
    cloud.encrypt(json!({"instance_id": "resumed", "resume": unknown})).await.failed("NotResumable");
}

#[tokio::test]
async fn of_two_executions_at_once_one_succeeds_and_the_other_deletes_nothing() {
    let cloud = Cloud::shared().await;
    seed(cloud, "contested", json!({}));
    let input = json!({"instance_id": "contested"});
    let (one, other) = tokio::join!(cloud.encrypt(input.clone()), cloud.encrypt(input));
    let (winner, loser) = if one.output["kept"].is_array() { (one, other) } else { (other, one) };
    winner.succeeded();
    loser.failed("NameConflict");
    let target = instance(cloud, "contested-encrypted").await;
    assert_eq!(target.storage_encrypted(), Some(true));
    assert_eq!(
        family(cloud, "contested").await,
        ["instance contested", "instance contested-encrypted", "snapshot contested-encrypted"]
    );
}

#[tokio::test]
async fn a_rehearsal_stands_beside_the_real_run() {
    let cloud = Cloud::shared().await;
    seed(cloud, "stage", json!({}));
    let rehearsal = json!({"instance_id": "stage", "target_instance_id": "stage-rehearsal"});
    let (rehearsed, real) =
        tokio::join!(cloud.encrypt(rehearsal), cloud.encrypt(json!({"instance_id": "stage", "max_wait_minutes": 600})));
    assert_eq!(rehearsed.succeeded()["encrypted_instance_id"], "stage-rehearsal");
    assert_eq!(real.succeeded()["encrypted_instance_id"], "stage-encrypted");
}

#[tokio::test]
async fn capacity_that_lacks_for_a_while_is_waited_for() {
    let cloud = Cloud::shared().await;
    seed(cloud, "capacity", json!({}));
    for call in 1..=5 {
        let rule =
            json!({"call": call, "action": {"type": "error", "code": "InsufficientDBInstanceCapacity", "status": 400}});
        fault(cloud, "capacity", "RestoreDBInstanceFromDBSnapshot", rule);
    }
    cloud.encrypt(json!({"instance_id": "capacity"})).await.succeeded();
}

#[tokio::test]
async fn a_source_that_is_being_backed_up_is_waited_for() {
    let cloud = Cloud::shared().await;
    seed(cloud, "busy", json!({"DBInstanceStatus": "backing-up"}));
    let execution = cloud.start_execution(&json!({"instance_id": "busy"}).to_string()).await;
    let started = Instant::now();
    while cloud.states(&execution).await.iter().filter(|state| *state == "Plan").count() < 2 {
        assert!(started.elapsed() < Duration::from_secs(60), "the plan is not repeated");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cloud.control("PATCH", "instances/busy", json!({"fields": {"DBInstanceStatus": "available"}}));
    cloud.outcome(&execution).await.succeeded();
}

#[tokio::test]
async fn a_source_that_stays_busy_ends_at_the_deadline_with_nothing_created() {
    let cloud = Cloud::shared().await;
    seed(cloud, "always-busy", json!({"DBInstanceStatus": "modifying"}));
    let outcome = cloud.encrypt(json!({"instance_id": "always-busy", "max_wait_minutes": 2})).await;
    assert!(outcome.failed("WaitTimedOut").contains("modifying"), "{outcome:#?}");
    assert_eq!(family(cloud, "always-busy").await, ["instance always-busy"]);
}

#[tokio::test]
async fn a_copy_that_takes_longer_than_allowed_is_undone() {
    let cloud = Cloud::shared().await;
    seed(cloud, "too-slow", json!({}));
    let outcome = cloud.encrypt(json!({"instance_id": "too-slow", "max_wait_minutes": 0.5})).await;
    assert!(outcome.failed("WaitTimedOut").contains("Undone: deleted"), "{outcome:#?}");
    assert_eq!(family(cloud, "too-slow").await, ["instance too-slow"]);
}
