//! What the account's quotas leave room for. Waiting frees nothing, since every execution keeps an instance and a
//! snapshot: so what does not fit is not started.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::AccountQuota;
use workflow::Error;

use crate::ask::Ask;
use crate::{Candidate, LeftOut, Reason, Sorted};

/// Manual snapshots that are left to everybody else.
const SNAPSHOTS_RESERVED: i64 = 5;
/// Snapshots that one execution makes, if its way does: the unencrypted one and its copy.
const SNAPSHOTS_MADE: i64 = 2;

#[derive(Debug)]
pub(crate) struct Room {
    instances: i64,
    storage_gib: i64,
    snapshots: i64,
    /// What each execution that makes some keeps in the end.
    snapshots_kept: i64,
    /// What it has besides while it runs.
    snapshots_meanwhile: i64,
    concurrency: i64,
}

impl Room {
    pub(crate) async fn of(client: &Client, ask: &Ask, concurrency: usize) -> Result<Self, Error> {
        let output = client.describe_account_attributes().send().await;
        let quotas = match output.map_err(|error| Error::from_call("read the account's RDS quotas", error)) {
            Ok(output) => output.account_quotas.unwrap_or_default(),
            // Each plan looks again, and RDS itself refuses what does not fit.
            Err(error) if !error.is_passing() => {
                tracing::warn!(%error, "the quotas are not known: everything is admitted");
                vec![]
            }
            Err(error) => return Err(error),
        };
        let free = |name: &str| quotas.iter().find_map(|quota| free_of(quota, name)).unwrap_or(i64::MAX / 2);
        let snapshots_kept = snapshots_kept(ask);
        Ok(Self {
            instances: free("DBInstances"),
            storage_gib: free("AllocatedStorage"),
            snapshots: free("ManualSnapshots") - SNAPSHOTS_RESERVED,
            snapshots_kept,
            snapshots_meanwhile: SNAPSHOTS_MADE - snapshots_kept,
            concurrency: concurrency.try_into().unwrap_or(i64::MAX / 4),
        })
    }

    /// Moves what does not fit to those that are left out.
    pub(crate) fn admit(mut self, sorted: &mut Sorted) {
        let mut making = 0;
        let mut left_out = vec![];
        sorted.items.retain(|candidate| {
            let made = making + i64::from(candidate.way.makes_snapshots);
            let Some(lacking) = self.lacking(candidate, made) else {
                making = made;
                self.instances -= instances(candidate);
                self.storage_gib -= storage_gib(candidate);
                return true;
            };
            let detail =
                format!("the account's quota leaves no room for {lacking}; raise it, or delete what is not needed");
            left_out.push(LeftOut { reason: Reason::NoQuota, detail, about: candidate.about.clone() });
            false
        });
        sorted.left_out.extend(left_out);
    }

    /// What it does not fit into. `making`: how many make snapshots, this one included.
    fn lacking(&self, candidate: &Candidate, making: i64) -> Option<&'static str> {
        let snapshots = making * self.snapshots_kept + making.min(self.concurrency) * self.snapshots_meanwhile;
        if self.instances < instances(candidate) {
            Some(if instances(candidate) > 1 { "as many DB instances again" } else { "another DB instance" })
        } else if storage_gib(candidate) > self.storage_gib {
            Some("its storage")
        } else if snapshots > self.snapshots.max(0) {
            Some("its snapshots")
        } else {
            None
        }
    }
}

/// That are made.
fn instances(candidate: &Candidate) -> i64 {
    let replicas = if candidate.way.takes_replicas { candidate.about.read_replicas } else { 0 };
    1 + i64::try_from(replicas).unwrap_or(i64::MAX / 4)
}

/// Replicas are as large as their source, or larger; how much so their own plan would know.
fn storage_gib(candidate: &Candidate) -> i64 {
    i64::from(candidate.about.allocated_gib) * instances(candidate)
}

/// Of an execution that makes snapshots.
pub(crate) fn snapshots_kept(ask: &Ask) -> i64 {
    match ask.defaults.get("snapshots").and_then(|kept| kept.as_str()) {
        Some("delete_all") => 0,
        Some("keep") => SNAPSHOTS_MADE,
        _ => 1,
    }
}

fn free_of(quota: &AccountQuota, name: &str) -> Option<i64> {
    (quota.account_quota_name() == Some(name)).then(|| Some(quota.max()? - quota.used()?))?
}
