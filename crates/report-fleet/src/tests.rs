use bucket::memory::Memory;
use serde_json::{Value, json};

use super::*;

const FLEET: &str = "arn:aws:states:eu-west-1:123456789012:execution:fleet:this";
const CHILD: &str = "arn:aws:states:eu-west-1:123456789012:execution:encrypt:db-ORDERS-1";

fn item(id: &str) -> Value {
    json!({
        "name": format!("db-{}-1", id.to_uppercase()), "state_machine_arn": "arn", "input": {}, "way": "snapshot",
        "instance_id": id, "resource_id": "db-X", "engine": "mysql", "class": "db.t3.micro", "allocated_gib": 20,
        "minutes_at_least": 27, "minutes_at_most": 90,
    })
}

/// As ResultWriter exports a child.
fn child(id: &str, added: Value) -> Value {
    let mut child = json!({
        "Input": item(id).to_string(), "Name": "a-uuid", "Status": "SUCCEEDED", "StateMachineArn": "arn",
        "StartDate": "2026-11-25T10:00:00.000Z", "StopDate": "2026-11-25T11:15:30.000Z",
    });
    child.as_object_mut().expect("an object").extend(added.as_object().expect("an object").clone());
    child
}

fn failed(id: &str, error: &str, cause: Value) -> Value {
    let cause = cause.as_str().map_or_else(|| cause.to_string(), str::to_owned);
    child(id, json!({"Status": "FAILED", "Error": error, "Cause": cause}))
}

fn request(results: bool) -> Request {
    let place = || Results { result_writer_details: Place { key: "results/manifest.json".to_owned() } };
    Request {
        execution: FLEET.to_owned(),
        trigger: "schedule".to_owned(),
        prefix: "fleets/this/".to_owned(),
        items_key: "items.json".to_owned(),
        left_out_key: "left-out.json".to_owned(),
        plan_only: !results,
        results: results.then(place),
    }
}

/// A bucket as a fleet leaves it.
fn memory(items: &[Value], left_out: &Value, succeeded: &Value, failed: &Value) -> Memory {
    let memory = Memory::default();
    memory.put("items.json", &json!(items).to_string());
    memory.put("left-out.json", &left_out.to_string());
    memory.put("results/SUCCEEDED_0.json", &succeeded.to_string());
    memory.put("results/FAILED_0.json", &failed.to_string());
    let file = |name: &str| json!([{"Key": format!("results/{name}_0.json"), "Size": 1}]);
    let files = json!({"SUCCEEDED": file("SUCCEEDED"), "FAILED": file("FAILED"), "PENDING": []});
    memory.put("results/manifest.json", &json!({"DestinationBucket": "reports", "ResultFiles": files}).to_string());
    memory
}

fn exempt() -> Value {
    json!([{"reason": "exempt", "detail": "it has the tag", "instance_id": "scratch", "resource_id": "db-S",
            "engine": "mysql", "class": "db.t3.micro", "allocated_gib": 5, "minutes_at_least": 1, "minutes_at_most": 2}])
}

fn lines(memory: &Memory) -> Vec<Value> {
    let report: Value = serde_json::from_str(&memory.text("fleets/this/report.json")).expect("JSON");
    report["instances"].as_array().expect("instances").clone()
}

fn mixed() -> Memory {
    let output = json!({"execution": CHILD, "encrypted_instance_id": "orders-encrypted"}).to_string();
    let nested = json!({"ExecutionArn": CHILD, "Status": "FAILED", "Error": "KeyNotUsable", "Cause": "<b>the key</b> is, \"off\""});
    let stopped = json!({"ExecutionArn": CHILD, "Status": "ABORTED"});
    memory(
        &[],
        &exempt(),
        &json!([child("orders", json!({"Output": output}))]),
        &json!([
            failed("books", "States.TaskFailed", nested),
            failed("stopped", "States.TaskFailed", stopped),
            failed("taken", "StepFunctions.ExecutionAlreadyExistsException", json!("Execution already exists")),
            failed("denied", "StepFunctions.AccessDeniedException", json!("no")),
        ]),
    )
}

#[tokio::test]
async fn every_instance_has_a_line_that_says_what_became_of_it() {
    let memory = mixed();
    let response = handle(&memory.bucket(), request(true)).await.expect("reported");
    let told: Vec<_> = lines(&memory)
        .iter()
        .map(|line| ["instance_id", "outcome", "reason"].map(|field| line[field].as_str().expect(field).to_owned()))
        .collect();
    assert_eq!(
        told,
        [
            ["books", "failed", "KeyNotUsable"],
            ["denied", "failed", "StepFunctions.AccessDeniedException"],
            ["stopped", "failed", "ABORTED"],
            ["orders", "encrypted", ""],
            ["scratch", "left_out", "exempt"],
            ["taken", "left_out", "already_started"],
        ]
    );
    let orders = &lines(&memory)[3];
    assert_eq!(orders["encrypted_instance_id"], "orders-encrypted");
    assert_eq!((&orders["minutes"], &orders["execution"]), (&json!(75.5), &json!(CHILD)));
    assert_eq!(response.counts, BTreeMap::from([("encrypted", 1), ("failed", 3), ("left_out", 2)]));
    assert_eq!(response.report, "s3://reports/fleets/this/report.html");
    assert_eq!(response.subject, "rds-encrypt: fleet: 1 encrypted, 3 failed, 2 left out");
    assert!(response.message.contains("\nbooks: KeyNotUsable\n"), "{}", response.message);
    assert!(response.message.contains("Left out: 1 already_started, 1 exempt."), "{}", response.message);
}

#[tokio::test]
async fn a_plan_lists_what_would_be_done_and_how_long_it_may_take() {
    let memory = memory(&[item("orders")], &exempt(), &json!([]), &json!([]));
    let response = handle(&memory.bucket(), request(false)).await.expect("reported");
    assert_eq!(response.counts, BTreeMap::from([("left_out", 1), ("planned", 1)]));
    assert_eq!((&lines(&memory)[0]["outcome"], &lines(&memory)[0]["minutes"]), (&json!("planned"), &json!(90.0)));
}

#[tokio::test]
async fn a_sweep_that_finds_nothing_to_do_tells_nobody() {
    let memory = memory(&[], &exempt(), &json!([]), &json!([]));
    assert!(!handle(&memory.bucket(), request(false)).await.expect("reported").worth_a_mail);
    // Whoever started it wants to know.
    let direct = Request { trigger: "direct".to_owned(), ..request(false) };
    assert!(handle(&memory.bucket(), direct).await.expect("reported").worth_a_mail);
    assert!(handle(&mixed().bucket(), request(true)).await.expect("reported").worth_a_mail);
}

#[tokio::test]
async fn a_spreadsheet_reads_every_cell_as_a_text() {
    let memory = mixed();
    handle(&memory.bucket(), request(true)).await.expect("reported");
    let csv = memory.text("fleets/this/report.csv");
    let rows: Vec<&str> = csv.trim_end().split("\r\n").collect();
    assert_eq!(rows.len(), 7);
    assert_eq!(rows[0].split(',').count(), rows[4].split(',').count(), "{csv}");
    assert!(rows[1].contains(r#","<b>the key</b> is, ""off""","#), "{csv}");
    assert_eq!(csv::cell("=1+1"), "'=1+1");
    assert_eq!(csv::cell("-1,2"), "\"'-1,2\"");
}

#[tokio::test]
async fn the_page_lets_nothing_of_others_run() {
    let memory = mixed();
    handle(&memory.bucket(), request(true)).await.expect("reported");
    let page = memory.text("fleets/this/report.html");
    assert!(page.contains("&lt;b&gt;the key&lt;/b&gt; is, &quot;off&quot;"), "{page}");
    assert!(!page.contains("<b>the key"));
    assert!(page.contains("content=\"default-src 'none'; style-src 'sha256-"), "{page}");
    // It lets in what is there, and that alone.
    for (kind, tag) in [("style-src", "style"), ("script-src", "script")] {
        let (_, text) = page.split_once(&format!("<{tag}>")).expect("a beginning");
        let (text, _) = text.split_once(&format!("</{tag}>")).expect("an end");
        assert!(page.contains(&format!("{kind} '{}'", html::hash(text))), "{kind}");
    }
    // What the policy forbids is not there.
    for forbidden in [" style=", " onclick=", " src=", "<link", "javascript:"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let place = "https://eu-west-1.console.aws.amazon.com/rds/home?region=eu-west-1#database:id=orders-encrypted;is-cluster=false";
    assert!(page.contains(place), "{page}");
    assert_eq!(page.matches("<tr class=").count(), 6);
}

#[tokio::test]
async fn what_is_no_result_is_named() {
    let memory = Memory::default();
    let error = handle(&memory.bucket(), request(true)).await.expect_err("nothing there");
    assert_eq!(error.name(), "RequestRejected");
    memory.put("left-out.json", "{}");
    let error = handle(&memory.bucket(), request(true)).await.expect_err("no list");
    assert!(error.to_string().starts_with("`left-out.json`: is not what a fleet writes"), "{error}");
}
