//! Switches a proven blue/green deployment over, once green is close behind.
//!
//! AWS calls: DescribeBlueGreenDeployments, DescribeDBInstances, CloudWatch GetMetricStatistics,
//! SwitchoverBlueGreenDeployment.
//!
//! Both tasks are looks of loops. Repeating them is safe: a switchover is asked for only while the deployment is
//! AVAILABLE and was not asked for before; a lost answer shows in its status. What has been switched over is known by
//! looking alone: the name leads to the proven instance, and no switchover is in progress.

mod lag;
mod switch;
#[cfg(test)]
mod tests;

use aws_sdk_rds::types::BlueGreenDeployment;
use serde::{Deserialize, Serialize};
use settings::member::Member;
use workflow::Error;
use workflow::deployment::{self, Target};
use workflow::ids::DeploymentName;
use workflow::owner::Owner;

pub use crate::lag::Lag;
pub use crate::switch::Switch;

pub struct Context {
    pub rds: aws_sdk_rds::Client,
    pub cloudwatch: aws_sdk_cloudwatch::Client,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    CheckLag(lag::Request),
    SwitchOver(switch::Request),
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Response {
    Lag(Lag),
    Switch(Switch),
}

/// What both tasks are told of the deployment.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proven {
    pub name: DeploymentName,
    pub owner: Owner,
    /// The source first.
    pub members: Vec<Member>,
    /// What was proven, in the same order.
    pub targets: Vec<Target>,
}

pub async fn handle(context: &Context, request: Request) -> Result<Response, Error> {
    Ok(match request {
        Request::CheckLag(request) => Response::Lag(lag::look(context, request).await?),
        Request::SwitchOver(request) => Response::Switch(switch::look(context, request).await?),
    })
}

impl Proven {
    async fn find(&self, context: &Context) -> Result<BlueGreenDeployment, Error> {
        let found = deployment::find_own(&context.rds, &self.name, &self.owner).await?;
        found.ok_or_else(|| {
            Error::DeploymentNotFound(format!(
                "the {} was created by this execution and does not exist: somebody deleted it",
                deployment::named(&self.name)
            ))
        })
    }
}
