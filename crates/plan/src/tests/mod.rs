//! The plan against an account of mocked services; each topic has a file of its own.

mod blue_green;
mod by_deployment;
mod check_cutover;
mod cutover;
mod key;
mod look_ups;
mod own_accord;
mod plan;
mod references;
mod refusals;
mod resume;
mod rivals;
mod security_groups;
mod settled;
mod source;
mod writes;

use aws_sdk_cloudwatch::operation::describe_alarms::{DescribeAlarmsError, DescribeAlarmsOutput};
use aws_sdk_cloudwatch::operation::get_metric_statistics::GetMetricStatisticsOutput;
use aws_sdk_cloudwatch::primitives::DateTime as CloudWatchDateTime;
use aws_sdk_cloudwatch::types::{Datapoint, Dimension, MetricAlarm};
use aws_sdk_databasemigration::operation::describe_endpoints::{DescribeEndpointsError, DescribeEndpointsOutput};
use aws_sdk_databasemigration::operation::describe_replication_tasks::DescribeReplicationTasksOutput;
use aws_sdk_databasemigration::types::error::ResourceNotFoundFault;
use aws_sdk_databasemigration::types::{Endpoint, ReplicationTask};
use aws_sdk_kms::error::ErrorMetadata as KmsErrorMetadata;
use aws_sdk_kms::operation::describe_key::{DescribeKeyError, DescribeKeyOutput};
use aws_sdk_kms::types::builders::KeyMetadataBuilder;
use aws_sdk_kms::types::error::{InvalidArnException, NotFoundException};
use aws_sdk_kms::types::{KeyManagerType, KeyMetadata, KeySpec, KeyState, KeyUsageType};
use aws_sdk_rds::config::SharedCredentialsProvider;
use aws_sdk_rds::config::http::{HttpRequest, HttpResponse};
use aws_sdk_rds::error::ErrorMetadata;
use aws_sdk_rds::operation::describe_account_attributes::{
    DescribeAccountAttributesError, DescribeAccountAttributesOutput,
};
use aws_sdk_rds::operation::describe_blue_green_deployments::{
    DescribeBlueGreenDeploymentsError, DescribeBlueGreenDeploymentsOutput,
};
use aws_sdk_rds::operation::describe_certificates::{DescribeCertificatesError, DescribeCertificatesOutput};
use aws_sdk_rds::operation::describe_db_engine_versions::{
    DescribeDBEngineVersionsError, DescribeDbEngineVersionsOutput,
};
use aws_sdk_rds::operation::describe_db_instances::{DescribeDBInstancesError, DescribeDbInstancesOutput};
use aws_sdk_rds::operation::describe_db_major_engine_versions::{
    DescribeDBMajorEngineVersionsError, DescribeDbMajorEngineVersionsOutput,
};
use aws_sdk_rds::operation::describe_db_parameters::{DescribeDBParametersError, DescribeDbParametersOutput};
use aws_sdk_rds::operation::describe_db_proxies::{DescribeDBProxiesError, DescribeDbProxiesOutput};
use aws_sdk_rds::operation::describe_db_proxy_targets::DescribeDbProxyTargetsOutput;
use aws_sdk_rds::operation::describe_db_snapshots::{DescribeDBSnapshotsError, DescribeDbSnapshotsOutput};
use aws_sdk_rds::operation::describe_event_subscriptions::{
    DescribeEventSubscriptionsError, DescribeEventSubscriptionsOutput,
};
use aws_sdk_rds::operation::describe_integrations::{DescribeIntegrationsError, DescribeIntegrationsOutput};
use aws_sdk_rds::operation::describe_orderable_db_instance_options::{
    DescribeOrderableDBInstanceOptionsError, DescribeOrderableDbInstanceOptionsOutput,
};
use aws_sdk_rds::operation::describe_pending_maintenance_actions::{
    DescribePendingMaintenanceActionsError, DescribePendingMaintenanceActionsOutput,
};
use aws_sdk_rds::types::Endpoint as RdsEndpoint;
use aws_sdk_rds::types::builders::{DbInstanceBuilder, OrderableDbInstanceOptionBuilder};
use aws_sdk_rds::types::{
    AccountQuota, BlueGreenDeployment, Certificate, DbEngineVersion, DbMajorEngineVersion, DbParameterGroupStatus,
    DbProxy, DbProxyTarget, DbSnapshot, DbSubnetGroup, DomainMembership, EventSubscription, Integration,
    IntegrationStatus, OrderableDbInstanceOption, Parameter, PendingMaintenanceAction, PendingModifiedValues,
    ResourcePendingMaintenanceActions, StorageEncryptionType, SwitchoverDetail, Tag, VpcSecurityGroupMembership,
};
use aws_sdk_sfn::error::ErrorMetadata as SfnErrorMetadata;
use aws_sdk_sfn::operation::describe_execution::{DescribeExecutionError, DescribeExecutionOutput};
use aws_sdk_sfn::operation::list_executions::{ListExecutionsError, ListExecutionsOutput};
use aws_sdk_sfn::primitives::DateTime;
use aws_sdk_sfn::types::error::ExecutionDoesNotExist;
use aws_sdk_sfn::types::{ExecutionListItem, ExecutionStatus};
use aws_smithy_mocks::{MockResponse, Rule, RuleMode, mock, mock_client};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::http::StatusCode;
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
const VPC: &str = "vpc-1";
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
        .db_subnet_group(DbSubnetGroup::builder().db_subnet_group_name("private").vpc_id(VPC).build())
        .db_parameter_groups(DbParameterGroupStatus::builder().db_parameter_group_name("orders-15").build())
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
    deployments: Vec<BlueGreenDeployment>,
    maintenance: Vec<PendingMaintenanceAction>,
    integrations: Vec<Integration>,
    /// Of the source's parameter group.
    parameters: Vec<Parameter>,
    ec2: Ec2Answers,
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
        integrations: vec![],
        parameters: vec![],
        ec2: Ec2Answers::Vpcs(vec![("sg-0", VPC), ("sg-1", VPC), ("sg-q", VPC)]),
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
        let Self { instances, snapshots, key_id, key, quotas, orderable, deployments, maintenance, .. } = self;
        let Self { integrations, parameters, ec2, .. } = self;
        let arn = instances.first().and_then(|source| source.db_instance_arn()).map(str::to_owned);
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
                input.db_instance_class().is_none_or(|class| class == "db.m6g.large")
                    && input.engine_version() == Some("15.4")
            })
            .then_output(move || {
                DescribeOrderableDbInstanceOptionsOutput::builder()
                    .set_orderable_db_instance_options(Some(orderable.clone()))
                    .build()
            });
        let version = mock!(Rds::describe_db_engine_versions)
            .match_requests(|input| input.include_all() == Some(true))
            .then_compute_output(|input| {
                let version = DbEngineVersion::builder().status("available").set_engine(input.engine.clone());
                let version = version.set_engine_version(input.engine_version.clone()).major_engine_version("15");
                DescribeDbEngineVersionsOutput::builder().db_engine_versions(version.build()).build()
            });
        let blue_green = mock!(Rds::describe_blue_green_deployments).then_output(move || {
            DescribeBlueGreenDeploymentsOutput::builder().set_blue_green_deployments(Some(deployments.clone())).build()
        });
        let pending = mock!(Rds::describe_pending_maintenance_actions)
            .match_requests(move |input| input.resource_identifier() == arn.as_deref())
            .then_output(move || {
                let actions = ResourcePendingMaintenanceActions::builder()
                    .set_pending_maintenance_action_details(Some(maintenance.clone()))
                    .build();
                DescribePendingMaintenanceActionsOutput::builder().pending_maintenance_actions(actions).build()
            });
        let subscriptions = mock!(Rds::describe_event_subscriptions)
            .then_output(|| DescribeEventSubscriptionsOutput::builder().build());
        let proxies = mock!(Rds::describe_db_proxies).then_output(|| DescribeDbProxiesOutput::builder().build());
        let integrations = mock!(Rds::describe_integrations).then_output(move || {
            DescribeIntegrationsOutput::builder().set_integrations(Some(integrations.clone())).build()
        });
        let parameters = mock!(Rds::describe_db_parameters)
            .match_requests(|input| {
                (input.db_parameter_group_name(), input.source()) == (Some("orders-15"), Some("user"))
            })
            .then_output(move || {
                DescribeDbParametersOutput::builder().set_parameters(Some(parameters.clone())).build()
            });
        let describe_key = mock!(Kms::describe_key).then_compute_response(move |input| {
            if input.key_id() == Some(key_id) {
                MockResponse::Output(DescribeKeyOutput::builder().key_metadata(key.clone()).build())
            } else {
                MockResponse::Error(DescribeKeyError::NotFoundException(NotFoundException::builder().build()))
            }
        });
        let alarms = mock!(CloudWatch::describe_alarms).then_output(|| DescribeAlarmsOutput::builder().build());
        let endpoints = mock!(Dms::describe_endpoints).then_output(|| DescribeEndpointsOutput::builder().build());
        let this = execution_at(EXECUTION, START_SECONDS, ExecutionStatus::Running, json!({}));
        let nobody_else = mock!(StepFunctions::list_executions).then_output(|| listed(&[]));
        let own = [
            describe_instances,
            describe_snapshots,
            account,
            options,
            version,
            blue_green,
            pending,
            subscriptions,
            proxies,
            integrations,
            describe_key,
            parameters,
            alarms,
            connections(|_| Some(0.0)),
            endpoints,
            this,
            nobody_else,
        ];
        let rules: Vec<Rule> = first.into_iter().chain(own).collect();
        Context {
            rds: mock_client!(aws_sdk_rds, RuleMode::MatchAny, &rules),
            kms: mock_client!(aws_sdk_kms, RuleMode::MatchAny, &rules),
            cloudwatch: mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, &rules),
            dms: mock_client!(aws_sdk_databasemigration, RuleMode::MatchAny, &rules),
            sfn: mock_client!(aws_sdk_sfn, RuleMode::MatchAny, &rules),
            ec2: ec2.client(),
            region: REGION.into(),
            undo_state_machine_arn: UNDO_MACHINE.into(),
            patience: PATIENCE,
        }
    }

    async fn plan(self, input: Value) -> Result<State, Error> {
        plan_in(&self.context(), input).await
    }
}

/// The first look of an execution of this input.
async fn plan_in(context: &Context, input: Value) -> Result<State, Error> {
    plan_again_in(context, input, json!({"input": {}, "phase": "planning", "error": null, "undo": null})).await
}

/// A look after the one that left this state.
async fn plan_again_in(context: &Context, input: Value, state: Value) -> Result<State, Error> {
    plan_by("snapshot", context, input, state).await
}

async fn plan_by(way: &str, context: &Context, input: Value, state: Value) -> Result<State, Error> {
    let request = json!({
        "task": "plan", "way": way, "input": input, "execution": EXECUTION, "started_at": STARTED_AT,
        "default_kms_key_id": DEFAULT_KEY, "state": state,
    });
    match handle(context, workflow::serve::decode(request).expect("a request")).await? {
        Response::Plan(state) => Ok(*state),
        Response::CheckCutover { .. } => panic!("no plan"),
    }
}

fn orders() -> Value {
    json!({"instance_id": "orders"})
}

async fn planned(account: Account) -> State {
    account.plan(orders()).await.expect("planned")
}

/// The refusal's text; its name is as expected.
async fn refusal(account: Account, name: &str) -> String {
    let error = account.plan(orders()).await.expect_err(name);
    assert_eq!(error.name(), name, "{error}");
    error.to_string()
}

const MACHINE: &str = "arn:aws:states:eu-west-1:123456789012:stateMachine:encrypt-instance";
const UNDO_MACHINE: &str = "arn:aws:states:eu-west-1:123456789012:stateMachine:undo-instance";
const UNDO: &str = "arn:aws:states:eu-west-1:123456789012:execution:undo-instance:one";
const OTHER: &str = "arn:aws:states:eu-west-1:123456789012:execution:encrypt-instance:other";
/// When the execution that is planned started.
const START_SECONDS: i64 = 1_000;
const STARTED_AT: &str = "1970-01-01T00:16:40Z";

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

/// An undo of the execution OTHER, which was started with this input.
fn undo(undone: Value, status: ExecutionStatus) -> Vec<Rule> {
    let undos = mock!(StepFunctions::list_executions)
        .match_requests(|input| input.state_machine_arn() == Some(UNDO_MACHINE))
        .then_output(|| listed(&[(UNDO, START_SECONDS)]));
    let undo = execution_at(UNDO, START_SECONDS, status, json!({"executionArn": OTHER}));
    vec![undos, undo, execution_at(OTHER, START_SECONDS - 1, ExecutionStatus::Aborted, undone)]
}

fn cutover(fields: Value) -> Value {
    let mut input = json!({"instance_id": "orders", "cutover": "rename"});
    for (name, value) in fields.as_object().expect("fields") {
        input[name] = value.clone();
    }
    input
}

/// CloudWatch with the connections of each minute since the epoch.
fn connections(of_minute: fn(i64) -> Option<f64>) -> Rule {
    mock!(CloudWatch::get_metric_statistics).then_compute_output(move |input| {
        let minute = |time: Option<&CloudWatchDateTime>| time.expect("a time").secs() / 60;
        let points = (minute(input.start_time())..minute(input.end_time())).filter_map(|minute| {
            let point = Datapoint::builder().timestamp(CloudWatchDateTime::from_secs(minute * 60));
            Some(point.maximum(of_minute(minute)?).build())
        });
        GetMetricStatisticsOutput::builder().set_datapoints(Some(points.collect())).build()
    })
}

/// What EC2 says when it is asked for security groups.
#[derive(Clone, Debug)]
enum Ec2Answers {
    /// These exist, each in its VPC.
    Vpcs(Vec<(&'static str, &'static str)>),
    Refuses(&'static str),
    Nothing,
}

impl Ec2Answers {
    fn client(self) -> Ec2 {
        let credentials = aws_sdk_rds::config::Credentials::new("AKID", "secret", Some("token".into()), None, "test");
        Ec2 {
            connector: SharedHttpConnector::new(self),
            credentials: Some(SharedCredentialsProvider::new(credentials)),
            endpoint: "https://ec2.eu-west-1.amazonaws.com".into(),
            region: REGION.into(),
            user_agent: "app/rds-encrypt.plan".into(),
        }
    }
}

impl HttpConnector for Ec2Answers {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let header = |name| request.headers().get(name).unwrap_or_default().to_owned();
        assert_eq!((request.method(), header("user-agent").as_str()), ("POST", "app/rds-encrypt.plan"));
        assert!(header("authorization").contains("/eu-west-1/ec2/aws4_request"), "{request:?}");
        assert_eq!(header("x-amz-security-token"), "token");
        let query = String::from_utf8(request.body().bytes().expect("in memory").to_vec()).expect("text");
        assert!(
            query.starts_with("Action=DescribeSecurityGroups&Version=2016-11-15&Filter.1.Name=group-id&"),
            "{query}"
        );
        let asked: Vec<&str> = query.split('&').filter(|part| part.contains(".Value.")).collect();
        let (status, body) = match self {
            Self::Vpcs(vpcs) => {
                let is_asked = |group: &str| asked.iter().any(|part| part.ends_with(&format!("={group}")));
                let items = vpcs.iter().filter(|(group, _)| is_asked(group)).map(|(group, vpc)| {
                    // As EC2 answers: a rule that names another VPC's group stands before the group's own id.
                    format!(
                        "<item><ownerId>123456789012</ownerId><ipPermissions><item><groups><item><groupId>sg-9</groupId><vpcId>vpc-9</vpcId></item></groups></item></ipPermissions><groupId>{group}</groupId><vpcId>{vpc}</vpcId></item>"
                    )
                });
                let items: String = items.collect();
                (200, format!("<R><requestId>1</requestId><securityGroupInfo>{items}</securityGroupInfo></R>"))
            }
            Self::Refuses(code) => {
                let error = format!("<Error><Code>{code}</Code><Message>You may not.</Message></Error>");
                (403, format!("<Response><Errors>{error}</Errors></Response>"))
            }
            Self::Nothing => return HttpConnectorFuture::new(std::future::pending()),
        };
        HttpConnectorFuture::ready(Ok(HttpResponse::new(StatusCode::try_from(status).expect("a status"), body.into())))
    }
}

impl State {
    fn of_snapshot(self) -> OfSnapshot {
        match self.of_way {
            OfWay::Snapshot(of_snapshot) => *of_snapshot,
            other => panic!("{other:?}"),
        }
    }
}
