//! Instances that are encrypted without anybody's command, and whole accounts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aws_sdk_rds::types::Tag;
use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};

use crate::cloud::{ACCOUNT, Cloud, Outcome, REGION, Running, Setup, python};
use crate::fixtures::{family, fault, find, instance, seed};

const SCALE: f64 = 0.003;

/// A cloud of its own, since a fleet looks at every instance that there is.
async fn cloud(parameters: &[&str]) -> (Running, Cloud) {
    let running = Running::start(&Setup { storage: "files", time_scale: SCALE, parameters, ..Setup::default() });
    let cloud = Cloud::connect(&running).await;
    (running, cloud)
}

/// As a client does it, so that RDS sends its event.
async fn create(cloud: &Cloud, id: &str, tags: &[(&str, &str)]) -> String {
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build()).collect();
    let call = cloud.rds.create_db_instance().db_instance_identifier(id).engine("mysql");
    let call = call.db_instance_class("db.t3.micro").allocated_storage(20).set_tags(Some(tags));
    let call = call.master_username("admin").master_user_password("correct-horse-battery");
    let created = call.send().await.expect("created").db_instance.expect("an instance");
    created.dbi_resource_id.expect("a resource id")
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < Duration::from_secs(180), "not within minutes: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until so many fleets have ended, and none runs.
async fn until_fleets_ended(cloud: &Cloud, count: usize) {
    until(&format!("{count} fleets"), async || {
        let fleets = cloud.executions(cloud.fleet_state_machine()).await;
        fleets.len() >= count && fleets.values().all(|status| *status != ExecutionStatus::Running)
    })
    .await;
}

#[tokio::test]
async fn an_instance_that_is_created_unencrypted_is_encrypted_by_itself_and_an_exempt_one_is_left_alone() {
    let (_running, cloud) = cloud(&["AutoEncrypt=encrypt"]).await;
    let orders = create(&cloud, "orders", &[]).await;
    create(&cloud, "scratch", &[("rds-encrypt", "exempt")]).await;
    until("an encrypted twin", async || {
        let executions = cloud.executions(cloud.state_machine()).await;
        executions.get(&format!("{orders}-1")) == Some(&ExecutionStatus::Succeeded)
    })
    .await;
    assert_eq!(instance(&cloud, "orders-encrypted").await.storage_encrypted(), Some(true));
    // Of both, and of the twin.
    until_fleets_ended(&cloud, 3).await;
    assert_eq!(cloud.executions(cloud.state_machine()).await.len(), 1);
    assert_eq!(family(&cloud, "scratch").await, ["instance scratch"]);
}

#[tokio::test]
async fn what_is_off_does_nothing() {
    let cloud = Cloud::shared().await;
    let resource_id = create(cloud, "nobody-asked", &[]).await;
    until("available", async || {
        find(cloud, "nobody-asked").await.is_some_and(|found| found.db_instance_status() == Some("available"))
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let executions = cloud.executions(cloud.state_machine()).await;
    assert!(!executions.contains_key(&format!("{resource_id}-1")), "{executions:?}");
}

fn config_event(resource_id: &str) -> Value {
    json!({
        "source": "aws.config",
        "detail-type": "Config Rules Compliance Change",
        "detail": {
            "resourceId": resource_id,
            "resourceType": "AWS::RDS::DBInstance",
            "awsRegion": REGION,
            "awsAccountId": ACCOUNT,
            "configRuleName": "securityhub-rds-storage-encrypted-0a1b2c",
            "messageType": "ComplianceChangeNotification",
            "newEvaluationResult": {"complianceType": "NON_COMPLIANT"},
        },
    })
}

fn security_hub_event(arn: &str, control: &str) -> Value {
    json!({
        "source": "aws.securityhub",
        "detail-type": "Security Hub Findings - Imported",
        "detail": {"findings": [{
            "Compliance": {"Status": "FAILED", "SecurityControlId": control},
            "RecordState": "ACTIVE",
            "Workflow": {"Status": "NEW"},
            "Resources": [{"Type": "AwsRdsDbInstance", "Id": arn}],
        }]},
    })
}

fn cloudtrail_event(name: &str, resource_id: &str) -> Value {
    json!({
        "source": "aws.rds",
        "detail-type": "AWS API Call via CloudTrail",
        "detail": {
            "eventSource": "rds.amazonaws.com",
            "eventName": name,
            "responseElements": {"dbiResourceId": resource_id},
        },
    })
}

#[tokio::test]
async fn ten_events_about_an_instance_start_one_execution() {
    let (_running, cloud) = cloud(&["AutoEncrypt=encrypt"]).await;
    seed(&cloud, "orders", json!({}));
    let orders = instance(&cloud, "orders").await;
    let (arn, resource_id) = (orders.db_instance_arn().expect("an ARN"), orders.dbi_resource_id().expect("an id"));
    for _ in 0..4 {
        cloud.control("POST", "events", config_event(resource_id));
        cloud.control("POST", "events", security_hub_event(arn, "RDS.3"));
    }
    cloud.control("POST", "events", cloudtrail_event("RestoreDBInstanceToPointInTime", resource_id));
    cloud.control("POST", "events", cloudtrail_event("RestoreDBInstanceFromS3", resource_id));
    // About something else.
    cloud.control("POST", "events", security_hub_event(arn, "RDS.2"));
    cloud.control("POST", "events", cloudtrail_event("ModifyDBInstance", resource_id));
    // And of the twin that is restored.
    until_fleets_ended(&cloud, 11).await;
    assert_eq!(cloud.executions(cloud.fleet_state_machine()).await.len(), 11);
    let executions = cloud.executions(cloud.state_machine()).await;
    assert_eq!(executions, BTreeMap::from([(format!("{resource_id}-1"), ExecutionStatus::Succeeded)]));
}

fn report(cloud: &Cloud, fleet: &Outcome) -> Value {
    let prefix = fleet.succeeded()["prefix"].as_str().expect("a prefix");
    serde_json::from_str(&cloud.object(&format!("{prefix}report.json"))).expect("JSON")
}

/// What became of each instance: its outcome, and why.
fn outcomes(report: &Value) -> BTreeMap<String, String> {
    let lines = report["instances"].as_array().expect("instances").iter();
    let text = |line: &Value, field: &str| line[field].as_str().expect(field).to_owned();
    let told = |line: &Value| format!("{} {}", text(line, "outcome"), text(line, "reason")).trim_end().to_owned();
    lines.map(|line| (text(line, "instance_id"), told(line))).collect()
}

fn with_tag(key: &str, value: &str) -> Value {
    json!({"TagList": [{"Key": key, "Value": value}]})
}

/// An account with a bit of everything; what becomes of each.
async fn mixed_account(cloud: &Cloud) -> Vec<(&'static str, &'static str)> {
    let encrypted = json!({"StorageEncrypted": true, "StorageEncryptionType": "sse-kms"});
    seed(cloud, "orders", json!({"AllocatedStorage": 100}));
    seed(cloud, "books", json!({"ReadReplicaDBInstanceIdentifiers": ["books-replica"]}));
    seed(cloud, "books-replica", json!({"ReadReplicaSourceDBInstanceIdentifier": "books"}));
    seed(cloud, "ledger", encrypted.clone());
    seed(cloud, "scratch", with_tag("rds-encrypt", "exempt"));
    seed(cloud, "express", json!({"Engine": "sqlserver-ex"}));
    seed(cloud, "stopped", json!({"DBInstanceStatus": "stopped"}));
    // What earlier cutovers and switchovers left.
    seed(cloud, "moved-unencrypted", json!({}));
    let moved = instance(cloud, "moved-unencrypted").await;
    let mut twin = with_tag("rds-encrypt:source", moved.dbi_resource_id().expect("an id"));
    twin.as_object_mut().expect("an object").extend(encrypted.as_object().expect("an object").clone());
    seed(cloud, "moved", twin);
    seed(cloud, "ledger-old1", json!({}));
    // One that fails half way, and one whose plan is refused.
    seed(cloud, "failing", json!({"AllocatedStorage": 30}));
    fault(
        cloud,
        "failing-encrypted",
        "CopyDBSnapshot",
        json!({"action": {"type": "error", "code": "KMSKeyNotAccessibleFault"}}),
    );
    seed(cloud, "named", json!({"AllocatedStorage": 30}));
    seed(cloud, "named-encrypted", encrypted);
    // The smallest comes last, and finds no room.
    seed(cloud, "late", json!({"AllocatedStorage": 5}));
    vec![
        ("books", "encrypted"),
        ("books-replica", "left_out read_replica"),
        ("express", "left_out not_supported"),
        ("failing", "failed KeyNotUsable"),
        ("late", "left_out no_quota"),
        ("ledger", "left_out already_encrypted"),
        ("ledger-old1", "left_out has_encrypted_twin"),
        ("moved", "left_out already_encrypted"),
        ("moved-unencrypted", "left_out has_encrypted_twin"),
        ("named", "left_out refused"),
        ("named-encrypted", "left_out already_encrypted"),
        ("orders", "encrypted"),
        ("scratch", "left_out exempt"),
        ("stopped", "left_out not_usable"),
    ]
}

#[tokio::test]
async fn a_mixed_account_ends_in_a_report_that_names_each() {
    let (_running, cloud) = cloud(&[]).await;
    let expected = mixed_account(&cloud).await;
    // Room for three more: what its plan refuses takes none.
    cloud.control("PATCH", "settings", json!({"quotas": {"DBInstances": expected.len() + 3}}));
    let planned = cloud.encrypt_fleet(json!({"plan_only": true})).await;
    let would: Vec<_> = outcomes(&report(&cloud, &planned)).into_iter().filter(|(_, told)| told == "planned").collect();
    assert_eq!(would.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["books", "failing", "orders"]);
    let planned = report(&cloud, &planned);
    let named = planned["instances"].as_array().expect("instances").iter().find(|line| line["instance_id"] == "named");
    let detail = named.and_then(|line| line["detail"].as_str()).expect("a detail");
    assert!(detail.starts_with("NameConflict: DB instance `named-encrypted`"), "{detail}");
    assert_eq!(planned["estimate"]["instance_hours_a_day"], 72);
    assert_eq!(planned["instances"][0]["instance_id"], "orders", "the largest is the first: {planned:#}");
    assert_eq!(cloud.executions(cloud.state_machine()).await, BTreeMap::new());

    let mut inbox = cloud.inbox();
    let fleet = cloud.encrypt_fleet(json!({})).await;
    let told = outcomes(&report(&cloud, &fleet));
    assert_eq!(told.iter().map(|(id, told)| (id.as_str(), told.as_str())).collect::<Vec<_>>(), expected);
    assert_eq!(report(&cloud, &fleet)["counts"], json!({"encrypted": 2, "failed": 1, "left_out": 11}));
    assert_eq!(instance(&cloud, "orders-encrypted").await.storage_encrypted(), Some(true));
    // Undone as ever.
    assert_eq!(family(&cloud, "failing").await, ["instance failing"]);
    // One mail tells of all: its executions send none.
    let mails = inbox.until("11 left out");
    let subjects: Vec<_> = mails.iter().map(|mail| mail["subject"].as_str().expect("a subject")).collect();
    assert_eq!(subjects, ["rds-encrypt: fleet: 2 encrypted, 1 failed, 11 left out"]);
    let mail = &mails[0];
    assert!(mail["message"].as_str().is_some_and(|text| text.contains("failing: KeyNotUsable")), "{mail}");
    let page = cloud.object(&format!("{}report.html", fleet.succeeded()["prefix"].as_str().expect("a prefix")));
    // The browser is there for one processor.
    if cfg!(target_arch = "x86_64") {
        look_at(&page, expected.len());
    }
    let phases = &report(&cloud, &fleet)["instances"][1]["phases"];
    assert!(["copy", "restore"].iter().all(|phase| phases[phase].as_f64() > Some(0.5)), "{phases}");

    // Nothing is done twice, and what failed is tried again.
    let again = outcomes(&report(&cloud, &cloud.encrypt_fleet(json!({"instances": ["orders", "failing"]})).await));
    let again: Vec<_> = again.iter().map(|(id, told)| (id.as_str(), told.as_str())).collect();
    assert_eq!(again, [("failing", "encrypted"), ("orders", "left_out has_encrypted_twin")]);
}

/// In a browser: what people do with the page, and that it asks nobody for anything.
fn look_at(page: &str, count: usize) {
    const SHOWN: &str =
        "[...document.querySelectorAll('tbody tr:not([hidden])')].map((row) => row.cells[2].textContent)";
    let filter = |text: &str| {
        format!(
            "(() => {{ const field = document.getElementById('filter'); field.value = '{text}'; \
                 field.dispatchEvent(new Event('input')); return document.getElementById('shown').textContent; }})()"
        )
    };
    let gib = "(() => { document.querySelectorAll('th')[4].firstChild.click(); \
               return [...document.querySelectorAll('tbody tr')].map((row) => Number(row.cells[4].textContent)); })()";
    let bars = "[...document.querySelectorAll('td svg')].map((bar) => [...bar.querySelectorAll('rect')].filter(\
                (part) => part.getBoundingClientRect().width > 0 && getComputedStyle(part).fill !== 'rgb(0, 0, 0)').length)";
    let whole = filter("");
    let expressions = [SHOWN, &*filter("no_quota"), SHOWN, &*whole, gib, gib, bars];
    let seen = in_browser(page, &expressions);
    let [all, filtered, one, again, up, down, bars] = seen["values"].as_array().expect("values").as_slice() else {
        panic!("{seen:#}");
    };
    assert_eq!(all.as_array().map(Vec::len), Some(count));
    assert_eq!((filtered, one), (&json!(format!("1 of {count} instances")), &json!(["late"])));
    assert_eq!(again, &json!(format!("{count} of {count} instances")));
    let sizes = |value: &Value| value.as_array().expect("sizes").iter().map(Value::as_i64).collect::<Vec<_>>();
    let (up, down) = (sizes(up), sizes(down));
    assert!(up.is_sorted() && up.len() == count && up.first() < up.last(), "{up:?}");
    assert_eq!(down, up.iter().rev().copied().collect::<Vec<_>>());
    // Two have phases; the one that failed has none.
    let bars = sizes(bars);
    assert_eq!(bars.iter().filter(|parts| **parts > Some(3)).count(), 2, "{bars:?}");
    assert_eq!(seen["problems"], json!([]));
    assert_eq!(seen["requests"].as_array().map(Vec::len), Some(1), "nothing but itself: {seen:#}");

    // What the page does not hold itself would neither run nor load, and would be seen.
    let foreign = page.replace("<h1>", "<img src=\"https://example.com/\"><script>document.title = 'x'</script><h1>");
    let seen = in_browser(&foreign, &["document.title"]);
    assert_eq!(seen["values"][0], "rds-encrypt: fleet");
    assert_eq!(seen["problems"].as_array().map(Vec::len), Some(2), "{seen:#}");
}

/// What `browser.py` prints of the page.
fn in_browser(page: &str, expressions: &[&str]) -> Value {
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/report.html");
    std::fs::write(file, page).expect("written");
    let output = python().args(["tests/local/browser.py", file]).args(expressions).output().expect("run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Refused as often as answered: twelve executions want several calls in the time in which one is let through.
#[tokio::test]
async fn a_fleet_gets_through_an_api_that_refuses_many_calls() {
    const INSTANCES: usize = 12;
    let (_running, cloud) = cloud(&[]).await;
    for number in 0..INSTANCES {
        seed(&cloud, &format!("database-{number:02}"), json!({}));
    }
    let quotas = json!({"DBInstances": 3 * INSTANCES, "ManualSnapshots": 3 * INSTANCES});
    cloud.control("PATCH", "settings", json!({"quotas": quotas, "api_rate": {"burst": 10, "per_second": 0.08}}));
    let fleet = cloud.encrypt_fleet(json!({})).await;
    let done = report(&cloud, &fleet);
    assert_eq!(done["counts"], json!({"encrypted": INSTANCES}), "{done:#}");
    let calls = cloud.control("GET", "calls?after=0", json!({}));
    let calls = calls.as_array().expect("calls");
    let throttled = calls.iter().filter(|call| call["error_code"] == "Throttling").count();
    assert!(throttled > 10 * INSTANCES, "{throttled} of {} calls were refused", calls.len());
    for operation in ["CreateDBSnapshot", "CopyDBSnapshot", "RestoreDBInstanceFromDBSnapshot"] {
        let made = calls.iter().filter(|call| call["operation"] == operation && call["error_code"].is_null()).count();
        assert_eq!(made, INSTANCES, "{operation}");
    }
}

#[tokio::test]
async fn what_a_stopped_fleet_has_started_is_stopped_and_undone() {
    let (_running, cloud) = cloud(&[]).await;
    for id in ["one", "two", "three"] {
        seed(&cloud, id, json!({}));
    }
    let fleet = cloud.start_fleet(&json!({})).await;
    until("three restored instances", async || {
        family(&cloud, "").await.iter().filter(|name| name.starts_with("instance")).count() == 6
    })
    .await;
    cloud.sfn.stop_execution().execution_arn(&fleet).send().await.expect("stopped");
    until("nothing but the sources", async || {
        family(&cloud, "").await == ["instance one", "instance three", "instance two"]
    })
    .await;
    let executions = cloud.executions(cloud.state_machine()).await;
    assert!(executions.values().all(|status| *status == ExecutionStatus::Aborted), "{executions:?}");
}

#[tokio::test]
async fn a_fleet_that_interrupts_waits_for_one_approval_of_the_list() {
    let (_running, cloud) = cloud(&[]).await;
    seed(&cloud, "orders", json!({}));
    seed(&cloud, "books", json!({}));
    let mut inbox = cloud.inbox();
    let input = json!({"cutover": "rename", "accept_lost_writes": true});
    let fleet = cloud.start_fleet(&input).await;
    let mail = inbox.next_of("approval");
    assert_eq!(mail["subject"], "rds-encrypt: a fleet of 2 waits for approval");
    let text = mail["message"].as_str().expect("a text");
    assert!(text.contains("* books (snapshot, ") && text.contains("* orders (snapshot, "), "{text}");
    assert_eq!(cloud.executions(cloud.state_machine()).await, BTreeMap::new());
    let token = text.split("--task-token ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a token");
    cloud.sfn.send_task_success().task_token(token).output("{}").send().await.expect("approved");
    let fleet = cloud.outcome(&fleet).await;
    assert_eq!(report(&cloud, &fleet)["counts"], json!({"encrypted": 2}));
    assert_eq!(instance(&cloud, "orders").await.storage_encrypted(), Some(true));
    assert_eq!(instance(&cloud, "orders-unencrypted").await.storage_encrypted(), Some(false));

    // Rejected, it starts nothing.
    seed(&cloud, "notes", json!({}));
    let fleet = cloud.start_fleet(&input).await;
    let text = inbox.next_of("a fleet of 1")["message"].as_str().expect("a text").to_owned();
    let token = text.split("--task-token ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a token");
    let rejected = cloud.sfn.send_task_failure().task_token(token).error("ApprovalRejected").cause("not now");
    rejected.send().await.expect("rejected");
    cloud.outcome(&fleet).await.failed("ApprovalRejected");
    assert_eq!(family(&cloud, "notes").await, ["instance notes"]);
}

#[tokio::test]
async fn an_input_that_cannot_be_used_fails_the_fleet_by_its_field() {
    let cloud = Cloud::shared().await;
    for input in [json!({"instance_id": "orders"}), json!([1]), json!(null)] {
        let fleet = cloud.encrypt_fleet(input).await;
        assert!(fleet.failed("InvalidInput").contains("`in"), "{fleet:#?}");
    }
}

#[tokio::test]
async fn a_fleet_goes_the_way_that_is_asked_for() {
    let (_running, cloud) = cloud(&["AcceptInterruption=true"]).await;
    seed(&cloud, "orders", json!({"Engine": "mariadb", "BackupRetentionPeriod": 1}));
    seed(&cloud, "books", json!({"Engine": "oracle-ee"}));
    let fleet = cloud.encrypt_fleet(json!({"way": "blue_green"})).await;
    let told = outcomes(&report(&cloud, &fleet));
    let told: Vec<_> = told.iter().map(|(id, told)| (id.as_str(), told.as_str())).collect();
    assert_eq!(told, [("books", "failed BlueGreenNotSupported"), ("orders", "encrypted")]);
    assert_eq!(instance(&cloud, "orders").await.storage_encrypted(), Some(true));
    // The old one is known by its name.
    let again = outcomes(&report(&cloud, &cloud.encrypt_fleet(json!({"plan_only": true})).await));
    assert_eq!(again["orders-old1"], "left_out has_encrypted_twin");
}

#[tokio::test]
async fn each_instance_goes_the_way_that_its_plan_recommends() {
    let (_running, cloud) = cloud(&[]).await;
    seed(&cloud, "orders", json!({"Engine": "mariadb", "BackupRetentionPeriod": 1}));
    seed(&cloud, "books", json!({"Engine": "oracle-ee"}));
    let planned = report(&cloud, &cloud.encrypt_fleet(json!({"plan_only": true})).await);
    let line = |report: &Value, id: &str| {
        let lines = report["instances"].as_array().expect("instances");
        lines.iter().find(|line| line["instance_id"] == id).expect(id).clone()
    };
    let (orders, books) = (line(&planned, "orders"), line(&planned, "books"));
    assert_eq!((&orders["way"], &books["way"]), (&json!("blue_green"), &json!("snapshot")));
    let closed = "not by blue_green: RDS has no blue/green deployments for the engine oracle-ee";
    assert!(books["detail"].as_str().is_some_and(|detail| detail.contains(closed)), "{books}");

    let mut inbox = cloud.inbox();
    let fleet = cloud.start_fleet(&json!({})).await;
    let mail = inbox.next_of("approval");
    let text = mail["message"].as_str().expect("a text");
    assert!(text.contains("- books (snapshot, ") && text.contains("* orders (blue_green, "), "{text}");
    let token = text.split("--task-token ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a token");
    cloud.sfn.send_task_success().task_token(token).output("{}").send().await.expect("approved");
    let done = report(&cloud, &cloud.outcome(&fleet).await);
    assert_eq!(done["counts"], json!({"encrypted": 2}));
    assert_eq!(instance(&cloud, "orders").await.storage_encrypted(), Some(true));
    assert_eq!(line(&done, "books")["encrypted_instance_id"], "books-encrypted");
    assert!(line(&done, "orders")["phases"]["deployment"].as_f64() > Some(0.0), "{done:#}");
}

#[tokio::test]
async fn the_schedule_looks_at_all_instances_and_only_plans_if_that_is_asked_for() {
    let (_running, cloud) = cloud(&["AutoEncrypt=plan", "SweepSchedule=rate(1 hour)"]).await;
    seed(&cloud, "orders", json!({}));
    until_fleets_ended(&cloud, 1).await;
    let fleets = cloud.executions(cloud.fleet_state_machine()).await;
    let (name, _) = fleets.into_iter().next().expect("a sweep");
    let machine = cloud.fleet_state_machine().replace(":stateMachine:", ":execution:");
    let sweep = cloud.outcome(&format!("{machine}:{name}")).await;
    assert_eq!((&sweep.succeeded()["trigger"], &sweep.succeeded()["unencrypted"]), (&json!("schedule"), &json!(1)));
    assert_eq!(outcomes(&report(&cloud, &sweep)), BTreeMap::from([("orders".to_owned(), "planned".to_owned())]));
    assert_eq!(cloud.executions(cloud.state_machine()).await, BTreeMap::new());
}
