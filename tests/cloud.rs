//! A local cloud for the tests: `tests/local/cloud.py`, with the built template deployed to it.
//!
//! The clouds end with this process, however it ends: they serve until their input closes.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// How long an AWS second lasts. Small enough for quick tests, large enough to see every status.
const TIME_SCALE: &str = "0.005";
/// Longer than any execution of the tests; one that hangs fails with its history.
const EXECUTION_SECONDS_MAX: u64 = 120;

pub(crate) struct Cloud {
    _input: ChildStdin,
    _process: Child,
    services_endpoint: String,
    outputs: Value,
    pub(crate) rds: aws_sdk_rds::Client,
    pub(crate) kms: aws_sdk_kms::Client,
    pub(crate) sfn: aws_sdk_sfn::Client,
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

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn python() -> Command {
    let mut command = Command::new(repository().join(".local/cloud/bin/python"));
    command.current_dir(repository());
    command
}

impl Cloud {
    /// The cloud that tests share: each uses instances of its own.
    pub(crate) async fn shared() -> &'static Self {
        static CLOUD: OnceCell<Cloud> = OnceCell::const_new();
        CLOUD.get_or_init(|| async { Self::start("postgres").await }).await
    }

    pub(crate) async fn start(storage: &str) -> Self {
        let mut process = python()
            .args(["tests/local/cloud.py", "run", "--until-stdin-closes", "--time-scale", TIME_SCALE])
            .args(["--storage", storage])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the local cloud: run `make setup` first");
        let mut description = String::new();
        let mut lines = BufReader::new(process.stdout.take().expect("piped"));
        lines.read_line(&mut description).expect("the cloud's description");
        let cloud: Value = serde_json::from_str(&description).expect("the cloud's description as JSON");
        let outputs = deploy(&description);
        let text = |name: &str| cloud[name].as_str().expect(name).to_owned();
        let services = configuration(&cloud, &text("services_endpoint")).await;
        let main = configuration(&cloud, &text("endpoint")).await;
        Self {
            _input: process.stdin.take().expect("piped"),
            _process: process,
            services_endpoint: text("services_endpoint"),
            outputs,
            rds: aws_sdk_rds::Client::new(&services),
            kms: aws_sdk_kms::Client::new(&services),
            sfn: aws_sdk_sfn::Client::new(&main),
        }
    }

    pub(crate) fn state_machine(&self) -> &str {
        self.outputs["StateMachineArn"].as_str().expect("the output StateMachineArn")
    }

    pub(crate) async fn start_execution(&self, input: &str) -> String {
        let call = self.sfn.start_execution().state_machine_arn(self.state_machine()).input(input);
        call.send().await.expect("an execution").execution_arn
    }

    /// Starts an execution and follows it to its end.
    pub(crate) async fn encrypt(&self, input: Value) -> Outcome {
        let execution = self.start_execution(&input.to_string()).await;
        self.outcome(&execution).await
    }

    pub(crate) async fn outcome(&self, execution: &str) -> Outcome {
        let started = Instant::now();
        loop {
            let answer = self.sfn.describe_execution().execution_arn(execution).send().await.expect("described");
            if answer.status != ExecutionStatus::Running {
                return Outcome {
                    execution: execution.to_owned(),
                    output: answer.output().map_or(Value::Null, |text| serde_json::from_str(text).expect("JSON")),
                    error: answer.error.unwrap_or_default(),
                    cause: answer.cause.unwrap_or_default(),
                    status: answer.status,
                };
            }
            assert!(
                started.elapsed() < Duration::from_secs(EXECUTION_SECONDS_MAX),
                "{execution} still runs; it went through {:?}",
                self.states(execution).await
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The states that an execution entered, in order.
    pub(crate) async fn states(&self, execution: &str) -> Vec<String> {
        let history: Result<Vec<_>, _> =
            self.sfn.get_execution_history().execution_arn(execution).into_paginator().items().send().collect().await;
        let events = history.expect("a history");
        events.iter().filter_map(|event| Some(event.state_entered_event_details()?.name().to_owned())).collect()
    }

    /// Calls the local cloud's control API, which is described in `tests/local/services.py`.
    pub(crate) fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let url = format!("{}/local/{path}", self.services_endpoint);
        let request =
            ureq::http::Request::builder().method(method).uri(&url).header("content-type", "application/json");
        let request = request.body(body.to_string()).expect("a request");
        let mut answer = ureq::run(request).unwrap_or_else(|error| panic!("{method} {url}: {error}"));
        answer.body_mut().read_json().unwrap_or(json!(null))
    }
}

fn deploy(description: &str) -> Value {
    let mut process = python()
        .args(["tests/local/cloud.py", "deploy", "--cloud", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python");
    process.stdin.take().expect("piped").write_all(description.as_bytes()).expect("written");
    let output = process.wait_with_output().expect("deployed");
    assert!(output.status.success(), "the deployment failed");
    serde_json::from_slice(&output.stdout).expect("the stack's outputs as JSON")
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
