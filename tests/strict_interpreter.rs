//! The same state machine and the same functions on a second, stricter interpreter: what only the
//! first one accepts is a bug.

use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::json;

use crate::cloud::Cloud;
use crate::fixtures::{family, fault, instance, seed};
use crate::online::{database, is_as_before, on_instance, seed_replicable};

#[tokio::test]
async fn an_instance_is_encrypted() {
    let cloud = Cloud::strict().await;
    seed(&cloud, "strict", json!({}));
    cloud.encrypt(json!({"instance_id": "strict"})).await.succeeded();
    assert_eq!(instance(&cloud, "strict-encrypted").await.storage_encrypted(), Some(true));
}

#[tokio::test]
async fn a_cutover_takes_the_name() {
    let cloud = Cloud::strict().await;
    seed(&cloud, "strict-cutover", json!({}));
    let input = json!({
        "instance_id": "strict-cutover",
        "cutover": "rename",
        "accept_lost_writes": true,
        "isolation_security_group_id": "sg-0f00ba44",
    });
    cloud.encrypt(input).await.succeeded();
    assert_eq!(instance(&cloud, "strict-cutover").await.storage_encrypted(), Some(true));
}

#[tokio::test]
async fn a_deployment_is_switched_over_or_undone() {
    let cloud = Cloud::strict().await.by_blue_green();
    let fields = json!({"Engine": "mariadb", "BackupRetentionPeriod": 7});
    seed(&cloud, "strict-blue", fields.clone());
    cloud.encrypt(json!({"instance_id": "strict-blue"})).await.succeeded();
    assert_eq!(instance(&cloud, "strict-blue").await.storage_encrypted(), Some(true));
    seed(&cloud, "strict-green", fields);
    let denied = json!({"action": {"type": "error", "code": "AccessDenied", "status": 403}});
    fault(&cloud, "strict-green", "SwitchoverBlueGreenDeployment", denied);
    let outcome = cloud.encrypt(json!({"instance_id": "strict-green"})).await;
    assert!(outcome.failed("AccessDenied").contains("Undone: deleted"), "{outcome:#?}");
    assert_eq!(family(&cloud, "strict-green").await, ["instance strict-green"]);
}

#[tokio::test]
async fn rows_are_compared_by_a_nested_execution() {
    let cloud = Cloud::strict().await;
    for (id, differs) in [("strict-equal", false), ("strict-other", true)] {
        let (source, mut input) = seed_replicable(&cloud, id, None).await;
        let rows = "CREATE TABLE fish (id int PRIMARY KEY); INSERT INTO fish VALUES (1)";
        database(&source, "app").await.batch_execute(rows).await.expect("rows");
        if differs {
            // After the snapshot.
            let row = on_instance(&cloud, id, "INSERT INTO fish VALUES (2)");
            fault(&cloud, id, "CopyDBSnapshot", json!({"action": {"type": "run", "command": row}}));
        }
        input["compare_data"] = json!(true);
        let outcome = cloud.encrypt(input).await;
        if differs {
            assert!(outcome.failed("DataDiffers").contains("Undone: deleted"), "{outcome:#?}");
            assert_eq!(family(&cloud, id).await, [format!("instance {id}")]);
        } else {
            assert_eq!(outcome.succeeded()["compared"]["rows"], 1);
        }
    }
}

/// Further it does not come: its nested execution's plan asks the first interpreter about it.
#[tokio::test]
async fn replication_begins_with_a_look_into_the_databases() {
    let cloud = Cloud::strict().await.online();
    let (source, input) = seed_replicable(&cloud, "strict-large", None).await;
    database(&source, "app").await.execute("SELECT lo_create(0)", &[]).await.expect("a large object");
    let outcome = cloud.encrypt(input).await;
    assert!(outcome.failed("DatabaseNotUsable").contains("large objects"), "{outcome:#?}");
    is_as_before(&cloud, &source).await;
}

#[tokio::test]
async fn a_failure_is_undone_under_its_own_error() {
    let cloud = Cloud::strict().await;
    seed(&cloud, "strict-failure", json!({}));
    let action = json!({"when": "after", "action": {"type": "status", "status": "failed"}});
    fault(&cloud, "strict-failure", "CopyDBSnapshot", action);
    let outcome = cloud.encrypt(json!({"instance_id": "strict-failure"})).await;
    assert!(outcome.failed("SnapshotFailed").contains("Undone: deleted"), "{outcome:#?}");
    assert_eq!(family(&cloud, "strict-failure").await, ["instance strict-failure"]);
}

#[tokio::test]
async fn an_input_that_is_not_an_object_is_refused_by_name() {
    let cloud = Cloud::strict().await;
    for input in [json!([1]), json!(null), json!("x"), json!({"instance_id": "a", "plan": true})] {
        cloud.encrypt(input).await.failed("InvalidInput");
    }
}

/// An execution that is stopped at this call, and that nothing but the test looks after.
async fn stopped(cloud: &Cloud, id: &str, operation: &str) -> String {
    seed(cloud, id, json!({}));
    let stop = json!({"type": "stop", "endpoint": cloud.endpoint(), "state_machine_arns": [cloud.state_machine()]});
    fault(cloud, id, operation, json!({"action": stop}));
    let outcome = cloud.encrypt(json!({"instance_id": id})).await;
    assert_eq!(outcome.status, ExecutionStatus::Aborted, "{outcome:#?}");
    outcome.execution
}

#[tokio::test]
async fn a_stopped_execution_is_undone_from_outside() {
    let (cloud, strict) = (Cloud::unwatched().await, Cloud::strict().await);
    let execution = stopped(&cloud, "strict-stopped", "RestoreDBInstanceFromDBSnapshot").await;
    strict.undo(&execution).await.succeeded();
    assert_eq!(family(&cloud, "strict-stopped").await, ["instance strict-stopped"]);
}

#[tokio::test]
async fn what_was_stopped_past_the_commit_point_is_finished_from_outside() {
    let (cloud, strict) = (Cloud::unwatched().await, Cloud::strict().await);
    let execution = stopped(&cloud, "strict-finish", "RemoveTagsFromResource").await;
    strict.undo(&execution).await.succeeded();
    assert_eq!(
        family(&cloud, "strict-finish").await,
        ["instance strict-finish", "instance strict-finish-encrypted", "snapshot strict-finish-encrypted"]
    );
}

#[tokio::test]
async fn a_failed_execution_that_has_undone_itself_is_left_alone() {
    let (cloud, strict) = (Cloud::unwatched().await, Cloud::strict().await);
    seed(&cloud, "strict-undone", json!({}));
    let denied = json!({"action": {"type": "error", "code": "AccessDenied", "status": 403}});
    fault(&cloud, "strict-undone", "CopyDBSnapshot", denied);
    let failed = cloud.encrypt(json!({"instance_id": "strict-undone"})).await;
    failed.failed("AccessDenied");
    assert_eq!(strict.undo(&failed.execution).await.succeeded()["recovery"]["action"], "nothing");
}

#[tokio::test]
async fn an_undo_without_an_execution_says_what_it_needs() {
    let cloud = Cloud::strict().await;
    for input in [json!(null), json!({"execution": "orders"})] {
        let undo = cloud.start_undo(&input).await;
        assert!(cloud.outcome(&undo).await.failed("UndoFailed").contains("executionArn"));
    }
}
