//! Every fault at every call: which pairs there are, and whether one ended as it must.

use std::collections::BTreeMap;

use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};

use super::pair::{Call, Extent, FAULTS, Kind, Pair, Scenario, rule};
use super::site::{Run, Site};
use super::world::{ENCRYPTED, Resource, SOURCE, text};

/// Of a loop's looks, whose number time decides, so many are befallen.
const LOOKS_OF_A_LOOP: usize = 2;

/// The functions that an undo needs: while one of them cannot work, nothing can be whole.
const UNDOING: &[&str] = &["read-execution", "rename-instance", "fence-source", "apply-settings", "clean-up"];

/// The pairs of a scenario: its calls as they are made when nothing else goes wrong.
pub(crate) async fn pairs(site: &Site, scenario: &'static Scenario) -> Result<Vec<Pair>, String> {
    let run = site.run(&scenario.input(), &first_rules(site, scenario), false).await?;
    let calls = calls_of(&run, scenario);
    if calls.is_empty() {
        return Err(format!("{}: no calls, {:?}", scenario.name, run.outcome));
    }
    let pairs = calls
        .iter()
        .flat_map(|call| FAULTS.iter().map(|&(kind, extent)| Pair { scenario, call: call.clone(), kind, extent }));
    Ok(pairs.filter(Pair::is_applicable).collect())
}

/// The calls worth befalling, numbered as the fault rules count them.
fn calls_of(run: &Run, scenario: &Scenario) -> Vec<Call> {
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut looks: Vec<Value> = vec![];
    let mut is_candidate = scenario.first_fault.is_none();
    let mut first_calls = 0;
    let mut calls = vec![];
    for call in &run.calls {
        let function = text(&call["app_id"]).trim_start_matches("rds-encrypt.").to_owned();
        let operation = text(&call["operation"]).to_owned();
        let number = counts.entry((function.clone(), operation.clone())).or_default();
        *number += 1;
        let same = json!([function, operation, call["parameters"]]);
        if looks.last() != Some(&same) {
            looks.clear();
        }
        looks.push(same);
        if is_candidate && looks.len() <= LOOKS_OF_A_LOOP {
            calls.push(Call { function, operation, number: *number, resource: resource_of(call, run) });
            continue;
        }
        if let Some(first) = &scenario.first_fault
            && (first.function, first.operation) == (&*function, &*operation)
            && (first.naming.is_empty() || call["parameters"].to_string().contains(&format!("{:?}", first.naming)))
        {
            first_calls += 1;
            is_candidate |= first_calls == first.call;
        }
    }
    calls
}

/// What the call is about, if that exists before it.
fn resource_of(call: &Value, run: &Run) -> Option<Resource> {
    let parameters = &call["parameters"];
    let exists = call["resources"].as_array().is_some_and(|resources| !resources.is_empty()) && call["status"] == 200;
    let named = |name: &str| parameters[name].as_str().filter(|_| exists).map(str::to_owned);
    named("SourceDBSnapshotIdentifier")
        .map(Resource::Snapshot)
        .or_else(|| match text(&call["operation"]) {
            "CreateDBSnapshot" => named("DBInstanceIdentifier").map(Resource::Instance),
            _ => named("DBSnapshotIdentifier").map(Resource::Snapshot),
        })
        .or_else(|| named("DBInstanceIdentifier").map(Resource::Instance))
        .or_else(|| run.name_of(parameters["Filters"][0]["Values"][0].as_str()?, call).map(Resource::Instance))
}

pub(crate) fn first_rules(site: &Site, scenario: &Scenario) -> Vec<Value> {
    let first = scenario.first_fault.as_ref();
    first
        .map(|first| {
            let mut rule = rule(first.function, first.operation, first.kind, &stop(site, false));
            rule["call"] = json!(first.call);
            if !first.naming.is_empty() {
                rule["naming"] = json!(first.naming);
            }
            rule
        })
        .into_iter()
        .collect()
}

/// What a `stop` stops: what runs of the one machine, or of the undo from outside.
fn stop(site: &Site, undo: bool) -> Value {
    let machine = if undo { site.cloud.undo_state_machine() } else { site.cloud.state_machine() };
    json!({"endpoint": site.cloud.endpoint(), "state_machine_arn": machine})
}

/// How a pair ended, for the table.
pub(crate) type Ending = String;

pub(crate) async fn play(site: &Site, pair: &Pair) -> Result<Ending, String> {
    // The pair's own first: where two rules mean a call, the first befalls it.
    let mut rules = vec![pair.rule(stop(site, pair.scenario.is_stopped()))];
    rules.extend(first_rules(site, pair.scenario));
    let run = site.run(&pair.scenario.input(), &rules, pair.kind == Kind::Slow).await?;
    let ending = check(site, pair, &run).await;
    ending.map_err(|problem| {
        format!(
            "{problem}\n    ended as {:?} {} {}\n    after {}\n    undo {:?}",
            run.outcome.status,
            run.outcome.error,
            run.outcome.cause,
            run.states.join(" "),
            run.undo.as_ref().map(|undo| (&undo.status, &undo.cause)),
        )
    })
}

async fn check(site: &Site, pair: &Pair, run: &Run) -> Result<Ending, String> {
    if run.befallen == 0 {
        // Time decides how often a loop looks, so the call may not have been made.
        return expect_first(pair, run).map(|()| "not met".to_owned());
    }
    expect_outcome(pair, run)?;
    let broken = pair.broken();
    let source_is_broken = broken.contains(&Resource::Instance(SOURCE.to_owned()));
    if !source_is_broken {
        run.after.source_survives(&run.before)?;
        run.source_is_left_alone_until_proven()?;
    }
    run.others_are_untouched_but(&broken)?;
    run.failure_lists_what_is_left()?;
    if !broken.is_empty() {
        return run.nothing_else_is_left(&broken).map(|()| format!("{} {}", status(run), run.outcome.error));
    }
    let mut healed = "";
    if let Err(problem) = run.is_whole(&run.after) {
        let cannot_heal = pair.extent == Extent::Lasting && UNDOING.contains(&pair.call.function.as_str())
            || pair.kind == Kind::Stopped && pair.scenario.is_stopped();
        if !cannot_heal {
            return Err(problem);
        }
        let world = site.undo_by_hand(&run.outcome.execution).await?;
        run.is_whole(&world).map_err(|problem| format!("after the undo by hand: {problem}"))?;
        healed = ", whole after the undo by hand";
    }
    Ok(format!("{} {}{healed}", status(run), run.outcome.error))
}

fn status(run: &Run) -> &str {
    run.outcome.status.as_str()
}

/// What the scenario alone comes to.
fn expect_first(pair: &Pair, run: &Run) -> Result<(), String> {
    let expected = match &pair.scenario.first_fault {
        None => (ExecutionStatus::Succeeded, ""),
        Some(first) if first.kind == Kind::Stopped => (ExecutionStatus::Aborted, ""),
        Some(first) => (ExecutionStatus::Failed, first.kind.errors()[0]),
    };
    let actual = (run.outcome.status.clone(), run.outcome.error.as_str());
    if actual == expected { Ok(()) } else { Err(format!("is {actual:?}, not {expected:?}")) }
}

fn expect_outcome(pair: &Pair, run: &Run) -> Result<(), String> {
    if pair.kind == Kind::Stopped && !pair.scenario.is_stopped() {
        return if run.outcome.status == ExecutionStatus::Aborted { Ok(()) } else { Err("was not stopped".to_owned()) };
    }
    let happy = pair.scenario.first_fault.is_none();
    match (pair.kind, pair.extent) {
        // The first error is the one that counts.
        _ if !happy => expect_first(pair, run),
        (Kind::Vanished | Kind::BecameFailed, _) if run.outcome.status == ExecutionStatus::Succeeded => Ok(()),
        (Kind::Vanished | Kind::BecameFailed, _) | (_, Extent::Lasting) => {
            let named = pair.kind.errors().contains(&run.outcome.error.as_str());
            if run.outcome.status == ExecutionStatus::Failed && named {
                Ok(())
            } else {
                Err(format!("is not FAILED with one of {:?}", pair.kind.errors()))
            }
        }
        (_, Extent::Once) => expect_first(pair, run),
    }
}

impl Run {
    /// The name under which a describe call found an instance by its DbiResourceId.
    fn name_of(&self, resource_id: &str, call: &Value) -> Option<String> {
        // Renames have changed it since; the calls before this one tell how often.
        let number = call["number"].as_u64();
        let source = self.before.resource_id_of(SOURCE) == Some(resource_id);
        let renamed =
            self.calls.iter().take_while(|other| other["number"].as_u64() < number).fold(None, |name, other| {
                let from = text(&other["parameters"]["DBInstanceIdentifier"]);
                let to = other["parameters"]["NewDBInstanceIdentifier"].as_str().filter(|_| other["status"] == 200);
                let current = name.unwrap_or(if source { SOURCE } else { ENCRYPTED });
                if from == current { to.or(name) } else { name }
            });
        Some(renamed.unwrap_or(if source { SOURCE } else { ENCRYPTED }).to_owned())
    }

    /// The old world before the commit point, the new one after it.
    fn is_whole(&self, world: &super::world::World) -> Result<(), String> {
        if self.is_committed() {
            world.is_new(&self.before, self.is_cutover(), &[])
        } else {
            world.is_old(&self.before)
        }
    }

    /// The target is proven and keeps its name, or has taken the source's.
    fn is_committed(&self) -> bool {
        if self.is_cutover() {
            self.at_end_or_after_target_has_the_name()
        } else {
            self.states.iter().any(|state| state == "KeepTargetName")
        }
    }

    fn at_end_or_after_target_has_the_name(&self) -> bool {
        let source = self.before.resource_id_of(SOURCE);
        self.after.resource_id_of(SOURCE).is_some_and(|now| Some(now) != source)
            || self.at_end.resource_id_of(SOURCE).is_some_and(|now| Some(now) != source)
    }

    fn is_cutover(&self) -> bool {
        self.calls.iter().any(|call| call["parameters"]["NewDBInstanceIdentifier"].is_string())
            || self.states.iter().any(|state| state == "TakeSourceName")
    }

    /// Until Verify has passed, the source is only read and snapshotted; and it is never deleted or stopped.
    fn source_is_left_alone_until_proven(&self) -> Result<(), String> {
        let proven = self.calls.iter().position(|call| call["app_id"] == "rds-encrypt.verify" && call["status"] == 200);
        let source = self.before.resource_id_of(SOURCE);
        for (position, call) in self.calls.iter().enumerate() {
            let operation = text(&call["operation"]);
            let changes = ["Modify", "Reboot", "Add", "Remove", "Start", "Promote"]
                .iter()
                .any(|verb| operation.starts_with(verb));
            let ends = operation.starts_with("DeleteDBInstance") || operation.starts_with("StopDBInstance");
            let id = text(&call["parameters"]["DBInstanceIdentifier"]);
            let names_source =
                id == super::world::RENAMED_SOURCE || (id == SOURCE && self.after.resource_id_of(SOURCE) == source);
            if names_source && (ends || changes && proven.is_none_or(|proven| position < proven)) {
                return Err(format!("{operation} of the source: {call}"));
            }
        }
        Ok(())
    }

    fn others_are_untouched_but(&self, broken: &[Resource]) -> Result<(), String> {
        self.after.without(broken).others_are_untouched(&self.before.without(broken), &[SOURCE])
    }

    /// FAILED says what it leaves.
    fn failure_lists_what_is_left(&self) -> Result<(), String> {
        if self.outcome.status != ExecutionStatus::Failed {
            return Ok(());
        }
        let silent =
            self.at_end.made_since(&self.before).into_iter().find(|id| {
                !self.outcome.cause.contains(&format!("`{id}`")) && !self.outcome.cause.contains(id.as_str())
            });
        silent.map_or(Ok(()), |id| Err(format!("{id} is left, and the cause does not say so")))
    }

    /// After something vanished or broke that was there: the rest is in order.
    fn nothing_else_is_left(&self, broken: &[Resource]) -> Result<(), String> {
        let world = self.after.without(broken);
        let before = self.before.without(broken);
        let committed = self.is_committed() || self.outcome.status == ExecutionStatus::Succeeded;
        if committed {
            let target = if self.is_cutover() { SOURCE } else { ENCRYPTED };
            if !broken.contains(&Resource::Instance(target.to_owned())) && !self.after.has_instance(target) {
                return Err(format!("the target {target} is gone after the commit point"));
            }
            return Ok(());
        }
        world.is_old(&before)
    }
}
