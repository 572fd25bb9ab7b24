//! The state machine, the template and the crates agree with each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use serde_norway::Value as Yaml;
use strum::VariantNames;

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

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The template's resources, by name.
fn resources() -> BTreeMap<String, Yaml> {
    let template: Yaml = serde_norway::from_str(&read("template.yaml")).expect("YAML");
    serde_norway::from_value(template["Resources"].clone()).expect("resources")
}

pub(crate) fn resources_of_type(kind: &str) -> BTreeMap<String, Yaml> {
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

/// Each state machine's file name and definition.
fn state_machines() -> Vec<(String, Value)> {
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

fn tasks() -> Vec<(String, Map<String, Value>)> {
    states().into_iter().filter(|(_, state)| state["Type"] == "Task").collect()
}

/// Whether a Task calls one of our functions; the others are integrations with AWS services.
fn is_function(task: &Map<String, Value>) -> bool {
    task["Resource"].as_str().is_some_and(|resource| resource.starts_with("${"))
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The names of the error enum.
fn error_names() -> BTreeSet<String> {
    workflow::Error::VARIANTS.iter().map(|name| (*name).to_owned()).collect()
}

fn step_crates() -> Vec<String> {
    let folder = fs::read_dir(repository().join("crates")).expect("the folder crates");
    let names = folder.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "workflow").collect()
}

#[test]
fn every_machine_has_a_time_limit_and_every_path_leads_somewhere() {
    for (file, definition) in state_machines() {
        assert!(definition["TimeoutSeconds"].is_u64(), "{file} has no TimeoutSeconds");
        let states = definition["States"].as_object().expect("states");
        let mut reached = BTreeSet::from([definition["StartAt"].as_str().expect("StartAt").to_owned()]);
        for (name, state) in states {
            let mut targets: Vec<&Value> = vec![&state["Next"], &state["Default"]];
            for list in ["Choices", "Catch"] {
                targets.extend(state[list].as_array().into_iter().flatten().map(|rule| &rule["Next"]));
            }
            for target in targets.into_iter().filter_map(Value::as_str) {
                assert!(states.contains_key(target), "{file}: {name} goes on to {target}, which does not exist");
                reached.insert(target.to_owned());
            }
        }
        let all: BTreeSet<String> = states.keys().cloned().collect();
        assert_eq!(all, reached, "{file}: states that nothing leads to");
    }
}

#[test]
fn every_task_says_why_and_has_a_time_limit_a_retry_and_a_catch() {
    for (place, task) in tasks() {
        for field in ["Comment", "Retry", "Catch"] {
            assert!(task.contains_key(field), "{place} has no {field}");
        }
        let limited = task.contains_key("TimeoutSeconds") || task.contains_key("TimeoutSecondsPath");
        assert!(limited, "{place} has no time limit");
    }
}

#[test]
fn every_function_is_retried_for_the_same_infrastructure_errors() {
    for (place, task) in tasks().into_iter().filter(|(_, task)| is_function(task)) {
        assert_eq!(names(&task["Retry"][0]["ErrorEquals"]), INFRASTRUCTURE, "{place}");
        assert_eq!(task["Retry"][0]["BackoffRate"], 2, "{place}");
        assert_eq!(task["Retry"][0]["JitterStrategy"], "FULL", "{place}");
    }
}

#[test]
fn every_error_that_is_retried_or_caught_exists() {
    let known = error_names();
    for (place, task) in tasks() {
        let rules = ["Retry", "Catch"].into_iter().flat_map(|list| task[list].as_array().into_iter().flatten());
        for name in rules.flat_map(|rule| names(&rule["ErrorEquals"])) {
            // The errors of the SNS integration begin with its name.
            let reserved = name.starts_with("States.") || name.starts_with("SNS.");
            let theirs = reserved || INFRASTRUCTURE.contains(&name.as_str());
            assert!(theirs || known.contains(&name), "{place} matches {name}, which nothing raises");
        }
    }
}

#[test]
fn states_all_stands_alone_and_last() {
    for (place, task) in tasks() {
        for list in ["Retry", "Catch"] {
            let rules: Vec<Vec<String>> =
                task[list].as_array().into_iter().flatten().map(|rule| names(&rule["ErrorEquals"])).collect();
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
        assert!(state.contains_key("SecondsPath"), "{place} waits for a fixed time");
        let back = state["Next"].as_str().expect("Next");
        assert!(tasks().iter().any(|(task, _)| task.ends_with(&format!("/{back}"))), "{place} leads to {back}");
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

/// IAM is not enforced where the machines are tested.
#[test]
fn a_machine_may_invoke_its_functions_and_no_other() {
    let roles = resources_of_type("AWS::IAM::Role");
    for (name, machine) in resources_of_type("AWS::StepFunctions::StateMachine") {
        let properties = &machine["Properties"];
        let substitutions = properties["DefinitionSubstitutions"].as_mapping().expect("substitutions");
        let invoked: BTreeSet<&str> = substitutions.values().filter_map(arn_of).collect();
        let role = &roles[arn_of(&properties["RoleArn"]).expect("a role of the template")];
        let statements = role["Properties"]["Policies"][0]["PolicyDocument"]["Statement"].as_sequence();
        let invoke = |statement: &&Yaml| statement["Action"] == "lambda:InvokeFunction";
        let statement = statements.and_then(|statements| statements.iter().find(invoke)).expect("a statement");
        let allowed = statement["Resource"].as_sequence().expect("functions");
        assert_eq!(allowed.iter().filter_map(arn_of).collect::<BTreeSet<_>>(), invoked, "{name}");
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

/// The local cloud delivers every event, so nothing there comes into the queue.
#[test]
fn an_undo_that_cannot_be_started_is_kept_and_raises_an_alarm() {
    let policies = resources_of_type("AWS::SQS::QueuePolicy");
    let alarms = resources_of_type("AWS::CloudWatch::Alarm");
    for (rule, resource) in resources_of_type("AWS::Events::Rule") {
        for target in resource["Properties"]["Targets"].as_sequence().expect("targets") {
            let queue = arn_of(&target["DeadLetterConfig"]["Arn"]).expect("a queue of the template");
            let lets_the_rule_send = policies.values().any(|policy| {
                let statement = &policy["Properties"]["PolicyDocument"]["Statement"][0];
                statement["Action"] == "sqs:SendMessage"
                    && arn_of(&statement["Resource"]) == Some(queue)
                    && arn_of(&statement["Condition"]["ArnEquals"]["aws:SourceArn"]) == Some(&rule)
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
        // A function keeps nothing between calls, and no secret in its environment.
        "AWS::Serverless::Function" => None,
        "AWS::CloudWatch::Alarm" | "AWS::Events::Rule" | "AWS::IAM::Role" => None,
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
        // A machine's key is one field of several.
        let key = choice[1].get("KmsKeyId").unwrap_or(&choice[1]);
        assert_eq!(tagged(key, "Ref"), Some(&"DataKmsKeyArn".into()), "{name}");
    }
}

#[test]
fn every_crate_of_a_step_is_a_function_with_a_state_and_names_itself() {
    let template = read("template.yaml");
    let architecture = read("ARCHITECTURE.md");
    for step in step_crates() {
        let words: String = step.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        let resource = format!("{words}Function");
        assert!(template.contains(&format!("\n  {resource}:\n")), "template.yaml has no {resource} for crates/{step}");
        assert!(template.contains(&format!("Binary: {step}}}")), "no function is built from crates/{step}");
        assert!(
            template.contains(&format!("AWS_SDK_UA_APP_ID: rds-encrypt.{step}\n")),
            "{resource} does not tell AWS which step calls"
        );
        let substitution = format!("${{{resource}Arn}}");
        assert!(
            tasks().iter().any(|(_, task)| task["Resource"].as_str().unwrap_or_default() == substitution
                || task["Parameters"].to_string().contains(&substitution)),
            "no state calls {resource}"
        );
        assert!(architecture.contains(&format!("`{step}`")), "ARCHITECTURE.md does not name the crate {step}");
    }
}

#[test]
fn a_step_depends_on_no_other_step() {
    let steps = step_crates();
    for step in &steps {
        let manifest = read(&format!("crates/{step}/Cargo.toml"));
        for other in steps.iter().filter(|other| *other != step) {
            assert!(!manifest.contains(&format!("\n{other}.workspace")), "{step} depends on {other}");
            assert!(!manifest.contains(&format!("../{other}")), "{step} depends on {other}");
        }
    }
}

#[test]
fn no_function_has_a_fixed_name() {
    let template = read("template.yaml");
    assert!(
        !template.contains("FunctionName: rds") && !template.contains("\n      FunctionName:"),
        "stacks must coexist"
    );
}
