//! Every setting of the source arrives, for each engine, and whatever does not arrive stops the run.

mod sources;
mod twin;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_sdk_kms::types::{KeySpec, KeyUsageType};
use aws_sdk_rds::types::{DbInstance, Tag};
use serde_json::{Value, json};

use crate::cloud::{Cloud, Running, Setup};
use crate::cutover::{approval_token, groups};
use crate::fixtures::{PASSWORD, family, fault, instance, seed, sql, until_entered};
use sources::{Make, Source};
use twin::{DIFFERS_ON_PURPOSE, INHERITED_BY_A_RESTORE, PASSES, changes, differences};

/// Of a large instance; the run without a cutover waits for it, the one with a cutover does not.
const FIRST_BACKUP_SECONDS: u64 = 2 * 3600;

/// One test for each engine, so that a failure names it.
macro_rules! engines {
    ($($test:ident: $engine:ident,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                arrives_whole(sources::$engine).await;
            }
        )*
    };
}

engines! {
    postgres_arrives_whole: postgres,
    postgres_on_an_outpost_arrives_whole: postgres_on_an_outpost,
    mysql_arrives_whole: mysql,
    mariadb_arrives_whole: mariadb,
    oracle_se2_arrives_whole: oracle_se2,
    oracle_ee_arrives_whole: oracle_ee,
    oracle_ee_with_tenants_arrives_whole: oracle_ee_cdb,
    sqlserver_se_arrives_whole: sqlserver_se,
    mirrored_sqlserver_ee_arrives_whole: sqlserver_ee,
    sqlserver_web_arrives_whole: sqlserver_web,
    db2_se_arrives_whole: db2_se,
}

async fn arrives_whole(make: Make) {
    let cloud = Cloud::shared().await;
    let source = make(&key(cloud).await);
    source.seed(cloud);
    let before = record(cloud, source.id);

    let outcome = cloud.encrypt(json!({"instance_id": source.id, "snapshots": "keep"})).await;
    let output = outcome.succeeded();

    let target = record(cloud, &format!("{}-encrypted", source.id));
    let mut differing = differences(&before, &target);
    differing.retain(|field, _| !source.differs.iter().any(|(name, _)| name == field));
    assert!(differing.is_empty(), "{}: {differing:#?}", source.id);
    assert_eq!(target["data"], before["data"]);
    assert_encrypted(&target, output);
    assert_warned(&source, output);
    assert_shown_by_verify(&source, output);
    assert_has_a_secret_of_its_own(&before, &target, output);
    let is_mirrored = !before["fields"]["SecondaryAvailabilityZone"].is_null();
    assert_eq!(target["fields"]["MultiAZ"], is_mirrored, "{}", source.id);
    // The parameter group of a restored instance waits for a reboot.
    assert_eq!(state_at(cloud, &outcome.execution, "Report").await["applied"]["reboots"], 1);
    let changed = changes(&before, &record(cloud, source.id));
    assert!(changed.is_empty(), "the source is not as it was: {changed:#?}");

    assert_a_bare_restore_differs(cloud, &source, &before).await;
    for suffix in ["", "-encrypted", "-bare"] {
        cloud.control("DELETE", &format!("instances/{}{suffix}", source.id), json!({}));
    }
}

fn assert_encrypted(target: &Value, output: &Value) {
    let fields = &target["fields"];
    assert_eq!((&fields["StorageEncrypted"], &fields["StorageEncryptionType"]), (&json!(true), &json!("sse-kms")));
    assert_eq!(fields["KmsKeyId"], output["kms_key_arn"]);
    // SQL Server's storage is changed after its restore, and then optimized beside the database.
    let status = fields["DBInstanceStatus"].as_str().expect("a status");
    assert!(matches!(status, "available" | "storage-optimization"), "{status}");
}

/// What cannot travel is said, with what to do about it.
fn assert_warned(source: &Source, output: &Value) {
    let warnings = output["warnings"].as_array().expect("a list");
    for (field, words) in source.differs {
        let said = warnings.iter().any(|warning| warning.as_str().is_some_and(|text| text.contains(words)));
        assert!(said, "nothing is said of {field}: {warnings:#?}");
    }
}

/// The proof in the output names every setting that was off its default.
fn assert_shown_by_verify(source: &Source, output: &Value) {
    let compared = output["proof"]["compared"].as_array().expect("a list");
    for field in source.names().filter(|field| *field != "DeletionProtection" && !is_left_out(source, field)) {
        // The proof calls what RDS takes in another form than it reports by the request's name.
        let name = match field {
            "DBParameterGroups" => "DBParameterGroupName",
            "OptionGroupMemberships" => "OptionGroupName",
            "DBSubnetGroup" => "DBSubnetGroupName",
            "VpcSecurityGroups" => "VpcSecurityGroupIds",
            "DomainMemberships" => "Domain",
            "MasterUserSecret" => "MasterUserSecretKmsKeyId",
            "TagList" => "Tags",
            name => name,
        };
        assert!(compared.contains(&json!(name)), "the proof says nothing of {field}: {compared:?}");
    }
}

fn is_left_out(source: &Source, field: &str) -> bool {
    DIFFERS_ON_PURPOSE.contains(&field) || source.differs.iter().any(|(name, _)| *name == field)
}

fn assert_has_a_secret_of_its_own(before: &Value, target: &Value, output: &Value) {
    let secret = |record: &Value| record["fields"]["MasterUserSecret"]["SecretArn"].as_str().map(str::to_owned);
    let (Some(old), Some(new)) = (secret(before), secret(target)) else { return };
    assert_ne!(old, new);
    assert!(output["notes"].to_string().contains(&new), "the output does not name the new secret: {output:#}");
}

/// The same snapshot, restored as many do it: everything that is off its default is lost.
async fn assert_a_bare_restore_differs(cloud: &Cloud, source: &Source, before: &Value) {
    let id = format!("{}-bare", source.id);
    let call = cloud.rds.restore_db_instance_from_db_snapshot().db_instance_identifier(&id);
    call.db_snapshot_identifier(format!("{}-encrypted", source.id)).send().await.expect("restored");
    let bare = available(cloud, &id).await;
    let mut expected: BTreeSet<&str> = source
        .names()
        .filter(|field| !INHERITED_BY_A_RESTORE.contains(field) && !DIFFERS_ON_PURPOSE.contains(field))
        .collect();
    if expected.contains("StorageType") {
        expected.extend(["Iops", "StorageThroughput"]);
    }
    let mut differing = differences(before, &bare);
    // Where the zone of a single-AZ source was not chosen, it is no setting.
    differing.retain(|field, _| expected.contains(field.as_str()) || field != "AvailabilityZone");
    let names: BTreeSet<&str> = differing.keys().map(String::as_str).collect();
    assert_eq!(names, expected, "{}", source.id);
}

/// Nothing that DescribeDBInstances knows is left to chance by the sources above.
#[test]
fn every_field_of_an_instance_is_seeded_or_has_a_reason_not_to_be() {
    const OF_EVERY_INSTANCE: &[&str] =
        &["EngineVersion", "MasterUsername", "Endpoint", "DbInstancePort", "PendingModifiedValues"];
    // Plan refuses these sources.
    const OF_CLUSTERS_REPLICAS_AND_RDS_CUSTOM: &[&str] = &[
        "DBClusterIdentifier",
        "PromotionTier",
        "ReadReplicaSourceDBInstanceIdentifier",
        "ReadReplicaSourceDBClusterIdentifier",
        "ReplicaMode",
        "StatusInfos",
        "AutomationMode",
        "ResumeFullAutomationModeTime",
        "CustomIamInstanceProfile",
        "DBSystemId",
        "DBSecurityGroups",
        "TdeCredentialArn",
    ];
    // The local cloud's model of the API is older than the SDK's.
    const UNKNOWN_TO_THE_LOCAL_CLOUD: &[&str] = &["DBCapacityReservationIdentifier"];

    let all: Vec<Source> = sources::ALL.iter().map(|make| make("key")).collect();
    let mut known: BTreeSet<String> = all.iter().flat_map(Source::names).map(folded).collect();
    for names in
        [DIFFERS_ON_PURPOSE, PASSES, OF_EVERY_INSTANCE, OF_CLUSTERS_REPLICAS_AND_RDS_CUSTOM, UNKNOWN_TO_THE_LOCAL_CLOUD]
    {
        known.extend(names.iter().map(|name| folded(name)));
    }
    let form = format!("{:?}", DbInstance::builder().build());
    let fields = form.trim_start_matches("DbInstance { ").trim_end_matches(" }").split(", ");
    let fields: BTreeSet<String> = fields.map(|field| folded(field.split_once(": ").expect("a field").0)).collect();
    assert!(fields.len() > 80, "the SDK's form was read: {fields:?}");
    assert_eq!(known, fields);
}

/// `DBInstanceClass` and `db_instance_class` alike.
fn folded(name: &str) -> String {
    name.replace('_', "").to_lowercase()
}

/// RDS accepts a modification, and it never takes: the run ends before the commit point.
#[tokio::test]
async fn a_setting_that_never_takes_stops_the_run_with_a_readable_difference() {
    let cloud = Cloud::shared().await;
    let id = "never-takes";
    seed(cloud, id, json!({"PreferredMaintenanceWindow": "sun:04:15-sun:04:45", "MultiAZ": true}));
    let before = record(cloud, id);
    let never = json!({
        "app_id": "rds-encrypt.apply-settings",
        "from_call": 1,
        "when": "after",
        "action": {"type": "fields", "fields": {"PreferredMaintenanceWindow": "mon:23:00-mon:23:30"}},
    });
    fault(cloud, id, "ModifyDBInstance", never);
    let input = json!({"instance_id": id, "cutover": "rename", "accept_lost_writes": true});
    let outcome = cloud.encrypt(input).await;

    let cause = outcome.failed("NotProven");
    let difference =
        "PreferredMaintenanceWindow: \"sun:04:15-sun:04:45\" at the source, \"mon:23:00-mon:23:30\" at the target";
    assert!(cause.contains(difference) && cause.contains("Undone: deleted"), "{cause}");
    assert_stopped_before_the_commit_point(cloud, &outcome.execution, &before).await;
}

/// Whatever else becomes of the target while nobody looks.
#[tokio::test]
async fn a_target_that_is_not_what_was_planned_stops_the_run_with_a_readable_difference() {
    let cloud = Cloud::shared().await;
    let other_key = key(cloud).await;
    let cases = [
        ("moved", json!({"AvailabilityZone": "us-east-1f"}), "\"us-east-1f\" at the target"),
        ("keyed", json!({"KmsKeyId": other_key}), "its key is arn:aws:kms"),
        ("plain", json!({"StorageEncryptionType": "none"}), "it is not encrypted"),
        ("owned", json!({"StorageEncryptionType": "sse-rds"}), "it is encrypted under an AWS-owned key (sse-rds)"),
        ("regional", json!({"BackupTarget": "outposts"}), "BackupTarget: \"region\" at the source, \"outposts\" at"),
    ];
    let runs = cases.map(|(name, fields, words)| {
        tokio::spawn(async move {
            let id = format!("unplanned-{name}");
            seed(cloud, &id, json!({}));
            let before = record(cloud, &id);
            let target = format!("{id}-encrypted");
            let change = cloud.control_command("PATCH", &format!("instances/{target}"), &json!({"fields": fields}));
            let rule = json!({"app_id": "rds-encrypt.describe-status", "action": {"type": "run", "command": change}});
            fault(cloud, &target, "DescribeDBInstances", rule);
            let outcome = cloud.encrypt(json!({"instance_id": id})).await;
            let cause = outcome.failed("NotProven");
            assert!(cause.contains(words) && cause.contains("Undone: deleted"), "{cause}");
            assert_stopped_before_the_commit_point(cloud, &outcome.execution, &before).await;
        })
    });
    for run in runs {
        run.await.expect("stopped");
    }
}

/// Somebody tags the target, and takes a tag away from it, while it is restored.
#[tokio::test]
async fn a_tag_that_others_took_away_is_put_back_and_one_that_they_added_is_told() {
    let cloud = Cloud::shared().await;
    let id = "tagged";
    seed(cloud, id, json!({"TagList": [{"Key": "team", "Value": "planets"}]}));
    let before = record(cloud, id);
    let execution = cloud.start_execution(&json!({"instance_id": id}).to_string()).await;
    until_entered(cloud, &execution, "WaitForInstance").await;
    let arn = record(cloud, "tagged-encrypted")["fields"]["DBInstanceArn"].as_str().expect("an ARN").to_owned();
    let stranger = Tag::builder().key("owner").value("somebody").build();
    cloud.rds.add_tags_to_resource().resource_name(&arn).tags(stranger).send().await.expect("tagged");
    cloud.rds.remove_tags_from_resource().resource_name(&arn).tag_keys("team").send().await.expect("untagged");

    let outcome = cloud.outcome(&execution).await;
    assert_eq!(outcome.succeeded()["proof"]["tags_only_on_target"], json!(["owner=somebody"]));
    let tags = record(cloud, "tagged-encrypted")["fields"]["TagList"].to_string();
    assert!(tags.contains("planets"), "{tags}");
    let changed = changes(&before, &record(cloud, id));
    assert!(changed.is_empty(), "the source is not as it was: {changed:#?}");
}

async fn assert_stopped_before_the_commit_point(cloud: &Cloud, execution: &str, before: &Value) {
    let states = cloud.states(execution).await;
    assert_eq!(states.iter().filter(|state| *state == "Verify").count(), 1, "{states:?}");
    for state in ["FenceSource", "RenameSource", "ProtectTarget", "CleanUp"] {
        assert!(!states.iter().any(|entered| entered == state), "{states:?}");
    }
    let id = before["fields"]["DBInstanceIdentifier"].as_str().expect("a name");
    assert_eq!(family(cloud, id).await, [format!("instance {id}")]);
    let changed = changes(before, &record(cloud, id));
    assert!(changed.is_empty(), "the source is not as it was: {changed:#?}");
}

/// A reboot that does nothing leaves the group as it was: another one is asked for.
#[tokio::test]
async fn a_parameter_group_is_rebooted_into_force_until_it_is() {
    let cloud = Cloud::shared().await;
    let group = json!([{"DBParameterGroupName": "tuned", "ParameterApplyStatus": "in-sync"}]);
    let in_vain = json!({"when": "after", "action": {"type": "status", "status": "available"}});
    seed(cloud, "rebooted", json!({"DBParameterGroups": group}));
    fault(cloud, "rebooted", "RebootDBInstance", in_vain.clone());
    let outcome = cloud.encrypt(json!({"instance_id": "rebooted"})).await;
    outcome.succeeded();
    assert_eq!(state_at(cloud, &outcome.execution, "Report").await["applied"]["reboots"], 2);
    assert_eq!(record(cloud, "rebooted-encrypted")["fields"]["DBParameterGroups"], group);

    seed(cloud, "rebooted-in-vain", json!({"DBParameterGroups": group}));
    let before = record(cloud, "rebooted-in-vain");
    let mut always_in_vain = in_vain;
    always_in_vain["from_call"] = json!(1);
    fault(cloud, "rebooted-in-vain", "RebootDBInstance", always_in_vain);
    let outcome = cloud.encrypt(json!({"instance_id": "rebooted-in-vain"})).await;
    let cause = outcome.failed("NotProven");
    assert!(cause.contains("DBParameterGroups: `tuned` is pending-reboot, not in force"), "{cause}");
    assert_stopped_before_the_commit_point(cloud, &outcome.execution, &before).await;
}

/// RDS backs up a restored instance first, for hours if it is large. Without a cutover nobody waits
/// with the run; with one, those hours would be an outage, so backups come after it.
#[tokio::test]
async fn hours_of_a_first_backup_are_waited_for_only_where_nobody_waits_with_the_run() {
    let running = Running::start(&Setup { storage: "files", time_scale: 0.002, ..Setup::default() });
    let cloud = &*Box::leak(Box::new(Cloud::connect(&running).await));
    cloud.control("PATCH", "settings", json!({"durations": {"restore_backup": FIRST_BACKUP_SECONDS}}));
    let key = key(cloud).await;
    let (aside, cutover) = (sources::mysql(&key), Source { id: "cutover", ..sources::mysql(&key) });
    let mirrored = sources::sqlserver_ee(&key);
    for source in [&aside, &cutover, &mirrored] {
        source.seed(cloud);
    }
    let before = record(cloud, cutover.id);
    let cut_over = async |id: &str| {
        let input = json!({"instance_id": id, "cutover": "rename", "accept_lost_writes": true});
        (cloud.encrypt(input).await, record(cloud, id))
    };
    let (aside, (cutover, target), (mirrored, mirrored_target)) =
        tokio::join!(cloud.encrypt(json!({"instance_id": aside.id})), cut_over(cutover.id), cut_over(mirrored.id));

    // Mirroring asks for backups all the time, so the first one is waited for before the outage.
    let output = mirrored.succeeded();
    assert!(output["warnings"].to_string().contains("cannot do without automated backups"), "{output:#}");
    let state = state_at(cloud, &mirrored.execution, "Report").await;
    assert_eq!(state["settings"]["BackupRetentionPeriod"], 14);
    assert!(waited_seconds(&state, &["source_renamed", "target_renamed"]) < FIRST_BACKUP_SECONDS / 4, "{state:#}");
    assert_eq!(mirrored_target["fields"]["BackupRetentionPeriod"], 14);

    aside.succeeded();
    let backed_up = record(cloud, "mysql-encrypted");
    assert_eq!(backed_up["fields"]["DBInstanceStatus"], "available");
    assert_eq!(backed_up["fields"]["BackupRetentionPeriod"], 14);
    let waited = waited_seconds(&state_at(cloud, &aside.execution, "Report").await, &["target"]);
    // The sleeps alone: on a busy machine the functions take a good part of the time.
    assert!(waited > FIRST_BACKUP_SECONDS / 4, "the first backup was not waited for: {waited} s");

    let output = cutover.succeeded();
    assert_eq!(differences(&before, &target), Default::default());
    assert_eq!(target["fields"]["DBInstanceStatus"], "backing-up", "the run does not wait for the first backup");
    assert!(output["notes"].to_string().contains("the only recovery point"), "{output:#}");
    assert!(output["warnings"].to_string().contains("Automated backups are switched on after the cutover"));
    let state = state_at(cloud, &cutover.execution, "Report").await;
    let before = waited_seconds(&state, &["no_encrypted_snapshot", "encrypted_snapshot", "target", "applied"]);
    let outage = waited_seconds(&state, &["source_renamed", "target_renamed"]);
    let after = waited_seconds(&state, &["protected"]);
    let figures = format!(
        "{waited} s for the target without a cutover; with one {before} s before it, {outage} s in it, {after} s after it"
    );
    assert!(before + outage + after < FIRST_BACKUP_SECONDS / 4, "the run stalled: {figures}");
    eprintln!("slept in AWS seconds: {figures}");
}

fn waited_seconds(state: &Value, phases: &[&str]) -> u64 {
    phases.iter().map(|phase| state[phase]["wait"]["waited_seconds"].as_u64().expect("seconds")).sum()
}

async fn key(cloud: &Cloud) -> String {
    // moto leaves the usage out of its answer unless it is given.
    let call = cloud.kms.create_key().key_usage(KeyUsageType::EncryptDecrypt).key_spec(KeySpec::SymmetricDefault);
    call.send().await.expect("a key").key_metadata.and_then(|key| key.arn).expect("an ARN")
}

fn record(cloud: &Cloud, id: &str) -> Value {
    cloud.control("GET", &format!("instances/{id}"), json!({}))
}

/// The record of an instance, once it is available.
async fn available(cloud: &Cloud, id: &str) -> Value {
    let started = Instant::now();
    loop {
        let record = record(cloud, id);
        if record["fields"]["DBInstanceStatus"] == "available" {
            return record;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{id} does not become available: {record:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The execution's state as it was when it entered that one.
async fn state_at(cloud: &Cloud, execution: &str, name: &str) -> Value {
    let history: Result<Vec<_>, _> =
        cloud.sfn.get_execution_history().execution_arn(execution).into_paginator().items().send().collect().await;
    let events = history.expect("a history");
    let entered = events.iter().filter_map(|event| event.state_entered_event_details());
    let input = entered.filter(|details| details.name() == name).find_map(|details| details.input());
    serde_json::from_str(input.unwrap_or_else(|| panic!("{execution} never entered {name}"))).expect("JSON")
}

/// What the copy of a subscriber does by itself, before anyone connects to it: it asks the original publisher for its
/// changes, which are then gone from the slot, and never reach the source.
#[tokio::test]
async fn a_copy_takes_nothing_from_a_publisher_before_its_quarantine_is_lifted() {
    const NUMBERS: &str = "SELECT coalesce(string_agg(id::text, ',' ORDER BY id), '') FROM event";
    let cloud = Cloud::shared().await;
    let logical = json!({"rds.logical_replication": "1"});
    let publisher = json!({"fields": {"Engine": "postgres"}, "master_password": PASSWORD, "parameters": logical});
    cloud.control("PUT", "instances/publisher", publisher);
    seed(cloud, "subscriber", json!({"Engine": "postgres"}));
    let (publisher, subscriber) = (instance(cloud, "publisher").await, instance(cloud, "subscriber").await);
    let conninfo = conninfo(&publisher);
    let (publisher, subscriber) = (sql(&publisher).await, sql(&subscriber).await);
    let run = async |client: &tokio_postgres::Client, statement: &str| {
        client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    };
    run(&publisher, "CREATE TABLE event (id INT PRIMARY KEY); CREATE PUBLICATION events FOR TABLE event").await;
    run(&subscriber, "CREATE TABLE event (id INT PRIMARY KEY)").await;
    run(&subscriber, &format!("CREATE SUBSCRIPTION events CONNECTION '{conninfo}' PUBLICATION events")).await;
    run(&publisher, "INSERT INTO event VALUES (1)").await;
    until_answers(&subscriber, NUMBERS, "1").await;

    let mut inbox = cloud.inbox();
    let quarantined = json!({
        "instance_id": "subscriber",
        "quarantine_security_group_id": "sg-0c1a1a",
        "approval": true,
    });
    let execution = cloud.start_execution(&quarantined.to_string()).await;
    let token = approval_token(&mut inbox, "subscriber");
    assert_eq!(groups(cloud, "subscriber-encrypted").await, ["sg-0c1a1a"]);
    let copy = sql(&instance(cloud, "subscriber-encrypted").await).await;
    // The source lets go of its slot for a while, as at any restart.
    run(&subscriber, "ALTER SUBSCRIPTION events DISABLE").await;
    let is_taken = "SELECT active::text FROM pg_replication_slots WHERE slot_name = 'events'";
    until_answers(&publisher, is_taken, "false").await;
    run(&publisher, "INSERT INTO event VALUES (2)").await;
    // Longer than a worker waits between two attempts.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(answer(&publisher, is_taken).await, "false", "nobody reads the slot");
    assert_eq!(answer(&copy, NUMBERS).await, "1");
    run(&subscriber, "ALTER SUBSCRIPTION events ENABLE").await;
    until_answers(&subscriber, NUMBERS, "1,2").await;
    until_confirmed(&publisher).await;
    run(&subscriber, "ALTER SUBSCRIPTION events DISABLE").await;
    until_answers(&publisher, is_taken, "false").await;

    cloud.sfn.send_task_success().task_token(token).output("{}").send().await.expect("approved");
    cloud.outcome(&execution).await.succeeded();
    // Let free, it takes what comes next out of the source's slot.
    assert_eq!(groups(cloud, "subscriber-encrypted").await, groups(cloud, "subscriber").await);
    let copy = sql(&instance(cloud, "subscriber-encrypted").await).await;
    run(&publisher, "INSERT INTO event VALUES (3)").await;
    until_answers(&copy, NUMBERS, "1,3").await;
    until_confirmed(&publisher).await;
    run(&copy, "ALTER SUBSCRIPTION events DISABLE").await;
    until_answers(&publisher, is_taken, "false").await;
    run(&subscriber, "ALTER SUBSCRIPTION events ENABLE").await;
    run(&publisher, "INSERT INTO event VALUES (4)").await;
    until_answers(&subscriber, NUMBERS, "1,2,4").await;
}

/// Until the publisher keeps nothing any more of what it has written so far.
async fn until_confirmed(publisher: &tokio_postgres::Client) {
    let written = answer(publisher, "SELECT pg_current_wal_lsn()::text").await;
    let confirmed = format!("SELECT (confirmed_flush_lsn >= '{written}')::text FROM pg_replication_slots");
    until_answers(publisher, &confirmed, "true").await;
}

fn conninfo(instance: &DbInstance) -> String {
    let endpoint = instance.endpoint().expect("an endpoint");
    let (address, port) = (endpoint.address().expect("an address"), endpoint.port().expect("a port"));
    let user = instance.master_username().expect("a master user");
    format!("host={address} port={port} user={user} password={PASSWORD} dbname=postgres")
}

async fn answer(client: &tokio_postgres::Client, query: &str) -> String {
    client.query_one(query, &[]).await.unwrap_or_else(|error| panic!("{query}: {error:?}")).get(0)
}

async fn until_answers(client: &tokio_postgres::Client, query: &str, expected: &str) {
    let started = Instant::now();
    loop {
        let found = answer(client, query).await;
        if found == expected {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{query}: still {found}, not {expected}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
