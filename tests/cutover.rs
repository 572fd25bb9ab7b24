//! The cutover, the approval, and the undo from everywhere.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};

use crate::cloud::{Cloud, EXECUTION_SECONDS_MAX, Inbox, Outcome, Running, Setup};
use crate::fixtures::{family, fault, instance, seed, sql, until_entered};

const OLD_WORLD: &[&str] = &["instance NAME"];
const NEW_WORLD: &[&str] = &["instance NAME", "instance NAME-unencrypted", "snapshot NAME-encrypted"];

fn world(which: &[&str], name: &str) -> Vec<String> {
    which.iter().map(|resource| resource.replace("NAME", name)).collect()
}

pub(crate) fn cutover(name: &str) -> Value {
    json!({
        "instance_id": name,
        "cutover": "rename",
        "accept_lost_writes": true,
        "isolation_security_group_id": "sg-0f00ba44",
    })
}

pub(crate) async fn groups(cloud: &Cloud, id: &str) -> Vec<String> {
    let instance = instance(cloud, id).await;
    instance.vpc_security_groups().iter().filter_map(|group| group.vpc_security_group_id()).map(str::to_owned).collect()
}

/// Either nothing has changed, or the encrypted instance has the name; in both the name's owner is
/// available, and says whether it is encrypted.
async fn assert_whole(cloud: &Cloud, name: &str, groups_before: &[String], seen: &str) -> bool {
    let owner = instance(cloud, name).await;
    let encrypted = owner.storage_encrypted() == Some(true);
    let expected = world(if encrypted { NEW_WORLD } else { OLD_WORLD }, name);
    assert_eq!(family(cloud, name).await, expected, "{seen}");
    let serves = ["available", "backing-up"].contains(&owner.db_instance_status().unwrap_or_default());
    assert!(serves, "{seen}: {name} is {:?}", owner.db_instance_status());
    assert_eq!(groups(cloud, name).await, groups_before, "{seen}: the owner of the name is reachable as before");
    encrypted
}

#[tokio::test]
async fn a_client_that_knows_only_the_name_reads_its_rows_from_the_encrypted_instance() {
    let cloud = Cloud::shared().await;
    seed(cloud, "shop", json!({"Engine": "postgres", "BackupRetentionPeriod": 7, "DeletionProtection": true}));
    let before = groups(cloud, "shop").await;
    let source = sql(&instance(cloud, "shop").await).await;
    source
        .batch_execute("CREATE TABLE item (id INT); INSERT INTO item SELECT generate_series(1, 700)")
        .await
        .expect("rows");

    let outcome = cloud.encrypt(cutover("shop")).await;
    let output = outcome.succeeded();

    assert_eq!(output["encrypted_instance_id"], "shop");
    assert_eq!(output["old_instance"]["id"], "shop-unencrypted");
    assert!(output["old_instance"]["delete_commands"].to_string().contains("delete-db-instance"), "{output:#}");
    assert!(assert_whole(cloud, "shop", &before, "after the cutover").await);
    let target = instance(cloud, "shop").await;
    assert_eq!(target.backup_retention_period(), Some(7), "backups came after the renames");
    assert_eq!(target.deletion_protection(), Some(true));
    let rows = sql(&target).await.query_one("SELECT count(*) FROM item", &[]).await.expect("a count");
    assert_eq!(rows.get::<_, i64>(0), 700);
    assert_eq!(groups(cloud, "shop-unencrypted").await, ["sg-0f00ba44"], "nobody reaches the old instance");
    assert_eq!(instance(cloud, "shop-unencrypted").await.storage_encrypted(), Some(false));
}

#[tokio::test]
async fn a_cutover_wants_a_decision_about_the_writes_and_the_replicas() {
    let cloud = Cloud::shared().await;
    seed(cloud, "undecided", json!({"ReadReplicaDBInstanceIdentifiers": ["undecided-replica"]}));
    let input = json!({"instance_id": "undecided", "cutover": "rename"});
    cloud.encrypt(input).await.failed("LostWritesNotAccepted");
    let input = json!({"instance_id": "undecided", "cutover": "rename", "accept_lost_writes": true});
    assert!(cloud.encrypt(input).await.failed("StaleReplicasNotAccepted").contains("undecided-replica"));
    let input = json!({"instance_id": "undecided", "writes_stopped": true});
    cloud.encrypt(input).await.failed("InvalidInput");
}

/// Puts the metric by which RDS counts clients, for the minutes around now.
pub(crate) async fn connections(cloud: &Cloud, id: &str, count: f64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let minutes = (0..20).map(|minute| now - 600 + minute * 60);
    for minute in minutes {
        cloud.put_connections(id, minute, count).await;
    }
}

#[tokio::test]
async fn writes_that_stopped_are_checked_before_the_snapshot_and_before_the_renames() {
    let cloud = Cloud::shared().await;
    seed(cloud, "quiet", json!({}));
    let before = groups(cloud, "quiet").await;
    connections(cloud, "quiet", 0.0).await;
    let input = json!({"instance_id": "quiet", "cutover": "rename", "writes_stopped": true});
    cloud.encrypt(input).await.succeeded();
    assert!(assert_whole(cloud, "quiet", &before, "after the cutover").await);

    seed(cloud, "noisy", json!({}));
    connections(cloud, "noisy", 3.0).await;
    let input = json!({"instance_id": "noisy", "cutover": "rename", "writes_stopped": true});
    let outcome = cloud.encrypt(input).await;
    assert!(outcome.failed("WritesNotStopped").contains("3 client connections"), "{outcome:#?}");
    assert_eq!(family(cloud, "noisy").await, ["instance noisy"]);
}

#[tokio::test]
async fn a_metric_that_is_missing_proves_nothing() {
    let cloud = Cloud::shared().await;
    seed(cloud, "unmeasured", json!({}));
    let input = json!({"instance_id": "unmeasured", "cutover": "rename", "writes_stopped": true});
    let outcome = cloud.encrypt(input).await;
    assert!(outcome.failed("WritesNotStopped").contains("no DatabaseConnections"), "{outcome:#?}");
}

/// The token in the mail that asks for an approval.
pub(crate) fn approval_token(inbox: &mut Inbox, name: &str) -> String {
    token_of(inbox, name, "\n- The target holds the data as of the snapshot")
}

/// Out of the command that it is part of, in a mail that says what this way's approval is about.
pub(crate) fn token_of(inbox: &mut Inbox, name: &str, words: &str) -> String {
    let mail = inbox.next_about(name);
    assert_eq!(mail["subject"], format!("rds-encrypt: {name} waits for approval"));
    let message = mail["message"].as_str().expect("text");
    assert!(message.contains("Proven: encrypted") && message.contains("send-task-failure"), "{message}");
    assert!(message.contains(words), "{message}");
    let (_, rest) = message.split_once("send-task-success --task-token ").expect("a command");
    rest.split_whitespace().next().expect("a token").to_owned()
}

#[tokio::test]
async fn an_approval_lets_the_cutover_go_on() {
    let cloud = Cloud::shared().await;
    seed(cloud, "approved", json!({}));
    let before = groups(cloud, "approved").await;
    let mut inbox = cloud.inbox();
    let mut input = cutover("approved");
    input["approval"] = json!(true);
    let execution = cloud.start_execution(&input.to_string()).await;
    let token = approval_token(&mut inbox, "approved");
    assert_eq!(family(cloud, "approved").await.first().map(String::as_str), Some("instance approved"));
    // An approval can take days, in which somebody changes the source.
    let change = json!({"fields": {"PreferredMaintenanceWindow": "tue:05:00-tue:05:30"}});
    cloud.control("PATCH", "instances/approved", change);
    cloud.sfn.send_task_success().task_token(token).output("{}").send().await.expect("approved");
    cloud.outcome(&execution).await.succeeded();
    assert!(assert_whole(cloud, "approved", &before, "after the approval").await);
    let target = instance(cloud, "approved").await;
    assert_eq!(target.preferred_maintenance_window(), Some("tue:05:00-tue:05:30"));
}

#[tokio::test]
async fn a_rejection_is_undone() {
    let cloud = Cloud::shared().await;
    seed(cloud, "rejected", json!({}));
    let mut inbox = cloud.inbox();
    let execution = cloud.start_execution(&json!({"instance_id": "rejected", "approval": true}).to_string()).await;
    let token = approval_token(&mut inbox, "rejected");
    let call = cloud.sfn.send_task_failure().task_token(token).error("ApprovalRejected").cause("not today");
    call.send().await.expect("rejected");
    assert!(cloud.outcome(&execution).await.failed("ApprovalRejected").contains("not today"));
    let mail = inbox.next_about("rejected");
    assert_eq!(mail["subject"], "rds-encrypt: rejected failed");
    assert!(mail["message"].as_str().is_some_and(|message| message.contains("Undone: deleted")), "{mail}");
    assert_eq!(family(cloud, "rejected").await, ["instance rejected"]);
}

#[tokio::test]
async fn an_approval_that_does_not_come_is_undone() {
    let cloud = Cloud::shared().await;
    seed(cloud, "unanswered", json!({}));
    let input = json!({"instance_id": "unanswered", "approval": true, "approval_timeout_minutes": 5});
    cloud.encrypt(input).await.failed("ApprovalTimedOut");
    assert_eq!(family(cloud, "unanswered").await, ["instance unanswered"]);
}

/// Each call around the two renames, refused for good: the step it belongs to is named.
#[tokio::test]
async fn a_refused_call_around_the_renames_ends_in_one_whole_world() {
    let cloud = Cloud::shared().await;
    for (name, step, operation, new_world) in [
        ("refused-fence", "fence-source", "ModifyDBInstance", false),
        ("refused-rename", "rename-instance", "ModifyDBInstance", false),
    ] {
        seed(cloud, name, json!({}));
        let before = groups(cloud, name).await;
        let rule = json!({
            "app_id": format!("rds-encrypt.{step}"),
            "action": {"type": "error", "code": "AccessDenied", "status": 403},
        });
        fault(cloud, name, operation, rule);
        let outcome = cloud.encrypt(cutover(name)).await;
        outcome.failed("AccessDenied");
        assert_eq!(assert_whole(cloud, name, &before, &outcome.cause).await, new_world, "{outcome:#?}");
    }
}

/// The second call of ModifyDBInstance by rename-instance is the second rename.
#[tokio::test]
async fn a_second_rename_that_is_refused_puts_the_names_back() {
    let cloud = Cloud::shared().await;
    seed(cloud, "half-way", json!({}));
    let before = groups(cloud, "half-way").await;
    let rule = json!({
        "app_id": "rds-encrypt.rename-instance",
        "call": 2,
        "action": {"type": "error", "code": "AccessDenied", "status": 403},
    });
    cloud.control("POST", "faults", with(rule, json!({"operation": "ModifyDBInstance", "naming": "half-way"})));
    let outcome = cloud.encrypt(cutover("half-way")).await;
    outcome.failed("AccessDenied");
    assert!(!assert_whole(cloud, "half-way", &before, &outcome.cause).await, "{outcome:#?}");
}

fn with(mut rule: Value, more: Value) -> Value {
    rule.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    rule
}

/// The second undo comes while another execution has the source behind its fence, and half-way to its name.
#[tokio::test]
async fn an_undo_that_comes_again_leaves_a_later_cutover_alone() {
    let running = Running::start(&Setup { storage: "files", time_scale: 0.005, ..Setup::default() });
    let cloud = Cloud::connect(&running).await;
    seed(&cloud, "again", json!({}));
    let before = groups(&cloud, "again").await;
    cloud.stop_in(&[(cloud.state_machine(), "RenameTarget")]);
    let stopped = cloud.start_execution(&cutover("again").to_string()).await;
    undo_of(&cloud, &stopped).await.succeeded();
    assert!(!assert_whole(&cloud, "again", &before, "the first undo").await);

    cloud.stop_in(&[]);
    let later = cloud.start_execution(&cutover("again").to_string()).await;
    until_entered(&cloud, &later, "WaitForSourceName").await;
    let undo = cloud.undo(&stopped).await;
    undo.succeeded();
    assert_eq!(cloud.states(&undo.execution).await.last().map(String::as_str), Some("NothingToDo"));
    cloud.outcome(&later).await.succeeded();
    assert!(assert_whole(&cloud, "again", &before, "the later cutover").await);
    assert_eq!(groups(&cloud, "again-unencrypted").await, ["sg-0f00ba44"], "the fence still stands");
}

#[tokio::test]
async fn whoever_stopped_an_execution_is_told_what_became_of_it() {
    let cloud = Cloud::shared().await;
    seed(cloud, "told", json!({}));
    let mut inbox = cloud.inbox();
    let execution = cloud.start_execution(&json!({"instance_id": "told"}).to_string()).await;
    until_entered(cloud, &execution, "WaitForInstance").await;
    cloud.sfn.stop_execution().execution_arn(&execution).send().await.expect("stopped");
    let mail = inbox.next_about("told");
    assert_eq!(mail["subject"], "rds-encrypt: told was undone");
    let message = mail["message"].as_str().expect("text");
    assert!(message.contains("ended as ABORTED") && message.contains("Undone: deleted"), "{message}");
    assert!(message.contains(&execution), "{message}");
}

#[tokio::test]
async fn a_stopped_execution_that_was_to_keep_is_kept_under_its_names() {
    let cloud = Cloud::shared().await;
    seed(cloud, "stopped-and-kept", json!({}));
    let mut inbox = cloud.inbox();
    let input = json!({"instance_id": "stopped-and-kept", "on_failure": "keep"});
    let execution = cloud.start_execution(&input.to_string()).await;
    until_entered(cloud, &execution, "WaitForInstance").await;
    cloud.sfn.stop_execution().execution_arn(&execution).send().await.expect("stopped");
    assert_eq!(undo_of(cloud, &execution).await.status, ExecutionStatus::Succeeded);
    assert_eq!(family(cloud, "stopped-and-kept").await.len(), 4);
    let mail = inbox.next_about("stopped-and-kept");
    assert_eq!(mail["subject"], "rds-encrypt: stopped-and-kept was kept");
    assert!(mail["message"].as_str().is_some_and(|message| message.contains("\"resume\"")), "{mail}");
    let input = json!({"instance_id": "stopped-and-kept", "resume": execution});
    cloud.encrypt(input).await.succeeded();
}

/// The end of the undo that an execution's end starts, which itself may take its time.
pub(crate) async fn undo_of(cloud: &Cloud, execution: &str) -> Outcome {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(EXECUTION_SECONDS_MAX) {
        let call = cloud.sfn.list_executions().state_machine_arn(cloud.undo_state_machine()).max_results(20);
        for undo in call.send().await.expect("undos").executions() {
            let described =
                cloud.sfn.describe_execution().execution_arn(&undo.execution_arn).send().await.expect("described");
            if described.input().is_some_and(|input| input.contains(execution)) {
                return cloud.outcome(&undo.execution_arn).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no undo was started for {execution}");
}

/// The functions' calls so far, by function, each operation once, in the order of their first calls.
fn operations(cloud: &Cloud) -> Vec<(String, Vec<String>)> {
    let mut operations: Vec<(String, Vec<String>)> = vec![];
    for call in cloud.control("GET", "calls", json!({})).as_array().expect("calls") {
        let text = |field: &str| call[field].as_str().unwrap_or_default().to_owned();
        let (function, operation) = (text("app_id"), text("operation"));
        match operations.iter_mut().find(|(other, _)| *other == function) {
            Some((_, of_function)) if of_function.contains(&operation) => {}
            Some((_, of_function)) => of_function.push(operation),
            None if function.starts_with("rds-encrypt.") => operations.push((function, vec![operation])),
            None => {}
        }
    }
    operations
}

/// In a cloud of its own, since looks by DbiResourceId name no instance that a rule could go by.
#[tokio::test]
async fn every_reply_may_be_lost_and_every_step_may_run_twice() {
    let running = Running::start(&Setup { storage: "files", time_scale: 0.002, ..Setup::default() });
    let cloud = Cloud::connect(&running).await;
    let fields = json!({"BackupRetentionPeriod": 7, "DeletionProtection": true});
    seed(&cloud, "undisturbed", fields.clone());
    cloud.encrypt(cutover("undisturbed")).await.succeeded();
    let operations = operations(&cloud);
    assert!(operations.len() > 8, "{operations:?}");

    let is_read = |operation: &String| operation.starts_with("Describe") || operation.starts_with("Get");
    let every: Vec<(&str, &str)> = operations
        .iter()
        .flat_map(|(function, operations)| operations.iter().map(|operation| (function.as_str(), operation.as_str())))
        .collect();
    // What has an effect, and of a function that only reads its first call: then the step dies after it, and runs again.
    let once_each: Vec<(&str, &str)> = operations
        .iter()
        .flat_map(|(function, operations)| {
            let effects: Vec<&String> = operations.iter().filter(|operation| !is_read(operation)).collect();
            let effects = if effects.is_empty() { vec![&operations[0]] } else { effects };
            effects.into_iter().map(|operation| (function.as_str(), operation.as_str()))
        })
        .collect();
    for (name, fault, calls) in [("lost", "lost", every), ("twice", "kill", once_each)] {
        seed(&cloud, name, fields.clone());
        let before = groups(&cloud, name).await;
        for (function, operation) in &calls {
            let rule = json!({"app_id": function, "operation": operation, "when": "after", "action": {"type": fault}});
            cloud.control("POST", "faults", rule);
        }
        let outcome = cloud.encrypt(cutover(name)).await;
        outcome.succeeded();
        assert!(assert_whole(&cloud, name, &before, fault).await, "{outcome:#?}");
        let target = instance(&cloud, name).await;
        assert_eq!((target.backup_retention_period(), target.deletion_protection()), (Some(7), Some(true)), "{fault}");
        for rule in cloud.control("GET", "faults", json!({})).as_array().expect("rules") {
            assert_eq!(rule["befallen"], 1, "{rule}");
        }
        cloud.control("DELETE", "faults", json!({}));
    }
}

/// Each call of the clean-up, refused for good: the target has the name, and nothing takes it away.
#[tokio::test]
async fn a_failure_after_the_commit_point_leaves_the_target() {
    let running = Running::start(&Setup { storage: "files", time_scale: 0.002, ..Setup::default() });
    let cloud = Cloud::connect(&running).await;
    let refuse = |function: &str, operation: &str| {
        let denied = json!({"type": "error", "code": "AccessDenied", "status": 403});
        let rule = json!({"app_id": function, "operation": operation, "from_call": 1, "action": denied});
        cloud.control("POST", "faults", rule);
    };
    for operation in ["DescribeDBInstances", "DescribeDBSnapshots", "DeleteDBSnapshot"] {
        let name = format!("committed-{}", operation.to_lowercase());
        seed(&cloud, &name, json!({}));
        let before = groups(&cloud, &name).await;
        // The undo does what the clean-up could not, and the execution is still a failure.
        refuse("rds-encrypt.clean-up", operation);
        let outcome = cloud.encrypt(cutover(&name)).await;
        assert_eq!(outcome.status, ExecutionStatus::Failed, "{outcome:#?}");
        assert!(outcome.cause.contains("The target is proven and stays"), "{outcome:#?}");
        assert!(assert_whole(&cloud, &name, &before, &outcome.cause).await);
        let undo = undo_of(&cloud, &outcome.execution).await;
        assert_eq!(undo.succeeded()["recovery"]["action"], "nothing");
        cloud.control("DELETE", "faults", json!({}));
    }

    // Nor can the undo, for now.
    let name = "committed-and-refused";
    seed(&cloud, name, json!({}));
    let before = groups(&cloud, name).await;
    for function in ["rds-encrypt.clean-up", "rds-encrypt.undo"] {
        refuse(function, "DeleteDBSnapshot");
    }
    let outcome = cloud.encrypt(cutover(name)).await;
    assert_eq!(outcome.error, "CleanUpFailed", "{outcome:#?}");
    assert!(outcome.cause.contains(&format!("{name}-no-encrypted")), "what is left is said: {outcome:#?}");
    undo_of(&cloud, &outcome.execution).await.failed("UndoFailed");
    assert_eq!(instance(&cloud, name).await.storage_encrypted(), Some(true));

    // Once the reason is gone, the rest is done.
    cloud.control("DELETE", "faults", json!({}));
    cloud.undo(&outcome.execution).await.succeeded();
    assert!(assert_whole(&cloud, name, &before, "by hand").await);
}

/// RDS refuses for six hours, at each of the three calls of the outage: before that, names and groups are back.
#[tokio::test]
async fn an_outage_ends_after_half_an_hour_whatever_rds_answers() {
    // Without the SDK's own attempts, whose pauses do not scale.
    let environment = &[("AWS_MAX_ATTEMPTS", "1")];
    let running = Running::start(&Setup { storage: "files", time_scale: 0.002, environment, ..Setup::default() });
    let cloud = Cloud::connect(&running).await;
    for (name, function, call, action) in [
        ("refused-fence", "fence-source", 1, json!({"type": "error", "code": "InvalidDBInstanceState", "status": 400})),
        ("refused-source", "rename-instance", 1, json!({"type": "throttle"})),
        ("refused-target", "rename-instance", 2, json!({"type": "http", "status": 503})),
    ] {
        seed(&cloud, name, json!({}));
        let before = groups(&cloud, name).await;
        let function = format!("rds-encrypt.{function}");
        let rule = json!({"app_id": function, "operation": "ModifyDBInstance", "from_call": call, "action": action});
        cloud.control("POST", "faults", rule);
        let outcome = cloud.encrypt(cutover(name)).await;
        assert_eq!(outcome.status, ExecutionStatus::Failed, "{outcome:#?}");
        assert!(!assert_whole(&cloud, name, &before, &outcome.cause).await, "{outcome:#?}");
        let waited = outage_seconds(&cloud, &outcome.execution).await;
        assert!((1_700..=1_800).contains(&waited), "{name}: {waited} s, {outcome:#?}");
        cloud.control("DELETE", "faults", json!({}));
    }
}

/// How long an execution waited from the fence to its undo, in AWS seconds, by what the steps said.
async fn outage_seconds(cloud: &Cloud, execution: &str) -> u64 {
    let history = cloud.history(execution).await;
    let documents = history.iter().filter_map(|event| event.state_entered_event_details()?.input());
    let documents = documents.filter_map(|input| serde_json::from_str::<Value>(input).ok());
    let outages = documents.flat_map(|document| {
        ["fenced", "source_renamed", "target_renamed"]
            .map(|turn| document[turn]["outage_seconds"].as_u64().unwrap_or_default())
    });
    outages.max().unwrap_or_default()
}
