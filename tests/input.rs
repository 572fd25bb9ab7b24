//! Anything at all may be the input: it is used, or it is refused by name with nothing created.

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::fixtures::{family, instance, seed};

#[tokio::test]
async fn an_input_that_cannot_be_used_is_refused_by_its_field() {
    let cloud = Cloud::shared().await;
    for (input, field) in [
        (json!([]), "`input`"),
        (json!("x"), "`input`"),
        (json!(null), "`input`"),
        (json!(7), "`input`"),
        (json!({}), "`instance_id`"),
        (json!({"instance_id": ["a"]}), "`instance_id`"),
        (json!({"instance_id": "Orders"}), "`instance_id`"),
        (json!({"instance_id": "a".repeat(64)}), "`instance_id`"),
        (json!({"instance_id": "a", "plan_onyl": true}), "did you mean `plan_only`"),
        (json!({"instance_id": "a", "snapshots": "none"}), "`snapshots`"),
        (json!({"instance_id": "x".repeat(255_000)}), "`instance_id`"),
    ] {
        let outcome = cloud.encrypt(input.clone()).await;
        let shown: String = input.to_string().chars().take(80).collect();
        assert!(outcome.failed("InvalidInput").contains(field), "{shown}: {outcome:#?}");
    }
}

#[tokio::test]
async fn the_instance_may_be_named_by_arn_or_resource_id() {
    let cloud = Cloud::shared().await;
    for (name, by_arn) in [("named-by-arn", true), ("named-by-resource-id", false)] {
        seed(cloud, name, json!({}));
        let source = instance(cloud, name).await;
        let reference = if by_arn { source.db_instance_arn() } else { source.dbi_resource_id() };
        let outcome = cloud.encrypt(json!({"instance_id": reference, "plan_only": true})).await;
        assert_eq!(outcome.succeeded()["instance_id"], name);
    }
}

#[tokio::test]
async fn an_instance_that_cannot_be_encrypted_is_refused_by_its_own_error() {
    let cloud = Cloud::shared().await;
    let cases: [(&str, Value, &str); 7] = [
        ("of-a-cluster", json!({"DBClusterIdentifier": "cluster"}), "ClusterMember"),
        ("a-replica", json!({"ReadReplicaSourceDBInstanceIdentifier": "primary"}), "ReadReplica"),
        ("an-express", json!({"Engine": "sqlserver-ex"}), "EncryptionNotSupported"),
        ("an-old-class", json!({"DBInstanceClass": "db.m1.small"}), "EncryptionNotSupported"),
        ("a-stopped", json!({"DBInstanceStatus": "stopped"}), "InstanceNotUsable"),
        ("an-incompatible", json!({"DBInstanceStatus": "incompatible-network"}), "InstanceNotUsable"),
        ("by-class", json!({"StorageEncrypted": false, "StorageEncryptionType": "sse-rds"}), "AlreadyEncrypted"),
    ];
    for (name, fields, error) in cases {
        seed(cloud, name, fields);
        cloud.encrypt(json!({"instance_id": name})).await.failed(error);
        assert_eq!(family(cloud, name).await, [format!("instance {name}")]);
    }
}

#[tokio::test]
async fn a_key_that_does_not_exist_is_refused() {
    let cloud = Cloud::shared().await;
    seed(cloud, "keyless", json!({}));
    for key in ["alias/nobody", "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"] {
        let outcome = cloud.encrypt(json!({"instance_id": "keyless", "kms_key_id": key})).await;
        assert!(outcome.failed("KeyNotUsable").contains(key), "{outcome:#?}");
    }
    assert_eq!(family(cloud, "keyless").await, ["instance keyless"]);
}

#[tokio::test]
async fn a_name_that_somebody_else_has_is_a_conflict_and_stays_theirs() {
    let cloud = Cloud::shared().await;
    seed(cloud, "taken", json!({}));
    seed(cloud, "taken-encrypted", json!({"DBInstanceClass": "db.t3.large"}));
    cloud.encrypt(json!({"instance_id": "taken"})).await.failed("NameConflict");
    assert_eq!(instance(cloud, "taken-encrypted").await.db_instance_class(), Some("db.t3.large"));
    assert_eq!(family(cloud, "taken").await, ["instance taken", "instance taken-encrypted"]);
}
