//! What cannot work is refused here, each with its own name, before anything is created.

use aws_sdk_rds::error::ProvideErrorMetadata;
use aws_sdk_rds::types::{AccountQuota, DbInstance, Filter};
use workflow::Error;
use workflow::adopt::conflict;
use workflow::describe::{find_instance, find_snapshot, has_pending_modifications};
use workflow::encryption::EncryptionClass;
use workflow::error::{CallFailure, invalid};
use workflow::ids::{InstanceId, Names};
use workflow::options::{Cutover, Options};
use workflow::owner::{Owner, TAGS_MAX, TagPair};
use workflow::settings::Settings;
use workflow::status::{Class, source_class};

use crate::Context;
use crate::input::Input;

/// Snapshots that one execution needs at a time: the unencrypted one and its copy.
const SNAPSHOTS_NEEDED: i64 = 2;
/// Tags of ours on a resource: the execution and the source.
const OWN_TAGS: usize = 2;

/// Everything that the source's own description decides.
pub(crate) fn instance(source: &DbInstance) -> Result<(), Error> {
    let id = source.db_instance_identifier().unwrap_or_default();
    let engine = source.engine().unwrap_or_default();
    let class = EncryptionClass::of(source);
    if class != EncryptionClass::None {
        let key = source.kms_key_id().map(|key| format!(", key {key}")).unwrap_or_default();
        return Err(Error::AlreadyEncrypted(format!("DB instance `{id}` is already {class}{key}; nothing to do")));
    }
    if let Some(cluster) = source.db_cluster_identifier().filter(|cluster| !cluster.is_empty()) {
        return Err(Error::ClusterMember(format!(
            "DB instance `{id}` belongs to the DB cluster `{cluster}`, whose storage is encrypted as a whole: take a \
             cluster snapshot and restore it with a KMS key (restore-db-cluster-from-snapshot --kms-key-id)"
        )));
    }
    let primaries =
        [source.read_replica_source_db_instance_identifier(), source.read_replica_source_db_cluster_identifier()];
    if let Some(primary) = primaries.into_iter().flatten().find(|primary| !primary.is_empty()) {
        return Err(Error::ReadReplica(format!(
            "DB instance `{id}` is a read replica of `{primary}`, and a replica is encrypted exactly if its source is: \
             encrypt `{primary}`, then create the replica anew"
        )));
    }
    // "Limitations of Amazon RDS encrypted DB instances" lists the edition and the classes.
    if engine == "sqlserver-ex" {
        return Err(Error::EncryptionNotSupported(format!(
            "DB instance `{id}` runs SQL Server Express, which cannot be encrypted; move to the Web edition or above"
        )));
    }
    let refused: Vec<String> = Settings::notes(source)
        .into_iter()
        .filter(|note| note.refuse)
        .map(|note| format!("{}: {}", note.field, note.message))
        .collect();
    if !refused.is_empty() {
        return Err(Error::SettingNotSupported(format!("DB instance `{id}`: {}", refused.join("; "))));
    }
    Ok(())
}

/// A switchover would change the names under the execution's feet, whichever side the instance is on. The
/// filters take its ARN [A21].
pub(crate) async fn blue_green_deployment(context: &Context, source: &DbInstance) -> Result<(), Error> {
    let arn = source.db_instance_arn().unwrap_or_default();
    for side in ["source", "target"] {
        let filter = Filter::builder().name(side).values(arn).build();
        let answer = context.rds.describe_blue_green_deployments().filters(filter).send().await;
        let output =
            answer.map_err(|error| Error::from_call(format!("look for blue/green deployments of {arn}"), error))?;
        let mut deployments = output.blue_green_deployments().iter();
        let over = |status| matches!(status, Some("SWITCHOVER_COMPLETED" | "DELETING"));
        if let Some(deployment) = deployments.find(|deployment| !over(deployment.status())) {
            return Err(Error::BlueGreenDeployment(format!(
                "{arn} is the {side} of the blue/green deployment `{}` ({}); switch over or delete it first",
                deployment.blue_green_deployment_name().unwrap_or_default(),
                deployment.status().unwrap_or("no status")
            )));
        }
    }
    Ok(())
}

/// Asks RDS whether this class, engine and storage type can be encrypted. An empty answer (an old
/// engine version that is not offered any more) says nothing either way: a warning, since the restore
/// takes it or refuses it [A5] [A6].
pub(crate) async fn orderable(context: &Context, source: &DbInstance) -> Result<Option<String>, Error> {
    let engine = source.engine().unwrap_or_default();
    let version = source.engine_version().unwrap_or_default();
    let class = source.db_instance_class().unwrap_or_default();
    let what = format!("{engine} {version} on {class}");
    let options: Result<Vec<_>, _> = context
        .rds
        .describe_orderable_db_instance_options()
        .engine(engine)
        .engine_version(version)
        .db_instance_class(class)
        .into_paginator()
        .items()
        .send()
        .collect()
        .await;
    let options = match options {
        Ok(options) => options,
        // "Cannot find version 13.7 for postgres": what RDS answers about a version that it retired.
        Err(error) if error.code() == Some("InvalidParameterCombination") => vec![],
        Err(error) => return Err(Error::from_call(format!("ask whether {what} can be encrypted"), error)),
    };
    let same_storage: Vec<bool> = options
        .iter()
        .filter(|option| option.storage_type() == source.storage_type())
        .map(|option| option.supports_storage_encryption() == Some(true))
        .collect();
    if same_storage.is_empty() {
        return Ok(Some(format!(
            "RDS does not say whether {what} can be encrypted (it is not offered for new instances any more); the \
             restore will tell"
        )));
    }
    if same_storage.contains(&true) {
        return Ok(None);
    }
    Err(Error::EncryptionNotSupported(format!(
        "{what} with {} storage cannot be encrypted; modify the DB instance class first (`aws rds \
         describe-orderable-db-instance-options --engine {engine}` lists those with SupportsStorageEncryption)",
        source.storage_type().unwrap_or("this")
    )))
}

pub(crate) async fn quotas(context: &Context, source: &DbInstance) -> Result<(), Error> {
    let answer = context.rds.describe_account_attributes().send().await;
    let output = answer.map_err(|error| Error::from_call("read the account's RDS quotas", error))?;
    let quotas = output.account_quotas();
    let storage = i64::from(source.allocated_storage().unwrap_or_default());
    for (quota, needed, unit) in [
        ("ManualSnapshots", SNAPSHOTS_NEEDED, "manual snapshots"),
        ("DBInstances", 1, "DB instances"),
        ("AllocatedStorage", storage, "GiB of storage"),
    ] {
        let Some((used, max)) = quotas.iter().find_map(|entry| used_and_max(entry, quota)) else { continue };
        if used + needed > max {
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
    Ok(())
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
    let mut instances = vec![encrypted_instance_id];
    if input.options.cutover == Cutover::Rename {
        instances.push(unencrypted_instance_id);
    }
    for id in instances {
        let instance = find_instance(&context.rds, id).await?;
        if id == encrypted_instance_id {
            chain.push((format!("DB instance `{id}`"), instance.is_some()));
        }
        if let Some(instance) = instance
            && !owner.owns(instance.tag_list())
        {
            let remedy = format!("aws rds delete-db-instance --db-instance-identifier {id} --skip-final-snapshot");
            return Err(conflict(&format!("DB instance `{id}`"), instance.tag_list(), &remedy));
        }
    }
    if input.resume.is_some() { complete(&chain) } else { Ok(()) }
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

/// A cutover takes a decision about the writes since the snapshot, and about the replicas.
pub(crate) fn cutover(source: &DbInstance, options: &Options) -> Result<(), Error> {
    if options.cutover == Cutover::None {
        return Ok(());
    }
    let id = source.db_instance_identifier().unwrap_or_default();
    if !options.writes_stopped && !options.accept_lost_writes {
        return Err(Error::LostWritesNotAccepted(format!(
            "the target holds the data of `{id}` as of the snapshot, so what is written between the snapshot and the \
             cutover is lost: stop all clients and say \"writes_stopped\": true (it is checked), or say \
             \"accept_lost_writes\": true"
        )));
    }
    // What is being applied at this moment is waited for.
    let rests = source_class(source.db_instance_status().unwrap_or_default()) == Class::Ready;
    if rests && has_pending_modifications(source) {
        return Err(Error::InstanceNotUsable(format!(
            "modifications of `{id}` are pending, and its rename, which takes effect at once, would apply them in the \
             middle of the outage (ModifyDBInstance, ApplyImmediately): apply or withdraw them first"
        )));
    }
    if let Some(isolating) = &options.isolation_security_group_id {
        const FIELD: &str = "isolation_security_group_id";
        let groups = source.vpc_security_groups().iter().filter_map(|group| group.vpc_security_group_id());
        let groups: Vec<&str> = groups.collect();
        if groups.is_empty() {
            return Err(invalid(FIELD, "cannot be used: the source has no security groups that could be put back"));
        }
        if source.vpc_security_groups().iter().any(|group| group.status() != Some("active")) {
            return Err(Error::InstanceNotUsable(format!(
                "the security groups of `{id}` are being changed, and what it is to get back after the fence is not \
                 certain: start again once all of them are `active`"
            )));
        }
        if groups.contains(&isolating.as_str()) {
            let problem =
                format!("`{isolating}` is a group of the source already, so it keeps nobody out; choose another");
            return Err(invalid(FIELD, problem));
        }
    }
    let replicas = source.read_replica_db_instance_identifiers();
    if !replicas.is_empty() && !options.accept_stale_replicas {
        return Err(Error::StaleReplicasNotAccepted(format!(
            "the read replicas {} stay with the old instance under its new name and get no further writes: plan new ones \
             of the target and say \"accept_stale_replicas\": true, or delete them first",
            replicas.join(", ")
        )));
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
