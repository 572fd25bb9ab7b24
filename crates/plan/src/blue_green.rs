//! Blue/green deployments: a switchover changes names and resource ids of both of its sides.

use aws_sdk_rds::error::ProvideErrorMetadata;
use aws_sdk_rds::types::{BlueGreenDeployment, DbInstance};
use workflow::Error;
use workflow::deployment::conflict;
use workflow::ids::DeploymentName;
use workflow::options::Cutover;
use workflow::owner::Owner;

use crate::Context;
use crate::look_ups::said_unless_passing;

/// A switchover would change the names under the execution's feet, whichever side the instance is on.
///
/// Where nobody may look, a run that only reads the source goes on, and says so. A cutover does not: the two
/// would swap the same names.
///
/// `own`: the deployment by which this very execution encrypts; one of that name that it owns is no obstacle.
pub(crate) async fn refuse(
    context: &Context,
    source: &DbInstance,
    cutover: Cutover,
    own: Option<(&DeploymentName, &Owner)>,
) -> Result<Option<String>, Error> {
    let arn = source.db_instance_arn().unwrap_or_default();
    let answer: Result<Vec<_>, _> =
        context.rds.describe_blue_green_deployments().into_paginator().items().send().collect().await;
    let deployments = match answer {
        Ok(deployments) => deployments,
        // A Region that does not know the action has no deployments.
        Err(error) if error.code() == Some("InvalidAction") => return Ok(None),
        Err(error) => {
            let error = Error::from_call(
                format!("look for blue/green deployments of {arn}, whose switchover would change its name"),
                error,
            );
            return match cutover {
                Cutover::Rename => Err(error),
                Cutover::None => said_unless_passing("blue/green deployments", error).map(Some),
            };
        }
    };
    for deployment in &deployments {
        let name = deployment.blue_green_deployment_name().unwrap_or_default();
        if let Some((own_name, owner)) = own
            && name == own_name.as_str()
        {
            match owner.owns(deployment.tag_list()) {
                true => continue,
                false => return Err(conflict(own_name, deployment)),
            }
        }
        let Some(side) = side(deployment, arn) else { continue };
        match deployment.status() {
            Some("DELETING") => {}
            Some("SWITCHOVER_COMPLETED") => {
                let id = source.db_instance_identifier().unwrap_or_default();
                if let ("source", Some(successor)) = (side, successor_of(id)) {
                    return Err(Error::BlueGreenDeployment(format!(
                        "`{id}` is what the blue/green deployment `{name}` left behind when it switched over: its data \
                         ends there, and clients use `{successor}`. Name that if you mean it; to encrypt `{id}` \
                         itself, delete the deployment first, which deletes neither instance (aws rds \
                         delete-blue-green-deployment --blue-green-deployment-identifier {})",
                        deployment.blue_green_deployment_identifier().unwrap_or_default()
                    )));
                }
            }
            status => {
                return Err(Error::BlueGreenDeployment(format!(
                    "{arn} is the {side} of the blue/green deployment `{name}` ({}); switch over or delete it first",
                    status.unwrap_or("no status")
                )));
            }
        }
    }
    Ok(None)
}

/// On which side of a deployment an instance is, itself or as one of the members.
fn side(deployment: &BlueGreenDeployment, arn: &str) -> Option<&'static str> {
    let members = deployment.switchover_details();
    let is_source = deployment.source() == Some(arn) || members.iter().any(|one| one.source_member() == Some(arn));
    let is_target = deployment.target() == Some(arn) || members.iter().any(|one| one.target_member() == Some(arn));
    if is_source {
        Some("source")
    } else if is_target {
        Some("target")
    } else {
        None
    }
}

/// Of `orders-old1`, as a switchover calls the old instance ("Switching a blue/green deployment", RDS User
/// Guide), `orders`. The deployment goes on to name it as its source [A43].
pub(crate) fn successor_of(id: &str) -> Option<&str> {
    let (successor, number) = id.rsplit_once("-old")?;
    (!number.is_empty() && number.chars().all(|character| character.is_ascii_digit())).then_some(successor)
}
