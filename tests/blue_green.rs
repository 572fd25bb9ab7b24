//! The way by a blue/green deployment, end to end, on real PostgreSQL servers and on records of other engines.

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::fixtures::{find, instance, seed, sql};

const ROWS: &str = "SELECT count(*), md5(string_agg(id || name, ',' ORDER BY id)) FROM planet";

fn seed_with_backups(cloud: &Cloud, id: &str, fields: Value) {
    let mut all = json!({"BackupRetentionPeriod": 7});
    all.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    seed(cloud, id, all);
}

#[tokio::test]
async fn an_instance_is_encrypted_under_its_own_name_with_all_its_rows() {
    let cloud = Cloud::shared().await.by_blue_green();
    seed_with_backups(&cloud, "moons", json!({"Engine": "postgres", "DeletionProtection": true}));
    let source = instance(&cloud, "moons").await;
    let client = sql(&source).await;
    let rows = "CREATE TABLE planet (id SERIAL PRIMARY KEY, name TEXT);
                INSERT INTO planet (name) SELECT 'moon ' || n FROM generate_series(1, 500) AS n";
    client.batch_execute(rows).await.expect("rows");
    let before = client.query_one(ROWS, &[]).await.expect("sum");

    let outcome = cloud.encrypt(json!({"instance_id": "moons"})).await;
    let output = outcome.succeeded();

    let target = instance(&cloud, "moons").await;
    assert_eq!((target.storage_encrypted(), target.deletion_protection()), (Some(true), Some(true)));
    assert_eq!(target.kms_key_id(), output["kms_key_arn"].as_str());
    assert_ne!(target.dbi_resource_id(), source.dbi_resource_id());
    let after = sql(&target).await.query_one(ROWS, &[]).await.expect("sum");
    assert_eq!(before.get::<_, i64>(0), after.get::<_, i64>(0));
    assert_eq!(before.get::<_, String>(1), after.get::<_, String>(1));
    let old = instance(&cloud, "moons-old1").await;
    assert_eq!((old.storage_encrypted(), old.dbi_resource_id()), (Some(false), source.dbi_resource_id()));
    assert_eq!(output["old_instances"][0]["id"], "moons-old1", "{output:#}");
    let deployments = cloud.rds.describe_blue_green_deployments().send().await.expect("deployments");
    let names = deployments.blue_green_deployments().iter().filter_map(|one| one.blue_green_deployment_name());
    assert!(!names.into_iter().any(|name| name == "moons-encrypted"), "it is deleted");
    assert!(find(&cloud, "moons-encrypted").await.is_none());
}
