use super::*;

#[tokio::test]
async fn an_instance_that_does_not_exist_is_named() {
    let text = refusal(Account { instances: vec![], ..account(source()) }, "InstanceNotFound").await;
    assert!(text.starts_with("there is no DB instance `orders` in eu-west-1"), "{text}");
}

#[tokio::test]
async fn what_the_source_is_can_forbid_the_run() {
    for (source, name, words) in [
        (
            source().storage_encryption_type(StorageEncryptionType::Cmk).kms_key_id("arn:old"),
            "AlreadyEncrypted",
            "already encrypted under a KMS key (sse-kms), key arn:old",
        ),
        (
            // The boolean says that it is not.
            source().storage_encryption_type(StorageEncryptionType::Sse),
            "AlreadyEncrypted",
            "already encrypted under an AWS-owned key (sse-rds)",
        ),
        (
            source().set_storage_encryption_type(None).storage_encrypted(true),
            "AlreadyEncrypted",
            "already encrypted under a KMS key",
        ),
        (source().db_cluster_identifier("orders-cluster"), "ClusterMember", "restore-db-cluster-from-snapshot"),
        (source().read_replica_source_db_instance_identifier("primary"), "ReadReplica", "encrypt `primary`"),
        (source().read_replica_source_db_cluster_identifier("cluster"), "ReadReplica", "encrypt `cluster`"),
        (source().engine("sqlserver-ex"), "EncryptionNotSupported", "SQL Server Express"),
        (source().engine("custom-oracle-ee"), "SettingNotSupported", "Engine: "),
        (source().tde_credential_arn("arn:tde"), "SettingNotSupported", "TdeCredentialArn: "),
    ] {
        let text = refusal(account(source), name).await;
        assert!(text.contains(words), "{text} does not say {words}");
        assert!(text.contains("`orders`"), "{text}");
    }
}

#[tokio::test]
async fn empty_names_of_a_cluster_and_a_primary_mean_none() {
    let source = source().db_cluster_identifier("").read_replica_source_db_instance_identifier("");
    planned(account(source)).await;
}

#[tokio::test]
async fn a_source_that_does_not_recover_by_itself_is_refused_with_the_remedy() {
    for status in ["stopped", "stopping", "failed", "incompatible-network", "incompatible-parameters", "storage-full"]
        .into_iter()
        .chain(["inaccessible-encryption-credentials", "inaccessible-encryption-credentials-recoverable", "deleting"])
    {
        let text = refusal(account(source().db_instance_status(status)), "InstanceNotUsable").await;
        let Class::Failed { remedy } = workflow::status::source_class(status) else { panic!("{status}") };
        assert_eq!(text, format!("DB instance `orders` is `{status}`: {remedy}"));
    }
}

#[tokio::test]
async fn a_busy_source_is_waited_for() {
    for status in ["backing-up", "modifying", "creating", "defragmenting"] {
        let response = planned(account(source().db_instance_status(status))).await;
        assert!(!response.source.ready, "{status}");
        assert_eq!(response.source.status.as_deref(), Some(status));
        assert!(response.source.wait.wait_seconds > 0, "{status}");
    }
}

#[tokio::test]
async fn a_source_that_can_be_snapshotted_is_ready() {
    assert!(planned(account(source().db_instance_status("storage-optimization"))).await.source.ready);
}

#[tokio::test]
async fn the_wait_for_a_busy_source_goes_on_from_look_to_look_until_its_deadline() {
    let look_after = async |seconds: u64| {
        let wait = Wait { waited_seconds: seconds, ..Wait::default() };
        let context = account(source().db_instance_status("backing-up")).context();
        let input = json!({"instance_id": "orders", "max_wait_minutes": 2});
        let state = json!({"source": Look { wait, ..Look::default() }, "phase": "preparing"});
        plan_again_in(&context, input, state).await
    };
    let last = look_after(119).await.expect("a minute is left").source.wait;
    assert_eq!((last.waited_seconds, last.wait_seconds), (120, 1));
    let error = look_after(120).await.expect_err("too long");
    assert_eq!(error.name(), "WaitTimedOut");
    let said = "DB instance `orders` cannot be snapshotted yet after 120 s (max_wait_minutes): it is `backing-up`";
    assert!(error.to_string().starts_with(said), "{error}");
}

#[tokio::test]
async fn an_instance_can_be_named_by_its_arn_or_its_resource_id() {
    for instance_id in [SOURCE_ARN, RESOURCE_ID] {
        let response = account(source()).plan(json!({"instance_id": instance_id})).await.expect("found");
        assert_eq!(response.instance_id.as_str(), "orders", "{instance_id}");
        assert_eq!(response.of_snapshot().names.encrypted_instance_id.as_str(), "orders-encrypted");
    }
}

#[tokio::test]
async fn an_arn_of_another_region_is_bad_input() {
    let input = json!({"instance_id": "arn:aws:rds:us-east-1:123456789012:db:orders"});
    let error = account(source()).plan(input).await.expect_err("another Region");
    assert_eq!(error.name(), "InvalidInput");
    assert!(error.to_string().starts_with("`instance_id`: is in Region us-east-1"), "{error}");
}

#[tokio::test]
async fn what_an_arn_or_a_resource_id_does_not_lead_to_is_not_found() {
    for instance_id in [
        // `orders` of another account is not the `orders` of this one.
        "arn:aws:rds:eu-west-1:999999999999:db:orders",
        "arn:aws:rds:eu-west-1:123456789012:db:customers",
        "db-ZZZZZZZZZZZZZZZZZZZZZZZZ99",
    ] {
        let error = account(source()).plan(json!({"instance_id": instance_id})).await.expect_err(instance_id);
        assert_eq!(error.name(), "InstanceNotFound", "{instance_id}: {error}");
    }
}
