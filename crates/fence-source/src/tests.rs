use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use aws_sdk_rds::error::ErrorMetadata;
use aws_sdk_rds::operation::describe_db_instances::{DescribeDBInstancesError, DescribeDbInstancesOutput};
use aws_sdk_rds::operation::modify_db_instance::{ModifyDBInstanceError, ModifyDbInstanceOutput};
use aws_sdk_rds::primitives::DateTime;
use aws_sdk_rds::types::VpcSecurityGroupMembership;
use aws_smithy_mocks::{MockResponse, RuleMode, mock, mock_client};

use workflow::turn::{LATE_CALL_SECONDS, OUTAGE_SECONDS_MAX};

use super::*;

const HOUR_SECONDS: u64 = 3_600;

/// The source, with its status and its groups, each with its own status.
fn source(status: &str, groups: &[(&str, &str)]) -> DbInstance {
    let group = |(id, status): &(&str, &str)| {
        VpcSecurityGroupMembership::builder().vpc_security_group_id(*id).status(*status).build()
    };
    DbInstance::builder()
        .dbi_resource_id("db-SOURCE")
        .db_instance_identifier("orders")
        .db_instance_status(status)
        .set_vpc_security_groups(Some(groups.iter().map(group).collect()))
        .build()
}

fn target(status: &str) -> DbInstance {
    DbInstance::builder().dbi_resource_id("db-TARGET").db_instance_status(status).build()
}

fn open(status: &str) -> DbInstance {
    source(status, &[("sg-2", "active"), ("sg-1", "active")])
}

/// An RDS that accepts new groups without putting them in force: that is each test's to say.
#[derive(Clone, Default)]
struct Rds(Arc<Mutex<World>>);

#[derive(Default)]
struct World {
    source: Option<DbInstance>,
    /// The groups that were asked for, call by call.
    asked: Vec<Vec<String>>,
    refusal: Option<&'static str>,
    target_status: &'static str,
}

impl Rds {
    fn with(source: DbInstance) -> Self {
        Self(Arc::new(Mutex::new(World { source: Some(source), target_status: "available", ..World::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no test panicked meanwhile")
    }

    fn put(&self, source: Option<DbInstance>) {
        self.lock().source = source;
    }

    fn asked(&self) -> usize {
        self.lock().asked.len()
    }

    fn client(&self) -> Client {
        let rds = self.clone();
        let describe = mock!(Client::describe_db_instances).then_compute_response(move |input| {
            let [filter] = input.filters() else { panic!("not told by DbiResourceId: {input:?}") };
            assert_eq!(filter.name(), Some("dbi-resource-id"));
            let found = match filter.values()[0].as_str() {
                "db-SOURCE" => rds.lock().source.clone().into_iter().collect(),
                "db-TARGET" => vec![target(rds.lock().target_status)],
                other => panic!("{other}"),
            };
            MockResponse::Output(DescribeDbInstancesOutput::builder().set_db_instances(Some(found)).build())
        });
        let rds = self.clone();
        let modify = mock!(Client::modify_db_instance).then_compute_response(move |input| {
            assert_eq!(input.db_instance_identifier(), Some("orders"));
            let mut world = rds.lock();
            world.asked.push(input.vpc_security_group_ids().to_vec());
            match world.refusal {
                None => MockResponse::Output(ModifyDbInstanceOutput::builder().build()),
                Some(code) => {
                    MockResponse::Error(ModifyDBInstanceError::generic(ErrorMetadata::builder().code(code).build()))
                }
            }
        });
        mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe, &modify])
    }
}

fn fencing(previous: Option<Turn>) -> Request {
    fencing_again(0, previous)
}

fn fencing_again(retry_count: u32, previous: Option<Turn>) -> Request {
    Request {
        resource_id: "db-SOURCE".into(),
        instance_id: InstanceId::parse("orders").expect("legal"),
        isolation_security_group_id: "sg-fence".into(),
        successor_resource_id: Some("db-TARGET".into()),
        entered_at: DateTime::from(SystemTime::now()).to_string(),
        retry_count,
        previous,
        max_wait_seconds: 24 * HOUR_SECONDS,
    }
}

/// A turn of the fence after the one that notes the groups of before.
async fn fence(rds: &Rds, previous: Option<Turn>) -> Result<Turn, Error> {
    let noted = Turn { security_groups_before: Some(own_groups()), ..Turn::default() };
    handle(&rds.client(), fencing(Some(previous.unwrap_or(noted)))).await
}

fn own_groups() -> Vec<String> {
    vec!["sg-1".into(), "sg-2".into()]
}

#[tokio::test]
async fn the_groups_of_before_are_noted_before_anything_changes() {
    let rds = Rds::with(source("available", &[("sg-2", "active"), ("sg-1", "adding")]));
    let turn = handle(&rds.client(), fencing(None)).await.expect("waited for");
    assert_eq!((turn.security_groups_before.clone(), rds.asked()), (None, 0), "they are changing");
    rds.put(Some(open("available")));
    let turn = handle(&rds.client(), fencing(Some(turn))).await.expect("noted");
    assert_eq!((turn.security_groups_before.clone(), rds.asked()), (Some(own_groups()), 0));
    let turn = handle(&rds.client(), fencing(Some(turn))).await.expect("asked for");
    assert_eq!((turn.security_groups_before, rds.asked()), (Some(own_groups()), 1));
}

#[tokio::test]
async fn clients_are_not_shut_out_while_the_target_cannot_take_the_name() {
    let rds = Rds::with(open("available"));
    rds.lock().target_status = "maintenance";
    let turn = fence(&rds, None).await.expect("waited for");
    assert_eq!((turn.requested, rds.asked()), (false, 0));
    rds.lock().target_status = "available";
    assert!(fence(&rds, Some(turn)).await.expect("asked for").requested);
}

#[tokio::test]
async fn the_fence_is_asked_for_once_and_looked_at_twice() {
    let rds = Rds::with(open("available"));
    let mut turn = fence(&rds, None).await.expect("asked for");
    assert!(turn.requested && !turn.ready);
    assert_eq!(rds.lock().asked, [["sg-fence"]]);

    rds.put(Some(source("available", &[("sg-1", "removing"), ("sg-2", "removing"), ("sg-fence", "adding")])));
    turn = fence(&rds, Some(turn)).await.expect("under way");
    assert_eq!((turn.ready, turn.steady_looks.0), (false, 0), "a group that is being added keeps nobody out");
    rds.put(Some(source("modifying", &[("sg-fence", "active")])));
    turn = fence(&rds, Some(turn)).await.expect("under way");
    assert_eq!((turn.ready, turn.steady_looks.0), (false, 0));

    rds.put(Some(source("available", &[("sg-fence", "active")])));
    turn = fence(&rds, Some(turn)).await.expect("in force");
    assert!(!turn.ready);
    turn = fence(&rds, Some(turn)).await.expect("in force");
    assert!(turn.ready);
    assert_eq!(rds.asked(), 1);
}

/// It would fence the target, which has the name by then.
#[tokio::test]
async fn an_abandoned_call_is_waited_out_before_the_name_may_change_hands() {
    let rds = Rds::with(open("available"));
    let noted = handle(&rds.client(), fencing_again(2, None)).await.expect("noted");
    assert_eq!(noted.late_calls_end_at_seconds, 0, "nothing was asked for yet");
    let noted_at_seconds = noted.wait.waited_seconds;
    let mut turn = handle(&rds.client(), fencing_again(1, Some(noted))).await.expect("asked for");
    assert_eq!((turn.late_calls_end_at_seconds, rds.asked()), (noted_at_seconds + LATE_CALL_SECONDS, 1));
    rds.put(Some(source("available", &[("sg-fence", "active")])));
    let mut looks = 0;
    while !turn.ready {
        turn = handle(&rds.client(), fencing(Some(turn))).await.expect("in force");
        looks += 1;
    }
    assert!(turn.wait.waited_seconds >= noted_at_seconds + LATE_CALL_SECONDS && looks > 2, "{looks} looks, {turn:?}");
}

/// The SDK's own second attempt would succeed, and nobody would know that the first can still land.
#[tokio::test]
async fn the_sdk_does_not_repeat_the_call_by_itself() {
    let described = DescribeDbInstancesOutput::builder().db_instances(open("available")).build();
    let describe = mock!(Client::describe_db_instances).then_output(move || described.clone());
    let modify = mock!(Client::modify_db_instance)
        .sequence()
        .http_status(503, None)
        .output(|| ModifyDbInstanceOutput::builder().build())
        .build();
    let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe, &modify]);
    let noted = Turn { security_groups_before: Some(own_groups()), ..Turn::default() };
    let request = Request { successor_resource_id: None, ..fencing(Some(noted)) };
    let turn = handle(&client, request).await.expect("gone on with");
    assert_eq!((modify.num_calls(), turn.late_calls_end_at_seconds), (1, LATE_CALL_SECONDS));
}

#[tokio::test]
async fn one_group_of_several_is_no_fence() {
    let rds = Rds::with(source("available", &[("sg-fence", "active"), ("sg-1", "active")]));
    fence(&rds, None).await.expect("asked for");
    assert_eq!(rds.asked(), 1);
}

#[tokio::test]
async fn what_was_asked_for_is_asked_for_again_only_if_nothing_came_of_it() {
    let rds = Rds::with(open("available"));
    let turn = fence(&rds, None).await.expect("asked for");
    rds.put(Some(source("available", &[("sg-1", "active"), ("sg-2", "removing"), ("sg-fence", "adding")])));
    fence(&rds, Some(turn.clone())).await.expect("under way");
    assert_eq!(rds.asked(), 1);
    rds.put(Some(open("available")));
    fence(&rds, Some(turn)).await.expect("asked for again");
    assert_eq!(rds.asked(), 2);
}

/// The reply of the call that asked for it was lost.
#[tokio::test]
async fn a_group_on_its_way_out_counts_as_gone_but_not_yet_as_out() {
    let rds = Rds::with(source("available", &[("sg-1", "removing"), ("sg-fence", "active")]));
    let turn = fence(&rds, None).await.expect("under way");
    assert_eq!((turn.ready, turn.steady_looks.0, rds.asked()), (false, 0, 0));
}

#[tokio::test]
async fn a_busy_source_is_waited_for_and_a_failed_one_is_an_error() {
    for busy in ["backing-up", "maintenance", "rebooting"] {
        let rds = Rds::with(open(busy));
        assert!(!fence(&rds, None).await.expect(busy).requested);
        assert_eq!(rds.asked(), 0);
    }
    let rds = Rds::with(open("storage-full"));
    let error = fence(&rds, None).await.expect_err("failed");
    assert_eq!(error.name(), "InstanceFailed");
    assert!(error.to_string().starts_with("DB instance `orders` is `storage-full`: "), "{error}");
}

#[tokio::test]
async fn a_source_that_a_rename_hides_is_waited_for_and_one_that_is_gone_is_not() {
    let rds = Rds::default();
    let mut turn = fence(&rds, None).await.expect("hidden");
    assert_eq!((turn.ready, turn.status.as_deref()), (false, None));
    turn.wait.waited_seconds = HIDDEN_SECONDS_MAX - 1;
    let mut turn = fence(&rds, Some(turn)).await.expect("still hidden");
    turn.wait.waited_seconds = HIDDEN_SECONDS_MAX;
    let error = fence(&rds, Some(turn)).await.expect_err("gone");
    assert_eq!(error.name(), "InstanceNotFound");
    assert!(error.to_string().contains("db-SOURCE, has not been seen for 900 s"), "{error}");
}

#[tokio::test]
async fn groups_that_do_not_come_into_force_are_waited_for_until_the_deadline() {
    let rds = Rds::with(open("modifying"));
    let mut turn = fence(&rds, None).await.expect("busy");
    turn.wait.waited_seconds = 24 * HOUR_SECONDS;
    let error = fence(&rds, Some(turn)).await.expect_err("late");
    assert_eq!(error.name(), "WaitTimedOut");
    assert!(error.to_string().contains("db-SOURCE, is not behind the isolating security group"), "{error}");
}

#[tokio::test]
async fn a_call_that_rds_refuses_is_named() {
    let rds = Rds::with(open("available"));
    rds.lock().refusal = Some("AccessDenied");
    let error = fence(&rds, None).await.expect_err("denied");
    assert_eq!(error.name(), "AccessDenied");
    assert!(error.to_string().starts_with("set the security groups of DB instance `orders`"), "{error}");

    let describe = mock!(Client::describe_db_instances)
        .then_error(|| DescribeDBInstancesError::generic(ErrorMetadata::builder().code("Throttling").build()));
    let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe]);
    let turn = handle(&client, fencing(None)).await.expect("gone on with");
    assert!(!turn.is_outage() && turn.wait.waited_seconds > 0, "{turn:?}");
}

#[tokio::test]
async fn a_source_that_somebody_renamed_is_left_alone() {
    let mut renamed = open("available");
    renamed.db_instance_identifier = Some("archive".into());
    let rds = Rds::with(renamed);
    let error = fence(&rds, None).await.expect_err("renamed");
    assert_eq!((error.name(), rds.asked()), ("SourceRenamed", 0));
    assert!(error.to_string().contains("is called `archive` now and not `orders`"), "{error}");
}

#[tokio::test]
async fn the_outage_begins_with_the_request_and_has_a_bound_whatever_rds_answers() {
    for refusal in ["InvalidDBInstanceState", "Throttling", "InternalFailure"] {
        let rds = Rds::with(open("available"));
        rds.lock().refusal = Some(refusal);
        let mut turn = Turn { security_groups_before: Some(own_groups()), ..Turn::default() };
        let error = loop {
            match handle(&rds.client(), fencing(Some(turn.clone()))).await {
                Ok(next) => turn = next,
                Err(error) => break error,
            }
        };
        assert!(["InvalidInstanceState", "Throttled", "RequestRejected"].contains(&error.name()), "{error}");
        assert!(turn.outage_seconds <= OUTAGE_SECONDS_MAX + 5, "{refusal}: {turn:?}");
        assert!(rds.asked() > 10 || error.name() == "RequestRejected", "{refusal}: asked {} times", rds.asked());
    }
}
