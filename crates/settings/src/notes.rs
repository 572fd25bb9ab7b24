//! What the plan says about settings that need a human, and which of them forbid the run.

use aws_sdk_rds::types::DbInstance;

use super::field::Remark::{self, Refuse, Warn};
use super::membership::Membership;
use super::rules;

fn warn_if(holds: bool, message: impl Into<String>) -> Option<Remark> {
    holds.then(|| Warn(message.into()))
}

fn refuse_if(holds: bool, message: impl Into<String>) -> Option<Remark> {
    holds.then(|| Refuse(message.into()))
}

pub(super) fn custom_engine(instance: &DbInstance) -> Option<Remark> {
    refuse_if(
        instance.engine().is_some_and(|engine| engine.starts_with("custom-")),
        "CopyDBSnapshot does not encrypt snapshots of RDS Custom. Create an encrypted instance of RDS Custom and \
         move the data with the engine's own tools.",
    )
}

pub(super) fn tde_key_store(instance: &DbInstance) -> Option<Remark> {
    refuse_if(
        instance.tde_credential_arn().is_some(),
        "A restore asks for the password of the TDE key store, which cannot be read. Move the database off the key \
         store first, or restore it by hand.",
    )
}

pub(super) fn classic_security_groups(instance: &DbInstance) -> Option<Remark> {
    refuse_if(
        !instance.db_security_groups().is_empty(),
        "The instance has DB security groups, which only EC2-Classic knew. Move it into a VPC first.",
    )
}

/// What is not the instance's, or will not be much longer.
pub(super) fn lost_memberships(lost: &[Membership]) -> Option<Remark> {
    let names: Vec<String> =
        lost.iter().map(|membership| format!("`{}` ({})", membership.name, membership.status)).collect();
    warn_if(!names.is_empty(), format!("Not in force at the source, so it does not travel: {}.", names.join(", ")))
}

pub(super) fn tenant_databases(instance: &DbInstance) -> Option<Remark> {
    warn_if(
        instance.multi_tenant() == Some(true),
        "The tenant databases are in the snapshot, but their managed passwords are not settings of the instance. \
         Compare `aws rds describe-tenant-databases` of both instances, and switch them on with \
         `aws rds modify-tenant-database --manage-master-user-password`.",
    )
}

pub(super) fn parameters_pending_reboot(instance: &DbInstance) -> Option<Remark> {
    let mut groups = instance.db_parameter_groups().iter();
    let group = groups.find(|group| group.parameter_apply_status() == Some("pending-reboot"))?;
    Some(Warn(format!(
        "The source has not been rebooted since static parameters changed in `{}`. The target starts with the new \
         values; the source still runs with the old ones.",
        group.db_parameter_group_name().unwrap_or_default()
    )))
}

pub(super) fn performance_below_threshold(instance: &DbInstance) -> Option<Remark> {
    // The baseline of gp3, which is what RDS fixes below the threshold.
    let reported = (instance.iops().unwrap_or(3000), instance.storage_throughput().unwrap_or(125));
    warn_if(
        rules::is_gp3(instance) && !rules::takes_throughput(instance) && reported != (3000, 125),
        format!(
            "The source reports {} IOPS and {} MiB/s, but RDS takes neither for gp3 of this size: the target gets the \
             baseline of 3000 IOPS and 125 MiB/s.",
            reported.0, reported.1
        ),
    )
}

/// Its own growth may have brought it there.
pub(super) fn storage_limit_is_near(instance: &DbInstance) -> Option<Remark> {
    let (limit_gib, size_gib) = (instance.max_allocated_storage()?, instance.allocated_storage()?);
    warn_if(
        !rules::has_room(limit_gib, size_gib),
        format!(
            "The source has {size_gib} GiB and grows up to {limit_gib} GiB, but RDS takes no limit less than 10 % above \
             the size: the target does not grow by itself. Raise the limit of the source first (`aws rds \
             modify-db-instance --max-allocated-storage`)."
        ),
    )
}

pub(super) fn log_groups(instance: &DbInstance) -> Option<Remark> {
    warn_if(
        !instance.enabled_cloudwatch_logs_exports().is_empty(),
        "CloudWatch names log groups after the identifier: the target writes to new ones. Set their retention, \
         subscriptions and metric filters.",
    )
}

pub(super) fn first_backup(instance: &DbInstance) -> Option<Remark> {
    warn_if(
        instance.backup_retention_period().unwrap_or_default() > 0,
        "The point-in-time history stays with the source. The target's begins with its first backup, during which it \
         is `backing-up`, for hours if it is large, and serves clients.",
    )
}

pub(super) fn new_master_user_secret(instance: &DbInstance) -> Option<Remark> {
    let secret = instance.master_user_secret()?;
    Some(Warn(format!(
        "RDS manages the master password in Secrets Manager. The target gets a new secret with a new password: point \
         the readers of {} to it, and give it the same rotation schedule, resource policy and replicas.",
        secret.secret_arn().unwrap_or("the old secret")
    )))
}

pub(super) fn pending_modifications(instance: &DbInstance) -> Option<Remark> {
    warn_if(
        rules::pending_modifications(instance).is_some(),
        "Modifications are pending on the source and do not travel. Apply them first (`aws rds modify-db-instance \
         --apply-immediately`), or make them on the target.",
    )
}

pub(super) fn activity_stream(instance: &DbInstance) -> Option<Remark> {
    rules::activity_stream(instance)?;
    let mode = instance.activity_stream_mode().map_or("async", |mode| mode.as_str());
    let key = instance.activity_stream_kms_key_id().unwrap_or("<key>");
    let fields = match instance.activity_stream_engine_native_audit_fields_included() {
        Some(true) => " --engine-native-audit-fields-included",
        _ => "",
    };
    Some(Warn(format!(
        "The activity stream stays with the source. Start one on the target before clients use it (`aws rds \
         start-activity-stream --resource-arn <the target's ARN> --mode {mode} --kms-key-id {key}{fields} \
         --apply-immediately`), and point its consumers to the new Kinesis stream."
    )))
}

pub(super) fn aws_backup(instance: &DbInstance) -> Option<Remark> {
    warn_if(
        instance.aws_backup_recovery_point_arn().is_some(),
        "AWS Backup makes the source's continuous backup. Add the target to the backup plan unless a tag selects it.",
    )
}

pub(super) fn replicated_backups(instance: &DbInstance) -> Option<Remark> {
    let backups = rules::replicated_backups(instance);
    warn_if(
        !backups.is_empty(),
        format!(
            "Automated backups are replicated to another Region ({}). Start the same for the target there: `aws rds \
             start-db-instance-automated-backups-replication --source-db-instance-arn <the target's ARN> \
             --kms-key-id <a key of that Region>`.",
            backups.join(", ")
        ),
    )
}

pub(super) fn capacity_reservation(instance: &DbInstance) -> Option<Remark> {
    warn_if(
        instance.db_capacity_reservation_identifier().is_some(),
        "The source holds a unit of a DB capacity reservation; the target runs on unreserved capacity. Move it when \
         the source is gone.",
    )
}
