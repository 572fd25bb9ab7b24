//! Of a plan: how long all of it may take, and what is billed besides. Without prices, which differ by Region and by
//! contract.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::lines::tenths;
use crate::{Line, Outcome};

/// "Quotas and constraints for Amazon RDS": copies in progress to one Region.
const COPIES_AT_A_TIME: usize = 20;
const HOURS_A_DAY: usize = 24;

#[derive(Debug, PartialEq, Serialize)]
pub struct Estimate {
    pub hours_at_least: f64,
    pub hours_at_most: f64,
    /// From its restore on, until the old instance is deleted, each instance is there twice.
    pub instance_hours_a_day: usize,
    /// The same by class; an instance with a standby counts once.
    pub instances: BTreeMap<String, usize>,
    pub storage_gib: i64,
    /// RDS bills the data in a snapshot, and not the size of its instance.
    pub snapshot_gib_at_most: i64,
}

impl Estimate {
    /// Nothing, if nothing is planned.
    pub(crate) fn of(lines: &[Line], max_concurrency: usize) -> Option<Self> {
        let planned: Vec<&Line> = lines.iter().filter(|line| line.outcome == Outcome::Planned).collect();
        if planned.is_empty() {
            return None;
        }
        let mut instances: BTreeMap<String, usize> = BTreeMap::new();
        for line in &planned {
            *instances.entry(line.class.clone()).or_default() += 1;
        }
        let at_least = planned.iter().map(|line| line.minutes_at_least);
        let at_most = planned.iter().map(|line| line.minutes);
        Some(Self {
            hours_at_least: hours(at_least, max_concurrency),
            hours_at_most: hours(at_most, max_concurrency.min(COPIES_AT_A_TIME)),
            instance_hours_a_day: planned.len() * HOURS_A_DAY,
            instances,
            storage_gib: planned.iter().map(|line| line.allocated_gib).sum(),
            snapshot_gib_at_most: planned.iter().map(|line| line.snapshot_gib_at_most).sum(),
        })
    }

    pub(crate) fn in_words(&self) -> String {
        let instances: Vec<String> = self.instances.iter().map(|(class, count)| format!("{count} {class}")).collect();
        format!(
            "Time: {} to {} hours, by the storage that is allocated. Billed besides, from an instance's restore until \
             you delete the old one: {} instance-hours a day ({}), {} GiB of storage; and at most {} GiB of snapshots.",
            self.hours_at_least,
            self.hours_at_most,
            self.instance_hours_a_day,
            instances.join(", "),
            self.storage_gib,
            self.snapshot_gib_at_most,
        )
    }
}

/// Whoever is free takes the next.
fn hours(minutes: impl Iterator<Item = f64>, side_by_side: usize) -> f64 {
    let mut ends = vec![0.0_f64; side_by_side.max(1)];
    for minutes in minutes {
        if let Some(first) = ends.iter_mut().min_by(|one, other| one.total_cmp(other)) {
            *first += minutes;
        }
    }
    tenths(ends.into_iter().fold(0.0, f64::max) / 60.0)
}
