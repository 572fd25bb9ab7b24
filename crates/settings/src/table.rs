//! The table: every field of DescribeDBInstances, once.
//!
//! What RDS does with a parameter that is left out, and which parameters it takes together, is in
//! the API reference of RestoreDBInstanceFromDBSnapshot, ModifyDBInstance and CreateDBInstance. The
//! order of the groups is the order in which a run goes through them.

use aws_sdk_rds::types::DbInstance;
use serde_json::json;

use super::field::Read::{Flag, Json, Number, Records, Text, Texts};
use super::field::{Field, Modify, Restore, Set};
use super::values::SECURITY_GROUPS;
use super::{membership, notes, rules};

const NOT_ORDERABLE: &str = "if it cannot be ordered for the engine version";

/// How every field of a DB instance travels.
pub const TABLE: &[Field] = &[
    // The data, and what is part of it.
    Field::in_snapshot("EngineVersion", Text(DbInstance::engine_version), "")
        .asked("if the version is retired", "rds:DescribeDBEngineVersions")
        .may_differ_if(rules::version_is_of_an_earlier_day),
    Field::in_snapshot("MasterUsername", Text(DbInstance::master_username), ""),
    Field::in_snapshot("CharacterSetName", Text(DbInstance::character_set_name), ""),
    Field::in_snapshot("NcharCharacterSetName", Text(DbInstance::nchar_character_set_name), ""),
    Field::in_snapshot("Timezone", Text(DbInstance::timezone), ""),
    Field::in_snapshot("MultiTenant", Flag(DbInstance::multi_tenant), "").noting(notes::tenant_databases),
    Field::in_snapshot("AllocatedStorage", Number(DbInstance::allocated_storage), "The snapshot's.")
        .settled("Named only beside IOPS; storage cannot shrink, and a source that grows meanwhile is not followed.")
        .may_differ_if(rules::size_is_the_snapshots),
    Field::in_snapshot("AdditionalStorageVolumes", Records(rules::additional_volumes), "")
        .settled("Not named at the restore, which takes volumes to create.")
        .modify(&["AdditionalStorageVolumes"], Set::With(rules::modify_additional_volumes))
        .may_differ_if(rules::volumes_are_the_snapshots),
    // What RestoreDBInstanceFromDBSnapshot takes.
    Field::at_restore("Engine", Text(DbInstance::engine), "")
        .restore(&["Engine"], Set::Text(Restore::set_engine))
        .noting(notes::custom_engine),
    Field::at_restore("DBName", Text(DbInstance::db_name), "Passed for Oracle and SQL Server, else in the snapshot.")
        .settled("Refused from other engines, and of a container with many tenants.")
        .restore(&["DBName"], Set::With(rules::restore_db_name)),
    Field::at_restore("DBInstanceClass", Text(DbInstance::db_instance_class), "")
        .asked(NOT_ORDERABLE, "rds:DescribeOrderableDBInstanceOptions")
        .restore(&["DBInstanceClass"], Set::Text(Restore::set_db_instance_class))
        .modify(&["DBInstanceClass"], Set::Text(Modify::set_db_instance_class)),
    Field::at_restore("ProcessorFeatures", Json(rules::processor_features), "")
        .restore(&["ProcessorFeatures"], Set::With(rules::restore_processor_features))
        .modify(&["ProcessorFeatures", "UseDefaultProcessorFeatures"], Set::With(rules::modify_processor_features)),
    Field::at_restore("LicenseModel", Text(DbInstance::license_model), "")
        .restore(&["LicenseModel"], Set::Text(Restore::set_license_model))
        .modify(&["LicenseModel"], Set::Text(Modify::set_license_model)),
    Field::at_restore("EngineLifecycleSupport", Text(DbInstance::engine_lifecycle_support), "")
        .only_if(rules::has_extended_support, "Only MySQL and PostgreSQL have a choice.")
        .asked("if extended support is off and standard support over", "rds:DescribeDBMajorEngineVersions")
        .restore(&["EngineLifecycleSupport"], Set::Text(Restore::set_engine_lifecycle_support))
        .modify(&["EngineLifecycleSupport"], Set::Text(Modify::set_engine_lifecycle_support)),
    Field::at_restore("AutoMinorVersionUpgrade", Flag(DbInstance::auto_minor_version_upgrade), "")
        .restore(&["AutoMinorVersionUpgrade"], Set::Flag(Restore::set_auto_minor_version_upgrade))
        .modify(&["AutoMinorVersionUpgrade"], Set::Flag(Modify::set_auto_minor_version_upgrade)),
    // MySQL's time zone is one of the parameters [A18].
    Field::at_restore("DBParameterGroups", Text(rules::parameter_group), "")
        .carried_as("DBParameterGroupName")
        .with_status(membership::parameter_groups)
        .restore(&["DBParameterGroupName"], Set::Text(Restore::set_db_parameter_group_name))
        .modify(&["DBParameterGroupName"], Set::Text(Modify::set_db_parameter_group_name))
        .noting(notes::parameters_pending_reboot),
    Field::at_restore("OptionGroupMemberships", Text(rules::option_group), "")
        .carried_as("OptionGroupName")
        .with_status(membership::option_groups)
        .restore(&["OptionGroupName"], Set::Text(Restore::set_option_group_name))
        .modify(&["OptionGroupName"], Set::Text(Modify::set_option_group_name)),
    Field::at_restore("StorageType", Text(DbInstance::storage_type), "SQL Server takes it only after the restore.")
        .asked(NOT_ORDERABLE, "rds:DescribeOrderableDBInstanceOptions")
        .restore(&["StorageType"], Set::With(rules::restore_storage_type))
        .modify(rules::STORAGE_PARAMETERS, Set::With(rules::modify_storage)),
    Field::at_restore("Iops", Number(DbInstance::iops), "SQL Server takes them only after the restore.")
        .only_if(rules::takes_iops, rules::IOPS_NOT_TAKEN)
        .settled("Named with the allocated storage, where the snapshot is large enough.")
        .restore(&["Iops", "AllocatedStorage"], Set::With(rules::restore_iops))
        .modify(rules::STORAGE_PARAMETERS, Set::With(rules::modify_storage))
        .may_differ_if(rules::iops_are_rdss)
        .noting(notes::performance_below_threshold),
    Field::at_restore(
        "StorageThroughput",
        Number(DbInstance::storage_throughput),
        "SQL Server takes it only after the restore.",
    )
    .only_if(rules::takes_throughput, rules::THROUGHPUT_NOT_TAKEN)
    .settled("Named where the snapshot is large enough.")
    .restore(&["StorageThroughput"], Set::With(rules::restore_throughput))
    .modify(rules::STORAGE_PARAMETERS, Set::With(rules::modify_storage))
    .may_differ_if(rules::throughput_is_rdss),
    Field::at_restore("DedicatedLogVolume", Flag(DbInstance::dedicated_log_volume), "")
        .restore(&["DedicatedLogVolume"], Set::FlagIfOn(Restore::set_dedicated_log_volume))
        .modify(&["DedicatedLogVolume"], Set::Flag(Modify::set_dedicated_log_volume)),
    Field::at_restore("MultiAZ", Flag(rules::multi_az), "")
        .settled("Named only if on: SQL Server refuses `false`.")
        .restore(&["MultiAZ"], Set::FlagIfOn(Restore::set_multi_az))
        .modify(&["MultiAZ"], Set::Flag(Modify::set_multi_az)),
    Field::at_restore("AvailabilityZone", Text(DbInstance::availability_zone), "")
        .only_if(rules::is_single_az, "RDS takes no zone for a Multi-AZ instance and chooses both.")
        .settled("Refused with Multi-AZ, and not named then.")
        .restore(&["AvailabilityZone"], Set::Text(Restore::set_availability_zone))
        .may_differ_if(rules::zone_is_rdss),
    Field::at_restore("DBSubnetGroup", Text(rules::subnet_group), "")
        .carried_as("DBSubnetGroupName")
        .restore(&["DBSubnetGroupName"], Set::Text(Restore::set_db_subnet_group_name))
        .modify(&["DBSubnetGroupName", "VpcSecurityGroupIds"], Set::With(rules::modify_subnet_group)),
    Field::at_restore("VpcSecurityGroups", Texts(rules::security_groups), "All but those that are being removed.")
        .carried_as(SECURITY_GROUPS)
        .with_status(membership::security_groups)
        .restore(&["VpcSecurityGroupIds"], Set::Texts(Restore::set_vpc_security_group_ids))
        .modify(&["VpcSecurityGroupIds"], Set::Texts(Modify::set_vpc_security_group_ids)),
    Field::at_restore("NetworkType", Text(DbInstance::network_type), "")
        .restore(&["NetworkType"], Set::Text(Restore::set_network_type))
        .modify(&["NetworkType"], Set::Text(Modify::set_network_type)),
    Field::at_restore("DbInstancePort", Number(rules::port), "")
        .carried_as("Port")
        .restore(&["Port"], Set::Number(Restore::set_port))
        .modify(&["DBPortNumber"], Set::Number(Modify::set_db_port_number)),
    Field::at_restore("PubliclyAccessible", Flag(DbInstance::publicly_accessible), "")
        .restore(&["PubliclyAccessible"], Set::Flag(Restore::set_publicly_accessible))
        .modify(&["PubliclyAccessible"], Set::Flag(Modify::set_publicly_accessible)),
    Field::at_restore("CustomerOwnedIpEnabled", Flag(DbInstance::customer_owned_ip_enabled), "")
        .restore(&["EnableCustomerOwnedIp"], Set::FlagIfOn(Restore::set_enable_customer_owned_ip))
        .modify(&["EnableCustomerOwnedIp"], Set::Flag(Modify::set_enable_customer_owned_ip)),
    Field::at_restore("CACertificateIdentifier", Text(DbInstance::ca_certificate_identifier), "")
        .asked("if the certificate authority has expired or is gone", "rds:DescribeCertificates")
        .restore(&["CACertificateIdentifier"], Set::Text(Restore::set_ca_certificate_identifier))
        .modify(&["CACertificateIdentifier"], Set::Text(Modify::set_ca_certificate_identifier)),
    Field::at_restore("DomainMemberships", Json(rules::domain), "The target joins as a computer of its own.")
        .carried_as("Domain")
        .with_status(membership::domains)
        .restore(rules::DOMAIN, Set::With(rules::restore_domain))
        .modify(rules::DOMAIN_CHANGES, Set::With(rules::modify_domain)),
    Field::at_restore(
        "IAMDatabaseAuthenticationEnabled",
        Flag(DbInstance::iam_database_authentication_enabled),
        "Policies that name the DbiResourceId keep pointing at the source.",
    )
    .restore(&["EnableIAMDatabaseAuthentication"], Set::FlagIfOn(Restore::set_enable_iam_database_authentication))
    .modify(&["EnableIAMDatabaseAuthentication"], Set::Flag(Modify::set_enable_iam_database_authentication)),
    Field::at_restore("EnabledCloudwatchLogsExports", Texts(rules::exported_logs), "")
        .restore(&["EnableCloudwatchLogsExports"], Set::Texts(Restore::set_enable_cloudwatch_logs_exports))
        .modify(&["CloudwatchLogsExportConfiguration"], Set::With(rules::modify_exported_logs))
        .noting(notes::log_groups),
    Field::at_restore("CopyTagsToSnapshot", Flag(DbInstance::copy_tags_to_snapshot), "")
        .restore(&["CopyTagsToSnapshot"], Set::Flag(Restore::set_copy_tags_to_snapshot))
        .modify(&["CopyTagsToSnapshot"], Set::Flag(Modify::set_copy_tags_to_snapshot)),
    Field::at_restore("BackupRetentionPeriod", Number(DbInstance::backup_retention_period), "")
        .settled("Never 0 for a SQL Server that is Multi-AZ.")
        .restore(&["BackupRetentionPeriod"], Set::Number(Restore::set_backup_retention_period))
        .modify(&["BackupRetentionPeriod"], Set::Number(Modify::set_backup_retention_period))
        .noting(notes::first_backup),
    Field::at_restore("PreferredBackupWindow", Text(DbInstance::preferred_backup_window), "")
        .restore(&["PreferredBackupWindow"], Set::Text(Restore::set_preferred_backup_window))
        .modify(&["PreferredBackupWindow"], Set::Text(Modify::set_preferred_backup_window)),
    Field::at_restore("BackupTarget", Text(DbInstance::backup_target), "")
        .restore(&["BackupTarget"], Set::With(rules::restore_backup_target)),
    // What only ModifyDBInstance takes.
    Field::after_restore("PreferredMaintenanceWindow", Text(DbInstance::preferred_maintenance_window), "")
        .modify(&["PreferredMaintenanceWindow"], Set::Text(Modify::set_preferred_maintenance_window)),
    Field::after_restore("MaxAllocatedStorage", Number(DbInstance::max_allocated_storage), "")
        .settled("Refused below 110 % of the allocated storage, and not set then.")
        .modify(&["MaxAllocatedStorage"], Set::With(rules::modify_storage_limit))
        .may_differ_if(rules::storage_limits_are_alike)
        .noting(notes::storage_limit_is_near),
    Field::after_restore("MonitoringInterval", Number(rules::monitoring_interval), "")
        .modify(&["MonitoringInterval", "MonitoringRoleArn"], Set::With(rules::modify_monitoring)),
    Field::after_restore("MonitoringRoleArn", Text(DbInstance::monitoring_role_arn), "")
        .only_if(rules::is_monitored, "Enhanced Monitoring is off, and takes no role.")
        .modify(&["MonitoringInterval", "MonitoringRoleArn"], Set::With(rules::modify_monitoring)),
    Field::after_restore(
        "PerformanceInsightsEnabled",
        Flag(DbInstance::performance_insights_enabled),
        "Its history stays with the source.",
    )
    .modify(rules::INSIGHTS_PARAMETERS, Set::With(rules::modify_insights)),
    Field::after_restore(rules::INSIGHTS_KEY, Text(DbInstance::performance_insights_kms_key_id), "")
        .only_if(rules::has_insights, rules::INSIGHTS_OFF)
        .asked("if the key cannot be used", "kms:DescribeKey")
        .modify(rules::INSIGHTS_PARAMETERS, Set::With(rules::modify_insights_key))
        .may_differ_if(rules::has_no_insights),
    Field::after_restore(
        "PerformanceInsightsRetentionPeriod",
        Number(DbInstance::performance_insights_retention_period),
        "",
    )
    .only_if(rules::has_insights, rules::INSIGHTS_OFF)
    .modify(rules::INSIGHTS_PARAMETERS, Set::With(rules::modify_insights)),
    Field::after_restore("DatabaseInsightsMode", Text(rules::database_insights_mode), "")
        .modify(rules::INSIGHTS_PARAMETERS, Set::With(rules::modify_insights)),
    Field::after_restore(
        "MasterUserSecret",
        Text(rules::master_user_secret_key),
        "A new secret with a new password; Oracle gets it at restore.",
    )
    .carried_as(rules::SECRET_KEY)
    .asked("if the key cannot be used", "kms:DescribeKey")
    .restore(&["ManageMasterUserPassword", "MasterUserSecretKmsKeyId"], Set::With(rules::restore_master_user_secret))
    .modify(&["ManageMasterUserPassword", "MasterUserSecretKmsKeyId"], Set::With(rules::modify_master_user_secret))
    .noting(notes::new_master_user_secret),
    // What has an API of its own.
    Field::by_its_own_api("AssociatedRoles", Records(rules::roles), "AddRoleToDBInstance.")
        .carried_as("AssociatedRoles")
        .with_status(membership::roles)
        .may_differ_if(rules::has_all_roles),
    Field::by_its_own_api(
        "TagList",
        Json(|instance| {
            let tags = instance.tag_list().iter();
            Some(tags.map(|tag| (tag.key().unwrap_or_default().to_owned(), json!(tag.value()))).collect())
        }),
        "All but aws:*, given with the restore.",
    ),
    // What would block the undo.
    Field::last("DeletionProtection", Flag(DbInstance::deletion_protection), "It would block the undo before.")
        .modify(&["DeletionProtection"], Set::Flag(Modify::set_deletion_protection)),
    // What makes the target another instance than the source.
    Field::differs("StorageEncrypted", Flag(DbInstance::storage_encrypted), "What this is for."),
    Field::differs(
        "StorageEncryptionType",
        Text(|instance| instance.storage_encryption_type().map(|class| class.as_str())),
        "What this is for.",
    ),
    Field::differs("KmsKeyId", Text(DbInstance::kms_key_id), "The key that the plan pins."),
    Field::differs(
        "DBInstanceIdentifier",
        Text(DbInstance::db_instance_identifier),
        "The name changes only in a cutover.",
    ),
    Field::differs("DBInstanceArn", Text(DbInstance::db_instance_arn), ""),
    Field::differs("DbiResourceId", Text(DbInstance::dbi_resource_id), "New for each instance."),
    Field::differs("Endpoint", Json(|instance| instance.endpoint().map(rules::address)), "Follows the identifier."),
    Field::differs(
        "ListenerEndpoint",
        Json(|instance| instance.listener_endpoint().map(rules::address)),
        "Follows the identifier.",
    ),
    Field::differs("InstanceCreateTime", Json(|instance| rules::time(instance.instance_create_time())), ""),
    Field::differs(
        "LatestRestorableTime",
        Json(|instance| rules::time(instance.latest_restorable_time())),
        "Point-in-time history stays with the source.",
    ),
    Field::differs("SecondaryAvailabilityZone", Text(DbInstance::secondary_availability_zone), "RDS chooses it."),
    Field::differs(
        "EnhancedMonitoringResourceArn",
        Text(DbInstance::enhanced_monitoring_resource_arn),
        "The log stream is named after the DbiResourceId.",
    ),
    Field::differs(
        "CertificateDetails",
        Json(|instance| rules::time(instance.certificate_details()?.valid_till())),
        "The target gets a server certificate of its own.",
    ),
    Field::differs(
        "UpgradeRolloutOrder",
        Text(|instance| instance.upgrade_rollout_order().map(|order| order.as_str())),
        "The organization's upgrade policy decides it.",
    ),
    // What an instance is going through at the moment.
    Field::differs("DBInstanceStatus", Text(DbInstance::db_instance_status), ""),
    Field::differs("AutomaticRestartTime", Json(|instance| rules::time(instance.automatic_restart_time())), ""),
    Field::differs("PercentProgress", Text(DbInstance::percent_progress), ""),
    Field::differs("StorageVolumeStatus", Text(DbInstance::storage_volume_status), ""),
    Field::differs("StorageOperationStatus", Text(DbInstance::storage_operation_status), ""),
    Field::differs("StorageOperationPercentProgress", Number(DbInstance::storage_operation_percent_progress), ""),
    Field::differs(
        "IsStorageConfigUpgradeAvailable",
        Flag(|instance| instance.is_storage_config_upgrade_available()),
        "",
    ),
    // What needs a human.
    Field::cannot_travel(
        "PendingModifiedValues",
        Text(rules::pending_modifications),
        "The snapshot has only what is in force.",
    )
    .noting(notes::pending_modifications),
    Field::cannot_travel("ActivityStreamStatus", Text(rules::activity_stream), "Start it on the target.")
        .noting(notes::activity_stream),
    Field::cannot_travel(
        "ActivityStreamKmsKeyId",
        Text(DbInstance::activity_stream_kms_key_id),
        "With the activity stream.",
    ),
    Field::cannot_travel(
        "ActivityStreamKinesisStreamName",
        Text(DbInstance::activity_stream_kinesis_stream_name),
        "RDS makes a stream for each instance.",
    ),
    Field::cannot_travel(
        "ActivityStreamMode",
        Text(|instance| instance.activity_stream_mode().map(|mode| mode.as_str())),
        "With the activity stream.",
    ),
    Field::cannot_travel(
        "ActivityStreamEngineNativeAuditFieldsIncluded",
        Json(|instance| instance.activity_stream_engine_native_audit_fields_included().map(|on| json!(on))),
        "With the activity stream.",
    ),
    Field::cannot_travel(
        "ActivityStreamPolicyStatus",
        Text(|instance| instance.activity_stream_policy_status().map(|status| status.as_str())),
        "With the activity stream.",
    ),
    Field::cannot_travel(
        "AwsBackupRecoveryPointArn",
        Text(DbInstance::aws_backup_recovery_point_arn),
        "AWS Backup follows the instance.",
    )
    .noting(notes::aws_backup),
    Field::cannot_travel(
        "DBInstanceAutomatedBackupsReplications",
        Texts(rules::replicated_backups),
        "Start it on the target.",
    )
    .noting(notes::replicated_backups),
    Field::cannot_travel(
        "DBCapacityReservationIdentifier",
        Text(DbInstance::db_capacity_reservation_identifier),
        "The source holds the reserved unit.",
    )
    .noting(notes::capacity_reservation),
    Field::cannot_travel("TdeCredentialArn", Text(DbInstance::tde_credential_arn), "Its password cannot be read.")
        .noting(notes::tde_key_store),
    Field::cannot_travel("DBSecurityGroups", Texts(rules::classic_security_groups), "They belong to EC2-Classic.")
        .noting(notes::classic_security_groups),
    // What an instance that the plan accepts does not have.
    Field::cannot_travel(
        "DBClusterIdentifier",
        Text(DbInstance::db_cluster_identifier),
        "The plan refuses members of clusters.",
    ),
    Field::cannot_travel(
        "PromotionTier",
        Json(|instance| instance.promotion_tier().map(|tier| json!(tier))),
        "Only Aurora has it.",
    ),
    Field::cannot_travel(
        "ReadReplicaSourceDBInstanceIdentifier",
        Text(DbInstance::read_replica_source_db_instance_identifier),
        "The plan refuses read replicas.",
    ),
    Field::cannot_travel(
        "ReadReplicaSourceDBClusterIdentifier",
        Text(DbInstance::read_replica_source_db_cluster_identifier),
        "The plan refuses read replicas.",
    ),
    Field::cannot_travel(
        "ReplicaMode",
        Text(|instance| instance.replica_mode().map(|mode| mode.as_str())),
        "The plan refuses read replicas.",
    ),
    Field::cannot_travel(
        "StatusInfos",
        Texts(|instance| instance.status_infos().iter().filter_map(|info| info.status().map(str::to_owned)).collect()),
        "The plan refuses read replicas.",
    ),
    Field::cannot_travel(
        "ReadReplicaDBInstanceIdentifiers",
        Texts(|instance| instance.read_replica_db_instance_identifiers().to_vec()),
        "Replicas stay with the source; create new ones of the target.",
    ),
    Field::cannot_travel(
        "ReadReplicaDBClusterIdentifiers",
        Texts(|instance| instance.read_replica_db_cluster_identifiers().to_vec()),
        "Replicas stay with the source; create new ones of the target.",
    ),
    Field::cannot_travel(
        "AutomationMode",
        Text(|instance| instance.automation_mode().map(|mode| mode.as_str())),
        "Only RDS Custom has it.",
    ),
    Field::cannot_travel(
        "ResumeFullAutomationModeTime",
        Json(|instance| rules::time(instance.resume_full_automation_mode_time())),
        "Only RDS Custom has it.",
    ),
    Field::cannot_travel(
        "CustomIamInstanceProfile",
        Text(DbInstance::custom_iam_instance_profile),
        "Only RDS Custom has it.",
    ),
    Field::cannot_travel("DBSystemId", Text(DbInstance::db_system_id), "Only RDS Custom has it."),
];

/// The parameters of RestoreDBInstanceFromDBSnapshot that no field passes, and why.
#[cfg(test)]
const NEVER_RESTORED: &[(&str, &str)] = &[
    ("DBInstanceIdentifier", "the step names the target"),
    ("DBSnapshotIdentifier", "the step names the snapshot"),
    ("Tags", "the step passes the user's and its own"),
    ("AdditionalStorageVolumes", "volumes to create; those of the source are in the snapshot [A4]"),
    ("UseDefaultProcessorFeatures", "the default where no ProcessorFeatures are passed"),
    ("DeletionProtection", "comes last, since it blocks the undo"),
    ("DBCapacityReservationIdentifier", "the source holds the reserved unit"),
    ("TdeCredentialArn", "refused: its password cannot be read"),
    ("TdeCredentialPassword", "cannot be read"),
    ("CustomIamInstanceProfile", "RDS Custom is refused"),
    ("DBClusterSnapshotIdentifier", "members of clusters are refused"),
    ("TagSpecifications", "DescribeDBInstances does not report the tags of automated backups"),
];

/// The parameters of ModifyDBInstance that no field passes, and why.
#[cfg(test)]
const NEVER_MODIFIED: &[(&str, &str)] = &[
    ("DBInstanceIdentifier", "the step names the target"),
    ("ApplyImmediately", "always true"),
    ("NewDBInstanceIdentifier", "the cutover's"),
    ("Engine", "the snapshot's; changed only to convert Oracle to a CDB"),
    ("EngineVersion", "the snapshot's; an upgrade is not ours to start"),
    ("AllowMajorVersionUpgrade", "not a setting but a consent"),
    ("MultiTenant", "the snapshot's; the conversion is irreversible"),
    ("MasterUserPassword", "the password is in the snapshot"),
    ("RotateMasterUserPassword", "an action, not a setting"),
    ("MasterUserAuthenticationType", "DescribeDBInstances does not report it"),
    ("CertificateRotationRestart", "the default restarts, and the certificate is not in force before"),
    ("DBSecurityGroups", "refused: EC2-Classic"),
    ("TdeCredentialArn", "refused: its password cannot be read"),
    ("TdeCredentialPassword", "cannot be read"),
    ("DBCapacityReservationIdentifier", "the source holds the reserved unit"),
    ("AwsBackupRecoveryPointArn", "AWS Backup sets it"),
    ("PromotionTier", "only Aurora has it"),
    ("ReplicaMode", "read replicas are refused"),
    ("AutomationMode", "RDS Custom is refused"),
    ("ResumeFullAutomationModeMinutes", "RDS Custom is refused"),
    ("TagSpecifications", "DescribeDBInstances does not report the tags of automated backups"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fmt::Debug;

    use aws_sdk_rds::operation::modify_db_instance::ModifyDbInstanceInput;
    use aws_sdk_rds::operation::restore_db_instance_from_db_snapshot::RestoreDbInstanceFromDbSnapshotInput;

    /// `DBInstanceClass` and `db_instance_class` alike.
    fn folded(name: &str) -> String {
        name.replace('_', "").to_lowercase()
    }

    fn names_in_the_sdk(empty: &impl Debug) -> BTreeSet<String> {
        let form = format!("{empty:?}");
        let fields = form.split_once(" { ").expect("a struct").1.trim_end_matches(" }").split(", ");
        fields.map(|field| folded(field.split_once(": ").expect("a field").0)).collect()
    }

    fn assert_lists_all<'a>(names: impl Iterator<Item = &'a str>, empty: &impl Debug) {
        let sdk = names_in_the_sdk(empty);
        assert!(sdk.len() > 40, "the Debug form was read: {sdk:?}");
        let listed: BTreeSet<String> = names.map(folded).collect();
        assert_eq!(listed.difference(&sdk).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the SDK");
        assert_eq!(sdk.difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the table");
    }

    fn assert_unique<'a>(names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            assert!(seen.insert(name), "{name} twice");
        }
    }

    #[test]
    fn every_field_of_an_instance_has_exactly_one_line() {
        assert_lists_all(TABLE.iter().map(|field| field.name), &DbInstance::builder().build());
        assert_unique(TABLE.iter().map(|field| field.name));
        assert_unique(TABLE.iter().filter_map(|field| field.setting));
    }

    #[test]
    fn every_parameter_of_the_restore_is_passed_or_has_a_reason_not_to_be() {
        let passed = || TABLE.iter().filter_map(|field| field.restore.as_ref()).flat_map(|one| one.names).copied();
        let never = || NEVER_RESTORED.iter().map(|(name, _)| *name);
        assert_lists_all(
            passed().chain(never()),
            &RestoreDbInstanceFromDbSnapshotInput::builder().build().expect("input"),
        );
        assert_unique(passed().chain(never()));
    }

    #[test]
    fn every_parameter_of_the_modification_is_passed_or_has_a_reason_not_to_be() {
        let passed = || TABLE.iter().filter_map(|field| field.modify.as_ref()).flat_map(|one| one.names).copied();
        let never = || NEVER_MODIFIED.iter().map(|(name, _)| *name);
        assert_lists_all(passed().chain(never()), &ModifyDbInstanceInput::builder().build().expect("input"));
        let passed: BTreeSet<&str> = passed().collect();
        assert_unique(passed.into_iter().chain(never()));
    }

    #[test]
    fn what_travels_has_a_way_to() {
        use crate::Travels::{AfterRestore, AtRestore, Last};
        for field in TABLE {
            match field.travels {
                AtRestore => assert!(field.restore.is_some(), "{}", field.name),
                AfterRestore | Last => assert!(field.modify.is_some(), "{}", field.name),
                _ => assert!(field.restore.is_none(), "{}", field.name),
            }
            assert!(field.restore.is_none() && field.modify.is_none() || field.setting.is_some(), "{}", field.name);
        }
    }

    #[test]
    fn what_needs_a_human_says_why() {
        use crate::Travels::CannotTravel;
        for field in TABLE.iter().filter(|field| field.travels == CannotTravel) {
            assert!(!field.remark.is_empty(), "{}", field.name);
        }
    }
}
