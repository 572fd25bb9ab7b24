//! Sources that have every setting off its default, as far as their engine has it.
//!
//! Which engine has what is in the RDS User Guide, "Supported features in Amazon RDS by AWS Region
//! and DB engine", and in the API reference of each parameter. That nothing here is a default is
//! shown by a bare restore, which must differ in all of it.

use serde_json::{Value, json};

use crate::cloud::Cloud;

/// An instance to seed.
pub(crate) struct Source {
    pub(crate) id: &'static str,
    /// What is off its default, as DescribeDBInstances reports it.
    pub(crate) fields: Value,
    /// Fields that this source cannot pass on, each with words of the warning that says so, or with
    /// none where RDS chooses the value.
    pub(crate) differs: &'static [(&'static str, &'static str)],
}

pub(crate) type Make = fn(key: &str) -> Source;

/// Every source, by the name that its instance has too.
pub(crate) const ALL: &[Make] = &[
    postgres,
    postgres_on_an_outpost,
    mysql,
    mariadb,
    oracle_se2,
    oracle_ee,
    oracle_ee_cdb,
    sqlserver_se,
    sqlserver_ee,
    sqlserver_web,
    db2_se,
];

/// RDS takes no zone for a Multi-AZ instance.
const ZONE_IS_RDSS: (&str, &str) = ("AvailabilityZone", "");
const ACTIVITY_STREAM_STAYS: &[(&str, &str)] = &[
    ("ActivityStreamStatus", "start-activity-stream"),
    ("ActivityStreamMode", "--mode async"),
    ("ActivityStreamKmsKeyId", "--kms-key-id arn:aws:kms"),
    ("ActivityStreamKinesisStreamName", "point its consumers to the new Kinesis stream"),
    ("ActivityStreamEngineNativeAuditFieldsIncluded", "--engine-native-audit-fields-included"),
    ("ActivityStreamPolicyStatus", "activity stream stays with the source"),
    ZONE_IS_RDSS,
];

impl Source {
    pub(crate) fn seed(&self, cloud: &Cloud) {
        let body = json!({"fields": self.fields, "port": 5999, "master_password": "correct-horse-battery"});
        let seeded = cloud.control("PUT", &format!("instances/{}", self.id), body);
        assert_eq!(seeded["fields"]["DBInstanceIdentifier"], self.id, "{seeded}");
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.as_object().expect("an object").keys().map(String::as_str)
    }
}

/// What every engine has, and over it what this one has.
fn source(id: &'static str, engine: &str, own: &[Value]) -> Source {
    let groups = ["sg-0a1", "sg-0b2", "sg-0c3"].map(|id| json!({"VpcSecurityGroupId": id, "Status": "active"}));
    let mut fields = json!({
        "Engine": engine,
        "DBInstanceClass": "db.r5.2xlarge",
        "AllocatedStorage": 1000,
        "MaxAllocatedStorage": 2000,
        "DBParameterGroups": [{"DBParameterGroupName": format!("{id}-parameters"), "ParameterApplyStatus": "in-sync"}],
        "OptionGroupMemberships": [{"OptionGroupName": format!("{id}-options"), "Status": "in-sync"}],
        "DBSubnetGroup": {"DBSubnetGroupName": format!("{id}-subnets")},
        "VpcSecurityGroups": groups,
        "NetworkType": "DUAL",
        "PubliclyAccessible": false,
        "CACertificateIdentifier": "rds-ca-ecc384-g1",
        "AutoMinorVersionUpgrade": false,
        "CopyTagsToSnapshot": true,
        "BackupRetentionPeriod": 14,
        "PreferredBackupWindow": "03:10-03:40",
        "PreferredMaintenanceWindow": "sun:04:15-sun:04:45",
        "MonitoringInterval": 15,
        "MonitoringRoleArn": "arn:aws:iam::123456789012:role/monitoring",
        "DeletionProtection": true,
        "TagList": tags(),
    });
    for own in own {
        fields.as_object_mut().expect("an object").extend(own.as_object().expect("an object").clone());
    }
    Source { id, fields, differs: &[] }
}

/// More than twenty of the user's, odd ones among them, and one of AWS's.
fn tags() -> Vec<Value> {
    let mut tags: Vec<Value> =
        (1..=20).map(|n| json!({"Key": format!("cost-center-{n}"), "Value": n.to_string()})).collect();
    tags.push(json!({"Key": "Größe/α + = . _ : @ -", "Value": "10 % of \"all\" <b> & 'more'"}));
    tags.push(json!({"Key": "empty", "Value": ""}));
    // Begins like ours, and is not.
    tags.push(json!({"Key": "rds-encrypted", "Value": "no"}));
    tags.push(json!({"Key": "aws:cloudformation:stack-name", "Value": "orders"}));
    tags
}

fn single_az() -> Value {
    json!({"AvailabilityZone": "us-east-1f"})
}

fn multi_az() -> Value {
    json!({"MultiAZ": true, "SecondaryAvailabilityZone": "us-east-1f"})
}

fn gp3(size_gib: u32, iops: u32, throughput: u32) -> Value {
    json!({
        "AllocatedStorage": size_gib,
        "MaxAllocatedStorage": 2 * size_gib,
        "Iops": iops,
        "StorageThroughput": throughput,
    })
}

fn provisioned(storage_type: &str) -> Value {
    json!({"StorageType": storage_type, "Iops": 20_000})
}

fn insights(key: &str) -> Value {
    json!({
        "PerformanceInsightsEnabled": true,
        "PerformanceInsightsKMSKeyId": key,
        "PerformanceInsightsRetentionPeriod": 731,
        "DatabaseInsightsMode": "advanced",
    })
}

fn managed_password(key: &str) -> Value {
    let arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-of-the-source";
    json!({"MasterUserSecret": {"SecretArn": arn, "SecretStatus": "active", "KmsKeyId": key}})
}

fn logs(kinds: &[&str]) -> Value {
    json!({"EnabledCloudwatchLogsExports": kinds})
}

fn roles(features: &[&str]) -> Value {
    let role = |feature: &&str| json!({"RoleArn": format!("arn:aws:iam::123456789012:role/{feature}"), "FeatureName": feature, "Status": "ACTIVE"});
    json!({"AssociatedRoles": features.iter().map(role).collect::<Vec<_>>()})
}

/// An AWS Managed Microsoft AD; RDS reports its name besides what it was given.
fn managed_directory() -> Value {
    let membership =
        json!({"Domain": "d-90670a8f36", "Status": "joined", "FQDN": "corp.example.com", "IAMRoleName": "directory"});
    json!({"DomainMemberships": [membership]})
}

/// Only SQL Server joins one of the user's own.
fn own_directory() -> Value {
    json!({"DomainMemberships": [{
        "Status": "joined",
        "FQDN": "own.example.com",
        "OU": "OU=databases,DC=own,DC=example,DC=com",
        "AuthSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:join",
        "DnsIps": ["10.0.0.10", "10.0.0.11"],
    }]})
}

fn processor() -> Value {
    json!({"ProcessorFeatures": [{"Name": "coreCount", "Value": "2"}, {"Name": "threadsPerCore", "Value": "1"}]})
}

fn more_volumes() -> Value {
    json!({"AdditionalStorageVolumes": [
        {"VolumeName": "rdsdbdata2", "StorageType": "gp3", "AllocatedStorage": 500, "IOPS": 13_000, "StorageThroughput": 600},
        {"VolumeName": "rdsdbdata3", "StorageType": "io2", "AllocatedStorage": 300, "MaxAllocatedStorage": 900, "IOPS": 9000},
    ]})
}

fn activity_stream(key: &str) -> Value {
    json!({
        "ActivityStreamStatus": "started",
        "ActivityStreamMode": "async",
        "ActivityStreamKmsKeyId": key,
        "ActivityStreamKinesisStreamName": "aws-rds-das-of-the-source",
        "ActivityStreamEngineNativeAuditFieldsIncluded": true,
        "ActivityStreamPolicyStatus": "locked",
    })
}

/// With what the account has tied to the source, and cannot be tied to the target by RDS's APIs alone.
pub(crate) fn postgres(key: &str) -> Source {
    let own = json!({
        "DBName": "orders",
        "EngineLifecycleSupport": "open-source-rds-extended-support-disabled",
        "IAMDatabaseAuthenticationEnabled": true,
        "AwsBackupRecoveryPointArn": "arn:aws:backup:us-east-1:123456789012:recovery-point:continuous",
        "DBInstanceAutomatedBackupsReplications": [{"DBInstanceAutomatedBackupsArn": "arn:aws:rds:eu-west-1:123456789012:auto-backup:ab-1"}],
        "ReadReplicaDBInstanceIdentifiers": ["reports"],
        "ReadReplicaDBClusterIdentifiers": ["reports-cluster"],
    });
    let logs = logs(&["postgresql", "upgrade", "iam-db-auth-error"]);
    let roles = roles(&["s3Import", "s3Export", "Lambda"]);
    Source {
        differs: &[
            ZONE_IS_RDSS,
            ("AwsBackupRecoveryPointArn", "AWS Backup makes the source's continuous backup"),
            ("DBInstanceAutomatedBackupsReplications", "arn:aws:rds:eu-west-1:123456789012:auto-backup:ab-1"),
            ("ReadReplicaDBInstanceIdentifiers", "reports"),
            ("ReadReplicaDBClusterIdentifiers", "reports-cluster"),
        ],
        ..source(
            "postgres",
            "postgres",
            &[
                gp3(1000, 16_000, 700),
                multi_az(),
                insights(key),
                managed_password(key),
                managed_directory(),
                logs,
                roles,
                own,
            ],
        )
    }
}

/// An Outpost encrypts all storage, so there is no such source; but the two settings exist, and a
/// Local Zone knows one of them.
pub(crate) fn postgres_on_an_outpost(key: &str) -> Source {
    let own = json!({
        "DBName": "orders",
        "EngineLifecycleSupport": "open-source-rds-extended-support-disabled",
        "IAMDatabaseAuthenticationEnabled": true,
        "DedicatedLogVolume": true,
        "BackupTarget": "outposts",
        "CustomerOwnedIpEnabled": true,
    });
    let roles = roles(&["s3Import"]);
    source(
        "postgres-outpost",
        "postgres",
        &[provisioned("io2"), single_az(), insights(key), logs(&["postgresql", "upgrade"]), roles, own],
    )
}

pub(crate) fn mysql(key: &str) -> Source {
    let own = json!({
        "DBName": "orders",
        "EngineLifecycleSupport": "open-source-rds-extended-support-disabled",
        "IAMDatabaseAuthenticationEnabled": true,
        "DedicatedLogVolume": true,
    });
    let logs = logs(&["audit", "error", "general", "slowquery"]);
    let storage = provisioned("io1");
    source(
        "mysql",
        "mysql",
        &[storage, single_az(), insights(key), managed_password(key), managed_directory(), logs, own],
    )
}

pub(crate) fn mariadb(key: &str) -> Source {
    let own = json!({"DBName": "orders", "IAMDatabaseAuthenticationEnabled": true, "StorageType": "gp2"});
    let logs = logs(&["audit", "error", "general", "slowquery"]);
    source("mariadb", "mariadb", &[single_az(), insights(key), managed_password(key), logs, own])
}

/// At the size from which Oracle takes the performance of gp3, which is half of the others'.
pub(crate) fn oracle_se2(key: &str) -> Source {
    let own = json!({
        "DBName": "ORDERS",
        "CharacterSetName": "WE8ISO8859P15",
        "NcharCharacterSetName": "UTF8",
        "LicenseModel": "license-included",
    });
    let logs = logs(&["alert", "audit", "listener", "trace", "oemagent"]);
    let roles = roles(&["S3_INTEGRATION"]);
    let storage = gp3(200, 13_000, 550);
    source(
        "oracle-se2",
        "oracle-se2",
        &[storage, single_az(), insights(key), managed_password(key), managed_directory(), logs, roles, own],
    )
}

pub(crate) fn oracle_ee(key: &str) -> Source {
    let own = json!({"DBName": "ORDERS", "CharacterSetName": "WE8ISO8859P15", "NcharCharacterSetName": "UTF8"});
    let logs = logs(&["alert", "audit", "listener", "trace", "oemagent"]);
    let roles = roles(&["S3_INTEGRATION"]);
    let more = [managed_directory(), processor(), more_volumes(), activity_stream(key), logs, roles, own];
    let fields = [vec![provisioned("io2"), multi_az(), insights(key), managed_password(key)], more.to_vec()].concat();
    Source { differs: ACTIVITY_STREAM_STAYS, ..source("oracle-ee", "oracle-ee", &fields) }
}

/// Many tenants have passwords of their own; RDS refuses to manage the master user's.
pub(crate) fn oracle_ee_cdb(key: &str) -> Source {
    let own = json!({"DBName": "ORDERS", "CharacterSetName": "WE8ISO8859P15", "NcharCharacterSetName": "UTF8", "MultiTenant": true});
    let logs = logs(&["alert", "listener"]);
    let storage = gp3(400, 14_000, 650);
    source("oracle-ee-cdb", "oracle-ee-cdb", &[storage, single_az(), insights(key), processor(), logs, own])
}

/// SQL Server takes the performance of gp3 at any size.
pub(crate) fn sqlserver_se(key: &str) -> Source {
    let own = json!({"CharacterSetName": "Latin1_General_BIN2", "Timezone": "W. Europe Standard Time"});
    let logs = logs(&["agent", "error"]);
    let roles = roles(&["S3_INTEGRATION"]);
    let storage = gp3(100, 4000, 250);
    Source {
        differs: &[ZONE_IS_RDSS],
        ..source(
            "sqlserver-se",
            "sqlserver-se",
            &[
                storage,
                multi_az(),
                insights(key),
                managed_password(key),
                own_directory(),
                processor(),
                logs,
                roles,
                own,
            ],
        )
    }
}

/// Mirrored through its option group: it has a second zone although its flag says that it has not.
pub(crate) fn sqlserver_ee(key: &str) -> Source {
    let own = json!({
        "CharacterSetName": "Latin1_General_BIN2",
        "Timezone": "W. Europe Standard Time",
        "SecondaryAvailabilityZone": "us-east-1f",
    });
    let logs = logs(&["agent", "error"]);
    let roles = roles(&["S3_INTEGRATION"]);
    let more = [managed_directory(), processor(), more_volumes(), logs, roles, own];
    let fields = [vec![provisioned("io1"), insights(key), managed_password(key)], more.to_vec()].concat();
    Source { differs: &[ZONE_IS_RDSS, ("MultiAZ", "")], ..source("sqlserver-ee", "sqlserver-ee", &fields) }
}

pub(crate) fn sqlserver_web(key: &str) -> Source {
    let own = json!({"CharacterSetName": "Latin1_General_BIN2", "Timezone": "W. Europe Standard Time"});
    let logs = logs(&["agent", "error"]);
    let roles = roles(&["S3_INTEGRATION"]);
    let storage = gp3(20, 3500, 200);
    source(
        "sqlserver-web",
        "sqlserver-web",
        &[storage, single_az(), insights(key), managed_password(key), own_directory(), logs, roles, own],
    )
}

/// Without Performance Insights, which Db2 does not have.
pub(crate) fn db2_se(key: &str) -> Source {
    let own = json!({"Timezone": "Europe/Berlin", "LicenseModel": "marketplace-license"});
    let logs = logs(&["diag.log", "notify.log"]);
    let roles = roles(&["S3_INTEGRATION"]);
    let storage = gp3(400, 14_000, 600);
    Source {
        differs: &[ZONE_IS_RDSS],
        ..source(
            "db2-se",
            "db2-se",
            &[storage, multi_az(), managed_password(key), managed_directory(), logs, roles, own],
        )
    }
}
