//! What cannot work is refused here, each with its own name, before anything is created.

use aws_sdk_rds::types::{AccountQuota, DbInstance};
pub(crate) use settings::refusals::instance;
use workflow::Error;
use workflow::adopt::conflict;
use workflow::describe::{find_instance, find_snapshot};
use workflow::error::{CallFailure, invalid};
use workflow::ids::{InstanceId, Names};
use workflow::options::Cutover;
use workflow::owner::{Owner, TAGS_MAX, TagPair};

use crate::Context;
use crate::input::Input;
use crate::look_ups::said_unless_passing;

/// Snapshots that one execution needs at a time: the unencrypted one and its copy.
pub(crate) const SNAPSHOTS_NEEDED: i64 = 2;
/// Tags of ours on a resource: the execution and the source.
const OWN_TAGS: usize = 2;

/// What an execution needs of the account's quotas.
pub(crate) struct Needed {
    pub(crate) snapshots: i64,
    pub(crate) instances: i64,
    pub(crate) storage_gib: i64,
}

impl Needed {
    /// A twin of each.
    pub(crate) fn of(instances: &[&DbInstance]) -> Self {
        let storage = instances.iter().map(|instance| i64::from(instance.allocated_storage().unwrap_or_default()));
        Self { snapshots: 0, instances: instances.len() as i64, storage_gib: storage.sum() }
    }
}

/// Refuses what would not fit; returns that nobody could look.
pub(crate) async fn quotas(context: &Context, needed: &Needed) -> Result<Option<String>, Error> {
    let output = match context.rds.describe_account_attributes().send().await {
        Ok(output) => output,
        // Safe to go on: RDS itself refuses what does not fit, and waits for room first.
        Err(error) => {
            let error = Error::from_call("read the account's RDS quotas", error);
            return said_unless_passing("the account's quotas of RDS", error).map(Some);
        }
    };
    let quotas = output.account_quotas();
    for (quota, needed, unit) in [
        ("ManualSnapshots", needed.snapshots, "manual snapshots"),
        ("DBInstances", needed.instances, "DB instances"),
        ("AllocatedStorage", needed.storage_gib, "GiB of storage"),
    ] {
        let Some((used, max)) = quotas.iter().find_map(|entry| used_and_max(entry, quota)) else { continue };
        if needed > 0 && used + needed > max {
            return Err(Error::QuotaExceeded(CallFailure::refused(
                "plan",
                quota,
                format!(
                    "{used} of {max} {unit} are in use and {needed} more are needed; delete what is not needed, or ask \
                     for more (`aws service-quotas list-service-quotas --service-code rds`)"
                ),
            )));
        }
    }
    Ok(None)
}

fn used_and_max(entry: &AccountQuota, name: &str) -> Option<(i64, i64)> {
    if entry.account_quota_name() != Some(name) {
        return None;
    }
    Some((entry.used()?, entry.max()?))
}

/// The derived names must be free, or taken by this very execution (a repeat of the plan, a resume).
pub(crate) async fn names(
    context: &Context,
    source: &InstanceId,
    names: &Names,
    owner: &Owner,
    input: &Input,
) -> Result<(), Error> {
    let Names { no_encrypted_snapshot_id, encrypted_snapshot_id, encrypted_instance_id, unencrypted_instance_id } =
        names;
    if encrypted_instance_id == source {
        return Err(invalid("target_instance_id", "is the source's own name; choose another"));
    }
    if input.options.cutover == Cutover::Rename && encrypted_instance_id == unencrypted_instance_id {
        return Err(invalid("target_instance_id", "is what the cutover calls the source afterwards; choose another"));
    }
    // What there is of the chain that a resume goes on with, the first link first.
    let mut chain = vec![];
    for id in [no_encrypted_snapshot_id, encrypted_snapshot_id] {
        let snapshot = find_snapshot(&context.rds, id).await?;
        chain.push((format!("DB snapshot `{id}`"), snapshot.is_some()));
        if let Some(snapshot) = snapshot
            && !owner.owns(snapshot.tag_list())
        {
            let remedy = format!("aws rds delete-db-snapshot --db-snapshot-identifier {id}");
            return Err(conflict(&format!("DB snapshot `{id}`"), snapshot.tag_list(), &remedy));
        }
    }
    let is_there = free_instance_name(context, encrypted_instance_id, owner).await?;
    chain.push((format!("DB instance `{encrypted_instance_id}`"), is_there));
    if input.resume.is_some() { complete(&chain) } else { Ok(()) }
}

/// Refuses an instance's name that somebody else has; returns whether this execution has it.
pub(crate) async fn free_instance_name(context: &Context, id: &InstanceId, owner: &Owner) -> Result<bool, Error> {
    let Some(instance) = find_instance(&context.rds, id).await? else { return Ok(false) };
    if owner.owns(instance.tag_list()) {
        return Ok(true);
    }
    let remedy = format!("aws rds delete-db-instance --db-instance-identifier {id} --skip-final-snapshot");
    Err(conflict(&format!("DB instance `{id}`"), instance.tag_list(), &remedy))
}

/// Of both kinds.
pub(crate) fn replicas(source: &DbInstance) -> Vec<&str> {
    let instances = source.read_replica_db_instance_identifiers();
    instances.iter().chain(source.read_replica_db_cluster_identifiers()).map(String::as_str).collect()
}

/// A link that is missing would be made anew, and what was made from the old one would be taken for as
/// new as that: older data than the execution says.
fn complete(chain: &[(String, bool)]) -> Result<(), Error> {
    for (earlier, later) in chain.iter().zip(&chain[1..]) {
        if !earlier.1 && later.1 {
            return Err(Error::NotResumable(format!(
                "{} is gone, from which {} was made, so that nobody can say any more of when its data is: delete the \
                 latter, and what was made from it, and start anew without `resume`",
                earlier.0, later.0
            )));
        }
    }
    Ok(())
}

pub(crate) fn tags(tags: &[TagPair]) -> Result<(), Error> {
    if tags.len() + OWN_TAGS <= TAGS_MAX {
        return Ok(());
    }
    Err(Error::TooManyTags(format!(
        "the instance has {} tags of its own, and {OWN_TAGS} more are needed while the execution runs, but RDS allows \
         {TAGS_MAX} on a resource; remove {} first, since none is dropped silently",
        tags.len(),
        tags.len() + OWN_TAGS - TAGS_MAX
    )))
}
