//! Whether green is close enough behind for a switchover, and everybody at rest.

use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::deployment::{self, details_of};
use workflow::describe::{find_by_resource_id, has_pending_modifications, is_called};
use workflow::metrics::{Follower, refuse_low_storage, replica_lag_seconds};
use workflow::wait::{self, Wait};

use crate::{Context, Proven};

/// RDS waits for green within the switchover's time; so that clients wait for seconds alone, it starts close.
const LAG_SECONDS_MAX: f64 = 5.0;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub deployment: Proven,
    /// RFC 3339: when the state was entered.
    pub at: String,
    pub previous: Option<Lag>,
    pub max_wait_seconds: u64,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lag {
    pub ready: bool,
    /// CloudWatch's ReplicaLag of green, at its least within the last minutes.
    pub lag_seconds: Option<f64>,
    /// What is waited for.
    pub pending: Vec<String>,
    pub wait: Wait,
}

pub(crate) async fn look(context: &Context, request: Request) -> Result<Lag, Error> {
    let Request { deployment: proven, at, previous, max_wait_seconds } = request;
    let previous = previous.filter(|previous| !previous.ready).unwrap_or_default();
    let found = proven.find(context).await?;
    let name = deployment::named(&proven.name);
    match found.status() {
        Some(deployment::AVAILABLE) => {}
        status => {
            let status = status.unwrap_or("without a status");
            return Err(Error::DeploymentFailed(format!("the {name} is {status}: {}", details_of(&found))));
        }
    }
    let mut pending = vec![];
    for (member, target) in proven.members.iter().zip(&proven.targets) {
        for resource_id in [&member.wanted.source_resource_id, &target.resource_id] {
            pending.extend(unrest(context, resource_id).await?);
        }
    }
    if let Some(source) = proven.members.first()
        && let Some(instance) = find_by_resource_id(&context.rds, &source.wanted.source_resource_id).await?
    {
        is_called(&instance, &source.wanted.instance_id)?;
        refuse_low_storage(&context.cloudwatch, &instance, Follower::Green, &at).await?;
    }
    let mut lag_seconds = None;
    if let Some(green) = proven.targets.first() {
        lag_seconds = replica_lag_seconds(&context.cloudwatch, green.instance_id.as_str(), &at).await?;
        match lag_seconds {
            None => pending.push(format!("CloudWatch has no ReplicaLag of `{}` yet", green.instance_id)),
            Some(lag) if lag > LAG_SECONDS_MAX => {
                pending.push(format!("`{}` is {lag:.0} s behind", green.instance_id));
            }
            Some(_) => {}
        }
    }
    if pending.is_empty() {
        return Ok(Lag { ready: true, lag_seconds, pending, ..previous });
    }
    let wait = wait::next(Some(&previous.wait), None, max_wait_seconds).map_err(|_| {
        Error::WaitTimedOut(format!(
            "the {name} cannot be switched over after {max_wait_seconds} s, the longest that max_wait_minutes allows: {}",
            pending.join("; ")
        ))
    })?;
    Ok(Lag { ready: false, lag_seconds, pending, wait })
}

/// Why RDS would refuse a switchover because of this instance: it wants each `available` ("DB instance is not in
/// available state", hashicorp/terraform-provider-aws#47493).
async fn unrest(context: &Context, resource_id: &str) -> Result<Option<String>, Error> {
    let Some(instance) = find_by_resource_id(&context.rds, resource_id).await? else {
        return Ok(Some(format!("DB instance {resource_id} cannot be seen")));
    };
    let id = instance.db_instance_identifier().unwrap_or_default();
    Ok(match instance.db_instance_status() {
        Some("available") if has_pending_modifications(&instance) => {
            Some(format!("modifications of `{id}` are pending"))
        }
        Some("available") => None,
        status => Some(format!("`{id}` is `{}`", status.unwrap_or_default())),
    })
}
