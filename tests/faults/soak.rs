//! Several executions at once, with several faults in each, from a seed that reproduces the schedule.
//!
//! What meets what is chance; the invariants are not. A round that fails is played again by its seed.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};
use workflow::options::Way;

use super::pair::{Kind, rule};
use super::site::Site;
use super::world::{FENCE, New, World, merged};
use crate::cloud::Outcome;

/// None is part of another, since the family of a name is everything with the name in it.
const SOURCES: &[&str] = &["apples", "pears", "plums"];
const ENGINES: &[&str] = &["mysql", "mariadb", "postgres"];
/// Where a fault can strike, with the highest number of a call worth counting to.
const CALLS: &[(&str, &str, u64)] = &[
    ("plan", "DescribeDBInstances", 2),
    ("create-snapshot", "CreateDBSnapshot", 1),
    ("describe-status", "DescribeDBSnapshots", 4),
    ("describe-status", "DescribeDBInstances", 4),
    ("copy-encrypted", "CopyDBSnapshot", 1),
    ("restore", "RestoreDBInstanceFromDBSnapshot", 1),
    ("apply-settings", "DescribeDBInstances", 6),
    ("apply-settings", "ModifyDBInstance", 2),
    ("verify", "DescribeDBInstances", 1),
    ("fence-source", "ModifyDBInstance", 2),
    ("rename-instance", "DescribeDBInstances", 8),
    ("rename-instance", "ModifyDBInstance", 3),
    ("undo", "DeleteDBInstance", 1),
    ("undo", "DeleteDBSnapshot", 2),
    ("clean-up", "DescribeDBSnapshots", 4),
    ("create-deployment", "CreateBlueGreenDeployment", 1),
    ("describe-status", "DescribeBlueGreenDeployments", 6),
    ("switch-over", "DescribeBlueGreenDeployments", 6),
    ("switch-over", "SwitchoverBlueGreenDeployment", 1),
    ("verify", "DescribeBlueGreenDeployments", 2),
    ("protect-target", "DescribeDBInstances", 4),
    ("undo", "DescribeBlueGreenDeployments", 4),
    ("undo", "DeleteBlueGreenDeployment", 2),
    ("clean-up", "DeleteBlueGreenDeployment", 1),
];
/// Those after which the resources of an execution are as it left them. Not `Slow`: at this pace an
/// answer that is late by half a second is late by an hour.
const KINDS: &[Kind] =
    &[Kind::Throttled, Kind::Error500, Kind::Error503, Kind::Reset, Kind::Lost, Kind::Killed, Kind::Denied];

/// Everything that is left to chance in a round.
#[derive(Debug)]
struct Schedule {
    sources: Vec<Source>,
    rules: Vec<Value>,
    /// What an execution may fail of.
    errors: BTreeSet<&'static str>,
}

#[derive(Debug)]
struct Source {
    id: &'static str,
    engine: &'static str,
    way: Way,
    fields: Value,
    input: Value,
    /// When each of its executions starts, and when it is stopped, if it is.
    executions: Vec<(Duration, Option<Duration>)>,
}

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.roll(100) < chance
    }

    fn pick<Item: Copy>(&mut self, items: &[Item]) -> Item {
        items[self.roll(items.len() as u64) as usize]
    }
}

impl Schedule {
    fn of(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let count = 1 + dice.roll(SOURCES.len() as u64) as usize;
        let sources: Vec<Source> = SOURCES.iter().take(count).map(|id| Source::of(id, &mut dice)).collect();
        let mut errors = BTreeSet::new();
        let mut rules = vec![];
        for source in &sources {
            for _ in 0..dice.roll(4) {
                let (function, operation, calls) = dice.pick(CALLS);
                let kind = dice.pick(KINDS);
                let lasts = kind == Kind::Denied || dice.percent(20);
                let mut rule = rule(function, operation, kind, &json!({}));
                rule[if lasts { "from_call" } else { "call" }] = json!(1 + dice.roll(calls));
                // Looks by DbiResourceId name nobody: such a rule is for all of the round.
                if dice.percent(70) {
                    rule["naming"] = json!(source.id);
                }
                errors.extend(kind.errors());
                rules.push(rule);
            }
            if source.executions.len() > 1 {
                // The second finds what the first makes, does not find the source between two names, or is
                // refused while the first is to give the name away.
                errors.extend([
                    "NameConflict",
                    "AlreadyEncrypted",
                    "InstanceNotFound",
                    "NotProven",
                    "CutoverInProgress",
                ]);
            }
        }
        Self { sources, rules, errors }
    }
}

impl Source {
    fn of(id: &'static str, dice: &mut Dice) -> Self {
        let way = if dice.percent(40) { Way::BlueGreen } else { Way::Snapshot };
        let mut input = json!({"instance_id": id, "max_wait_minutes": 120});
        if way == Way::Snapshot && dice.percent(50) {
            input = merged(input, json!({"cutover": "rename", "accept_lost_writes": true}));
            if dice.percent(50) {
                input["isolation_security_group_id"] = json!(FENCE);
            }
            if dice.percent(30) {
                input["wait_for_initialization"] = json!(true);
            }
        }
        // A deployment needs backups, and refuses MySQL as it is out of the box, with its events on.
        let (retention_days, engines) = if way == Way::BlueGreen {
            (&[1, 35][..], &["mariadb", "postgres"][..])
        } else {
            (&[0, 1, 35][..], ENGINES)
        };
        let fields = json!({
            "BackupRetentionPeriod": dice.pick(retention_days),
            "DeletionProtection": dice.percent(50),
            "CopyTagsToSnapshot": dice.percent(50),
            "AllocatedStorage": 20 + dice.roll(500),
        });
        let count = if dice.percent(20) { 2 } else { 1 };
        let executions = (0..count).map(|_| {
            let start = Duration::from_millis(dice.roll(800));
            let is_stopped = dice.percent(15);
            (start, is_stopped.then(|| Duration::from_millis(dice.roll(2000))))
        });
        let executions = executions.collect();
        Self { id, engine: dice.pick(engines), way, fields, input, executions }
    }

    /// What its executions are to end in.
    fn new_world(&self) -> New {
        match self.way {
            Way::BlueGreen => New::Switched,
            _ if self.input["cutover"].is_null() => New::Twin,
            _ => New::Renamed { fenced: self.input["isolation_security_group_id"].is_string() },
        }
    }
}

/// Plays one round and checks the invariants; returns how its executions ended.
pub(crate) async fn play(site: &Site, seed: u64) -> Result<Vec<String>, String> {
    let schedule = Schedule::of(seed);
    play_schedule(site, &schedule).await.map_err(|problem| format!("{problem}\n    {schedule:?}"))
}

async fn play_schedule(site: &Site, schedule: &Schedule) -> Result<Vec<String>, String> {
    site.empty(false);
    let mut before = vec![];
    for source in &schedule.sources {
        before
            .push(World::seed(&site.cloud, source.id, source.engine, site.has_servers(), source.fields.clone()).await);
    }
    for rule in &schedule.rules {
        site.cloud.control("POST", "faults", rule.clone());
    }
    let outcomes = site.follow(start_all(site, schedule).await).await?;
    for (_, outcome) in &outcomes {
        if outcome.status == ExecutionStatus::Failed && !schedule.errors.contains(outcome.error.as_str()) {
            return Err(format!("nothing in the schedule explains {outcome:?}"));
        }
    }
    // Once the reasons are gone, the undo by hand finishes what could not be done, or finds nothing to do.
    for (_, outcome) in outcomes.iter().filter(|(_, outcome)| outcome.status != ExecutionStatus::Succeeded) {
        site.undo_by_hand(&outcome.execution).await?;
    }
    for (source, before) in schedule.sources.iter().zip(&before) {
        let after = World::look(&site.cloud, source.id);
        after.source_survives(before)?;
        let is_new = after.is_new(before, source.new_world(), None);
        let succeeded =
            |(id, outcome): &(&str, Outcome)| *id == source.id && outcome.status == ExecutionStatus::Succeeded;
        if outcomes.iter().any(succeeded) {
            is_new.map_err(|problem| format!("SUCCEEDED, but: {problem}"))?;
        } else if let (Err(not_new), Err(not_old)) = (is_new, after.is_old(before, None)) {
            return Err(format!("{} is in neither world. Old: {not_old}. New: {not_new}", source.id));
        }
    }
    Ok(outcomes.iter().map(|(_, outcome)| format!("{} {}", outcome.status.as_str(), outcome.error)).collect())
}

/// Starts and stops at the schedule's times; the executions with their sources.
async fn start_all(site: &Site, schedule: &Schedule) -> Vec<(&'static str, String)> {
    let mut moments = vec![];
    for source in &schedule.sources {
        for (number, (start, stop)) in source.executions.iter().enumerate() {
            moments.push((*start, source, number, false));
            moments.extend(stop.map(|stop| (*start + stop, source, number, true)));
        }
    }
    moments.sort_by_key(|(moment, ..)| *moment);
    let mut started: Vec<(&'static str, usize, String)> = vec![];
    let mut now = Duration::ZERO;
    for (moment, source, number, is_stop) in moments {
        tokio::time::sleep(moment - now).await;
        now = moment;
        if !is_stop {
            let cloud = site.cloud_of(source.way);
            started.push((source.id, number, cloud.start_execution(&source.input.to_string()).await));
            continue;
        }
        let is_it = |(id, other, _): &&(&'static str, usize, String)| (*id, *other) == (source.id, number);
        let (_, _, execution) = started.iter().find(is_it).expect("started before it is stopped");
        // Refused if it has ended by itself.
        let _ = site.cloud.sfn.stop_execution().execution_arn(execution).send().await;
    }
    started.into_iter().map(|(id, _, execution)| (id, execution)).collect()
}
