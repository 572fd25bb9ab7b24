use aws_sdk_cloudwatch::operation::describe_alarms::DescribeAlarmsOutput;
use aws_sdk_cloudwatch::types::{Dimension, MetricAlarm};
use aws_sdk_databasemigration::operation::describe_endpoints::{DescribeEndpointsError, DescribeEndpointsOutput};
use aws_sdk_databasemigration::operation::describe_replication_tasks::DescribeReplicationTasksOutput;
use aws_sdk_databasemigration::types::error::ResourceNotFoundFault;
use aws_sdk_databasemigration::types::{Endpoint, ReplicationTask};
use aws_sdk_kms::error::ErrorMetadata as KmsErrorMetadata;
use aws_sdk_kms::operation::describe_key::{DescribeKeyError, DescribeKeyOutput};
use aws_sdk_kms::types::builders::KeyMetadataBuilder;
use aws_sdk_kms::types::error::{InvalidArnException, NotFoundException};
use aws_sdk_kms::types::{KeyManagerType, KeyMetadata, KeySpec, KeyState, KeyUsageType};
use aws_sdk_rds::error::ErrorMetadata;
use aws_sdk_rds::operation::describe_account_attributes::{
    DescribeAccountAttributesError, DescribeAccountAttributesOutput,
};
use aws_sdk_rds::operation::describe_blue_green_deployments::DescribeBlueGreenDeploymentsOutput;
use aws_sdk_rds::operation::describe_db_instances::{DescribeDBInstancesError, DescribeDbInstancesOutput};
use aws_sdk_rds::operation::describe_db_proxies::{DescribeDBProxiesError, DescribeDbProxiesOutput};
use aws_sdk_rds::operation::describe_db_proxy_targets::DescribeDbProxyTargetsOutput;
use aws_sdk_rds::operation::describe_db_snapshots::{DescribeDBSnapshotsError, DescribeDbSnapshotsOutput};
use aws_sdk_rds::operation::describe_event_subscriptions::DescribeEventSubscriptionsOutput;
use aws_sdk_rds::operation::describe_integrations::DescribeIntegrationsOutput;
use aws_sdk_rds::operation::describe_orderable_db_instance_options::{
    DescribeOrderableDBInstanceOptionsError, DescribeOrderableDbInstanceOptionsOutput,
};
use aws_sdk_rds::operation::describe_pending_maintenance_actions::DescribePendingMaintenanceActionsOutput;
use aws_sdk_rds::types::Endpoint as RdsEndpoint;
use aws_sdk_rds::types::builders::{DbInstanceBuilder, OrderableDbInstanceOptionBuilder};
use aws_sdk_rds::types::{
    AccountQuota, BlueGreenDeployment, DbProxy, DbProxyTarget, DbSnapshot, DbSubnetGroup, EventSubscription,
    Integration, OrderableDbInstanceOption, PendingMaintenanceAction, PendingModifiedValues,
    ResourcePendingMaintenanceActions, StorageEncryptionType, Tag, VpcSecurityGroupMembership,
};
use aws_sdk_sfn::operation::describe_execution::{DescribeExecutionError, DescribeExecutionOutput};
use aws_sdk_sfn::operation::list_executions::ListExecutionsOutput;
use aws_sdk_sfn::primitives::DateTime;
use aws_sdk_sfn::types::error::ExecutionDoesNotExist;
use aws_sdk_sfn::types::{ExecutionListItem, ExecutionStatus};
use aws_smithy_mocks::{MockResponse, Rule, RuleMode, mock, mock_client};
use serde_json::json;
use workflow::status::Class;
use workflow::wait::Wait;

use super::*;

type Rds = aws_sdk_rds::Client;
type Kms = aws_sdk_kms::Client;
type CloudWatch = aws_sdk_cloudwatch::Client;
type Dms = aws_sdk_databasemigration::Client;
type StepFunctions = aws_sdk_sfn::Client;

const REGION: &str = "eu-west-1";
const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const DEFAULT_KEY: &str = "alias/aws/rds";
const SOURCE_ARN: &str = "arn:aws:rds:eu-west-1:123456789012:db:orders";
const RESOURCE_ID: &str = "db-ABCDEFGHIJKLMNOPQRSTUVWX12";
const EXECUTION: &str = "arn:aws:states:eu-west-1:123456789012:execution:encrypt-instance:ours";
const EARLIER: &str = "arn:aws:states:eu-west-1:123456789012:execution:encrypt-instance:earlier";

fn source() -> DbInstanceBuilder {
    let group = |id| VpcSecurityGroupMembership::builder().vpc_security_group_id(id).status("active").build();
    DbInstance::builder()
        .db_instance_identifier("orders")
        .db_instance_arn(SOURCE_ARN)
        .dbi_resource_id(RESOURCE_ID)
        .db_instance_status("available")
        .engine("postgres")
        .engine_version("15.4")
        .db_instance_class("db.m6g.large")
        .storage_type("gp3")
        .allocated_storage(100)
        .storage_encryption_type(StorageEncryptionType::Unencrypted)
        .storage_encrypted(false)
        .multi_az(true)
        .availability_zone("eu-west-1a")
        .db_subnet_group(DbSubnetGroup::builder().db_subnet_group_name("private").build())
        .vpc_security_groups(group("sg-1"))
        .vpc_security_groups(group("sg-2"))
        .tag_list(Tag::builder().key("team").value("a").build())
        .tag_list(Tag::builder().key("aws:cloudformation:stack-name").value("s").build())
}

/// What the plan reads.
struct Account {
    /// The source first.
    instances: Vec<DbInstance>,
    snapshots: Vec<DbSnapshot>,
    /// Found under this key id, key ARN or alias.
    key_id: &'static str,
    key: KeyMetadata,
    quotas: Vec<AccountQuota>,
    orderable: Vec<OrderableDbInstanceOption>,
    /// Each with the side of it that the source is on.
    deployments: Vec<(&'static str, BlueGreenDeployment)>,
    maintenance: Vec<PendingMaintenanceAction>,
}

/// One in which nothing stands in the way.
fn account(source: DbInstanceBuilder) -> Account {
    Account {
        instances: vec![source.build()],
        snapshots: vec![],
        key_id: DEFAULT_KEY,
        key: key(|key| key),
        quotas: vec![],
        orderable: vec![orderable("gp3").build()],
        deployments: vec![],
        maintenance: vec![],
    }
}

fn key(change: fn(KeyMetadataBuilder) -> KeyMetadataBuilder) -> KeyMetadata {
    let usable = KeyMetadata::builder()
        .key_id("1234abcd-12ab-34cd-56ef-1234567890ab")
        .arn(KEY)
        .key_manager(KeyManagerType::Customer)
        .key_usage(KeyUsageType::EncryptDecrypt)
        .key_spec(KeySpec::SymmetricDefault)
        .key_state(KeyState::Enabled);
    change(usable).build().expect("a key id")
}

fn orderable(storage_type: &str) -> OrderableDbInstanceOptionBuilder {
    OrderableDbInstanceOption::builder().storage_type(storage_type).supports_storage_encryption(true)
}

fn quota(name: &str, used: i64, max: i64) -> AccountQuota {
    AccountQuota::builder().account_quota_name(name).used(used).max(max).build()
}

fn tags_of(execution: &str) -> Vec<Tag> {
    Owner { execution: execution.into(), source_resource_id: RESOURCE_ID.into() }.tags_with(&[])
}

impl Account {
    fn context(self) -> Context {
        self.context_with(vec![])
    }

    /// `first` answers before the account does.
    fn context_with(self, first: Vec<Rule>) -> Context {
        let Self { instances, snapshots, key_id, key, quotas, orderable, deployments, maintenance } = self;
        let describe_instances = mock!(Rds::describe_db_instances).then_compute_response(move |input| {
            let id = input.db_instance_identifier();
            let filter = input.filters().first();
            assert!(filter.is_none_or(|filter| filter.name() == Some("dbi-resource-id")), "{input:?}");
            let found = instances.iter().find(|instance| match filter {
                Some(filter) => filter.values().iter().any(|value| instance.dbi_resource_id() == Some(value)),
                None => instance.db_instance_identifier() == id,
            });
            if found.is_none() && id.is_some() {
                let code = ErrorMetadata::builder().code("DBInstanceNotFound").build();
                return MockResponse::Error(DescribeDBInstancesError::generic(code));
            }
            let found = found.cloned().into_iter().collect();
            MockResponse::Output(DescribeDbInstancesOutput::builder().set_db_instances(Some(found)).build())
        });
        let describe_snapshots = mock!(Rds::describe_db_snapshots).then_compute_response(move |input| {
            if input.snapshot_type() == Some("awsbackup") {
                return MockResponse::Output(DescribeDbSnapshotsOutput::builder().build());
            }
            let mut snapshots = snapshots.iter();
            match snapshots.find(|snapshot| snapshot.db_snapshot_identifier() == input.db_snapshot_identifier()) {
                Some(found) => {
                    MockResponse::Output(DescribeDbSnapshotsOutput::builder().db_snapshots(found.clone()).build())
                }
                None => {
                    let code = ErrorMetadata::builder().code("DBSnapshotNotFound").build();
                    MockResponse::Error(DescribeDBSnapshotsError::generic(code))
                }
            }
        });
        let account = mock!(Rds::describe_account_attributes).then_output(move || {
            DescribeAccountAttributesOutput::builder().set_account_quotas(Some(quotas.clone())).build()
        });
        let options = mock!(Rds::describe_orderable_db_instance_options)
            .match_requests(|input| {
                input.db_instance_class() == Some("db.m6g.large") && input.engine_version() == Some("15.4")
            })
            .then_output(move || {
                DescribeOrderableDbInstanceOptionsOutput::builder()
                    .set_orderable_db_instance_options(Some(orderable.clone()))
                    .build()
            });
        let blue_green = mock!(Rds::describe_blue_green_deployments)
            .match_requests(|input| input.filters().iter().all(|filter| filter.values() == [SOURCE_ARN]))
            .then_compute_response(move |input| {
                let side = input.filters().first().and_then(|filter| filter.name());
                let found = deployments.iter().filter(|(of, _)| side == Some(of)).map(|(_, found)| found.clone());
                let output = DescribeBlueGreenDeploymentsOutput::builder();
                MockResponse::Output(output.set_blue_green_deployments(Some(found.collect())).build())
            });
        let pending = mock!(Rds::describe_pending_maintenance_actions)
            .match_requests(|input| input.resource_identifier() == Some(SOURCE_ARN))
            .then_output(move || {
                let actions = ResourcePendingMaintenanceActions::builder()
                    .set_pending_maintenance_action_details(Some(maintenance.clone()))
                    .build();
                DescribePendingMaintenanceActionsOutput::builder().pending_maintenance_actions(actions).build()
            });
        let subscriptions = mock!(Rds::describe_event_subscriptions)
            .then_output(|| DescribeEventSubscriptionsOutput::builder().build());
        let proxies = mock!(Rds::describe_db_proxies).then_output(|| DescribeDbProxiesOutput::builder().build());
        let integrations =
            mock!(Rds::describe_integrations).then_output(|| DescribeIntegrationsOutput::builder().build());
        let describe_key = mock!(Kms::describe_key).then_compute_response(move |input| {
            if input.key_id() == Some(key_id) {
                MockResponse::Output(DescribeKeyOutput::builder().key_metadata(key.clone()).build())
            } else {
                MockResponse::Error(DescribeKeyError::NotFoundException(NotFoundException::builder().build()))
            }
        });
        let alarms = mock!(CloudWatch::describe_alarms).then_output(|| DescribeAlarmsOutput::builder().build());
        let endpoints = mock!(Dms::describe_endpoints).then_output(|| DescribeEndpointsOutput::builder().build());
        let own = [
            describe_instances,
            describe_snapshots,
            account,
            options,
            blue_green,
            pending,
            subscriptions,
            proxies,
            integrations,
            describe_key,
            alarms,
            endpoints,
        ];
        let rules: Vec<Rule> = first.into_iter().chain(own).collect();
        Context {
            rds: mock_client!(aws_sdk_rds, RuleMode::MatchAny, &rules),
            kms: mock_client!(aws_sdk_kms, RuleMode::MatchAny, &rules),
            cloudwatch: mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, &rules),
            dms: mock_client!(aws_sdk_databasemigration, RuleMode::MatchAny, &rules),
            sfn: mock_client!(aws_sdk_sfn, RuleMode::MatchAny, &rules),
            region: REGION.into(),
            undo_state_machine_arn: UNDO_MACHINE.into(),
            kms_key_id: DEFAULT_KEY.into(),
        }
    }

    async fn plan(self, input: Value) -> Result<Response, Error> {
        handle(&self.context(), request(input)).await
    }
}

fn request(input: Value) -> Request {
    Request { input, execution: EXECUTION.into(), previous: None }
}

fn orders() -> Value {
    json!({"instance_id": "orders"})
}

async fn planned(account: Account) -> Response {
    account.plan(orders()).await.expect("planned")
}

/// The refusal's text; its name is as expected.
async fn refusal(account: Account, name: &str) -> String {
    let error = account.plan(orders()).await.expect_err(name);
    assert_eq!(error.name(), name, "{error}");
    error.to_string()
}

#[tokio::test]
async fn the_instance_alone_makes_a_plan_with_the_references_fields_and_names() {
    let response = planned(account(source())).await;
    let state = serde_json::to_value(&response).expect("a state");
    for (field, value) in [
        ("instance_id", "orders"),
        ("availability_zone", "eu-west-1a"),
        ("db_subnet_group_name", "private"),
        ("security_group_id", "sg-1"),
        ("no_encrypted_snapshot_id", "orders-no-encrypted"),
        ("encrypted_snapshot_id", "orders-encrypted"),
        ("encrypted_instance_id", "orders-encrypted"),
        ("kms_key_arn", KEY),
    ] {
        assert_eq!(state[field], value, "{field}");
    }
    assert!(response.source.ready);
    assert_eq!(response.owner, Owner { execution: EXECUTION.into(), source_resource_id: RESOURCE_ID.into() });
    assert_eq!(response.tags, [TagPair { key: "team".into(), value: "a".into() }], "aws:* does not travel");
    assert_eq!(response.settings.texts("VpcSecurityGroupIds").expect("groups"), ["sg-1", "sg-2"]);
}

#[tokio::test]
async fn every_field_that_a_later_state_reads_is_there() {
    let state = serde_json::to_value(planned(account(source())).await).expect("a state");
    for field in [
        "writes_before",
        "applied",
        "writes",
        "fenced",
        "source_renamed",
        "target_renamed",
        "restored_names",
        "unfenced",
        "protected",
        "cleaned",
        "undo",
        "undo_error",
    ] {
        assert_eq!(state.get(field), Some(&Value::Null), "{field}");
    }
    for look in ["no_encrypted_snapshot", "encrypted_snapshot", "target", "initialized"] {
        assert_eq!(state[look], serde_json::to_value(Look::default()).expect("a look"), "{look}");
    }
    assert!(state["source"]["wait"]["wait_seconds"].is_u64());
    assert_eq!(state.get("plan"), None, "only for plan_only, to keep the state small");
}

#[tokio::test]
async fn plan_only_tells_names_settings_warnings_and_an_estimate() {
    let response = account(source()).plan(json!({"instance_id": "orders", "plan_only": true})).await.expect("planned");
    let plan = response.plan.expect("a plan");
    let summary = plan.summary.join("\n");
    for words in [
        "orders (postgres 15.4, db.m6g.large, 100 GiB), not encrypted",
        "orders-no-encrypted",
        "orders-encrypted",
        &format!("{KEY} (customer managed)"),
    ] {
        assert!(summary.contains(words), "{summary} does not say {words}");
    }
    let travels = |field: &str| plan.settings.iter().find(|row| row.field == field).map(|row| row.travels.label());
    assert_eq!(travels("MultiAZ"), Some("at restore"));
    assert_eq!(travels("PreferredMaintenanceWindow"), None, "the instance has none");
    assert_eq!(plan.estimate.minutes_at_least, Estimate::of(&source().build()).minutes_at_least);
    assert!(!response.warnings.is_empty());
}

#[tokio::test]
async fn an_estimate_grows_with_the_data() {
    let small = Estimate::of(&source().build());
    let large = Estimate::of(&source().allocated_storage(1000).build());
    assert_eq!((small.minutes_at_least, small.minutes_at_most), (35, 250));
    assert!(large.minutes_at_least > small.minutes_at_least && large.minutes_at_most > small.minutes_at_most);
    assert!((small.snapshot_usd_per_month_at_most - 9.5).abs() < 0.001, "{small:?}");
}

#[tokio::test]
async fn an_instance_that_does_not_exist_is_named() {
    let text = refusal(Account { instances: vec![], ..account(source()) }, "InstanceNotFound").await;
    assert!(text.starts_with("there is no DB instance `orders` in eu-west-1"), "{text}");
}

#[tokio::test]
async fn what_the_source_is_can_forbid_the_run() {
    for (source, name, words) in [
        (
            source().storage_encryption_type(StorageEncryptionType::Cmk).kms_key_id("arn:old"),
            "AlreadyEncrypted",
            "already encrypted under a KMS key (sse-kms), key arn:old",
        ),
        (
            // The boolean says that it is not.
            source().storage_encryption_type(StorageEncryptionType::Sse),
            "AlreadyEncrypted",
            "already encrypted under an AWS-owned key (sse-rds)",
        ),
        (
            source().set_storage_encryption_type(None).storage_encrypted(true),
            "AlreadyEncrypted",
            "already encrypted under a KMS key",
        ),
        (source().db_cluster_identifier("orders-cluster"), "ClusterMember", "restore-db-cluster-from-snapshot"),
        (source().read_replica_source_db_instance_identifier("primary"), "ReadReplica", "encrypt `primary`"),
        (source().read_replica_source_db_cluster_identifier("cluster"), "ReadReplica", "encrypt `cluster`"),
        (source().engine("sqlserver-ex"), "EncryptionNotSupported", "SQL Server Express"),
        (source().engine("custom-oracle-ee"), "SettingNotSupported", "Engine: "),
        (source().tde_credential_arn("arn:tde"), "SettingNotSupported", "TdeCredentialArn: "),
    ] {
        let text = refusal(account(source), name).await;
        assert!(text.contains(words), "{text} does not say {words}");
        assert!(text.contains("`orders`"), "{text}");
    }
}

#[tokio::test]
async fn empty_names_of_a_cluster_and_a_primary_mean_none() {
    let source = source().db_cluster_identifier("").read_replica_source_db_instance_identifier("");
    planned(account(source)).await;
}

#[tokio::test]
async fn a_source_that_does_not_recover_by_itself_is_refused_with_the_remedy() {
    for status in ["stopped", "stopping", "failed", "incompatible-network", "incompatible-parameters", "storage-full"]
        .into_iter()
        .chain(["inaccessible-encryption-credentials", "inaccessible-encryption-credentials-recoverable", "deleting"])
    {
        let text = refusal(account(source().db_instance_status(status)), "InstanceNotUsable").await;
        let Class::Failed { remedy } = workflow::status::source_class(status) else { panic!("{status}") };
        assert_eq!(text, format!("DB instance `orders` is `{status}`: {remedy}"));
    }
}

#[tokio::test]
async fn a_busy_source_is_waited_for() {
    for status in ["backing-up", "modifying", "creating", "defragmenting"] {
        let response = planned(account(source().db_instance_status(status))).await;
        assert!(!response.source.ready, "{status}");
        assert_eq!(response.source.status.as_deref(), Some(status));
        assert!(response.source.wait.wait_seconds > 0, "{status}");
    }
}

#[tokio::test]
async fn a_source_that_can_be_snapshotted_is_ready() {
    assert!(planned(account(source().db_instance_status("storage-optimization"))).await.source.ready);
}

#[tokio::test]
async fn the_wait_for_a_busy_source_goes_on_from_look_to_look_until_its_deadline() {
    let look_after = async |seconds: u64| {
        let wait = Wait { waited_seconds: seconds, ..Wait::default() };
        let context = account(source().db_instance_status("backing-up")).context();
        let input = json!({"instance_id": "orders", "max_wait_minutes": 2});
        let previous = Some(Look { wait, ..Look::default() });
        handle(&context, Request { previous, ..request(input) }).await
    };
    let last = look_after(119).await.expect("a minute is left").source.wait;
    assert_eq!((last.waited_seconds, last.wait_seconds), (120, 1));
    let error = look_after(120).await.expect_err("too long");
    assert_eq!(error.name(), "WaitTimedOut");
    assert!(error.to_string().starts_with("DB instance `orders` is still `backing-up` after 120 s"), "{error}");
}

#[tokio::test]
async fn a_blue_green_deployment_in_progress_is_refused() {
    let with = |side, status| {
        let deployment = BlueGreenDeployment::builder().blue_green_deployment_name("upgrade").status(status).build();
        Account { deployments: vec![(side, deployment)], ..account(source()) }
    };
    for side in ["source", "target"] {
        for status in ["AVAILABLE", "SWITCHOVER_IN_PROGRESS", "INVALID_CONFIGURATION", "SWITCHOVER_FAILED"] {
            let text = refusal(with(side, status), "BlueGreenDeployment").await;
            let said = format!("is the {side} of the blue/green deployment `upgrade` ({status})");
            assert!(text.contains(&said), "{text}");
        }
        for status in ["SWITCHOVER_COMPLETED", "DELETING"] {
            planned(with(side, status)).await;
        }
    }
}

#[tokio::test]
async fn a_class_that_cannot_be_encrypted_is_refused() {
    let unencrypted = orderable("gp3").supports_storage_encryption(false).build();
    let other_storage = orderable("io1").build();
    let account = Account { orderable: vec![unencrypted, other_storage], ..account(source()) };
    let text = refusal(account, "EncryptionNotSupported").await;
    assert!(text.starts_with("postgres 15.4 on db.m6g.large with gp3 storage cannot be encrypted"), "{text}");
}

#[tokio::test]
async fn what_rds_says_nothing_about_is_a_warning() {
    let warned = |response: &Response| {
        response.warnings.iter().any(|warning| warning.starts_with("RDS does not say whether postgres 15.4"))
    };
    let nothing_offered = planned(Account { orderable: vec![], ..account(source()) }).await;
    assert!(warned(&nothing_offered), "{:?}", nothing_offered.warnings);
    let other_storage = planned(Account { orderable: vec![orderable("io1").build()], ..account(source()) }).await;
    assert!(warned(&other_storage));
    assert!(!warned(&planned(account(source())).await));
}

#[tokio::test]
async fn an_engine_version_that_rds_retired_is_a_warning() {
    let answer = |code: &'static str| {
        mock!(Rds::describe_orderable_db_instance_options).then_error(move || {
            DescribeOrderableDBInstanceOptionsError::generic(ErrorMetadata::builder().code(code).build())
        })
    };
    let retired = account(source()).context_with(vec![answer("InvalidParameterCombination")]);
    let response = handle(&retired, request(orders())).await.expect("the restore will tell");
    assert!(response.warnings.iter().any(|warning| warning.contains("the restore will tell")));
    let denied = account(source()).context_with(vec![answer("AccessDenied")]);
    assert_eq!(handle(&denied, request(orders())).await.expect_err("denied").name(), "AccessDenied");
}

#[tokio::test]
async fn a_key_that_rds_cannot_use_is_refused() {
    for (key, words) in [
        (key(|key| key.key_state(KeyState::Disabled)), "is disabled; enable it"),
        (key(|key| key.key_state(KeyState::PendingDeletion)), "is about to be deleted"),
        (key(|key| key.key_state(KeyState::PendingImport)), "is in the state PendingImport"),
        (key(|key| key.set_key_state(None)), "is in the state unknown"),
        (key(|key| key.key_spec(KeySpec::Rsa2048)), "is asymmetric (RSA_2048)"),
        (key(|key| key.key_usage(KeyUsageType::SignVerify)), "has the usage SIGN_VERIFY"),
        (key(|key| key.key_usage(KeyUsageType::GenerateVerifyMac)), "has the usage GENERATE_VERIFY_MAC"),
    ] {
        let text = refusal(Account { key, ..account(source()) }, "KeyNotUsable").await;
        assert!(text.starts_with(&format!("KMS key {DEFAULT_KEY} {words}")), "{text}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_there_is_refused() {
    let text = refusal(Account { key_id: "another", ..account(source()) }, "KeyNotUsable").await;
    assert!(text.starts_with("there is no KMS key alias/aws/rds in eu-west-1"), "{text}");
    let malformed = mock!(Kms::describe_key)
        .then_error(|| DescribeKeyError::InvalidArnException(InvalidArnException::builder().build()));
    let context = account(source()).context_with(vec![malformed]);
    assert_eq!(handle(&context, request(orders())).await.expect_err("malformed").name(), "KeyNotUsable");
}

#[tokio::test]
async fn a_key_of_another_region_is_refused() {
    for key in ["arn:aws:kms:us-east-1:123456789012:key/1234", "arn:aws:kms:us-east-1:123456789012:alias/rds"] {
        let input = json!({"instance_id": "orders", "kms_key_id": key});
        let error = account(source()).plan(input).await.expect_err("another Region");
        assert_eq!(error.name(), "KeyNotUsable");
        assert!(error.to_string().contains("is in Region us-east-1, but RDS in eu-west-1"), "{error}");
    }
}

#[tokio::test]
async fn the_asked_key_is_pinned_by_its_arn() {
    for key_id in [KEY, "alias/orders", "1234abcd-12ab-34cd-56ef-1234567890ab"] {
        let account = Account { key_id, ..account(source()) };
        let response = account.plan(json!({"instance_id": "orders", "kms_key_id": key_id})).await.expect("planned");
        assert_eq!(response.kms_key_arn, KEY);
    }
}

#[tokio::test]
async fn a_key_that_may_not_be_read_is_access_denied() {
    let denied = mock!(Kms::describe_key)
        .then_error(|| DescribeKeyError::generic(KmsErrorMetadata::builder().code("AccessDeniedException").build()));
    let context = account(source()).context_with(vec![denied]);
    let error = handle(&context, request(orders())).await.expect_err("denied");
    assert_eq!(error.name(), "AccessDenied");
    assert!(error.to_string().starts_with("describe KMS key alias/aws/rds: "), "{error}");
}

/// Each of the names that the plan derives, taken by something with these tags.
fn with_a_name_taken(tags: &[Tag]) -> Vec<(&'static str, Account)> {
    let snapshot = |id: &str| {
        let snapshot = DbSnapshot::builder().db_snapshot_identifier(id).set_tag_list(Some(tags.to_vec())).build();
        Account { snapshots: vec![snapshot], ..account(source()) }
    };
    let instance = DbInstance::builder().db_instance_identifier("orders-encrypted").set_tag_list(Some(tags.to_vec()));
    let mut with_instance = account(source());
    with_instance.instances.push(instance.build());
    vec![
        ("DB snapshot `orders-no-encrypted`", snapshot("orders-no-encrypted")),
        ("DB snapshot `orders-encrypted`", snapshot("orders-encrypted")),
        ("DB instance `orders-encrypted`", with_instance),
    ]
}

#[tokio::test]
async fn a_name_that_somebody_else_has_is_a_conflict() {
    for (what, account) in with_a_name_taken(&[]) {
        let text = refusal(account, "NameConflict").await;
        assert!(text.starts_with(&format!("{what} exists and was not made by rds-encrypt")), "{text}");
    }
}

#[tokio::test]
async fn a_name_that_an_earlier_execution_left_is_a_conflict_that_names_it_and_the_way_out() {
    for (what, account) in with_a_name_taken(&tags_of(EARLIER)) {
        let text = refusal(account, "NameConflict").await;
        assert!(text.starts_with(&format!("{what} was made by the execution {EARLIER}")), "{text}");
        assert!(text.contains("aws rds delete-db-"), "{text}");
    }
}

#[tokio::test]
async fn the_result_of_an_earlier_execution_is_a_conflict() {
    let mut tags = tags_of(EARLIER);
    tags.retain(|tag| tag.key() != Some(workflow::owner::EXECUTION_TAG));
    for (what, account) in with_a_name_taken(&tags) {
        let text = refusal(account, "NameConflict").await;
        assert!(text.starts_with(&format!("{what} is the result of an earlier execution")), "{text}");
        assert!(text.contains(RESOURCE_ID), "{text}");
    }
}

#[tokio::test]
async fn what_this_execution_made_is_no_conflict_when_the_plan_is_repeated() {
    for (_, account) in with_a_name_taken(&tags_of(EXECUTION)) {
        planned(account).await;
    }
}

#[tokio::test]
async fn another_target_has_names_of_its_own() {
    let mut account = account(source());
    let taken = DbInstance::builder().db_instance_identifier("orders-encrypted").build();
    account.instances.push(taken);
    let input = json!({"instance_id": "orders", "target_instance_id": "rehearsal"});
    let names = account.plan(input).await.expect("stands beside the other").names;
    assert_eq!(names.encrypted_instance_id.as_str(), "rehearsal");
    assert_eq!(names.no_encrypted_snapshot_id.as_str(), "rehearsal-no-encrypted");
}

#[tokio::test]
async fn the_sources_own_name_is_no_target() {
    let input = json!({"instance_id": "orders", "target_instance_id": "orders"});
    let error = account(source()).plan(input).await.expect_err("its own name");
    assert_eq!(error.name(), "InvalidInput");
    assert!(error.to_string().starts_with("`target_instance_id`: "), "{error}");
}

#[tokio::test]
async fn a_quota_that_does_not_suffice_is_refused() {
    for (used_up, words) in [
        (quota("ManualSnapshots", 99, 100), "99 of 100 manual snapshots are in use and 2 more are needed"),
        (quota("DBInstances", 40, 40), "40 of 40 DB instances are in use and 1 more are needed"),
        (quota("AllocatedStorage", 901, 1000), "901 of 1000 GiB of storage are in use and 100 more are needed"),
    ] {
        let account = Account { quotas: vec![quota("Other", 9, 9), used_up], ..account(source()) };
        let text = refusal(account, "QuotaExceeded").await;
        assert!(text.contains(words), "{text}");
    }
}

#[tokio::test]
async fn a_quota_that_just_suffices_is_enough() {
    let quotas =
        vec![quota("ManualSnapshots", 98, 100), quota("DBInstances", 39, 40), quota("AllocatedStorage", 900, 1000)];
    planned(Account { quotas, ..account(source()) }).await;
}

#[tokio::test]
async fn no_tag_is_dropped_to_make_room_for_ours() {
    let tagged = |count: usize| {
        let tags = (0..count).map(|n| Tag::builder().key(format!("key-{n}")).value("v").build());
        // AWS's own count for nobody.
        let aws = Tag::builder().key("aws:cloudformation:stack-name").value("s").build();
        account(source().set_tag_list(Some(tags.chain([aws]).collect())))
    };
    assert_eq!(planned(tagged(48)).await.tags.len(), 48);
    let text = refusal(tagged(49), "TooManyTags").await;
    assert!(text.contains("49 tags") && text.contains("remove 1 first"), "{text}");
}

#[tokio::test]
async fn an_instance_can_be_named_by_its_arn_or_its_resource_id() {
    for instance_id in [SOURCE_ARN, RESOURCE_ID] {
        let response = account(source()).plan(json!({"instance_id": instance_id})).await.expect("found");
        assert_eq!(response.instance_id.as_str(), "orders", "{instance_id}");
        assert_eq!(response.names.encrypted_instance_id.as_str(), "orders-encrypted");
    }
}

#[tokio::test]
async fn an_arn_of_another_region_is_bad_input() {
    let input = json!({"instance_id": "arn:aws:rds:us-east-1:123456789012:db:orders"});
    let error = account(source()).plan(input).await.expect_err("another Region");
    assert_eq!(error.name(), "InvalidInput");
    assert!(error.to_string().starts_with("`instance_id`: is in Region us-east-1"), "{error}");
}

#[tokio::test]
async fn what_an_arn_or_a_resource_id_does_not_lead_to_is_not_found() {
    for instance_id in [
        // `orders` of another account is not the `orders` of this one.
        "arn:aws:rds:eu-west-1:999999999999:db:orders",
        "arn:aws:rds:eu-west-1:123456789012:db:customers",
        "db-ZZZZZZZZZZZZZZZZZZZZZZZZ99",
    ] {
        let error = account(source()).plan(json!({"instance_id": instance_id})).await.expect_err(instance_id);
        assert_eq!(error.name(), "InstanceNotFound", "{instance_id}: {error}");
    }
}

#[tokio::test]
async fn bad_input_is_refused_before_anything_is_read() {
    // A client without an answer to anything.
    let none: [Rule; 0] = [];
    let context = Context {
        rds: mock_client!(aws_sdk_rds, RuleMode::MatchAny, &none),
        kms: mock_client!(aws_sdk_kms, RuleMode::MatchAny, &none),
        cloudwatch: mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, &none),
        dms: mock_client!(aws_sdk_databasemigration, RuleMode::MatchAny, &none),
        sfn: mock_client!(aws_sdk_sfn, RuleMode::MatchAny, &none),
        region: REGION.into(),
        undo_state_machine_arn: UNDO_MACHINE.into(),
        kms_key_id: DEFAULT_KEY.into(),
    };
    for input in [json!([]), json!({}), json!({"instance_id": "Orders"}), json!({"instance_id": "orders", "kms": 1})] {
        assert_eq!(handle(&context, request(input)).await.expect_err("bad").name(), "InvalidInput");
    }
}

#[tokio::test]
async fn the_owner_is_warned_of_what_the_run_cannot_do() {
    let source = source()
        .multi_az(false)
        .backup_retention_period(7)
        .read_replica_db_instance_identifiers("orders-replica")
        .read_replica_db_cluster_identifiers("orders-replicas");
    let pending = PendingMaintenanceAction::builder().action("system-update").build();
    let warnings = planned(Account { maintenance: vec![pending], ..account(source) }).await.warnings.join("\n");
    for words in [
        "as of the snapshot",
        "cannot be changed later",
        "First reads on the target are slow",
        "suspends I/O",
        "Unlogged tables are empty",
        "Replication slots",
        "The read replicas orders-replica, orders-replicas stay",
        "Maintenance is pending on the source (system-update)",
        "the source `orders`, its older manual snapshots",
        "its automated backups",
        "its read replicas",
    ] {
        assert!(warnings.contains(words), "{warnings} does not say {words}");
    }
}

#[tokio::test]
async fn the_owner_is_not_warned_of_what_does_not_concern_the_source() {
    let mysql = planned(account(source().engine("mysql"))).await.warnings.join("\n");
    for words in ["suspends I/O", "Unlogged", "Replication slots", "read replicas", "Maintenance", "automated backups"]
    {
        assert!(!mysql.contains(words), "{mysql} says {words}");
    }
    let sql_server = planned(account(source().engine("sqlserver-se"))).await.warnings.join("\n");
    assert!(sql_server.contains("suspends I/O"), "a Multi-AZ SQL Server does, too: {sql_server}");
}

fn cutover(fields: Value) -> Value {
    let mut input = json!({"instance_id": "orders", "cutover": "rename"});
    for (name, value) in fields.as_object().expect("fields") {
        input[name] = value.clone();
    }
    input
}

#[tokio::test]
async fn a_cutover_takes_a_decision_about_the_writes_since_the_snapshot() {
    let error = account(source()).plan(cutover(json!({}))).await.expect_err("no decision");
    assert_eq!(error.name(), "LostWritesNotAccepted");
    for decision in ["writes_stopped", "accept_lost_writes"] {
        assert!(error.to_string().contains(&format!("\"{decision}\": true")), "{error}");
        account(source()).plan(cutover(json!({decision: true}))).await.expect("decided");
    }
}

#[tokio::test]
async fn a_cutover_takes_a_decision_about_the_replicas() {
    let replicated = || account(source().read_replica_db_instance_identifiers("orders-replica"));
    let error = replicated().plan(cutover(json!({"writes_stopped": true}))).await.expect_err("no decision");
    assert_eq!(error.name(), "StaleReplicasNotAccepted");
    assert!(error.to_string().contains("orders-replica"), "{error}");
    let decided = cutover(json!({"writes_stopped": true, "accept_stale_replicas": true}));
    replicated().plan(decided).await.expect("decided");
    replicated().plan(orders()).await.expect("nothing happens to them without a cutover");
}

#[tokio::test]
async fn a_cutover_needs_the_name_for_the_old_instance() {
    let taken = || {
        let mut account = account(source());
        account.instances.push(DbInstance::builder().db_instance_identifier("orders-unencrypted").build());
        account
    };
    let error = taken().plan(cutover(json!({"writes_stopped": true}))).await.expect_err("taken");
    assert_eq!(error.name(), "NameConflict");
    assert!(error.to_string().starts_with("DB instance `orders-unencrypted`"), "{error}");
    taken().plan(orders()).await.expect("it is not needed without a cutover");
}

#[tokio::test]
async fn a_fence_needs_a_group_that_keeps_out_and_groups_to_come_back_to() {
    let group = |id: &str| VpcSecurityGroupMembership::builder().vpc_security_group_id(id).status("active").build();
    let fenced = || cutover(json!({"writes_stopped": true, "isolation_security_group_id": "sg-1"}));
    for groups in [vec![], vec![group("sg-1")], vec![group("sg-2"), group("sg-1")]] {
        let source = source().set_vpc_security_groups(Some(groups));
        let error = account(source).plan(fenced()).await.expect_err("no fence");
        assert_eq!(error.name(), "InvalidInput");
        assert!(error.to_string().starts_with("`isolation_security_group_id`: "), "{error}");
    }
    let adding = VpcSecurityGroupMembership::builder().vpc_security_group_id("sg-2").status("adding").build();
    let error =
        account(source().set_vpc_security_groups(Some(vec![adding]))).plan(fenced()).await.expect_err("changing");
    assert_eq!(error.name(), "InstanceNotUsable");
    let other = source().set_vpc_security_groups(Some(vec![group("sg-2")]));
    account(other).plan(fenced()).await.expect("a fence");
}

#[tokio::test]
async fn modifications_that_a_rename_would_apply_forbid_a_cutover() {
    let pending = PendingModifiedValues::builder().db_instance_class("db.r6g.large").build();
    let busy = || account(source().pending_modified_values(pending.clone()));
    let error = busy().plan(cutover(json!({"writes_stopped": true}))).await.expect_err("pending");
    assert_eq!(error.name(), "InstanceNotUsable");
    assert!(error.to_string().contains("would apply them in the middle of the outage"), "{error}");
    busy().plan(orders()).await.expect("only a warning without a cutover");
    let applying = source().pending_modified_values(pending.clone()).db_instance_status("modifying");
    let response = account(applying).plan(cutover(json!({"writes_stopped": true}))).await.expect("waits");
    assert!(!response.source.ready);
}

#[tokio::test]
async fn backups_wait_for_the_cutover_and_for_nothing_else() {
    let backed_up = || account(source().backup_retention_period(7));
    let days = |settings: &Settings| settings.number("BackupRetentionPeriod");
    let plain = planned(backed_up()).await;
    assert_eq!((days(&plain.settings), days(&plain.final_settings)), (Some(7), Some(7)));
    let renamed = backed_up().plan(cutover(json!({"writes_stopped": true}))).await.expect("planned");
    assert_eq!((days(&renamed.settings), days(&renamed.final_settings)), (Some(0), Some(7)));
    assert!(renamed.warnings.join("\n").contains("only recovery point"), "{:?}", renamed.warnings);
}

#[tokio::test]
async fn a_cutover_announces_the_outage_and_what_is_lost() {
    let input = cutover(json!({"accept_lost_writes": true}));
    let warnings = account(source()).plan(input).await.expect("planned").warnings.join("\n");
    for words in ["The cutover is an outage", "ACCEPTED: what is written", "Without isolation_security_group_id"] {
        assert!(warnings.contains(words), "{warnings} does not say {words}");
    }
    let input = cutover(json!({"writes_stopped": true, "isolation_security_group_id": "sg-0"}));
    let warnings = account(source()).plan(input).await.expect("planned").warnings.join("\n");
    assert!(!warnings.contains("ACCEPTED") && !warnings.contains("Without isolation"), "{warnings}");
}

#[tokio::test]
async fn the_plan_of_a_cutover_names_both_renames_and_the_approval() {
    let input = cutover(json!({"writes_stopped": true, "approval": true, "plan_only": true}));
    let plan = account(source()).plan(input).await.expect("planned").plan.expect("a plan");
    let summary = plan.summary.join("\n");
    for words in ["waits for an approval", "Rename orders to orders-unencrypted", "Rename orders-encrypted to orders:"]
    {
        assert!(summary.contains(words), "{summary} does not say {words}");
    }
}

#[tokio::test]
async fn what_will_still_point_at_the_old_instance_is_found() {
    let found = vec![
        mock!(Rds::describe_event_subscriptions).then_output(|| {
            let of =
                |name, source| EventSubscription::builder().cust_subscription_id(name).source_ids_list(source).build();
            DescribeEventSubscriptionsOutput::builder()
                .event_subscriptions_list(of("orders-events", "orders"))
                .event_subscriptions_list(of("other-events", "customers"))
                .build()
        }),
        mock!(Rds::describe_db_proxies).then_output(|| {
            let named = |name| DbProxy::builder().db_proxy_name(name).build();
            DescribeDbProxiesOutput::builder()
                .db_proxies(named("orders-proxy"))
                .db_proxies(named("other-proxy"))
                .build()
        }),
        mock!(Rds::describe_db_proxy_targets).then_compute_output(|input| {
            let instance = if input.db_proxy_name() == Some("orders-proxy") { "orders" } else { "customers" };
            let target = DbProxyTarget::builder().rds_resource_id(instance).build();
            DescribeDbProxyTargetsOutput::builder().targets(target).build()
        }),
        mock!(Rds::describe_integrations).then_output(|| {
            let of = |name, arn| Integration::builder().integration_name(name).source_arn(arn).build();
            DescribeIntegrationsOutput::builder()
                .integrations(of("orders-to-redshift", SOURCE_ARN))
                .integrations(of("other-to-redshift", "arn:other"))
                .build()
        }),
        mock!(CloudWatch::describe_alarms).then_output(|| {
            let of = |name, instance| {
                let dimension = Dimension::builder().name("DBInstanceIdentifier").value(instance).build();
                MetricAlarm::builder().alarm_name(name).dimensions(dimension).build()
            };
            DescribeAlarmsOutput::builder()
                .metric_alarms(of("orders-cpu", "orders"))
                .metric_alarms(of("other-cpu", "customers"))
                .build()
        }),
        mock!(Dms::describe_endpoints).then_output(|| {
            let at = |name, host| {
                Endpoint::builder()
                    .endpoint_identifier(name)
                    .endpoint_arn(format!("arn:{name}"))
                    .server_name(host)
                    .build()
            };
            DescribeEndpointsOutput::builder()
                .endpoints(at("orders-endpoint", "Orders.example"))
                .endpoints(at("idle-endpoint", "orders.example"))
                .endpoints(at("other-endpoint", "customers.example"))
                .build()
        }),
        mock!(Dms::describe_replication_tasks).then_output(|| {
            let task = |name, source, target| {
                let task = ReplicationTask::builder().replication_task_identifier(name).status("running");
                task.source_endpoint_arn(source).target_endpoint_arn(target).build()
            };
            DescribeReplicationTasksOutput::builder()
                .replication_tasks(task("orders-out", "arn:orders-endpoint", "arn:other-endpoint"))
                .replication_tasks(task("orders-in", "arn:other-endpoint", "arn:orders-endpoint"))
                .replication_tasks(task("other-task", "arn:other-endpoint", "arn:other-endpoint"))
                .build()
        }),
        mock!(Rds::describe_db_snapshots)
            .match_requests(|input| input.snapshot_type() == Some("awsbackup"))
            .then_output(|| {
                let point = DbSnapshot::builder().db_snapshot_identifier("awsbackup:job-1").build();
                DescribeDbSnapshotsOutput::builder().db_snapshots(point).build()
            }),
    ];
    let source = source()
        .endpoint(RdsEndpoint::builder().address("orders.example").build())
        .iam_database_authentication_enabled(true)
        .tag_list(Tag::builder().key("aws:cloudformation:logical-id").value("OrdersDatabase").build())
        .tag_list(Tag::builder().key("managed-by").value("Terraform").build());
    let context = account(source).context_with(found);
    let input = cutover(json!({"writes_stopped": true}));
    let warnings = handle(&context, request(input)).await.expect("planned").warnings.join("\n");
    for words in [
        "event subscription `orders-events`",
        "RDS proxy `orders-proxy`",
        "integration `orders-to-redshift`",
        "follow the name to the target and can fire during the cutover: orders-cpu.",
        &format!(":dbuser:{RESOURCE_ID}/"),
        "The CloudFormation stack `s` owns the source as `OrdersDatabase`",
        "terraform import",
        "DMS endpoint `orders-endpoint` has the source's host name",
        "stop its tasks `orders-out` (running), `orders-in` (running) before the cutover",
        "DMS endpoint `idle-endpoint` has the source's host name and follows it to the target: no task uses it.",
        "AWS Backup protects the source (1 recovery points)",
    ] {
        assert!(warnings.contains(words), "{warnings} does not say {words}");
    }
    assert!(!warnings.contains("other-"), "{warnings}");
}

#[tokio::test]
async fn an_account_without_dms_is_no_failure() {
    let none = mock!(Dms::describe_endpoints)
        .then_error(|| DescribeEndpointsError::ResourceNotFoundFault(ResourceNotFoundFault::builder().build()));
    let source = source().endpoint(RdsEndpoint::builder().address("orders.example").build());
    let context = account(source).context_with(vec![none]);
    let plan = handle(&context, request(cutover(json!({"writes_stopped": true})))).await.expect("planned");
    let said = plan.warnings.join("\n");
    assert!(!said.contains("DMS endpoint `") && !said.contains("AWS Backup protects"), "{said}");
}

#[tokio::test]
async fn what_points_at_the_instance_is_read_only_when_it_matters() {
    let denied = mock!(Rds::describe_db_proxies)
        .then_error(|| DescribeDBProxiesError::generic(ErrorMetadata::builder().code("AccessDenied").build()));
    let context = account(source()).context_with(vec![denied]);
    let said = async |input| handle(&context, request(input)).await.expect("planned").warnings.join("\n");
    assert!(!said(orders()).await.contains("RDS proxies"), "not read");
    for input in [cutover(json!({"writes_stopped": true})), json!({"instance_id": "orders", "plan_only": true})] {
        let said = said(input).await;
        assert!(said.contains("NOT looked for, since it is not allowed: RDS proxies (read the RDS proxies"), "{said}");
    }
}

const MACHINE: &str = "arn:aws:states:eu-west-1:123456789012:stateMachine:encrypt-instance";
const UNDO_MACHINE: &str = "arn:aws:states:eu-west-1:123456789012:stateMachine:undo-instance";
const UNDO: &str = "arn:aws:states:eu-west-1:123456789012:execution:undo-instance:one";
const OTHER: &str = "arn:aws:states:eu-west-1:123456789012:execution:encrypt-instance:other";
/// When the execution that is planned started.
const START_SECONDS: i64 = 1_000;

/// Step Functions with an execution of this status and input.
fn execution_at(arn: &'static str, start_seconds: i64, status: ExecutionStatus, input: Value) -> Rule {
    mock!(StepFunctions::describe_execution)
        .match_requests(move |input| input.execution_arn() == Some(arn))
        .then_output(move || {
            DescribeExecutionOutput::builder()
                .execution_arn(arn)
                .state_machine_arn(MACHINE)
                .status(status.clone())
                .start_date(DateTime::from_secs(start_seconds))
                .input(input.to_string())
                .build()
                .expect("complete")
        })
}

fn execution(status: ExecutionStatus, input: Value) -> Rule {
    execution_at(EARLIER, 0, status, input)
}

fn listed(executions: &[(&str, i64)]) -> ListExecutionsOutput {
    let item = |&(arn, start_seconds): &(&str, i64)| {
        ExecutionListItem::builder()
            .execution_arn(arn)
            .state_machine_arn(MACHINE)
            .name("name")
            .status(ExecutionStatus::Running)
            .start_date(DateTime::from_secs(start_seconds))
            .build()
            .expect("complete")
    };
    let executions = executions.iter().map(item).collect();
    ListExecutionsOutput::builder().set_executions(Some(executions)).build().expect("complete")
}

/// Those that run, and when they started.
fn running(executions: &'static [(&'static str, i64)]) -> Rule {
    mock!(StepFunctions::list_executions)
        .match_requests(|input| {
            input.state_machine_arn() == Some(MACHINE) && input.status_filter() == Some(&ExecutionStatus::Running)
        })
        .then_output(move || listed(executions))
}

async fn resume(earlier: Vec<Rule>, resumed: &str) -> Result<Response, Error> {
    resume_with(vec![snapshot_of(EARLIER, "orders-no-encrypted")], earlier, resumed).await
}

async fn resume_with(snapshots: Vec<DbSnapshot>, mut earlier: Vec<Rule>, resumed: &str) -> Result<Response, Error> {
    earlier.push(execution_at(EXECUTION, START_SECONDS, ExecutionStatus::Running, json!({})));
    earlier.push(running(&[(EXECUTION, START_SECONDS)]));
    earlier.push(mock!(StepFunctions::list_executions).then_output(|| listed(&[])));
    let context = Account { snapshots, ..account(source()) }.context_with(earlier);
    handle(&context, request(json!({"instance_id": "orders", "resume": resumed}))).await
}

#[tokio::test]
async fn of_two_that_resume_the_same_execution_the_later_gives_way() {
    const BEFORE: &[(&str, i64)] = &[(EXECUTION, START_SECONDS), (OTHER, START_SECONDS - 1)];
    const AT_ONCE: &[(&str, i64)] = &[(EXECUTION, START_SECONDS), (OTHER, START_SECONDS)];
    const AFTER: &[(&str, i64)] = &[(EXECUTION, START_SECONDS), (OTHER, START_SECONDS + 1)];
    let resumes = |resumed: &str| kept(json!({"resume": resumed}));
    let rehearsal = kept(json!({"resume": EARLIER, "plan_only": true}));
    let unknown = "arn:aws:states:eu-west-1:123456789012:execution:encrypt-instance:unknown";
    for (executions, input, is_refused) in [
        (BEFORE, resumes(EARLIER), true),
        // Both know who is first, so one goes on.
        (AT_ONCE, resumes(EARLIER), OTHER < EXECUTION),
        (AFTER, resumes(EARLIER), false),
        (BEFORE, rehearsal, false),
        (BEFORE, orders(), false),
        (BEFORE, resumes(OTHER), false),
        (BEFORE, resumes(unknown), false),
    ] {
        let forgotten = mock!(StepFunctions::describe_execution)
            .match_requests(move |input| input.execution_arn() == Some(unknown))
            .then_error(|| DescribeExecutionError::ExecutionDoesNotExist(ExecutionDoesNotExist::builder().build()));
        let other = execution_at(OTHER, executions[1].1, ExecutionStatus::Running, input.clone());
        let rules = vec![running(executions), other, forgotten, execution(ExecutionStatus::Failed, kept(json!({})))];
        let outcome = resume(rules, EARLIER).await;
        assert_eq!(outcome.is_err(), is_refused, "{executions:?} {input}: {outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(error.name(), "NotResumable");
            assert!(error.to_string().starts_with(&format!("{OTHER} goes on with {EARLIER} already")), "{error}");
        }
    }
}

/// An undo would put names and groups back under the resumed execution's hands, or delete what it adopts.
#[tokio::test]
async fn nothing_is_resumed_while_an_undo_looks_after_it() {
    let resumes = json!({"instance_id": "orders", "resume": EARLIER});
    let unrelated = "arn:aws:states:eu-west-1:123456789012:execution:encrypt-instance:unrelated";
    for (undone, input, status, is_refused) in [
        (EARLIER, json!({}), ExecutionStatus::Running, true),
        (OTHER, resumes.clone(), ExecutionStatus::Running, true),
        (OTHER, kept(json!({"resume": EARLIER})), ExecutionStatus::Running, true),
        // The list can be seconds old.
        (OTHER, resumes, ExecutionStatus::Succeeded, false),
        (OTHER, orders(), ExecutionStatus::Running, false),
        (OTHER, json!({"instance_id": "orders", "resume": unrelated}), ExecutionStatus::Running, false),
    ] {
        let undos = mock!(StepFunctions::list_executions)
            .match_requests(|input| input.state_machine_arn() == Some(UNDO_MACHINE))
            .then_output(|| listed(&[(UNDO, START_SECONDS)]));
        let undo = execution_at(UNDO, START_SECONDS, status.clone(), json!({"executionArn": undone}));
        let earlier = execution(ExecutionStatus::Failed, kept(json!({})));
        let other = execution_at(OTHER, START_SECONDS - 1, ExecutionStatus::Aborted, input.clone());
        let unrelated = execution_at(unrelated, 0, ExecutionStatus::Failed, orders());
        let outcome = resume(vec![undos, undo, earlier, other, unrelated], EARLIER).await;
        assert_eq!(outcome.is_err(), is_refused, "{undone} {input} {status}: {outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(error.name(), "NotResumable");
            assert!(error.to_string().starts_with(&format!("{UNDO} still looks after what {undone} left")), "{error}");
        }
    }
}

/// The input of an execution that leaves what it made.
fn kept(fields: Value) -> Value {
    let mut input = json!({"instance_id": "orders", "on_failure": "keep"});
    for (name, value) in fields.as_object().expect("fields") {
        input[name] = value.clone();
    }
    input
}

#[tokio::test]
async fn a_resumed_execution_takes_over_what_the_earlier_one_left() {
    for status in [ExecutionStatus::Failed, ExecutionStatus::TimedOut, ExecutionStatus::Aborted] {
        let response = resume(vec![execution(status, kept(json!({})))], EARLIER).await.expect("resumed");
        assert_eq!(response.owner.execution, EARLIER);
    }
}

#[tokio::test]
async fn a_chain_of_resumes_leads_to_the_execution_that_made_the_resources() {
    let second = "arn:aws:states:eu-west-1:123456789012:execution:encrypt-instance:second";
    let describe_second =
        mock!(StepFunctions::describe_execution).match_requests(move |input| input.execution_arn() == Some(second));
    let describe_second = describe_second.then_output(move || {
        DescribeExecutionOutput::builder()
            .execution_arn(second)
            .state_machine_arn("arn:aws:states:eu-west-1:123456789012:stateMachine:encrypt-instance")
            .status(ExecutionStatus::Failed)
            .start_date(DateTime::from_secs(0))
            .input(kept(json!({"resume": EARLIER})).to_string())
            .build()
            .expect("complete")
    });
    let chain = vec![describe_second, execution(ExecutionStatus::Failed, kept(json!({})))];
    assert_eq!(resume(chain, second).await.expect("resumed").owner.execution, EARLIER);
}

#[tokio::test]
async fn a_resume_over_a_missing_link_is_refused() {
    let plain = || snapshot_of(EARLIER, "orders-no-encrypted");
    let copy = || snapshot_of(EARLIER, "orders-encrypted");
    for (snapshots, has_target, missing) in [
        (vec![], false, None),
        (vec![plain()], false, None),
        (vec![plain(), copy()], false, None),
        (vec![plain(), copy()], true, None),
        (vec![copy()], false, Some("DB snapshot `orders-no-encrypted` is gone")),
        (vec![copy()], true, Some("DB snapshot `orders-no-encrypted` is gone")),
        (vec![plain()], true, Some("DB snapshot `orders-encrypted` is gone")),
    ] {
        let target =
            DbInstance::builder().db_instance_identifier("orders-encrypted").set_tag_list(Some(tags_of(EARLIER)));
        let target = target.build();
        let describe_target = mock!(Rds::describe_db_instances)
            .match_requests(|input| input.db_instance_identifier() == Some("orders-encrypted"))
            .then_output(move || DescribeDbInstancesOutput::builder().db_instances(target.clone()).build());
        let mut rules = vec![execution(ExecutionStatus::Failed, kept(json!({})))];
        rules.extend(has_target.then_some(describe_target));
        let outcome = resume_with(snapshots, rules, EARLIER).await;
        match (outcome, missing) {
            (Ok(_), None) => {}
            (Err(error), Some(words)) => {
                assert_eq!(error.name(), "NotResumable");
                assert!(error.to_string().starts_with(words), "{error}");
            }
            (outcome, _) => panic!("{missing:?}: {outcome:?}"),
        }
    }
}

fn snapshot_of(execution: &str, id: &str) -> DbSnapshot {
    DbSnapshot::builder().db_snapshot_identifier(id).set_tag_list(Some(tags_of(execution))).build()
}

#[tokio::test]
async fn a_chain_of_resumes_that_leads_nowhere_ends() {
    let itself = execution(ExecutionStatus::Failed, kept(json!({"resume": EARLIER})));
    let error = resume(vec![itself], EARLIER).await.expect_err("it resumes itself");
    assert_eq!(error.name(), "NotResumable");
    assert!(error.to_string().contains("more than 20 links"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_resumed_is_refused_with_the_reason() {
    for (status, words) in [
        (ExecutionStatus::Running, "is RUNNING; stop it first"),
        (ExecutionStatus::Succeeded, "succeeded; there is nothing to go on with"),
        // Its undo may be on its way, and would delete what this one adopts.
        (ExecutionStatus::Aborted, "was to undo what it made, not to keep it"),
    ] {
        let error = resume(vec![execution(status, orders())], EARLIER).await.expect_err(words);
        assert_eq!(error.name(), "NotResumable");
        assert!(error.to_string().contains(words), "{error}");
    }
    let forgotten = mock!(StepFunctions::describe_execution)
        .then_error(|| DescribeExecutionError::ExecutionDoesNotExist(ExecutionDoesNotExist::builder().build()));
    let error = resume(vec![forgotten], EARLIER).await.expect_err("forgotten");
    assert_eq!(error.name(), "NotResumable");
    let other = "arn:aws:states:eu-west-1:123456789012:execution:another-machine:earlier";
    let error = resume(vec![], other).await.expect_err("another machine");
    assert!(error.to_string().contains("another state machine"), "{error}");
}

#[tokio::test]
async fn throttling_is_named_if_it_does_not_end_and_not_noticed_if_it_does() {
    let throttled = mock!(Rds::describe_account_attributes)
        .then_error(|| DescribeAccountAttributesError::generic(ErrorMetadata::builder().code("Throttling").build()));
    let context = account(source()).context_with(vec![throttled]);
    assert_eq!(handle(&context, request(orders())).await.expect_err("throttled").name(), "Throttled");
    let ends = mock!(Rds::describe_account_attributes)
        .sequence()
        .http_status(503, None)
        .times(2)
        .output(|| DescribeAccountAttributesOutput::builder().build())
        .build();
    let context = account(source()).context_with(vec![ends.clone()]);
    assert!(handle(&context, request(orders())).await.is_ok());
    assert_eq!(ends.num_calls(), 3);
}
