//! A local cloud for the tests: `tests/local/cloud.py`, with the built template deployed to it.
//!
//! The clouds end with this process, however it ends: they serve until their input closes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum};
use aws_sdk_rds::types::DbInstance;
use aws_sdk_sfn::types::{ExecutionStatus, HistoryEvent};
use databases::{Access, Servers};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;
use workflow::online::Login;

use crate::contract::step_crates;
use crate::dataflow::assert_answers_hold;
use crate::permissions::refused;

/// How long an AWS second lasts. Small enough for quick tests, large enough to see every status.
const TIME_SCALE: f64 = 0.005;
/// Longer than any execution of the tests; one that hangs fails with its history.
pub(crate) const EXECUTION_SECONDS_MAX: u64 = 300;
const SERVER_ERRORS_MAX: u32 = 5;

/// Where the local cloud says that it is (`tests/local/cloud.py`).
pub(crate) const REGION: &str = "ap-northeast-1";
pub(crate) const ACCOUNT: &str = "123456789012";

/// What kind of cloud a test wants.
pub(crate) struct Setup<'a> {
    /// `postgres`: a server behind each instance of that engine; `files`: none.
    pub(crate) storage: &'a str,
    /// How long an AWS second lasts.
    pub(crate) time_scale: f64,
    /// The template's, as NAME=VALUE.
    pub(crate) parameters: &'a [&'a str],
    /// What the functions find in their environment instead of what the template gives them, as NAME=VALUE.
    pub(crate) variables: &'a [&'a str],
    /// What the functions find in their environment besides what the template gives them.
    pub(crate) environment: &'a [(&'a str, &'a str)],
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self { storage: "postgres", time_scale: TIME_SCALE, parameters: &[], variables: &[], environment: &[] }
    }
}

/// A running cloud's processes; they end when the input closes.
pub(crate) struct Running {
    _input: ChildStdin,
    _process: Child,
    description: Value,
    outputs: Value,
}

/// A test's own clients to a cloud.
#[derive(Clone)]
pub(crate) struct Cloud {
    endpoint: String,
    services_endpoint: String,
    state_machine: String,
    blue_green_state_machine: String,
    online_state_machine: String,
    verify_data_state_machine: String,
    undo_state_machine: String,
    fleet_state_machine: String,
    bucket: String,
    topic: String,
    /// The line that describes the cloud.
    description: String,
    cloudwatch: aws_sdk_cloudwatch::Client,
    /// Step Functions of moto: the second, stricter interpreter.
    strict_sfn: aws_sdk_sfn::Client,
    pub(crate) rds: aws_sdk_rds::Client,
    pub(crate) kms: aws_sdk_kms::Client,
    pub(crate) dms: aws_sdk_databasemigration::Client,
    secrets: aws_sdk_secretsmanager::Client,
    config: SdkConfig,
    pub(crate) sfn: aws_sdk_sfn::Client,
}

/// A subscriber of the stack's topic.
pub(crate) struct Inbox {
    lines: BufReader<ChildStdout>,
    process: Child,
}

impl Inbox {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }

    /// The next notification that is about a DB instance.
    pub(crate) fn next_about(&mut self, instance_id: &str) -> Value {
        self.next_of(&format!(": {instance_id} "))
    }

    /// The next notification whose subject has these words.
    pub(crate) fn next_of(&mut self, words: &str) -> Value {
        self.until(words).pop().expect("a notification")
    }

    /// All notifications up to that one.
    pub(crate) fn until(&mut self, words: &str) -> Vec<Value> {
        let mut mails: Vec<Value> = vec![];
        while !mails.last().is_some_and(|mail| mail["subject"].as_str().expect("a subject").contains(words)) {
            mails.push(serde_json::from_str(&self.line()).expect("JSON"));
        }
        mails
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How an execution ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) execution: String,
    pub(crate) status: ExecutionStatus,
    pub(crate) output: Value,
    pub(crate) error: String,
    pub(crate) cause: String,
}

impl Outcome {
    #[track_caller]
    pub(crate) fn succeeded(&self) -> &Value {
        assert_eq!(self.status, ExecutionStatus::Succeeded, "{self:#?}");
        &self.output
    }

    #[track_caller]
    pub(crate) fn failed(&self, error: &str) -> &str {
        assert_eq!((&self.status, self.error.as_str()), (&ExecutionStatus::Failed, error), "{self:#?}");
        &self.cause
    }
}

impl Running {
    pub(crate) fn start(setup: &Setup) -> Self {
        let mut process = python()
            .args(["tests/local/cloud.py", "run", "--until-stdin-closes", "--storage", setup.storage])
            .args(["--time-scale", &setup.time_scale.to_string()])
            .envs(setup.environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the local cloud: run `make setup` first");
        let mut description = String::new();
        let mut lines = BufReader::new(process.stdout.take().expect("piped"));
        lines.read_line(&mut description).expect("the cloud's description");
        let outputs = deploy(&description, &built(), setup.parameters, setup.variables);
        let description: Value = serde_json::from_str(&description).expect("the cloud's description as JSON");
        // A function whose role is not known there is not judged at all.
        let services = description["services_endpoint"].as_str().expect("an endpoint");
        let roles = request("GET", &format!("{services}/local/roles"), &json!({}));
        assert_eq!(roles.as_object().map(Map::len), Some(step_crates().len()), "the functions whose roles are judged");
        Self { outputs, description, _input: process.stdin.take().expect("piped"), _process: process }
    }

    /// What the cloud keeps in files, which ends with it.
    pub(crate) fn folder(&self) -> &Path {
        Path::new(self.description["folder"].as_str().expect("a folder"))
    }

    /// The same with other parameters.
    pub(crate) fn deploy(&self, parameters: &[&str]) {
        deploy(&self.description.to_string(), &built(), parameters, &[]);
    }

    /// Deploys over what is there.
    pub(crate) fn update(&self, build: &Path, variables: &[&str]) {
        deploy(&self.description.to_string(), build, &[], variables);
    }
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn python() -> Command {
    let mut command = Command::new(repository().join(".local/cloud/bin/python"));
    command.current_dir(repository());
    command
}

impl Cloud {
    /// The cloud that tests share: each uses instances of its own.
    ///
    /// The clients are each test's own, and leaked: connections belong to the runtime of one test.
    pub(crate) async fn shared() -> &'static Self {
        static RUNNING: OnceCell<Running> = OnceCell::const_new();
        let running = RUNNING.get_or_init(|| async { Running::start(&Setup::default()) }).await;
        let cloud = Box::leak(Box::new(Self::connect(running).await));
        // All tests together have more instances than an account may.
        let quotas = json!({"DBInstances": 10_000, "ManualSnapshots": 10_000, "AllocatedStorage": 10_000_000});
        cloud.control("PATCH", "settings", json!({"quotas": quotas}));
        cloud
    }

    pub(crate) async fn connect(running: &Running) -> Self {
        let text = |name: &str| running.description[name].as_str().expect(name).to_owned();
        let output = |name: &str| running.outputs[name].as_str().expect(name).to_owned();
        let services = configuration(&running.description, &text("services_endpoint")).await;
        let main = configuration(&running.description, &text("endpoint")).await;
        Self {
            endpoint: text("endpoint"),
            services_endpoint: text("services_endpoint"),
            state_machine: output("StateMachineArn"),
            blue_green_state_machine: output("BlueGreenStateMachineArn"),
            online_state_machine: output("OnlineStateMachineArn"),
            verify_data_state_machine: output("VerifyDataStateMachineArn"),
            undo_state_machine: output("UndoStateMachineArn"),
            fleet_state_machine: output("FleetStateMachineArn"),
            bucket: output("FleetBucketName"),
            topic: output("NotificationTopicArn"),
            description: format!("{}\n", running.description),
            cloudwatch: aws_sdk_cloudwatch::Client::new(&services),
            strict_sfn: aws_sdk_sfn::Client::new(&services),
            rds: aws_sdk_rds::Client::new(&services),
            kms: aws_sdk_kms::Client::new(&services),
            dms: aws_sdk_databasemigration::Client::new(&services),
            secrets: aws_sdk_secretsmanager::Client::new(&main),
            config: main.clone(),
            sfn: aws_sdk_sfn::Client::new(&main),
        }
    }

    /// The same cloud, whose executions run on the second interpreter.
    pub(crate) async fn strict() -> Self {
        let cloud = Self::shared().await;
        let copied = async |machine: &str, nested: Option<(&str, &str)>| {
            copied(&cloud.sfn, machine, &cloud.strict_sfn, nested).await
        };
        let verify_data = copied(&cloud.verify_data_state_machine, None).await;
        let state_machine = copied(&cloud.state_machine, Some((&cloud.verify_data_state_machine, &verify_data))).await;
        Self {
            blue_green_state_machine: copied(&cloud.blue_green_state_machine, None).await,
            online_state_machine: copied(&cloud.online_state_machine, Some((&cloud.state_machine, &state_machine)))
                .await,
            undo_state_machine: copied(&cloud.undo_state_machine, None).await,
            verify_data_state_machine: verify_data,
            state_machine,
            sfn: cloud.strict_sfn.clone(),
            ..cloud.clone()
        }
    }

    /// The same cloud, whose executions go the way by a blue/green deployment.
    pub(crate) fn by_blue_green(&self) -> Self {
        Self { state_machine: self.blue_green_state_machine.clone(), ..self.clone() }
    }

    /// The same cloud, whose executions replicate.
    pub(crate) fn online(&self) -> Self {
        Self { state_machine: self.online_state_machine.clone(), ..self.clone() }
    }

    /// As the functions reach the servers, and with that login.
    pub(crate) fn servers(&self, secret_arn: &Value) -> (Servers, Access) {
        let roots = self.control("GET", "", json!({}))["database_roots"].as_str().expect("PEM").to_owned();
        let login = Login::SecretArn(secret_arn.as_str().expect("an ARN").to_owned());
        let access = Access { login, extra_roots: roots };
        (Servers { rds: self.rds.clone(), secrets: self.secrets.clone(), config: self.config.clone() }, access)
    }

    /// A secret with a login, as the functions read it; its ARN. It stays when the instance goes, whose name another
    /// test can give to its own.
    pub(crate) fn login(&self, id: &str, user: &str, password: &str, key: Option<&str>) -> String {
        static LOGINS: AtomicU32 = AtomicU32::new(0);
        let name = format!("rds-encrypt/{id}-{}", LOGINS.fetch_add(1, Ordering::Relaxed));
        let text = json!({"username": user, "password": password}).to_string();
        let secret = json!({"Name": name, "SecretString": text, "KmsKeyId": key});
        let made = self.json_call("secretsmanager", "secretsmanager.CreateSecret", &secret).expect("a secret");
        made["ARN"].as_str().expect("an ARN").to_owned()
    }

    /// The same cloud with a state machine that no rule watches: its ends start no undo.
    pub(crate) async fn unwatched() -> Self {
        let cloud = Self::shared().await;
        Self { state_machine: copied(&cloud.sfn, &cloud.state_machine, &cloud.sfn, None).await, ..cloud.clone() }
    }

    /// Of everything but the services that `services_endpoint` answers.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(crate) fn state_machine(&self) -> &str {
        &self.state_machine
    }

    pub(crate) fn undo_state_machine(&self) -> &str {
        &self.undo_state_machine
    }

    pub(crate) fn fleet_state_machine(&self) -> &str {
        &self.fleet_state_machine
    }

    /// RDS's metric of client connections in the minute that holds a time (seconds since the epoch).
    pub(crate) async fn put_connections(&self, id: &str, seconds: u64, count: f64) {
        let dimension = Dimension::builder().name("DBInstanceIdentifier").value(id).build();
        let datum = MetricDatum::builder().metric_name("DatabaseConnections").dimensions(dimension).value(count);
        let datum = datum.timestamp(DateTime::from_secs(seconds.cast_signed())).build();
        let call = self.cloudwatch.put_metric_data().namespace("AWS/RDS").metric_data(datum);
        call.send().await.expect("a datapoint");
    }

    pub(crate) async fn start_execution(&self, input: &str) -> String {
        let call = self.sfn.start_execution().state_machine_arn(&self.state_machine).input(input);
        call.send().await.expect("an execution").execution_arn
    }

    pub(crate) async fn start_undo(&self, input: &Value) -> String {
        let call = self.sfn.start_execution().state_machine_arn(&self.undo_state_machine).input(input.to_string());
        call.send().await.expect("an undo").execution_arn
    }

    /// Starts an undo of an execution and follows it to its end.
    pub(crate) async fn undo(&self, execution: &str) -> Outcome {
        let undo = self.start_undo(&json!({"executionArn": execution})).await;
        self.outcome(&undo).await
    }

    pub(crate) async fn start_fleet(&self, input: &Value) -> String {
        let call = self.sfn.start_execution().state_machine_arn(&self.fleet_state_machine).input(input.to_string());
        call.send().await.expect("a fleet").execution_arn
    }

    /// What the Distributed Maps of an execution have started.
    pub(crate) async fn map_children(&self, execution: &str) -> Vec<String> {
        let runs = self.sfn.list_map_runs().execution_arn(execution).send().await.expect("runs").map_runs;
        let mut children = vec![];
        for run in runs {
            let listed = self.sfn.list_executions().map_run_arn(run.map_run_arn).send().await.expect("executions");
            children.extend(listed.executions.into_iter().map(|child| child.execution_arn));
        }
        children
    }

    /// Starts a fleet and follows it to its end.
    pub(crate) async fn encrypt_fleet(&self, input: Value) -> Outcome {
        let fleet = self.start_fleet(&input).await;
        self.outcome(&fleet).await
    }

    /// Compares the rows of two instances.
    pub(crate) async fn verify_data(&self, input: Value) -> Outcome {
        let call =
            self.sfn.start_execution().state_machine_arn(&self.verify_data_state_machine).input(input.to_string());
        let execution = call.send().await.expect("a comparison").execution_arn;
        self.outcome(&execution).await
    }

    /// The executions of a machine, by name, with their status.
    pub(crate) async fn executions(&self, machine: &str) -> BTreeMap<String, ExecutionStatus> {
        let call = self.sfn.list_executions().state_machine_arn(machine).into_paginator().items().send();
        let executions: Result<Vec<_>, _> = call.collect().await;
        executions.expect("executions").into_iter().map(|execution| (execution.name, execution.status)).collect()
    }

    /// An object of the stack's bucket.
    pub(crate) fn object(&self, key: &str) -> String {
        let call = ureq::http::Request::builder().uri(format!("{}/{}/{key}", self.endpoint, self.bucket));
        let call = call.header("authorization", signature("s3")).body(()).expect("a request");
        let mut answer = ureq::run(call).unwrap_or_else(|error| panic!("{key}: {error}"));
        answer.body_mut().read_to_string().expect("a text")
    }

    /// Starts an execution and follows it to its end.
    pub(crate) async fn encrypt(&self, input: Value) -> Outcome {
        let execution = self.start_execution(&input.to_string()).await;
        self.outcome(&execution).await
    }

    pub(crate) async fn outcome(&self, execution: &str) -> Outcome {
        let started = Instant::now();
        loop {
            if let Some(outcome) = self.outcome_now(execution).await {
                assert_eq!(refused(self), BTreeMap::new());
                assert_answers_hold(execution, &self.history(execution).await);
                return outcome;
            }
            assert!(
                started.elapsed() < Duration::from_secs(EXECUTION_SECONDS_MAX),
                "{execution} still runs; it went through {:?}, at last with {:?}",
                self.states(execution).await,
                self.history(execution)
                    .await
                    .iter()
                    .filter_map(|event| event.state_entered_event_details()?.input())
                    .next_back()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// How an execution ended, if it has.
    pub(crate) async fn outcome_now(&self, execution: &str) -> Option<Outcome> {
        let answer = self.sfn.describe_execution().execution_arn(execution).send().await.expect("described");
        (answer.status != ExecutionStatus::Running).then(|| Outcome {
            execution: execution.to_owned(),
            output: answer.output().map_or(Value::Null, |text| serde_json::from_str(text).expect("JSON")),
            error: answer.error.unwrap_or_default(),
            cause: answer.cause.unwrap_or_default(),
            status: answer.status,
        })
    }

    pub(crate) async fn history(&self, execution: &str) -> Vec<HistoryEvent> {
        let history: Result<Vec<_>, _> =
            self.sfn.get_execution_history().execution_arn(execution).into_paginator().items().send().collect().await;
        history.expect("a history")
    }

    /// The states that an execution entered, in order.
    pub(crate) async fn states(&self, execution: &str) -> Vec<String> {
        let events = self.history(execution).await;
        events.iter().filter_map(|event| Some(event.state_entered_event_details()?.name().to_owned())).collect()
    }

    /// Makes what a reset took that the stack's parameters name.
    pub(crate) fn make_replication_subnet_group(&self) {
        const MAKE: &str = "import sys; sys.path.insert(0, 'tests/local'); import cloud; \
            cloud.make_replication_subnet_group(cloud.Cloud.from_json(sys.argv[1]))";
        let made = python().args(["-c", MAKE, &self.description]).status().expect("python");
        assert!(made.success(), "no subnet group");
    }

    /// A restored copy of an instance as it is now, with its parameter group.
    pub(crate) async fn copied_instance(&self, id: &str, copy: &str) -> DbInstance {
        let make = self.rds.create_db_snapshot().db_instance_identifier(id).db_snapshot_identifier(copy);
        make.send().await.expect("a snapshot");
        loop {
            let look = self.rds.describe_db_snapshots().db_snapshot_identifier(copy).send().await.expect("a look");
            if look.db_snapshots()[0].status() == Some("available") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let restore = self.rds.restore_db_instance_from_db_snapshot().db_snapshot_identifier(copy);
        let restore = restore.db_instance_identifier(copy).db_parameter_group_name(format!("of-{id}"));
        restore.send().await.expect("a restore");
        loop {
            let look = self.rds.describe_db_instances().db_instance_identifier(copy).send().await.expect("a look");
            let instance = &look.db_instances()[0];
            if instance.db_instance_status() == Some("available") {
                return instance.clone();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The execution's state, as the last visit to this one left it.
    pub(crate) async fn state_after(&self, execution: &str, name: &str) -> Value {
        let events = self.history(execution).await;
        let exited = events.iter().rev().filter_map(|event| event.state_exited_event_details());
        let mut left = exited.filter(|details| details.name() == name).filter_map(|details| details.output());
        serde_json::from_str(left.next().expect("the state was exited")).expect("JSON")
    }

    /// Lets an AWS second last that long from now on, in what sleeps already too.
    pub(crate) fn set_time_scale(&self, scale: f64) {
        self.control("PATCH", "settings", json!({"time_scale": scale}));
        let setting = json!({"stepfunctions._SFN_WAIT_SCALE": scale});
        let applied = request("POST", &format!("{}/_ministack/config", self.endpoint), &setting);
        assert_eq!(applied, json!({"applied": setting}));
    }

    /// Stops executions from now on when they enter one of these states, each given with its machine's ARN.
    pub(crate) fn stop_in(&self, states: &[(&str, &str)]) {
        let setting = json!({"stepfunctions._sfn_mock_config": {"StopIn": states}});
        let applied = request("POST", &format!("{}/_ministack/config", self.endpoint), &setting);
        assert_eq!(applied, json!({"applied": setting}));
    }

    /// The last few states that an execution entered, for whoever watches it.
    pub(crate) async fn entered_lately(&self, execution: &str) -> Vec<String> {
        let call = self.sfn.get_execution_history().execution_arn(execution).reverse_order(true).max_results(400);
        // Data of 400 events are megabytes, and callers ask often.
        let history = call.include_execution_data(false).send().await.expect("a history");
        let details = history.events().iter().filter_map(|event| event.state_entered_event_details());
        details.map(|details| details.name().to_owned()).collect()
    }

    /// What the stack's topic tells its subscribers from now on.
    pub(crate) fn inbox(&self) -> Inbox {
        let mut process = python()
            .args(["tests/local/inbox.py", &self.topic])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python");
        process.stdin.take().expect("piped").write_all(self.description.as_bytes()).expect("written");
        let mut inbox = Inbox { lines: BufReader::new(process.stdout.take().expect("piped")), process };
        assert_eq!(inbox.line(), "subscribed");
        inbox
    }

    pub(crate) fn log_groups(&self) -> Vec<Value> {
        self.pages("logs", "Logs_20140328.DescribeLogGroups", json!({}), "nextToken", "logGroups")
    }

    /// Everything that the functions have logged.
    pub(crate) fn logs(&self) -> Vec<String> {
        let groups = self.log_groups();
        let events = groups.iter().flat_map(|group| {
            let body = json!({"logGroupName": group["logGroupName"]});
            self.pages("logs", "Logs_20140328.FilterLogEvents", body, "nextToken", "events")
        });
        events.map(|event| event["message"].as_str().expect("a message").to_owned()).collect()
    }

    /// All items of a paginated operation of a service that speaks JSON; no SDK is built for it here.
    fn pages(&self, service: &str, target: &str, mut body: Value, token: &str, items: &str) -> Vec<Value> {
        let mut all = vec![];
        let mut server_errors = 0;
        loop {
            let answer = match self.json_call(service, target, &body) {
                Ok(answer) => answer,
                // ministack fails to list groups whose streams grow meanwhile ("dictionary changed size"). SDKs try
                // again after a server's error, too.
                Err(ureq::Error::StatusCode(500)) if server_errors < SERVER_ERRORS_MAX => {
                    server_errors += 1;
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
                Err(error) => panic!("{target}: {error}"),
            };
            all.extend(answer[items].as_array().into_iter().flatten().cloned());
            if answer[token].is_null() {
                return all;
            }
            body[token] = answer[token].clone();
        }
    }

    /// A call in AWS's JSON 1.1 protocol, for the services whose SDK no test has.
    fn json_call(&self, service: &str, target: &str, body: &Value) -> Result<Value, ureq::Error> {
        let call = ureq::http::Request::builder()
            .method("POST")
            .uri(&self.endpoint)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target)
            .header("authorization", signature(service));
        let call = call.body(body.to_string()).expect("a request");
        ureq::run(call)?.body_mut().read_json()
    }

    /// What the processes of the local cloud itself have written.
    pub(crate) fn process_logs(&self) -> String {
        let description: Value = serde_json::from_str(&self.description).expect("the cloud's description");
        let folder = Path::new(description["folder"].as_str().expect("a folder")).to_owned();
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect(name);
        ["services.log", "ministack.log"].map(read).concat()
    }

    /// A command that calls the control API, for a fault rule to run.
    pub(crate) fn control_command(&self, method: &str, path: &str, body: &Value) -> Vec<String> {
        const CALL: &str = "import sys, urllib.request as u; \
            u.urlopen(u.Request(sys.argv[2], method=sys.argv[1], data=sys.argv[3].encode()))";
        let url = format!("{}/local/{path}", self.services_endpoint);
        let program = repository().join(".local/cloud/bin/python").to_string_lossy().into_owned();
        vec![program, "-c".to_owned(), CALL.to_owned(), method.to_owned(), url, body.to_string()]
    }

    pub(crate) fn control_url(&self, path: &str) -> String {
        format!("{}/local/{path}", self.services_endpoint)
    }

    /// Calls the local cloud's control API, which is described in `tests/local/rds/control.py`.
    pub(crate) fn control(&self, method: &str, path: &str, body: Value) -> Value {
        request(method, &self.control_url(path), &body)
    }
}

/// By which ministack knows the account; it does not check it.
fn signature(service: &str) -> String {
    let scope = format!("{ACCOUNT}/20260101/{REGION}/{service}/aws4_request");
    format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0")
}

fn request(method: &str, url: &str, body: &Value) -> Value {
    let request = ureq::http::Request::builder().method(method).uri(url).header("content-type", "application/json");
    let request = request.body(body.to_string()).expect("a request");
    let mut answer = ureq::run(request).unwrap_or_else(|error| panic!("{method} {url}: {error}"));
    answer.body_mut().read_json().unwrap_or(json!(null))
}

/// What the tests deploy.
pub(crate) fn built() -> PathBuf {
    repository().join(".aws-sam/build")
}

fn deploy(description: &str, build: &Path, parameters: &[&str], variables: &[&str]) -> Value {
    let mut process = python()
        .args(["tests/local/cloud.py", "deploy", "--cloud", "-", "--build"])
        .arg(build)
        .args(parameters.iter().flat_map(|parameter| ["--parameter", parameter]))
        .args(variables.iter().flat_map(|variable| ["--variable", variable]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python");
    process.stdin.take().expect("piped").write_all(description.as_bytes()).expect("written");
    let output = process.wait_with_output().expect("deployed");
    assert!(output.status.success(), "the deployment failed");
    serde_json::from_slice(&output.stdout).expect("the stack's outputs as JSON")
}

/// A state machine like a deployed one, there.
/// `nested`: the machine that it starts, and which it starts in its place.
async fn copied(
    from: &aws_sdk_sfn::Client,
    machine: &str,
    to: &aws_sdk_sfn::Client,
    nested: Option<(&str, &str)>,
) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let deployed = from.describe_state_machine().state_machine_arn(machine).send().await.expect("a state machine");
    let definition = match nested {
        Some((one, other)) => deployed.definition.replace(one, other),
        None => deployed.definition,
    };
    let name = format!("{}-{}", deployed.name, NUMBER.fetch_add(1, Ordering::Relaxed));
    let create = to.create_state_machine().name(name).definition(definition).role_arn(deployed.role_arn);
    create.send().await.expect("a definition that is accepted there").state_machine_arn
}

async fn configuration(cloud: &Value, endpoint: &str) -> SdkConfig {
    let environment = |name: &str| cloud["environment"][name].as_str().expect(name).to_owned();
    let credentials = aws_sdk_rds::config::Credentials::new(
        environment("AWS_ACCESS_KEY_ID"),
        environment("AWS_SECRET_ACCESS_KEY"),
        None,
        None,
        "local cloud",
    );
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .region(Region::new(environment("AWS_REGION")))
        .credentials_provider(credentials)
        .endpoint_url(endpoint)
        .load()
        .await
}
