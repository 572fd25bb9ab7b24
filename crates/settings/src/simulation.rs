//! The properties of the table, shown on a simulated RDS.
//!
//! The simulation does not know the table. It makes of a restore and of a modification what the API
//! reference says, default by default, and refuses what RDS refuses.

use aws_sdk_rds::operation::modify_db_instance::ModifyDbInstanceInput;
use aws_sdk_rds::operation::restore_db_instance_from_db_snapshot::RestoreDbInstanceFromDbSnapshotInput;
use aws_sdk_rds::types::{
    AdditionalStorageVolumeOutput, DbInstance, DbInstanceRole, DbParameterGroupStatus, DbSnapshot, DbSubnetGroup,
    DomainMembership, Endpoint, MasterUserSecret, OptionGroupMembership, ProcessorFeature, VpcSecurityGroupMembership,
};
use proptest::prelude::*;

use workflow::options::Cutover;

use super::{BACKUPS, Settings, TABLE, Travels};

const ENGINES: [&str; 13] = [
    "postgres",
    "mysql",
    "mariadb",
    "oracle-ee",
    "oracle-ee-cdb",
    "oracle-se2",
    "oracle-se2-cdb",
    "sqlserver-ee",
    "sqlserver-se",
    "sqlserver-web",
    "db2-se",
    "db2-ae",
    "db2-ce",
];

type Outcome = Result<DbInstance, &'static str>;

fn refuse_if(holds: bool, message: &'static str) -> Result<(), &'static str> {
    if holds { Err(message) } else { Ok(()) }
}

fn is_oracle(instance: &DbInstance) -> bool {
    instance.engine().is_some_and(|engine| engine.starts_with("oracle"))
}

fn has_mysql_or_postgres(instance: &DbInstance) -> bool {
    matches!(instance.engine(), Some("mysql" | "postgres"))
}

/// From which size on gp3 takes IOPS and throughput, and what it has below.
fn gp3_takes_performance(instance: &DbInstance) -> bool {
    let engine = instance.engine().unwrap_or_default();
    let size_gib = instance.allocated_storage().unwrap_or_default();
    engine.starts_with("sqlserver") || size_gib >= if is_oracle(instance) { 200 } else { 400 }
}

/// Sets storage type, IOPS and throughput as RDS does, or refuses the combination.
fn set_storage(
    instance: &mut DbInstance,
    kind: &str,
    iops: Option<i32>,
    throughput: Option<i32>,
) -> Result<(), &'static str> {
    let takes_performance = gp3_takes_performance(instance);
    instance.storage_type = Some(kind.to_owned());
    (instance.iops, instance.storage_throughput) = match kind {
        "io1" | "io2" => {
            refuse_if(iops.is_none() || throughput.is_some(), "io1 and io2 take IOPS, and only them")?;
            (iops, Some(0))
        }
        "gp3" if takes_performance => (Some(iops.unwrap_or(12000)), Some(throughput.unwrap_or(500))),
        "gp3" => {
            refuse_if(iops.is_some() || throughput.is_some(), "a storage size less than the threshold")?;
            (Some(3000), Some(125))
        }
        _ => {
            refuse_if(iops.is_some() || throughput.is_some(), "the storage type takes no IOPS and no throughput")?;
            (None, Some(0))
        }
    };
    Ok(())
}

fn parameter_group(name: &str) -> Option<Vec<DbParameterGroupStatus>> {
    Some(vec![
        DbParameterGroupStatus::builder().db_parameter_group_name(name).parameter_apply_status("in-sync").build(),
    ])
}

fn option_group(name: &str) -> Option<Vec<OptionGroupMembership>> {
    Some(vec![OptionGroupMembership::builder().option_group_name(name).status("in-sync").build()])
}

fn subnet_group(name: &str) -> Option<DbSubnetGroup> {
    Some(DbSubnetGroup::builder().db_subnet_group_name(name).build())
}

fn security_groups<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Vec<VpcSecurityGroupMembership>> {
    let group = |name| VpcSecurityGroupMembership::builder().vpc_security_group_id(name).status("active").build();
    // RDS promises no order.
    let mut groups: Vec<_> = names.into_iter().map(group).collect();
    groups.reverse();
    Some(groups)
}

fn endpoint(port: Option<i32>) -> Option<Endpoint> {
    Some(Endpoint::builder().address("target.abc.eu-central-1.rds.amazonaws.com").set_port(port).build())
}

fn secret(key: Option<&str>) -> Option<MasterUserSecret> {
    Some(MasterUserSecret::builder().secret_arn("arn:new").kms_key_id(key.unwrap_or("arn:default")).build())
}

/// What is part of the data, and of every instance that is restored from it.
fn with_the_data_of(source: &DbInstance) -> DbInstance {
    let mut target = DbInstance::builder().build();
    target.engine = source.engine.clone();
    target.engine_version = source.engine_version.clone();
    target.master_username = source.master_username.clone();
    target.db_name = source.db_name.clone();
    target.character_set_name = source.character_set_name.clone();
    target.nchar_character_set_name = source.nchar_character_set_name.clone();
    target.timezone = source.timezone.clone();
    target.multi_tenant = source.multi_tenant;
    target.allocated_storage = source.allocated_storage;
    target
}

macro_rules! domain {
    ($request:ident) => {{
        let directory = $request.domain.is_some() || $request.domain_iam_role_name.is_some();
        let own = $request.domain_auth_secret_arn.is_some() || $request.domain_fqdn.is_some();
        refuse_if(directory && own, "a managed and a self-managed directory exclude each other")?;
        let membership = DomainMembership::builder()
            .status("joined")
            .set_domain($request.domain.clone())
            .fqdn($request.domain_fqdn.clone().unwrap_or("corp.example.com".to_owned()))
            .set_ou($request.domain_ou.clone())
            .set_auth_secret_arn($request.domain_auth_secret_arn.clone())
            .set_dns_ips($request.domain_dns_ips.clone())
            .set_iam_role_name($request.domain_iam_role_name.clone())
            .build();
        (directory || own).then_some(vec![membership])
    }};
}

fn is_sql_server(instance: &DbInstance) -> bool {
    instance.engine().is_some_and(|engine| engine.starts_with("sqlserver"))
}

/// RestoreDBInstanceFromDBSnapshot from a snapshot of `source` [A32].
fn restored(source: &DbInstance, request: &RestoreDbInstanceFromDbSnapshotInput) -> Outcome {
    let mut target = with_the_data_of(source);
    if is_sql_server(source) {
        let named = [request.iops, request.storage_throughput, request.allocated_storage].iter().any(Option::is_some);
        refuse_if(named || request.storage_type.is_some(), "SQL Server takes no storage parameters at restore [A1]")?;
        refuse_if(request.multi_az == Some(false), "SQL Server wants MultiAZ absent [A3]")?;
    }
    let multi_az = request.multi_az.unwrap_or_default();
    refuse_if(multi_az && request.availability_zone.is_some(), "MultiAZ and AvailabilityZone exclude each other")?;
    target.multi_az = Some(multi_az);
    target.availability_zone = Some(request.availability_zone.clone().unwrap_or("eu-central-1z".to_owned()));
    target.secondary_availability_zone = multi_az.then(|| "eu-central-1y".to_owned());
    target.db_instance_class = request.db_instance_class.clone().or(source.db_instance_class.clone());
    target.license_model = request.license_model.clone().or(source.license_model.clone());
    let engine = source.engine().unwrap_or_default();
    refuse_if(
        request.db_name.is_some() && !engine.starts_with("oracle") && !engine.starts_with("sqlserver"),
        "DBName only applies to Oracle and SQL Server",
    )?;
    refuse_if(
        request.allocated_storage.is_some_and(|gib| Some(gib) != source.allocated_storage),
        "the allocated storage is the snapshot's",
    )?;
    let kind = request.storage_type.as_deref().unwrap_or(if request.iops.is_some() { "io1" } else { "gp3" });
    refuse_if(
        kind == "gp3" && request.iops.is_some() && request.allocated_storage.is_none(),
        "IOPS of gp3 take AllocatedStorage beside them [A23]",
    )?;
    set_storage(&mut target, kind, request.iops, request.storage_throughput)?;
    target.db_parameter_groups = parameter_group(request.db_parameter_group_name().unwrap_or("default.engine"));
    target.option_group_memberships = option_group(request.option_group_name().unwrap_or("default:engine"));
    target.db_subnet_group = subnet_group(request.db_subnet_group_name().unwrap_or("default"));
    let groups = request.vpc_security_group_ids();
    target.vpc_security_groups = security_groups(if groups.is_empty() {
        vec!["sg-default"]
    } else {
        groups.iter().map(String::as_str).collect()
    });
    target.endpoint = endpoint(request.port.or(source.endpoint().and_then(Endpoint::port)));
    target.network_type = Some(request.network_type.clone().unwrap_or("IPV4".to_owned()));
    target.publicly_accessible = Some(request.publicly_accessible.unwrap_or_default());
    target.customer_owned_ip_enabled = Some(request.enable_customer_owned_ip.unwrap_or_default());
    target.auto_minor_version_upgrade = Some(request.auto_minor_version_upgrade.unwrap_or(true));
    target.copy_tags_to_snapshot = Some(request.copy_tags_to_snapshot.unwrap_or_default());
    target.ca_certificate_identifier =
        Some(request.ca_certificate_identifier.clone().unwrap_or("rds-ca-rsa2048-g1".to_owned()));
    target.dedicated_log_volume = Some(request.dedicated_log_volume.unwrap_or_default());
    refuse_if(
        request.enable_iam_database_authentication.is_some() && !matches!(engine, "postgres" | "mysql" | "mariadb"),
        "the engine has no IAM database authentication",
    )?;
    target.iam_database_authentication_enabled = Some(request.enable_iam_database_authentication.unwrap_or_default());
    refuse_if(
        request.engine_lifecycle_support.is_some() && !has_mysql_or_postgres(source),
        "EngineLifecycleSupport applies only to MySQL and PostgreSQL",
    )?;
    target.engine_lifecycle_support = Some(match request.engine_lifecycle_support() {
        Some(support) => support.to_owned(),
        None if has_mysql_or_postgres(source) => "open-source-rds-extended-support".to_owned(),
        None => "open-source-rds-extended-support-disabled".to_owned(),
    });
    target.enabled_cloudwatch_logs_exports = request.enable_cloudwatch_logs_exports.clone();
    target.processor_features = request.processor_features.clone();
    target.backup_retention_period = Some(request.backup_retention_period.unwrap_or(1));
    target.preferred_backup_window = Some(request.preferred_backup_window.clone().unwrap_or("22:22-22:52".to_owned()));
    target.backup_target = Some(request.backup_target.clone().unwrap_or("region".to_owned()));
    target.preferred_maintenance_window = Some("wed:23:00-wed:23:30".to_owned());
    target.monitoring_interval = Some(0);
    target.performance_insights_enabled = Some(false);
    target.database_insights_mode = Some("standard".into());
    target.deletion_protection = Some(request.deletion_protection.unwrap_or_default());
    target.domain_memberships = domain!(request);
    refuse_if(request.manage_master_user_password.is_some() && !is_oracle(source), "Applies to RDS for Oracle only")?;
    refuse_if(
        request.manage_master_user_password.is_some() && source.multi_tenant == Some(true),
        "use ModifyTenantDatabase instead",
    )?;
    target.master_user_secret =
        request.manage_master_user_password.and(secret(request.master_user_secret_kms_key_id()));
    refuse_if(
        !request.additional_storage_volumes().is_empty(),
        "the volumes are in the snapshot, and these would be created [A4]",
    )?;
    target.additional_storage_volumes = source.additional_storage_volumes.clone();
    backed_up(target)
}

/// [A2]
fn backed_up(instance: DbInstance) -> Outcome {
    refuse_if(
        is_sql_server(&instance) && instance.multi_az == Some(true) && instance.backup_retention_period == Some(0),
        "mirroring takes automated backups",
    )?;
    Ok(instance)
}

/// ModifyDBInstance, applied immediately.
fn modified(before: &DbInstance, request: &ModifyDbInstanceInput) -> Outcome {
    refuse_if(request.apply_immediately != Some(true), "would wait for the maintenance window")?;
    let mut target = before.clone();
    macro_rules! set {
        ($($field:ident from $parameter:ident),* $(,)?) => {
            $(if let Some(value) = &request.$parameter { target.$field = Some(value.clone()); })*
        };
    }
    set!(
        db_instance_class from db_instance_class,
        license_model from license_model,
        engine_lifecycle_support from engine_lifecycle_support,
        auto_minor_version_upgrade from auto_minor_version_upgrade,
        dedicated_log_volume from dedicated_log_volume,
        network_type from network_type,
        publicly_accessible from publicly_accessible,
        customer_owned_ip_enabled from enable_customer_owned_ip,
        ca_certificate_identifier from ca_certificate_identifier,
        iam_database_authentication_enabled from enable_iam_database_authentication,
        copy_tags_to_snapshot from copy_tags_to_snapshot,
        backup_retention_period from backup_retention_period,
        preferred_backup_window from preferred_backup_window,
        preferred_maintenance_window from preferred_maintenance_window,
        deletion_protection from deletion_protection,
        multi_az from multi_az,
        processor_features from processor_features,
    );
    refuse_if(
        request.engine_lifecycle_support.is_some() && !has_mysql_or_postgres(before),
        "EngineLifecycleSupport applies only to MySQL and PostgreSQL",
    )?;
    if let Some(multi_az) = request.multi_az {
        target.secondary_availability_zone = multi_az.then(|| "eu-central-1y".to_owned());
    }
    if request.use_default_processor_features == Some(true) {
        target.processor_features = None;
    }
    if let Some(name) = request.db_parameter_group_name() {
        target.db_parameter_groups = parameter_group(name);
    }
    if let Some(name) = request.option_group_name() {
        target.option_group_memberships = option_group(name);
    }
    if let Some(name) = request.db_subnet_group_name() {
        refuse_if(request.vpc_security_group_ids().is_empty(), "the security groups belong to another VPC")?;
        target.db_subnet_group = subnet_group(name);
    }
    if !request.vpc_security_group_ids().is_empty() {
        target.vpc_security_groups = security_groups(request.vpc_security_group_ids().iter().map(String::as_str));
    }
    if request.db_port_number.is_some() {
        target.endpoint = endpoint(request.db_port_number);
    }

    if let Some(size_gib) = request.allocated_storage {
        let current_gib = before.allocated_storage().unwrap_or_default();
        refuse_if(size_gib < current_gib, "storage cannot shrink")?;
        let least_gib = if size_gib == current_gib { current_gib } else { current_gib + current_gib / 10 };
        target.allocated_storage = Some(size_gib.max(least_gib));
    }
    let is_faster = request.iops.is_some() && request.iops > before.iops;
    refuse_if(is_faster && request.allocated_storage.is_none(), "more IOPS take AllocatedStorage")?;
    if let Some(kind) = request.storage_type() {
        let takes_iops = matches!(kind, "io1" | "io2") || kind == "gp3" && gp3_takes_performance(&target);
        refuse_if(takes_iops && request.iops.is_none(), "you must also include a value for the Iops parameter")?;
        set_storage(&mut target, kind, request.iops, request.storage_throughput)?;
    }
    if let Some(maximum_gib) = request.max_allocated_storage {
        let size_gib = target.allocated_storage().unwrap_or_default();
        refuse_if(
            maximum_gib != size_gib && maximum_gib * 10 < size_gib * 11,
            "The maximum allocated storage must be increased by at least 10 percent",
        )?;
        target.max_allocated_storage = Some(maximum_gib).filter(|maximum_gib| *maximum_gib > size_gib);
    }
    if let Some(volumes) = &mut target.additional_storage_volumes {
        for change in request.additional_storage_volumes() {
            let mut there = volumes.iter_mut();
            let volume = there.find(|volume| volume.volume_name == change.volume_name).ok_or("no such volume")?;
            *volume = AdditionalStorageVolumeOutput::builder()
                .set_volume_name(change.volume_name.clone())
                .set_storage_type(change.storage_type.clone())
                .set_allocated_storage(change.allocated_storage)
                .set_max_allocated_storage(change.max_allocated_storage)
                .set_iops(change.iops)
                .set_storage_throughput(change.storage_throughput)
                .build();
        }
    }

    if let Some(interval_seconds) = request.monitoring_interval {
        refuse_if((interval_seconds == 0) != request.monitoring_role_arn.is_none(), "interval and role go together")?;
        target.monitoring_interval = Some(interval_seconds);
        target.monitoring_role_arn = request.monitoring_role_arn.clone();
    }
    set!(
        performance_insights_enabled from enable_performance_insights,
        performance_insights_retention_period from performance_insights_retention_period,
        database_insights_mode from database_insights_mode,
    );
    let has_insights = target.performance_insights_enabled == Some(true);
    if let Some(key) = request.performance_insights_kms_key_id() {
        refuse_if(before.performance_insights_enabled == Some(true), "the key cannot be changed")?;
        refuse_if(!has_insights, "Performance Insights is off")?;
        target.performance_insights_kms_key_id = Some(key.to_owned());
    }
    refuse_if(request.performance_insights_retention_period.is_some() && !has_insights, "Performance Insights is off")?;
    if !has_insights {
        target.performance_insights_retention_period = None;
    }
    refuse_if(
        request.database_insights_mode().is_some_and(|mode| mode.as_str() == "advanced")
            && target.performance_insights_retention_period < Some(465),
        "the advanced mode takes Performance Insights with 465 days",
    )?;

    if let Some(change) = request.cloudwatch_logs_export_configuration() {
        let logs = target.enabled_cloudwatch_logs_exports.get_or_insert_default();
        logs.retain(|log| !change.disable_log_types().contains(log));
        for log in change.enable_log_types() {
            refuse_if(logs.contains(log), "is enabled already")?;
            logs.insert(0, log.clone());
        }
    }
    if request.disable_domain == Some(true) {
        target.domain_memberships = None;
    } else if let Some(memberships) = domain!(request) {
        target.domain_memberships = Some(memberships);
    }
    if request.manage_master_user_password == Some(true) {
        refuse_if(before.multi_tenant == Some(true), "use ModifyTenantDatabase instead")?;
        refuse_if(before.master_user_secret.is_some(), "the key of the secret cannot be changed")?;
        target.master_user_secret = secret(request.master_user_secret_kms_key_id());
    }
    backed_up(target)
}

/// AddRoleToDBInstance.
fn add_role(target: &mut DbInstance, (arn, feature): (String, String)) {
    let role = DbInstanceRole::builder().role_arn(arn).feature_name(feature).status("PENDING").build();
    target.associated_roles.get_or_insert_default().push(role);
}

/// A source of random choices; it runs out into the first of each.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn byte(&mut self) -> i32 {
        self.0.next().copied().unwrap_or_default().into()
    }

    fn flag(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    fn one_of<T: Clone>(&mut self, values: &[T]) -> T {
        values[usize::try_from(self.byte()).expect("a byte") % values.len()].clone()
    }

    fn name(&mut self, prefix: &str) -> Option<String> {
        Some(format!("{prefix}-{}", self.byte()))
    }

    fn some_of(&mut self, values: &[&str]) -> Vec<String> {
        let mask = self.byte();
        let chosen = values.iter().enumerate().filter(|(index, _)| mask >> index & 1 == 1);
        chosen.map(|(_, value)| (*value).to_owned()).collect()
    }
}

/// An instance such as RDS reports, with whatever settings its engine can have.
fn instance(engine: &str, choices: &mut Choices) -> DbInstance {
    let mut source = DbInstance::builder().engine(engine).build();
    let is_oracle = engine.starts_with("oracle");
    let is_sql_server = engine.starts_with("sqlserver");
    let is_open_source = matches!(engine, "postgres" | "mysql" | "mariadb");

    source.engine_version = choices.name("version");
    source.master_username = choices.name("admin");
    source.db_name = choices.name("db").filter(|_| !is_sql_server);
    source.character_set_name = choices.name("AL32UTF8").filter(|_| is_oracle || is_sql_server);
    source.nchar_character_set_name = choices.name("UTF8").filter(|_| is_oracle);
    source.timezone = choices.name("UTC").filter(|_| is_sql_server);
    source.multi_tenant = is_oracle.then(|| engine.ends_with("cdb") && choices.flag());
    source.db_instance_class = choices.name("db.r6i");
    source.license_model = choices.name("license");

    source.allocated_storage = Some(choices.one_of(&[100, 20, 200, 390, 400, 1000]));
    let kind = choices.one_of(&["gp3", "gp2", "io1", "io2", "standard"]);
    let iops = Some(12_000 + choices.byte());
    let throughput = Some(500 + choices.byte());
    let (iops, throughput) = match kind {
        "io1" | "io2" => (iops, None),
        "gp3" if gp3_takes_performance(&source) => (iops, throughput),
        _ => (None, None),
    };
    set_storage(&mut source, kind, iops, throughput).expect("legal storage");
    // Off, grown to its limit, nearly so, and with room.
    let room_gib = choices.one_of(&[None, Some(0), Some(1), Some(200)]);
    source.max_allocated_storage = room_gib.and_then(|room_gib| Some(source.allocated_storage? + room_gib));
    source.dedicated_log_volume = Some(is_open_source && choices.flag());
    if is_oracle || is_sql_server {
        let volumes = choices.some_of(&["RDSDBDATA2", "RDSDBDATA3"]).into_iter().map(|name| {
            let (kind, iops, throughput) = choices.one_of(&[("GP3", 12_500, Some(600)), ("IO2", 9_000, None)]);
            AdditionalStorageVolumeOutput::builder()
                .volume_name(name)
                .storage_type(kind)
                .allocated_storage(1000)
                .set_max_allocated_storage(choices.flag().then_some(2000))
                .iops(iops)
                .set_storage_throughput(throughput)
                .build()
        });
        source.additional_storage_volumes = Some(volumes.collect());
        let features = choices.some_of(&["coreCount", "threadsPerCore"]).into_iter();
        source.processor_features = Some(
            features
                .map(|name| ProcessorFeature::builder().name(name).value(choices.byte().to_string()).build())
                .collect(),
        );
    }

    let multi_az = choices.flag();
    // A SQL Server instance that is mirrored through its option group.
    let is_mirrored = is_sql_server && choices.flag();
    source.multi_az = Some(multi_az);
    source.availability_zone = choices.name("eu-central");
    source.secondary_availability_zone = (multi_az || is_mirrored).then(|| "eu-central-1b".to_owned());
    source.db_subnet_group = subnet_group(&choices.name("subnets").unwrap_or_default());
    let mut groups = choices.some_of(&["sg-1", "sg-2", "sg-3"]);
    groups.push("sg-4".to_owned());
    source.vpc_security_groups = security_groups(groups.iter().map(String::as_str));
    source.endpoint = endpoint(Some(1150 + choices.byte()));
    source.db_instance_port = Some(0);
    source.network_type = Some(choices.one_of(&["IPV4", "DUAL"]).to_owned());
    source.publicly_accessible = Some(choices.flag());
    source.customer_owned_ip_enabled = Some(choices.flag());
    source.ca_certificate_identifier = Some(choices.one_of(&["rds-ca-rsa2048-g1", "rds-ca-ecc384-g1"]).to_owned());
    source.db_parameter_groups = parameter_group(&choices.name("parameters").unwrap_or_default());
    source.option_group_memberships = option_group(&choices.name("options").unwrap_or_default());
    source.auto_minor_version_upgrade = Some(!choices.flag());
    source.copy_tags_to_snapshot = Some(choices.flag());
    source.engine_lifecycle_support = Some(
        choices.one_of(&["open-source-rds-extended-support", "open-source-rds-extended-support-disabled"]).to_owned(),
    );
    source.iam_database_authentication_enabled = Some(is_open_source && choices.flag());
    source.enabled_cloudwatch_logs_exports = Some(choices.some_of(&["postgresql", "upgrade", "audit"]));
    if engine != "mariadb" {
        source.domain_memberships = choices.one_of(&[
            None,
            Some(vec![
                DomainMembership::builder()
                    .status("joined")
                    .domain("d-1")
                    .fqdn("corp.example.com")
                    .iam_role_name("ad")
                    .build(),
            ]),
            Some(vec![
                DomainMembership::builder()
                    .status("joined")
                    .fqdn("own.example.com")
                    .ou("OU=databases")
                    .auth_secret_arn("arn:secret")
                    .dns_ips("10.0.0.1")
                    .dns_ips("10.0.0.2")
                    .build(),
            ]),
        ]);
    }

    let needs_backups = is_sql_server && (multi_az || is_mirrored);
    source.backup_retention_period = Some((choices.byte() % 36).max(i32::from(needs_backups)));
    source.preferred_backup_window = choices.name("01:00");
    source.backup_target = Some(choices.one_of(&["region", "local"]).to_owned());
    source.preferred_maintenance_window = choices.name("sun:01:00");
    source.monitoring_interval = Some(choices.one_of(&[0, 1, 60]));
    // RDS may go on reporting what is out of use.
    source.monitoring_role_arn = choices.name("arn:monitoring");
    source.performance_insights_enabled = Some(choices.flag());
    source.performance_insights_kms_key_id = choices.name("arn:key");
    source.performance_insights_retention_period = Some(choices.one_of(&[7, 93, 465, 731]));
    let may_be_advanced =
        source.performance_insights_enabled == Some(true) && source.performance_insights_retention_period >= Some(465);
    let is_advanced = may_be_advanced && choices.flag();
    source.database_insights_mode = Some(if is_advanced { "advanced" } else { "standard" }.into());
    let has_secret = choices.flag() && source.multi_tenant != Some(true);
    source.master_user_secret = choices.name("arn:key").filter(|_| has_secret).and_then(|key| secret(Some(&key)));
    let roles = choices.some_of(&["S3_INTEGRATION", "s3Import", "Lambda"]).into_iter();
    source.associated_roles = Some(
        roles
            .map(|feature| {
                DbInstanceRole::builder()
                    .role_arn(format!("arn:{feature}"))
                    .feature_name(feature)
                    .status("ACTIVE")
                    .build()
            })
            .collect(),
    );
    source.deletion_protection = Some(choices.flag());
    source
}

fn any_engine() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&ENGINES[..])
}

/// Enough for every choice, so that shrinking leads to defaults.
fn any_choices() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 80)
}

fn assert_accepted(outcome: Outcome) -> DbInstance {
    outcome.unwrap_or_else(|refusal| panic!("RDS refuses: {refusal}"))
}

fn apply(changes: super::Changes, target: &DbInstance) -> DbInstance {
    assert_accepted(modified(target, &changes.input.build().expect("input")))
}

fn restore(source: &DbInstance, settings: &Settings) -> DbInstance {
    let snapshot = DbSnapshot::builder().set_allocated_storage(source.allocated_storage).build();
    assert_accepted(restored(source, &settings.for_restore(&snapshot).build().expect("input")))
}

/// The same instance otherwise, with the data of that source.
fn take_the_data_of(source: &DbInstance, other: &mut DbInstance) {
    let data = with_the_data_of(source);
    other.engine_version = data.engine_version;
    other.master_username = data.master_username;
    other.db_name = data.db_name;
    other.character_set_name = data.character_set_name;
    other.nchar_character_set_name = data.nchar_character_set_name;
    other.timezone = data.timezone;
    other.multi_tenant = data.multi_tenant;
}

/// What `apply-settings` does.
fn mend(settings: &Settings, mut target: DbInstance) -> DbInstance {
    if let Some(changes) = settings.changes(&target) {
        target = apply(changes, &target);
    }
    for role in settings.roles_to_add(&target) {
        add_role(&mut target, role);
    }
    target
}

proptest! {
    #[test]
    fn every_setting_arrives(engine in any_engine(), choices in any_choices()) {
        let source = instance(engine, &mut Choices(choices.iter()));
        let settings = Settings::capture(&source);

        let restored = restore(&source, &settings);
        prop_assert_eq!(restored.deletion_protection(), Some(false), "the undo is not blocked");
        for difference in settings.differences(&Settings::capture(&restored)) {
            let field = TABLE.iter().find(|field| field.setting == Some(difference.field)).expect("a field");
            let is_late = is_sql_server(&source) && super::rules::STORAGE_PARAMETERS.contains(&difference.field);
            prop_assert!(field.travels != Travels::AtRestore || is_late, "mended only after the restore: {difference}");
        }
        let target = mend(&settings, restored);
        prop_assert_eq!(settings.differences(&Settings::capture(&target)), vec![]);
        prop_assert!(settings.changes(&target).is_none(), "repeating it changes nothing");
        prop_assert_eq!(settings.roles_to_add(&target), vec![]);

        let target = match settings.protection(&target, Cutover::Rename) {
            Some(changes) => apply(changes, &target),
            None => target,
        };
        prop_assert_eq!(target.deletion_protection(), source.deletion_protection());
        prop_assert!(settings.protection(&target, Cutover::Rename).is_none());
    }

    #[test]
    fn backups_that_wait_for_the_cutover_come_with_the_protection(engine in any_engine(), choices in any_choices()) {
        let source = instance(engine, &mut Choices(choices.iter()));
        let settings = Settings::capture(&source);
        let before_cutover = settings.without_backups();

        let target = mend(&before_cutover, restore(&source, &before_cutover));
        let waits = before_cutover.number(BACKUPS) == Some(0);
        prop_assert!(waits || is_sql_server(&source));
        prop_assert_eq!(target.backup_retention_period(), before_cutover.number(BACKUPS));
        prop_assert_eq!(before_cutover.differences(&Settings::capture(&target)), vec![]);

        let target = match settings.protection(&target, Cutover::Rename) {
            Some(changes) => apply(changes, &target),
            None => target,
        };
        prop_assert_eq!(target.backup_retention_period(), source.backup_retention_period());
        prop_assert_eq!(settings.differences(&Settings::capture(&target)), vec![]);
    }

    /// Whatever the restored instance looks like: one modification mends what can be mended, and a
    /// second finds nothing to do.
    #[test]
    fn what_can_be_mended_is_mended_at_once(
        engine in any_engine(),
        choices in any_choices(),
        other_choices in any_choices(),
        has_grown in any::<bool>(),
    ) {
        let source = instance(engine, &mut Choices(choices.iter()));
        let settings = Settings::capture(&source);
        let mut other = instance(engine, &mut Choices(other_choices.iter()));
        // The source may have grown after its snapshot, by 10 % at least.
        other.allocated_storage = source.allocated_storage.map(|gib| if has_grown { gib * 10 / 11 } else { gib });
        let kind = if has_grown { "standard" } else { "gp3" };
        set_storage(&mut other, kind, None, None).expect("legal storage");
        take_the_data_of(&source, &mut other);

        let target = mend(&settings, other);
        let again = settings.changes(&target).map(|changes| changes.settings);
        prop_assert_eq!(again, None);
        let unmendable = [
            "AvailabilityZone",
            "BackupTarget",
            "PerformanceInsightsKMSKeyId",
            "MasterUserSecretKmsKeyId",
            "AdditionalStorageVolumes",
            "AssociatedRoles",
        ];
        for difference in settings.differences(&Settings::capture(&target)) {
            prop_assert!(unmendable.contains(&difference.field), "{difference}");
        }
    }

    /// Whatever somebody makes of the source while the target is restored.
    #[test]
    fn what_the_source_becomes_arrives_or_is_told(
        engine in any_engine(),
        choices in any_choices(),
        later_choices in any_choices(),
    ) {
        let source = instance(engine, &mut Choices(choices.iter()));
        let planned = Settings::capture(&source);
        let target = mend(&planned, restore(&source, &planned));

        let mut later = instance(engine, &mut Choices(later_choices.iter()));
        take_the_data_of(&source, &mut later);
        later.backup_target = source.backup_target.clone();
        later.allocated_storage = later.allocated_storage.max(source.allocated_storage);
        later.master_user_secret = later.master_user_secret.filter(|_| later.multi_tenant != Some(true));
        let now = Settings::capture(&later);
        let followed = now.clone().as_far_as_followed(&planned);
        let target = mend(&followed, target);
        let there = Settings::capture(&target);
        prop_assert_eq!(followed.differences(&there), vec![]);
        prop_assert!(followed.changes(&target).is_none(), "repeating it changes nothing");

        let changed = now.changed_since(&planned);
        let tolerated = followed.tolerated(&there);
        for difference in now.differences(&there) {
            let is_told = tolerated.iter().any(|told| told.field == difference.field)
                || changed.iter().any(|told| told.starts_with(&format!("{}: ", difference.field)));
            prop_assert!(is_told, "{difference}");
        }
    }

    #[test]
    fn settings_survive_the_state(engine in any_engine(), choices in any_choices()) {
        let settings = Settings::capture(&instance(engine, &mut Choices(choices.iter())));
        let json = serde_json::to_string(&settings).expect("json");
        prop_assert!(json.len() < 4096, "{} bytes of the state's 256 KiB", json.len());
        prop_assert_eq!(serde_json::from_str::<Settings>(&json).expect("settings"), settings);
    }
}

/// Off every default of RDS, in whatever the engine has.
fn far_from_the_defaults(engine: &str, multi_az: bool) -> DbInstance {
    let mut source = instance(engine, &mut Choices([0xff; 80].iter()));
    source.allocated_storage = Some(1000);
    let (kind, throughput) = if multi_az { ("gp3", Some(700)) } else { ("io2", None) };
    set_storage(&mut source, kind, Some(16_000), throughput).expect("legal storage");
    source.max_allocated_storage = Some(2000);
    source.multi_az = Some(multi_az);
    source.secondary_availability_zone = multi_az.then(|| "eu-central-1b".to_owned());
    source.ca_certificate_identifier = Some("rds-ca-ecc384-g1".to_owned());
    source.engine_lifecycle_support = Some("open-source-rds-extended-support-disabled".to_owned());
    source.monitoring_interval = Some(60);
    source.performance_insights_retention_period = Some(731);
    source.database_insights_mode = Some("advanced".into());
    source.backup_retention_period = Some(35);
    source.multi_tenant = source.multi_tenant.map(|_| false);
    source.master_user_secret = secret(Some("arn:key"));
    source.domain_memberships = Some(vec![
        DomainMembership::builder().status("joined").domain("d-1").fqdn("corp.example.com").iam_role_name("ad").build(),
    ]);
    source
}

#[test]
fn a_bare_restore_differs_in_every_setting_that_it_does_not_inherit() {
    // "Default: the same as the original DB instance", or "as the source".
    const INHERITED: [&str; 5] = ["Engine", "DBName", "DBInstanceClass", "LicenseModel", "Port"];
    // What only some engines have is off in the others, as it is by default.
    const ONLY_IN_SOME: [&str; 3] = ["DedicatedLogVolume", "IAMDatabaseAuthenticationEnabled", "MultiTenant"];
    for engine in ENGINES {
        for multi_az in [true, false] {
            let source = far_from_the_defaults(engine, multi_az);
            let settings = Settings::capture(&source);
            let bare = RestoreDbInstanceFromDbSnapshotInput::builder().build().expect("input");
            let target = assert_accepted(restored(&source, &bare));
            let differences = settings.differences(&Settings::capture(&target));
            let differing: Vec<&str> = differences.iter().map(|difference| difference.field).collect();
            for field in TABLE {
                let Some(setting) = field.setting.filter(|setting| settings.get(setting).is_some()) else { continue };
                let is_inherited = INHERITED.contains(&setting)
                    || matches!(field.travels, Travels::InSnapshot | Travels::Last)
                    || ONLY_IN_SOME.contains(&setting) && settings.flag(setting) == Some(false)
                    // Single-AZ and gp3 are the defaults.
                    || setting == "MultiAZ" && !multi_az
                    || setting == "StorageType" && multi_az;
                assert_eq!(!is_inherited, differing.contains(&setting), "{engine}: {setting}");
            }
        }
    }
}
