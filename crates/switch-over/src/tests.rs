use aws_sdk_cloudwatch::operation::get_metric_statistics::GetMetricStatisticsOutput;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::Datapoint;
use aws_sdk_rds::Client;
use aws_sdk_rds::error::ErrorMetadata;
use aws_sdk_rds::operation::describe_blue_green_deployments::DescribeBlueGreenDeploymentsOutput;
use aws_sdk_rds::operation::describe_db_instances::{DescribeDBInstancesError, DescribeDbInstancesOutput};
use aws_sdk_rds::operation::switchover_blue_green_deployment::{
    SwitchoverBlueGreenDeploymentError, SwitchoverBlueGreenDeploymentOutput,
};
use aws_sdk_rds::types::{BlueGreenDeployment, DbInstance, SwitchoverDetail};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use serde_json::json;
use workflow::serve::decode;
use workflow::wait::Wait;

use super::*;

const AT: &str = "2026-03-01T10:00:30Z";
const GREEN: &str = "orders-green-abc123";

fn proven() -> Proven {
    let wanted = json!({
        "source_resource_id": "db-SOURCE", "instance_id": "orders", "cutover": "none",
        "quarantine_security_group_id": null, "settings": {}, "tags": [],
    });
    decode(json!({
        "name": "orders-encrypted",
        "owner": {"execution": "arn:ours", "source_resource_id": "db-SOURCE"},
        "members": [{"arn": "arn:aws:rds:r:1:db:orders", "kms_key_arn": "arn:key", "wanted": wanted}],
        "targets": [{"source_id": "orders", "instance_id": GREEN, "resource_id": "db-GREEN"}],
    }))
    .expect("proven")
}

/// The account as a look finds it: the deployment's status, and the instances by DbiResourceId.
struct Account {
    status: &'static str,
    instances: Vec<(&'static str, &'static str, &'static str)>,
    /// Of every metric; free storage in GiB, lag in seconds.
    lag_seconds: Option<f64>,
    free_gib: f64,
    switchover: Option<&'static str>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            status: "AVAILABLE",
            instances: vec![("db-SOURCE", "orders", "available"), ("db-GREEN", GREEN, "available")],
            lag_seconds: Some(0.0),
            free_gib: 50.0,
            switchover: None,
        }
    }
}

impl Account {
    fn context(&self) -> (Context, Rule) {
        let status = self.status;
        let deployments = mock!(Client::describe_blue_green_deployments).then_output(move || {
            let member = SwitchoverDetail::builder().source_member("arn:aws:rds:r:1:db:orders").build();
            let found = BlueGreenDeployment::builder()
                .blue_green_deployment_identifier("bgd-1")
                .blue_green_deployment_name("orders-encrypted")
                .status(status)
                .status_details("of RDS")
                .switchover_details(member)
                .set_tag_list(Some(proven().owner.tags_with(&[])));
            DescribeBlueGreenDeploymentsOutput::builder().blue_green_deployments(found.build()).build()
        });
        let instances = self.instances.clone();
        let described = mock!(Client::describe_db_instances).then_output(move || {
            let shown = instances.iter().map(|(resource_id, id, status)| {
                let instance = DbInstance::builder().dbi_resource_id(*resource_id).db_instance_identifier(*id);
                instance.db_instance_status(*status).allocated_storage(100).build()
            });
            DescribeDbInstancesOutput::builder().set_db_instances(Some(shown.collect())).build()
        });
        let switchover = mock!(Client::switchover_blue_green_deployment).match_requests(|input| {
            (input.blue_green_deployment_identifier(), input.switchover_timeout()) == (Some("bgd-1"), Some(300))
        });
        let switchover = match self.switchover {
            None => switchover.then_output(|| SwitchoverBlueGreenDeploymentOutput::builder().build()),
            Some(code) => switchover.then_error(move || {
                SwitchoverBlueGreenDeploymentError::generic(ErrorMetadata::builder().code(code).build())
            }),
        };
        let (lag, free_bytes) = (self.lag_seconds, self.free_gib * 1_073_741_824.0);
        let metrics = mock!(aws_sdk_cloudwatch::Client::get_metric_statistics).then_compute_output(move |input| {
            let value = if input.metric_name() == Some("ReplicaLag") { lag } else { Some(free_bytes) };
            let points =
                value.map(|value| Datapoint::builder().timestamp(DateTime::from_secs(0)).minimum(value).build());
            GetMetricStatisticsOutput::builder().set_datapoints(Some(points.into_iter().collect())).build()
        });
        let context = Context {
            rds: mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&deployments, &described, &switchover]),
            cloudwatch: mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, [&metrics]),
        };
        (context, switchover)
    }

    async fn lag(&self, previous: Option<Lag>) -> Result<Lag, Error> {
        let request = lag::Request { deployment: proven(), at: AT.into(), previous, max_wait_seconds: 3_600 };
        lag::look(&self.context().0, request).await
    }

    /// The answer, and how often RDS was asked for the switchover.
    async fn switch(&self, retry_count: u64, previous: Option<Switch>) -> (Result<Switch, Error>, usize) {
        let (context, switchover) = self.context();
        let request = switch::Request { deployment: proven(), switchover_timeout_seconds: 300, retry_count, previous };
        (switch::look(&context, request).await, switchover.num_calls())
    }
}

fn waited(seconds: u64) -> Wait {
    Wait { waited_seconds: seconds, ..Wait::default() }
}

fn requested(at_seconds: u64, waited_seconds: u64) -> Option<Switch> {
    Some(Switch {
        requested: true,
        requested_at_seconds: at_seconds,
        wait: waited(waited_seconds),
        ..Switch::default()
    })
}

#[tokio::test]
async fn green_that_is_close_behind_may_be_switched_over() {
    let lag = Account::default().lag(None).await.expect("a look");
    assert_eq!((lag.ready, lag.lag_seconds), (true, Some(0.0)));
}

#[tokio::test]
async fn whatever_rds_would_refuse_for_is_waited_for() {
    let with = |instances| Account { instances, ..Account::default() };
    for (account, what) in [
        (Account { lag_seconds: Some(6.0), ..Account::default() }, "6 s behind"),
        (Account { lag_seconds: None, ..Account::default() }, "no ReplicaLag"),
        (
            with(vec![("db-SOURCE", "orders", "backing-up"), ("db-GREEN", GREEN, "available")]),
            "`orders` is `backing-up`",
        ),
        (with(vec![("db-SOURCE", "orders", "available"), ("db-GREEN", GREEN, "storage-optimization")]), "optimization"),
        (with(vec![("db-SOURCE", "orders", "available")]), "db-GREEN cannot be seen"),
    ] {
        let lag = account.lag(None).await.expect(what);
        assert!(!lag.ready && lag.wait.wait_seconds > 0, "{what}");
        assert!(lag.pending.join("; ").contains(what), "{what}: {:?}", lag.pending);
        let late = Lag { wait: waited(3_600), ..Lag::default() };
        let error = account.lag(Some(late)).await.expect_err(what);
        assert_eq!(error.name(), "WaitTimedOut");
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[tokio::test]
async fn a_switchover_does_not_begin_for_a_source_in_need_or_a_deployment_that_is_over() {
    let renamed = vec![("db-SOURCE", "orders-2", "available"), ("db-GREEN", GREEN, "available")];
    for (account, name) in [
        (Account { free_gib: 4.0, ..Account::default() }, "SourceStorageLow"),
        (Account { instances: renamed, ..Account::default() }, "SourceRenamed"),
        (Account { status: "INVALID_CONFIGURATION", ..Account::default() }, "DeploymentFailed"),
        (Account { status: "SWITCHOVER_COMPLETED", ..Account::default() }, "DeploymentFailed"),
    ] {
        assert_eq!(account.lag(None).await.expect_err(name).name(), name);
    }
}

#[tokio::test]
async fn a_switchover_is_asked_for_once() {
    let (first, calls) = Account::default().switch(0, None).await;
    let first = first.expect("asked");
    assert_eq!((first.requested, first.ready, calls), (true, false, 1));
    // It does not show yet.
    let (second, calls) = Account::default().switch(0, Some(first)).await;
    assert_eq!((second.expect("waits").ready, calls), (false, 0));
    // An earlier attempt of this look, of which nobody knows whether it has asked.
    let (retried, calls) = Account::default().switch(1, None).await;
    let retried = retried.expect("waits");
    assert_eq!((retried.requested, calls), (false, 0));
    // It has not: once no abandoned call can land any more, it is asked for.
    let later = Switch { wait: waited(70), ..retried };
    assert_eq!(Account::default().switch(0, Some(later)).await.1, 1);
}

#[tokio::test]
async fn only_what_was_proven_under_its_name_is_switched_over() {
    for (instances, name) in [
        (vec![("db-SOURCE", "orders", "available"), ("db-OTHER", GREEN, "available")], "InstanceNotFound"),
        (vec![("db-SOURCE", "orders-2", "available"), ("db-GREEN", GREEN, "available")], "SourceRenamed"),
    ] {
        let (answer, calls) = Account { instances, ..Account::default() }.switch(0, None).await;
        assert_eq!((answer.expect_err(name).name(), calls), (name, 0));
    }
}

#[tokio::test]
async fn a_look_that_fails_is_the_failure_even_while_a_late_call_is_waited_for() {
    let unseen = || {
        let (context, _) = Account::default().context();
        let throttled = mock!(Client::describe_db_instances)
            .then_error(|| DescribeDBInstancesError::generic(ErrorMetadata::builder().code("Throttling").build()));
        let deployments = mock!(Client::describe_blue_green_deployments).then_output(|| {
            let found = BlueGreenDeployment::builder()
                .blue_green_deployment_name("orders-encrypted")
                .status("AVAILABLE")
                .set_tag_list(Some(proven().owner.tags_with(&[])));
            DescribeBlueGreenDeploymentsOutput::builder().blue_green_deployments(found.build()).build()
        });
        Context { rds: mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&deployments, &throttled]), ..context }
    };
    for retry_count in [0, 1] {
        let request = switch::Request {
            deployment: proven(),
            switchover_timeout_seconds: 300,
            retry_count,
            previous: Some(Switch { wait: waited(1_800), ..Switch::default() }),
        };
        assert_eq!(switch::look(&unseen(), request).await.expect_err("throttled").name(), "Throttled");
    }
    // What a late call has set off changes the names before the status.
    let renamed = vec![("db-SOURCE", "orders-old1", "available"), ("db-GREEN", "orders", "available")];
    let (answer, calls) = Account { instances: renamed, ..Account::default() }.switch(1, None).await;
    assert_eq!((answer.expect("waits").ready, calls), (false, 0));
}

#[tokio::test]
async fn what_has_been_switched_over_is_seen_by_the_name() {
    let switched = vec![("db-SOURCE", "orders-old1", "available"), ("db-GREEN", "orders", "available")];
    let account = Account { status: "SWITCHOVER_COMPLETED", instances: switched, ..Account::default() };
    assert!(account.switch(0, requested(5, 60)).await.0.expect("over").ready);
    // RDS says so before the names have moved.
    let account = Account { status: "SWITCHOVER_COMPLETED", ..Account::default() };
    assert!(!account.switch(0, requested(5, 60)).await.0.expect("waits").ready);
    let account = Account { status: "SWITCHOVER_IN_PROGRESS", ..Account::default() };
    let answer = account.switch(0, None).await.0.expect("waits");
    assert!(answer.requested && !answer.ready, "its reply was lost");
    assert_eq!(account.switch(0, requested(0, 10_000)).await.0.expect_err("too long").name(), "WaitTimedOut");
}

#[tokio::test]
async fn a_switchover_that_rds_took_back_is_named_with_its_remedy() {
    for (status, waited_seconds) in [("SWITCHOVER_FAILED", 60), ("AVAILABLE", 305)] {
        let account = Account { status, ..Account::default() };
        let error = account.switch(0, requested(5, waited_seconds)).await.0.expect_err(status);
        assert_eq!(error.name(), "SwitchoverFailed");
        assert!(error.to_string().contains("switchover_timeout_seconds, now 300"), "{error}");
    }
    let account = Account { status: "DELETING", ..Account::default() };
    assert_eq!(account.switch(0, requested(5, 60)).await.0.expect_err("gone").name(), "DeploymentFailed");
}

#[tokio::test]
async fn a_refusal_that_passes_is_waited_out_and_any_other_is_named() {
    let account = Account { switchover: Some("InvalidBlueGreenDeploymentStateFault"), ..Account::default() };
    let (answer, calls) = account.switch(0, None).await;
    assert_eq!((answer.expect("waits").requested, calls), (false, 1));
    let account = Account { switchover: Some("Throttling"), ..Account::default() };
    let answer = account.switch(0, None).await.0.expect("waits");
    assert_eq!((answer.requested, answer.unanswered_until_seconds), (false, 70));
    let late = Switch { wait: waited(1_800), ..Switch::default() };
    for code in ["InvalidBlueGreenDeploymentStateFault", "Throttling"] {
        let account = Account { switchover: Some(code), ..Account::default() };
        let error = account.switch(0, Some(late.clone())).await.0.expect_err(code);
        assert_eq!(error.name(), "SwitchoverFailed", "what passes would be tried again, and lose the reason");
        assert!(error.to_string().contains(code), "{error}");
    }
    let account = Account { switchover: Some("AccessDenied"), ..Account::default() };
    assert_eq!(account.switch(0, None).await.0.expect_err("denied").name(), "AccessDenied");
}

#[tokio::test]
async fn a_deployment_that_somebody_deleted_is_named() {
    let none = mock!(Client::describe_blue_green_deployments)
        .then_output(|| DescribeBlueGreenDeploymentsOutput::builder().build());
    let context = Context {
        rds: mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&none]),
        cloudwatch: mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, []),
    };
    let request =
        switch::Request { deployment: proven(), switchover_timeout_seconds: 300, retry_count: 0, previous: None };
    assert_eq!(switch::look(&context, request).await.expect_err("gone").name(), "DeploymentNotFound");
}
