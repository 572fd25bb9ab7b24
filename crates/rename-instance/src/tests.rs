use std::sync::{Arc, Mutex, MutexGuard};

use aws_sdk_rds::error::ErrorMetadata;
use aws_sdk_rds::operation::describe_db_instances::{DescribeDBInstancesError, DescribeDbInstancesOutput};
use aws_sdk_rds::operation::modify_db_instance::{ModifyDBInstanceError, ModifyDbInstanceOutput};
use aws_sdk_rds::types::error::{DbInstanceAlreadyExistsFault, DbInstanceNotFoundFault};
use aws_sdk_rds::types::{Endpoint, PendingModifiedValues};
use aws_smithy_mocks::{MockResponse, RuleMode, mock, mock_client};

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
    match handle(&rds.client(), request(previous)).await? {
        Response::Turn(turn) => Ok(turn),
        Response::Restored(restored) => panic!("{restored:?}"),
    }
}

fn target_takes_the_name(previous: Option<Turn>) -> Request {
    Request::Rename {
        resource_id: TARGET.into(),
        to_id: id("orders"),
        until: Until::Steady,
        successor_resource_id: None,
        isolation_security_group_id: None,
        previous,
        max_wait_seconds: 24 * HOUR_SECONDS,
    }
}

fn source_gives_the_name(previous: Option<Turn>) -> Request {
    source_behind(None, previous)
}

/// The same behind this fence.
fn source_behind(fence: Option<&str>, previous: Option<Turn>) -> Request {
    Request::Rename {
        resource_id: SOURCE.into(),
        to_id: id("orders-unencrypted"),
        until: Until::Named,
        successor_resource_id: Some(TARGET.into()),
        isolation_security_group_id: fence.map(str::to_owned),
        previous,
        max_wait_seconds: 24 * HOUR_SECONDS,
    }
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
    assert_eq!((turn.ready, turn.steady_looks), (false, 0));

    // Available for a moment, and then it reboots.
    rds.put(renamed_target("available"));
    turn = rename(&rds, target_takes_the_name, Some(turn)).await.expect("available");
    assert_eq!((turn.ready, turn.steady_looks), (false, 1));
    rds.put(renamed_target("rebooting"));
    turn = rename(&rds, target_takes_the_name, Some(turn)).await.expect("rebooting");
    assert_eq!((turn.ready, turn.steady_looks), (false, 0));

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
        assert_eq!(looked.steady_looks, 0, "{address:?}");
    }
}

#[tokio::test]
async fn other_modifications_and_a_backup_do_not_prolong_the_outage() {
    let rds = Rds::with(&[pending_storage(renamed_target("backing-up"))]);
    assert_eq!(rename(&rds, target_takes_the_name, None).await.expect("serves").steady_looks, 1);
    rds.put(pending_name(renamed_target("available"), "orders-2"));
    assert_eq!(rename(&rds, target_takes_the_name, None).await.expect("moves on").steady_looks, 0);
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
async fn a_call_that_rds_refuses_is_named() {
    for (code, name) in [("AccessDenied", "AccessDenied"), ("InvalidDBInstanceState", "InvalidInstanceState")] {
        let rds = Rds::with(&[target("available")]).refusing(code);
        assert_eq!(rename(&rds, target_takes_the_name, None).await.expect_err(code).name(), name);
    }
}

#[tokio::test]
async fn a_look_that_rds_refuses_is_named() {
    for (code, name) in [("AccessDenied", "AccessDenied"), ("Throttling", "Throttled")] {
        let describe = mock!(Client::describe_db_instances)
            .then_error(move || DescribeDBInstancesError::generic(ErrorMetadata::builder().code(code).build()));
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe]);
        assert_eq!(handle(&client, target_takes_the_name(None)).await.expect_err(code).name(), name);
    }
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
    let turn = waited(Turn::default(), OUTAGE_SECONDS_MAX);
    let error = rename(&rds, target_takes_the_name, Some(turn.clone())).await.expect_err("too long");
    assert_eq!(error.name(), "WaitTimedOut");
    assert!(error.to_string().contains("`maintenance`) after 1800 s"), "{error}");
    // So it is for the source, if nobody reaches it any more.
    let rds_of_both = Rds::with(&[target("maintenance"), instance(SOURCE, "orders", "available")]);
    let fenced = |previous| source_behind(Some("sg-fence"), previous);
    rename(&rds_of_both, source_gives_the_name, Some(turn.clone())).await.expect("clients are served");
    let error = rename(&rds_of_both, fenced, Some(turn.clone())).await.expect_err("too long");
    assert_eq!(error.name(), "WaitTimedOut");
    // Once asked for, it goes forward only.
    let asked = Turn { requested: true, ..turn.clone() };
    rename(&rds, target_takes_the_name, Some(asked)).await.expect("goes on");
    rds.put(renamed_target("rebooting"));
    rename(&rds, target_takes_the_name, Some(turn.clone())).await.expect("goes on");
    rds.put(instance(SOURCE, "orders", "backing-up"));
    rename(&rds, source_gives_the_name, Some(turn)).await.expect("no outage yet");
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
    for busy in ["backing-up", "storage-optimization", "maintenance"] {
        rds.put(target(busy));
        assert!(!rename(&rds, source_gives_the_name, None).await.expect(busy).requested);
    }
    rds.put(target("stopped"));
    assert_eq!(rename(&rds, source_gives_the_name, None).await.expect_err("stopped").name(), "InstanceFailed");
    assert!(rds.renames().is_empty());

    rds.put(target("available"));
    let turn = rename(&rds, source_gives_the_name, None).await.expect("both can");
    assert!(turn.requested);
    assert_eq!(rds.renames(), ["orders to orders-unencrypted"]);
}

// The names go back.

async fn restore(rds: &Rds, previous: Option<Restored>) -> Result<Restored, Error> {
    let request = Request::RestoreNames {
        source_resource_id: SOURCE.into(),
        target_resource_id: Some(TARGET.into()),
        instance_id: id("orders"),
        unencrypted_instance_id: Some(id("orders-unencrypted")),
        previous,
    };
    match handle(&rds.client(), request).await? {
        Response::Restored(restored) => Ok(restored),
        Response::Turn(turn) => panic!("{turn:?}"),
    }
}

fn source(status: &str) -> DbInstance {
    instance(SOURCE, "orders", status)
}

fn renamed_source(status: &str) -> DbInstance {
    instance(SOURCE, "orders-unencrypted", status)
}

/// No call of an abandoned step can land any more.
fn later(waited_seconds: u64) -> Option<Restored> {
    Some(Restored { late_call_is_over: true, turn: waited(Turn::default(), waited_seconds), ..Restored::default() })
}

#[tokio::test]
async fn a_target_that_has_the_name_or_is_about_to_is_past_the_commit_point() {
    for target in [
        renamed_target("available"),
        renamed_target("rebooting"),
        pending_name(target("available"), "orders"),
        pending_name(target("modifying"), "orders"),
    ] {
        let rds = Rds::with(&[renamed_source("available"), target]);
        for previous in [None, later(70)] {
            let restored = restore(&rds, previous).await.expect("settled");
            assert!(restored.committed && restored.turn.ready, "{restored:?}");
        }
        assert!(rds.renames().is_empty(), "nothing goes back");
    }
}

#[tokio::test]
async fn a_late_call_is_waited_for_before_a_name_goes_back() {
    let rds = Rds::with(&[renamed_source("available"), target("available")]);
    let restored = restore(&rds, None).await.expect("waits");
    assert_eq!((restored.turn.ready, restored.turn.wait.wait_seconds), (false, 70));
    assert!(rds.renames().is_empty());
    // It lands.
    rds.put(renamed_target("renaming"));
    assert!(restore(&rds, Some(restored)).await.expect("landed").committed);
}

#[tokio::test]
async fn the_source_gets_its_name_back_once_and_is_looked_at_twice() {
    let rds = Rds::with(&[renamed_source("available"), target("available")]);
    let mut restored = restore(&rds, None).await.expect("waits");
    restored = restore(&rds, Some(restored)).await.expect("asked for");
    assert_eq!(rds.renames(), ["orders-unencrypted to orders"]);
    rds.hide(SOURCE);
    restored = restore(&rds, Some(restored)).await.expect("hidden");
    rds.put(source("rebooting"));
    restored = restore(&rds, Some(restored)).await.expect("reboots");
    assert!(!restored.turn.ready);
    rds.put(source("available"));
    restored = restore(&rds, Some(restored)).await.expect("back");
    assert!(!restored.turn.ready);
    restored = restore(&rds, Some(restored)).await.expect("steady");
    assert_eq!((restored.turn.ready, restored.committed), (true, false));
    assert_eq!(rds.renames().len(), 1);
}

#[tokio::test]
async fn a_source_that_was_never_renamed_is_left_alone_whatever_its_own_life_is() {
    for source in [
        source("available"),
        source("backing-up"),
        source("stopped"),
        // It waits for its maintenance window, perhaps for days.
        pending_storage(source("available")),
    ] {
        let rds = Rds::with(&[source, target("available")]);
        let first = restore(&rds, later(70)).await.expect("at home");
        let second = restore(&rds, Some(first)).await.expect("at home");
        assert_eq!((second.turn.ready, second.committed), (true, false));
        assert!(rds.renames().is_empty());
    }
}

#[tokio::test]
async fn a_first_rename_that_is_on_its_way_is_seen_to_its_end_before_the_name_goes_back() {
    for under_way in [pending_name(source("available"), "orders-unencrypted"), source("renaming")] {
        let rds = Rds::with(&[under_way, target("available")]);
        let restored = restore(&rds, later(70)).await.expect("under way");
        assert_eq!(restored.turn.steady_looks, 0);
        assert!(rds.renames().is_empty());
    }
    let rds = Rds::with(&[pending_name(renamed_source("available"), "orders"), target("available")]);
    restore(&rds, later(70)).await.expect("goes back already");
    assert!(rds.renames().is_empty());
}

#[tokio::test]
async fn while_the_target_is_between_two_names_none_goes_back() {
    for status in ["renaming", "modifying"] {
        let rds = Rds::with(&[renamed_source("available"), target(status)]);
        restore(&rds, later(70)).await.expect(status);
        assert!(rds.renames().is_empty(), "{status}");
    }
    let rds = Rds::with(&[renamed_source("available")]);
    let restored = restore(&rds, later(70)).await.expect("hidden");
    assert!(rds.renames().is_empty());
    rds.put(renamed_target("renaming"));
    assert!(restore(&rds, Some(restored)).await.expect("named").committed);
}

#[tokio::test]
async fn a_target_that_stays_hidden_is_gone_and_the_name_goes_back() {
    let rds = Rds::with(&[renamed_source("available")]);
    restore(&rds, later(HIDDEN_SECONDS_MAX)).await.expect("asked for");
    assert_eq!(rds.renames(), ["orders-unencrypted to orders"]);
    // The count starts when it was last seen at rest.
    let rds = Rds::with(&[renamed_source("maintenance"), target("available")]);
    let seen = restore(&rds, later(400)).await.expect("busy");
    rds.hide(TARGET);
    rds.put(renamed_source("available"));
    let waited = Restored { turn: waited(seen.turn, HIDDEN_SECONDS_MAX), ..seen };
    restore(&rds, Some(waited)).await.expect("hidden for less");
    assert!(rds.renames().is_empty());
}

#[tokio::test]
async fn a_name_goes_back_without_a_target_too() {
    let rds = Rds::with(&[renamed_source("available")]);
    let request = Request::RestoreNames {
        source_resource_id: SOURCE.into(),
        target_resource_id: None,
        instance_id: id("orders"),
        unencrypted_instance_id: None,
        previous: later(70),
    };
    handle(&rds.client(), request).await.expect("asked for");
    assert_eq!(rds.renames(), ["orders-unencrypted to orders"]);
}

#[tokio::test]
async fn a_source_that_somebody_else_renamed_is_left_alone() {
    let rds = Rds::with(&[instance(SOURCE, "archive", "available"), target("available")]);
    let error = restore(&rds, later(70)).await.expect_err("not ours");
    assert!(error.to_string().contains("it is called `archive`"), "{error}");
    assert!(rds.renames().is_empty());
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_name_for_a_while_is_waited_for() {
    for code in ["DBInstanceAlreadyExists", "InvalidDBInstanceState", "DBInstanceNotFound"] {
        let rds = Rds::with(&[renamed_source("available"), target("available")]).refusing(code);
        assert!(!restore(&rds, later(70)).await.expect(code).turn.ready);
    }
    let rds = Rds::with(&[renamed_source("backing-up"), target("available")]).refusing("InvalidDBInstanceState");
    restore(&rds, later(70)).await.expect("asked for all the same: the name answers nobody");
    assert_eq!(rds.renames().len(), 1);
    let rds = Rds::with(&[renamed_source("rebooting"), target("available")]);
    restore(&rds, later(70)).await.expect("reboots");
    assert!(rds.renames().is_empty());
}

#[tokio::test]
async fn what_stays_in_the_way_of_a_name_is_named() {
    let rds = Rds::with(&[renamed_source("available"), target("available")]).refusing("DBInstanceAlreadyExists");
    let error = restore(&rds, later(HIDDEN_SECONDS_MAX + NAME_RELEASE_SECONDS)).await.expect_err("taken");
    assert_eq!(error.name(), "NameConflict");
    let rds = Rds::with(&[renamed_source("storage-full"), target("available")]);
    let error = restore(&rds, later(70)).await.expect_err("failed");
    assert_eq!(error.name(), "InstanceFailed");
    let rds = Rds::with(&[target("available")]);
    let error = restore(&rds, later(HIDDEN_SECONDS_MAX)).await.expect_err("gone");
    assert_eq!(error.name(), "InstanceNotFound");
    let rds = Rds::with(&[renamed_source("maintenance"), target("available")]);
    let error = restore(&rds, later(48 * HOUR_SECONDS)).await.expect_err("late");
    assert_eq!(error.name(), "WaitTimedOut");
    assert!(error.to_string().contains("the name `orders` is not back"), "{error}");
}
