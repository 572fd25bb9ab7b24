//! Looks at a snapshot, an instance or a blue/green deployment that is being created, and says how long to wait
//! before the next look; and at a source that keeps its log meanwhile, whether it has room for it.
//!
//! AWS calls: DescribeDBSnapshots or DescribeDBInstances; for a deployment DescribeBlueGreenDeployments and
//! DescribeDBInstances; for a source that keeps its log DescribeDBInstances and CloudWatch GetMetricStatistics.
//!
//! Repeating it is safe: it only reads. Waiting is data: the state machine loops, this never sleeps.

mod deployment;

use aws_sdk_rds::types::{DbInstance, DbSnapshot};
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::deployment::Deployed;
use workflow::describe::{find_by_resource_id, find_instance, find_snapshot, has_pending_modifications};
use workflow::ids::{InstanceId, SnapshotId};
use workflow::look::Look;
use workflow::metrics::{Follower, refuse_low_storage};
use workflow::status::{self, Class};

/// RDS is eventually consistent: what was just created can be missing from a Describe for a while.
const UNSEEN_SECONDS_MAX: u64 = 120;

pub struct Context {
    pub rds: aws_sdk_rds::Client,
    pub cloudwatch: aws_sdk_cloudwatch::Client,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "resource", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Snapshot {
        id: SnapshotId,
        source: Source,
        previous: Look,
        max_wait_seconds: u64,
    },
    Instance {
        id: InstanceId,
        source: Source,
        previous: Look,
        /// It is not ready before the lazy load of its storage is over.
        wait_for_initialization: bool,
        max_wait_seconds: u64,
    },
    Deployment(Box<deployment::Request>),
    /// Nothing but that it has room for its log.
    Source {
        source: Source,
    },
}

/// The source, which keeps its log for whoever follows it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub resource_id: String,
    /// The execution whose target does; `None`: nobody.
    pub followed_by: Option<String>,
    /// The time of the look (RFC 3339).
    pub at: String,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Response {
    Look(Look),
    Deployment(Deployed),
}

pub async fn handle(context: &Context, request: Request) -> Result<Response, Error> {
    let client = &context.rds;
    let look = match request {
        Request::Snapshot { id, source, previous, max_wait_seconds } => {
            watch(context, &source).await?;
            let name = format!("DB snapshot `{id}`");
            let seen = find_snapshot(client, &id).await?;
            let look = match seen {
                Some(snapshot) => snapshot_look(&name, &snapshot)?,
                None if may_reappear(&previous) => Look::default(),
                None => return Err(Error::SnapshotNotFound(vanished(&name))),
            };
            or_wait(&name, look, &previous, max_wait_seconds)?
        }
        Request::Instance { id, source, previous, wait_for_initialization, max_wait_seconds } => {
            watch(context, &source).await?;
            let name = format!("DB instance `{id}`");
            let seen = find_instance(client, &id).await?;
            let look = match seen {
                Some(instance) => instance_look(&name, &instance, &previous, wait_for_initialization)?,
                None if may_reappear(&previous) => {
                    Look { resource_id: previous.resource_id.clone(), ..Look::default() }
                }
                None => return Err(Error::InstanceNotFound(vanished(&name))),
            };
            or_wait(&name, look, &previous, max_wait_seconds)?
        }
        Request::Deployment(request) => return Ok(Response::Deployment(deployment::look(context, *request).await?)),
        Request::Source { source } => {
            watch(context, &source).await?;
            Look::default()
        }
    };
    Ok(Response::Look(look))
}

/// One that is left out of an answer is there at the next look; one that is gone, the proof names.
async fn watch(context: &Context, source: &Source) -> Result<(), Error> {
    if source.followed_by.is_none() {
        return Ok(());
    }
    let Some(found) = find_by_resource_id(&context.rds, &source.resource_id).await? else { return Ok(()) };
    refuse_low_storage(&context.cloudwatch, &found, Follower::Target, &source.at).await
}

/// A resource that was just created can be missing for a while, and one that was seen can be missing
/// once [A39]: only two looks in a row that do not find it say that it is gone.
fn may_reappear(previous: &Look) -> bool {
    previous.wait.waited_seconds < UNSEEN_SECONDS_MAX || previous.status.is_some()
}

fn snapshot_look(name: &str, snapshot: &DbSnapshot) -> Result<Look, Error> {
    let status = snapshot.status().unwrap_or_default();
    let class = status::snapshot(status);
    match class {
        Class::Failed { remedy } => return Err(Error::SnapshotFailed(format!("{name} is `{status}`: {remedy}"))),
        Class::Pending { .. } | Class::Ready => {}
    }
    Ok(Look {
        ready: class == Class::Ready,
        percent_progress: snapshot.percent_progress(),
        // Older snapshots have only the second, which is a little later.
        snapshot_database_time: snapshot
            .snapshot_database_time()
            .or(snapshot.snapshot_create_time())
            .map(ToString::to_string),
        ..Look::first(Some(status))
    })
}

fn instance_look(
    name: &str,
    instance: &DbInstance,
    previous: &Look,
    wait_for_initialization: bool,
) -> Result<Look, Error> {
    let status = instance.db_instance_status().unwrap_or_default();
    let class = status::instance(status);
    match class {
        Class::Failed { remedy } => return Err(Error::InstanceFailed(format!("{name} is `{status}`: {remedy}"))),
        Class::Pending { .. } | Class::Ready => {}
    }
    let resource_id = instance.dbi_resource_id().map(str::to_owned);
    if previous.resource_id.is_some() && resource_id != previous.resource_id {
        return Err(Error::InstanceNotFound(format!(
            "{name} is another instance now ({} instead of {}): somebody deleted or renamed ours",
            resource_id.as_deref().unwrap_or("without a resource id"),
            previous.resource_id.as_deref().unwrap_or_default()
        )));
    }
    // RDS says `Initializing` while the storage still loads from the snapshot (StorageOperationStatus) [A7],
    // but for some classes [A8].
    let loads = wait_for_initialization && instance.storage_operation_status() == Some("Initializing");
    let steady =
        class == Class::Ready && !loads && !has_pending_modifications(instance) && instance.endpoint().is_some();
    let mut steady_looks = previous.steady_looks;
    steady_looks.count(steady);
    Ok(Look {
        ready: steady_looks.are_enough(),
        steady_looks,
        resource_id,
        percent_progress: instance.storage_operation_percent_progress().filter(|_| loads),
        ..Look::first(Some(status))
    })
}

fn or_wait(name: &str, look: Look, previous: &Look, max_wait_seconds: u64) -> Result<Look, Error> {
    if look.ready {
        return Ok(Look { wait: previous.wait.clone(), ..look });
    }
    let wait = look.steady_looks.wait(&previous.wait, look.percent_progress, max_wait_seconds);
    let wait = wait.map_err(|_| {
        Error::WaitTimedOut(format!(
            "{name} is `{}`{} after {max_wait_seconds} s, the longest that max_wait_minutes allows one wait",
            look.status.as_deref().unwrap_or("not to be seen"),
            look.percent_progress.map(|percent| format!(" at {percent} %")).unwrap_or_default()
        ))
    })?;
    Ok(Look { wait, ..look })
}

fn vanished(name: &str) -> String {
    format!("{name} was created by this execution and does not exist: somebody deleted it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_cloudwatch::operation::get_metric_statistics::GetMetricStatisticsOutput;
    use aws_sdk_cloudwatch::types::Datapoint;
    use aws_sdk_rds::Client;
    use aws_sdk_rds::error::ErrorMetadata;
    use aws_sdk_rds::operation::describe_db_instances::{DescribeDBInstancesError, DescribeDbInstancesOutput};
    use aws_sdk_rds::operation::describe_db_snapshots::DescribeDbSnapshotsOutput;
    use aws_sdk_rds::primitives::{DateTime, DateTimeFormat};
    use aws_sdk_rds::types::builders::{DbInstanceBuilder, DbSnapshotBuilder};
    use aws_sdk_rds::types::{Endpoint, PendingModifiedValues};
    use aws_smithy_mocks::{RuleMode, mock, mock_client};
    use workflow::steady::SteadyLooks;
    use workflow::wait::Wait;

    const HOUR_SECONDS: u64 = 3_600;

    async fn handle(client: &Client, request: Request) -> Result<Look, Error> {
        let context =
            Context { rds: client.clone(), cloudwatch: mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, []) };
        match super::handle(&context, request).await? {
            Response::Look(look) => Ok(look),
            Response::Deployment(deployed) => panic!("{deployed:?}"),
        }
    }

    async fn look_at_snapshot(snapshot: Option<DbSnapshotBuilder>, previous: Look) -> Result<Look, Error> {
        let snapshots: Vec<DbSnapshot> = snapshot.map(DbSnapshotBuilder::build).into_iter().collect();
        let describe = mock!(Client::describe_db_snapshots)
            .match_requests(|input| input.db_snapshot_identifier() == Some("orders-encrypted"))
            .then_output(move || {
                DescribeDbSnapshotsOutput::builder().set_db_snapshots(Some(snapshots.clone())).build()
            });
        let id = SnapshotId::parse("orders-encrypted").expect("legal");
        let request = Request::Snapshot { id, source: source(None), previous, max_wait_seconds: HOUR_SECONDS };
        handle(&mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe]), request).await
    }

    async fn look_at_instance(instance: Option<DbInstanceBuilder>, previous: Look) -> Result<Look, Error> {
        look_by(instance, instance_request(previous)).await
    }

    async fn look_at_initialization(instance: Option<DbInstanceBuilder>, previous: Look) -> Result<Look, Error> {
        let id = InstanceId::parse("orders-encrypted").expect("legal");
        let wait_for_initialization = true;
        let max_wait_seconds = HOUR_SECONDS;
        let request =
            Request::Instance { id, source: source(None), previous, wait_for_initialization, max_wait_seconds };
        look_by(instance, request).await
    }

    async fn look_by(instance: Option<DbInstanceBuilder>, request: Request) -> Result<Look, Error> {
        let instances: Vec<DbInstance> = instance.map(DbInstanceBuilder::build).into_iter().collect();
        let describe = mock!(Client::describe_db_instances)
            .match_requests(|input| input.db_instance_identifier() == Some("orders-encrypted"))
            .then_output(move || {
                DescribeDbInstancesOutput::builder().set_db_instances(Some(instances.clone())).build()
            });
        handle(&mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe]), request).await
    }

    fn instance_request(previous: Look) -> Request {
        let id = InstanceId::parse("orders-encrypted").expect("legal");
        let max_wait_seconds = HOUR_SECONDS;
        Request::Instance { id, source: source(None), previous, wait_for_initialization: false, max_wait_seconds }
    }

    fn source(followed_by: Option<&str>) -> Source {
        Source {
            resource_id: "db-SOURCE".into(),
            followed_by: followed_by.map(Into::into),
            at: "2026-03-01T10:00:30Z".into(),
        }
    }

    /// What a source of 100 GiB with so much free storage lets happen.
    async fn watched(free_gib: f64, followed_by: Option<&str>) -> [Result<Look, Error>; 3] {
        let describe = mock!(Client::describe_db_instances).then_output(|| {
            let source = instance("available").dbi_resource_id("db-SOURCE").allocated_storage(100).build();
            DescribeDbInstancesOutput::builder().db_instances(source).build()
        });
        let snapshots = mock!(Client::describe_db_snapshots)
            .then_output(|| DescribeDbSnapshotsOutput::builder().db_snapshots(snapshot("creating").build()).build());
        let free = mock!(aws_sdk_cloudwatch::Client::get_metric_statistics)
            .match_requests(|input| input.metric_name() == Some("FreeStorageSpace"))
            .then_output(move || {
                let at = aws_sdk_cloudwatch::primitives::DateTime::from_secs(60);
                let point = Datapoint::builder().timestamp(at).minimum(free_gib * f64::from(1 << 30)).build();
                GetMetricStatisticsOutput::builder().datapoints(point).build()
            });
        let context = Context {
            rds: mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe, &snapshots]),
            cloudwatch: mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, [&free]),
        };
        let look = async |request| match super::handle(&context, request).await? {
            Response::Look(look) => Ok(look),
            Response::Deployment(deployed) => panic!("{deployed:?}"),
        };
        let snapshot = Request::Snapshot {
            id: SnapshotId::parse("orders-encrypted").expect("legal"),
            source: source(followed_by),
            previous: waited(60),
            max_wait_seconds: HOUR_SECONDS,
        };
        let instance = Request::Instance {
            id: InstanceId::parse("orders-encrypted").expect("legal"),
            source: source(followed_by),
            previous: waited(60),
            wait_for_initialization: false,
            max_wait_seconds: HOUR_SECONDS,
        };
        let alone = Request::Source { source: source(followed_by) };
        [look(snapshot).await, look(instance).await, look(alone).await]
    }

    #[tokio::test]
    async fn a_source_that_keeps_its_log_for_a_target_must_have_room_for_it_at_every_look() {
        for outcome in watched(0.5, Some("arn:online")).await {
            let error = outcome.expect_err("no room");
            assert_eq!(error.name(), "SourceStorageLow");
            assert!(error.to_string().contains("its replication slots hold its log back"), "{error}");
        }
        for outcome in watched(50.0, Some("arn:online")).await {
            assert!(outcome.is_ok(), "{outcome:?}");
        }
        for outcome in watched(0.5, None).await {
            assert!(outcome.is_ok(), "nobody follows it: {outcome:?}");
        }
    }

    fn snapshot(status: &str) -> DbSnapshotBuilder {
        DbSnapshot::builder().status(status)
    }

    fn instance(status: &str) -> DbInstanceBuilder {
        let endpoint = Endpoint::builder().address("orders-encrypted.example").build();
        DbInstance::builder().db_instance_status(status).dbi_resource_id("db-TARGET").endpoint(endpoint)
    }

    fn waited(seconds: u64) -> Look {
        Look { wait: Wait { waited_seconds: seconds, ..Wait::default() }, ..Look::default() }
    }

    fn of_target(previous: Look) -> Look {
        Look { resource_id: Some("db-TARGET".into()), ..previous }
    }

    #[tokio::test]
    async fn a_snapshot_that_is_being_created_is_waited_for_by_its_progress() {
        let first = look_at_snapshot(Some(snapshot("creating").percent_progress(1)), waited(60)).await;
        let look = first.expect("a look");
        assert!(!look.ready);
        assert_eq!((look.status.as_deref(), look.percent_progress), (Some("creating"), Some(1)));
        assert!(look.wait.prediction.is_some(), "{look:?}");
        assert_eq!(look.wait.waited_seconds, 60 + look.wait.wait_seconds);
    }

    #[tokio::test]
    async fn an_available_snapshot_ends_the_wait_and_says_as_of_when_its_data_is() {
        let time = DateTime::from_str("2026-02-03T04:05:06Z", DateTimeFormat::DateTime).expect("a time");
        let seen = snapshot("available").percent_progress(100).snapshot_database_time(time);
        let look = look_at_snapshot(Some(seen), waited(60)).await.expect("a look");
        assert!(look.ready);
        assert_eq!(look.snapshot_database_time.as_deref(), Some("2026-02-03T04:05:06Z"));
        assert_eq!(look.wait.waited_seconds, 60, "no further sleep is granted");
    }

    #[tokio::test]
    async fn a_snapshot_that_failed_is_named_with_its_remedy() {
        let error = look_at_snapshot(Some(snapshot("failed")), waited(60)).await.expect_err("failed");
        assert_eq!(error.name(), "SnapshotFailed");
        let text = error.to_string();
        assert!(text.starts_with("DB snapshot `orders-encrypted` is `failed`: RDS could not"), "{text}");
    }

    #[tokio::test]
    async fn an_unknown_status_is_waited_for() {
        let look = look_at_snapshot(Some(snapshot("defragmenting")), waited(60)).await.expect("a look");
        assert!(!look.ready && look.wait.wait_seconds > 0);
        let look = look_at_instance(Some(instance("defragmenting")), waited(60)).await.expect("a look");
        assert!(!look.ready && look.wait.wait_seconds > 0);
        assert_eq!(look.status.as_deref(), Some("defragmenting"));
    }

    #[tokio::test]
    async fn what_was_just_created_may_not_be_seen_yet() {
        let look = look_at_snapshot(None, waited(119)).await.expect("a look");
        assert!(!look.ready && look.wait.wait_seconds > 0);
        assert_eq!(look.status, None);
        let look = look_at_instance(None, of_target(waited(119))).await.expect("a look");
        assert!(!look.ready && look.wait.wait_seconds > 0);
        assert_eq!((look.status, look.resource_id.as_deref()), (None, Some("db-TARGET")));
    }

    #[tokio::test]
    async fn what_is_not_there_after_two_minutes_has_vanished() {
        let error = look_at_snapshot(None, waited(120)).await.expect_err("vanished");
        assert_eq!(error.name(), "SnapshotNotFound");
        assert!(error.to_string().contains("somebody deleted it"), "{error}");
        let error = look_at_instance(None, waited(120)).await.expect_err("vanished");
        assert_eq!(error.name(), "InstanceNotFound");
        assert!(error.to_string().contains("somebody deleted it"), "{error}");
    }

    #[tokio::test]
    async fn a_wait_that_reaches_its_deadline_says_how_far_it_came() {
        let seen = snapshot("creating").percent_progress(99);
        let error = look_at_snapshot(Some(seen), waited(HOUR_SECONDS)).await.expect_err("too long");
        assert_eq!(error.name(), "WaitTimedOut");
        let text = error.to_string();
        assert!(text.starts_with("DB snapshot `orders-encrypted` is `creating` at 99 % after 3600 s"), "{text}");
        let error = look_at_instance(Some(instance("creating")), waited(HOUR_SECONDS)).await.expect_err("too long");
        assert_eq!(error.name(), "WaitTimedOut");
        assert!(error.to_string().contains("max_wait_minutes"), "{error}");
        let last = look_at_instance(Some(instance("creating")), waited(HOUR_SECONDS - 1)).await.expect("a look");
        assert_eq!(last.wait.wait_seconds, 1, "the last sleep ends on the deadline");
    }

    #[tokio::test]
    async fn an_instance_is_ready_when_two_looks_in_a_row_find_it_steady() {
        let first = look_at_instance(Some(instance("available")), of_target(waited(60))).await.expect("a look");
        assert!(!first.ready, "{first:?}");
        assert_eq!((first.steady_looks.0, first.wait.wait_seconds), (1, 15));
        let second = look_at_instance(Some(instance("available")), first.clone()).await.expect("a look");
        assert!(second.ready);
        assert_eq!(second.wait, first.wait, "no further sleep is granted");
    }

    #[tokio::test]
    async fn an_instance_that_reboots_after_its_first_steady_look_is_looked_at_twice_again() {
        let mut look = of_target(waited(60));
        for (status, steady_looks) in [("available", 1), ("rebooting", 0), ("available", 1)] {
            look = look_at_instance(Some(instance(status)), look).await.expect("a look");
            assert_eq!((look.steady_looks.0, look.ready), (steady_looks, false), "{status}");
        }
        assert!(look_at_instance(Some(instance("available")), look).await.expect("a look").ready);
    }

    #[tokio::test]
    async fn an_instance_that_is_not_steady_yet_is_waited_for() {
        let pending = PendingModifiedValues::builder().allocated_storage(200).build();
        for (why, seen) in [
            ("it is being created", instance("creating")),
            ("its first backup is taken", instance("backing-up")),
            ("a modification is pending", instance("available").pending_modified_values(pending)),
            ("it has no endpoint yet", instance("available").set_endpoint(None)),
        ] {
            let once_steady = Look { steady_looks: SteadyLooks(1), ..of_target(waited(60)) };
            let look = look_at_instance(Some(seen), once_steady).await.expect("a look");
            assert_eq!((look.steady_looks.0, look.ready), (0, false), "{why}");
            assert!(look.wait.wait_seconds > 0, "{why}");
        }
        // RDS reports an empty element where nothing is pending.
        let nothing_pending = instance("available").pending_modified_values(PendingModifiedValues::builder().build());
        assert_eq!(look_at_instance(Some(nothing_pending), waited(60)).await.expect("a look").steady_looks.0, 1);
    }

    #[tokio::test]
    async fn an_instance_that_failed_is_named_with_its_remedy() {
        for status in ["failed", "incompatible-network", "storage-full", "stopped", "deleting"] {
            let error = look_at_instance(Some(instance(status)), of_target(waited(60))).await.expect_err("failed");
            assert_eq!(error.name(), "InstanceFailed");
            let beginning = format!("DB instance `orders-encrypted` is `{status}`: ");
            assert!(error.to_string().starts_with(&beginning), "{error}");
        }
    }

    #[tokio::test]
    async fn another_instance_under_the_name_is_never_ready() {
        let other = instance("available").dbi_resource_id("db-ANOTHER");
        let steady = Look { steady_looks: SteadyLooks(1), ..of_target(waited(60)) };
        let error = look_at_instance(Some(other), steady).await.expect_err("another");
        assert_eq!(error.name(), "InstanceNotFound");
        assert!(error.to_string().contains("db-ANOTHER instead of db-TARGET"), "{error}");
    }

    #[tokio::test]
    async fn an_instance_whose_resource_id_was_not_known_is_told_by_it_from_then_on() {
        let look = look_at_instance(Some(instance("creating")), waited(0)).await.expect("a look");
        assert_eq!(look.resource_id.as_deref(), Some("db-TARGET"));
    }

    #[tokio::test]
    async fn storage_that_still_loads_is_waited_for_by_its_progress() {
        let loading = instance("available").storage_operation_status("Initializing");
        let once_idle = Look { steady_looks: SteadyLooks(1), ..waited(60) };
        let look = look_at_initialization(Some(loading.storage_operation_percent_progress(40)), once_idle).await;
        let look = look.expect("a look");
        assert_eq!((look.ready, look.steady_looks.0, look.percent_progress), (false, 0, Some(40)));
        assert!(look.wait.prediction.is_some(), "{look:?}");
    }

    #[tokio::test]
    async fn storage_is_loaded_when_two_looks_in_a_row_find_it_idle() {
        for idle in [instance("available"), instance("available").storage_operation_status("Idle")] {
            let first = look_at_initialization(Some(idle.clone()), Look::default()).await.expect("a look");
            assert!(!first.ready);
            assert!(look_at_initialization(Some(idle), first).await.expect("a look").ready);
        }
    }

    #[tokio::test]
    async fn an_instance_that_vanishes_while_it_loads_is_named() {
        let error = look_at_initialization(None, waited(120)).await.expect_err("vanished");
        assert_eq!(error.name(), "InstanceNotFound");
    }

    #[tokio::test]
    async fn a_call_that_rds_refuses_is_named() {
        for (code, name) in [("Throttling", "Throttled"), ("AccessDenied", "AccessDenied")] {
            let describe = mock!(Client::describe_db_instances)
                .then_error(move || DescribeDBInstancesError::generic(ErrorMetadata::builder().code(code).build()));
            let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe]);
            assert_eq!(handle(&client, instance_request(waited(0))).await.expect_err(code).name(), name);
        }
    }

    #[tokio::test]
    async fn throttling_that_ends_is_not_noticed() {
        let describe = mock!(Client::describe_db_instances)
            .sequence()
            .http_status(503, None)
            .times(2)
            .output(|| DescribeDbInstancesOutput::builder().db_instances(instance("creating").build()).build())
            .build();
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe]);
        let look = handle(&client, instance_request(waited(0))).await.expect("a look");
        assert_eq!(look.status.as_deref(), Some("creating"));
        assert_eq!(describe.num_calls(), 3);
    }
}
