use std::sync::{Arc, Mutex};

use aws_sdk_cloudwatch::operation::put_metric_data::PutMetricDataOutput;
use aws_sdk_rds::operation::describe_account_attributes::DescribeAccountAttributesOutput;
use aws_sdk_rds::operation::describe_db_instances::DescribeDbInstancesOutput;
use aws_sdk_rds::types::builders::DbInstanceBuilder;
use aws_sdk_rds::types::{AccountQuota, DbInstance, Tag};
use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
use aws_sdk_sfn::operation::list_executions::ListExecutionsOutput;
use aws_sdk_sfn::primitives::DateTime;
use aws_sdk_sfn::types::{ExecutionListItem, ExecutionStatus};
use aws_smithy_mocks::{RuleMode, mock, mock_client};
use bucket::memory::Memory;
use strum::VariantNames;
use workflow::owner::{EXECUTION_TAG, SOURCE_TAG};

use super::*;

const MACHINE: &str = "arn:aws:states:eu-west-1:123456789012:stateMachine:encrypt";
const BLUE_GREEN: &str = "arn:aws:states:eu-west-1:123456789012:stateMachine:blue-green";
const FLEET: &str = "arn:aws:states:eu-west-1:123456789012:execution:fleet:this";

/// An unencrypted instance, by its name.
fn plain(id: &str) -> DbInstanceBuilder {
    DbInstance::builder()
        .db_instance_identifier(id)
        .dbi_resource_id(resource_id(id))
        .db_instance_arn(format!("arn:aws:rds:eu-west-1:123456789012:db:{id}"))
        .db_instance_status("available")
        .engine("mysql")
        .db_instance_class("db.t3.micro")
        .allocated_storage(20)
        .storage_encrypted(false)
}

fn resource_id(id: &str) -> String {
    format!("db-{}", id.to_uppercase().replace('-', ""))
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// An account, as its calls show it.
#[derive(Clone, Default)]
struct Account {
    instances: Vec<DbInstance>,
    /// Executions of the machine of one instance: name and status.
    executions: Vec<(String, ExecutionStatus)>,
    /// Running fleets besides this one: when they began, and their input.
    fleets: Vec<(i64, Value)>,
    /// What is free, by the quota's name.
    free: Vec<(&'static str, i64)>,
    auto_encrypt: &'static str,
    accept_interruption: bool,
    /// What the plans say, by the instance's name; of others that there is the way by snapshot alone.
    plans: BTreeMap<&'static str, Value>,
}

/// What a plan answers in the Map: the ways.
fn ways(blue_green: &[&str]) -> Value {
    let way = |name: &str, why_not: &[&str], recommended: bool| {
        json!({"way": name, "state_machine": "a", "usable": why_not.is_empty(), "why_not": why_not,
               "outage": format!("of {name}"), "writes_lost": "none", "recommended": recommended})
    };
    let is_open = blue_green.is_empty();
    // A fleet does not go online, recommended or closed.
    let online = if is_open { way("online", &["it is off"], false) } else { way("online", &[], true) };
    json!({"ways": [way("blue_green", blue_green, is_open), online, way("snapshot", &[], false)]})
}

fn refused(error: &str) -> Value {
    let cause = json!({"errorType": error, "errorMessage": "because of that"}).to_string();
    json!({"Error": error, "Cause": cause})
}

/// What was answered, and what is in the bucket.
struct Found {
    response: Response,
    /// What the metric was set to.
    published: Vec<f64>,
    items: Vec<Value>,
    left_out: Vec<Value>,
    /// Whose plans were asked.
    candidates: Vec<Value>,
}

impl Found {
    fn names(&self) -> Vec<&str> {
        self.items.iter().map(|item| item["name"].as_str().expect("a name")).collect()
    }

    fn reasons(&self) -> Vec<(&str, &str)> {
        let text = |entry: &'static str, value: &'_ Value| value[entry].as_str().expect(entry).to_owned();
        let told = |value: &Value| (text("instance_id", value), text("reason", value));
        self.left_out.iter().map(told).map(|(id, reason)| (leaked(id), leaked(reason))).collect()
    }
}

fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

impl Account {
    fn of(instances: impl IntoIterator<Item = DbInstanceBuilder>) -> Self {
        let instances = instances.into_iter().map(DbInstanceBuilder::build).collect();
        Self { instances, auto_encrypt: "encrypt", ..Self::default() }
    }

    /// What the fleet has found once the plans are asked, if it asks them.
    async fn find(&self, input: Value) -> Result<Found, Error> {
        let memory = Memory::default();
        let first = self.look(input.clone(), None, &memory).await?;
        if first.response.action != Action::Plan {
            return Ok(first);
        }
        let children: Vec<Value> = first.items.iter().map(|item| self.child(item)).collect();
        memory.put("results/SUCCEEDED_0.json", &json!(children).to_string());
        let files = json!({"SUCCEEDED": [{"Key": "results/SUCCEEDED_0.json"}], "FAILED": [], "PENDING": []});
        memory.put("results/manifest.json", &json!({"ResultFiles": files}).to_string());
        let place = bucket::results::Place { key: "results/manifest.json".to_owned() };
        let found = self.look(input, Some(Results { result_writer_details: place }), &memory).await?;
        assert_eq!(found.published, Vec::<f64>::new(), "the metric is published once");
        assert_eq!(found.response.unencrypted, first.response.unencrypted);
        Ok(Found { published: first.published, candidates: first.items, ..found })
    }

    fn child(&self, item: &Value) -> Value {
        let closed = ways(&["its backups are off"]);
        let output = self.plans.get(item["instance_id"].as_str().expect("a name")).unwrap_or(&closed);
        json!({"Input": item.to_string(), "Output": output.to_string(), "Status": "SUCCEEDED"})
    }

    async fn look(&self, input: Value, plans: Option<Results>, memory: &Memory) -> Result<Found, Error> {
        let account = self.clone();
        // In pages of two, as the real ones are of a hundred.
        let rule = mock!(aws_sdk_rds::Client::describe_db_instances).then_compute_output(move |input| {
            let start: usize = input.marker().map_or(0, |marker| marker.parse().expect("a number"));
            let page: Vec<_> = account.instances.iter().skip(start).take(2).cloned().collect();
            let next = (start + 2 < account.instances.len()).then(|| (start + 2).to_string());
            DescribeDbInstancesOutput::builder().set_db_instances(Some(page)).set_marker(next).build()
        });
        let free = self.free.clone();
        let quotas = mock!(aws_sdk_rds::Client::describe_account_attributes).then_output(move || {
            let quotas = free.iter().map(|(name, free)| {
                AccountQuota::builder().account_quota_name(*name).used(100).max(100 + free).build()
            });
            DescribeAccountAttributesOutput::builder().set_account_quotas(Some(quotas.collect())).build()
        });
        let rds = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&rule, &quotas]);

        let account = self.clone();
        let list = mock!(aws_sdk_sfn::Client::list_executions).then_compute_output(move |input| {
            let executions = match input.state_machine_arn() {
                Some(MACHINE) => account.executions.iter().map(|(name, status)| listed(name, status, 1)).collect(),
                Some(BLUE_GREEN) => vec![],
                _ => account.fleets(),
            };
            ListExecutionsOutput::builder().set_executions(Some(executions)).build().expect("complete")
        });
        let account = self.clone();
        let describe = mock!(aws_sdk_sfn::Client::describe_execution).then_compute_output(move |input| {
            let number: usize =
                input.execution_arn().and_then(|arn| arn.rsplit('-').next()?.parse().ok()).expect("ours");
            let output = DescribeExecutionOutput::builder().execution_arn("arn").state_machine_arn("arn");
            let output = output.status(ExecutionStatus::Running).start_date(DateTime::from_secs(1));
            output.input(account.fleets[number].1.to_string()).build().expect("complete")
        });
        let sfn = mock_client!(aws_sdk_sfn, RuleMode::MatchAny, [&list, &describe]);

        let published = Arc::new(Mutex::new(vec![]));
        let told = Arc::clone(&published);
        let put = mock!(aws_sdk_cloudwatch::Client::put_metric_data)
            .match_requests(|input| {
                let [datum] = input.metric_data() else { return false };
                let stack = datum.dimensions()[0].value();
                (input.namespace(), datum.metric_name(), stack)
                    == (Some("rds-encrypt"), Some("UnencryptedInstances"), Some("stack"))
            })
            .then_compute_output(move |input| {
                told.lock().expect("a lock").push(input.metric_data()[0].value().expect("a value"));
                PutMetricDataOutput::builder().build()
            });
        let cloudwatch = mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, [&put]);

        let machines = BTreeMap::from([("snapshot", MACHINE.to_owned()), ("blue_green", BLUE_GREEN.to_owned())]);
        let context = Context { cloudwatch, rds, sfn, bucket: memory.bucket(), stack: "stack".to_owned(), machines };
        let settings = Settings {
            auto_encrypt: self.auto_encrypt.to_owned(),
            accept_interruption: self.accept_interruption.to_string(),
            concurrency: "50".to_owned(),
        };
        let response = handle(&context, Request { input, execution: FLEET.to_owned(), plans, settings }).await?;
        let published = published.lock().expect("a lock").clone();
        let read = |key: &str| serde_json::from_str(&memory.text(key)).expect("a list");
        let [items, left_out] = [&response.items_key, &response.left_out_key].map(|key| read(key));
        Ok(Found { items, left_out, response, published, candidates: vec![] })
    }

    /// This fleet began at 100.
    fn fleets(&self) -> Vec<ExecutionListItem> {
        let others = self.fleets.iter().enumerate();
        let others =
            others.map(|(number, (start, _))| listed(&format!("other-{number}"), &ExecutionStatus::Running, *start));
        others.chain([listed("this", &ExecutionStatus::Running, 100)]).collect()
    }
}

fn listed(name: &str, status: &ExecutionStatus, start: i64) -> ExecutionListItem {
    let arn = FLEET.replace(":this", &format!(":{name}"));
    let item = ExecutionListItem::builder().execution_arn(arn).state_machine_arn(MACHINE).name(name);
    item.status(status.clone()).start_date(DateTime::from_secs(start)).build().expect("complete")
}

fn rds_event(id: &str) -> Value {
    json!({
        "source": "aws.rds",
        "detail-type": "RDS DB Instance Event",
        "detail": {"SourceArn": format!("arn:aws:rds:eu-west-1:123456789012:db:{id}"), "SourceIdentifier": id},
    })
}

#[tokio::test]
async fn an_instance_becomes_an_execution_whose_name_and_input_follow_from_it() {
    let found =
        Account::of([plain("orders")]).find(json!({"kms_key_id": "alias/data", "include": null})).await.expect("found");
    assert_eq!(found.response.action, Action::Encrypt);
    let item = &found.items[0];
    assert_eq!(item["name"], "db-ORDERS-1");
    assert_eq!(item["state_machine_arn"], MACHINE);
    // The fleet has a mail of its own.
    assert_eq!(item["input"], json!({"instance_id": "db-ORDERS", "kms_key_id": "alias/data", "notify": false}));
    assert_eq!(
        (&item["instance_id"], &item["way"], &item["allocated_gib"]),
        (&json!("orders"), &json!("snapshot"), &json!(20))
    );
    assert_eq!(found.response.items_key, "fleets/this/items.json");
    let found = Account::of([plain("orders")]).find(json!({"way": "blue_green"})).await.expect("found");
    assert_eq!(found.items[0]["state_machine_arn"], BLUE_GREEN);
    assert!(found.response.approval.list.contains("* orders (blue_green, 20 GiB)"), "{}", found.response.approval.list);
}

#[tokio::test]
async fn every_instance_that_is_left_out_has_its_reason() {
    let twin =
        |source: &str, id: &str| plain(id).storage_encrypted(true).tag_list(tag(SOURCE_TAG, &resource_id(source)));
    let mut account = Account::of([
        plain("wanted"),
        plain("creating").db_instance_status("creating"),
        plain("encrypted").storage_encrypted(true),
        plain("member").db_cluster_identifier("cluster"),
        plain("replica").read_replica_source_db_instance_identifier("wanted"),
        plain("express").engine("sqlserver-ex"),
        plain("scratch").tag_list(tag("rds-encrypt", "exempt")),
        plain("done"),
        twin("done", "done-encrypted"),
        plain("half"),
        twin("half", "half-encrypted").tag_list(tag(EXECUTION_TAG, "arn")),
        plain("encrypted-old1"),
        plain("gone-old1"),
        plain("running"),
        plain("failing"),
        plain("stopped").db_instance_status("stopped"),
    ]);
    account.executions = vec![("db-RUNNING-2".to_owned(), ExecutionStatus::Running)];
    account.executions.extend((1..=3).map(|attempt| (format!("db-FAILING-{attempt}"), ExecutionStatus::Failed)));
    let found = account.find(json!({})).await.expect("found");
    assert_eq!(found.names(), ["db-CREATING-1", "db-GONEOLD1-1", "db-WANTED-1"]);
    let mut reasons = found.reasons();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [
            ("done", "has_encrypted_twin"),
            ("done-encrypted", "already_encrypted"),
            ("encrypted", "already_encrypted"),
            ("encrypted-old1", "has_encrypted_twin"),
            ("express", "not_supported"),
            ("failing", "gave_up"),
            ("half", "in_progress"),
            ("half-encrypted", "already_encrypted"),
            ("member", "cluster_member"),
            ("replica", "read_replica"),
            ("running", "in_progress"),
            ("scratch", "exempt"),
            ("stopped", "not_usable"),
        ]
    );
    assert_eq!(found.items.len() + found.left_out.len(), account.instances.len());
    assert!(found.left_out.iter().all(|entry| entry["detail"] != ""), "{:#?}", found.left_out);
    assert_eq!(found.response.left_out["already_encrypted"], 3);
    // wanted, creating, gone-old1; express, failing, half, replica, running, stopped
    assert_eq!((found.response.unencrypted, found.published), (Some(9), vec![9.0]));
}

#[tokio::test]
async fn each_instance_goes_the_way_that_its_plan_recommends() {
    let mut account = Account::of([plain("orders"), plain("books"), plain("named"), plain("full")]);
    account.plans =
        BTreeMap::from([("orders", ways(&[])), ("named", refused("NameConflict")), ("full", refused("QuotaExceeded"))]);
    let input = json!({"snapshots": "keep", "switchover_timeout_seconds": 60});
    let found = account.find(input.clone()).await.expect("found");
    let of = |id: &str| found.items.iter().find(|item| item["instance_id"] == id).expect(id);
    assert_eq!((found.items.len(), found.candidates.len()), (2, 4));
    // Each is given what its way takes.
    assert_eq!((&of("orders")["way"], &of("orders")["state_machine_arn"]), (&json!("blue_green"), &json!(BLUE_GREEN)));
    let given = json!({"instance_id": "db-ORDERS", "switchover_timeout_seconds": 60, "notify": false});
    assert_eq!((&of("orders")["input"], &of("orders")["snapshot_gib_at_most"]), (&given, &json!(0)));
    assert_eq!(of("orders")["detail"], "outage: of blue_green; writes lost: none");
    assert_eq!((&of("books")["way"], &of("books")["snapshot_gib_at_most"]), (&json!("snapshot"), &json!(40)));
    let detail = "outage: of snapshot; writes lost: none\nnot by blue_green: its backups are off";
    assert_eq!(of("books")["detail"], detail);
    assert_eq!(found.reasons(), [("full", "no_quota"), ("named", "refused")]);
    assert_eq!(found.left_out[1]["detail"], "NameConflict: because of that");
    // One interrupts its clients, and the mail says which.
    assert_eq!(found.response.action, Action::Ask);
    assert_eq!(found.response.approval.list, "- books (snapshot, 20 GiB)\n* orders (blue_green, 20 GiB)\n");
    // As the execution that would be started.
    let asked = &found.candidates[0]["plan"];
    assert_eq!(asked["input"], json!({"instance_id": "db-BOOKS", "snapshots": "keep", "plan_only": true}));
    assert_eq!(asked["execution"], "arn:aws:states:eu-west-1:123456789012:execution:encrypt:db-BOOKS-1");
    // The way that is asked for needs no plan, unless a plan is what is asked for.
    let found = account.find(json!({"way": "snapshot"})).await.expect("found");
    assert_eq!((found.items.len(), found.candidates.len()), (4, 0));
    let found = account.find(json!({"way": "snapshot", "plan_only": true})).await.expect("found");
    assert_eq!((found.items.len(), found.candidates.len()), (2, 4));
    assert!(found.items.iter().all(|item| item["way"] == "snapshot"));
}

#[tokio::test]
async fn what_starts_by_itself_interrupts_nobody_unless_the_stack_allows_it() {
    let mut account = Account::of([plain("orders")]);
    account.plans = BTreeMap::from([("orders", ways(&[]))]);
    for (accepts, way, action) in [(false, "snapshot", Action::Encrypt), (true, "blue_green", Action::Encrypt)] {
        account.accept_interruption = accepts;
        for input in [rds_event("orders"), json!({"trigger": "schedule"})] {
            let found = account.find(input).await.expect("found");
            assert_eq!((found.response.action, &found.items[0]["way"]), (action, &json!(way)));
        }
    }
}

#[tokio::test]
async fn an_event_starts_the_first_attempt_and_no_other() {
    let mut account = Account::of([plain("orders"), plain("others")]);
    let found = account.find(rds_event("orders")).await.expect("found");
    assert_eq!((found.names(), found.reasons()), (vec!["db-ORDERS-1"], vec![]));
    assert_eq!((found.response.trigger, found.response.unencrypted), ("rds_event", None));
    assert_eq!(found.published, Vec::<f64>::new());
    account.executions = vec![("db-ORDERS-1".to_owned(), ExecutionStatus::Failed)];
    let found = account.find(rds_event("orders")).await.expect("found");
    assert_eq!((found.names(), found.reasons()), (vec![], vec![("orders", "already_tried")]));
    // The schedule and people try again.
    for input in [json!({"trigger": "schedule"}), json!({})] {
        let found = account.find(input).await.expect("found");
        assert_eq!(found.names(), ["db-ORDERS-2", "db-OTHERS-1"]);
    }
}

#[tokio::test]
async fn every_kind_of_event_names_its_instances() {
    let account = Account::of([plain("orders"), plain("books"), plain("others")]);
    let arn = |id: &str| format!("arn:aws:rds:eu-west-1:123456789012:db:{id}");
    let finding = |id: &str| json!({"Resources": [{"Type": "AwsRdsDbInstance", "Id": arn(id)}, {"Type": "AwsIamRole", "Id": "x"}]});
    for (source, kind, detail, trigger, names) in [
        ("aws.rds", "RDS DB Instance Event", json!({"SourceIdentifier": "orders"}), "rds_event", vec!["db-ORDERS-1"]),
        (
            "aws.rds",
            "AWS API Call via CloudTrail",
            json!({"responseElements": {"dbiResourceId": "db-ORDERS"}}),
            "cloudtrail",
            vec!["db-ORDERS-1"],
        ),
        (
            "aws.config",
            "Config Rules Compliance Change",
            json!({"resourceId": "db-ORDERS"}),
            "config",
            vec!["db-ORDERS-1"],
        ),
        (
            "aws.securityhub",
            "Security Hub Findings - Imported",
            json!({"findings": [finding("orders"), finding("books")]}),
            "security_hub",
            vec!["db-BOOKS-1", "db-ORDERS-1"],
        ),
    ] {
        let event = json!({"source": source, "detail-type": kind, "detail": detail});
        let found = account.find(event).await.expect("found");
        assert_eq!((found.response.trigger, found.names()), (trigger, names));
    }
    // About nothing that it could be.
    let event = json!({"source": "aws.config", "detail-type": "Config Rules Compliance Change", "detail": {}});
    assert_eq!(account.find(event).await.expect("found").names(), Vec::<&str>::new());
}

#[tokio::test]
async fn what_is_asked_for_and_not_there_is_told() {
    let account = Account::of([plain("orders"), plain("books")]);
    let found = account.find(json!({"instances": ["orders", "db-NOBODY"]})).await.expect("found");
    assert_eq!((found.names(), found.reasons()), (vec!["db-ORDERS-1"], vec![("db-NOBODY", "not_found")]));
}

#[tokio::test]
async fn tags_choose_instances() {
    let account = Account::of([
        plain("a").tag_list(tag("stage", "test")).tag_list(tag("team", "stars")),
        plain("b").tag_list(tag("stage", "dev")),
        plain("c").tag_list(tag("stage", "live")),
        plain("d"),
    ]);
    for (input, names) in [
        (json!({"include": {"stage": "test"}}), vec!["db-A-1"]),
        (json!({"include": {"stage": ["test", "dev"]}}), vec!["db-A-1", "db-B-1"]),
        (json!({"include": {"stage": "*"}, "exclude": {"team": "*"}}), vec!["db-B-1", "db-C-1"]),
        (json!({"exclude": {"stage": "live", "team": "stars"}}), vec!["db-B-1", "db-D-1"]),
        (json!({"include": {"stage": "test", "team": "moons"}}), vec![]),
    ] {
        let found = account.find(input.clone()).await.expect("found");
        assert_eq!(found.names(), names, "{input}");
        assert!(found.reasons().iter().all(|(_, reason)| *reason == "filtered_out"));
    }
}

#[tokio::test]
async fn the_largest_come_first_and_what_does_not_fit_is_not_started() {
    let account = |free: &[(&'static str, i64)]| Account {
        free: free.to_vec(),
        ..Account::of([plain("small").allocated_storage(10), plain("large").allocated_storage(100), plain("middle")])
    };
    let names = async |account: Account, input: Value| {
        let found = account.find(input).await.expect("found");
        assert!(found.reasons().iter().all(|(_, reason)| *reason == "no_quota"));
        assert_eq!(found.items.len() + found.left_out.len(), 3);
        found.items.iter().map(|item| item["instance_id"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(account(&[]), json!({})).await, ["large", "middle", "small"]);
    assert_eq!(names(account(&[("DBInstances", 1)]), json!({})).await, ["large"]);
    assert_eq!(names(account(&[("AllocatedStorage", 35)]), json!({})).await, ["middle", "small"]);
    // A deployment makes the replicas, too.
    let with_replicas = |free: i64| Account {
        free: vec![("DBInstances", free)],
        ..Account::of([
            plain("small").allocated_storage(10),
            plain("large").allocated_storage(100),
            plain("middle").read_replica_db_instance_identifiers("m-1").read_replica_db_instance_identifiers("m-2"),
        ])
    };
    let by_deployment = || json!({"way": "blue_green"});
    assert_eq!(names(with_replicas(5), by_deployment()).await, ["large", "middle", "small"]);
    assert_eq!(names(with_replicas(3), by_deployment()).await, ["large", "small"]);
    assert_eq!(names(with_replicas(3), json!({})).await, ["large", "middle", "small"]);
    // Five are reserved. Each keeps one, and has a second meanwhile.
    assert_eq!(names(account(&[("ManualSnapshots", 8)]), json!({})).await, ["large"]);
    assert_eq!(names(account(&[("ManualSnapshots", 9)]), json!({})).await, ["large", "middle"]);
    assert_eq!(names(account(&[("ManualSnapshots", 8)]), json!({"snapshots": "keep"})).await, ["large"]);
    assert_eq!(names(account(&[("ManualSnapshots", 0)]), json!({"way": "blue_green"})).await.len(), 3);
    // Of two ways each takes what it needs, and what is refused takes nothing.
    let mut account = account(&[("ManualSnapshots", 8), ("DBInstances", 2)]);
    account.plans = BTreeMap::from([("large", refused("NameConflict")), ("small", ways(&[]))]);
    let found = account.find(json!({"accept_interruption": true})).await.expect("found");
    let chosen: Vec<_> = found.items.iter().map(|item| (&item["instance_id"], &item["way"])).collect();
    assert_eq!(chosen, [(&json!("middle"), &json!("snapshot")), (&json!("small"), &json!("blue_green"))]);
}

#[tokio::test]
async fn a_sweep_beside_an_earlier_one_leaves_all_to_it() {
    let sweep = json!({"trigger": "schedule"});
    for (start, input, names) in [
        (50, sweep.clone(), vec![]),
        (50, json!({}), vec![]),
        // A later one, a fleet of some instances, an event.
        (150, sweep.clone(), vec!["db-ORDERS-1"]),
        (50, json!({"instances": ["books"]}), vec!["db-ORDERS-1"]),
        (50, rds_event("books"), vec!["db-ORDERS-1"]),
    ] {
        let account = Account { fleets: vec![(start, input.clone())], ..Account::of([plain("orders")]) };
        let found = account.find(sweep.clone()).await.expect("found");
        assert_eq!(found.names(), names, "beside {input} of {start}");
        let told: Vec<_> = found.reasons().iter().map(|(_, reason)| *reason).collect();
        assert_eq!(told, if names.is_empty() { vec!["sweep_running"] } else { vec![] });
        // What is asked for by name is not held up.
        assert_eq!(account.find(json!({"instances": ["orders"]})).await.expect("found").names(), ["db-ORDERS-1"]);
    }
}

#[tokio::test]
async fn nobody_is_interrupted_unasked() {
    let cutover = json!({"cutover": "rename", "accept_lost_writes": true});
    let with = |name: &str, value: Value| {
        let mut input = cutover.clone();
        input[name] = value;
        input
    };
    let mut account = Account::of([plain("orders")]);
    let action = async |account: &Account, input| account.find(input).await.expect("found").response.action;
    assert_eq!(action(&account, cutover.clone()).await, Action::Ask);
    // A switchover is one, too.
    let by_deployment = json!({"way": "blue_green", "accept_stack_drift": true});
    assert_eq!(action(&account, by_deployment).await, Action::Ask);
    assert_eq!(action(&account, with("accept_interruption", json!(true))).await, Action::Encrypt);
    assert_eq!(action(&account, with("cutover", json!("none"))).await, Action::Encrypt);
    assert_eq!(action(&account, with("plan_only", json!(true))).await, Action::Report);
    account.accept_interruption = true;
    assert_eq!(action(&account, cutover.clone()).await, Action::Encrypt);
    account.instances.clear();
    assert_eq!(action(&account, cutover.clone()).await, Action::Report);
}

#[tokio::test]
async fn a_plan_starts_nothing_and_lists_what_it_would() {
    let account = Account { auto_encrypt: "plan", ..Account::of([plain("orders")]) };
    for (input, action) in [
        (json!({"trigger": "schedule"}), Action::Report),
        (rds_event("orders"), Action::Report),
        (json!({"plan_only": true}), Action::Report),
        // The parameter is about what happens by itself.
        (json!({}), Action::Encrypt),
    ] {
        let found = account.find(input).await.expect("found");
        assert_eq!((found.response.action, found.names()), (action, vec!["db-ORDERS-1"]));
    }
}

#[tokio::test]
async fn an_input_that_cannot_be_used_is_refused_by_its_field() {
    let account = Account::of([plain("orders")]);
    for (input, said) in [
        (json!([]), "`input`: is no object"),
        (json!({"instance_id": "orders"}), "`instance_id`: is not a field of a fleet's input; these are: instances, "),
        (json!({"instances": "orders"}), "`instances`: is no list"),
        (json!({"include": ["a"]}), "`include`: is no object of tags"),
        (json!({"exclude": {"a": 1}}), "`exclude`: is no object of tags"),
        (json!({"way": "magic"}), "`way`: must be auto, or one of snapshot, blue_green"),
        (json!({"way": "blue_green", "cutover": "rename"}), "`cutover`: is not for the way blue_green"),
        (json!({"accept_stack_drift": true}), "`accept_stack_drift`: is not for the way auto"),
        (json!({"way": "snapshot", "switchover_timeout_seconds": 60}), "`switchover_timeout_seconds`: is not for"),
        (json!({"plan_only": "yes"}), "`plan_only`: must be true or false"),
    ] {
        let error = account.find(input).await.err().expect("refused");
        assert_eq!(error.name(), "InvalidInput");
        assert!(error.to_string().starts_with(said), "{error}");
    }
    assert!(account.find(json!({"way": "auto"})).await.is_ok());
}

#[test]
fn a_folder_needs_no_encoding() {
    assert_eq!(folder(FLEET), "this");
    assert_eq!(folder("arn:aws:states:eu-west-1:123456789012:execution:fleet:größe+1.2"), "gr__e_1_2");
}

#[test]
fn every_reason_is_a_word_of_its_own() {
    assert!(Reason::VARIANTS.contains(&"has_encrypted_twin"));
    let word: &str = Reason::NoQuota.into();
    assert_eq!(serde_json::to_value(Reason::NoQuota).expect("a word"), word);
}
