//! The way online, end to end, on real PostgreSQL servers.

use std::collections::BTreeSet;

use aws_sdk_rds::types::DbInstance;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::dataflow::assert_answers_hold;
use crate::fixtures::{PASSWORD, fault, find, instance, sql};

/// An instance whose databases can be replicated, with a login for the functions.
pub(crate) async fn seed_replicable(cloud: &Cloud, id: &str, key: Option<&str>) -> (DbInstance, Value) {
    let body = json!({
        "fields": {"Engine": "postgres", "DBName": "app"},
        "master_password": PASSWORD,
        "parameters": {"rds.logical_replication": "1"},
    });
    cloud.control("PUT", &format!("instances/{id}"), body);
    let source = instance(cloud, id).await;
    let user = source.master_username().expect("a user");
    let secret = cloud.login(id, user, PASSWORD, key);
    (source, json!({"instance_id": id, "database_secret_arn": secret}))
}

/// One that succeeds and one that is undone past its preflight; what `dataflow` has seen of their functions.
pub(crate) async fn executions_that_show_all() -> BTreeSet<String> {
    let cloud = Cloud::shared().await.online();
    let mut shown = BTreeSet::new();
    for (id, is_refused) in [("delta", false), ("estuary", true)] {
        let (_, input) = seed_replicable(&cloud, id, None).await;
        if is_refused {
            fault(
                &cloud,
                id,
                "RestoreDBInstanceFromDBSnapshot",
                json!({"action": {"type": "error", "code": "AccessDenied", "status": 403}}),
            );
        }
        let outcome = cloud.encrypt(input).await;
        match is_refused {
            false => outcome.succeeded(),
            true => &json!(outcome.failed("AccessDenied")),
        };
        shown.extend(assert_answers_hold(&outcome.execution, &cloud.history(&outcome.execution).await));
    }
    shown
}

#[tokio::test]
async fn a_database_follows_its_source_and_takes_its_name_with_all_its_rows() {
    let cloud = Cloud::shared().await.online();
    let (source, input) = seed_replicable(&cloud, "brook", None).await;
    let outcome = cloud.encrypt(input).await;
    outcome.succeeded();
    let target = instance(&cloud, "brook").await;
    assert_eq!(target.storage_encrypted(), Some(true));
    assert_ne!(target.dbi_resource_id(), source.dbi_resource_id());
    let old = find(&cloud, "brook-unencrypted").await.expect("the old instance");
    assert_eq!(old.dbi_resource_id(), source.dbi_resource_id());
    let slots = sql(&target).await.query_one("SELECT count(*) FROM pg_replication_slots", &[]).await.expect("slots");
    assert_eq!(slots.get::<_, i64>(0), 0);
}
