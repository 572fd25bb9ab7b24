//! What a switchover came to, member by member, whatever RDS says of the whole: a deployment was seen completed with a
//! replica whose switchover had failed.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::BlueGreenDeployment;
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::deployment::{self, Member, Target};
use workflow::describe::find_by_resource_id;
use workflow::encryption::EncryptionClass;
use workflow::error::invalid;
use workflow::finish::OldInstance;
use workflow::ids::{DeploymentName, InstanceId};
use workflow::owner::Owner;
use workflow::status;
use workflow::turn::HIDDEN_SECONDS_MAX;
use workflow::wait::{self, Wait};

use crate::encryption_problems;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub deployment_name: DeploymentName,
    pub owner: Owner,
    /// The source first.
    pub members: Vec<Member>,
    /// What was proven, in the same order.
    pub targets: Vec<Target>,
    pub previous: Option<Response>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Response {
    pub ready: bool,
    /// As all are called now.
    pub targets: Vec<Target>,
    /// What the switchover left of blue.
    pub old_instances: Vec<OldInstance>,
    /// What is waited for.
    pub pending: Vec<String>,
    pub wait: Wait,
}

enum Found {
    Switched(Target),
    Pending(String),
}

pub(crate) async fn look(client: &Client, request: Request) -> Result<Response, Error> {
    let previous = request.previous.clone().filter(|previous| !previous.ready).unwrap_or_default();
    let found = deployment::find_own(client, &request.deployment_name, &request.owner).await?;
    let mut response = Response { wait: previous.wait.clone(), ..Response::default() };
    for (member, target) in request.members.iter().zip(&request.targets) {
        refuse_failed(&request.deployment_name, found.as_ref(), member)?;
        match look_at(client, member, target).await? {
            Found::Switched(target) => {
                response.old_instances.push(OldInstance::new(&target.source_id));
                response.targets.push(target);
            }
            Found::Pending(what) => response.pending.push(what),
        }
    }
    if response.pending.is_empty() {
        return Ok(Response { ready: true, ..response });
    }
    response.wait = wait::next(Some(&previous.wait), None, HIDDEN_SECONDS_MAX).map_err(|_| {
        Error::NotProven(format!(
            "after the switchover of the {}: {}",
            deployment::named(&request.deployment_name),
            response.pending.join("; ")
        ))
    })?;
    Ok(response)
}

/// A replica that was left behind goes on under its name, unencrypted and cut off from all that is written.
fn refuse_failed(name: &DeploymentName, found: Option<&BlueGreenDeployment>, member: &Member) -> Result<(), Error> {
    let detail = found.and_then(|found| member.details(found));
    let Some(status) = detail.and_then(|detail| detail.status()) else { return Ok(()) };
    if status != deployment::SWITCHOVER_FAILED && !status.starts_with("MISSING_") {
        return Ok(());
    }
    Err(Error::SwitchoverFailed(format!(
        "the {} was switched over without its member `{}`, which is {status}: that instance stays unencrypted, and \
         gets no further writes. Point its clients elsewhere, delete it, and create a replica of the encrypted instance",
        deployment::named(name),
        member.wanted.instance_id
    )))
}

async fn look_at(client: &Client, member: &Member, target: &Target) -> Result<Found, Error> {
    let name = &member.wanted.instance_id;
    let Some(green) = find_by_resource_id(client, &target.resource_id).await? else {
        return Ok(Found::Pending(format!("the proven instance {} cannot be seen", target.resource_id)));
    };
    let blue = find_by_resource_id(client, &member.wanted.source_resource_id).await?;
    let id = green.db_instance_identifier().unwrap_or_default();
    if id != name {
        return Ok(Found::Pending(format!("`{name}` does not lead to the proven instance, which is called `{id}`")));
    }
    let problems = encryption_problems(&green, &member.kms_key_arn);
    if !problems.is_empty() {
        return Err(Error::NotProven(format!("DB instance `{id}` is not proven: {}", problems.join("; "))));
    }
    let status = green.db_instance_status().unwrap_or_default();
    if !status::serves_clients(status) {
        return Ok(Found::Pending(format!("`{id}` is `{status}`")));
    }
    let Some(blue) = blue else {
        return Ok(Found::Pending(format!("the old instance {} cannot be seen", member.wanted.source_resource_id)));
    };
    if EncryptionClass::of(&blue) != EncryptionClass::None {
        return Err(Error::NotProven("the old instance is encrypted: it is not the source of the plan".to_owned()));
    }
    let source_id = InstanceId::parse(blue.db_instance_identifier().unwrap_or_default());
    Ok(Found::Switched(Target {
        source_id: source_id.map_err(|problem| invalid("source_id", problem))?,
        instance_id: InstanceId::parse(id).map_err(|problem| invalid("instance_id", problem))?,
        resource_id: target.resource_id.clone(),
    }))
}
