//! The same state machine and the same functions on a second, stricter interpreter: what only the
//! first one accepts is a bug.

use serde_json::json;

use crate::cloud::Cloud;
use crate::fixtures::{family, fault, instance, seed};

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
