//! A blue/green deployment on its way: created, its counterparts there and at rest, their storage loaded.
//!
//! While it waits, the source keeps its log for green. So each look asks for the source's free storage, too.

use aws_sdk_rds::types::{BlueGreenDeployment, DbInstance};
use serde::Deserialize;
use workflow::Error;
use workflow::deployment::{self, Deployed, Member, Target};
use workflow::describe::{find_by_resource_id, has_pending_modifications, is_called};
use workflow::ids::{DeploymentName, InstanceId};
use workflow::metrics::refuse_low_storage;
use workflow::owner::Owner;
use workflow::status::{self, Class};
use workflow::turn::{CONFIRM_SECONDS, STEADY_LOOKS};
use workflow::wait;

use crate::{Context, UNSEEN_SECONDS_MAX};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub deployment_name: DeploymentName,
    /// The source first.
    pub members: Vec<Member>,
    pub owner: Owner,
    pub previous: Deployed,
    /// It is not ready before the lazy load of its storage is over.
    pub wait_for_initialization: bool,
    /// RFC 3339: when the state was entered.
    pub at: String,
    pub max_wait_seconds: u64,
}

pub(crate) async fn look(context: &Context, request: Request) -> Result<Deployed, Error> {
    let Request { deployment_name, members, owner, previous, at, .. } = &request;
    watch_source(context, members, at).await?;
    let name = deployment::named(deployment_name);
    let Some(found) = deployment::find_own(&context.rds, deployment_name, owner).await? else {
        // What was just created can be missing for a while, and what was seen can be missing once [A39].
        if previous.wait.waited_seconds >= UNSEEN_SECONDS_MAX && previous.status.is_none() {
            return Err(Error::DeploymentNotFound(format!(
                "the {name} was created by this execution and does not exist: somebody deleted it"
            )));
        }
        return request.wait_on(Deployed { status: None, ..previous.clone() }, &name);
    };
    let status = found.status().unwrap_or_default();
    refuse_ended(&name, status, &found)?;
    if previous.was_whole {
        refuse_missing(&name, &found)?;
    }
    let mut seen = Deployed {
        status: Some(status.to_owned()),
        ready: false,
        tasks: found.tasks().iter().map(|task| told(task.name(), task.status())).collect(),
        percent_progress: None,
        ..previous.clone()
    };
    let counterparts = counterparts(context, members, &found).await?;
    let is_whole = status == deployment::AVAILABLE && counterparts.iter().all(Option::is_some);
    if is_whole {
        let counterparts: Vec<DbInstance> = counterparts.into_iter().flatten().collect();
        seen.targets = same_as_before(&name, &seen.targets, targets(members, &counterparts)?)?;
        seen.was_whole = true;
        let at_rest = request.at_rest(&mut seen, &counterparts)?;
        seen.steady_looks = if at_rest { seen.steady_looks + 1 } else { 0 };
    } else {
        seen.steady_looks = 0;
    }
    if seen.steady_looks >= STEADY_LOOKS {
        return Ok(Deployed { ready: true, ..seen });
    }
    request.wait_on(seen, &name)
}

/// The source under its own name, with room for the log that it keeps.
async fn watch_source(context: &Context, members: &[Member], at: &str) -> Result<(), Error> {
    let Some(Member { wanted, .. }) = members.first() else { return Ok(()) };
    // One that is left out of an answer is there at the next look; one that is gone, the proof names.
    let Some(source) = find_by_resource_id(&context.rds, &wanted.source_resource_id).await? else { return Ok(()) };
    is_called(&source, &wanted.instance_id)?;
    refuse_low_storage(&context.cloudwatch, &source, at).await
}

/// What stays so until somebody acts.
fn refuse_ended(name: &str, status: &str, found: &BlueGreenDeployment) -> Result<(), Error> {
    let details = deployment::details_of(found);
    let ended = match status {
        deployment::INVALID_CONFIGURATION => details,
        deployment::DELETING => "somebody is deleting it".to_owned(),
        deployment::SWITCHOVER_IN_PROGRESS | deployment::SWITCHOVER_COMPLETED | deployment::SWITCHOVER_FAILED => {
            format!("somebody asked for its switchover before its proof ({details})")
        }
        _ => return Ok(()),
    };
    Err(Error::DeploymentFailed(format!("the {name} is {status}: {ended}")))
}

/// A member that is gone is not replaced, and its counterpart is not switched over (User Guide, "Deleting") [A51].
fn refuse_missing(name: &str, found: &BlueGreenDeployment) -> Result<(), Error> {
    let is_missing = |status: Option<&str>| status.is_some_and(|status| status.starts_with("MISSING_"));
    let Some(missing) = found.switchover_details().iter().find(|detail| is_missing(detail.status())) else {
        return Ok(());
    };
    Err(Error::DeploymentFailed(format!(
        "a member of the {name} is {} ({} or {}): somebody deleted it",
        missing.status().unwrap_or_default(),
        missing.source_member().unwrap_or("no source"),
        missing.target_member().unwrap_or("no target")
    )))
}

async fn counterparts(
    context: &Context,
    members: &[Member],
    found: &BlueGreenDeployment,
) -> Result<Vec<Option<DbInstance>>, Error> {
    let mut counterparts = vec![];
    for member in members {
        counterparts.push(member.counterpart(&context.rds, found).await?);
    }
    Ok(counterparts)
}

fn targets(members: &[Member], counterparts: &[DbInstance]) -> Result<Vec<Target>, Error> {
    let named = |text: &str| InstanceId::parse(text).map_err(|problem| workflow::error::invalid("members", problem));
    let pairs = members.iter().zip(counterparts).map(|(member, counterpart)| {
        Ok(Target {
            source_id: named(&member.wanted.instance_id)?,
            instance_id: named(counterpart.db_instance_identifier().unwrap_or_default())?,
            resource_id: counterpart.dbi_resource_id().unwrap_or_default().to_owned(),
        })
    });
    pairs.collect()
}

/// What was seen before is what counts: others would not be those that were set up and proven.
fn same_as_before(name: &str, before: &[Target], now: Vec<Target>) -> Result<Vec<Target>, Error> {
    let other = before.iter().zip(&now).find(|(before, now)| before.resource_id != now.resource_id);
    match other {
        None => Ok(now),
        Some((before, now)) => Err(Error::InstanceNotFound(format!(
            "`{}` of the {name} is another instance now ({} instead of {}): somebody deleted or renamed ours",
            now.instance_id, now.resource_id, before.resource_id
        ))),
    }
}

fn told(task: Option<&str>, status: Option<&str>) -> String {
    format!("{}: {}", task.unwrap_or_default(), status.unwrap_or_default())
}

impl Request {
    /// Whether every counterpart can be worked with; a deployment is AVAILABLE before (seen in
    /// hashicorp/terraform-provider-aws#36241).
    fn at_rest(&self, seen: &mut Deployed, counterparts: &[DbInstance]) -> Result<bool, Error> {
        let mut at_rest = true;
        for instance in counterparts {
            let id = instance.db_instance_identifier().unwrap_or_default();
            let status = instance.db_instance_status().unwrap_or_default();
            if let Class::Failed { remedy } = status::instance(status) {
                return Err(Error::InstanceFailed(format!("DB instance `{id}` is `{status}`: {remedy}")));
            }
            // `Initializing` while the storage still loads from a snapshot [A7], but for some classes [A8].
            let loads =
                instance.storage_operation_status() == Some("Initializing") || status == "storage-initialization";
            if self.wait_for_initialization && loads {
                at_rest = false;
                let least = [seen.percent_progress, instance.storage_operation_percent_progress()];
                seen.percent_progress = least.into_iter().flatten().min();
            }
            at_rest &= status::can_be_modified(status) && !has_pending_modifications(instance);
        }
        Ok(at_rest)
    }

    fn wait_on(&self, seen: Deployed, name: &str) -> Result<Deployed, Error> {
        let wait = if seen.steady_looks > 0 {
            wait::sleep(Some(&seen.wait), CONFIRM_SECONDS, self.max_wait_seconds)
        } else {
            wait::next(Some(&seen.wait), seen.percent_progress, self.max_wait_seconds)
        };
        let wait = wait.map_err(|_| {
            Error::WaitTimedOut(format!(
                "the {name} is {} ({}) after {} s, the longest that max_wait_minutes allows one wait",
                seen.status.as_deref().unwrap_or("not to be seen"),
                seen.tasks.join(", "),
                self.max_wait_seconds
            ))
        })?;
        Ok(Deployed { wait, ..seen })
    }
}
