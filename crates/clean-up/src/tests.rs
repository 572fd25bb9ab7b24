use std::sync::{Arc, Mutex, MutexGuard};

use aws_sdk_rds::error::ErrorMetadata;
use aws_sdk_rds::operation::delete_db_snapshot::{DeleteDBSnapshotError, DeleteDbSnapshotOutput};
use aws_sdk_rds::operation::describe_db_instances::DescribeDbInstancesOutput;
use aws_sdk_rds::operation::describe_db_snapshots::{DescribeDBSnapshotsError, DescribeDbSnapshotsOutput};
use aws_sdk_rds::primitives::DateTime;
use aws_sdk_rds::types::{DbInstance, DbSnapshot};
use aws_smithy_mocks::{MockResponse, RuleMode, mock, mock_client};
use workflow::ids::{InstanceId, SnapshotId};
use workflow::options::{Cutover, Snapshots};
use workflow::owner::Owner;
use workflow::wait::Wait;

use super::*;

const TARGET: &str = "DB instance `orders`";
const PLAINTEXT: &str = "DB snapshot `orders-no-encrypted`";
const COPY: &str = "DB snapshot `orders-encrypted`";
const DAY_SECONDS: u64 = 86_400;

fn owner(execution: &str) -> Owner {
    Owner { execution: execution.into(), source_resource_id: "db-SOURCE".into() }
}

/// The proven target, which a cutover has renamed; its first backup is there if a time is.
fn target(retention_days: i32, restorable_at: Option<i64>) -> DbInstance {
    DbInstance::builder()
        .db_instance_identifier("orders")
        .dbi_resource_id("db-TARGET")
        .backup_retention_period(retention_days)
        .set_latest_restorable_time(restorable_at.map(DateTime::from_secs))
        .build()
}

fn snapshot(id: &str, owned_by: &str) -> DbSnapshot {
    let tags = owner(owned_by).tags_with(&[]);
    DbSnapshot::builder().db_snapshot_identifier(id).status("available").set_tag_list(Some(tags)).build()
}

#[derive(Clone, Default)]
struct Rds(Arc<Mutex<World>>);

#[derive(Default)]
struct World {
    target: Option<DbInstance>,
    snapshots: Vec<DbSnapshot>,
    deleted: Vec<String>,
    refusal: Option<(&'static str, &'static str)>,
}

impl Rds {
    fn of(execution: &str) -> Self {
        let snapshots = vec![snapshot("orders-no-encrypted", execution), snapshot("orders-encrypted", execution)];
        Self(Arc::new(Mutex::new(World { target: Some(target(7, Some(1))), snapshots, ..World::default() })))
    }

    fn refusing(self, id: &'static str, code: &'static str) -> Self {
        self.lock().refusal = Some((id, code));
        self
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no test panicked meanwhile")
    }

    fn client(&self) -> Client {
        let rds = self.clone();
        let instances = mock!(Client::describe_db_instances).then_compute_response(move |input| {
            assert_eq!(input.filters()[0].values(), ["db-TARGET"], "by what does not change");
            let found = rds.lock().target.iter().cloned().collect();
            MockResponse::Output(DescribeDbInstancesOutput::builder().set_db_instances(Some(found)).build())
        });
        let rds = self.clone();
        let snapshots = mock!(Client::describe_db_snapshots).then_compute_response(move |input| {
            let world = rds.lock();
            let mut snapshots = world.snapshots.iter();
            match snapshots.find(|snapshot| snapshot.db_snapshot_identifier() == input.db_snapshot_identifier()) {
                Some(found) => {
                    MockResponse::Output(DescribeDbSnapshotsOutput::builder().db_snapshots(found.clone()).build())
                }
                None => MockResponse::Error(DescribeDBSnapshotsError::generic(code("DBSnapshotNotFound"))),
            }
        });
        let rds = self.clone();
        let delete = mock!(Client::delete_db_snapshot).then_compute_response(move |input| {
            let mut world = rds.lock();
            let id = input.db_snapshot_identifier().unwrap_or_default().to_owned();
            if let Some((_, refusal)) = world.refusal.filter(|(refused, _)| *refused == id) {
                return MockResponse::Error(DeleteDBSnapshotError::generic(code(refusal)));
            }
            world.snapshots.retain(|snapshot| snapshot.db_snapshot_identifier() != Some(&id));
            world.deleted.push(id);
            MockResponse::Output(DeleteDbSnapshotOutput::builder().build())
        });
        mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&instances, &snapshots, &delete])
    }

    async fn look(&self, snapshots: Snapshots, previous: Option<Finished>) -> Result<Finished, Error> {
        handle(&self.client(), request(snapshots, previous)).await
    }

    async fn run(&self, snapshots: Snapshots) -> Result<Finished, Error> {
        let mut finished = self.look(snapshots, None).await?;
        while !finished.ready {
            finished = self.look(snapshots, Some(finished)).await?;
        }
        Ok(finished)
    }
}

fn code(code: &str) -> ErrorMetadata {
    ErrorMetadata::builder().code(code).message("no").build()
}

fn request(snapshots: Snapshots, previous: Option<Finished>) -> Request {
    Request::Snapshots {
        made: Finishing {
            owner: owner("arn:ours"),
            no_encrypted_snapshot_id: SnapshotId::parse("orders-no-encrypted").expect("legal"),
            encrypted_snapshot_id: SnapshotId::parse("orders-encrypted").expect("legal"),
            encrypted_instance_id: InstanceId::parse("orders-encrypted").expect("legal"),
            unencrypted_instance_id: InstanceId::parse("orders-unencrypted").expect("legal"),
            target_resource_id: Some("db-TARGET".into()),
            snapshots,
            cutover: Cutover::Rename,
        },
        previous,
        max_wait_seconds: DAY_SECONDS,
    }
}

#[tokio::test]
async fn an_orderly_end_deletes_the_snapshots_that_the_input_does_not_keep() {
    for (snapshots, deleted, kept) in [
        (Snapshots::DeleteUnencrypted, vec![PLAINTEXT], vec![TARGET, COPY]),
        (Snapshots::DeleteAll, vec![PLAINTEXT, COPY], vec![TARGET]),
        (Snapshots::Keep, vec![], vec![TARGET, PLAINTEXT, COPY]),
    ] {
        let rds = Rds::of("arn:ours");
        assert_eq!(rds.look(snapshots, None).await.expect("a look").ready, deleted.is_empty(), "{snapshots:?}");
        let finished = rds.run(snapshots).await.expect("finished");
        assert_eq!((finished.deleted, finished.kept), (strings(&deleted), strings(&kept)), "{snapshots:?}");
        assert_eq!(rds.lock().deleted.len(), deleted.len(), "each once");
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn the_end_says_what_both_instances_are_called_now() {
    let finished = Rds::of("arn:ours").run(Snapshots::Keep).await.expect("finished");
    assert_eq!(finished.target_instance_id.as_deref(), Some("orders"));
    let old = finished.old_instance.expect("a cutover has one");
    assert_eq!(old.id.as_str(), "orders-unencrypted");
    assert!(old.delete_commands[1].contains("delete-db-instance --db-instance-identifier orders-unencrypted"));
}

/// After a cutover the target's first backup begins with its protection.
#[tokio::test]
async fn the_only_recovery_point_stays_until_there_is_another() {
    let rds = Rds::of("arn:ours");
    rds.lock().target = Some(target(7, None));
    let first = rds.look(Snapshots::DeleteAll, None).await.expect("a look");
    let second = rds.look(Snapshots::DeleteAll, Some(first)).await.expect("a look");
    assert!(!second.ready);
    assert_eq!(rds.lock().deleted, ["orders-no-encrypted"]);
    rds.lock().target = Some(target(7, Some(1)));
    rds.look(Snapshots::DeleteAll, Some(second)).await.expect("a look");
    assert_eq!(rds.lock().deleted.len(), 2);
    // Without backups there will be none.
    let rds = Rds::of("arn:ours");
    rds.lock().target = Some(target(0, None));
    rds.run(Snapshots::DeleteAll).await.expect("finished");
    assert_eq!(rds.lock().deleted.len(), 2);
}

#[tokio::test]
async fn an_end_that_cannot_delete_the_plaintext_is_clean_up_failed() {
    let rds = Rds::of("arn:ours").refusing("orders-no-encrypted", "InvalidParameterValue");
    let error = rds.run(Snapshots::DeleteAll).await.expect_err("the plaintext is still there");
    assert_eq!(error.name(), "CleanUpFailed");
    assert!(error.to_string().starts_with(PLAINTEXT) && !error.to_string().contains(COPY), "{error}");
}

#[tokio::test]
async fn an_end_that_takes_too_long_is_clean_up_failed() {
    let rds = Rds::of("arn:ours").refusing("orders-no-encrypted", "InvalidDBSnapshotState");
    let late = Finished { wait: Wait { waited_seconds: DAY_SECONDS, ..Wait::default() }, ..Finished::default() };
    let error = rds.look(Snapshots::DeleteUnencrypted, Some(late)).await.expect_err("too long");
    assert_eq!(error.name(), "CleanUpFailed");
    assert!(error.to_string().contains("cannot be deleted yet"), "{error}");
}

/// The tag by which the role allows it may not count yet.
#[tokio::test]
async fn a_denial_passes_for_a_while() {
    let rds = Rds::of("arn:ours").refusing("orders-no-encrypted", "AccessDenied");
    assert!(!rds.look(Snapshots::DeleteUnencrypted, None).await.expect("not yet").ready);
    let error = rds.run(Snapshots::DeleteUnencrypted).await.expect_err("never");
    assert!(error.to_string().contains("AccessDenied"), "{error}");
}

#[tokio::test]
async fn plaintext_that_lost_its_tag_does_not_stay_unsaid() {
    let rds = Rds::of("arn:theirs");
    let error = rds.look(Snapshots::DeleteUnencrypted, None).await.expect_err("it is still there");
    assert_eq!(error.name(), "CleanUpFailed");
    assert!(rds.lock().deleted.is_empty(), "it is not ours to delete");
}

#[tokio::test]
async fn plaintext_whose_deletion_lost_its_reply_is_told() {
    let rds = Rds::of("arn:ours");
    rds.lock().snapshots.clear();
    let finished = rds.look(Snapshots::DeleteUnencrypted, None).await.expect("finished");
    assert!(finished.ready);
    assert_eq!(finished.deleted, [PLAINTEXT]);
}
