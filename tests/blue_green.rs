//! The way by a blue/green deployment, end to end, on real PostgreSQL servers and on records of other engines.

use aws_sdk_rds::types::DbInstance;
use serde_json::{Value, json};

use crate::cloud::{Cloud, Outcome, Running, Setup};
use crate::cutover::{token_of, undo_of};
use crate::fixtures::{Load, client_program, family, fault, find, instance, seed, sql};
use crate::online::seed_replicable;

const ROWS: &str = "SELECT count(*), md5(string_agg(id || name, ',' ORDER BY id)) FROM planet";

fn seed_with_backups(cloud: &Cloud, id: &str, fields: Value) {
    let mut all = json!({"Engine": "mariadb", "BackupRetentionPeriod": 7});
    all.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    seed(cloud, id, all);
}

/// A rule for what befalls the deployment of one source.
fn play(cloud: &Cloud, id: &str, plays: Value) {
    let action = json!({"type": "play", "plays": plays});
    fault(cloud, id, "CreateBlueGreenDeployment", json!({"when": "after", "action": action}));
}

async fn deployment_of(cloud: &Cloud, id: &str) -> Option<String> {
    let all = cloud.rds.describe_blue_green_deployments().into_paginator().items().send();
    let deployments: Result<Vec<_>, _> = all.collect().await;
    let name = format!("{id}-encrypted");
    let deployments = deployments.expect("deployments");
    let found = deployments.iter().find(|one| one.blue_green_deployment_name() == Some(name.as_str()));
    found.map(|found| found.status().unwrap_or_default().to_owned())
}

/// The source as it was, and nothing of ours.
async fn is_as_before(cloud: &Cloud, before: &DbInstance) {
    let id = before.db_instance_identifier().expect("a name");
    let now = instance(cloud, id).await;
    assert_eq!((now.dbi_resource_id(), now.storage_encrypted()), (before.dbi_resource_id(), Some(false)));
    assert_eq!(family(cloud, id).await, [format!("instance {id}")]);
    assert_eq!(deployment_of(cloud, id).await, None);
}

/// It fails of this, with nothing left.
async fn fails(cloud: &Cloud, id: &str, error: &str) -> Outcome {
    let before = instance(cloud, id).await;
    let outcome = cloud.encrypt(json!({"instance_id": id})).await;
    outcome.failed(error);
    is_as_before(cloud, &before).await;
    outcome
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
    assert_eq!(deployment_of(&cloud, "moons").await, None, "it is deleted");
}

/// A load of eight sessions, and the ledger of what they were told (`tests/local/ledger.py`).
fn load_on(source: &DbInstance) -> Load {
    let user = source.master_username().expect("a user");
    Load::start(&mut client_program(source, &["tests/local/ledger.py", "--database", "postgres", "--user", user]))
}

#[tokio::test]
async fn no_write_is_lost_or_there_twice_under_load() {
    let cloud = Cloud::shared().await.by_blue_green();
    seed_with_backups(&cloud, "tides", json!({"Engine": "postgres"}));
    let load = load_on(&instance(&cloud, "tides").await);
    let outcome = cloud.encrypt(json!({"instance_id": "tides"})).await;
    let ledger = load.outcome();
    outcome.succeeded();
    assert_eq!(ledger["holds"], true, "{ledger:#}");
    assert!(ledger["acknowledged"].as_u64() > Some(100) && ledger["reconnects"].as_u64() >= Some(1), "{ledger:#}");
    assert_eq!(instance(&cloud, "tides").await.storage_encrypted(), Some(true));
}

/// A cloud whose switchover is broken on purpose: the ledger is worth something only if it sees that.
#[tokio::test]
async fn a_switchover_that_promotes_first_is_found_out_by_the_ledger() {
    let cloud = Cloud::shared().await.by_blue_green();
    seed_with_backups(&cloud, "floods", json!({"Engine": "postgres"}));
    play(&cloud, "floods", json!({"promotes_first": true}));
    let load = load_on(&instance(&cloud, "floods").await);
    cloud.encrypt(json!({"instance_id": "floods"})).await.succeeded();
    let ledger = load.outcome();
    assert_eq!(ledger["holds"], false, "{ledger:#}");
}

#[tokio::test]
async fn read_replicas_are_encrypted_with_their_source() {
    let cloud = Cloud::shared().await.by_blue_green();
    // MySQL 8 runs events unless it is told otherwise.
    let fields = json!({"Engine": "mysql", "EngineVersion": "5.7.44", "TagList": [{"Key": "team", "Value": "rings"}]});
    seed_with_backups(&cloud, "saturn", fields);
    for replica in ["saturn-one", "saturn-two"] {
        seed(&cloud, replica, json!({"ReadReplicaSourceDBInstanceIdentifier": "saturn", "EngineVersion": "5.7.44"}));
    }
    let import =
        json!([{"RoleArn": "arn:aws:iam::123456789012:role/import", "FeatureName": "s3Import", "Status": "ACTIVE"}]);
    let change = json!({"fields": {"AssociatedRoles": import}});
    cloud.control("PATCH", "instances/saturn", change);

    let outcome = cloud.encrypt(json!({"instance_id": "saturn"})).await;
    let output = outcome.succeeded();

    for id in ["saturn", "saturn-one", "saturn-two"] {
        let (new, old) = (instance(&cloud, id).await, instance(&cloud, &format!("{id}-old1")).await);
        assert_eq!((new.storage_encrypted(), old.storage_encrypted()), (Some(true), Some(false)), "{id}");
        assert_eq!(new.kms_key_id(), output["kms_key_arn"].as_str(), "{id}");
    }
    let encrypted = instance(&cloud, "saturn").await;
    assert_eq!(encrypted.associated_roles().len(), 1, "RDS does not copy roles");
    assert!(encrypted.tag_list().iter().all(|tag| tag.key() == Some("team")), "{:?}", encrypted.tag_list());
    assert_eq!(output["members"].as_array().map(Vec::len), Some(3));
    assert_eq!(output["old_instances"][2]["id"], "saturn-two-old1");
    let replicas = instance(&cloud, "saturn").await;
    assert_eq!(replicas.read_replica_db_instance_identifiers(), ["saturn-one", "saturn-two"]);
}

/// Green bears no tag of ours by which a role may change its tags, and RDS gives it the source's at the switchover.
#[tokio::test]
async fn a_tag_that_the_source_gets_meanwhile_comes_with_the_switchover() {
    // The look at green names nobody that a rule could tell it by.
    let running = Running::start(&Setup { storage: "files", ..Setup::default() });
    let cloud = Cloud::connect(&running).await.by_blue_green();
    seed_with_backups(&cloud, "comet", json!({"TagList": [{"Key": "team", "Value": "ice"}]}));
    let tags = json!({"fields": {"TagList": [{"Key": "team", "Value": "dust"}]}});
    let command = cloud.control_command("PATCH", "instances/comet", &tags);
    let action = json!({"type": "run", "command": command});
    let rule = json!({"operation": "DescribeDBInstances", "app_id": "rds-encrypt.apply-settings", "action": action});
    cloud.control("POST", "faults", rule);
    let outcome = cloud.encrypt(json!({"instance_id": "comet"})).await;
    let proof = &outcome.succeeded()["proof"]["members"][0];
    let compared = proof["compared"].as_array().expect("a list");
    assert!(!compared.contains(&json!("Tags")), "they were not: {proof:#}");
    let encrypted = instance(&cloud, "comet").await;
    assert_eq!(encrypted.tag_list()[0].value(), Some("dust"), "{:?}", encrypted.tag_list());
}

#[tokio::test]
async fn what_comes_to_nothing_before_the_switchover_leaves_the_source_as_it_was() {
    let cloud = Cloud::shared().await.by_blue_green();
    for (id, plays, error) in [
        ("late-failure", json!({"failing_task": "CONFIGURE_BACKUPS"}), "DeploymentFailed"),
        ("guarded", json!({"guardrail": "long-running active writes"}), "SwitchoverFailed"),
        ("stalled", json!({"stalls": true, "failed_switchover_status": "AVAILABLE"}), "SwitchoverFailed"),
    ] {
        seed_with_backups(&cloud, id, json!({}));
        play(&cloud, id, plays);
        fails(&cloud, id, error).await;
    }
    seed_with_backups(&cloud, "full", json!({"AllocatedStorage": 100}));
    cloud.control("PATCH", "instances/full", json!({"free_storage_bytes": 1_000_000_000}));
    fails(&cloud, "full", "SourceStorageLow").await;
}

#[tokio::test]
async fn an_approval_is_given_or_ends_when_the_source_runs_out_of_storage() {
    let cloud = Cloud::shared().await.by_blue_green();
    let mut inbox = cloud.inbox();
    for id in ["consent", "brimming"] {
        seed_with_backups(&cloud, id, json!({"AllocatedStorage": 100}));
        let before = instance(&cloud, id).await;
        let execution = cloud.start_execution(&json!({"instance_id": id, "approval": true}).to_string()).await;
        let token = token_of(&mut inbox, id, "keeps its log for it");
        if id == "consent" {
            cloud.sfn.send_task_success().task_token(token).output("{}").send().await.expect("approved");
            cloud.outcome(&execution).await.succeeded();
        } else {
            cloud.control("PATCH", "instances/brimming", json!({"free_storage_bytes": 1_000_000_000}));
            cloud.outcome(&execution).await.failed("SourceStorageLow");
            is_as_before(&cloud, &before).await;
        }
    }
}

#[tokio::test]
async fn green_that_is_late_is_waited_for() {
    let cloud = Cloud::shared().await.by_blue_green();
    seed_with_backups(&cloud, "late", json!({}));
    play(&cloud, "late", json!({"late_green": "modifying"}));
    cloud.encrypt(json!({"instance_id": "late"})).await.succeeded();
}

#[tokio::test]
async fn green_that_somebody_deletes_or_promotes_ends_the_run_by_its_name() {
    let cloud = Cloud::shared().await.by_blue_green();
    for (id, action) in [("deleted", "vanish"), ("promoted", "promote")] {
        seed_with_backups(&cloud, id, json!({"Engine": "postgres"}));
        let source = instance(&cloud, id).await;
        let action = json!({"type": action, "resource": {"green_of": id}});
        fault(&cloud, id, "SwitchoverBlueGreenDeployment", json!({"action": action}));
        let outcome = cloud.encrypt(json!({"instance_id": id})).await;
        assert!(["DeploymentFailed", "InstanceNotFound"].contains(&outcome.error.as_str()), "{outcome:#?}");
        undo_of(&cloud, &outcome.execution).await;
        let now = instance(&cloud, id).await;
        assert_eq!((now.dbi_resource_id(), now.storage_encrypted()), (source.dbi_resource_id(), Some(false)));
        assert_eq!(deployment_of(&cloud, id).await, None);
        // What somebody has made of it is theirs.
        let left = family(&cloud, id).await.len() - 1;
        assert_eq!(left, usize::from(id == "promoted"), "{:?}", family(&cloud, id).await);
        assert_eq!(left == 1, outcome.cause.contains("-green-"), "{}", outcome.cause);
    }
}

#[tokio::test]
async fn a_replica_that_is_left_out_is_named_and_the_rest_is_finished() {
    let cloud = Cloud::shared().await.by_blue_green();
    seed_with_backups(&cloud, "jupiter", json!({}));
    seed(&cloud, "jupiter-one", json!({"Engine": "mariadb", "ReadReplicaSourceDBInstanceIdentifier": "jupiter"}));
    play(&cloud, "jupiter", json!({"failing_members": ["jupiter-one"]}));
    let outcome = cloud.encrypt(json!({"instance_id": "jupiter"})).await;
    let cause = outcome.failed("SwitchoverFailed");
    for said in ["`jupiter-one`", "The target is proven and stays", "counterpart `jupiter-one-green-"] {
        assert!(cause.contains(said), "{said}: {cause}");
    }
    assert_eq!(instance(&cloud, "jupiter").await.storage_encrypted(), Some(true));
    assert_eq!(instance(&cloud, "jupiter-one").await.storage_encrypted(), Some(false));
    assert_eq!(deployment_of(&cloud, "jupiter").await, None);
}

#[tokio::test]
async fn what_this_way_cannot_do_is_refused_with_every_reason_before_anything_exists() {
    let cloud = Cloud::shared().await.by_blue_green();
    let secret = json!({"SecretArn": "arn:secret", "SecretStatus": "active", "KmsKeyId": "arn:key"});
    let fields = json!({"Engine": "mysql", "BackupRetentionPeriod": 0, "MasterUserSecret": secret});
    seed(&cloud, "closed", fields);
    let outcome = fails(&cloud, "closed", "BlueGreenNotSupported").await;
    for reason in ["automated backups are off", "managed in Secrets Manager", "event_scheduler", "encrypt-instance"] {
        assert!(outcome.cause.contains(reason), "{reason}: {}", outcome.cause);
    }
    let input = json!({"instance_id": "closed", "cutover": "rename"});
    let outcome = cloud.encrypt(input).await;
    assert!(outcome.failed("InvalidInput").contains("`cutover`: is for the state machine encrypt-instance"));
}

#[tokio::test]
async fn a_plan_of_either_machine_compares_the_ways_and_recommends_one() {
    let cloud = Cloud::shared().await;
    seed_with_backups(cloud, "open", json!({}));
    seed(cloud, "oracle", json!({"Engine": "oracle-ee"}));
    seed_replicable(cloud, "followed", None).await;
    cloud.control("PATCH", "instances/followed", json!({"fields": {"BackupRetentionPeriod": 0}}));
    for (machine, id, recommended) in [
        (cloud.by_blue_green(), "open", "blue_green"),
        (cloud.clone(), "open", "blue_green"),
        (cloud.clone(), "followed", "online"),
        (cloud.clone(), "oracle", "snapshot"),
    ] {
        let outcome = machine.encrypt(json!({"instance_id": id, "plan_only": true})).await;
        let ways = outcome.succeeded()["plan"]["ways"].as_array().expect("ways").clone();
        let chosen: Vec<&Value> = ways.iter().filter(|way| way["recommended"] == true).collect();
        assert_eq!((ways.len(), chosen.len(), &chosen[0]["way"]), (3, 1, &json!(recommended)), "{ways:#?}");
        let closed: Vec<&Value> = ways.iter().filter(|way| way["usable"] == false).collect();
        assert!(closed.iter().all(|way| way["why_not"][0].is_string()), "{closed:#?}");
        assert_eq!(family(cloud, id).await, [format!("instance {id}")]);
    }
}

#[tokio::test]
async fn what_was_kept_is_gone_on_with() {
    let cloud = Cloud::shared().await.by_blue_green();
    seed_with_backups(&cloud, "held", json!({}));
    let denied = json!({"type": "error", "code": "AccessDenied", "status": 403});
    fault(&cloud, "held", "SwitchoverBlueGreenDeployment", json!({"action": denied}));
    let failed = cloud.encrypt(json!({"instance_id": "held", "on_failure": "keep"})).await;
    assert!(failed.failed("AccessDenied").contains("blue/green deployment `held-encrypted`"), "{failed:#?}");
    assert_eq!(deployment_of(&cloud, "held").await.as_deref(), Some("AVAILABLE"));
    // Another execution does not take it.
    let other = cloud.encrypt(json!({"instance_id": "held"})).await;
    assert!(other.failed("NameConflict").contains(&failed.execution), "{other:#?}");
    cloud.encrypt(json!({"instance_id": "held", "resume": failed.execution})).await.succeeded();
    assert!(find(&cloud, "held-old1").await.is_some());
}
