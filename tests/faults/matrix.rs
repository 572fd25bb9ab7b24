//! Every fault at every call: which pairs there are, and whether one ended as it must.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};
use workflow::options::Way;

use super::pair::{Call, ENCRYPTED, Extent, FAULTS, Kind, Pair, SOURCE, Scenario, rule};
use super::site::{Run, Site};
use super::witness;
use super::world::{New, Subject, World, renamed, switched, text};
use crate::dms::left_in_dms;
use crate::permissions::refused;

/// Of a loop's looks, whose number time decides, so many are befallen.
const LOOKS_OF_A_LOOP: usize = 2;

/// The functions that an undo needs: while one of them cannot work, nothing can be whole.
const UNDOING: &[&str] = &["read-execution", "undo", "undo-database"];

/// The pairs of a scenario: its calls as they are made when nothing else goes wrong.
pub(crate) async fn pairs(site: &Site, scenario: &'static Scenario) -> Result<Vec<Pair>, String> {
    let run = site.run(scenario, &first_rules(site, scenario), false).await?;
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
    let mut refused_before: BTreeMap<String, usize> = BTreeMap::new();
    let first_fault = run.position_of_first_fault(scenario);
    let mut calls = vec![];
    for (position, call) in run.calls.iter().enumerate() {
        let function = text(&call["app_id"]).trim_start_matches("rds-encrypt.").to_owned();
        let operation = text(&call["operation"]).to_owned();
        let number = counts.entry((function.clone(), operation.clone())).or_default();
        *number += 1;
        let same = json!([function, operation, call["parameters"]]);
        if looks.last() != Some(&same) {
            looks.clear();
        }
        looks.push(same.clone());
        // What is refused is asked again at each look, among other calls.
        let is_refused = call["status"] != 200;
        let refusals = refused_before.entry(same.to_string()).or_default();
        *refusals += usize::from(is_refused);
        let is_one_of_many = looks.len() > LOOKS_OF_A_LOOP || is_refused && *refusals > LOOKS_OF_A_LOOP;
        if first_fault.is_none_or(|first| position > first) && !is_one_of_many {
            let subject = subject_of(call, run);
            calls.push(Call { function, operation, number: *number, subject });
        }
    }
    calls
}

/// What the call is about, if that exists before it, and what it is called then.
fn subject_of(call: &Value, run: &Run) -> Option<(Subject, String)> {
    // After a switchover the names lead elsewhere.
    let mut earlier = run.calls.iter().take_while(|earlier| earlier["number"] != call["number"]);
    if earlier.any(|earlier| earlier["operation"] == "SwitchoverBlueGreenDeployment") {
        return None;
    }
    let parameters = &call["parameters"];
    let named = |name: &str| parameters[name].as_str().map(str::to_owned);
    if let Some(resource_id) = parameters["Filters"][0]["Values"][0].as_str().filter(|id| id.starts_with("db-")) {
        return run.subject_by(resource_id, call);
    }
    if call["status"] != 200 || call["resources"][0].is_null() {
        return None;
    }
    // Its target does not exist yet.
    let snapshot = named("SourceDBSnapshotIdentifier")
        .or_else(|| named("DBSnapshotIdentifier").filter(|_| call["operation"] != "CreateDBSnapshot"));
    if let Some(id) = snapshot {
        let subject = if id == ENCRYPTED { Subject::EncryptedSnapshot } else { Subject::UnencryptedSnapshot };
        return Some((subject, id));
    }
    let id = named("DBInstanceIdentifier")?;
    if id.contains("-green-") {
        return Some((Subject::Target, SOURCE.to_owned()));
    }
    Some((run.bearer(&id, call), id))
}

pub(crate) fn first_rules(site: &Site, scenario: &Scenario) -> Vec<Value> {
    let first = scenario.first_fault.as_ref();
    first
        .map(|first| {
            let cloud = site.cloud_of(scenario.way);
            let mut rule = rule(first.function, first.operation, first.kind, &stop(site, &[cloud.state_machine()]));
            // Who is denied stays so: else the SDK, to which a slow machine's answer comes too late, calls again in peace.
            rule[if first.kind == Kind::Denied { "from_call" } else { "call" }] = json!(first.call);
            if !first.naming.is_empty() {
                rule["naming"] = json!(first.naming);
            }
            rule
        })
        .into_iter()
        .collect()
}

/// What a `stop` stops: whatever runs of these machines.
fn stop(site: &Site, machines: &[&str]) -> Value {
    json!({"endpoint": site.cloud.endpoint(), "state_machine_arns": machines})
}

/// How a pair ended, for the table.
pub(crate) type Ending = String;

pub(crate) async fn play(site: &Site, pair: &Pair) -> Result<Ending, String> {
    // The pair's own first: where two rules mean a call, the first befalls it.
    let cloud = site.cloud_of(pair.scenario.way);
    let both = [cloud.state_machine(), cloud.undo_state_machine()];
    let mut rules = vec![pair.rule(stop(site, &both))];
    rules.extend(first_rules(site, pair.scenario));
    let run = site.run(pair.scenario, &rules, pair.kind == Kind::Slow).await?;
    let ending = check(site, pair, &run).await;
    ending.map_err(|problem| {
        format!(
            "{problem}\n    ended as {:?} {} {}\n    after {}\n    undo {:?}",
            run.outcome.status,
            run.outcome.error,
            run.outcome.cause,
            once_each(&run.states).join(" "),
            run.undo.as_ref().map(|undo| (&undo.status, &undo.cause)),
        )
    })
}

/// Without the repetitions of loops.
fn once_each(states: &[String]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    states.iter().map(String::as_str).filter(|state| seen.insert(*state)).collect()
}

async fn check(site: &Site, pair: &Pair, run: &Run) -> Result<Ending, String> {
    if run.befallen == 0 {
        // Time decides how often a loop looks, so the call may not have been made.
        return expect_first(pair, run).map(|()| "not met".to_owned());
    }
    expect_outcome(pair, run)?;
    let broken = pair.broken();
    if broken != Some(Subject::Source) {
        run.after.source_survives(&run.before)?;
        run.source_is_left_alone_until_proven()?;
    }
    run.after.others_are_untouched(&run.before)?;
    run.failure_lists_what_is_left()?;
    let refused = refused(&site.cloud);
    if !refused.is_empty() {
        // The next pair is not to blame.
        site.cloud.control("DELETE", "refusals", json!({}));
        return Err(format!("{refused:?}"));
    }
    if let Some(broken) = broken {
        return run.the_rest_is_whole(pair, broken).map(|()| format!("{} {}", status(run), run.outcome.error));
    }
    let mut healed = "";
    if run.outcome.status == ExecutionStatus::Succeeded && !run.is_committed() {
        return Err("SUCCEEDED before the commit point".to_owned());
    }
    if let Err(problem) = run.is_whole(&run.after) {
        let cannot_heal = pair.extent == Extent::Lasting && UNDOING.contains(&pair.call.function.as_str())
            || run.is_undo_stopped()
            // The scenario's own fault may then strike the undo.
            || run.comes_first(pair);
        if !cannot_heal {
            return Err(problem);
        }
        let world = site.undo_by_hand(&run.outcome.execution).await?;
        run.is_whole(&world).map_err(|problem| format!("after the undo by hand: {problem}"))?;
        healed = ", whole after the undo by hand";
    }
    if let Some(acknowledged) = &run.acknowledged {
        let replications = left_in_dms(&site.cloud, &run.outcome.execution).await;
        if !replications.is_empty() {
            return Err(format!("{replications:?} are left in AWS DMS"));
        }
        witness::has_all(&site.cloud, SOURCE, acknowledged).await?;
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
    if pair.kind == Kind::Stopped {
        return match run.outcome.status {
            _ if run.is_undo_stopped() => expect_first(pair, run),
            ExecutionStatus::Aborted => Ok(()),
            _ => Err("was not stopped".to_owned()),
        };
    }
    match (pair.kind, pair.extent) {
        // The first error is the one that counts.
        _ if pair.scenario.first_fault.is_some() && !run.comes_first(pair) => expect_first(pair, run),
        _ if pair.is_only_said() => expect_first(pair, run),
        // It was not needed any more.
        (Kind::Vanished | Kind::BecameFailed, _) if expect_first(pair, run).is_ok() => Ok(()),
        // Its effect is seen at the next look.
        (Kind::Lost | Kind::Slow | Kind::Killed, Extent::Lasting)
            if pair.call.has_effect() && expect_first(pair, run).is_ok() =>
        {
            Ok(())
        }
        // What a clean-up must not delete it lists, and goes on.
        (Kind::Denied, _) if pair.call.operation == "DeleteDBSnapshot" => expect_failure(run, &["CleanUpFailed"]),
        // Whatever keeps it from beginning, in the end it is the switchover that failed.
        (Kind::Throttled | Kind::Error500 | Kind::Error503 | Kind::Reset, Extent::Lasting)
            if pair.call.operation == "SwitchoverBlueGreenDeployment" =>
        {
            expect_failure(run, &["SwitchoverFailed"])
        }
        // What AWS DMS deletes is gone by the next look, and nobody asks for its tags any more.
        (Kind::Throttled | Kind::Error500 | Kind::Error503 | Kind::Reset, Extent::Lasting)
            if pair.call.operation == "ListTagsForResource" && expect_first(pair, run).is_ok() =>
        {
            Ok(())
        }
        // What comes about in an attempt opens the source again, and the attempts are counted.
        (
            Kind::Throttled | Kind::Error500 | Kind::Error503 | Kind::Reset | Kind::Lost | Kind::Slow,
            Extent::Lasting,
        ) if pair.call.function == "cut-over" && expect_failure(run, &["WaitTimedOut"]).is_ok() => Ok(()),
        (Kind::Vanished | Kind::BecameFailed, _) | (_, Extent::Lasting) => expect_failure(run, pair.kind.errors()),
        (_, Extent::Once) => expect_first(pair, run),
    }
}

fn expect_failure(run: &Run, errors: &[&str]) -> Result<(), String> {
    let is_named = errors.contains(&run.outcome.error.as_str());
    if run.outcome.status == ExecutionStatus::Failed && is_named {
        Ok(())
    } else {
        Err(format!("is not FAILED with one of {errors:?}"))
    }
}

impl Run {
    /// Whom a describe call looked for by DbiResourceId, and the name of then.
    fn subject_by(&self, resource_id: &str, call: &Value) -> Option<(Subject, String)> {
        let is_source = self.before.resource_id_of(SOURCE) == Some(resource_id);
        let subject = if is_source { Subject::Source } else { Subject::Target };
        if self.way == Way::BlueGreen && subject == Subject::Target {
            return Some((subject, SOURCE.to_owned()));
        }
        self.names_before(call).into_iter().find(|(bearer, _)| *bearer == subject)
    }

    /// Who bears a name at the time of a call.
    fn bearer(&self, id: &str, call: &Value) -> Subject {
        let names = self.names_before(call);
        names.into_iter().find(|(_, name)| name == id).map_or(Subject::Source, |(bearer, _)| bearer)
    }

    /// What source and target are called at the time of a call.
    fn names_before(&self, call: &Value) -> [(Subject, String); 2] {
        let mut names = [(Subject::Source, SOURCE.to_owned()), (Subject::Target, ENCRYPTED.to_owned())];
        for earlier in self.calls.iter().take_while(|earlier| earlier["number"] != call["number"]) {
            let Some(to) = earlier["parameters"]["NewDBInstanceIdentifier"].as_str() else { continue };
            let renamed = names.iter_mut().find(|(_, name)| earlier["parameters"]["DBInstanceIdentifier"] == *name);
            if let Some((_, name)) = renamed.filter(|_| earlier["status"] == 200) {
                *name = to.to_owned();
            }
        }
        names
    }

    /// The old world before the commit point, the new one after it.
    pub(crate) fn is_whole(&self, world: &World) -> Result<(), String> {
        if self.is_committed() {
            world.is_new(&self.before, self.new_world(), None)
        } else {
            world.is_old(&self.before, None)
        }
    }

    /// The target is proven and keeps its name, or has taken the source's (and may have vanished since).
    fn is_committed(&self) -> bool {
        let source = self.before.resource_id_of(SOURCE);
        let has_new_owner = |world: &World| world.resource_id_of(SOURCE).is_some_and(|owner| Some(owner) != source);
        if self.is_cutover() {
            self.has_entered("Commit") || has_new_owner(&self.at_end) || has_new_owner(&self.after)
        } else {
            self.has_entered("Commit")
        }
    }

    fn is_undo_stopped(&self) -> bool {
        self.undo.as_ref().is_some_and(|undo| undo.status == ExecutionStatus::Aborted)
    }

    /// Whether the target is to have the source's name.
    fn is_cutover(&self) -> bool {
        self.way != Way::Snapshot || self.has_entered("IsFenceAsked")
    }

    fn new_world(&self) -> New {
        match self.way {
            Way::BlueGreen => New::Switched,
            Way::Online => New::Replicated,
            Way::Snapshot if self.is_cutover() => New::Renamed { fenced: true },
            Way::Snapshot => New::Twin,
        }
    }

    fn has_entered(&self, state: &str) -> bool {
        self.states.iter().any(|entered| entered == state)
    }

    /// Until Verify has passed, the source is only read and snapshotted; and it is never deleted or stopped.
    fn source_is_left_alone_until_proven(&self) -> Result<(), String> {
        const CHANGES: &[&str] = &["ModifyDBInstance", "RebootDBInstance", "AddRoleToDBInstance"];
        const ENDS: &[&str] = &["DeleteDBInstance", "StopDBInstance"];
        let proven = self.calls.iter().position(|call| call["app_id"] == "rds-encrypt.verify" && call["status"] == 200);
        let source_keeps_name = !self.is_committed() || !self.is_cutover();
        for (position, call) in self.calls.iter().enumerate() {
            let operation = text(&call["operation"]);
            let id = text(&call["parameters"]["DBInstanceIdentifier"]);
            let too_early = CHANGES.contains(&operation) && proven.is_none_or(|proven| position < proven);
            let of_source =
                [renamed(SOURCE), switched(SOURCE)].iter().any(|name| name == id) || id == SOURCE && source_keeps_name;
            if of_source && (too_early || ENDS.contains(&operation)) {
                return Err(format!("{operation} of the source: {call}"));
            }
        }
        Ok(())
    }

    /// FAILED says what it leaves.
    fn failure_lists_what_is_left(&self) -> Result<(), String> {
        if self.outcome.status != ExecutionStatus::Failed {
            return Ok(());
        }
        let mut left = self.at_end.made_since(&self.before).into_iter();
        // Green goes with its deployment.
        let is_with_deployment =
            |id: &str| id.contains("-green-") && self.outcome.cause.contains("blue/green deployment");
        let silent = left.find(|id| !self.outcome.cause.contains(id.as_str()) && !is_with_deployment(id));
        silent.map_or(Ok(()), |id| Err(format!("{id} is left, and the cause does not say so")))
    }

    /// After something vanished or broke: the rest is in order.
    fn the_rest_is_whole(&self, pair: &Pair, broken: Subject) -> Result<(), String> {
        if self.outcome.status == ExecutionStatus::Succeeded {
            return self.after.is_new(&self.before, self.new_world(), Some(broken));
        }
        // It bore the name when it vanished, if only between the end and a look of the undo.
        let bore_name = self.way == Way::Snapshot && pair.call.subject == Some((Subject::Target, SOURCE.to_owned()));
        if self.is_committed() || bore_name {
            let target = if self.is_cutover() { SOURCE } else { ENCRYPTED };
            let is_there = broken == Subject::Target || self.after.resource_id_of(target).is_some();
            return if is_there { Ok(()) } else { Err(format!("{target} is gone after the commit point")) };
        }
        // Of a source that is gone or failed, what was made of it may be the last copy of the data.
        if broken == Subject::Source && matches!(self.after.status_of(SOURCE), None | Some("failed")) {
            // What replicates by DMS has no data.
            let deletes = |call: &&Value| {
                text(&call["operation"]).starts_with("Delete") && call["service"] != "dms" && call["status"] == 200
            };
            let deleted = self.calls.iter().skip(self.position(&pair.call)).find(deletes);
            return deleted.map_or(Ok(()), |call| Err(format!("deletes of the last copies: {call}")));
        }
        // RDS may refuse to delete green that failed; the cause lists it.
        if self.way == Way::BlueGreen && broken == Subject::Target {
            return Ok(());
        }
        // Once it is proven, it is kept and listed where the source cannot be put back.
        if broken == Subject::Source && self.is_proven() {
            return Ok(());
        }
        self.after.is_old(&self.before, Some(broken))
    }

    /// A loop that looked once more than when the calls were numbered meets the pair before the scenario's fault.
    fn comes_first(&self, pair: &Pair) -> bool {
        self.position_of_first_fault(pair.scenario).is_some_and(|first| self.position(&pair.call) < first)
    }

    /// Where the scenario goes wrong in any case; behind every call if it did not come to that.
    fn position_of_first_fault(&self, scenario: &Scenario) -> Option<usize> {
        let first = scenario.first_fault.as_ref()?;
        let skipped = usize::try_from(first.call).expect("a small number") - 1;
        let mut befallen = self.calls.iter().enumerate().filter(|(_, call)| first.means(call));
        Some(befallen.nth(skipped).map_or(self.calls.len(), |(position, _)| position))
    }

    /// Of a call among all.
    fn position(&self, call: &Call) -> usize {
        let of_the_kind = |(_, other): &(usize, &Value)| {
            text(&other["app_id"]).ends_with(&format!(".{}", call.function)) && other["operation"] == call.operation
        };
        let skipped = usize::try_from(call.number).expect("a small number") - 1;
        self.calls
            .iter()
            .enumerate()
            .filter(of_the_kind)
            .nth(skipped)
            .map_or(self.calls.len(), |(position, _)| position)
    }

    fn is_proven(&self) -> bool {
        ["IsCutoverAsked", "CheckLag", "SeedTarget", "PrepareTarget"].iter().any(|state| self.has_entered(state))
    }
}
