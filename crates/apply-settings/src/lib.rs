//! Sets on the target what a restore cannot take or did not take, and what changed at the source since
//! the plan, and reboots it until its parameter group is in sync.
//!
//! AWS calls: DescribeDBInstances, ModifyDBInstance, AddRoleToDBInstance, AddTagsToResource, RebootDBInstance.
//!
//! It is one look of a loop. Repeating it is safe, because it sets what differs, which is nothing
//! the second time.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbInstance, Tag};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use settings::member::{Member, Members};
use settings::wanted::{Seen, Sight, Wanted};
use settings::{Changes, Force, Membership, Settings};
use workflow::Error;
use workflow::deployment::Target;
use workflow::describe::can_be_modified;
use workflow::ids::InstanceId;
use workflow::members::{Each, Pass};
use workflow::owner::{TAGS_MAX, TagPair};
use workflow::status::{self, Class};
use workflow::steady::SteadyLooks;
use workflow::wait::Wait;

/// RDS accepts a modification before its status shows it: what was asked for and still differs is
/// given this long before it counts as refused, which the proof then names.
const SETTLE_SECONDS: u64 = 600;
/// A parameter group that is not in sync after this many reboots will not be after another.
const REBOOTS_MAX: u32 = 3;

#[derive(Debug, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Instance(Box<One>),
    /// Every counterpart of a deployment, one after the other.
    Members(Members<Each<Response>>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct One {
    pub target_instance_id: InstanceId,
    pub target_resource_id: Option<String>,
    /// As the plan saw it; the source is looked at again.
    pub wanted: Wanted,
    pub previous: Option<Response>,
    pub max_wait_seconds: u64,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Response {
    pub ready: bool,
    /// AWS's word at this look.
    pub status: Option<String>,
    /// What was set, call by call: settings, roles as `role for feature`, `tag key=value`.
    pub applied: Vec<String>,
    /// What was asked for and does not show yet: the same is not asked for again meanwhile, and what has shown and
    /// differs anew is.
    pub asked: BTreeMap<String, Value>,
    pub reboots: u32,
    pub steady_looks: SteadyLooks,
    /// The time waited when something was last set.
    pub acted_at_seconds: u64,
    pub seen: Seen,
    pub wait: Wait,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    One(Box<Response>),
    Each(Each<Response>),
}

pub async fn handle(client: &Client, request: Request) -> Result<Answer, Error> {
    Ok(match request {
        Request::Instance(request) => Answer::One(Box::new(apply(client, *request).await?)),
        Request::Members(mut all) => {
            let (previous, max_wait_seconds) = (all.previous.take(), all.max_wait_seconds);
            let pass = async |member: &Member, target: &Target, previous| {
                let request = One {
                    target_instance_id: target.instance_id.clone(),
                    target_resource_id: Some(target.resource_id.clone()),
                    wanted: member.wanted_beside(target),
                    previous,
                    max_wait_seconds,
                };
                apply(client, request).await
            };
            Answer::Each(all.each(previous, pass).await?)
        }
    })
}

impl Pass for Response {
    fn is_ready(&self) -> bool {
        self.ready
    }

    fn wait(&self) -> &Wait {
        &self.wait
    }
}

async fn apply(client: &Client, request: One) -> Result<Response, Error> {
    let One { target_instance_id: id, target_resource_id, wanted, previous, max_wait_seconds } = request;
    // A loop that was over begins anew: the source can have changed while somebody approved.
    let mut response = previous.filter(|previous| !previous.ready).unwrap_or_default();
    let waited_seconds = response.wait.waited_seconds;
    let sight = response.seen.look(client, waited_seconds, wanted, &id, target_resource_id.as_deref()).await?;
    let Some(Sight { target, wanted, .. }) = sight else {
        response.steady_looks.count(false);
        return response.wait_on(&id, &[], max_wait_seconds);
    };
    let status = target.db_instance_status().unwrap_or_default().to_owned();
    if let Class::Failed { remedy } = status::instance(&status) {
        return Err(Error::InstanceFailed(format!("DB instance `{id}` is `{status}`: {remedy}")));
    }
    response.status = Some(status);
    let mut step = Step { client, id: &id, wanted: &wanted, target: &target, response: &mut response };
    let acted = step.act().await?;
    if acted {
        response.acted_at_seconds = waited_seconds;
    }
    let on_the_way = on_the_way(&target);
    let steady = !acted && on_the_way.is_empty() && is_steady(&wanted, &target, &response);
    response.steady_looks.count(steady);
    if response.steady_looks.are_enough() {
        response.ready = true;
        return Ok(response);
    }
    response.wait_on(&id, &on_the_way, max_wait_seconds)
}

impl Response {
    /// Sleeps until the next look, or says what the loop waited for in vain.
    fn wait_on(mut self, id: &InstanceId, on_the_way: &[Membership], max_wait_seconds: u64) -> Result<Self, Error> {
        let waited = self.steady_looks.wait(&self.wait, None, max_wait_seconds);
        self.wait = waited.map_err(|_| {
            let on_the_way = on_the_way.iter().map(|membership| format!("; {membership}"));
            Error::WaitTimedOut(format!(
                "DB instance `{id}` is `{}` and still applies settings ({}{}) after {max_wait_seconds} s, the longest \
                 that max_wait_minutes allows",
                self.status.as_deref().unwrap_or("not to be seen"),
                self.applied.join(", "),
                on_the_way.collect::<String>(),
            ))
        })?;
        Ok(self)
    }
}

/// What is left to do.
struct Due {
    changes: Option<Changes>,
    roles: Vec<(String, String)>,
    tags: Vec<TagPair>,
}

impl Due {
    fn of(wanted: &Wanted, target: &DbInstance) -> Self {
        Self {
            changes: wanted.settings.changes(target),
            roles: wanted.settings.roles_to_add(target),
            tags: wanted.missing_tags(target.tag_list()).into_iter().cloned().collect(),
        }
    }

    fn settings(&self, wanted: &Settings) -> BTreeMap<String, Value> {
        let names = self.changes.iter().flat_map(|changes| &changes.settings);
        names.map(|name| ((*name).to_owned(), wanted.get(name).cloned().unwrap_or_default())).collect()
    }

    fn roles(&self) -> BTreeMap<String, Value> {
        self.roles.iter().map(|(role, feature)| (format!("{role} for {feature}"), Value::Null)).collect()
    }

    fn tags(&self) -> BTreeMap<String, Value> {
        self.tags.iter().map(|tag| (format!("tag {tag}"), Value::Null)).collect()
    }

    fn is_empty(&self) -> bool {
        self.changes.is_none() && self.roles.is_empty() && self.tags.is_empty()
    }
}

/// One look's worth of setting things.
struct Step<'a> {
    client: &'a Client,
    id: &'a InstanceId,
    wanted: &'a Wanted,
    target: &'a DbInstance,
    response: &'a mut Response,
}

impl Step<'_> {
    /// Does the next thing that is due, if the instance can take it now. Returns whether it did.
    async fn act(&mut self) -> Result<bool, Error> {
        if !can_be_modified(self.target) {
            return Ok(false);
        }
        let due = Due::of(self.wanted, self.target);
        let (settings, roles, tags) = (due.settings(&self.wanted.settings), due.roles(), due.tags());
        self.response.asked.retain(|name, _| [&settings, &roles, &tags].iter().any(|due| due.contains_key(name)));
        if let Some(changes) = due.changes
            && self.has_new(&settings)
        {
            self.modify(changes).await?;
            self.note_asked(settings);
        } else if self.has_new(&roles) {
            for (role, feature) in &due.roles {
                self.add_role(role, feature).await?;
            }
            self.note_asked(roles);
        } else if self.has_new(&tags) {
            self.add_tags(&due.tags).await?;
            self.note_asked(tags);
        } else if self.needs_reboot() {
            self.reboot().await?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether something else is to be asked for than is on its way already.
    fn has_new(&self, due: &BTreeMap<String, Value>) -> bool {
        due.iter().any(|(name, value)| self.response.asked.get(name) != Some(value))
    }

    fn note_asked(&mut self, due: BTreeMap<String, Value>) {
        for (name, value) in due {
            if !self.response.applied.contains(&name) {
                self.response.applied.push(name.clone());
            }
            self.response.asked.insert(name, value);
        }
    }

    /// A reboot is not asked for again before the last one had a chance to show.
    fn needs_reboot(&self) -> bool {
        let Response { reboots, acted_at_seconds, wait, .. } = &*self.response;
        let has_settled = *reboots == 0 || wait.waited_seconds >= acted_at_seconds + 60;
        let is_needed = |membership: &Membership| membership.force() == Force::NeedsReboot;
        *reboots < REBOOTS_MAX && has_settled && Settings::not_in_force(self.target).iter().any(is_needed)
    }

    async fn modify(&self, changes: Changes) -> Result<(), Error> {
        let id = self.id;
        let operation = format!("set {} on DB instance `{id}`", changes.settings.join(", "));
        let outcome = changes.input.db_instance_identifier(id.as_str()).send_with(self.client).await;
        outcome.map_err(|error| Error::from_call(operation, error))?;
        Ok(())
    }

    async fn add_role(&self, role: &str, feature: &str) -> Result<(), Error> {
        let id = self.id;
        let call = self.client.add_role_to_db_instance().db_instance_identifier(id.as_str());
        match call.role_arn(role).feature_name(feature).send().await {
            Ok(_) => {}
            Err(error) if error.as_service_error().is_some_and(|e| e.is_db_instance_role_already_exists_fault()) => {}
            Err(error) => {
                let operation = format!("add role {role} for {feature} to DB instance `{id}`");
                return Err(Error::from_call(operation, error));
            }
        }
        Ok(())
    }

    async fn add_tags(&self, tags: &[TagPair]) -> Result<(), Error> {
        self.refuse_too_many(tags)?;
        let arn = self.target.db_instance_arn().unwrap_or_default();
        let tags = tags.iter().map(TagPair::to_aws).collect();
        let call = self.client.add_tags_to_resource().resource_name(arn).set_tags(Some(tags));
        let outcome = call.send().await;
        outcome.map_err(|error| Error::from_call(format!("add the source's new tags to {arn}"), error))?;
        Ok(())
    }

    /// The plan has counted the source's tags as they were then.
    fn refuse_too_many(&self, tags: &[TagPair]) -> Result<(), Error> {
        // AWS's own do not count.
        let present = self.target.tag_list().iter().filter_map(Tag::key).filter(|key| !key.starts_with("aws:"));
        let keys: BTreeSet<&str> = present.chain(tags.iter().map(|tag| tag.key.as_str())).collect();
        if keys.len() <= TAGS_MAX {
            return Ok(());
        }
        let foreign = self.wanted.foreign_tags(self.target.tag_list());
        let foreign: Vec<&str> = foreign.iter().map(|tag| tag.key.as_str()).collect();
        let at_target = if foreign.is_empty() {
            String::new()
        } else {
            format!(", or from the target what the source does not have ({})", foreign.join(", "))
        };
        Err(Error::TooManyTags(format!(
            "with the source's tags of now the target would have {}, but RDS allows {TAGS_MAX} on a resource; remove {} \
             from the source{at_target}, since none is dropped silently",
            keys.len(),
            keys.len() - TAGS_MAX
        )))
    }

    async fn reboot(&mut self) -> Result<(), Error> {
        let id = self.id;
        let outcome = self.client.reboot_db_instance().db_instance_identifier(id.as_str()).send().await;
        outcome.map_err(|error| Error::from_call(format!("reboot DB instance `{id}`"), error))?;
        self.response.reboots += 1;
        Ok(())
    }
}

/// What comes into force, or goes, by itself. What failed is left to the proof.
fn on_the_way(target: &DbInstance) -> Vec<Membership> {
    let mut memberships = Settings::not_in_force(target);
    memberships.retain(|membership| matches!(membership.force(), Force::OnItsWay | Force::Leaving));
    memberships
}

/// Nothing is left to do, or what is left was asked for long enough ago that waiting is no remedy.
fn is_steady(wanted: &Wanted, target: &DbInstance, response: &Response) -> bool {
    let is_done = Due::of(wanted, target).is_empty()
        && wanted.settings.differences(&Settings::capture(target)).is_empty()
        && Settings::not_in_force(target).is_empty();
    let was_long_ago = response.wait.waited_seconds >= response.acted_at_seconds + SETTLE_SECONDS;
    can_be_modified(target) && (is_done || was_long_ago)
}

#[cfg(test)]
mod tests;
