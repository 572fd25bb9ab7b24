//! The members of a blue/green deployment: the source (blue) with its read replicas, each beside its encrypted
//! counterpart (green).

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{BlueGreenDeployment, DbInstance, SwitchoverDetail};
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::deployment::Target;
use workflow::describe::find_instance;
use workflow::ids::InstanceId;
use workflow::members::{Each, Pass, each};

use crate::wanted::Wanted;

/// An instance of blue, as the plan saw it. The source is the first.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Of the instance, by which the deployment names it until the switchover. Then it is its counterpart's.
    pub arn: String,
    pub kms_key_arn: String,
    pub wanted: Wanted,
}

/// What a step is told that works on every counterpart, one after the other.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Members<Previous> {
    /// The source first.
    pub members: Vec<Member>,
    /// In the same order.
    pub targets: Vec<Target>,
    pub previous: Option<Previous>,
    pub max_wait_seconds: u64,
}

impl<Previous> Members<Previous> {
    /// Goes on with the member at hand.
    pub async fn each<P: Pass>(
        &self,
        previous: Option<Each<P>>,
        pass: impl AsyncFn(&Member, &Target, Option<P>) -> Result<P, Error>,
    ) -> Result<Each<P>, Error> {
        let pairs: Vec<_> = self.members.iter().zip(&self.targets).collect();
        let pass = async |number: usize, previous| pass(pairs[number].0, pairs[number].1, previous).await;
        each(pairs.len(), previous, pass).await
    }
}

impl Member {
    /// What its counterpart is to be like, with the source under the name that it has now.
    pub fn wanted_beside(&self, target: &Target) -> Wanted {
        Wanted { instance_id: target.source_id.to_string(), ..self.wanted.clone() }
    }

    /// What the deployment says of it. After the switchover green has the name, and the ARN with it.
    pub fn details<'a>(&self, deployment: &'a BlueGreenDeployment) -> Option<&'a SwitchoverDetail> {
        let arn = Some(self.arn.as_str());
        let details = deployment.switchover_details();
        let is_switched = |detail: &&SwitchoverDetail| detail.target_member() == arn;
        details.iter().find(|detail| detail.source_member() == arn).or_else(|| details.iter().find(is_switched))
    }

    /// Its counterpart, as the deployment names it now; `None` while there is none, or it cannot be seen.
    pub async fn counterpart(
        &self,
        client: &Client,
        deployment: &BlueGreenDeployment,
    ) -> Result<Option<DbInstance>, Error> {
        let detail = self.details(deployment);
        let Some(id) = detail.and_then(SwitchoverDetail::target_member).and_then(InstanceId::of_arn) else {
            return Ok(None);
        };
        let instance = find_instance(client, &id).await?;
        // Between the old names and the new ones it can be the source itself.
        let source = Some(self.wanted.source_resource_id.as_str());
        Ok(instance.filter(|instance| instance.dbi_resource_id() != source))
    }
}
