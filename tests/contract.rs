//! The state machine, the template and the crates agree with each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use serde_norway::Value as Yaml;
use settings::Refused;
use strum::VariantNames;
use workflow::options::Way;

/// What both interpreters and AWS name by themselves; see STYLE's first retrier.
const INFRASTRUCTURE: &[&str] = &[
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
    "Sandbox.Timedout",
    "Runtime.ExitError",
    "States.Timeout",
];

/// Amazon States Language, "Appendix A: Predefined Error Codes".
const RESERVED: &[&str] = &[
    "States.ALL",
    "States.BranchFailed",
    "States.ExceedToleratedFailureThreshold",
    "States.HeartbeatTimeout",
    "States.IntrinsicFailure",
    "States.ItemReaderFailed",
    "States.NoChoiceMatched",
    "States.ParameterPathFailure",
    "States.Permissions",
    "States.ResultPathMatchFailure",
    "States.ResultWriterFailed",
    "States.TaskFailed",
    "States.Timeout",
];

/// Errors of Publish (Amazon SNS API Reference) and of the SDK, as Step Functions names them.
const OF_SNS: &[&str] =
    &["SNS.InternalErrorException", "SNS.KMSThrottlingException", "SNS.SdkClientException", "SNS.ThrottledException"];

/// Errors of StartExecution (AWS Step Functions API Reference), as Step Functions names them in a Task [A70].
const OF_STEP_FUNCTIONS: &[&str] = &[
    "StepFunctions.ExecutionLimitExceededException",
    "StepFunctions.SdkClientException",
    "StepFunctions.ThrottlingException",
];

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn template() -> Yaml {
    serde_norway::from_str(&read("template.yaml")).expect("YAML")
}

/// The template's resources, by name.
fn resources() -> BTreeMap<String, Yaml> {
    serde_norway::from_value(template()["Resources"].clone()).expect("resources")
}

fn resources_of_type(kind: &str) -> BTreeMap<String, Yaml> {
    let found: BTreeMap<_, _> = resources().into_iter().filter(|(_, resource)| resource["Type"] == kind).collect();
    assert!(!found.is_empty(), "no {kind} in template.yaml");
    found
}

/// What stands behind `!tag`.
fn tagged<'a>(value: &'a Yaml, tag: &str) -> Option<&'a Yaml> {
    let Yaml::Tagged(tagged) = value else { return None };
    (tagged.tag == tag).then_some(&tagged.value)
}

/// The resource whose ARN a value is.
fn arn_of(value: &Yaml) -> Option<&str> {
    tagged(value, "GetAtt")?.as_str()?.strip_suffix(".Arn")
}

/// The function whose version a value is: the one that is deployed with it.
fn version_of(value: &Yaml) -> Option<&str> {
    tagged(value, "Ref")?.as_str()?.strip_suffix(".Version")
}

/// The function any version of which a value is.
fn any_version_of(value: &Yaml) -> Option<&str> {
    tagged(value, "Sub")?.as_str()?.strip_prefix("${")?.strip_suffix(".Arn}:*")
}

/// Each state machine's file name and definition.
pub(crate) fn state_machines() -> Vec<(String, Value)> {
    let folder = fs::read_dir(repository().join("statemachine")).expect("the folder statemachine");
    let files: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
    assert!(!files.is_empty());
    let parse = |path: &PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).expect("readable");
        let definition = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, definition)
    };
    files.iter().map(parse).collect()
}

/// Every state of every machine, those of nested Maps and Parallels included, as `file/state`.
pub(crate) fn states() -> Vec<(String, Map<String, Value>)> {
    fn collect(place: &str, definition: &Value, found: &mut Vec<(String, Map<String, Value>)>) {
        for (name, state) in definition["States"].as_object().into_iter().flatten() {
            found.push((format!("{place}/{name}"), state.as_object().expect("a state").clone()));
            collect(&format!("{place}/{name}"), &state["ItemProcessor"], found);
            for branch in state["Branches"].as_array().into_iter().flatten() {
                collect(&format!("{place}/{name}"), branch, found);
            }
        }
    }
    let mut found = vec![];
    for (file, definition) in state_machines() {
        collect(&file, &definition, &mut found);
    }
    found
}

pub(crate) fn tasks() -> Vec<(String, Map<String, Value>)> {
    states().into_iter().filter(|(_, state)| state["Type"] == "Task").collect()
}

/// Whether a Task calls one of our functions; the others are integrations with AWS services.
fn is_function(task: &Map<String, Value>) -> bool {
    task["Resource"].as_str().is_some_and(|resource| resource.starts_with("${"))
}

pub(crate) fn names(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The names of the error enum.
pub(crate) fn error_names() -> BTreeSet<String> {
    workflow::Error::VARIANTS.iter().map(|name| (*name).to_owned()).collect()
}

pub(crate) fn step_crates() -> Vec<String> {
    let folder = fs::read_dir(repository().join("crates")).expect("the folder crates");
    let names = folder.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    // The others are what the steps stand on.
    names.filter(|name| repository().join("crates").join(name).join("src/main.rs").exists()).collect()
}

#[test]
fn every_machine_has_a_time_limit() {
    for (file, definition) in state_machines() {
        assert!(definition["TimeoutSeconds"].is_u64(), "{file} has no TimeoutSeconds");
    }
}

/// The state that a nested state belongs to; of others null.
fn holder_of(place: &str) -> Value {
    let (holder, _) = place.rsplit_once('/').expect("a file and a state");
    let found = states().into_iter().find(|(place, _)| place == holder);
    found.map_or(Value::Null, |(_, state)| Value::Object(state))
}

#[test]
fn every_task_says_why_and_has_a_time_limit_a_retry_and_a_catch() {
    for (place, task) in tasks() {
        for field in ["Comment", "Retry"] {
            assert!(task.contains_key(field), "{place} has no {field}");
        }
        // A Map that tolerates every failure catches for its items, and its report tells of each; a Parallel for its
        // branches. And a machine that makes nothing has nothing to undo.
        let holder = holder_of(&place);
        let caught = task.contains_key("Catch")
            || holder["ToleratedFailurePercentage"] == 100
            || (holder["Type"] == "Parallel" && holder["Catch"].is_array())
            || place.starts_with("verify-data.");
        assert!(caught, "{place} has no Catch");
        let limited = task.contains_key("TimeoutSeconds") || task.contains_key("TimeoutSecondsPath");
        assert!(limited, "{place} has no time limit");
    }
}

/// The lists of retriers, each for a purpose; a task has one of them, whole.
fn retriers() -> BTreeMap<&'static str, Value> {
    let crash = json!({
        "ErrorEquals": ["Lambda.Unknown", "Sandbox.Timedout", "Runtime.ExitError", "States.Timeout"],
        "IntervalSeconds": 2, "MaxAttempts": 6, "BackoffRate": 2, "JitterStrategy": "FULL",
    });
    let patience = |attempts: u64, delay_seconds: u64| {
        json!({
            "ErrorEquals": [
                "Lambda.TooManyRequestsException", "Lambda.ServiceException", "Lambda.AWSLambdaException",
                "Lambda.SdkClientException", "Lambda.ClientExecutionTimeoutException",
                "Throttled", "ServiceUnavailable", "CapacityUnavailable", "InvalidInstanceState", "InvalidSnapshotState",
            ],
            "IntervalSeconds": 15, "MaxAttempts": attempts, "BackoffRate": 2, "MaxDelaySeconds": delay_seconds,
            "JitterStrategy": "FULL",
        })
    };
    // Exponential backoff starves whoever has waited longest for a slot.
    let quota = json!({"ErrorEquals": ["QuotaExceeded"], "IntervalSeconds": 120, "MaxAttempts": 720, "BackoffRate": 1});
    // Nothing exists yet, and whoever gave the wrong subnets would wait for hours to be told.
    let soon = json!({
        "ErrorEquals": ["DatabaseUnavailable"], "IntervalSeconds": 15, "MaxAttempts": 6, "BackoffRate": 2,
        "JitterStrategy": "FULL",
    });
    let mut database = patience(40, 600);
    database["ErrorEquals"].as_array_mut().expect("errors").push(json!("DatabaseUnavailable"));
    let infrastructure = json!({
        "ErrorEquals": [
            "Lambda.Unknown", "Sandbox.Timedout", "Runtime.ExitError", "States.Timeout",
            "Lambda.TooManyRequestsException", "Lambda.ServiceException", "Lambda.AWSLambdaException",
            "Lambda.SdkClientException", "Lambda.ClientExecutionTimeoutException",
        ],
        "IntervalSeconds": 2, "MaxAttempts": 6, "BackoffRate": 2, "JitterStrategy": "FULL",
    });
    BTreeMap::from([
        ("a step", json!([crash, patience(40, 600)])),
        ("a step that logs in", json!([crash, database])),
        ("the first step that logs in", json!([crash, patience(40, 600), soon])),
        ("a step that makes something", json!([crash, patience(40, 600), quota])),
        // What RDS says inside the outage is the step's own to wait out, since its bound counts.
        ("inside the outage", json!([infrastructure])),
        ("undo-instance, for a day", json!([crash, patience(40, 3_600)])),
    ])
}

#[test]
fn every_function_is_retried_by_one_of_the_few_lists() {
    let lists = retriers();
    let outage = ["FenceSource", "CheckWrites", "RenameSource", "RenameTarget"];
    let mut used = BTreeSet::new();
    for (place, task) in tasks().into_iter().filter(|(_, task)| is_function(task)) {
        let list = lists.iter().find(|(_, list)| **list == task["Retry"]).map(|(name, _)| *name);
        let list = list.unwrap_or_else(|| panic!("{place} has retriers of its own: {}", task["Retry"]));
        let (file, state) = place.split_once('/').expect("a file and a state");
        assert_eq!(list == "inside the outage", outage.contains(&state), "{place}");
        assert_eq!(list == "undo-instance, for a day", file == "undo-instance.asl.json", "{place}");
        used.insert(list);
    }
    assert_eq!(used, lists.keys().copied().collect(), "lists that nothing uses");
}

/// A list of texts in the plan's source.
fn fields_of_the_plan(name: &str) -> BTreeSet<String> {
    let text = read("crates/plan/src/input.rs");
    let (_, list) = text.split_once(&format!("const {name}: &[&str] = &[")).expect("a list");
    let (list, _) = list.split_once("];").expect("an end");
    // What names one instance, or what is made of it, means nothing for many.
    let of_one = ["instance_id", "plan_only", "resume", "target_instance_id"];
    list.split('"').skip(1).step_by(2).filter(|field| !of_one.contains(field)).map(str::to_owned).collect()
}

#[test]
fn a_fleet_takes_every_field_of_an_execution_that_names_no_instance() {
    let set = |fields: &[&str]| fields.iter().map(|field| (*field).to_owned()).collect::<BTreeSet<_>>();
    let mut all = set(find_unencrypted::FOR_EVERY_WAY);
    for (way, name) in find_unencrypted::WAYS.iter().zip(["SNAPSHOT_FIELDS", "BLUE_GREEN_FIELDS"]) {
        assert_eq!(set(way.fields), fields_of_the_plan(name), "{}", way.name);
        all.extend(set(way.fields));
    }
    // It replicates no instance: each would want a login of its own.
    all.extend(fields_of_the_plan("ONLINE_FIELDS"));
    all.extend(fields_of_the_plan("LOGIN_FIELDS"));
    // And these are for executions that start others: it says itself that its own do not mail.
    all.extend(set(&["on_behalf_of", "notify"]));
    assert_eq!(all, fields_of_the_plan("FIELDS"));
}

/// A step that changes something, and what the undo does about it, stand side by side in one table.
#[test]
fn every_step_of_the_undos_table_is_a_state_and_architecture_shows_it() {
    let states: Vec<String> = tasks().into_iter().map(|(place, _)| place).collect();
    let architecture = read("ARCHITECTURE.md");
    for step in undo::STEPS {
        let machine = match step.way {
            Way::Snapshot => "encrypt-instance",
            Way::BlueGreen => "encrypt-blue-green",
            Way::Online => "encrypt-online",
        };
        let state = format!("{machine}.asl.json/{}", step.state);
        assert!(states.contains(&state), "{} is no Task of the machine", step.state);
        assert!(
            architecture.contains(&format!("\n| {} | ", step.state)),
            "ARCHITECTURE.md has no row for {}",
            step.state
        );
    }
}

#[test]
fn every_error_that_is_retried_or_caught_exists() {
    let known = error_names();
    for (place, task) in tasks() {
        let rules = ["Retry", "Catch"].into_iter().filter_map(|list| task.get(list)?.as_array()).flatten();
        for name in rules.flat_map(|rule| names(&rule["ErrorEquals"])) {
            let theirs = [INFRASTRUCTURE, RESERVED, OF_SNS, OF_STEP_FUNCTIONS]
                .iter()
                .any(|names| names.contains(&name.as_str()));
            assert!(theirs || known.contains(&name), "{place} matches {name}, which nothing raises");
        }
    }
}

/// Of two fields of one name JSON keeps the last, in silence.
#[test]
fn every_state_stands_once_in_its_file() {
    for (file, definition) in state_machines() {
        let text = read(&format!("statemachine/{file}"));
        for name in definition["States"].as_object().expect("States").keys() {
            let count = text.matches(&format!("\n    \"{name}\": {{")).count();
            assert_eq!(count, 1, "{file} defines {name} {count} times");
        }
    }
}

#[test]
fn states_all_stands_alone_and_last() {
    for (place, task) in tasks() {
        for list in ["Retry", "Catch"] {
            let rules: Vec<Vec<String>> = task
                .get(list)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(|rule| names(&rule["ErrorEquals"]))
                .collect();
            for (position, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.contains(&"States.ALL".to_owned()))
            {
                assert_eq!((rule.len(), position + 1, list), (1, rules.len(), "Catch"), "{place}");
            }
        }
    }
}

#[test]
fn a_loop_that_waits_leads_back_to_a_look() {
    for (place, state) in states().into_iter().filter(|(_, state)| state["Type"] == "Wait") {
        // A person's answer comes nearer by no pace: seven days are 672 looks.
        let is_fixed = state.get("Seconds") == Some(&json!(900)) && place.ends_with("/AwaitApproval/WaitForApproval");
        assert!(state.contains_key("SecondsPath") || is_fixed, "{place} waits for a fixed time");
        let (machine, _) = place.rsplit_once('/').expect("a machine");
        let back = format!("{machine}/{}", state["Next"].as_str().expect("Next"));
        assert!(tasks().iter().any(|(task, _)| *task == back), "{place} leads to {back}");
    }
}

#[test]
fn every_failure_carries_its_error() {
    for (place, state) in states().into_iter().filter(|(_, state)| state["Type"] == "Fail") {
        assert!(state.contains_key("Error") || state.contains_key("ErrorPath"), "{place}");
        assert!(state.contains_key("Cause") || state.contains_key("CausePath"), "{place}");
        // "Custom Error Names MUST NOT begin with 'States.'"
        assert!(
            !state.get("Error").is_some_and(|name| name.as_str().unwrap_or_default().starts_with("States.")),
            "{place}"
        );
    }
}

#[test]
fn every_substitution_is_defined_and_used() {
    let machines = resources_of_type("AWS::StepFunctions::StateMachine");
    for (file, definition) in state_machines() {
        let text = definition.to_string();
        let used: BTreeSet<&str> =
            text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect();
        let location = format!("statemachine/{file}");
        let machine = machines
            .values()
            .find(|machine| machine["Properties"]["DefinitionS3Location"] == location.as_str())
            .unwrap_or_else(|| panic!("no resource of the template has the definition {file}"));
        let substitutions = machine["Properties"]["DefinitionSubstitutions"].as_mapping().expect("substitutions");
        let defined: BTreeSet<&str> = substitutions.keys().filter_map(Yaml::as_str).collect();
        assert_eq!(used, defined, "{file}");
    }
}

/// The machines' own roles are not judged where they are tested.
#[test]
fn a_machine_may_invoke_its_functions_and_no_other() {
    let roles = resources_of_type("AWS::IAM::Role");
    for (name, machine) in resources_of_type("AWS::StepFunctions::StateMachine") {
        let properties = &machine["Properties"];
        let substitutions = properties["DefinitionSubstitutions"].as_mapping().expect("substitutions");
        let called =
            substitutions.iter().filter(|(name, _)| name.as_str().is_some_and(|name| name.ends_with("FunctionArn")));
        let invoked: BTreeSet<&str> = called.map(|(_, arn)| version_of(arn).expect("a version")).collect();
        let role = &roles[arn_of(&properties["RoleArn"]).expect("a role of the template")];
        let statements = role["Properties"]["Policies"][0]["PolicyDocument"]["Statement"].as_sequence();
        let invoke = |statement: &&Yaml| statement["Action"] == "lambda:InvokeFunction";
        let statement = statements.and_then(|statements| statements.iter().find(invoke)).expect("a statement");
        let allowed = statement["Resource"].as_sequence().expect("functions");
        assert_eq!(allowed.iter().filter_map(any_version_of).collect::<BTreeSet<_>>(), invoked, "{name}");
        assert_eq!(allowed.len(), invoked.len(), "{name}");
    }
}

#[test]
fn every_bad_end_of_a_machine_raises_an_alarm() {
    let mut watched = BTreeSet::new();
    for (name, alarm) in resources_of_type("AWS::CloudWatch::Alarm") {
        let properties = &alarm["Properties"];
        assert_eq!(tagged(&properties["AlarmActions"][0], "Ref"), Some(&"NotificationTopic".into()), "{name}");
        let watches = tagged(&properties["Dimensions"][0]["Value"], "Ref").and_then(Yaml::as_str).map(str::to_owned);
        watched.insert((watches, properties["MetricName"].as_str().expect("a metric").to_owned()));
    }
    for machine in resources_of_type("AWS::StepFunctions::StateMachine").into_keys() {
        for metric in ["ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"] {
            let alarm = (Some(machine.clone()), metric.to_owned());
            assert!(watched.contains(&alarm), "no alarm tells of {metric} of {machine}");
        }
    }
}

#[test]
fn the_dashboard_shows_every_machine_every_metric_of_ours_and_every_alarm() {
    let dashboard = &resources()["Dashboard"]["Properties"]["DashboardBody"];
    let body = tagged(dashboard, "Sub").and_then(Yaml::as_str).expect("a text");
    let parsed: Value = serde_json::from_str(body).expect("JSON");
    assert!(parsed["widgets"].as_array().is_some_and(|widgets| widgets.len() > 4));
    for machine in resources_of_type("AWS::StepFunctions::StateMachine").into_keys() {
        assert!(body.contains(&format!("${{{machine}}}")), "no widget of {machine}");
    }
    for (name, alarm) in resources_of_type("AWS::CloudWatch::Alarm") {
        // What is not always there has no ARN to name.
        let is_shown = body.contains(&format!("${{{name}.Arn}}"));
        assert_eq!(is_shown, alarm["Condition"].is_null(), "{name}");
    }
    for file in ["find-unencrypted", "report-fleet"].map(|step| format!("crates/{step}/src/metric.rs")) {
        let text = read(&file);
        let name = text.split("const NAME: &str = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a name");
        assert!(body.contains(name), "no widget of {name}");
    }
}

/// An alarm looks back a week at most ("Create a CloudWatch alarm": evaluation periods by period).
#[test]
fn an_alarm_tells_of_instances_that_are_left_for_as_long_as_the_parameter_says() {
    let alarm = &resources()["UnencryptedAlarm"]["Properties"];
    assert!(read("crates/find-unencrypted/src/metric.rs").contains(alarm["MetricName"].as_str().expect("a metric")));
    assert_eq!(tagged(&alarm["EvaluationPeriods"], "Ref"), Some(&"UnencryptedDays".into()));
    // None in the day's least: a day without any ends it.
    assert_eq!((&alarm["Statistic"], &alarm["Threshold"]), (&"Minimum".into(), &0.into()));
    let day = 24 * 60 * 60;
    assert_eq!(alarm["Period"], Yaml::from(day));
    let longest = template()["Parameters"]["UnencryptedDays"]["MaxValue"].as_i64().expect("a number");
    assert!(longest * day <= 7 * day);
}

/// The resources whose ARNs a condition names: one, or several.
fn sources(value: &Yaml) -> Vec<Option<&str>> {
    value.as_sequence().map_or_else(|| vec![arn_of(value)], |values| values.iter().map(arn_of).collect())
}

/// The local cloud delivers every event, so nothing there comes into the queue.
#[test]
fn what_a_rule_cannot_start_is_kept_and_raises_an_alarm() {
    let policies = resources_of_type("AWS::SQS::QueuePolicy");
    let alarms = resources_of_type("AWS::CloudWatch::Alarm");
    for (rule, resource) in resources_of_type("AWS::Events::Rule") {
        for target in resource["Properties"]["Targets"].as_sequence().expect("targets") {
            let queue = arn_of(&target["DeadLetterConfig"]["Arn"]).expect("a queue of the template");
            let lets_the_rule_send = policies.values().any(|policy| {
                let statement = &policy["Properties"]["PolicyDocument"]["Statement"][0];
                statement["Action"] == "sqs:SendMessage"
                    && arn_of(&statement["Resource"]) == Some(queue)
                    && sources(&statement["Condition"]["ArnEquals"]["aws:SourceArn"]).contains(&Some(rule.as_str()))
            });
            assert!(lets_the_rule_send, "{rule} may not send to {queue}");
            let name = Yaml::from(format!("{queue}.QueueName"));
            let watches =
                |alarm: &Yaml| tagged(&alarm["Properties"]["Dimensions"][0]["Value"], "GetAtt") == Some(&name);
            assert!(alarms.values().any(watches), "no alarm tells of what is in {queue}");
        }
    }
}

/// Where a resource says under which key it keeps its data; None if it keeps none.
fn key_property(kind: &str) -> Option<&'static str> {
    match kind {
        "AWS::StepFunctions::StateMachine" => Some("EncryptionConfiguration"),
        "AWS::Logs::LogGroup" => Some("KmsKeyId"),
        "AWS::SNS::Topic" | "AWS::SQS::Queue" => Some("KmsMasterKeyId"),
        "AWS::S3::Bucket" => Some("BucketEncryption"),
        // A function keeps nothing between calls, and no secret in its environment.
        "AWS::Serverless::Function" => None,
        "AWS::CloudWatch::Alarm" | "AWS::CloudWatch::Dashboard" | "AWS::Events::Rule" | "AWS::IAM::Role" => None,
        // What it passes is the same for everybody.
        "AWS::Scheduler::Schedule" => None,
        "AWS::S3::BucketPolicy" => None,
        "AWS::SNS::Subscription" | "AWS::SNS::TopicPolicy" | "AWS::SQS::QueuePolicy" => None,
        other => panic!("does {other} keep data? Then it belongs under the customer key"),
    }
}

#[test]
fn whatever_keeps_data_keeps_it_under_the_customer_key_if_one_is_given() {
    for (name, resource) in resources() {
        let Some(property) = key_property(resource["Type"].as_str().expect("a type")) else { continue };
        let choice = tagged(&resource["Properties"][property], "If");
        let choice = choice.unwrap_or_else(|| panic!("{name} has no {property} that depends on the customer key"));
        assert_eq!(choice[0], "HasDataKmsKey", "{name}");
        // A machine's key is one field of several, and a bucket's stands in a list of rules.
        let rule = &choice[1]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"];
        let key = choice[1].get("KmsKeyId").or_else(|| rule.get("KMSMasterKeyID")).unwrap_or(&choice[1]);
        assert_eq!(tagged(key, "Ref"), Some(&"DataKmsKeyArn".into()), "{name}");
    }
}

#[test]
fn every_crate_of_a_step_is_a_function_with_a_state_and_names_itself() {
    let functions = resources_of_type("AWS::Serverless::Function");
    let architecture = read("ARCHITECTURE.md");
    let steps = step_crates();
    assert_eq!(functions.len(), steps.len(), "functions and crates of steps");
    for step in steps {
        let words: String = step.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        let resource = format!("{words}Function");
        let function = functions.get(&resource);
        let function = function.unwrap_or_else(|| panic!("template.yaml has no {resource} for crates/{step}"));
        assert_eq!(function["Metadata"]["BuildProperties"]["Binary"], step.as_str(), "{resource}");
        let app_id = &function["Properties"]["Environment"]["Variables"]["AWS_SDK_UA_APP_ID"];
        assert_eq!(*app_id, format!("rds-encrypt.{step}").as_str(), "{resource} does not tell AWS which step calls");
        let substitution = format!("${{{resource}Arn}}");
        let calls = |task: &Map<String, Value>| {
            task["Resource"] == substitution || task["Parameters"]["FunctionName"] == substitution
        };
        assert!(tasks().iter().any(|(_, task)| calls(task)), "no state calls {resource}");
        let row = format!("\n| `{step}` | ");
        assert!(architecture.contains(&row), "ARCHITECTURE.md has no row for the crate {step}");
    }
}

#[test]
fn the_plan_may_ask_what_the_table_of_settings_says_that_it_asks() {
    let role = serde_norway::to_string(&resources()["PlanFunction"]["Properties"]["Policies"]).expect("YAML");
    for field in settings::TABLE {
        if let Refused::Asked { action, .. } = field.refused {
            assert!(role.lines().any(|line| line.ends_with(&format!(" {action}"))), "{}: {action}", field.name);
        }
    }
}

/// What a crate's manifest names, dependencies among it.
fn keys_of_manifest(name: &str) -> Vec<String> {
    let manifest = read(&format!("crates/{name}/Cargo.toml"));
    manifest.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).map(str::to_owned).collect()
}

#[test]
fn a_step_depends_on_no_other_step() {
    let steps = step_crates();
    for step in &steps {
        let keys = keys_of_manifest(step);
        assert_eq!(keys.iter().find(|key| steps.contains(key)), None, "{step} depends on another step");
    }
}

#[test]
fn a_floor_stands_on_those_below_it_alone() {
    let floors = [
        &["waiting", "window"][..],
        &["workflow"],
        &["settings", "databases", "dms", "bucket"],
        &["postgres", "mariadb"],
    ];
    for (number, floor) in floors.iter().enumerate() {
        let not_below = floors[number..].concat();
        for name in *floor {
            let keys = keys_of_manifest(name);
            assert_eq!(keys.iter().find(|key| not_below.contains(&key.as_str())), None, "{name} stands on it");
        }
    }
    assert!(!keys_of_manifest("waiting").iter().any(|key| key.starts_with("aws-")), "waiting knows AWS");
}

#[test]
fn no_function_has_a_fixed_name() {
    for (name, function) in resources_of_type("AWS::Serverless::Function") {
        assert!(function["Properties"].get("FunctionName").is_none(), "{name}: stacks must coexist");
    }
}

/// What a value of the template depends on, by name.
fn references(value: &Yaml) -> BTreeSet<String> {
    match value {
        Yaml::Sequence(values) => values.iter().flat_map(references).collect(),
        Yaml::Mapping(fields) => fields.values().flat_map(references).collect(),
        Yaml::Tagged(tagged) if tagged.tag == "Ref" => tagged.value.as_str().map(str::to_owned).into_iter().collect(),
        Yaml::Tagged(tagged) if tagged.tag == "If" => {
            let condition = tagged.value[0].as_str().map(str::to_owned);
            references(&tagged.value).into_iter().chain(condition).collect()
        }
        Yaml::Tagged(tagged) => references(&tagged.value),
        // Within !Sub.
        Yaml::String(text) => {
            text.split("${").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.to_owned())).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// SAM publishes a version of a function whose text has changed, and takes no notice of a parameter's value.
#[test]
fn what_versions_are_published_of_depends_on_no_parameter() {
    let template = template();
    let names = |section: &str| -> BTreeSet<String> {
        template[section].as_mapping().expect(section).keys().filter_map(Yaml::as_str).map(str::to_owned).collect()
    };
    let mut changing: BTreeSet<String> = names("Parameters").union(&names("Conditions")).cloned().collect();
    // For another processor the code is another, too.
    changing.remove("Architecture");
    let all = &template["Globals"]["Function"];
    assert_eq!(all["AutoPublishAliasAllProperties"], true);
    let functions = resources_of_type("AWS::Serverless::Function");
    let functions = functions.iter().map(|(name, function)| (name.as_str(), &function["Properties"]));
    for (name, properties) in functions.chain([("Globals", all)]) {
        // The role is the same for all versions; a VPC can stand nowhere else.
        let elsewhere = ["Policies", "VpcConfig"];
        let fields = properties.as_mapping().expect("properties").iter();
        let versioned = fields.filter(|(field, _)| field.as_str().is_none_or(|field| !elsewhere.contains(&field)));
        let depends: BTreeSet<String> = versioned.flat_map(|(_, value)| references(value)).collect();
        let depends: Vec<_> = depends.intersection(&changing).collect();
        assert!(depends.is_empty(), "{name} depends on {depends:?}: pass it on in a definition's substitutions");
    }
}
