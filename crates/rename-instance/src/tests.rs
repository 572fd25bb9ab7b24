use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use aws_sdk_rds::error::ErrorMetadata;
use aws_sdk_rds::operation::describe_db_instances::{DescribeDBInstancesError, DescribeDbInstancesOutput};
use aws_sdk_rds::operation::modify_db_instance::{ModifyDBInstanceError, ModifyDbInstanceOutput};
use aws_sdk_rds::primitives::DateTime;
use aws_sdk_rds::types::error::{DbInstanceAlreadyExistsFault, DbInstanceNotFoundFault};
use aws_sdk_rds::types::{Endpoint, PendingModifiedValues};
use aws_smithy_mocks::{MockResponse, RuleMode, mock, mock_client};

use workflow::turn::OUTAGE_SECONDS_MAX;

use super::*;

const SOURCE: &str = "db-SOURCE";
const TARGET: &str = "db-TARGET";
const HOUR_SECONDS: u64 = 3_600;

fn instance(resource_id: &str, id: &str, status: &str) -> DbInstance {
    DbInstance::builder()
        .dbi_resource_id(resource_id)
        .db_instance_identifier(id)
        .db_instance_status(status)
        .endpoint(Endpoint::builder().address(format!("{id}.example")).build())
        .build()
}

/// An RDS that tells instances by DbiResourceId, and accepts a rename without carrying it out: what
/// becomes of it is each test's to say.
#[derive(Clone, Default)]
struct Rds(Arc<Mutex<World>>);

#[derive(Default)]
struct World {
    instances: Vec<DbInstance>,
    /// The renames that were asked for, as `old to new`.
    renames: Vec<String>,
    refusal: Option<&'static str>,
}

impl Rds {
    fn with(instances: &[DbInstance]) -> Self {
        Self(Arc::new(Mutex::new(World { instances: instances.to_vec(), ..World::default() })))
    }

    fn refusing(self, code: &'static str) -> Self {
        self.lock().refusal = Some(code);
        self
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no test panicked meanwhile")
    }

    fn renames(&self) -> Vec<String> {
        self.lock().renames.clone()
    }

    /// From now on the instance is like this.
    fn put(&self, instance: DbInstance) {
        self.hide(instance.dbi_resource_id().expect("a resource id"));
        self.lock().instances.push(instance);
    }

    fn hide(&self, resource_id: &str) {
        self.lock().instances.retain(|instance| instance.dbi_resource_id() != Some(resource_id));
    }

    fn client(&self) -> Client {
        let rds = self.clone();
        let describe = mock!(Client::describe_db_instances).then_compute_response(move |input| {
            let [filter] = input.filters() else { panic!("not told by DbiResourceId: {input:?}") };
            assert_eq!((filter.name(), input.db_instance_identifier()), (Some("dbi-resource-id"), None));
            let world = rds.lock();
            let found = world.instances.iter().filter(|instance| {
                instance.dbi_resource_id().is_some_and(|id| filter.values().iter().any(|value| value == id))
            });
            let found = found.cloned().collect();
            MockResponse::Output(DescribeDbInstancesOutput::builder().set_db_instances(Some(found)).build())
        });
        let rds = self.clone();
        let modify = mock!(Client::modify_db_instance).then_compute_response(move |input| {
            assert_eq!(input.apply_immediately(), Some(true), "else it waits for the maintenance window");
            let mut world = rds.lock();
            let names = [input.db_instance_identifier(), input.new_db_instance_identifier()];
            world.renames.push(names.map(|name| name.expect("a name")).join(" to "));
            match world.refusal {
                None => MockResponse::Output(ModifyDbInstanceOutput::builder().build()),
                Some(code) => MockResponse::Error(refusal(code)),
            }
        });
        mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe, &modify])
    }
}

fn refusal(code: &str) -> ModifyDBInstanceError {
    let meta = ErrorMetadata::builder().code(code).build();
    match code {
        "DBInstanceAlreadyExists" => ModifyDBInstanceError::DbInstanceAlreadyExistsFault(
            DbInstanceAlreadyExistsFault::builder().meta(meta).build(),
        ),
        "DBInstanceNotFound" => {
            ModifyDBInstanceError::DbInstanceNotFoundFault(DbInstanceNotFoundFault::builder().meta(meta).build())
        }
        _ => ModifyDBInstanceError::generic(meta),
    }
}

fn id(text: &str) -> InstanceId {
    InstanceId::parse(text).expect("legal")
}

fn pending_name(mut instance: DbInstance, name: &str) -> DbInstance {
    instance.pending_modified_values = Some(PendingModifiedValues::builder().db_instance_identifier(name).build());
    instance
}

fn pending_storage(mut instance: DbInstance) -> DbInstance {
    instance.pending_modified_values = Some(PendingModifiedValues::builder().allocated_storage(200).build());
    instance
}

// One instance's rename.

async fn rename(rds: &Rds, request: impl Fn(Option<Turn>) -> Request, previous: Option<Turn>) -> Result<Turn, Error> {
    handle(&rds.client(), request(previous)).await
}

fn target_takes_the_name(previous: Option<Turn>) -> Request {
    Request {
        resource_id: TARGET.into(),
        from_id: id("orders-encrypted"),
        to_id: id("orders"),
        until: Until::Steady,
        successor_resource_id: None,
        endpoint_before: None,
        outage_before: vec![None, Some(Outage { outage_seconds: 60 })],
        entered_at: DateTime::from(SystemTime::now()).to_string(),
        previous,
        max_outage_seconds: None,
        max_wait_seconds: 24 * HOUR_SECONDS,
    }
}

fn source_gives_the_name(previous: Option<Turn>) -> Request {
    Request {
        resource_id: SOURCE.into(),
        from_id: id("orders"),
        to_id: id("orders-unencrypted"),
        until: Until::Named,
        successor_resource_id: Some(TARGET.into()),
        outage_before: vec![None],
        ..target_takes_the_name(previous)
    }
}

/// The same after a fence, behind which nobody has reached the source for so long.
fn source_fenced_for(seconds: u64, previous: Option<Turn>) -> Request {
    Request { outage_before: vec![Some(Outage { outage_seconds: seconds })], ..source_gives_the_name(previous) }
}

fn target(status: &str) -> DbInstance {
    instance(TARGET, "orders-encrypted", status)
}

fn renamed_target(status: &str) -> DbInstance {
    instance(TARGET, "orders", status)
}

fn waited(turn: Turn, waited_seconds: u64) -> Turn {
    Turn { wait: workflow::wait::Wait { waited_seconds, ..turn.wait.clone() }, ..turn }
}

#[tokio::test]
async fn a_rename_is_followed_from_its_request_to_two_steady_looks_at_a_new_endpoint() {
    let rds = Rds::with(&[target("available")]);
    let mut turn = rename(&rds, target_takes_the_name, None).await.expect("asked for");
    assert!(turn.requested && !turn.ready && turn.wait.wait_seconds > 0);
    assert_eq!(turn.endpoint_before.as_deref(), Some("orders-encrypted.example"));

    rds.hide(TARGET);
    turn = rename(&rds, target_takes_the_name, Some(turn)).await.expect("hidden");
    assert_eq!((turn.ready, turn.status.as_deref()), (false, None));

    rds.put(renamed_target("renaming"));
    turn = rename(&rds, target_takes_the_name, Some(turn)).await.expect("renaming");
    assert_eq!((turn.ready, turn.steady_looks.0), (false, 0));

    // Available for a moment, and then it reboots.
    rds.put(renamed_target("available"));
    turn = rename(&rds, target_takes_the_name, Some(turn)).await.expect("available");
    assert_eq!((turn.ready, turn.steady_looks.0), (false, 1));
    rds.put(renamed_target("rebooting"));
    turn = rename(&rds, target_takes_the_name, Some(turn)).await.expect("rebooting");
    assert_eq!((turn.ready, turn.steady_looks.0), (false, 0));

    rds.put(renamed_target("available"));
    turn = rename(&rds, target_takes_the_name, Some(turn)).await.expect("available again");
    assert!(!turn.ready);
    turn = rename(&rds, target_takes_the_name, Some(turn)).await.expect("steady");
    assert!(turn.ready);
    assert_eq!(rds.renames(), ["orders-encrypted to orders"]);
}

#[tokio::test]
async fn an_instance_that_has_its_name_already_is_not_renamed_again() {
    let rds = Rds::with(&[renamed_target("available")]);
    let turn = rename(&rds, target_takes_the_name, None).await.expect("named");
    assert!(rename(&rds, target_takes_the_name, Some(turn)).await.expect("steady").ready);
    assert!(rds.renames().is_empty());
}

#[tokio::test]
async fn the_old_endpoint_under_the_new_name_is_not_steady() {
    let rds = Rds::with(&[target("available")]);
    let turn = rename(&rds, target_takes_the_name, None).await.expect("asked for");
    for address in [Some("orders-encrypted.example"), None] {
        let mut named = renamed_target("available");
        named.endpoint = address.map(|address| Endpoint::builder().address(address).build());
        rds.put(named);
        let looked = rename(&rds, target_takes_the_name, Some(turn.clone())).await.expect("named");
        assert_eq!(looked.steady_looks.0, 0, "{address:?}");
    }
}

#[tokio::test]
async fn other_modifications_and_a_backup_do_not_prolong_the_outage() {
    let rds = Rds::with(&[pending_storage(renamed_target("backing-up"))]);
    assert_eq!(rename(&rds, target_takes_the_name, None).await.expect("serves").steady_looks.0, 1);
    rds.put(pending_name(renamed_target("available"), "orders-2"));
    assert_eq!(rename(&rds, target_takes_the_name, None).await.expect("moves on").steady_looks.0, 0);
}

#[tokio::test]
async fn a_rename_on_its_way_is_not_asked_for_again() {
    let rds = Rds::with(&[target("available")]);
    let turn = rename(&rds, target_takes_the_name, None).await.expect("asked for");
    for under_way in [pending_name(target("available"), "orders"), target("modifying"), target("renaming")] {
        rds.put(under_way);
        rename(&rds, target_takes_the_name, Some(turn.clone())).await.expect("under way");
    }
    assert_eq!(rds.renames().len(), 1);
    // Nothing came of it.
    rds.put(target("available"));
    rename(&rds, target_takes_the_name, Some(turn)).await.expect("asked for again");
    assert_eq!(rds.renames().len(), 2);
}

#[tokio::test]
async fn a_busy_instance_is_not_asked_and_a_failed_one_is_an_error() {
    let rds = Rds::with(&[target("backing-up")]);
    let turn = rename(&rds, target_takes_the_name, None).await.expect("busy");
    assert!(!turn.requested && !turn.ready);
    for status in ["storage-full", "stopped", "deleting"] {
        rds.put(target(status));
        let error = rename(&rds, target_takes_the_name, None).await.expect_err(status);
        assert_eq!(error.name(), "InstanceFailed");
        assert!(error.to_string().contains(status), "{error}");
    }
    assert!(rds.renames().is_empty());
}

#[tokio::test]
async fn the_repeat_of_a_call_whose_answer_was_lost_is_no_failure() {
    let rds = Rds::with(&[target("available")]).refusing("DBInstanceNotFound");
    let turn = rename(&rds, target_takes_the_name, None).await.expect("the first call renamed it");
    assert!(turn.requested && !turn.ready);
}

#[tokio::test]
async fn a_name_that_was_just_given_up_is_asked_for_again_and_one_that_stays_taken_is_a_conflict() {
    let rds = Rds::with(&[target("available")]).refusing("DBInstanceAlreadyExists");
    let turn = rename(&rds, target_takes_the_name, None).await.expect("not free yet");
    assert!(!turn.requested);
    let turn = waited(turn, NAME_RELEASE_SECONDS);
    let error = rename(&rds, target_takes_the_name, Some(turn)).await.expect_err("taken");
    assert_eq!(error.name(), "NameConflict");
    assert!(error.to_string().contains("`orders-encrypted` cannot be renamed to `orders`"), "{error}");
}

#[tokio::test]
async fn what_rds_denies_is_named_and_what_passes_is_gone_on_with() {
    let rds = Rds::with(&[target("available")]).refusing("AccessDenied");
    assert_eq!(rename(&rds, target_takes_the_name, None).await.expect_err("denied").name(), "AccessDenied");
    let rds = Rds::with(&[target("available")]).refusing("InvalidDBInstanceState");
    assert!(!rename(&rds, target_takes_the_name, None).await.expect("not yet").requested);
    for (code, passes) in [("AccessDenied", false), ("Throttling", true)] {
        let describe = mock!(Client::describe_db_instances)
            .then_error(move || DescribeDBInstancesError::generic(ErrorMetadata::builder().code(code).build()));
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe]);
        assert_eq!(handle(&client, target_takes_the_name(None)).await.is_ok(), passes, "{code}");
    }
}

/// Of either rename, until the second is asked for.
#[tokio::test]
async fn an_outage_has_a_bound_whatever_rds_answers() {
    let fenced = |previous| source_fenced_for(60, previous);
    let both = [instance(SOURCE, "orders", "available"), target("available")];
    for (refusal, name) in
        [("InvalidDBInstanceState", "InvalidInstanceState"), ("InsufficientDBInstanceCapacity", "CapacityUnavailable")]
    {
        for request in [&fenced as &dyn Fn(Option<Turn>) -> Request, &target_takes_the_name] {
            let rds = Rds::with(&both).refusing(refusal);
            let mut previous = None;
            let error = loop {
                match handle(&rds.client(), request(previous.clone())).await {
                    Ok(turn) => previous = Some(turn),
                    Err(error) => break error,
                }
            };
            let last = previous.expect("went on for a while");
            assert_eq!(error.name(), name);
            assert!((1_795..=OUTAGE_SECONDS_MAX + 5).contains(&last.outage_seconds), "{last:?}");
        }
    }
    // The input's bound, where it has one.
    let bound = |previous| Request { max_outage_seconds: Some(300), ..source_fenced_for(60, previous) };
    let rds = Rds::with(&both).refusing("InvalidDBInstanceState");
    let mut last = None;
    while let Ok(turn) = rename(&rds, bound, last.clone()).await {
        last = Some(turn);
    }
    let seconds = last.expect("went on for a while").outage_seconds;
    assert!((295..=305).contains(&seconds), "{seconds}");
    // What nobody is shut out by has time.
    let rds = Rds::with(&both).refusing("InvalidDBInstanceState");
    let late = waited(Turn::default(), 2 * OUTAGE_SECONDS_MAX);
    assert!(rename(&rds, source_gives_the_name, Some(late)).await.is_ok());
}

#[tokio::test]
async fn a_source_that_somebody_renamed_is_left_alone_under_its_new_name() {
    let rds = Rds::with(&[instance(SOURCE, "archive", "available"), target("available")]);
    let error = rename(&rds, source_gives_the_name, None).await.expect_err("renamed");
    assert_eq!(error.name(), "SourceRenamed");
    assert!(rds.renames().is_empty());
}

#[tokio::test]
async fn a_rename_does_not_apply_what_somebody_has_queued_for_the_source() {
    let rds = Rds::with(&[pending_storage(instance(SOURCE, "orders", "available")), target("available")]);
    let error = rename(&rds, source_gives_the_name, None).await.expect_err("queued");
    assert_eq!((error.name(), rds.renames().len()), ("InstanceNotUsable", 0));
    let rds = Rds::with(&[pending_storage(target("available"))]);
    assert!(!rename(&rds, target_takes_the_name, None).await.expect("waited for").requested);
}

/// The reply of the rename was lost, and the instance shows its new name at its old address.
#[tokio::test]
async fn the_old_endpoint_is_the_one_that_the_proof_noted() {
    let mut named = renamed_target("available");
    named.endpoint = Some(Endpoint::builder().address("orders-encrypted.example").build());
    let rds = Rds::with(&[named]);
    let noted = |previous| Request {
        endpoint_before: Some("orders-encrypted.example".into()),
        ..target_takes_the_name(previous)
    };
    assert_eq!(rename(&rds, noted, None).await.expect("named").steady_looks.0, 0);
    rds.put(renamed_target("available"));
    assert_eq!(rename(&rds, noted, None).await.expect("steady").steady_looks.0, 1);
}

#[tokio::test]
async fn an_instance_that_stays_hidden_is_gone_and_the_count_starts_when_it_was_last_seen() {
    let rds = Rds::with(&[target("available")]);
    let seen = waited(Turn::default(), 500);
    let turn = rename(&rds, target_takes_the_name, Some(seen)).await.expect("asked for");
    rds.hide(TARGET);
    let still = waited(turn.clone(), 500 + HIDDEN_SECONDS_MAX - 1);
    rename(&rds, target_takes_the_name, Some(still)).await.expect("a rename hides it");
    let gone = waited(turn, 500 + HIDDEN_SECONDS_MAX);
    let error = rename(&rds, target_takes_the_name, Some(gone)).await.expect_err("gone");
    assert_eq!(error.name(), "InstanceNotFound");
    assert!(error.to_string().contains(TARGET), "{error}");
}

#[tokio::test]
async fn while_the_name_answers_nobody_a_busy_target_is_not_waited_for_as_long_as_otherwise() {
    let rds = Rds::with(&[target("maintenance")]);
    let late = Turn { outage_seconds: OUTAGE_SECONDS_MAX, ..Turn::default() };
    let error = rename(&rds, target_takes_the_name, Some(late.clone())).await.expect_err("too long");
    assert_eq!(error.name(), "WaitTimedOut");
    assert!(error.to_string().contains("`maintenance`) after 1800 s"), "{error}");
    // Once asked for, it goes forward only.
    let asked = Turn { requested: true, ..late.clone() };
    rename(&rds, target_takes_the_name, Some(asked)).await.expect("goes on");
    rds.put(renamed_target("rebooting"));
    rename(&rds, target_takes_the_name, Some(late)).await.expect("goes on");
    // So it is for the source, if nobody reaches it any more.
    let rds = Rds::with(&[target("maintenance"), instance(SOURCE, "orders", "available")]);
    let long = waited(Turn::default(), OUTAGE_SECONDS_MAX);
    rename(&rds, source_gives_the_name, Some(long)).await.expect("clients are served");
    let fenced = |previous| source_fenced_for(OUTAGE_SECONDS_MAX, previous);
    assert_eq!(rename(&rds, fenced, None).await.expect_err("too long").name(), "WaitTimedOut");
}

#[tokio::test]
async fn the_deadline_ends_a_rename() {
    let rds = Rds::with(&[renamed_target("rebooting")]);
    let turn = waited(Turn::default(), 24 * HOUR_SECONDS);
    let error = rename(&rds, target_takes_the_name, Some(turn)).await.expect_err("late");
    assert_eq!(error.name(), "WaitTimedOut");
    assert!(error.to_string().contains("db-TARGET to `orders`"), "{error}");
}

#[tokio::test]
async fn the_source_needs_only_its_new_name() {
    let rds = Rds::with(&[instance(SOURCE, "orders-unencrypted", "renaming")]);
    assert!(rename(&rds, source_gives_the_name, None).await.expect("named").ready);
    assert!(rds.renames().is_empty());
}

#[tokio::test]
async fn the_name_is_taken_from_the_source_only_when_the_target_can_take_it() {
    let source = instance(SOURCE, "orders", "available");
    let rds = Rds::with(&[source]);
    assert!(!rename(&rds, source_gives_the_name, None).await.expect("no target to be seen").requested);
    for busy in ["backing-up", "modifying", "maintenance"] {
        rds.put(target(busy));
        assert!(!rename(&rds, source_gives_the_name, None).await.expect(busy).requested);
    }
    rds.put(target("stopped"));
    assert_eq!(rename(&rds, source_gives_the_name, None).await.expect_err("stopped").name(), "InstanceFailed");
    assert!(rds.renames().is_empty());

    // It may last a day, and keeps nobody from renaming.
    rds.put(target("storage-optimization"));
    let turn = rename(&rds, source_gives_the_name, None).await.expect("both can");
    assert!(turn.requested);
    assert_eq!(rds.renames(), ["orders to orders-unencrypted"]);
}
