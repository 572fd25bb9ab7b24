//! A blue/green deployment of ours, and its members: the source (blue) with its read replicas, and their encrypted
//! counterparts (green).
//!
//! It is found by the name that the plan derived, and told by its tags. An instance is told by its DbiResourceId:
//! at the switchover the names move, and blue's tags replace green's, so that green bears none of ours.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{BlueGreenDeployment, Filter};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::finish::Finished;
use crate::ids::{DeploymentName, InstanceId};
use crate::owner::{Owner, execution_of};
use crate::steady::SteadyLooks;
use crate::wait::{self, Wait};

/// The statuses of a deployment (BlueGreenDeployment.Status, API model).
pub const PROVISIONING: &str = "PROVISIONING";
pub const AVAILABLE: &str = "AVAILABLE";
pub const SWITCHOVER_IN_PROGRESS: &str = "SWITCHOVER_IN_PROGRESS";
pub const SWITCHOVER_COMPLETED: &str = "SWITCHOVER_COMPLETED";
pub const SWITCHOVER_FAILED: &str = "SWITCHOVER_FAILED";
pub const INVALID_CONFIGURATION: &str = "INVALID_CONFIGURATION";
pub const DELETING: &str = "DELETING";

/// A member's two instances, by the names that they have now.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Of blue.
    pub source_id: InstanceId,
    /// Of green.
    pub instance_id: InstanceId,
    /// Green's DbiResourceId: it stays.
    pub resource_id: String,
}

/// What the last look at a deployment that is waited for saw, as the loop carries it in the state.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deployed {
    /// AWS's word for it; `null` while it cannot be seen yet.
    pub status: Option<String>,
    /// The loop is over.
    pub ready: bool,
    /// It has been there, whole, at one time: what it lacks since then somebody took away.
    pub was_whole: bool,
    /// The steps of its creation, as `CONFIGURE_BACKUPS: IN_PROGRESS`.
    pub tasks: Vec<String>,
    /// One for each member, in their order, as soon as all can be seen.
    pub targets: Vec<Target>,
    /// Of the storage that still loads.
    pub percent_progress: Option<i32>,
    pub steady_looks: SteadyLooks,
    pub wait: Wait,
}

/// The deployment of that name, whoever made it.
pub async fn find(client: &Client, name: &DeploymentName) -> Result<Option<BlueGreenDeployment>, Error> {
    let filter = Filter::builder().name("blue-green-deployment-name").values(name.as_str()).build();
    let mut found = client.describe_blue_green_deployments().filters(filter).into_paginator().items().send();
    while let Some(deployment) = found.next().await {
        match deployment.map_err(|error| Error::from_call(format!("describe {}", named(name)), error)) {
            // A filter that RDS ignored would hand over a stranger's.
            Ok(deployment) if deployment.blue_green_deployment_name() == Some(name.as_str()) => {
                return Ok(Some(deployment));
            }
            Ok(_) => {}
            Err(Error::DeploymentNotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The deployment of that name, if this execution made it [A58].
pub async fn find_own(
    client: &Client,
    name: &DeploymentName,
    owner: &Owner,
) -> Result<Option<BlueGreenDeployment>, Error> {
    let deployment = find(client, name).await?;
    Ok(deployment.filter(|deployment| owner.owns(deployment.tag_list())))
}

pub fn named(name: &DeploymentName) -> String {
    format!("blue/green deployment `{name}`")
}

/// Why a deployment has come to nothing, as RDS tells it.
pub fn details_of(deployment: &BlueGreenDeployment) -> String {
    let failed = deployment.tasks().iter().filter(|task| task.status() == Some("FAILED"));
    let failed = failed.filter_map(|task| task.name()).map(|task| format!("task {task} failed"));
    let told: Vec<String> = deployment.status_details().map(str::to_owned).into_iter().chain(failed).collect();
    if told.is_empty() { "RDS gives no details; see its events".to_owned() } else { told.join("; ") }
}

/// The orderly end: the deployment is deleted, which deletes no instance.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finishing {
    pub owner: Owner,
    pub deployment_name: DeploymentName,
    /// As they are called after the switchover.
    pub targets: Vec<Target>,
}

impl Finishing {
    /// Asks for the deletion if it is due, and answers whether the deployment is gone.
    pub async fn look(
        &self,
        client: &Client,
        previous: Option<Finished>,
        max_wait_seconds: u64,
    ) -> Result<Finished, Error> {
        let previous = previous.unwrap_or_default();
        let name = named(&self.deployment_name);
        let instances = self.targets.iter().flat_map(|target| [&target.instance_id, &target.source_id]);
        let mut finished = Finished {
            target_instance_id: self.targets.first().map(|target| target.instance_id.to_string()),
            kept: instances.map(|id| format!("DB instance `{id}`")).collect(),
            deleted: previous.deleted,
            ..Finished::default()
        };
        let found = find_own(client, &self.deployment_name, &self.owner).await?;
        let Some(deployment) = found else {
            finished.deleted = vec![name];
            return Ok(Finished { ready: true, wait: previous.wait, ..finished });
        };
        if deployment.status() != Some(DELETING) {
            match delete(client, &deployment, None).await {
                Ok(()) | Err(Error::InvalidDeploymentState(_) | Error::DeploymentNotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        match wait::next(Some(&previous.wait), None, max_wait_seconds) {
            Ok(wait) => Ok(Finished { wait, ..finished }),
            Err(_) => {
                let status = deployment.status().unwrap_or_default();
                let remaining = vec![format!("{name} (it is still {status})")];
                Ok(Finished { ready: true, remaining, wait: previous.wait, ..finished })
            }
        }
    }
}

/// Asks for the deletion. `with_target` may be said before the switchover only.
pub async fn delete(client: &Client, deployment: &BlueGreenDeployment, with_target: Option<bool>) -> Result<(), Error> {
    let id = deployment.blue_green_deployment_identifier().unwrap_or_default();
    let call = client.delete_blue_green_deployment().blue_green_deployment_identifier(id);
    let outcome = call.set_delete_target(with_target).send().await.map(drop);
    outcome.map_err(|error| Error::from_call(format!("delete the blue/green deployment {id}"), error))
}

/// Says whose the deployment of that name is, and how its owner can make room for it.
pub fn conflict(name: &DeploymentName, deployment: &BlueGreenDeployment) -> Error {
    let id = deployment.blue_green_deployment_identifier().unwrap_or_default();
    let shown = named(name);
    let delete = format!("aws rds delete-blue-green-deployment --blue-green-deployment-identifier {id}");
    Error::NameConflict(match execution_of(deployment.tag_list()) {
        Some(execution) => format!(
            "{shown} was made by the execution {execution}. If that still runs, or is being undone, wait for it. If it \
             failed and was to keep what it made (on_failure), go on with it by adding \"resume\": \"{execution}\" to \
             the input. Otherwise start the state machine undo-instance with {{\"executionArn\":\"{execution}\"}}"
        ),
        None => format!(
            "{shown} ({id}) exists and was not made by rds-encrypt, so it is left alone: switch over or delete it \
             first ({delete})"
        ),
    })
}
