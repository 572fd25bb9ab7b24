use super::*;

#[tokio::test]
async fn a_cutover_takes_a_decision_about_the_writes_since_the_snapshot() {
    let error = account(source()).plan(cutover(json!({}))).await.expect_err("no decision");
    assert_eq!(error.name(), "LostWritesNotAccepted");
    for decision in ["writes_stopped", "accept_lost_writes"] {
        assert!(error.to_string().contains(&format!("\"{decision}\": true")), "{error}");
        account(source()).plan(cutover(json!({decision: true}))).await.expect("decided");
    }
}

#[tokio::test]
async fn a_cutover_takes_a_decision_about_the_replicas() {
    // A Multi-AZ DB cluster can be a replica, too.
    for source in [
        || source().read_replica_db_instance_identifiers("orders-replica"),
        || source().read_replica_db_cluster_identifiers("orders-replica"),
    ] {
        let replicated = || account(source());
        let error = replicated().plan(cutover(json!({"writes_stopped": true}))).await.expect_err("no decision");
        assert_eq!(error.name(), "StaleReplicasNotAccepted");
        assert!(error.to_string().contains("orders-replica"), "{error}");
        let decided = cutover(json!({"writes_stopped": true, "accept_stale_replicas": true}));
        replicated().plan(decided).await.expect("decided");
        replicated().plan(orders()).await.expect("nothing happens to them without a cutover");
    }
}

#[tokio::test]
async fn a_cutover_needs_the_name_for_the_old_instance() {
    let taken = || {
        let mut account = account(source());
        account.instances.push(DbInstance::builder().db_instance_identifier("orders-unencrypted").build());
        account
    };
    let error = taken().plan(cutover(json!({"writes_stopped": true}))).await.expect_err("taken");
    assert_eq!(error.name(), "NameConflict");
    assert!(error.to_string().starts_with("DB instance `orders-unencrypted`"), "{error}");
    taken().plan(orders()).await.expect("it is not needed without a cutover");
}

#[tokio::test]
async fn a_fence_needs_groups_to_come_back_to() {
    let fenced = || cutover(json!({"accept_lost_writes": true, "isolation_security_group_id": "sg-0"}));
    let without = source().set_vpc_security_groups(Some(vec![]));
    let error = account(without).plan(fenced()).await.expect_err("no fence");
    assert_eq!(error.name(), "InvalidInput");
    assert!(
        error.to_string().starts_with("`isolation_security_group_id`: cannot be used: the source has no"),
        "{error}"
    );
    // Which they will be is certain when they rest.
    let adding = VpcSecurityGroupMembership::builder().vpc_security_group_id("sg-2").status("adding").build();
    let changing = || account(source().vpc_security_groups(adding.clone()));
    let busy = changing().plan(fenced()).await.expect("waits").source;
    assert!(!busy.ready && busy.wait.wait_seconds > 0, "{busy:?}");
    let unfenced = changing().plan(cutover(json!({"accept_lost_writes": true}))).await.expect("planned");
    assert!(unfenced.source.ready);
}

#[tokio::test]
async fn an_integration_forbids_the_rename() {
    let with = |status: IntegrationStatus| {
        let integration = Integration::builder().integration_name("orders-to-redshift").source_arn(SOURCE_ARN);
        let other = Integration::builder().integration_name("other").source_arn("arn:other").build();
        Account { integrations: vec![other, integration.status(status).build()], ..account(source()) }
    };
    let renames = || cutover(json!({"accept_lost_writes": true}));
    for status in [IntegrationStatus::Active, IntegrationStatus::Failed] {
        let error = with(status).plan(renames()).await.expect_err("it would fail hours later");
        assert_eq!(error.name(), "InstanceNotUsable");
        assert!(error.to_string().contains("a zero-ETL integration reads it (`orders-to-redshift`)"), "{error}");
    }
    with(IntegrationStatus::Deleting).plan(renames()).await.expect("it is on its way out");
    with(IntegrationStatus::Active).plan(orders()).await.expect("nothing is renamed");
}

#[tokio::test]
async fn modifications_that_a_rename_would_apply_forbid_a_cutover() {
    let pending = PendingModifiedValues::builder().db_instance_class("db.r6g.large").build();
    let busy = || account(source().pending_modified_values(pending.clone()));
    let error = busy().plan(cutover(json!({"writes_stopped": true}))).await.expect_err("pending");
    assert_eq!(error.name(), "InstanceNotUsable");
    assert!(error.to_string().contains("would apply them in the middle of the outage"), "{error}");
    busy().plan(orders()).await.expect("only a warning without a cutover");
    let applying = source().pending_modified_values(pending.clone()).db_instance_status("modifying");
    let response = account(applying).plan(cutover(json!({"writes_stopped": true}))).await.expect("waits");
    assert!(!response.source.ready);
}

#[tokio::test]
async fn backups_wait_for_the_cutover_and_for_nothing_else() {
    let backed_up = || account(source().backup_retention_period(7));
    let days = |settings: &Settings| settings.number("BackupRetentionPeriod");
    let plain = planned(backed_up()).await;
    assert_eq!((days(&plain.settings), days(&plain.final_settings)), (Some(7), Some(7)));
    let renamed = backed_up().plan(cutover(json!({"writes_stopped": true}))).await.expect("planned");
    assert_eq!((days(&renamed.settings), days(&renamed.final_settings)), (Some(0), Some(7)));
    assert!(renamed.warnings.join("\n").contains("only recovery point"), "{:?}", renamed.warnings);
}

#[tokio::test]
async fn a_cutover_announces_the_outage_and_what_is_lost() {
    let input = cutover(json!({"accept_lost_writes": true}));
    let warnings = account(source()).plan(input).await.expect("planned").warnings.join("\n");
    for words in ["The cutover is an outage", "ACCEPTED: what is written", "Without isolation_security_group_id"] {
        assert!(warnings.contains(words), "{warnings} does not say {words}");
    }
    let input = cutover(json!({"writes_stopped": true, "isolation_security_group_id": "sg-0"}));
    let warnings = account(source()).plan(input).await.expect("planned").warnings.join("\n");
    assert!(!warnings.contains("ACCEPTED") && !warnings.contains("Without isolation"), "{warnings}");
}

#[tokio::test]
async fn the_plan_of_a_cutover_names_both_renames_and_the_approval() {
    let input = cutover(json!({"writes_stopped": true, "approval": true, "plan_only": true}));
    let plan = account(source()).plan(input).await.expect("planned").plan.expect("a plan");
    let summary = plan.summary.join("\n");
    for words in ["waits for an approval", "Rename orders to orders-unencrypted", "Rename orders-encrypted to orders:"]
    {
        assert!(summary.contains(words), "{summary} does not say {words}");
    }
}
