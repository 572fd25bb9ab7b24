//! An execution that is stopped in any state, and an undo from outside that is stopped in any of its own.
//!
//! The states are those of the state machines' files, so a new one fails here until a way leads to it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};

use super::matrix::Ending;
use super::pair::{ENCRYPTED, Kind, SOURCE, rule};
use super::site::{Run, Site};
use super::world::{FENCE, merged};
use crate::cloud::{Cloud, repository};

const MINUTE_SECONDS: u64 = 60;
/// Longer than an execution needs until it waits for it.
const BACKUP: Duration = Duration::from_secs(5);

/// The second rename, or the switchover, was asked for before any of these.
const AFTER_COMMIT: &[&str] = &[
    "WaitForTargetName",
    "ProtectTarget",
    "WaitForProtection",
    "CleanUp",
    "WaitForCleanUp",
    "PublishSuccess",
    "WaitForSwitchover",
    "VerifySwitchover",
    "WaitForNames",
    "RestoreSettings",
    "WaitForRestoredSettings",
    "DeleteDeployment",
    "WaitForDeletion",
];

/// A state that works or waits, and how an execution gets there.
#[derive(Debug)]
pub(crate) struct Stop {
    machine: Machine,
    state: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Machine {
    Encrypt,
    BlueGreen,
    Undo,
}

impl Machine {
    fn file(self) -> &'static str {
        match self {
            Self::Encrypt => "statemachine/encrypt-instance.asl.json",
            Self::BlueGreen => "statemachine/encrypt-blue-green.asl.json",
            Self::Undo => "statemachine/undo-instance.asl.json",
        }
    }

    /// The way of the execution that is stopped, or undone.
    fn way(self) -> workflow::options::Way {
        match self {
            Self::BlueGreen => workflow::options::Way::BlueGreen,
            Self::Encrypt | Self::Undo => workflow::options::Way::Snapshot,
        }
    }

    /// The states in which time passes; between the others nothing happens.
    fn states(self) -> Vec<String> {
        let text = std::fs::read_to_string(repository().join(self.file())).expect("the state machine's file");
        let machine: Value = serde_json::from_str(&text).expect("JSON");
        let states = machine["States"].as_object().expect("States").iter();
        states
            .filter(|(_, state)| ["Task", "Wait", "Parallel"].iter().any(|kind| state["Type"] == *kind))
            .map(|(name, _)| name.clone())
            .collect()
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(formatter, "{:?}/{}", self.machine, self.state)
    }
}

/// What an execution meets on its way.
#[derive(Default)]
struct Way {
    input: Value,
    rules: Vec<Value>,
    source_is_busy: bool,
    /// CloudWatch knows that nobody was connected.
    is_watched: bool,
    /// CloudWatch knows nothing.
    is_unmeasured: bool,
    /// Stopped first, so that the undo comes here.
    first_stop: Option<&'static str>,
}

pub(crate) fn all() -> Vec<Stop> {
    let of = |machine: Machine| machine.states().into_iter().map(move |state| Stop { machine, state });
    let all = of(Machine::Encrypt).chain(of(Machine::BlueGreen)).chain(of(Machine::Undo));
    // Only what has a database is looked after there: `online` and `verify_data` stop it.
    let logs_in = ["UndoDatabase", "PreflightDatabase", "CompareData"];
    all.filter(|stop| !logs_in.contains(&stop.state.as_str())).collect()
}

impl Stop {
    fn way(&self, cloud: &Cloud) -> Way {
        let cutover = json!({
            "instance_id": SOURCE, "cutover": "rename", "accept_lost_writes": true, "isolation_security_group_id": FENCE,
        });
        let with = |more: Value| Way { input: merged(cutover.clone(), more), ..Way::default() };
        let quiet = || {
            let mut way = with(json!({"writes_stopped": true}));
            way.input.as_object_mut().expect("an object").remove("accept_lost_writes");
            way
        };
        let denied = |function: &str, operation: &str, call: u64| {
            vec![merged(rule(function, operation, Kind::Denied, &json!({})), json!({"call": call}))]
        };
        match (self.machine, self.state.as_str()) {
            (Machine::Encrypt, "WaitForSource") => Way { source_is_busy: true, ..with(json!({})) },
            (Machine::Encrypt, "CheckWrites") => Way { is_watched: true, ..quiet() },
            // CloudWatch's datapoints are gone when they are asked for the second time.
            (Machine::Encrypt, "WaitForMetric") => {
                let forget = json!({"type": "run", "command": cloud.control_command("DELETE", "metrics", &json!({}))});
                let rule = json!({"operation": "GetMetricStatistics", "call": 2, "action": forget});
                Way { is_watched: true, rules: vec![rule], ..quiet() }
            }
            // At the proof an option group is on its way.
            (Machine::Encrypt, "WaitForProof") => {
                let groups = json!([{"OptionGroupName": "others", "Status": "applying"}]);
                let pending = json!({"fields": {"OptionGroupMemberships": groups}});
                let path = format!("instances/{ENCRYPTED}");
                let change = json!({"type": "run", "command": cloud.control_command("PATCH", &path, &pending)});
                let mut rule = rule("verify", "DescribeDBInstances", Kind::Denied, &json!({}));
                rule["action"] = change;
                Way { rules: vec![rule], ..with(json!({})) }
            }
            (Machine::Encrypt, "RequestApproval") => with(json!({"approval": true})),
            // The second rename is refused.
            (Machine::Encrypt, "Undo" | "WaitForUndo" | "PublishFailure") => {
                Way { rules: denied("rename-instance", "ModifyDBInstance", 2), ..with(json!({})) }
            }
            (Machine::Encrypt, _) => with(json!({})),
            (Machine::BlueGreen, state) => self.way_by_blue_green(state),
            (Machine::Undo, _) => Way { first_stop: Some("WaitForSourceName"), ..with(json!({})) },
        }
    }
}

impl Stop {
    fn way_by_blue_green(&self, state: &str) -> Way {
        let with = |more: Value| Way { input: merged(json!({"instance_id": SOURCE}), more), ..Way::default() };
        // What befalls green, whose name nobody knows, or what has the source's.
        let at = |function: &str, operation: &str, resource: Value, action: Value| {
            let mut rule = rule(function, operation, Kind::Denied, &json!({}));
            rule["action"] = merged(action, json!({"resource": resource}));
            rule
        };
        match state {
            "WaitForSource" => Way { source_is_busy: true, ..with(json!({})) },
            // At the proof an option group is on its way.
            "WaitForProof" => {
                let groups = json!([{"OptionGroupName": "others", "Status": "applying"}]);
                let pending = json!({"type": "fields", "fields": {"OptionGroupMemberships": groups}});
                let rule = at("verify", "DescribeDBInstances", json!({"green_of": SOURCE}), pending);
                Way { rules: vec![rule], ..with(json!({})) }
            }
            "AwaitApproval" => with(json!({"approval": true})),
            // CloudWatch knows nothing of green's lag.
            "WaitForGreen" => Way { is_unmeasured: true, ..with(json!({})) },
            // After the switchover the encrypted instance reboots, until the undo looks.
            "WaitForNames" => {
                let bearer = json!({"instance": SOURCE});
                let status = |status: &str| json!({"type": "status", "status": status});
                let reboots = at("verify", "DescribeBlueGreenDeployments", bearer.clone(), status("rebooting"));
                let runs = at("undo", "DescribeDBInstances", bearer, status("available"));
                Way { rules: vec![reboots, runs], ..with(json!({})) }
            }
            // The switchover is refused.
            "Undo" | "WaitForUndo" | "PublishFailure" => {
                let denied = rule("switch-over", "SwitchoverBlueGreenDeployment", Kind::Denied, &json!({}));
                Way { rules: vec![denied], ..with(json!({})) }
            }
            _ => with(json!({})),
        }
    }
}

/// Stops an execution, or its undo, in that state, and looks at what it ends in.
pub(crate) async fn play(site: &Site, stop: &Stop) -> Result<Ending, String> {
    let cloud = &site.cloud;
    let way = stop.way(cloud);
    let cloud_of_way = site.cloud_of(stop.machine.way());
    let machine = if stop.machine == Machine::Undo { cloud.undo_state_machine() } else { cloud_of_way.state_machine() };
    let prepare = async || {
        let mut stops = vec![(machine, stop.state.as_str())];
        stops.extend(way.first_stop.map(|first| (cloud.state_machine(), first)));
        cloud.stop_in(&stops);
        if way.source_is_busy {
            set_source_status(site, "backing-up");
        }
        if way.is_unmeasured {
            cloud.control("PATCH", "settings", json!({"publish_metrics": false}));
        }
        if way.is_watched {
            cloud.control("PATCH", "settings", json!({"publish_metrics": false}));
            nobody_connects(site).await;
        }
    };
    // At a fast pace there is often nothing left to wait for.
    let slow = stop.state.starts_with("WaitFor") || way.first_stop.is_some();
    let run = if way.source_is_busy {
        let backed_up = async {
            tokio::time::sleep(BACKUP).await;
            set_source_status(site, "available");
        };
        tokio::join!(site.run_prepared(stop.machine.way(), &way.input, &way.rules, slow, prepare), backed_up).0?
    } else {
        site.run_prepared(stop.machine.way(), &way.input, &way.rules, slow, prepare).await?
    };
    check(site, stop, &way, &run).await.map_err(|problem| {
        format!("{problem}\n    ended as {:?}, after {:?}\n    undo {:?}", run.outcome, run.states.last(), run.undo)
    })
}

async fn check(site: &Site, stop: &Stop, way: &Way, run: &Run) -> Result<Ending, String> {
    let stopped_in = way.first_stop.unwrap_or(&stop.state);
    if run.outcome.status != ExecutionStatus::Aborted || run.states.last().map(String::as_str) != Some(stopped_in) {
        return Err(format!("was not stopped in {stopped_in}"));
    }
    let undo = run.undo.as_ref().ok_or("no undo was started")?;
    run.after.source_survives(&run.before)?;
    run.after.others_are_untouched(&run.before)?;
    let world = if stop.machine != Machine::Undo {
        if undo.status != ExecutionStatus::Succeeded {
            return Err("the undo did not succeed".to_owned());
        }
        run.after.clone()
    } else {
        if undo.status != ExecutionStatus::Aborted {
            return Err("the undo was not stopped".to_owned());
        }
        // An alarm tells of it; then somebody starts it again.
        site.undo_by_hand(&run.outcome.execution).await?
    };
    run.is_whole(&world)?;
    let is_new = run.before.resource_id_of(SOURCE) != world.resource_id_of(SOURCE);
    if is_new != AFTER_COMMIT.contains(&stopped_in) {
        return Err(format!("stopped in {stopped_in}, it ended in the wrong world"));
    }
    Ok(if is_new { "the new world" } else { "the old world" }.to_owned())
}

fn set_source_status(site: &Site, status: &str) {
    let change = json!({"fields": {"DBInstanceStatus": status}});
    site.cloud.control("PATCH", &format!("instances/{SOURCE}"), change);
}

/// RDS's metric of the last minutes and of some to come: 0 in each.
async fn nobody_connects(site: &Site) {
    for minute in 0..=15 {
        site.cloud.put_connections(SOURCE, seconds_now() - 10 * MINUTE_SECONDS + minute * MINUTE_SECONDS, 0.0).await;
    }
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}
