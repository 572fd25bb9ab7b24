//! One local cloud in which one execution runs at a time, and everything that is known of a run.

use std::time::{Duration, Instant};

use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};
use workflow::options::Way;

use super::pair::{SOURCE, Scenario, Wish};
use super::witness::Witness;
use super::world::{World, merged, text};
use crate::cloud::{Cloud, Outcome, Running, Setup};
use crate::fixtures::{MARIADB_LOGIN, PASSWORD, instance};

/// As RDS calls it.
const MARIADB: &str = "mariadb";
/// Retries go on for hours; at this scale six hours are less than half a second.
const FAST: f64 = 0.00002;
/// At this scale a Lambda function's longest life (70 s) is longer than a late call takes to land.
const TRUE: f64 = 0.008;
/// How long everything takes in AWS seconds at that scale.
const SLOW_DURATION_SECONDS: u64 = 30;
/// Between these of the calls that a step makes in vain, nothing but its retries can be on the way: those
/// that land late have landed before, and the first retrier of ours gives up after 41
/// (`statemachine/encrypt-instance.asl.json`, MaxAttempts).
const CALLS_OF_A_STEP: u64 = 41;
const FAST_CALLS: std::ops::RangeInclusive<u64> = 6..=40;
/// These go on turn after turn instead of being retried, until the outage has lasted too long.
const TURNING: &[&str] = &["rds-encrypt.fence-source", "rds-encrypt.rename-instance", "rds-encrypt.switch-over"];
const RUN_SECONDS_MAX: u64 = 400;
const SETTLE_SECONDS_MAX: u64 = 30;

const POLL_MILLISECONDS: u64 = 40;
/// For an end alone, whose moment does not matter: looking takes time from what is looked at.
const PATIENT_POLL_MILLISECONDS: u64 = 120;

/// An instance that was renamed is `available` for a moment before it reboots.
const REST: Duration = Duration::from_millis(200);

/// The name that every name contains.
const EVERYTHING: &str = "";

pub(crate) struct Site {
    _running: Running,
    pub(crate) cloud: Cloud,
    engine: &'static str,
    /// Of the logins to the source's databases, if it has any.
    secret_arn: Option<String>,
    mariadb_secret_arn: Option<String>,
}

/// What happened from the start of an execution until nothing happened any more.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) way: Way,
    pub(crate) outcome: Outcome,
    pub(crate) states: Vec<String>,
    pub(crate) calls: Vec<Value>,
    pub(crate) before: World,
    /// When the execution ended.
    pub(crate) at_end: World,
    /// When the undo from outside was over, too.
    pub(crate) after: World,
    /// Of the undo from outside.
    pub(crate) undo: Option<Outcome>,
    pub(crate) befallen: u64,
    /// Of a client's writes, where one wrote.
    pub(crate) acknowledged: Option<Vec<i64>>,
}

impl Site {
    pub(crate) async fn open(storage: &'static str) -> Self {
        let setup = Setup {
            storage,
            time_scale: FAST,
            // A call is given up after half of it (`SLOW_SECONDS`).
            variables: &["OPERATION_TIMEOUT_SECONDS=2"],
            environment: &[("AWS_MAX_ATTEMPTS", "1")],
            ..Setup::default()
        };
        let running = Running::start(&setup);
        let cloud = Cloud::connect(&running).await;
        let has_servers = storage == "postgres";
        let secret_arn = has_servers.then(|| cloud.login(SOURCE, "master", PASSWORD, None));
        let mariadb_secret_arn = has_servers.then(|| cloud.login("orders-mariadb", MARIADB_LOGIN, PASSWORD, None));
        let engine = if has_servers { "postgres" } else { MARIADB };
        Self { _running: running, cloud, engine, secret_arn, mariadb_secret_arn }
    }

    /// The same cloud, whose executions go this way.
    pub(crate) fn cloud_of(&self, way: Way) -> Cloud {
        match way {
            Way::Snapshot => self.cloud.clone(),
            Way::BlueGreen => self.cloud.by_blue_green(),
            Way::Online => self.cloud.online(),
        }
    }

    /// Takes everything out of the cloud, and sets its pace.
    pub(crate) fn empty(&self, slow: bool) {
        self.cloud.control("POST", "reset", json!({}));
        self.cloud.stop_in(&[]);
        self.cloud.set_time_scale(if slow { TRUE } else { FAST });
        if slow {
            let settings = self.cloud.control("GET", "settings", json!({}));
            let names = settings["durations"].as_object().expect("durations").keys();
            let durations: Value = names.map(|name| (name.clone(), json!(SLOW_DURATION_SECONDS))).collect();
            self.cloud.control("PATCH", "settings", json!({"durations": durations}));
        }
    }

    /// Runs one execution to its end, and what its end sets off.
    pub(crate) async fn run(&self, scenario: &Scenario, rules: &[Value], slow: bool) -> Result<Run, String> {
        let engine = if scenario.wish == Wish::OfMariaDb { MARIADB } else { self.engine };
        self.run_of(engine, scenario.way, &scenario.input(), rules, slow, async || {}).await
    }

    /// Does something more between the seed and the start.
    pub(crate) async fn run_prepared(
        &self,
        way: Way,
        input: &Value,
        rules: &[Value],
        slow: bool,
        prepare: impl AsyncFnOnce(),
    ) -> Result<Run, String> {
        self.run_of(self.engine, way, input, rules, slow, prepare).await
    }

    async fn run_of(
        &self,
        engine: &str,
        way: Way,
        input: &Value,
        rules: &[Value],
        slow: bool,
        prepare: impl AsyncFnOnce(),
    ) -> Result<Run, String> {
        // A database server takes its time.
        let slow = slow || self.has_servers();
        self.empty(slow);
        World::seed(&self.cloud, SOURCE, engine, self.has_servers(), json!({})).await;
        let mut input = input.clone();
        let mut witness = None;
        if way == Way::Online {
            if input["engine"] == "dms" {
                self.cloud.make_replication_subnet_group();
            }
            let login = if engine == MARIADB { &self.mariadb_secret_arn } else { &self.secret_arn };
            input = merged(input, json!({"database_secret_arn": login}));
            witness = Some(Witness::of(&self.cloud, instance(&self.cloud, SOURCE).await).await);
        }
        let before = self.look().await;
        prepare().await;
        for rule in rules {
            self.cloud.control("POST", "faults", rule.clone());
        }
        let execution = self.cloud_of(way).start_execution(&input.to_string()).await;
        let outcome = self.ended(&execution, slow).await?;
        let at_end = World::look(&self.cloud, SOURCE);
        let undo = match outcome.status {
            ExecutionStatus::Succeeded => None,
            _ => Some(self.undone(&execution, slow).await?),
        };
        self.settle().await?;
        let acknowledged = witness.map(|witness| witness.acknowledged());
        let after = self.look().await;
        Ok(Run {
            way,
            states: self.cloud.states(&execution).await,
            // Ours, not those of the test itself.
            calls: self.calls().into_iter().filter(|call| text(&call["app_id"]).starts_with("rds-encrypt.")).collect(),
            before,
            at_end,
            after,
            undo,
            befallen: self.befallen(),
            acknowledged,
            outcome,
        })
    }

    /// Waits for the ends of executions, and of the undos that they set off.
    pub(crate) async fn follow<Name>(&self, executions: Vec<(Name, String)>) -> Result<Vec<(Name, Outcome)>, String> {
        let mut outcomes = vec![];
        for (name, execution) in executions {
            outcomes.push((name, self.ended(&execution, false).await?));
        }
        for (_, outcome) in &outcomes {
            if outcome.status != ExecutionStatus::Succeeded {
                self.undone(&outcome.execution, false).await?;
            }
        }
        self.settle().await?;
        Ok(outcomes)
    }

    /// What somebody does once the reason of a failure is gone: lets the undo do its work again.
    pub(crate) async fn undo_by_hand(&self, execution: &str) -> Result<World, String> {
        self.cloud.control("DELETE", "faults", json!({}));
        self.cloud.stop_in(&[]);
        let undo = self.cloud.start_undo(&json!({"executionArn": execution})).await;
        let outcome = self.ended(&undo, false).await?;
        if outcome.status != ExecutionStatus::Succeeded {
            return Err(format!("the undo by hand ended as {:?}: {} {}", outcome.status, outcome.error, outcome.cause));
        }
        self.settle().await?;
        Ok(self.look().await)
    }

    pub(crate) fn has_servers(&self) -> bool {
        self.engine == "postgres"
    }

    /// What there is, and what its databases hold.
    async fn look(&self) -> World {
        let mut world = World::look(&self.cloud, SOURCE);
        if self.has_servers() {
            world.read_rows(&self.cloud).await;
        }
        world
    }

    fn calls(&self) -> Vec<Value> {
        let Value::Array(calls) = self.cloud.control("GET", "calls", json!({})) else { panic!("a list of calls") };
        calls
    }

    /// How many calls the first rule has befallen.
    fn befallen(&self) -> u64 {
        self.cloud.control("GET", "faults", json!({}))[0]["befallen"].as_u64().unwrap_or(0)
    }

    /// Whether the calls of now are neither the first nor the last of what a step tries.
    fn is_between_calls_that_count(&self) -> bool {
        let rule = &self.cloud.control("GET", "faults", json!({}))[0];
        let befallen = rule["befallen"].as_u64().unwrap_or(0);
        let is_turning = rule["app_id"].as_str().is_some_and(|function| TURNING.contains(&function));
        FAST_CALLS.contains(&if is_turning { befallen } else { befallen % CALLS_OF_A_STEP })
    }

    /// The end of an execution, however long it retries; at a true pace only where that matters.
    async fn ended(&self, execution: &str, slow: bool) -> Result<Outcome, String> {
        let started = Instant::now();
        let mut scale = TRUE;
        let pause = Duration::from_millis(if slow { POLL_MILLISECONDS } else { PATIENT_POLL_MILLISECONDS });
        loop {
            if slow {
                let wanted = if self.is_between_calls_that_count() { FAST } else { TRUE };
                if wanted != scale {
                    scale = wanted;
                    self.cloud.set_time_scale(scale);
                }
            }
            if let Some(outcome) = self.cloud.outcome_now(execution).await {
                return Ok(outcome);
            }
            if started.elapsed() > Duration::from_secs(RUN_SECONDS_MAX) {
                let states = self.cloud.states(execution).await;
                return Err(format!(
                    "still runs; it went through {} states, at last {:?}",
                    states.len(),
                    states.last()
                ));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The end of the undo that EventBridge starts for an execution that did not succeed.
    async fn undone(&self, execution: &str, slow: bool) -> Result<Outcome, String> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(SETTLE_SECONDS_MAX) {
            let list =
                self.cloud.sfn.list_executions().state_machine_arn(self.cloud.undo_state_machine()).max_results(9);
            for undo in list.send().await.map_err(|error| format!("{error:?}"))?.executions {
                let details = self.cloud.sfn.describe_execution().execution_arn(&undo.execution_arn).send().await;
                let input = details.map_err(|error| format!("{error:?}"))?.input.unwrap_or_default();
                if input.contains(execution) {
                    return self.ended(&undo.execution_arn, slow).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(POLL_MILLISECONDS)).await;
        }
        Err("EventBridge did not start the undo".to_owned())
    }

    async fn no_undo_runs(&self) -> bool {
        let undos = self.cloud.sfn.list_executions().state_machine_arn(self.cloud.undo_state_machine());
        let running = undos.status_filter(ExecutionStatus::Running).max_results(1).send().await;
        running.is_ok_and(|running| running.executions.is_empty())
    }

    /// Waits until every call has landed and every resource has come to rest.
    async fn settle(&self) -> Result<(), String> {
        self.cloud.set_time_scale(FAST);
        let started = Instant::now();
        let mut settled_since = None;
        loop {
            if !World::look(&self.cloud, EVERYTHING).is_settled() {
                settled_since = None;
            } else if settled_since.get_or_insert_with(Instant::now).elapsed() >= REST {
                if self.calls().iter().all(|call| !call["status"].is_null()) && self.no_undo_runs().await {
                    return Ok(());
                }
                // What lands now, or that of a nested execution does, moves something again.
                settled_since = None;
            }
            if started.elapsed() > Duration::from_secs(SETTLE_SECONDS_MAX) {
                return Err(format!("nothing comes to rest: {:?}", World::look(&self.cloud, EVERYTHING)));
            }
            tokio::time::sleep(Duration::from_millis(POLL_MILLISECONDS)).await;
        }
    }
}
