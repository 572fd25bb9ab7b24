use std::sync::{Arc, Mutex, MutexGuard};

use aws_sdk_rds::Client;
use aws_sdk_rds::error::ErrorMetadata;
use aws_sdk_rds::operation::delete_db_instance::{DeleteDBInstanceError, DeleteDbInstanceOutput};
use aws_sdk_rds::operation::delete_db_snapshot::{DeleteDBSnapshotError, DeleteDbSnapshotOutput};
use aws_sdk_rds::operation::describe_db_instances::{DescribeDBInstancesError, DescribeDbInstancesOutput};
use aws_sdk_rds::operation::describe_db_snapshots::{DescribeDBSnapshotsError, DescribeDbSnapshotsOutput};
use aws_sdk_rds::operation::modify_db_instance::{ModifyDBInstanceError, ModifyDbInstanceOutput};
use aws_sdk_rds::types::{DbInstance, DbSnapshot};
use aws_smithy_mocks::{MockResponse, RuleMode, mock, mock_client};

use super::*;

const TARGET: &str = "DB instance `orders-encrypted`";
const PLAINTEXT: &str = "DB snapshot `orders-no-encrypted`";
const COPY: &str = "DB snapshot `orders-encrypted`";
const TWO_DAYS_SECONDS: u64 = 172_800;

fn owner(execution: &str) -> Owner {
    Owner { execution: execution.into(), source_resource_id: "db-SOURCE".into() }
}

fn instance(owned_by: &str) -> DbInstance {
    DbInstance::builder()
        .db_instance_identifier("orders-encrypted")
        .db_instance_status("available")
        .dbi_resource_id("db-TARGET")
        .set_tag_list(Some(owner(owned_by).tags_with(&[])))
        .build()
}

fn snapshot(id: &str, owned_by: &str) -> DbSnapshot {
    DbSnapshot::builder()
        .db_snapshot_identifier(id)
        .status("available")
        .set_tag_list(Some(owner(owned_by).tags_with(&[])))
        .build()
}

/// An RDS with what an execution may have made. It notes the calls that change something.
#[derive(Clone, Default)]
struct Rds(Arc<Mutex<Resources>>);

#[derive(Default)]
struct Resources {
    source_is_gone: bool,
    instance: Option<DbInstance>,
    snapshots: Vec<DbSnapshot>,
    calls: Vec<String>,
    /// Calls that are answered by an error code.
    refused: Vec<(&'static str, &'static str)>,
}

impl Rds {
    fn with(instance: Option<DbInstance>, snapshots: Vec<DbSnapshot>) -> Self {
        Self(Arc::new(Mutex::new(Resources { instance, snapshots, ..Resources::default() })))
    }

    /// Everything that an execution of this name made.
    fn of(execution: &str) -> Self {
        let snapshots = vec![snapshot("orders-no-encrypted", execution), snapshot("orders-encrypted", execution)];
        Self::with(Some(instance(execution)), snapshots)
    }

    fn refusing(self, call: &'static str, code: &'static str) -> Self {
        self.lock().refused.push((call, code));
        self
    }

    fn lock(&self) -> MutexGuard<'_, Resources> {
        self.0.lock().expect("no test panicked meanwhile")
    }

    fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// What is being deleted is gone.
    fn time_passes(&self) {
        let mut resources = self.lock();
        resources.instance.take_if(|instance| instance.db_instance_status() == Some("deleting"));
        resources.snapshots.retain(|snapshot| snapshot.status() != Some("deleting"));
    }

    fn client(&self) -> Client {
        let rds = self.clone();
        let describe_instances = mock!(Client::describe_db_instances).then_compute_response(move |input| {
            let source = DbInstance::builder().dbi_resource_id("db-SOURCE").build();
            let resources = rds.lock();
            if input.filters().iter().any(|filter| filter.values() == ["db-SOURCE"]) && !resources.source_is_gone {
                return MockResponse::Output(DescribeDbInstancesOutput::builder().db_instances(source).build());
            }
            let instance = resources.instance.clone().filter(|instance| match input.filters() {
                [filter] => filter.values().iter().any(|value| instance.dbi_resource_id() == Some(value)),
                _ => instance.db_instance_identifier() == input.db_instance_identifier(),
            });
            if instance.is_none() && input.filters().is_empty() {
                return MockResponse::Error(DescribeDBInstancesError::generic(code("DBInstanceNotFound")));
            }
            let instances = instance.into_iter().collect();
            MockResponse::Output(DescribeDbInstancesOutput::builder().set_db_instances(Some(instances)).build())
        });
        let rds = self.clone();
        let describe_snapshots = mock!(Client::describe_db_snapshots).then_compute_response(move |input| {
            let resources = rds.lock();
            let mut snapshots = resources.snapshots.iter();
            match snapshots.find(|snapshot| snapshot.db_snapshot_identifier() == input.db_snapshot_identifier()) {
                Some(found) => {
                    MockResponse::Output(DescribeDbSnapshotsOutput::builder().db_snapshots(found.clone()).build())
                }
                None => MockResponse::Error(DescribeDBSnapshotsError::generic(code("DBSnapshotNotFound"))),
            }
        });
        let rds = self.clone();
        let modify = mock!(Client::modify_db_instance).then_compute_response(move |input| {
            assert_eq!((input.deletion_protection(), input.apply_immediately()), (Some(false), Some(true)));
            let mut resources = rds.lock();
            if let Some(refused) = resources.note("unprotect", input.db_instance_identifier()) {
                return MockResponse::Error(ModifyDBInstanceError::generic(refused));
            }
            if let Some(instance) = &mut resources.instance {
                instance.deletion_protection = Some(false);
            }
            MockResponse::Output(ModifyDbInstanceOutput::builder().build())
        });
        let rds = self.clone();
        let delete_instance = mock!(Client::delete_db_instance).then_compute_response(move |input| {
            // A final snapshot and the automated backups would stay behind.
            assert_eq!((input.skip_final_snapshot(), input.delete_automated_backups()), (Some(true), Some(true)));
            let mut resources = rds.lock();
            if let Some(refused) = resources.note("delete instance", input.db_instance_identifier()) {
                return MockResponse::Error(DeleteDBInstanceError::generic(refused));
            }
            if let Some(instance) = &mut resources.instance {
                instance.db_instance_status = Some("deleting".into());
            }
            MockResponse::Output(DeleteDbInstanceOutput::builder().build())
        });
        let rds = self.clone();
        let delete_snapshot = mock!(Client::delete_db_snapshot).then_compute_response(move |input| {
            let mut resources = rds.lock();
            let id = input.db_snapshot_identifier();
            if let Some(refused) = resources.note("delete snapshot", id) {
                return MockResponse::Error(DeleteDBSnapshotError::generic(refused));
            }
            for snapshot in resources.snapshots.iter_mut().filter(|found| found.db_snapshot_identifier() == id) {
                snapshot.status = Some("deleting".into());
            }
            MockResponse::Output(DeleteDbSnapshotOutput::builder().build())
        });
        let rules = [&describe_instances, &describe_snapshots, &modify, &delete_instance, &delete_snapshot];
        mock_client!(aws_sdk_rds, RuleMode::MatchAny, rules)
    }

    async fn look(&self, request: Request) -> Result<Response, Error> {
        handle(&self.client(), request).await
    }

    /// Looks until the loop is done.
    async fn run(&self, task: Task) -> Result<Response, Error> {
        let mut response = self.look(request(task, None)).await?;
        while !response.ready {
            self.time_passes();
            response = self.look(request(task, Some(response))).await?;
        }
        Ok(response)
    }
}

impl Resources {
    /// Notes a call; the error that it gets, if it is one of those that are refused.
    fn note(&mut self, what: &str, id: Option<&str>) -> Option<ErrorMetadata> {
        let call = format!("{what} {}", id.unwrap_or_default());
        let refused = self.refused.iter().find(|(refused, _)| *refused == call).map(|(_, name)| code(name));
        self.calls.push(call);
        refused
    }
}

fn code(code: &str) -> ErrorMetadata {
    ErrorMetadata::builder().code(code).message("no").build()
}

fn request(task: Task, previous: Option<Response>) -> Request {
    Request {
        task,
        owner: owner("arn:ours"),
        no_encrypted_snapshot_id: SnapshotId::parse("orders-no-encrypted").expect("legal"),
        encrypted_snapshot_id: SnapshotId::parse("orders-encrypted").expect("legal"),
        encrypted_instance_id: InstanceId::parse("orders-encrypted").expect("legal"),
        target_resource_id: None,
        snapshots: Snapshots::DeleteUnencrypted,
        on_failure: OnFailure::Undo,
        error: Some(Caught { error: "SnapshotFailed".into(), cause: "it is `failed`".into() }),
        undo_error: None,
        execution: None,
        previous,
    }
}

/// Of an execution that was to leave what it made.
fn kept(execution: Option<&str>) -> Request {
    let execution = execution.map(str::to_owned);
    Request { on_failure: OnFailure::Keep, execution, ..request(Task::Report, None) }
}

fn waited(seconds: u64) -> Option<Response> {
    Some(Response { wait: Wait { waited_seconds: seconds, ..Wait::default() }, ..Response::default() })
}

fn failure(response: &Response) -> &Failure {
    response.failure.as_ref().expect("a failure")
}

#[tokio::test]
async fn an_undo_deletes_the_target_then_the_plaintext_then_the_copy() {
    let rds = Rds::of("arn:ours");
    let response = rds.run(Task::Undo).await.expect("undone");
    assert_eq!(
        rds.calls(),
        ["delete instance orders-encrypted", "delete snapshot orders-no-encrypted", "delete snapshot orders-encrypted"]
    );
    assert_eq!(response.deleted, [TARGET, PLAINTEXT, COPY]);
    assert_eq!(failure(&response).error, "SnapshotFailed");
    assert_eq!(failure(&response).cause, format!("it is `failed`. Undone: deleted {TARGET}, {PLAINTEXT}, {COPY}."),);
}

#[tokio::test]
async fn a_snapshot_waits_until_the_instance_that_reads_it_is_gone() {
    let rds = Rds::of("arn:ours");
    let first = rds.look(request(Task::Undo, None)).await.expect("a look");
    let second = rds.look(request(Task::Undo, Some(first))).await.expect("a look");
    assert!(!second.ready && !second.gone_before);
    assert_eq!(rds.calls(), ["delete instance orders-encrypted"]);
}

#[tokio::test]
async fn what_another_execution_made_is_left_alone() {
    for task in [Task::Undo, Task::Report] {
        let rds = Rds::of("arn:theirs");
        let response = rds.run(task).await.expect("done");
        assert_eq!(rds.calls(), [""; 0], "{task:?}");
        let Response { deleted, kept, remaining, .. } = &response;
        assert!(deleted.is_empty() && kept.is_empty() && remaining.is_empty(), "{response:?}");
        assert!(failure(&response).cause.starts_with("it is `failed`. Nothing of this execution "), "{response:?}");
    }
}

#[tokio::test]
async fn what_carries_no_tag_is_left_alone() {
    let instance = DbInstance::builder().db_instance_identifier("orders-encrypted").db_instance_status("available");
    let instance = instance.build();
    let snapshots = ["orders-no-encrypted", "orders-encrypted"];
    let snapshots = snapshots.map(|id| DbSnapshot::builder().db_snapshot_identifier(id).status("available").build());
    let rds = Rds::with(Some(instance), snapshots.to_vec());
    rds.run(Task::Undo).await.expect("done");
    assert_eq!(rds.calls(), [""; 0]);
}

#[tokio::test]
async fn the_source_is_never_deleted_whatever_its_name_and_tags_are() {
    let mut source = instance("arn:ours");
    source.dbi_resource_id = Some("db-SOURCE".into());
    source.deletion_protection = Some(true);
    let rds = Rds::with(Some(source), vec![]);
    rds.run(Task::Undo).await.expect("done");
    assert_eq!(rds.calls(), [""; 0]);
    // Not even if a mix-up made it the target.
    let mixed_up = Request { target_resource_id: Some("db-SOURCE".into()), ..request(Task::Undo, None) };
    rds.look(mixed_up).await.expect("a look");
    assert_eq!(rds.calls(), [""; 0]);
}

#[tokio::test]
async fn another_instance_than_the_known_target_is_left_alone() {
    let look_for = |resource_id: &str| {
        let target_resource_id = Some(resource_id.to_owned());
        Request { target_resource_id, ..request(Task::Undo, None) }
    };
    let rds = Rds::with(Some(instance("arn:ours")), vec![]);
    rds.look(look_for("db-ANOTHER")).await.expect("a look");
    assert_eq!(rds.calls(), [""; 0]);
    rds.look(look_for("db-TARGET")).await.expect("a look");
    assert_eq!(rds.calls(), ["delete instance orders-encrypted"]);
}

#[tokio::test]
async fn deletion_protection_is_switched_off_before_the_target_is_deleted() {
    let mut target = instance("arn:ours");
    target.deletion_protection = Some(true);
    let rds = Rds::with(Some(target), vec![]);
    let response = rds.run(Task::Undo).await.expect("undone");
    assert_eq!(rds.calls(), ["unprotect orders-encrypted", "delete instance orders-encrypted"]);
    assert_eq!(response.deleted, [TARGET]);
}

#[tokio::test]
async fn what_cannot_be_deleted_yet_is_tried_again() {
    for (call, state) in [
        ("delete instance orders-encrypted", "InvalidDBInstanceState"),
        ("delete snapshot orders-no-encrypted", "InvalidDBSnapshotState"),
    ] {
        let rds = Rds::of("arn:ours").refusing(call, state);
        if call.starts_with("delete snapshot") {
            rds.lock().instance = None;
        }
        let response = rds.look(request(Task::Undo, None)).await.expect("a look");
        assert!(!response.ready && !response.gone_before, "{call}");
        assert!(response.deleted.is_empty() && response.remaining.is_empty(), "{call}: {response:?}");
        assert_eq!(rds.calls(), [call], "nothing is deleted out of turn");
        rds.lock().refused.clear();
        let response = rds.run(Task::Undo).await.expect("undone");
        assert!(response.deleted.contains(&COPY.to_owned()), "{call}: {response:?}");
    }
}

#[tokio::test]
async fn what_vanishes_between_the_look_and_the_call_is_gone() {
    let rds = Rds::of("arn:ours")
        .refusing("delete instance orders-encrypted", "DBInstanceNotFound")
        .refusing("delete snapshot orders-no-encrypted", "DBSnapshotNotFound")
        .refusing("delete snapshot orders-encrypted", "DBSnapshotNotFound");
    let response = rds.look(request(Task::Undo, None)).await.expect("a look");
    assert!(response.gone_before && response.remaining.is_empty(), "{response:?}");
    assert_eq!(rds.calls().len(), 3);
}

#[tokio::test]
async fn a_refusal_does_not_keep_the_others_from_being_deleted() {
    let rds = Rds::of("arn:ours").refusing("delete instance orders-encrypted", "AccessDenied");
    let response = rds.run(Task::Undo).await.expect("as far as possible");
    assert_eq!(response.deleted, [PLAINTEXT, COPY]);
    let cause = &failure(&response).cause;
    let expected = format!(
        "it is `failed`. Undone: deleted {PLAINTEXT}, {COPY}. NOT deleted: {TARGET} (delete {TARGET}: AccessDenied: \
         no). Delete it by hand once the reason is gone."
    );
    assert_eq!(*cause, expected);
}

#[tokio::test]
async fn a_protection_that_may_not_be_switched_off_is_named() {
    let rds = Rds::of("arn:ours").refusing("unprotect orders-encrypted", "AccessDenied");
    if let Some(target) = &mut rds.lock().instance {
        target.deletion_protection = Some(true);
    }
    let response = rds.run(Task::Undo).await.expect("as far as possible");
    assert!(response.remaining[0].contains("deletion protection"), "{response:?}");
    assert_eq!(response.deleted, [PLAINTEXT, COPY]);
}

#[tokio::test]
async fn a_failure_that_could_delete_nothing_does_not_say_that_nothing_was_there() {
    let rds = Rds::with(Some(instance("arn:ours")), vec![]);
    let rds = rds.refusing("delete instance orders-encrypted", "AccessDenied");
    let response = rds.run(Task::Undo).await.expect("as far as possible");
    let cause = &failure(&response).cause;
    assert!(cause.starts_with(&format!("it is `failed`. NOT deleted: {TARGET}")), "{cause}");
}

#[tokio::test]
async fn what_passes_by_itself_is_the_state_machines_to_retry() {
    for (passing, name) in [("Throttling", "Throttled"), ("InsufficientDBInstanceCapacity", "CapacityUnavailable")] {
        let describe = mock!(Client::describe_db_instances)
            .then_output(|| DescribeDbInstancesOutput::builder().db_instances(instance("arn:ours")).build());
        let delete = mock!(Client::delete_db_instance).then_error(|| DeleteDBInstanceError::generic(code(passing)));
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe, &delete]);
        let error = handle(&client, request(Task::Undo, None)).await.expect_err("to be retried");
        assert_eq!(error.name(), name);
        assert!(error.to_string().contains(TARGET), "{error}");
    }
}

#[tokio::test]
async fn throttling_that_ends_is_not_noticed() {
    let describe = mock!(Client::describe_db_instances)
        .sequence()
        .http_status(503, None)
        .times(2)
        .output(|| DescribeDbInstancesOutput::builder().build())
        .build();
    let snapshots = mock!(Client::describe_db_snapshots).then_output(|| DescribeDbSnapshotsOutput::builder().build());
    let source = mock!(Client::describe_db_instances)
        .match_requests(|input| !input.filters().is_empty())
        .then_output(|| DescribeDbInstancesOutput::builder().db_instances(DbInstance::builder().build()).build());
    let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&source, &describe, &snapshots]);
    assert!(handle(&client, request(Task::Undo, None)).await.expect("a look").gone_before);
    assert_eq!(describe.num_calls(), 3);
}

/// What this execution made may be all that is left of the data.
#[tokio::test]
async fn nothing_is_deleted_of_a_source_that_is_gone() {
    let rds = Rds::of("arn:ours");
    rds.lock().source_is_gone = true;
    let mut waiting = rds.look(request(Task::Undo, None)).await.expect("a rename may hide it");
    assert!(!waiting.ready && waiting.remaining.is_empty(), "{waiting:?}");
    waiting.wait.waited_seconds = 900;
    let gone = rds.look(request(Task::Undo, Some(waiting.clone()))).await.expect("a look");
    let mut last = gone.clone();
    if !last.ready {
        last = rds.look(request(Task::Undo, Some(gone))).await.expect("a look");
    }
    assert!(last.ready && last.deleted.is_empty(), "{last:?}");
    assert_eq!(rds.calls(), Vec::<String>::new());
    let cause = last.failure.expect("a failure").cause;
    for copy in [TARGET, PLAINTEXT, COPY] {
        assert!(cause.contains(&format!("{copy} (the source is gone, so this may be the last copy")), "{cause}");
    }
    // It was only hidden.
    rds.lock().source_is_gone = false;
    rds.look(request(Task::Undo, Some(waiting))).await.expect("a look");
    assert!(!rds.calls().is_empty());
}

#[tokio::test]
async fn a_call_that_lands_after_the_step_was_given_up_is_undone() {
    let rds = Rds::default();
    let first = rds.look(request(Task::Undo, None)).await.expect("a look");
    assert!(!first.ready && first.gone_before, "nothing is there, but it is too early to say so");
    assert!(first.wait.wait_seconds >= 60, "a function of the template may run for 60 seconds: {first:?}");
    rds.lock().instance = Some(instance("arn:ours"));
    let second = rds.look(request(Task::Undo, Some(first))).await.expect("a look");
    assert!(!second.ready && !second.gone_before);
    rds.time_passes();
    let third = rds.look(request(Task::Undo, Some(second))).await.expect("a look");
    assert!(!third.ready && third.gone_before, "another may follow: {third:?}");
    let last = rds.look(request(Task::Undo, Some(third))).await.expect("a look");
    assert!(last.ready);
    assert_eq!(last.deleted, [TARGET]);
}

#[tokio::test]
async fn a_deletion_whose_reply_was_lost_is_told() {
    let rds = Rds::of("arn:ours");
    for name in [TARGET, PLAINTEXT, COPY] {
        // The call lands, and the same look is repeated as if it had not been made.
        rds.look(request(Task::Undo, None)).await.expect("a reply that is lost");
        let repeated = rds.look(request(Task::Undo, None)).await.expect("a look");
        assert_eq!(repeated.deleted, [name]);
        rds.time_passes();
    }
    assert_eq!(rds.calls().len(), 3, "each once");
}

#[tokio::test]
async fn what_is_seen_on_its_way_out_is_told_once() {
    let rds = Rds::of("arn:ours");
    let first = rds.look(request(Task::Undo, None)).await.expect("a look");
    let second = rds.look(request(Task::Undo, Some(first))).await.expect("a look");
    assert_eq!(second.deleted, [TARGET]);
}

#[tokio::test]
async fn at_the_deadline_everything_that_is_left_is_listed() {
    let rds = Rds::of("arn:ours").refusing("delete instance orders-encrypted", "InvalidDBInstanceState");
    let previous = Response { deleted: vec![TARGET.into()], ..waited(TWO_DAYS_SECONDS).expect("a response") };
    let response = rds.look(request(Task::Undo, Some(previous))).await.expect("the end");
    assert!(response.ready);
    assert_eq!(response.deleted, [""; 0], "what is still there was not deleted");
    let late = |name: &str| format!("{name} (cannot be deleted yet)");
    assert_eq!(response.remaining, [late(TARGET), late(PLAINTEXT), late(COPY)]);
    let cause = &failure(&response).cause;
    assert!(cause.starts_with(&format!("it is `failed`. NOT deleted: {}; ", late(TARGET))), "{cause}");
}

#[tokio::test]
async fn before_the_deadline_the_loop_goes_on() {
    let rds = Rds::of("arn:ours").refusing("delete instance orders-encrypted", "InvalidDBInstanceState");
    let response = rds.look(request(Task::Undo, waited(TWO_DAYS_SECONDS - 1))).await.expect("a look");
    assert!(!response.ready);
    assert_eq!(response.wait.waited_seconds, TWO_DAYS_SECONDS);
}

#[tokio::test]
async fn a_report_lists_what_exists_and_deletes_nothing() {
    let rds = Rds::of("arn:ours");
    let response = rds.look(kept(None)).await.expect("a report");
    assert!(response.ready);
    assert_eq!(response.kept, [TARGET, PLAINTEXT, COPY]);
    assert_eq!(rds.calls(), [""; 0]);
    let expected = format!("it is `failed`. Left as it is: {TARGET}, {PLAINTEXT}, {COPY}.");
    assert_eq!(failure(&response).cause, expected);
}

#[tokio::test]
async fn a_report_knows_the_target_that_has_lost_its_tag() {
    let mut released = instance("arn:ours");
    released.tag_list = None;
    let rds = Rds::with(Some(released), vec![snapshot("orders-encrypted", "arn:theirs")]);
    let known = |resource_id: &str| {
        let target_resource_id = Some(resource_id.to_owned());
        Request { target_resource_id, ..request(Task::Report, None) }
    };
    assert_eq!(rds.look(known("db-TARGET")).await.expect("a report").kept, [TARGET]);
    // A cutover has renamed it.
    if let Some(target) = &mut rds.lock().instance {
        target.db_instance_identifier = Some("orders".into());
    }
    assert_eq!(rds.look(known("db-TARGET")).await.expect("a report").kept, ["DB instance `orders`"]);
    assert_eq!(rds.look(known("db-ANOTHER")).await.expect("a report").kept, [""; 0]);
}

#[tokio::test]
async fn an_orderly_end_deletes_the_snapshots_that_the_input_does_not_keep() {
    for (snapshots, deleted, kept) in [
        (Snapshots::DeleteUnencrypted, vec![PLAINTEXT], vec![TARGET, COPY]),
        (Snapshots::DeleteAll, vec![PLAINTEXT, COPY], vec![TARGET]),
        (Snapshots::Keep, vec![], vec![TARGET, PLAINTEXT, COPY]),
    ] {
        let rds = Rds::of("arn:ours");
        let look = async |previous| rds.look(Request { snapshots, ..request(Task::Finish, previous) }).await;
        let first = look(None).await.expect("a look");
        assert_eq!(first.ready, deleted.is_empty(), "what is being deleted is not gone: {snapshots:?}");
        rds.time_passes();
        let last = look(Some(first)).await.expect("finished");
        assert!(last.ready, "an orderly end has no late call to wait for: {snapshots:?}");
        assert_eq!((&last.deleted, &last.kept), (&strings(&deleted), &strings(&kept)), "{snapshots:?}");
        assert_eq!(last.failure, None);
        assert!(rds.lock().instance.is_some(), "the target stays: {snapshots:?}");
        let calls = rds.calls();
        assert!(calls.iter().all(|call| call.starts_with("delete snapshot")), "{calls:?}");
        assert_eq!(calls.len(), deleted.len(), "each once: {calls:?}");
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn an_orderly_end_knows_the_target_that_a_cutover_renamed() {
    let rds = Rds::of("arn:ours");
    if let Some(target) = &mut rds.lock().instance {
        target.db_instance_identifier = Some("orders".into());
    }
    let target_resource_id = Some("db-TARGET".to_owned());
    let request = Request { target_resource_id, snapshots: Snapshots::Keep, ..request(Task::Finish, None) };
    assert_eq!(rds.look(request).await.expect("finished").kept, ["DB instance `orders`", PLAINTEXT, COPY]);
}

#[tokio::test]
async fn an_undo_never_deletes_what_no_longer_bears_the_planned_name() {
    let rds = Rds::of("arn:ours");
    if let Some(target) = &mut rds.lock().instance {
        target.db_instance_identifier = Some("orders".into());
    }
    let known = Request { target_resource_id: Some("db-TARGET".into()), ..request(Task::Undo, None) };
    rds.look(known).await.expect("a look");
    assert_eq!(rds.calls(), ["delete snapshot orders-no-encrypted"]);
}

#[tokio::test]
async fn a_failure_that_leaves_something_says_how_to_go_on_with_it() {
    let execution = "arn:aws:states:eu-west-1:123456789012:execution:encrypt-instance:first";
    let report = || kept(Some(execution));
    let cause = failure(&Rds::of("arn:ours").look(report()).await.expect("a report")).cause.clone();
    for words in [
        "--state-machine-arn arn:aws:states:eu-west-1:123456789012:stateMachine:encrypt-instance --input",
        &format!("\"resume\": \"{execution}\""),
    ] {
        assert!(cause.contains(words), "{cause} does not say {words}");
    }
    // What was to be undone is left past the commit point only, although the target may be gone by now.
    let committed = || Request { on_failure: OnFailure::Undo, ..report() };
    let cause = failure(&Rds::of("arn:ours").look(committed()).await.expect("a report")).cause.clone();
    assert!(!cause.contains("resume") && cause.contains("undo-instance does what is left"), "{cause}");
    let nothing = Rds::default().look(report()).await.expect("a report");
    assert!(!failure(&nothing).cause.contains("resume"), "{nothing:?}");
}

#[tokio::test]
async fn an_end_that_cannot_delete_the_plaintext_is_clean_up_failed() {
    let rds = Rds::of("arn:ours").refusing("delete snapshot orders-no-encrypted", "AccessDenied");
    let everything = |previous| Request { snapshots: Snapshots::DeleteAll, ..request(Task::Finish, previous) };
    let first = rds.look(everything(None)).await.expect("the copy is being deleted");
    assert!(!first.ready, "{first:?}");
    rds.time_passes();
    let error = rds.look(everything(Some(first))).await.expect_err("the plaintext is still there");
    assert_eq!(error.name(), "CleanUpFailed");
    assert!(error.to_string().starts_with(PLAINTEXT), "{error}");
    assert!(!error.to_string().contains(COPY), "{error}");
}

#[tokio::test]
async fn an_end_that_takes_too_long_is_clean_up_failed() {
    let rds = Rds::of("arn:ours").refusing("delete snapshot orders-no-encrypted", "InvalidDBSnapshotState");
    let error = rds.look(request(Task::Finish, waited(TWO_DAYS_SECONDS))).await.expect_err("too long");
    assert_eq!(error.name(), "CleanUpFailed");
    assert!(error.to_string().contains("cannot be deleted yet"), "{error}");
}

#[tokio::test]
async fn plaintext_that_lost_its_tag_does_not_stay_unsaid() {
    let rds = Rds::with(None, vec![snapshot("orders-no-encrypted", "arn:theirs")]);
    let error = rds.look(request(Task::Finish, None)).await.expect_err("it is still there");
    assert_eq!(error.name(), "CleanUpFailed");
    assert_eq!(rds.calls(), [""; 0], "it is not ours to delete");
}

#[tokio::test]
async fn plaintext_whose_deletion_lost_its_reply_is_told() {
    let rds = Rds::with(None, vec![]);
    let response = rds.look(request(Task::Finish, None)).await.expect("finished");
    assert!(response.ready);
    assert_eq!(response.deleted, [PLAINTEXT]);
}

#[tokio::test]
async fn a_failure_has_a_name_that_step_functions_takes_and_a_cause_in_plain_words() {
    let wrapped = r#"{"errorType":"SnapshotFailed","errorMessage":"it is `failed`.","stackTrace":[]}"#;
    for (error, cause, name, words) in [
        ("SnapshotFailed", wrapped, "SnapshotFailed", "it is `failed`. "),
        ("SnapshotFailed", "plain text", "SnapshotFailed", "plain text. "),
        ("SnapshotFailed", r#"{"errorMessage": 5}"#, "SnapshotFailed", r#"{"errorMessage": 5}. "#),
        ("SnapshotFailed", "[1, 2", "SnapshotFailed", "[1, 2. "),
        ("Runtime.ExitError", "killed", "Runtime.ExitError", "killed. "),
        ("States.Timeout", "", "StepTimedOut", "States.Timeout. "),
        ("States.Timeout", "after 90 s", "StepTimedOut", "States.Timeout: after 90 s. "),
        ("Sandbox.Timedout", "after 60 s", "StepTimedOut", "Sandbox.Timedout: after 60 s. "),
        ("States.DataLimitExceeded", "256 KiB", "StepFailed", "States.DataLimitExceeded: 256 KiB. "),
    ] {
        let caught = Caught { error: error.into(), cause: cause.into() };
        let request = Request { error: Some(caught), ..request(Task::Report, None) };
        let response = Rds::default().look(request).await.expect("a report");
        assert_eq!(failure(&response).error, name);
        assert_eq!(failure(&response).cause, format!("{words}Nothing of this execution exists."));
    }
}

#[tokio::test]
async fn a_state_without_an_error_is_still_a_failure() {
    let request = Request { error: None, ..request(Task::Report, None) };
    let response = Rds::default().look(request).await.expect("a report");
    assert_eq!(failure(&response).error, "Unknown");
}

#[test]
fn a_request_is_read_from_the_state() {
    let state = serde_json::json!({
        "task": "undo",
        "owner": {"execution": "arn:ours", "source_resource_id": "db-SOURCE"},
        "no_encrypted_snapshot_id": "orders-no-encrypted",
        "encrypted_snapshot_id": "orders-encrypted",
        "encrypted_instance_id": "orders-encrypted",
        "target_resource_id": null,
        "snapshots": "delete_unencrypted",
        "on_failure": "undo",
        "error": {"Error": "States.Timeout"},
        "execution": null,
        "previous": Response::default(),
    });
    let request: Request = serde_json::from_value(state).expect("a request");
    assert_eq!(request.error, Some(Caught { error: "States.Timeout".into(), cause: String::new() }));
    assert_eq!(request.previous, Some(Response::default()));
}

#[tokio::test]
async fn what_could_not_be_put_back_is_said_with_the_way_on() {
    let denied = Caught { error: "AccessDenied".into(), cause: r#"{"errorMessage": "rename: no"}"#.into() };
    let report = Request { undo_error: Some(denied), execution: Some("arn:one".into()), ..request(Task::Report, None) };
    let cause = failure(&Rds::of("arn:ours").look(report).await.expect("a report")).cause.clone();
    let said =
        "it is `failed`. NOT put back: the name or the security groups of the source (AccessDenied: rename: no).";
    assert!(cause.starts_with(said), "{cause}");
    assert!(cause.contains(r#"undo-instance"#) && cause.contains(r#"{"executionArn":"arn:one"}"#), "{cause}");
    assert!(!cause.contains("resume"), "{cause}");
}

/// Its plan would find the target under the source's name, or a target that is nobody's.
#[tokio::test]
async fn past_the_commit_point_there_is_nothing_to_resume() {
    let known = |execution: &str| Request { target_resource_id: Some("db-TARGET".into()), ..kept(Some(execution)) };
    let mut renamed = instance("arn:ours");
    renamed.db_instance_identifier = Some("orders".into());
    let mut released = instance("arn:ours");
    released.tag_list = None;
    for target in [renamed, released] {
        let response = Rds::with(Some(target), vec![]).look(known("arn:one")).await.expect("a report");
        let cause = &failure(&response).cause;
        assert!(response.past_commit_point && cause.contains("undo-instance") && !cause.contains("resume"), "{cause}");
    }
    let before = Rds::of("arn:ours").look(known("arn:execution:one:two")).await.expect("a report");
    assert!(!before.past_commit_point && failure(&before).cause.contains("resume"), "{before:?}");
}
