//! A rough estimate of time and cost, for a change request. Nothing decides by it.

use aws_sdk_rds::types::DbInstance;
use serde::Serialize;

/// Assumptions, not measurements on AWS [A41]: a first snapshot, its encrypted copy (a full copy) and the
/// restore each have a fixed part, and the first two grow with the data.
const FIXED_MINUTES: i64 = 25;
const FAST_GIB_PER_MINUTE: i64 = 10;
const SLOW_GIB_PER_MINUTE: i64 = 1;

/// Snapshot storage in us-east-1, USD 0.095 per GiB-month ("Amazon RDS pricing", backup storage).
const SNAPSHOT_MILLICENTS_PER_GIB_MONTH: i64 = 9_500;

#[derive(Debug, Serialize)]
pub struct Estimate {
    pub minutes_at_least: i64,
    pub minutes_at_most: i64,
    /// Upper bound for keeping the encrypted snapshot: RDS bills the data in it, not the size.
    pub snapshot_usd_per_month_at_most: f64,
    pub basis: &'static str,
}

impl Estimate {
    /// The snapshot and its copy are waited for one after the other, each up to `max_wait_minutes`.
    pub fn longest_wait_minutes(source: &DbInstance) -> u64 {
        let gib = i64::from(source.allocated_storage().unwrap_or_default());
        (FIXED_MINUTES + gib / SLOW_GIB_PER_MINUTE).unsigned_abs()
    }

    pub fn of(source: &DbInstance) -> Self {
        let gib = i64::from(source.allocated_storage().unwrap_or_default());
        Self {
            minutes_at_least: FIXED_MINUTES + gib / FAST_GIB_PER_MINUTE,
            minutes_at_most: 2 * FIXED_MINUTES + 2 * gib / SLOW_GIB_PER_MINUTE,
            snapshot_usd_per_month_at_most: (gib * SNAPSHOT_MILLICENTS_PER_GIB_MONTH) as f64 / 100_000.0,
            basis: "allocated storage; assumed 1 to 10 GiB a minute for snapshot and copy, 25 to 50 minutes besides, \
                    and the us-east-1 price of USD 0.095 per GiB-month; not measured on AWS. The target is billed as a \
                    second DB instance from its restore on",
        }
    }
}
