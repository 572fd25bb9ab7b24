//! Sets on the target what a restore cannot take or did not take, and what changed at the source since
//! the plan, and reboots it until its parameter group is in sync. After the proof, its second phase
//! releases the target from this execution and switches on what would have been in the undo's way.
//!
//! AWS calls: DescribeDBInstances, ModifyDBInstance, AddRoleToDBInstance, AddTagsToResource,
//! RebootDBInstance; in the last phase RemoveTagsFromResource.
//!
//! It is one look of a loop. Repeating it is safe, because it sets what differs, which is nothing
//! the second time.

use std::collections::BTreeSet;

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbInstance, Tag};
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::describe::{find_target, has_pending_modifications};
use workflow::ids::InstanceId;
use workflow::owner::{EXECUTION_TAG, TAGS_MAX, TagPair, execution_of};
use workflow::settings::{Changes, Settings};
use workflow::status::{self, Class};
use workflow::wait::{self, Wait};
use workflow::wanted::Wanted;

/// RDS accepts a modification before its status shows it: what was asked for and still differs is
/// given this long before it counts as refused, which the proof then names.
const SETTLE_SECONDS: u64 = 600;
const STEADY_LOOKS: u32 = 2;
/// Between two looks at an instance with nothing left to do.
const CONFIRM_SECONDS: u64 = 15;
/// A parameter group that is not in sync after this many reboots will not be after another.
const REBOOTS_MAX: u32 = 3;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub phase: Phase,
    pub target_instance_id: InstanceId,
    pub target_resource_id: Option<String>,
    /// As the plan saw it; the source is looked at again.
    pub wanted: Wanted,
    pub previous: Option<Response>,
    pub max_wait_seconds: u64,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    AfterRestore,
    Last,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Response {
    pub ready: bool,
    /// AWS's word at this look.
    pub status: Option<String>,
    /// What was set, in the order of the calls: settings, roles as `role for feature`, `tag key=value`.
    pub applied: Vec<String>,
    /// The settings as they were wanted when something was last set.
    pub asked: Option<Settings>,
    pub reboots: u32,
    pub steady_looks: u32,
    /// The time waited when something was last set.
    pub acted_at_seconds: u64,
    /// What the owner should know of the target as it is.
    pub notes: Vec<String>,
    pub wait: Wait,
}

pub async fn handle(client: &Client, mut request: Request) -> Result<Response, Error> {
    request.wanted = match request.phase {
        Phase::AfterRestore => request.wanted.now(client).await?.0,
        Phase::Last => request.wanted.guarded(client).await?,
    };
    let target = find_target(client, &request.target_instance_id, request.target_resource_id.as_deref()).await?;
    let name = format!("DB instance `{}`", request.target_instance_id);
    let status = target.db_instance_status().unwrap_or_default().to_owned();
    if let Class::Failed { remedy } = status::instance(&status) {
        return Err(Error::InstanceFailed(format!("{name} is `{status}`: {remedy}")));
    }
    // A loop that was over begins anew: the source can have changed while somebody approved.
    let mut response = request.previous.take().filter(|previous| !previous.ready).unwrap_or_default();
    response.status = Some(status);
    let mut step = Step { client, request: &request, target: &target, response: &mut response };
    let acted = step.act().await?;
    if acted {
        response.acted_at_seconds = response.wait.waited_seconds;
    }
    let steady = !acted && is_steady(&request, &target, &response);
    response.steady_looks = if steady { response.steady_looks + 1 } else { 0 };
    if response.steady_looks >= STEADY_LOOKS {
        response.ready = true;
        response.notes = notes(&target);
        return Ok(response);
    }
    if request.phase == Phase::Last && !acted && !steady && can_be_modified(&target) && was_long_ago(&response) {
        return Err(Error::NotProven(format!(
            "{name} is proven and stays, but its last settings do not take: {} was asked for {SETTLE_SECONDS} s ago, and \
             the instance is `{}` without it",
            response.applied.join(", "),
            response.status.as_deref().unwrap_or_default()
        )));
    }
    let waited = if steady {
        wait::sleep(Some(&response.wait), CONFIRM_SECONDS, request.max_wait_seconds)
    } else {
        wait::next(Some(&response.wait), None, request.max_wait_seconds)
    };
    response.wait = waited.map_err(|_| {
        Error::WaitTimedOut(format!(
            "{name} is `{}` and still applies settings ({}) after {} s, the longest that max_wait_minutes allows",
            response.status.as_deref().unwrap_or_default(),
            response.applied.join(", "),
            request.max_wait_seconds
        ))
    })?;
    Ok(response)
}

/// One look's worth of setting things.
struct Step<'a> {
    client: &'a Client,
    request: &'a Request,
    target: &'a DbInstance,
    response: &'a mut Response,
}

impl Step<'_> {
    /// Does the next thing that is due, if the instance can take it now. Returns whether it did.
    async fn act(&mut self) -> Result<bool, Error> {
        if self.request.phase == Phase::Last && execution_of(self.target.tag_list()).is_some() {
            self.release().await?;
            return Ok(true);
        }
        if !can_be_modified(self.target) {
            return Ok(false);
        }
        let changes = match self.request.phase {
            Phase::AfterRestore => self.request.wanted.settings.changes(self.target),
            Phase::Last => self.request.wanted.settings.protection(self.target, self.request.wanted.cutover),
        };
        if let Some(changes) = changes
            && changes.settings.iter().any(|setting| !self.was_asked_for(setting))
        {
            self.modify(changes).await?;
            return Ok(true);
        }
        if self.request.phase == Phase::Last {
            return Ok(false);
        }
        let roles = self.request.wanted.settings.roles_to_add(self.target);
        let named: Vec<String> = roles.iter().map(|(role, feature)| format!("{role} for {feature}")).collect();
        if !self.all_asked_for(named.iter().map(String::as_str)) {
            for (role, feature) in &roles {
                self.add_role(role, feature).await?;
            }
            return Ok(true);
        }
        let tags = self.request.wanted.missing_tags(self.target.tag_list());
        let named: Vec<String> = tags.iter().map(|tag| format!("tag {tag}")).collect();
        if !self.all_asked_for(named.iter().map(String::as_str)) {
            self.add_tags(&tags).await?;
            named.into_iter().for_each(|name| self.note_applied(name));
            return Ok(true);
        }
        if needs_reboot(self.target) && self.response.reboots < REBOOTS_MAX && self.has_settled() {
            self.reboot().await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// The same value is not asked for again while it may still be on its way.
    fn was_asked_for(&self, setting: &str) -> bool {
        let asked = self.response.asked.as_ref();
        self.response.applied.iter().any(|applied| applied == setting)
            && asked.is_some_and(|asked| asked.get(setting) == self.request.wanted.settings.get(setting))
    }

    /// What was asked for once is not asked for again while it may still be on its way.
    fn all_asked_for<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> bool {
        names.all(|name| self.response.applied.iter().any(|applied| applied == name))
    }

    /// A reboot is not asked for again before the last one had a chance to show.
    fn has_settled(&self) -> bool {
        self.response.reboots == 0 || self.response.wait.waited_seconds >= self.response.acted_at_seconds + 60
    }

    /// The commit point made visible: without this execution's tag nothing of ours deletes the target.
    async fn release(&mut self) -> Result<(), Error> {
        let arn = self.target.db_instance_arn().unwrap_or_default();
        let call = self.client.remove_tags_from_resource().resource_name(arn).tag_keys(EXECUTION_TAG);
        let outcome = call.send().await;
        outcome.map_err(|error| Error::from_call(format!("remove the tag {EXECUTION_TAG} from {arn}"), error))?;
        Ok(())
    }

    async fn modify(&mut self, changes: Changes) -> Result<(), Error> {
        let id = &self.request.target_instance_id;
        let operation = format!("set {} on DB instance `{id}`", changes.settings.join(", "));
        let outcome = changes.input.db_instance_identifier(id.as_str()).send_with(self.client).await;
        outcome.map_err(|error| Error::from_call(operation, error))?;
        for setting in changes.settings {
            self.note_applied(setting.to_owned());
        }
        self.response.asked = Some(self.request.wanted.settings.clone());
        Ok(())
    }

    async fn add_role(&mut self, role: &str, feature: &str) -> Result<(), Error> {
        let id = &self.request.target_instance_id;
        let call = self.client.add_role_to_db_instance().db_instance_identifier(id.as_str());
        match call.role_arn(role).feature_name(feature).send().await {
            Ok(_) => {}
            Err(error) if error.as_service_error().is_some_and(|e| e.is_db_instance_role_already_exists_fault()) => {}
            Err(error) => {
                let operation = format!("add role {role} for {feature} to DB instance `{id}`");
                return Err(Error::from_call(operation, error));
            }
        }
        self.note_applied(format!("{role} for {feature}"));
        Ok(())
    }

    async fn add_tags(&self, tags: &[&TagPair]) -> Result<(), Error> {
        self.refuse_too_many(tags)?;
        let arn = self.target.db_instance_arn().unwrap_or_default();
        let tags = tags.iter().map(|tag| tag.to_aws()).collect();
        let call = self.client.add_tags_to_resource().resource_name(arn).set_tags(Some(tags));
        let outcome = call.send().await;
        outcome.map_err(|error| Error::from_call(format!("add the source's new tags to {arn}"), error))?;
        Ok(())
    }

    /// The plan has counted the source's tags as they were then.
    fn refuse_too_many(&self, tags: &[&TagPair]) -> Result<(), Error> {
        // AWS's own do not count.
        let present = self.target.tag_list().iter().filter_map(Tag::key).filter(|key| !key.starts_with("aws:"));
        let keys: BTreeSet<&str> = present.chain(tags.iter().map(|tag| tag.key.as_str())).collect();
        if keys.len() <= TAGS_MAX {
            return Ok(());
        }
        let foreign = self.request.wanted.foreign_tags(self.target.tag_list());
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
        let id = &self.request.target_instance_id;
        let outcome = self.client.reboot_db_instance().db_instance_identifier(id.as_str()).send().await;
        outcome.map_err(|error| Error::from_call(format!("reboot DB instance `{id}`"), error))?;
        self.response.reboots += 1;
        Ok(())
    }

    fn note_applied(&mut self, name: String) {
        if !self.response.applied.contains(&name) {
            self.response.applied.push(name);
        }
    }
}

/// ModifyDBInstance, AddRoleToDBInstance and RebootDBInstance all ask for `available`.
fn can_be_modified(target: &DbInstance) -> bool {
    status::instance(target.db_instance_status().unwrap_or_default()) == Class::Ready
        && !has_pending_modifications(target)
}

fn needs_reboot(target: &DbInstance) -> bool {
    target.db_parameter_groups().iter().any(|group| group.parameter_apply_status() == Some("pending-reboot"))
}

/// Nothing is left to do, or what is left was asked for long enough ago that waiting is no remedy.
fn is_steady(request: &Request, target: &DbInstance, response: &Response) -> bool {
    let serves = match request.phase {
        Phase::AfterRestore => can_be_modified(target),
        // The first backup of an instance whose settings are in place is nobody's wait.
        Phase::Last => {
            status::serves_clients(target.db_instance_status().unwrap_or_default())
                && !has_pending_modifications(target)
        }
    };
    let done = match request.phase {
        Phase::AfterRestore => {
            request.wanted.settings.differences(&Settings::capture(target)).is_empty()
                && request.wanted.settings.roles_to_add(target).is_empty()
                && request.wanted.missing_tags(target.tag_list()).is_empty()
                && target.db_parameter_groups().iter().all(|group| group.parameter_apply_status() == Some("in-sync"))
        }
        Phase::Last => {
            request.wanted.settings.protection(target, request.wanted.cutover).is_none()
                && execution_of(target.tag_list()).is_none()
        }
    };
    serves && (done || (was_long_ago(response) && request.phase == Phase::AfterRestore))
}

fn was_long_ago(response: &Response) -> bool {
    response.wait.waited_seconds >= response.acted_at_seconds + SETTLE_SECONDS
}

fn notes(target: &DbInstance) -> Vec<String> {
    let mut notes = vec![];
    if target.db_instance_status() == Some("backing-up") {
        notes.push(
            "The first backup of the target is being taken (backing-up): the instance serves clients, and point-in-time \
             recovery begins when it is done. Until then the encrypted snapshot is the only recovery point."
                .to_owned(),
        );
    }
    if let Some(secret) = target.master_user_secret().and_then(|secret| secret.secret_arn()) {
        notes.push(format!("RDS manages the master user's password of the target in a new secret: {secret}"));
    }
    notes
}

#[cfg(test)]
mod tests;
