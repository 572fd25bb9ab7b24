//! End to end: the deployed state machine, the real bootstraps, a real PostgreSQL with rows in it.

use aws_sdk_kms::types::{KeySpec, KeyUsageType};
use aws_sdk_rds::types::Tag;
use serde_json::json;

use crate::cloud::Cloud;
use crate::fixtures::{family, fault, instance, seed, sql, until_entered};

#[tokio::test]
async fn an_encrypted_instance_has_the_rows_of_its_source() {
    let cloud = Cloud::shared().await;
    seed(cloud, "planets", json!({"Engine": "postgres"}));
    let source = sql(&instance(cloud, "planets").await).await;
    source
        .batch_execute(
            "CREATE TABLE planet (id SERIAL PRIMARY KEY, name VARCHAR(30));
             INSERT INTO planet (name) SELECT 'planet ' || n FROM generate_series(1, 5000) AS n",
        )
        .await
        .expect("rows");

    let outcome = cloud.encrypt(json!({"instance_id": "planets"})).await;
    let output = outcome.succeeded();

    let target = instance(cloud, "planets-encrypted").await;
    assert_eq!(target.storage_encrypted(), Some(true));
    assert_eq!(target.kms_key_id(), output["kms_key_arn"].as_str());
    const SUM: &str = "SELECT count(*), md5(string_agg(id || name, ',' ORDER BY id)) FROM planet";
    let target = sql(&target).await;
    let (ours, theirs) =
        (source.query_one(SUM, &[]).await.expect("sum"), target.query_one(SUM, &[]).await.expect("sum"));
    assert_eq!(ours.get::<_, i64>(0), 5000);
    assert_eq!(ours.get::<_, String>(1), theirs.get::<_, String>(1));
    assert_eq!(instance(cloud, "planets").await.storage_encrypted(), Some(false), "the source is as it was");
}

#[tokio::test]
async fn the_output_holds_the_references_fields() {
    let cloud = Cloud::shared().await;
    seed(cloud, "reference", json!({}));
    let source = instance(cloud, "reference").await;
    let outcome = cloud.encrypt(json!({"instance_id": "reference"})).await;
    let output = outcome.succeeded();
    for (field, expected) in [
        ("instance_id", "reference"),
        ("availability_zone", source.availability_zone().expect("a zone")),
        ("no_encrypted_snapshot_id", "reference-no-encrypted"),
        ("no_encrypted_snapshot_status", "available"),
        ("encrypted_snapshot_id", "reference-encrypted"),
        ("encrypted_snapshot_status", "available"),
        ("encrypted_instance_id", "reference-encrypted"),
    ] {
        assert_eq!(output[field], expected, "{field} in {output:#}");
    }
    let group = source.vpc_security_groups()[0].vpc_security_group_id();
    assert_eq!(output["security_group_id"].as_str(), group);
    let subnets = source.db_subnet_group().and_then(|group| group.db_subnet_group_name());
    assert_eq!(output["db_subnet_group_name"].as_str(), subnets);
    assert!(output["snapshot_database_time"].is_string(), "{output:#}");
    assert_eq!(output["deleted"], json!(["DB snapshot `reference-no-encrypted`"]));
    assert_eq!(
        family(cloud, "reference").await,
        ["instance reference", "instance reference-encrypted", "snapshot reference-encrypted"]
    );
}

#[tokio::test]
async fn snapshots_are_kept_or_deleted_as_asked() {
    let cloud = Cloud::shared().await;
    for (choice, left) in
        [("keep", vec!["snapshot NAME-encrypted", "snapshot NAME-no-encrypted"]), ("delete_all", vec![])]
    {
        let name = format!("snapshots-{}", choice.replace('_', "-"));
        seed(cloud, &name, json!({}));
        cloud.encrypt(json!({"instance_id": name, "snapshots": choice})).await.succeeded();
        let mut expected = vec![format!("instance {name}"), format!("instance {name}-encrypted")];
        expected.extend(left.iter().map(|snapshot| snapshot.replace("NAME", &name)));
        assert_eq!(family(cloud, &name).await, expected);
    }
}

#[tokio::test]
async fn a_customers_key_is_used_whatever_names_it() {
    let cloud = Cloud::shared().await;
    // moto leaves the usage out of its answer unless it is given.
    let key = cloud.kms.create_key().key_usage(KeyUsageType::EncryptDecrypt).key_spec(KeySpec::SymmetricDefault);
    let key = key.send().await.expect("a key").key_metadata.expect("metadata");
    let arn = key.arn().expect("an ARN");
    let alias = "alias/orders";
    cloud.kms.create_alias().alias_name(alias).target_key_id(key.key_id()).send().await.expect("an alias");
    for (name, asked) in [("key-by-arn", arn), ("key-by-id", key.key_id()), ("key-by-alias", alias)] {
        seed(cloud, name, json!({}));
        let outcome = cloud.encrypt(json!({"instance_id": name, "kms_key_id": asked})).await;
        assert_eq!(outcome.succeeded()["kms_key_arn"], arn);
        assert_eq!(instance(cloud, &format!("{name}-encrypted")).await.kms_key_id(), Some(arn));
    }
}

/// An hours' long copy is not thrown away because somebody changed the source meanwhile, nor is the
/// change lost; what others do to the target is not in its way.
#[tokio::test]
async fn what_changes_during_the_run_is_no_difference_in_the_end() {
    let cloud = Cloud::shared().await;
    seed(cloud, "drifting", json!({"TagList": [{"Key": "team", "Value": "planets"}]}));
    let change = json!({"fields": {
        "BackupRetentionPeriod": 14,
        "PreferredMaintenanceWindow": "tue:05:00-tue:05:30",
        "TagList": [{"Key": "team", "Value": "stars"}],
    }});
    let change = cloud.control_command("PATCH", "instances/drifting", &change);
    let rule = json!({"action": {"type": "run", "command": change}});
    fault(cloud, "drifting", "RestoreDBInstanceFromDBSnapshot", rule);

    let execution = cloud.start_execution(&json!({"instance_id": "drifting"}).to_string()).await;
    until_entered(cloud, &execution, "WaitForInstance").await;
    let restored = instance(cloud, "drifting-encrypted").await;
    let tag = Tag::builder().key("created-by").value("robot").build();
    let call = cloud.rds.add_tags_to_resource().resource_name(restored.db_instance_arn().expect("an ARN")).tags(tag);
    call.send().await.expect("tagged");

    let outcome = cloud.outcome(&execution).await;
    let proof = &outcome.succeeded()["proof"];
    let target = instance(cloud, "drifting-encrypted").await;
    assert_eq!(target.backup_retention_period(), Some(14));
    assert_eq!(target.preferred_maintenance_window(), Some("tue:05:00-tue:05:30"));
    let team = target.tag_list().iter().find(|tag| tag.key() == Some("team"));
    assert_eq!(team.and_then(|tag| tag.value()), Some("stars"));
    assert_eq!(proof["tags_only_on_target"], json!(["created-by=robot"]), "{proof:#}");
}

#[tokio::test]
async fn an_unknown_instance_is_not_found() {
    let cloud = Cloud::shared().await;
    let outcome = cloud.encrypt(json!({"instance_id": "nowhere"})).await;
    assert!(outcome.failed("InstanceNotFound").contains("nowhere"));
}

#[tokio::test]
async fn an_encrypted_instance_is_refused() {
    let cloud = Cloud::shared().await;
    seed(cloud, "secret", json!({}));
    cloud.encrypt(json!({"instance_id": "secret"})).await.succeeded();
    let outcome = cloud.encrypt(json!({"instance_id": "secret-encrypted"})).await;
    assert!(outcome.failed("AlreadyEncrypted").contains("secret-encrypted"));
}

#[tokio::test]
async fn a_plan_creates_nothing() {
    let cloud = Cloud::shared().await;
    seed(cloud, "planned", json!({"MultiAZ": false}));
    let outcome = cloud.encrypt(json!({"instance_id": "planned", "plan_only": true})).await;
    let plan = &outcome.succeeded()["plan"];
    assert!(plan["settings"].as_array().is_some_and(|rows| rows.len() > 20), "{plan:#}");
    assert!(plan["summary"].to_string().contains("planned-encrypted"), "{plan:#}");
    assert_eq!(family(cloud, "planned").await, ["instance planned"]);
}

#[tokio::test]
async fn a_snapshot_that_fails_is_undone_under_its_own_error() {
    let cloud = Cloud::shared().await;
    seed(cloud, "broken-snapshot", json!({}));
    let action = json!({"when": "after", "action": {"type": "status", "status": "failed"}});
    fault(cloud, "broken-snapshot", "CreateDBSnapshot", action);
    let outcome = cloud.encrypt(json!({"instance_id": "broken-snapshot"})).await;
    assert!(outcome.failed("SnapshotFailed").contains("broken-snapshot-no-encrypted"));
    assert_eq!(family(cloud, "broken-snapshot").await, ["instance broken-snapshot"]);
}

#[tokio::test]
async fn a_restore_that_fails_is_undone_under_its_own_error() {
    let cloud = Cloud::shared().await;
    seed(cloud, "broken-restore", json!({}));
    let action = json!({"when": "after", "action": {"type": "status", "status": "incompatible-restore"}});
    fault(cloud, "broken-restore", "RestoreDBInstanceFromDBSnapshot", action);
    let outcome = cloud.encrypt(json!({"instance_id": "broken-restore"})).await;
    let cause = outcome.failed("InstanceFailed");
    assert!(cause.contains("incompatible-restore") && cause.contains("Undone: deleted"), "{cause}");
    assert_eq!(family(cloud, "broken-restore").await, ["instance broken-restore"]);
}
