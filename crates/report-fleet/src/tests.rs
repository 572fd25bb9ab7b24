use std::sync::{Arc, Mutex};

use aws_sdk_cloudwatch::operation::put_metric_data::PutMetricDataOutput;
use aws_sdk_cloudwatch::types::MetricDatum;
use aws_smithy_mocks::{RuleMode, mock, mock_client};
use bucket::memory::Memory;
use bucket::results::Place;
use serde_json::{Value, json};

use super::*;

const FLEET: &str = "arn:aws:states:eu-west-1:123456789012:execution:fleet:this";
const CHILD: &str = "arn:aws:states:eu-west-1:123456789012:execution:encrypt:db-ORDERS-1";

fn item(id: &str) -> Value {
    json!({
        "name": format!("db-{}-1", id.to_uppercase()), "state_machine_arn": "arn", "input": {}, "way": "snapshot",
        "instance_id": id, "resource_id": "db-X", "engine": "mysql", "class": "db.t3.micro", "allocated_gib": 20,
        "minutes_at_least": 27, "minutes_at_most": 90, "snapshot_gib_at_most": 20, "detail": "outage: none",
    })
}

/// What the metric is told is in the second.
fn context(memory: &Memory) -> (Context, Arc<Mutex<Vec<MetricDatum>>>) {
    let published = Arc::new(Mutex::new(vec![]));
    let told = Arc::clone(&published);
    let put = mock!(aws_sdk_cloudwatch::Client::put_metric_data)
        .match_requests(|input| input.namespace() == Some("rds-encrypt"))
        .then_compute_output(move |input| {
            told.lock().expect("a lock").extend(input.metric_data().iter().cloned());
            PutMetricDataOutput::builder().build()
        });
    let cloudwatch = mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, [&put]);
    (Context { cloudwatch, bucket: memory.bucket(), stack: "stack".to_owned() }, published)
}

async fn report(memory: &Memory, request: Request) -> Result<Response, Error> {
    handle(&context(memory).0, request).await
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
        max_concurrency: 2,
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
    let waited = json!({"source": 0, "snapshot": 600, "copy": 1815, "clean_up": 30});
    let output = json!({"execution": CHILD, "encrypted_instance_id": "orders-encrypted", "waited_seconds": waited});
    let output = output.to_string();
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
    let response = report(&memory, request(true)).await.expect("reported");
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
    assert_eq!(orders["detail"], "", "what the plan said is over");
    assert_eq!((&orders["minutes"], &orders["execution"]), (&json!(75.5), &json!(CHILD)));
    assert_eq!(orders["phases"], json!({"source": 0.0, "snapshot": 10.0, "copy": 30.3, "clean_up": 0.5}));
    assert_eq!(response.counts, BTreeMap::from([("encrypted", 1), ("failed", 3), ("left_out", 2)]));
    assert_eq!(response.report, "s3://reports/fleets/this/report.html");
    assert_eq!(response.subject, "rds-encrypt: fleet: 1 encrypted, 3 failed, 2 left out");
    assert!(response.message.contains("\nbooks: KeyNotUsable\n"), "{}", response.message);
    assert!(response.message.contains("Left out: 1 already_started, 1 exempt."), "{}", response.message);
}

#[tokio::test]
async fn a_plan_lists_what_would_be_done_in_which_order_and_what_it_takes() {
    let larger = |mut item: Value| {
        item["minutes_at_most"] = json!(250);
        item["class"] = json!("db.r5.large");
        item
    };
    let items = [larger(item("orders")), item("books"), item("notes")];
    let memory = memory(&items, &exempt(), &json!([]), &json!([]));
    let response = report(&memory, request(false)).await.expect("reported");
    assert_eq!(response.counts, BTreeMap::from([("left_out", 1), ("planned", 3)]));
    let told: Vec<_> = lines(&memory).iter().map(|line| (line["instance_id"].clone(), line["order"].clone())).collect();
    let order = [("orders", 1), ("books", 2), ("notes", 3), ("scratch", 0)];
    assert_eq!(told, order.map(|(id, order)| (json!(id), json!(order))));
    assert_eq!(lines(&memory)[1]["minutes"], 90.0);
    let whole: Value = serde_json::from_str(&memory.text("fleets/this/report.json")).expect("JSON");
    // Two side by side: one has 250 minutes, the other 90 and 90; at least 27 and 27 and 27.
    let estimate = json!({
        "hours_at_least": 0.9, "hours_at_most": 4.2, "instance_hours_a_day": 72,
        "instances": {"db.r5.large": 1, "db.t3.micro": 2}, "storage_gib": 60, "snapshot_gib_at_most": 60,
    });
    assert_eq!(whole["estimate"], estimate);
    let words = "72 instance-hours a day (1 db.r5.large, 2 db.t3.micro), 60 GiB of storage";
    assert!(response.message.contains(words), "{}", response.message);
    assert!(memory.text("fleets/this/report.html").contains(words));
    // What has ended needs none.
    let ended = mixed();
    report(&ended, request(true)).await.expect("reported");
    assert!(ended.text("fleets/this/report.json").contains("\"estimate\":null"));
}

#[tokio::test]
async fn the_phases_are_a_bar_and_a_metric() {
    let memory = mixed();
    let (context, published) = context(&memory);
    handle(&context, request(true)).await.expect("reported");
    let page = memory.text("fleets/this/report.html");
    let bar = "<rect class=\"rest\" width=\"200.0\" height=\"12\"/>\
               <rect class=\"source\" x=\"0.0\" width=\"0.0\" height=\"12\"/>\
               <rect class=\"snapshot\" x=\"0.0\" width=\"26.5\" height=\"12\"/>\
               <rect class=\"copy\" x=\"26.5\" width=\"80.3\" height=\"12\"/>\
               <rect class=\"clean_up\" x=\"106.8\" width=\"1.3\" height=\"12\"/>";
    assert!(page.contains(bar), "{page}");
    assert!(page.contains("</svg> clean up ") && !page.contains("</svg> source "), "the legend has what there is");
    let published = published.lock().expect("a lock");
    let of = |phase: &str| {
        let is_of = |datum: &&MetricDatum| datum.dimensions()[1].value() == Some(phase);
        let datum = published.iter().find(is_of).expect(phase);
        assert_eq!((datum.metric_name(), datum.dimensions()[0].value()), (Some("PhaseMinutes"), Some("stack")));
        let statistics = datum.statistic_values().expect("statistics");
        [statistics.sample_count(), statistics.sum(), statistics.minimum(), statistics.maximum()]
            .map(|one| one.expect("a number"))
    };
    assert_eq!(published.len(), 4);
    assert_eq!(of("copy"), [1.0, 30.3, 30.3, 30.3]);
}

/// Every phase that a machine tells has its place in the bar, and a colour.
#[test]
fn every_phase_of_the_machines_is_shown() {
    let style = include_str!("report.css");
    for machine in ["encrypt-instance", "encrypt-blue-green"] {
        let path = format!("{}/../../statemachine/{machine}.asl.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("readable");
        let definition: Value = serde_json::from_str(&text).expect("JSON");
        let waited = definition["States"]["Report"]["Parameters"]["waited_seconds"].as_object().expect("an object");
        for phase in waited.keys().map(|name| name.trim_end_matches(".$")) {
            assert!(html::PHASES.contains(&phase), "{machine}: {phase} has no place");
            assert!(style.contains(&format!(".{phase}")), "{machine}: {phase} has no colour");
        }
    }
}

#[tokio::test]
async fn a_sweep_that_finds_nothing_to_do_tells_nobody() {
    let memory = memory(&[], &exempt(), &json!([]), &json!([]));
    assert!(!report(&memory, request(false)).await.expect("reported").worth_a_mail);
    // Whoever started it wants to know.
    let direct = Request { trigger: "direct".to_owned(), ..request(false) };
    assert!(report(&memory, direct).await.expect("reported").worth_a_mail);
    assert!(report(&mixed(), request(true)).await.expect("reported").worth_a_mail);
}

#[tokio::test]
async fn a_spreadsheet_reads_every_cell_as_a_text() {
    let memory = mixed();
    report(&memory, request(true)).await.expect("reported");
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
    report(&memory, request(true)).await.expect("reported");
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
    let error = report(&memory, request(true)).await.expect_err("nothing there");
    assert_eq!(error.name(), "RequestRejected");
    memory.put("left-out.json", "{}");
    let error = report(&memory, request(true)).await.expect_err("no list");
    assert!(error.to_string().starts_with("`left-out.json`: is not what a fleet writes"), "{error}");
}
