//! Against a DMS that answers from a few resources.

use std::sync::{Arc, Mutex};

use aws_sdk_databasemigration::Client;
use aws_sdk_databasemigration::error::ErrorMetadata;
use aws_sdk_databasemigration::operation as of;
use aws_sdk_databasemigration::types::{
    Connection, Endpoint, Filter, ReplicationInstance, ReplicationTask, ReplicationTaskStats, TableStatistics, Tag,
};
use aws_smithy_mocks::{MockResponse, RuleMode, mock, mock_client};
use workflow::Error;
use workflow::owner::{EXECUTION_TAG, Owner, SOURCE_TAG};

use crate::Replication;
use crate::create::{Database, InstanceSettings, Look, Server};
use crate::delete::Swept;

const OURS: &str = "arn:aws:states:eu-west-1:123456789012:execution:encrypt-online:ours";

#[derive(Clone, Default)]
struct Dms(Arc<Mutex<World>>);

#[derive(Default)]
struct World {
    instance: Option<&'static str>,
    endpoints: Vec<String>,
    connection: Option<&'static str>,
    task: Option<&'static str>,
    tables: Vec<TableStatistics>,
    owner: &'static str,
    /// What a description has instead of the name that was asked for, if the filter is ignored.
    stranger: Option<&'static str>,
    calls: Vec<String>,
    /// A call that is answered by an error code.
    refused: Option<(&'static str, &'static str)>,
}

impl World {
    /// What is described: the one that was asked for.
    fn name(&self, filters: &[Filter]) -> String {
        self.stranger.map_or_else(|| filters[0].values()[0].clone(), str::to_owned)
    }
}

impl Dms {
    fn with(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("a lock").calls)
    }

    /// Notes a call; the code that refuses it, if it is to be refused.
    fn note(&self, call: String) -> Option<&'static str> {
        let mut world = self.0.lock().expect("a lock");
        let refused = world.refused.filter(|(name, _)| call.starts_with(name)).map(|(_, code)| code);
        world.calls.push(call);
        refused
    }

    fn client(&self) -> Client {
        /// A call that changes something: noted under its name and the field that tells what.
        macro_rules! change {
            ($call:ident, $module:ident, $input:ident, $output:ident, $error:ident, $name:literal, $field:expr) => {{
                let dms = self.clone();
                mock!(Client::$call).then_compute_response(move |input: &of::$module::$input| {
                    let field: fn(&of::$module::$input) -> Option<&str> = $field;
                    match dms.note(format!("{} {}", $name, field(input).unwrap_or_default())) {
                        None => MockResponse::Output(of::$module::$output::builder().build()),
                        Some(code) => MockResponse::Error(of::$module::$error::generic(
                            ErrorMetadata::builder().code(code).build(),
                        )),
                    }
                })
            }};
        }
        let world = |dms: &Self| dms.0.clone();
        let (one, two, three, four, five, six) =
            (world(self), world(self), world(self), world(self), world(self), world(self));
        let instances = mock!(Client::describe_replication_instances).then_compute_response(move |input| {
            let world = one.lock().expect("a lock");
            let found = world.instance.map(|status| {
                ReplicationInstance::builder()
                    .replication_instance_identifier(world.name(input.filters()))
                    .replication_instance_arn("arn:rep")
                    .replication_instance_status(status)
                    .build()
            });
            MockResponse::Output(
                of::describe_replication_instances::DescribeReplicationInstancesOutput::builder()
                    .set_replication_instances(found.map(|one| vec![one]))
                    .build(),
            )
        });
        let endpoints = mock!(Client::describe_endpoints).then_compute_response(move |input| {
            let world = two.lock().expect("a lock");
            let id = &input.filters()[0].values()[0];
            if !world.endpoints.contains(id) {
                let gone = ErrorMetadata::builder().code("ResourceNotFoundFault").build();
                return MockResponse::Error(of::describe_endpoints::DescribeEndpointsError::generic(gone));
            }
            let found = Endpoint::builder().endpoint_identifier(world.name(input.filters()));
            let found = found.endpoint_arn(format!("arn:{id}")).status("active").build();
            MockResponse::Output(of::describe_endpoints::DescribeEndpointsOutput::builder().endpoints(found).build())
        });
        let connections = mock!(Client::describe_connections).then_compute_response(move |input| {
            let world = three.lock().expect("a lock");
            let found = world.connection.map(|status| {
                let [endpoint, instance] = [0, 1].map(|filter| world.name(&input.filters()[filter..]));
                let of_both = Connection::builder().endpoint_arn(endpoint).replication_instance_arn(instance);
                of_both.status(status).last_failure_message("no route").build()
            });
            MockResponse::Output(
                of::describe_connections::DescribeConnectionsOutput::builder()
                    .set_connections(found.map(|one| vec![one]))
                    .build(),
            )
        });
        let tasks = mock!(Client::describe_replication_tasks).then_compute_response(move |input| {
            let world = four.lock().expect("a lock");
            let found = world.task.map(|status| {
                ReplicationTask::builder()
                    .replication_task_identifier(world.name(input.filters()))
                    .replication_task_arn("arn:task")
                    .status(status)
                    .stop_reason("Stop Reason FATAL_ERROR")
                    .replication_task_stats(ReplicationTaskStats::builder().full_load_progress_percent(100).build())
                    .build()
            });
            MockResponse::Output(
                of::describe_replication_tasks::DescribeReplicationTasksOutput::builder()
                    .set_replication_tasks(found.map(|one| vec![one]))
                    .build(),
            )
        });
        let tables = mock!(Client::describe_table_statistics).then_compute_response(move |_| {
            let found = five.lock().expect("a lock").tables.clone();
            MockResponse::Output(
                of::describe_table_statistics::DescribeTableStatisticsOutput::builder()
                    .set_table_statistics(Some(found))
                    .build(),
            )
        });
        let tags = mock!(Client::list_tags_for_resource).then_compute_response(move |_| {
            let owner = six.lock().expect("a lock").owner;
            let tags = [(EXECUTION_TAG, owner), (SOURCE_TAG, "db-SOURCE")]
                .map(|(key, value)| Tag::builder().key(key).value(value).build());
            MockResponse::Output(
                of::list_tags_for_resource::ListTagsForResourceOutput::builder()
                    .set_tag_list(Some(tags.into()))
                    .build(),
            )
        });
        let create_instance = change!(
            create_replication_instance,
            create_replication_instance,
            CreateReplicationInstanceInput,
            CreateReplicationInstanceOutput,
            CreateReplicationInstanceError,
            "create instance",
            |input| if input.publicly_accessible() == Some(false) { input.replication_instance_class() } else { None }
        );
        let create_endpoint = change!(
            create_endpoint,
            create_endpoint,
            CreateEndpointInput,
            CreateEndpointOutput,
            CreateEndpointError,
            "create endpoint",
            |input| input.endpoint_identifier()
        );
        let test = change!(
            test_connection,
            test_connection,
            TestConnectionInput,
            TestConnectionOutput,
            TestConnectionError,
            "test",
            |input| input.endpoint_arn()
        );
        let create_task = change!(
            create_replication_task,
            create_replication_task,
            CreateReplicationTaskInput,
            CreateReplicationTaskOutput,
            CreateReplicationTaskError,
            "create task",
            |input| input.replication_task_settings()
        );
        let start = change!(
            start_replication_task,
            start_replication_task,
            StartReplicationTaskInput,
            StartReplicationTaskOutput,
            StartReplicationTaskError,
            "start",
            |input| input.start_replication_task_type().map(|kind| kind.as_str())
        );
        let stop = change!(
            stop_replication_task,
            stop_replication_task,
            StopReplicationTaskInput,
            StopReplicationTaskOutput,
            StopReplicationTaskError,
            "stop",
            |input| input.replication_task_arn()
        );
        let delete_task = change!(
            delete_replication_task,
            delete_replication_task,
            DeleteReplicationTaskInput,
            DeleteReplicationTaskOutput,
            DeleteReplicationTaskError,
            "delete",
            |input| input.replication_task_arn()
        );
        let delete_endpoint = change!(
            delete_endpoint,
            delete_endpoint,
            DeleteEndpointInput,
            DeleteEndpointOutput,
            DeleteEndpointError,
            "delete",
            |input| input.endpoint_arn()
        );
        let delete_instance = change!(
            delete_replication_instance,
            delete_replication_instance,
            DeleteReplicationInstanceInput,
            DeleteReplicationInstanceOutput,
            DeleteReplicationInstanceError,
            "delete",
            |input| input.replication_instance_arn()
        );
        let rules = [
            &instances,
            &endpoints,
            &connections,
            &tasks,
            &tables,
            &tags,
            &create_instance,
            &create_endpoint,
            &test,
            &create_task,
            &start,
            &stop,
            &delete_task,
            &delete_endpoint,
            &delete_instance,
        ];
        mock_client!(aws_sdk_databasemigration, RuleMode::MatchAny, rules)
    }

    async fn create(&self) -> Result<Look, Error> {
        let settings = InstanceSettings {
            class: "dms.t3.medium".into(),
            engine_version: String::new(),
            subnet_group: "private".into(),
            security_group_ids: "sg-1,sg-2".into(),
            kms_key_arn: String::new(),
        };
        let server = Server { host: "orders.example", port: 5432, username: "role", password: "secret", schema: "own" };
        let database = Database { name: "app", oid: 7 };
        let (client, owner) = (self.client(), owner());
        Replication::of(&client, &owner).create(&settings, &[database], &server, &server).await
    }

    async fn delete(&self) -> Result<Swept, Error> {
        Replication::of(&self.client(), &owner()).delete(&[7]).await
    }
}

fn owner() -> Owner {
    Owner { execution: OURS.into(), source_resource_id: "db-SOURCE".into() }
}

fn base() -> String {
    format!("rds-encrypt-{}", workflow::online::token(OURS))
}

fn endpoints() -> Vec<String> {
    ["source", "target"].map(|side| format!("{}-7-{side}", base())).into()
}

/// Everything there and ready.
fn ready() -> World {
    World {
        instance: Some("available"),
        endpoints: endpoints(),
        connection: Some("successful"),
        task: Some("ready"),
        owner: OURS,
        ..World::default()
    }
}

fn pending(look: Result<Look, Error>) -> String {
    match look.expect("a look") {
        Look::Pending(what) => what,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_missing_is_made_and_the_instance_is_private() {
    let dms = Dms::with(World { instance: None, endpoints: vec![], connection: None, task: None, ..ready() });
    assert!(pending(dms.create().await).contains("the replication instance is new"));
    let [source, target] = endpoints().try_into().expect("two");
    let made = [
        "create instance dms.t3.medium".to_owned(),
        format!("create endpoint {source}"),
        format!("create endpoint {target}"),
    ];
    assert_eq!(dms.calls(), made);
}

#[tokio::test]
async fn connections_are_tested_before_there_is_a_task_and_the_task_stops_at_any_error() {
    let dms = Dms::with(World { connection: None, task: None, ..ready() });
    assert!(pending(dms.create().await).contains("is being tested"));
    assert_eq!(dms.calls(), endpoints().iter().map(|id| format!("test arn:{id}")).collect::<Vec<_>>());
    let dms = Dms::with(World { task: None, ..ready() });
    assert!(pending(dms.create().await).contains("task of database `app` is new"));
    let [call] = dms.calls().try_into().expect("one call");
    let settings: serde_json::Value =
        serde_json::from_str(call.strip_prefix("create task ").expect("a task")).expect("JSON");
    for (path, value) in [
        ("/FullLoadSettings/TargetTablePrepMode", "TRUNCATE_BEFORE_LOAD"),
        ("/ControlTablesSettings/ControlSchema", "own"),
        ("/ErrorBehavior/DataErrorPolicy", "STOP_TASK"),
        ("/ErrorBehavior/ApplyErrorUpdatePolicy", "STOP_TASK"),
    ] {
        assert_eq!(settings.pointer(path), Some(&value.into()), "{settings:#}");
    }
    for path in ["/ValidationSettings/EnableValidation", "/TargetMetadata/FullLobMode"] {
        assert_eq!(settings.pointer(path), Some(&true.into()), "{settings:#}");
    }
    assert_eq!(Dms::with(ready()).create().await.expect("a look"), Look::Ready);
}

#[tokio::test]
async fn what_an_earlier_attempt_made_is_found_by_the_next_look() {
    let taken = Some(("create instance", "ResourceAlreadyExistsFault"));
    let dms = Dms::with(World { instance: None, refused: taken, ..ready() });
    assert!(pending(dms.create().await).contains("is new"));
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_says_why_and_is_tried_again() {
    let dms = Dms::with(World { connection: Some("failed"), ..ready() });
    let Look::Unreachable(why) = dms.create().await.expect("a look") else { panic!("it was reached") };
    assert!(why.contains("no route"), "{why}");
    assert_eq!(dms.calls().len(), 1, "one more test");
}

#[tokio::test]
async fn a_filter_that_is_ignored_hands_over_nothing() {
    let dms = Dms::with(World { stranger: Some("another"), task: Some("running"), ..ready() });
    assert!(pending(dms.create().await).contains("the replication instance is new"));
    dms.calls();
    assert_eq!(dms.delete().await.expect("a look"), Swept::default());
    assert_eq!(dms.calls(), Vec::<String>::new());
    let (client, owner) = (dms.client(), owner());
    let error = Replication::of(&client, &owner).progress(7).await.expect_err("its task is not there");
    assert!(error.to_string().contains("is gone"), "{error}");
}

#[tokio::test]
async fn what_another_execution_made_is_neither_used_nor_deleted() {
    let dms = Dms::with(World { owner: "arn:theirs", ..ready() });
    assert_eq!(dms.create().await.expect_err("theirs").name(), "NameConflict");
    assert_eq!(dms.delete().await.expect("a look"), Swept::default());
    assert_eq!(dms.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_replication_instance_that_failed_ends_the_run() {
    let dms = Dms::with(World { instance: Some("incompatible-network"), ..ready() });
    let error = dms.create().await.expect_err("failed");
    assert_eq!(error.name(), "ReplicationFailed");
    assert!(error.to_string().contains("ReplicationSubnetGroup"), "{error}");
}

#[tokio::test]
async fn what_is_used_is_deleted_after_what_uses_it() {
    let dms = Dms::with(World { task: Some("running"), ..ready() });
    assert_eq!(dms.delete().await.expect("a look").pending, [format!("DMS task `{}-7`", base())]);
    assert_eq!(dms.calls(), ["stop arn:task"]);
    dms.0.lock().expect("a lock").task = Some("stopped");
    dms.delete().await.expect("a look");
    assert_eq!(dms.calls(), ["delete arn:task"]);
    dms.0.lock().expect("a lock").task = None;
    let swept = dms.delete().await.expect("a look");
    assert_eq!((swept.deleted.len(), &swept.deleted), (3, &swept.pending));
    assert_eq!(dms.calls().pop(), Some("delete arn:rep".to_owned()));
    assert_eq!(Dms::with(World { owner: OURS, ..World::default() }).delete().await.expect("a look"), Swept::default());
}

#[tokio::test]
async fn what_cannot_be_deleted_yet_is_waited_for() {
    let refused = Some(("delete arn:rep", "InvalidResourceStateFault"));
    let dms = Dms::with(World { endpoints: vec![], task: None, refused, ..ready() });
    let swept = dms.delete().await.expect("a look");
    assert_eq!((swept.deleted, swept.pending.len()), (vec![], 1));
    let refused = Some(("delete arn:rep", "AccessDeniedFault"));
    let dms = Dms::with(World { endpoints: vec![], task: None, refused, ..ready() });
    assert_eq!(dms.delete().await.expect_err("denied").name(), "AccessDenied");
}

fn table(state: &str, validation: &str) -> aws_sdk_databasemigration::types::builders::TableStatisticsBuilder {
    TableStatistics::builder().schema_name("public").table_name("t").table_state(state).validation_state(validation)
}

#[tokio::test]
async fn a_task_is_started_once() {
    let dms = Dms::with(ready());
    let run = async || Replication::of(&dms.client(), &owner()).run(7).await;
    assert_eq!(run().await.expect("a look"), None);
    assert_eq!(dms.calls(), ["start start-replication"]);
    dms.0.lock().expect("a lock").task = Some("starting");
    assert_eq!(run().await.expect("a look"), None);
    for status in ["failed", "stopped"] {
        dms.0.lock().expect("a lock").task = Some(status);
        let error = run().await.expect_err(status);
        assert_eq!(error.name(), "ReplicationFailed");
        assert!(error.to_string().contains("FATAL_ERROR"), "{error}");
    }
    assert_eq!(dms.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn loaded_is_every_table_and_validated_is_nothing_pending() {
    let of = async |tables: Vec<TableStatistics>| {
        let dms = Dms::with(World { task: Some("running"), tables, ..ready() });
        Replication::of(&dms.client(), &owner()).progress(7).await
    };
    let done = || table("Table completed", "Validated").build();
    for (tables, is_loaded, is_validated) in [
        (vec![], false, false),
        (vec![done()], true, true),
        (vec![done(), table("Table completed", "No primary key").build()], true, true),
        (vec![done(), table("Table completed", "Pending records").validation_pending_records(3).build()], true, false),
        (vec![done(), table("Full load", "Not enabled").build()], false, false),
        (vec![done(), table("Table completed", "Pending validation").build()], false, false),
    ] {
        let progress = of(tables.clone()).await.expect("progress");
        assert_eq!((progress.is_loaded, progress.is_validated()), (is_loaded, is_validated), "{tables:?}");
    }
    for (bad, error) in [
        (table("Table completed", "Mismatched records").validation_failed_records(2).build(), "DataDiffers"),
        (table("Table completed", "Pending records").validation_failed_records(1).build(), "DataDiffers"),
        (table("Table error", "Not enabled").build(), "ReplicationFailed"),
        (table("Table completed", "Suspended records").validation_suspended_records(1).build(), "ReplicationFailed"),
    ] {
        let found = of(vec![done(), bad]).await.expect_err("bad");
        assert_eq!(found.name(), error, "{found}");
        assert!(found.to_string().contains("public.t"), "{found}");
    }
}
