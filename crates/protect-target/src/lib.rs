//! Releases the proven target from this execution, and switches on what would have been in the undo's way.
//!
//! AWS calls: DescribeDBInstances, RemoveTagsFromResource, ModifyDBInstance.
//!
//! It is one look of a loop. Repeating it is safe, because it sets what differs, which is nothing the second time.

use aws_sdk_rds::Client;
use serde::{Deserialize, Serialize};
use settings::member::{Member, Members};
use settings::protect::{self, Protection};
use settings::wanted::Wanted;
use workflow::Error;
use workflow::deployment::Target;
use workflow::describe::find_by_resource_id;
use workflow::members::Each;

#[derive(Debug, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Instance(Box<One>),
    /// Every counterpart of a deployment, one after the other.
    Members(Members<Protections>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct One {
    pub target_resource_id: String,
    /// As the plan saw it; the source is looked at again.
    pub wanted: Wanted,
    pub previous: Option<Protection>,
    pub max_wait_seconds: u64,
}

/// The loop over the counterparts.
#[derive(Debug, Deserialize, Serialize)]
pub struct Protections {
    #[serde(flatten)]
    pub each: Each<Protection>,
    /// What the owner should know of them.
    pub notes: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    One(Box<Protection>),
    Each(Protections),
}

pub async fn handle(client: &Client, request: Request) -> Result<Answer, Error> {
    Ok(match request {
        Request::Instance(request) => Answer::One(Box::new(protect_one(client, *request).await?)),
        Request::Members(mut all) => {
            let previous = all.previous.take().map(|previous| previous.each);
            let max_wait_seconds = all.max_wait_seconds;
            let pass = async |member: &Member, target: &Target, previous| {
                let target_resource_id = target.resource_id.clone();
                let wanted = member.wanted_beside(target);
                protect_one(client, One { target_resource_id, wanted, previous, max_wait_seconds }).await
            };
            let each = all.each(previous, pass).await?;
            let notes = each.members.iter().flat_map(|member| member.notes.clone()).collect();
            Answer::Each(Protections { each, notes })
        }
    })
}

async fn protect_one(client: &Client, request: One) -> Result<Protection, Error> {
    let One { target_resource_id, wanted, previous, max_wait_seconds } = request;
    let wanted = wanted.guarded(client).await?;
    let target = find_by_resource_id(client, &target_resource_id).await?.ok_or_else(|| {
        Error::InstanceNotFound(format!(
            "DB instance {target_resource_id} was proven by this execution and is gone: somebody deleted it"
        ))
    })?;
    protect::look(client, &target, &wanted, previous, max_wait_seconds).await
}

#[cfg(test)]
mod tests;
