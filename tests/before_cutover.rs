//! Hours or days lie between a plan and its cutover: what has come up meanwhile is refused before the source is
//! touched, and what was made is undone.

use aws_sdk_rds::types::DbInstance;
use serde_json::{Value, json};

use crate::cloud::{Cloud, Outcome};
use crate::cutover::{approval_token, cutover, groups};
use crate::fixtures::{family, find, instance, seed};

/// A cutover whose approval comes after `change`.
async fn change_before_approval(cloud: &Cloud, name: &str, change: impl AsyncFnOnce()) -> Outcome {
    seed(cloud, name, json!({}));
    let mut inbox = cloud.inbox();
    let mut input = cutover(name);
    input["approval"] = json!(true);
    let execution = cloud.start_execution(&input.to_string()).await;
    let token = approval_token(&mut inbox, name);
    change().await;
    cloud.sfn.send_task_success().task_token(token).output("{}").send().await.expect("approved");
    cloud.outcome(&execution).await
}

#[tokio::test]
async fn a_replica_that_came_after_the_plan_wants_a_decision() {
    let cloud = Cloud::shared().await;
    let outcome = change_before_approval(cloud, "replicated", async || {
        let replica = json!({"fields": {"ReadReplicaDBInstanceIdentifiers": ["replicated-replica"]}});
        cloud.control("PATCH", "instances/replicated", replica);
    });
    assert!(outcome.await.failed("StaleReplicasNotAccepted").contains("replicated-replica"));
    assert_eq!(family(cloud, "replicated").await, ["instance replicated"]);
    let own = groups(cloud, "replicated").await;
    assert!(!own.contains(&"sg-0f00ba44".to_owned()), "it was never fenced: {own:?}");
}

#[tokio::test]
async fn a_source_that_somebody_renamed_keeps_that_name_and_nothing_of_ours_is_left() {
    let cloud = Cloud::shared().await;
    let outcome = change_before_approval(cloud, "renamed", async || {
        let rename = cloud.rds.modify_db_instance().db_instance_identifier("renamed");
        let rename = rename.new_db_instance_identifier("renamed-by-hand").apply_immediately(true);
        rename.send().await.expect("renamed");
        let is_renamed =
            |found: Option<DbInstance>| found.is_some_and(|found| found.db_instance_status() == Some("available"));
        // A rename hides it.
        while !is_renamed(find(cloud, "renamed-by-hand").await) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
    let outcome = outcome.await;
    assert!(outcome.failed("SourceRenamed").contains("`renamed-by-hand`"), "{outcome:#?}");
    assert_eq!(family(cloud, "renamed").await, ["instance renamed-by-hand"]);
}

#[tokio::test]
async fn of_two_cutovers_of_one_source_the_later_touches_nothing() {
    let cloud = Cloud::shared().await;
    let mut later: Option<Outcome> = None;
    let earlier = change_before_approval(cloud, "sought-after", async || {
        let arn = instance(cloud, "sought-after").await.db_instance_arn().map(str::to_owned);
        let mut input: Value = cutover("sought-after");
        input["instance_id"] = json!(arn);
        input["target_instance_id"] = json!("sought-after-too");
        later = Some(cloud.encrypt(input).await);
    });
    let earlier = earlier.await;
    let later = later.expect("it ran");
    assert!(later.failed("CutoverInProgress").contains(&earlier.execution), "{later:#?}");
    earlier.succeeded();
    let left = ["instance sought-after", "instance sought-after-unencrypted", "snapshot sought-after-encrypted"];
    assert_eq!(family(cloud, "sought-after").await, left);
}

#[tokio::test]
async fn a_group_that_cannot_isolate_the_source_is_refused_before_anything_is_made() {
    let cloud = Cloud::shared().await;
    seed(cloud, "isolated", json!({}));
    for (field, group, said) in [
        ("isolation_security_group_id", "sg-0dead", "there is no security group `sg-0dead`"),
        ("quarantine_security_group_id", "sg-0dead", "there is no security group `sg-0dead`"),
        ("isolation_security_group_id", &groups(cloud, "isolated").await[0], "is a group of the source already"),
    ] {
        let mut input = cutover("isolated");
        input[field] = json!(group);
        let outcome = cloud.encrypt(input).await;
        let cause = outcome.failed("InvalidInput");
        assert!(cause.contains(field) && cause.contains(said), "{outcome:#?}");
    }
    assert_eq!(family(cloud, "isolated").await, ["instance isolated"]);
}

#[tokio::test]
async fn what_a_copy_does_by_itself_is_told() {
    let cloud = Cloud::shared().await;
    let group = json!([{"DBParameterGroupName": "with-jobs", "ParameterApplyStatus": "in-sync"}]);
    seed(cloud, "with-jobs", json!({"Engine": "mariadb", "DBParameterGroups": group}));
    let plan = json!({"instance_id": "with-jobs", "plan_only": true});
    let warnings = async || cloud.encrypt(plan.clone()).await.succeeded()["warnings"].to_string();
    let before = warnings().await;
    assert!(!before.contains("information_schema.events") && !before.contains("NOT looked for"), "{before}");
    let parameter = aws_sdk_rds::types::Parameter::builder().parameter_name("event_scheduler").parameter_value("ON");
    let parameter = parameter.apply_method(aws_sdk_rds::types::ApplyMethod::Immediate).build();
    let modify = cloud.rds.modify_db_parameter_group().db_parameter_group_name("with-jobs").parameters(parameter);
    modify.send().await.expect("modified");
    let after = warnings().await;
    assert!(after.contains("information_schema.events"), "{after}");
}
