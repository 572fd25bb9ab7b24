//! Asks RDS for the switchover, and waits for its outcome.
//!
//! RDS itself takes a switchover back that fails its checks or takes longer than the time it is given: then nothing
//! has changed, and the execution fails and is undone.

use aws_sdk_rds::types::BlueGreenDeployment;
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::deployment::{self, details_of};
use workflow::describe::{find_by_resource_id, is_called};
use workflow::turn::{HIDDEN_SECONDS_MAX, LATE_CALL_SECONDS};
use workflow::wait::{self, Wait};

use crate::{Context, Proven};

/// A switchover that was asked for shows within this long, or was not begun.
const SHOWN_SECONDS_MAX: u64 = 300;
/// For how long RDS may refuse to begin.
const REFUSED_SECONDS_MAX: u64 = 1_800;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub deployment: Proven,
    pub switchover_timeout_seconds: u64,
    /// How often Step Functions has tried this look already: one that was given up can have asked.
    pub retry_count: u64,
    pub previous: Option<Switch>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switch {
    /// The name leads to green.
    pub ready: bool,
    pub status: Option<String>,
    /// RDS was asked, so that it is not asked again.
    pub requested: bool,
    pub requested_at_seconds: u64,
    /// The time waited from which on a call that nobody heard the answer of cannot land any more.
    pub unanswered_until_seconds: u64,
    pub wait: Wait,
}

pub(crate) async fn look(context: &Context, request: Request) -> Result<Switch, Error> {
    let Request { deployment: proven, switchover_timeout_seconds, retry_count, previous } = request;
    let name = deployment::named(&proven.name);
    let found = proven.find(context).await?;
    let status = found.status().unwrap_or_default();
    let mut switch = Switch { status: Some(status.to_owned()), ready: false, ..previous.unwrap_or_default() };
    let waited_seconds = switch.wait.waited_seconds;
    if retry_count > 0 && !switch.requested {
        switch.unanswered_until_seconds = waited_seconds + LATE_CALL_SECONDS;
    }
    match status {
        deployment::AVAILABLE if !switch.requested => match same_as_proven(context, &proven).await {
            // A look that fails is tried again, and is the failure if it goes on.
            Err(error) if error.is_passing() => return Err(error),
            // The names may be on their way.
            _ if waited_seconds < switch.unanswered_until_seconds => {}
            Err(error) => return Err(error),
            Ok(()) => match ask(context, &found, &name, switchover_timeout_seconds).await {
                Ok(()) => switch.note_request(),
                // Out of patience, what was answered last is the failure: under a name that is not tried again, since
                // the next attempt, which does not know whether this one was heard, would only wait.
                Err(error) if may_pass(&error) && waited_seconds >= REFUSED_SECONDS_MAX => {
                    return Err(Error::SwitchoverFailed(format!(
                        "RDS did not begin the switchover for {waited_seconds} s: {error}"
                    )));
                }
                // An instance is not available at this moment, or one is that has been asked before.
                Err(Error::InvalidDeploymentState(_)) => {}
                Err(error) if error.is_passing() => {
                    switch.unanswered_until_seconds = waited_seconds + LATE_CALL_SECONDS;
                }
                Err(error) => return Err(error),
            },
        },
        // It has not begun to show, or has been taken back already [A52].
        deployment::AVAILABLE if waited_seconds < switch.requested_at_seconds + SHOWN_SECONDS_MAX => {}
        deployment::SWITCHOVER_IN_PROGRESS => switch.note_request(),
        deployment::SWITCHOVER_COMPLETED => {
            if leads_to_green(context, &proven).await? {
                return Ok(Switch { ready: true, ..switch });
            }
        }
        deployment::AVAILABLE | deployment::SWITCHOVER_FAILED => {
            return Err(Error::SwitchoverFailed(format!(
                "RDS took the switchover of the {name} back, so that nothing has changed: {}. Start again when the \
                 source is quieter, or give it more time (switchover_timeout_seconds, now {switchover_timeout_seconds})",
                details_of(&found)
            )));
        }
        _ => {
            return Err(Error::DeploymentFailed(format!("the {name} is {status}: {}", details_of(&found))));
        }
    }
    let asked_seconds = if switch.requested { switch.requested_at_seconds } else { REFUSED_SECONDS_MAX };
    let deadline_seconds = asked_seconds + switchover_timeout_seconds + HIDDEN_SECONDS_MAX;
    switch.wait = wait::next(Some(&switch.wait), None, deadline_seconds).map_err(|_| {
        Error::WaitTimedOut(format!("the switchover of the {name} is {status} after {waited_seconds} s"))
    })?;
    Ok(switch)
}

impl Switch {
    fn note_request(&mut self) {
        if !self.requested {
            self.requested = true;
            self.requested_at_seconds = self.wait.waited_seconds;
        }
    }
}

fn may_pass(error: &Error) -> bool {
    error.is_passing() || matches!(error, Error::InvalidDeploymentState(_))
}

async fn ask(context: &Context, found: &BlueGreenDeployment, name: &str, timeout_seconds: u64) -> Result<(), Error> {
    let id = found.blue_green_deployment_identifier().unwrap_or_default();
    let call = context.rds.switchover_blue_green_deployment().blue_green_deployment_identifier(id);
    let timeout = i32::try_from(timeout_seconds).unwrap_or(i32::MAX);
    let outcome = call.switchover_timeout(timeout).send().await.map(drop);
    outcome.map_err(|error| Error::from_call(format!("switch the {name} over"), error))
}

/// Only what was proven is switched over, and only while the source has its name.
async fn same_as_proven(context: &Context, proven: &Proven) -> Result<(), Error> {
    for (member, target) in proven.members.iter().zip(&proven.targets) {
        if let Some(source) = find_by_resource_id(&context.rds, &member.wanted.source_resource_id).await? {
            is_called(&source, &member.wanted.instance_id)?;
        }
        let green = find_by_resource_id(&context.rds, &target.resource_id).await?;
        let name = green.as_ref().and_then(|green| green.db_instance_identifier());
        if name != Some(target.instance_id.as_str()) {
            return Err(Error::InstanceNotFound(format!(
                "DB instance `{}` ({}) was proven and is not there under this name: somebody deleted or renamed it",
                target.instance_id, target.resource_id
            )));
        }
    }
    Ok(())
}

/// The commit point: the source's name is that of the proven instance.
async fn leads_to_green(context: &Context, proven: &Proven) -> Result<bool, Error> {
    let (Some(member), Some(target)) = (proven.members.first(), proven.targets.first()) else { return Ok(false) };
    let green = find_by_resource_id(&context.rds, &target.resource_id).await?;
    Ok(green.is_some_and(|green| green.db_instance_identifier() == Some(member.wanted.instance_id.as_str())))
}
