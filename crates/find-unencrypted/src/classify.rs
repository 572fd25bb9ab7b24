//! Which instances are to be encrypted, and why each of the others is not.

use std::collections::BTreeMap;

use crate::ask::Ask;
use crate::attempts::Attempts;
use crate::instances::Instance;
use crate::ways::SNAPSHOT;
use crate::{About, Candidate, LeftOut, Reason, Sorted};

/// `rds-encrypt: exempt` on an instance: a fleet leaves it alone.
const EXEMPT: (&str, &str) = ("rds-encrypt", "exempt");
/// After as many, a human has to look.
const ATTEMPTS_MAX: u32 = 3;

pub(crate) fn sort(ask: &Ask, instances: &[Instance], attempts: &Attempts, is_beside_another: bool) -> Sorted {
    let mut sorted = Sorted::default();
    let twins = Twins::of(instances);
    for instance in instances.iter().filter(|instance| is_meant(ask, instance)) {
        let ended = attempts.ended(&instance.about.resource_id);
        let reason = if instance.is_encrypted { None } else { unless_encrypted(ask, instance, attempts, &twins) };
        let reason = reason.or_else(|| instance.refusal.clone()).or_else(|| tried(ask, ended));
        let another = "another sweep is running: this one leaves all to it".to_owned();
        match reason.or_else(|| is_beside_another.then_some((Reason::SweepRunning, another))) {
            None => {
                let attempt = if ask.trigger.tries_again() { ended + 1 } else { 1 };
                sorted.items.push(Candidate {
                    name: format!("{}-{attempt}", instance.about.resource_id),
                    // With the plan's own comparison, if there is to be one.
                    way: ask.way.unwrap_or(&SNAPSHOT),
                    detail: String::new(),
                    about: instance.about.clone(),
                });
            }
            Some((reason, detail)) => sorted.left_out.push(LeftOut { reason, detail, about: instance.about.clone() }),
        }
    }
    for reference in ask.instances.iter().flatten() {
        if !instances.iter().any(|instance| instance.is_called(reference)) {
            sorted.left_out.push(not_found(reference));
        }
    }
    sorted
}

fn is_meant(ask: &Ask, instance: &Instance) -> bool {
    ask.instances.as_ref().is_none_or(|names| names.iter().any(|name| instance.is_called(name)))
}

/// Why an instance that is not encrypted is left as it is. Those that nothing has to be done about come first.
fn unless_encrypted(ask: &Ask, instance: &Instance, attempts: &Attempts, twins: &Twins) -> Option<(Reason, String)> {
    let has_tag = |(key, value): (&str, &str)| instance.tags.iter().any(|(name, text)| name == key && text == value);
    if has_tag(EXEMPT) {
        return Some((Reason::Exempt, format!("it has the tag {}: {}", EXEMPT.0, EXEMPT.1)));
    }
    if !ask.include.all_match(&instance.tags) || ask.exclude.any_matches(&instance.tags) {
        return Some((Reason::FilteredOut, "its tags are not those that were asked for".to_owned()));
    }
    if let Some(twin) = twins.of_instance(instance) {
        let old = "if it is not needed any more, delete it, else give it the tag rds-encrypt: exempt";
        return Some((Reason::HasEncryptedTwin, format!("`{twin}` is its encrypted twin; {old}")));
    }
    if attempts.is_running(&instance.about.resource_id) || twins.is_being_made_of(instance) {
        return Some((Reason::InProgress, "an execution is encrypting it".to_owned()));
    }
    None
}

fn tried(ask: &Ask, ended: u32) -> Option<(Reason, String)> {
    if ended >= ATTEMPTS_MAX {
        let remedy = "see why the last one failed, and start the machine of one instance by hand";
        return Some((Reason::GaveUp, format!("{ended} executions have ended without an encrypted twin; {remedy}")));
    }
    if ended > 0 && !ask.trigger.tries_again() {
        let next = "an event starts one attempt, the next sweep tries again";
        return Some((
            Reason::AlreadyTried,
            format!("{ended} executions have ended without an encrypted twin; {next}"),
        ));
    }
    None
}

fn not_found(reference: &str) -> LeftOut {
    let detail = format!("there is no DB instance `{reference}` here");
    let about = About {
        instance_id: reference.to_owned(),
        resource_id: String::new(),
        engine: String::new(),
        class: String::new(),
        allocated_gib: 0,
        read_replicas: 0,
        minutes_at_least: 0,
        minutes_at_most: 0,
    };
    LeftOut { reason: Reason::NotFound, detail, about }
}

/// What was made of which instance.
struct Twins<'a> {
    /// Proven ones, by the DbiResourceId of their source.
    proven: BTreeMap<&'a str, &'a str>,
    /// Those that an execution still owns.
    owned: BTreeMap<&'a str, &'a str>,
    encrypted: BTreeMap<&'a str, ()>,
}

impl<'a> Twins<'a> {
    fn of(instances: &'a [Instance]) -> Self {
        let (mut proven, mut owned, mut encrypted) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for instance in instances.iter().filter(|instance| instance.is_encrypted) {
            let id = instance.about.instance_id.as_str();
            encrypted.insert(id, ());
            if let Some(source) = &instance.twin_of {
                let twins = if instance.is_owned { &mut owned } else { &mut proven };
                twins.insert(source.as_str(), id);
            }
        }
        Self { proven, owned, encrypted }
    }

    /// By the tag that an execution leaves on its target, or by the name that a switchover of a blue/green deployment
    /// gives the old instance ("Blue/Green Deployments", RDS User Guide: `-old1`).
    fn of_instance(&self, instance: &'a Instance) -> Option<&'a str> {
        let renamed = || {
            let (name, number) = instance.about.instance_id.rsplit_once("-old")?;
            (number.parse::<u32>().is_ok() && self.encrypted.contains_key(name)).then_some(name)
        };
        self.proven.get(instance.about.resource_id.as_str()).copied().or_else(renamed)
    }

    fn is_being_made_of(&self, instance: &Instance) -> bool {
        self.owned.contains_key(instance.about.resource_id.as_str())
    }
}
