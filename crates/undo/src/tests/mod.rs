//! The undo against an RDS that accepts calls without carrying them out: what becomes of them is each test's to say.

mod blue_green;
mod failure;
mod forward;
mod made;
mod online;
mod source;

use std::sync::{Arc, Mutex, MutexGuard};

use aws_sdk_rds::error::ErrorMetadata;
use aws_sdk_rds::operation::add_tags_to_resource::{AddTagsToResourceError, AddTagsToResourceOutput};
use aws_sdk_rds::operation::delete_blue_green_deployment::{
    DeleteBlueGreenDeploymentError, DeleteBlueGreenDeploymentOutput,
};
use aws_sdk_rds::operation::delete_db_instance::{DeleteDBInstanceError, DeleteDbInstanceOutput};
use aws_sdk_rds::operation::delete_db_snapshot::{DeleteDBSnapshotError, DeleteDbSnapshotOutput};
use aws_sdk_rds::operation::describe_blue_green_deployments::DescribeBlueGreenDeploymentsOutput;
use aws_sdk_rds::operation::describe_db_instances::{DescribeDBInstancesError, DescribeDbInstancesOutput};
use aws_sdk_rds::operation::describe_db_snapshots::{DescribeDBSnapshotsError, DescribeDbSnapshotsOutput};
use aws_sdk_rds::operation::modify_db_instance::{
    ModifyDBInstanceError, ModifyDbInstanceInput, ModifyDbInstanceOutput,
};
use aws_sdk_rds::operation::remove_tags_from_resource::{RemoveTagsFromResourceError, RemoveTagsFromResourceOutput};
use aws_sdk_rds::types::error::{DbInstanceAlreadyExistsFault, DbInstanceNotFoundFault};
use aws_sdk_rds::types::{BlueGreenDeployment, DbInstance, DbSnapshot, Endpoint, VpcSecurityGroupMembership};
use aws_smithy_mocks::{MockResponse, RuleMode, mock, mock_client};
use serde_json::json;
use workflow::owner::Owner;

use super::*;

const TARGET: &str = "DB instance `orders-encrypted`";
const PLAINTEXT: &str = "DB snapshot `orders-no-encrypted`";
const COPY: &str = "DB snapshot `orders-encrypted`";
const TWO_DAYS_SECONDS: u64 = 172_800;
const OURS: &str = "arn:aws:states:eu-west-1:123456789012:execution:encrypt-instance:ours";

#[derive(Clone, Default)]
struct Rds(Arc<Mutex<World>>);

#[derive(Default)]
struct World {
    instances: Vec<DbInstance>,
    snapshots: Vec<DbSnapshot>,
    deployments: Vec<BlueGreenDeployment>,
    /// The calls that change something.
    calls: Vec<String>,
    /// Calls that begin like this are answered by an error code.
    refused: Vec<(&'static str, &'static str)>,
}

fn owner(execution: &str) -> Owner {
    Owner { execution: execution.into(), source_resource_id: "db-SOURCE".into() }
}

fn instance(resource_id: &str, id: &str, status: &str) -> DbInstance {
    DbInstance::builder()
        .dbi_resource_id(resource_id)
        .db_instance_identifier(id)
        .db_instance_arn(format!("arn:{id}"))
        .db_instance_status(status)
        .endpoint(Endpoint::builder().address(format!("{id}.example")).build())
        .build()
}

fn source(status: &str) -> DbInstance {
    behind("sg-own", instance("db-SOURCE", "orders", status))
}

fn renamed_source(status: &str) -> DbInstance {
    instance("db-SOURCE", "orders-unencrypted", status)
}

fn behind(group: &str, mut instance: DbInstance) -> DbInstance {
    let membership = VpcSecurityGroupMembership::builder().vpc_security_group_id(group).status("active").build();
    instance.vpc_security_groups = Some(vec![membership]);
    instance
}

fn target(status: &str) -> DbInstance {
    tagged(OURS, instance("db-TARGET", "orders-encrypted", status))
}

fn renamed_target(status: &str) -> DbInstance {
    tagged(OURS, instance("db-TARGET", "orders", status))
}

fn tagged(execution: &str, mut instance: DbInstance) -> DbInstance {
    instance.tag_list = Some(owner(execution).tags_with(&[]));
    instance
}

fn snapshot(id: &str, execution: &str) -> DbSnapshot {
    DbSnapshot::builder()
        .db_snapshot_identifier(id)
        .status("available")
        .set_tag_list(Some(owner(execution).tags_with(&[])))
        .build()
}

impl Rds {
    fn with(instances: &[DbInstance]) -> Self {
        Self(Arc::new(Mutex::new(World { instances: instances.to_vec(), ..World::default() })))
    }

    /// The source, and everything that an execution of this name made.
    fn of(execution: &str) -> Self {
        let target = tagged(execution, instance("db-TARGET", "orders-encrypted", "available"));
        let rds = Self::with(&[source("available"), target]);
        rds.lock().snapshots =
            vec![snapshot("orders-no-encrypted", execution), snapshot("orders-encrypted", execution)];
        rds
    }

    fn refusing(self, call: &'static str, code: &'static str) -> Self {
        self.lock().refused.push((call, code));
        self
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no test panicked meanwhile")
    }

    fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// From now on the instance is like this.
    fn put(&self, instance: DbInstance) {
        self.hide(instance.dbi_resource_id().expect("a resource id"));
        self.lock().instances.push(instance);
    }

    fn hide(&self, resource_id: &str) {
        self.lock().instances.retain(|instance| instance.dbi_resource_id() != Some(resource_id));
    }

    /// What is being deleted is gone.
    fn time_passes(&self) {
        let mut world = self.lock();
        world.instances.retain(|instance| instance.db_instance_status() != Some("deleting"));
        world.snapshots.retain(|snapshot| snapshot.status() != Some("deleting"));
        world.deployments.retain(|deployment| deployment.status() != Some("DELETING"));
    }

    fn client(&self) -> Client {
        let rds = self.clone();
        let describe_instances = mock!(Client::describe_db_instances).then_compute_response(move |input| {
            let world = rds.lock();
            let found = world.instances.iter().filter(|instance| match input.filters() {
                [filter] => instance.dbi_resource_id().is_some_and(|id| filter.values().iter().any(|one| one == id)),
                _ => instance.db_instance_identifier() == input.db_instance_identifier(),
            });
            let found: Vec<DbInstance> = found.cloned().collect();
            if let Some((_, refusal)) = world.refused.iter().find(|(call, _)| *call == "describe") {
                return MockResponse::Error(DescribeDBInstancesError::generic(code(refusal)));
            }
            if found.is_empty() && input.filters().is_empty() {
                return MockResponse::Error(DescribeDBInstancesError::generic(code("DBInstanceNotFound")));
            }
            MockResponse::Output(DescribeDbInstancesOutput::builder().set_db_instances(Some(found)).build())
        });
        let rds = self.clone();
        let describe_snapshots = mock!(Client::describe_db_snapshots).then_compute_response(move |input| {
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
        let modify = mock!(Client::modify_db_instance).then_compute_response(move |input| {
            let mut world = rds.lock();
            match world.note(&modification(input)) {
                Some(refusal) => MockResponse::Error(modify_refused(&refusal)),
                None => {
                    if input.deletion_protection() == Some(false) {
                        world.instances.iter_mut().for_each(|instance| instance.deletion_protection = Some(false));
                    }
                    MockResponse::Output(ModifyDbInstanceOutput::builder().build())
                }
            }
        });
        let rds = self.clone();
        let untag = mock!(Client::remove_tags_from_resource).then_compute_response(move |input| {
            assert_eq!(input.tag_keys(), ["rds-encrypt:execution"]);
            match rds.lock().note(&format!("release {}", input.resource_name().unwrap_or_default())) {
                Some(refusal) => MockResponse::Error(RemoveTagsFromResourceError::generic(code(&refusal))),
                None => MockResponse::Output(RemoveTagsFromResourceOutput::builder().build()),
            }
        });
        let rds = self.clone();
        let delete_instance = mock!(Client::delete_db_instance).then_compute_response(move |input| {
            // A final snapshot and the automated backups would stay behind.
            assert_eq!((input.skip_final_snapshot(), input.delete_automated_backups()), (Some(true), Some(true)));
            let mut world = rds.lock();
            let id = input.db_instance_identifier();
            if let Some(refusal) = world.note(&format!("delete instance {}", id.unwrap_or_default())) {
                return MockResponse::Error(DeleteDBInstanceError::generic(code(&refusal)));
            }
            for instance in world.instances.iter_mut().filter(|found| found.db_instance_identifier() == id) {
                instance.db_instance_status = Some("deleting".into());
            }
            MockResponse::Output(DeleteDbInstanceOutput::builder().build())
        });
        let rds = self.clone();
        let delete_snapshot = mock!(Client::delete_db_snapshot).then_compute_response(move |input| {
            let mut world = rds.lock();
            let id = input.db_snapshot_identifier();
            if let Some(refusal) = world.note(&format!("delete snapshot {}", id.unwrap_or_default())) {
                return MockResponse::Error(DeleteDBSnapshotError::generic(code(&refusal)));
            }
            for snapshot in world.snapshots.iter_mut().filter(|found| found.db_snapshot_identifier() == id) {
                snapshot.status = Some("deleting".into());
            }
            MockResponse::Output(DeleteDbSnapshotOutput::builder().build())
        });
        let rds = self.clone();
        let describe_deployments = mock!(Client::describe_blue_green_deployments).then_compute_output(move |_| {
            let deployments = rds.lock().deployments.clone();
            DescribeBlueGreenDeploymentsOutput::builder().set_blue_green_deployments(Some(deployments)).build()
        });
        let rds = self.clone();
        let tag = mock!(Client::add_tags_to_resource).then_compute_response(move |input| {
            let mut world = rds.lock();
            let arn = input.resource_name();
            if let Some(refusal) = world.note(&format!("tag {}", arn.unwrap_or_default())) {
                return MockResponse::Error(AddTagsToResourceError::generic(code(&refusal)));
            }
            for instance in world.instances.iter_mut().filter(|found| found.db_instance_arn() == arn) {
                instance.tag_list = Some(input.tags().to_vec());
            }
            MockResponse::Output(AddTagsToResourceOutput::builder().build())
        });
        let rds = self.clone();
        let delete_deployment = mock!(Client::delete_blue_green_deployment).then_compute_response(move |input| {
            let mut world = rds.lock();
            let with_target = input.delete_target();
            let id = input.blue_green_deployment_identifier().unwrap_or_default();
            if let Some(refusal) = world.note(&format!("delete {id} {with_target:?}")) {
                return MockResponse::Error(DeleteBlueGreenDeploymentError::generic(code(&refusal)));
            }
            world.deployments.iter_mut().for_each(|deployment| deployment.status = Some("DELETING".into()));
            if with_target == Some(true) {
                let is_green = |found: &&mut DbInstance| found.dbi_resource_id() == Some("db-GREEN");
                for green in world.instances.iter_mut().filter(is_green) {
                    green.db_instance_status = Some("deleting".into());
                }
            }
            MockResponse::Output(DeleteBlueGreenDeploymentOutput::builder().build())
        });
        let rules = [
            &describe_instances,
            &describe_snapshots,
            &describe_deployments,
            &modify,
            &tag,
            &untag,
            &delete_instance,
            &delete_snapshot,
            &delete_deployment,
        ];
        mock_client!(aws_sdk_rds, RuleMode::MatchAny, rules)
    }

    async fn look(&self, state: Value) -> Result<Response, Error> {
        // Nothing here replicates by AWS DMS: a call to it would meet no rule.
        let dms = mock_client!(aws_sdk_databasemigration, RuleMode::MatchAny, &[]);
        handle(&self.client(), &dms, Request { state, execution: OURS.into() }).await
    }

    /// Looks until the loop is over; what is being deleted is gone by the next look.
    async fn run(&self, state: &Value) -> Result<Response, Error> {
        let mut response = self.look(state.clone()).await?;
        while !response.ready {
            self.time_passes();
            response = self.look(with(state, "undo", json!(response))).await?;
        }
        Ok(response)
    }
}

impl World {
    /// Notes a call; the error code that it gets, if it is one of those that are refused.
    fn note(&mut self, call: &str) -> Option<String> {
        self.calls.push(call.to_owned());
        self.refused.iter().find(|(refused, _)| call.starts_with(refused)).map(|(_, code)| (*code).to_owned())
    }
}

fn modification(input: &ModifyDbInstanceInput) -> String {
    let id = input.db_instance_identifier().unwrap_or_default();
    match (input.new_db_instance_identifier(), input.deletion_protection()) {
        (Some(new), _) => {
            assert_eq!(input.apply_immediately(), Some(true), "else it waits for the maintenance window");
            format!("rename {id} to {new}")
        }
        (None, Some(on)) => format!("protect {id} {on}"),
        (None, None) => {
            assert_eq!(input.apply_immediately(), None, "it would flush what others have queued");
            format!("open {id} to {}", input.vpc_security_group_ids().join(" "))
        }
    }
}

fn modify_refused(refusal: &str) -> ModifyDBInstanceError {
    let meta = code(refusal);
    match refusal {
        "DBInstanceAlreadyExists" => ModifyDBInstanceError::DbInstanceAlreadyExistsFault(
            DbInstanceAlreadyExistsFault::builder().meta(meta).build(),
        ),
        "DBInstanceNotFound" => {
            ModifyDBInstanceError::DbInstanceNotFoundFault(DbInstanceNotFoundFault::builder().meta(meta).build())
        }
        _ => ModifyDBInstanceError::generic(meta),
    }
}

fn code(code: &str) -> ErrorMetadata {
    ErrorMetadata::builder().code(code).message("no").build()
}

/// The state of an execution that failed while it waited for its snapshot.
fn preparing() -> Value {
    json!({
        "phase": "preparing",
        "instance_id": "orders",
        "no_encrypted_snapshot_id": "orders-no-encrypted",
        "encrypted_snapshot_id": "orders-encrypted",
        "encrypted_instance_id": "orders-encrypted",
        "unencrypted_instance_id": "orders-unencrypted",
        "owner": {"execution": OURS, "source_resource_id": "db-SOURCE"},
        "options": {
            "on_failure": "undo",
            "snapshots": "delete_unencrypted",
            "cutover": "none",
            "isolation_security_group_id": null,
            "approval": false,
        },
        "final_settings": {"DeletionProtection": true, "BackupRetentionPeriod": 7},
        "tags": [],
        "target": {"resource_id": null, "ready": false},
        "fenced": null,
        "error": {"Error": "SnapshotFailed", "Cause": "it is `failed`"},
        "undo": null,
    })
}

/// In the middle of a cutover, whose fence has noted the groups of before.
fn cutting_over() -> Value {
    let mut state = preparing();
    state["phase"] = json!("cutover");
    state["target"]["resource_id"] = json!("db-TARGET");
    state["options"]["cutover"] = json!("rename");
    state["options"]["isolation_security_group_id"] = json!("sg-fence");
    state["fenced"] = json!({"requested": true, "security_groups_before": ["sg-own"]});
    state
}

fn committed() -> Value {
    with(&cutting_over(), "phase", json!("committed"))
}

fn with(state: &Value, field: &str, value: Value) -> Value {
    let mut state = state.clone();
    state[field] = value;
    state
}

/// The same, after the loop has waited for so long.
fn after(state: &Value, waited_seconds: u64) -> Value {
    let wait = Wait { waited_seconds, looks: 1, ..Wait::default() };
    let undo = Response { wait, late_calls_are_over: true, ..Response::default() };
    with(state, "undo", json!(undo))
}

fn cause(response: &Response) -> &str {
    &response.failure.as_ref().expect("a failure").cause
}
