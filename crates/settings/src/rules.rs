//! The rules that a table of single values cannot hold: what RDS reports in another form than it
//! takes, what it takes only together, and what it takes only from some engines.

use aws_sdk_rds::primitives::{DateTime, DateTimeFormat};
use aws_sdk_rds::types::{
    CloudwatchLogsExportConfiguration, DbInstance, Endpoint, ModifyAdditionalStorageVolume, PendingModifiedValues,
    ProcessorFeature,
};
use serde_json::{Map, Value, json};

use super::field::{Modify, Restore};
use super::membership::stays;
use super::values::{AWS_MANAGED_KEYS, Settings};

// Engines.

pub(super) fn is_oracle(engine: &str) -> bool {
    engine.starts_with("oracle-")
}

pub(super) fn is_sql_server(engine: &str) -> bool {
    engine.starts_with("sqlserver-")
}

/// A minor version that the source was upgraded to after its snapshot. Another major version, or one newer
/// than the source's, is no twin.
pub(super) fn version_is_of_an_earlier_day(source: &Settings, target: &Settings) -> bool {
    let numbers = |settings: &Settings| -> Vec<u64> {
        let version = settings.text("EngineVersion").unwrap_or_default();
        version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    let (source, target) = (numbers(source), numbers(target));
    source.first() == target.first() && target < source
}

/// EngineLifecycleSupport "applies only to RDS for MySQL and RDS for PostgreSQL".
pub(super) fn has_extended_support(instance: &DbInstance) -> bool {
    matches!(instance.engine(), Some("mysql" | "postgres"))
}

/// "This parameter only applies to RDS for Oracle and RDS for SQL Server." Of an Oracle container with many
/// tenants a restore brings back all ("RestoreDBInstanceFromDBSnapshot … you restore all its tenant databases",
/// API reference of DescribeDBSnapshotTenantDatabases), and none of them is the instance's.
pub(super) fn restore_db_name(request: Restore, source: &Settings, _: &Settings) -> Option<Restore> {
    let engine = source.text("Engine")?;
    let has_one = (is_oracle(&engine) || is_sql_server(&engine)) && source.flag("MultiTenant") != Some(true);
    has_one.then_some(request.db_name(source.text("DBName")?))
}

// Storage.

/// Below this size RDS fixes the performance of gp3 and refuses the parameters ("can't specify IOPS
/// or storage throughput for engine … and a storage size less than 400") [A33].
fn gp3_threshold_gib(engine: &str) -> i32 {
    if is_oracle(engine) {
        200
    } else if is_sql_server(engine) {
        0
    } else {
        400
    }
}

fn has_adjustable_gp3(engine: Option<&str>, size_gib: Option<i32>) -> bool {
    size_gib.unwrap_or_default() >= gp3_threshold_gib(engine.unwrap_or_default())
}

pub(super) fn is_gp3(instance: &DbInstance) -> bool {
    instance.storage_type() == Some("gp3")
}

pub(super) const IOPS_NOT_TAKEN: &str = "RDS sets it: not io1 or io2, nor gp3 large enough (400 GiB; Oracle 200 GiB).";

pub(super) fn takes_iops(instance: &DbInstance) -> bool {
    matches!(instance.storage_type(), Some("io1" | "io2")) || takes_throughput(instance)
}

pub(super) const THROUGHPUT_NOT_TAKEN: &str = "RDS sets it: not gp3 large enough (400 GiB; Oracle 200 GiB).";

pub(super) fn takes_throughput(instance: &DbInstance) -> bool {
    is_gp3(instance) && has_adjustable_gp3(instance.engine(), instance.allocated_storage())
}

/// The target has the size of the snapshot, and may grow by autoscaling. A source that grew after the snapshot
/// is not followed; see [`crate::wanted`].
pub(super) fn size_is_the_snapshots(_: &Settings, _: &Settings) -> bool {
    true
}

/// One side is too small for it, or has another storage type, which is a difference of its own.
pub(super) fn iops_are_rdss(source: &Settings, target: &Settings) -> bool {
    source.number("Iops").is_none() || target.number("Iops").is_none()
}

pub(super) fn throughput_is_rdss(source: &Settings, target: &Settings) -> bool {
    source.number("StorageThroughput").is_none() || target.number("StorageThroughput").is_none()
}

pub(super) const STORAGE_PARAMETERS: &[&str] = &["StorageType", "Iops", "StorageThroughput", "AllocatedStorage"];

/// AWS's own CloudFormation provider for RDS passes storage parameters for every engine but this one, and sets
/// them afterwards [A1].
fn takes_storage_at_restore(source: &Settings) -> bool {
    !source.text("Engine").is_some_and(|engine| is_sql_server(&engine))
}

/// Whether storage of that size takes the performance that the source has.
fn fits_performance(source: &Settings, size_gib: Option<i32>) -> bool {
    source.text("StorageType").as_deref() != Some("gp3")
        || has_adjustable_gp3(source.text("Engine").as_deref(), size_gib)
}

/// The snapshot's, which a resume finds smaller than the source has become.
fn restored_size_gib(source: &Settings, snapshot: &Settings) -> Option<i32> {
    snapshot.number("AllocatedStorage").or(source.number("AllocatedStorage"))
}

pub(super) fn restore_storage_type(request: Restore, source: &Settings, _: &Settings) -> Option<Restore> {
    takes_storage_at_restore(source).then_some(request.storage_type(source.text("StorageType")?))
}

/// With the allocated storage beside them, as AWS's own CloudFormation provider passes them [A23].
pub(super) fn restore_iops(request: Restore, source: &Settings, snapshot: &Settings) -> Option<Restore> {
    let size_gib = restored_size_gib(source, snapshot);
    (takes_storage_at_restore(source) && fits_performance(source, size_gib))
        .then_some(request.iops(source.number("Iops")?).set_allocated_storage(size_gib))
}

pub(super) fn restore_throughput(request: Restore, source: &Settings, snapshot: &Settings) -> Option<Restore> {
    (takes_storage_at_restore(source) && fits_performance(source, restored_size_gib(source, snapshot)))
        .then_some(request.storage_throughput(source.number("StorageThroughput")?))
}

/// The storage type takes its IOPS with it, and more IOPS take the allocated storage, which may be
/// the current one.
pub(super) fn modify_storage(request: Modify, source: &Settings, target: &Settings) -> Option<Modify> {
    let size_gib = target.number("AllocatedStorage");
    let fits = fits_performance(source, size_gib);
    let iops = source.number("Iops").filter(|_| fits);
    Some(
        request
            .set_allocated_storage(size_gib.filter(|_| iops.is_some()))
            .set_storage_type(source.text("StorageType"))
            .set_iops(iops)
            .set_storage_throughput(source.number("StorageThroughput").filter(|_| fits)),
    )
}

/// The limit of storage autoscaling, where an instance of that size can have it: RDS asks for 10 % more than is
/// allocated ("The maximum allocated storage must be increased by at least 10 percent", its error).
fn storage_limit_gib(settings: &Settings, size_gib: i32) -> Option<i32> {
    settings.number("MaxAllocatedStorage").filter(|limit_gib| has_room(*limit_gib, size_gib))
}

pub(super) fn has_room(limit_gib: i32, size_gib: i32) -> bool {
    i64::from(limit_gib) * 10 >= i64::from(size_gib) * 11
}

/// A source that grew up to its limit still has it, and a target of the size before is to grow as far. No
/// limit, one that is reached and one that is too near are the same: the instance cannot grow.
pub(super) fn storage_limits_are_alike(source: &Settings, target: &Settings) -> bool {
    let size_gib = target.number("AllocatedStorage").unwrap_or_default();
    storage_limit_gib(source, size_gib) == storage_limit_gib(target, size_gib)
}

/// A limit that is the allocated storage switches storage autoscaling off.
pub(super) fn modify_storage_limit(request: Modify, source: &Settings, target: &Settings) -> Option<Modify> {
    let size_gib = target.number("AllocatedStorage")?;
    Some(request.max_allocated_storage(storage_limit_gib(source, size_gib).unwrap_or(size_gib)))
}

pub(super) fn additional_volumes(instance: &DbInstance) -> Vec<Value> {
    let volume = |volume: &aws_sdk_rds::types::AdditionalStorageVolumeOutput| {
        let is_gp3 = volume.storage_type().is_some_and(|storage_type| storage_type.eq_ignore_ascii_case("gp3"));
        let is_adjustable = !is_gp3 || has_adjustable_gp3(instance.engine(), volume.allocated_storage());
        object([
            ("VolumeName", volume.volume_name().map(Value::from)),
            ("StorageType", volume.storage_type().map(Value::from)),
            ("AllocatedStorage", volume.allocated_storage().map(Value::from)),
            ("MaxAllocatedStorage", volume.max_allocated_storage().map(Value::from)),
            ("IOPS", volume.iops().filter(|_| is_adjustable).map(Value::from)),
            ("StorageThroughput", volume.storage_throughput().filter(|_| is_gp3 && is_adjustable).map(Value::from)),
        ])
    };
    instance.additional_storage_volumes().iter().map(volume).collect()
}

/// Each volume of the source is there, of the size that the snapshot has.
pub(super) fn volumes_are_the_snapshots(source: &Settings, target: &Settings) -> bool {
    let volumes = |settings: &Settings| -> Vec<Value> {
        let mut volumes =
            settings.get("AdditionalStorageVolumes").and_then(Value::as_array).cloned().unwrap_or_default();
        volumes.iter_mut().filter_map(Value::as_object_mut).for_each(|volume| drop(volume.remove("AllocatedStorage")));
        volumes
    };
    let there = volumes(target);
    volumes(source).iter().all(|volume| there.contains(volume))
}

/// Changes the volumes that the target has. A missing one misses its data and cannot be mended here.
pub(super) fn modify_additional_volumes(request: Modify, source: &Settings, target: &Settings) -> Option<Modify> {
    let there = target.get("AdditionalStorageVolumes")?.as_array()?;
    let is_changed = |volume: &&Value| {
        there.iter().any(|present| present["VolumeName"] == volume["VolumeName"]) && !there.contains(volume)
    };
    let volume = |volume: &Value| {
        ModifyAdditionalStorageVolume::builder()
            .set_volume_name(text(volume, "VolumeName"))
            .set_storage_type(text(volume, "StorageType"))
            .set_allocated_storage(number(volume, "AllocatedStorage"))
            .set_max_allocated_storage(number(volume, "MaxAllocatedStorage"))
            .set_iops(number(volume, "IOPS"))
            .set_storage_throughput(number(volume, "StorageThroughput"))
            .build()
    };
    let volumes = source.get("AdditionalStorageVolumes")?.as_array()?;
    let changed: Vec<_> = volumes.iter().filter(is_changed).map(volume).collect();
    (!changed.is_empty()).then_some(request.set_additional_storage_volumes(Some(changed)))
}

pub(super) fn processor_features(instance: &DbInstance) -> Option<Value> {
    let features = instance.processor_features();
    let pairs = features.iter().map(|feature| (feature.name().unwrap_or_default().to_owned(), json!(feature.value())));
    (!features.is_empty()).then(|| pairs.collect())
}

fn processor_feature_list(source: &Settings) -> Option<Vec<ProcessorFeature>> {
    let features = source.get("ProcessorFeatures")?.as_object()?.iter();
    let feature = |(name, value): (&String, &Value)| {
        ProcessorFeature::builder().name(name).set_value(value.as_str().map(str::to_owned)).build()
    };
    Some(features.map(feature).collect())
}

pub(super) fn restore_processor_features(request: Restore, source: &Settings, _: &Settings) -> Option<Restore> {
    Some(request.set_processor_features(Some(processor_feature_list(source)?)))
}

pub(super) fn modify_processor_features(request: Modify, source: &Settings, _: &Settings) -> Option<Modify> {
    Some(match processor_feature_list(source) {
        Some(features) => request.set_processor_features(Some(features)),
        None => request.use_default_processor_features(true),
    })
}

// Place and network.

/// A SQL Server instance that is mirrored through its option group has a second zone, whatever the
/// flag says.
pub(super) fn multi_az(instance: &DbInstance) -> Option<bool> {
    Some(instance.multi_az() == Some(true) || instance.secondary_availability_zone().is_some())
}

/// One side has a zone of its own choosing no more.
pub(super) fn zone_is_rdss(source: &Settings, target: &Settings) -> bool {
    [source, target].iter().any(|settings| settings.get("AvailabilityZone").is_none())
}

/// A SQL Server that is Multi-AZ is mirrored or in an availability group, for which RDS asks for automated
/// backups from the restore on [A2].
pub(super) fn needs_backups(settings: &Settings) -> bool {
    settings.text("Engine").is_some_and(|engine| is_sql_server(&engine)) && settings.flag("MultiAZ") == Some(true)
}

pub(super) fn is_single_az(instance: &DbInstance) -> bool {
    multi_az(instance) == Some(false)
}

/// DbInstancePort can be 0.
pub(super) fn port(instance: &DbInstance) -> Option<i32> {
    let endpoint = instance.endpoint().and_then(Endpoint::port);
    endpoint.or(instance.db_instance_port().filter(|port| *port != 0))
}

pub(super) fn subnet_group(instance: &DbInstance) -> Option<&str> {
    instance.db_subnet_group()?.db_subnet_group_name()
}

/// Another subnet group is another VPC, where other security groups hold.
pub(super) fn modify_subnet_group(request: Modify, source: &Settings, _: &Settings) -> Option<Modify> {
    Some(
        request
            .db_subnet_group_name(source.text("DBSubnetGroupName")?)
            .set_vpc_security_group_ids(source.texts("VpcSecurityGroupIds")),
    )
}

pub(super) fn security_groups(instance: &DbInstance) -> Vec<String> {
    let groups = instance.vpc_security_groups().iter().filter(|group| stays(group.status()));
    groups.filter_map(|group| group.vpc_security_group_id().map(str::to_owned)).collect()
}

pub(super) fn classic_security_groups(instance: &DbInstance) -> Vec<String> {
    let groups = instance.db_security_groups().iter();
    groups.filter_map(|group| group.db_security_group_name().map(str::to_owned)).collect()
}

// Groups of parameters and options.

pub(super) fn parameter_group(instance: &DbInstance) -> Option<&str> {
    instance.db_parameter_groups().iter().find(|group| stays(group.parameter_apply_status()))?.db_parameter_group_name()
}

/// While one option group replaces another, both are reported.
pub(super) fn option_group(instance: &DbInstance) -> Option<&str> {
    let mut memberships = instance.option_group_memberships().iter();
    memberships.find(|membership| stays(membership.status()))?.option_group_name()
}

// Directory, logs, backups.

pub(super) const DOMAIN: &[&str] =
    &["Domain", "DomainFqdn", "DomainOu", "DomainAuthSecretArn", "DomainDnsIps", "DomainIAMRoleName"];

pub(super) const DOMAIN_CHANGES: &[&str] =
    &["Domain", "DomainFqdn", "DomainOu", "DomainAuthSecretArn", "DomainDnsIps", "DomainIAMRoleName", "DisableDomain"];

/// RDS reports more of a membership than it takes: an AWS Managed Microsoft AD is joined by its
/// directory id and an IAM role, a self-managed one by its name, unit, secret and DNS servers.
pub(super) fn domain(instance: &DbInstance) -> Option<Value> {
    let membership = instance.domain_memberships().iter().find(|membership| stays(membership.status()))?;
    let list = |texts: &[String]| (!texts.is_empty()).then(|| json!(texts));
    Some(if membership.auth_secret_arn().is_some() {
        object([
            ("DomainFqdn", membership.fqdn().map(Value::from)),
            ("DomainOu", membership.ou().map(Value::from)),
            ("DomainAuthSecretArn", membership.auth_secret_arn().map(Value::from)),
            ("DomainDnsIps", list(membership.dns_ips())),
        ])
    } else {
        object([
            ("Domain", membership.domain().map(Value::from)),
            ("DomainIAMRoleName", membership.iam_role_name().map(Value::from)),
        ])
    })
}

macro_rules! join_domain {
    ($request:ident, $source:ident) => {{
        let domain = $source.get("Domain")?;
        let dns_ips = domain["DomainDnsIps"].as_array();
        $request
            .set_domain(text(domain, "Domain"))
            .set_domain_fqdn(text(domain, "DomainFqdn"))
            .set_domain_ou(text(domain, "DomainOu"))
            .set_domain_auth_secret_arn(text(domain, "DomainAuthSecretArn"))
            .set_domain_dns_ips(dns_ips.map(|ips| ips.iter().filter_map(Value::as_str).map(str::to_owned).collect()))
            .set_domain_iam_role_name(text(domain, "DomainIAMRoleName"))
    }};
}

pub(super) fn restore_domain(request: Restore, source: &Settings, _: &Settings) -> Option<Restore> {
    Some(join_domain!(request, source))
}

pub(super) fn modify_domain(request: Modify, source: &Settings, _: &Settings) -> Option<Modify> {
    if source.get("Domain").is_none() {
        return Some(request.disable_domain(true));
    }
    Some(join_domain!(request, source))
}

pub(super) fn exported_logs(instance: &DbInstance) -> Vec<String> {
    instance.enabled_cloudwatch_logs_exports().to_vec()
}

/// ModifyDBInstance takes the difference, not the list.
pub(super) fn modify_exported_logs(request: Modify, source: &Settings, target: &Settings) -> Option<Modify> {
    let exported = |settings: &Settings| settings.texts("EnabledCloudwatchLogsExports").unwrap_or_default();
    let without = |logs: Vec<String>, others: Vec<String>| -> Vec<String> {
        logs.into_iter().filter(|log| !others.contains(log)).collect()
    };
    let enabled = without(exported(source), exported(target));
    let disabled = without(exported(target), exported(source));
    let configuration = CloudwatchLogsExportConfiguration::builder()
        .set_enable_log_types(Some(enabled).filter(|logs| !logs.is_empty()))
        .set_disable_log_types(Some(disabled).filter(|logs| !logs.is_empty()));
    Some(request.cloudwatch_logs_export_configuration(configuration.build()))
}

/// `region` is the default; only Outposts and Dedicated Local Zones have another one.
pub(super) fn restore_backup_target(request: Restore, source: &Settings, _: &Settings) -> Option<Restore> {
    source.text("BackupTarget").filter(|target| target != "region").map(|target| request.backup_target(target))
}

pub(super) fn replicated_backups(instance: &DbInstance) -> Vec<String> {
    let replications = instance.db_instance_automated_backups_replications().iter();
    replications.filter_map(|one| one.db_instance_automated_backups_arn().map(str::to_owned)).collect()
}

// Monitoring.

pub(super) fn monitoring_interval(instance: &DbInstance) -> Option<i32> {
    Some(instance.monitoring_interval().unwrap_or_default())
}

pub(super) fn is_monitored(instance: &DbInstance) -> bool {
    monitoring_interval(instance) != Some(0)
}

/// "If MonitoringRoleArn is specified, set MonitoringInterval to a value other than 0", and the
/// other way round.
pub(super) fn modify_monitoring(request: Modify, source: &Settings, _: &Settings) -> Option<Modify> {
    let interval_seconds = source.number("MonitoringInterval")?;
    Some(request.monitoring_interval(interval_seconds).set_monitoring_role_arn(source.text("MonitoringRoleArn")))
}

pub(super) const INSIGHTS_PARAMETERS: &[&str] = &[
    "EnablePerformanceInsights",
    "PerformanceInsightsKMSKeyId",
    "PerformanceInsightsRetentionPeriod",
    "DatabaseInsightsMode",
];

pub(super) const INSIGHTS_KEY: &str = "PerformanceInsightsKMSKeyId";

pub(super) const INSIGHTS_OFF: &str = "Performance Insights is off.";

pub(super) fn has_insights(instance: &DbInstance) -> bool {
    instance.performance_insights_enabled() == Some(true)
}

pub(super) fn database_insights_mode(instance: &DbInstance) -> Option<&str> {
    instance.database_insights_mode().map(|mode| mode.as_str())
}

/// The advanced mode asks for Performance Insights with a long retention in the same call, and the
/// key can be given only when Performance Insights is switched on.
pub(super) fn modify_insights(request: Modify, source: &Settings, target: &Settings) -> Option<Modify> {
    let is_on = source.flag("PerformanceInsightsEnabled")?;
    let is_key_open = target.flag("PerformanceInsightsEnabled") != Some(true);
    let mode = source.text("DatabaseInsightsMode");
    Some(
        request
            .enable_performance_insights(is_on)
            .set_database_insights_mode(mode.map(|mode| mode.as_str().into()))
            .set_performance_insights_retention_period(source.number("PerformanceInsightsRetentionPeriod"))
            .set_performance_insights_kms_key_id(customer_key(source, INSIGHTS_KEY).filter(|_| is_key_open)),
    )
}

/// The source has switched it off since the plan.
pub(super) fn has_no_insights(source: &Settings, _: &Settings) -> bool {
    source.flag("PerformanceInsightsEnabled") != Some(true)
}

pub(super) fn modify_insights_key(request: Modify, source: &Settings, target: &Settings) -> Option<Modify> {
    let is_key_open = target.flag("PerformanceInsightsEnabled") != Some(true);
    modify_insights(request, source, target).filter(|_| is_key_open)
}

// Secrets, roles, streams.

/// Keys that AWS manages are the defaults, and are not named: of Secrets Manager's the API reference says that
/// leaving the parameter out means it, and nothing of naming it [A16].
fn customer_key(source: &Settings, setting: &str) -> Option<String> {
    let managed = source.texts(AWS_MANAGED_KEYS).unwrap_or_default();
    source.text(setting).filter(|key| !key.starts_with("alias/aws/") && !managed.contains(key))
}

pub(super) const SECRET_KEY: &str = "MasterUserSecretKmsKeyId";

/// The setting is the key, since the secret itself is new; without one RDS takes its default key.
pub(super) fn master_user_secret_key(instance: &DbInstance) -> Option<&str> {
    Some(instance.master_user_secret()?.kms_key_id().unwrap_or("alias/aws/secretsmanager"))
}

/// "Applies to RDS for Oracle only", and not to many tenants, whose passwords are their own.
pub(super) fn restore_master_user_secret(request: Restore, source: &Settings, _: &Settings) -> Option<Restore> {
    let is_taken = is_oracle(&source.text("Engine")?) && source.flag("MultiTenant") != Some(true);
    is_taken.then_some(
        request.manage_master_user_password(true).set_master_user_secret_kms_key_id(customer_key(source, SECRET_KEY)),
    )
}

/// A secret that is there keeps its key, and is given up only for a password, which nobody here
/// knows. ModifyDBInstance refuses the multi-tenant configuration.
pub(super) fn modify_master_user_secret(request: Modify, source: &Settings, target: &Settings) -> Option<Modify> {
    source.text(SECRET_KEY)?;
    let is_open = target.get(SECRET_KEY).is_none() && source.flag("MultiTenant") != Some(true);
    is_open.then_some(
        request.manage_master_user_password(true).set_master_user_secret_kms_key_id(customer_key(source, SECRET_KEY)),
    )
}

/// A role that RDS cannot assume (`INVALID`) does not count.
pub(super) fn roles(instance: &DbInstance) -> Vec<Value> {
    let roles = instance.associated_roles().iter().filter(|role| stays(role.status()));
    roles.map(|role| json!({ "RoleArn": role.role_arn(), "FeatureName": role.feature_name() })).collect()
}

/// What was taken off the source since the target got it is told, and stays.
pub(super) fn has_all_roles(source: &Settings, target: &Settings) -> bool {
    let roles =
        |settings: &Settings| settings.get("AssociatedRoles").and_then(Value::as_array).cloned().unwrap_or_default();
    let there = roles(target);
    roles(source).iter().all(|role| there.contains(role))
}

pub(super) fn activity_stream(instance: &DbInstance) -> Option<&str> {
    instance.activity_stream_status().map(|status| status.as_str()).filter(|status| *status != "stopped")
}

/// RDS reports an empty element where nothing is pending.
pub(super) fn pending_modifications(instance: &DbInstance) -> Option<&str> {
    let pending = instance.pending_modified_values()?;
    (*pending != PendingModifiedValues::builder().build()).then_some("some")
}

// JSON.

pub(super) fn address(endpoint: &Endpoint) -> Value {
    object([("Address", endpoint.address().map(Value::from)), ("Port", endpoint.port().map(Value::from))])
}

pub(super) fn time(time: Option<&DateTime>) -> Option<Value> {
    time?.fmt(DateTimeFormat::DateTime).ok().map(Value::from)
}

fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let present = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect::<Map<_, _>>())
}

fn text(record: &Value, name: &str) -> Option<String> {
    record[name].as_str().map(str::to_owned)
}

fn number(record: &Value, name: &str) -> Option<i32> {
    i32::try_from(record[name].as_i64()?).ok()
}
