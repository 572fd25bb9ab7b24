//! Takes a blue/green deployment back, or finishes what RDS has switched over.
//!
//! The commit point is RDS's own swap of the names. Whether it has happened is never told from what was asked for, but
//! seen: the name leads to green, and no switchover is in progress.

use aws_sdk_rds::types::{BlueGreenDeployment, DbInstance};
use settings::member::Member;
use settings::protect::{self, Protection};
use workflow::Error;
use workflow::deployment::{self, Finishing, Target, find_own, named};
use workflow::describe::{find_by_resource_id, find_instance};
use workflow::ids::InstanceId;
use workflow::members::each;
use workflow::options::{OnFailure, Way};
use workflow::status::{self, Class, is_being_deleted};
use workflow::turn::HIDDEN_SECONDS_MAX;

use crate::document::{OfBlueGreen, Phase};
use crate::steps::{Compensation, Forward, Made, Step, steps};
use crate::{DEADLINE_SECONDS, Looks, Undo};

impl Looks for Undo<'_, OfBlueGreen> {
    async fn look(&mut self) -> Result<bool, Error> {
        if self.phase == Phase::Committed {
            self.response.past_commit_point = true;
        }
        for step in steps(Way::BlueGreen).rev() {
            if self.response.past_commit_point {
                break;
            }
            let over = match step.compensation {
                Compensation::AskName => self.ask_name().await?,
                Compensation::Delete(Made::Deployment) => self.take_back_deployment().await?,
                _ => true,
            };
            if !over {
                return Ok(false);
            }
        }
        if !self.response.past_commit_point {
            return Ok(true);
        }
        for step in steps(Way::BlueGreen) {
            if let Compensation::GoOn(forward) = step.compensation
                && !self.go_on(step, forward).await?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn report(&mut self) -> Result<(), Error> {
        let mut kept = vec![];
        let found = self.found().await?;
        if found.is_some() {
            kept.push(named(&self.way.deployment_name));
        }
        for green in self.greens(found.as_ref()).await? {
            kept.push(shown(&green));
        }
        self.response.kept = kept;
        Ok(())
    }
}

impl Undo<'_, OfBlueGreen> {
    async fn found(&self) -> Result<Option<BlueGreenDeployment>, Error> {
        find_own(self.client, &self.way.deployment_name, &self.planned.owner).await
    }

    /// Whether it is certain on which side of the commit point the execution ended.
    async fn ask_name(&mut self) -> Result<bool, Error> {
        let found = self.found().await?;
        if found.as_ref().is_some_and(|found| found.status() == Some(deployment::SWITCHOVER_IN_PROGRESS)) {
            // The names move at this moment; a call to switch over has landed.
            self.response.source_seen_at_seconds = self.waited_seconds();
            return Ok(false);
        }
        let bearer = find_instance(self.client, &self.planned.instance_id).await?;
        match bearer {
            Some(bearer) if self.is_green(&bearer, found.as_ref()) => {
                self.response.past_commit_point = true;
                return Ok(true);
            }
            Some(_) => self.response.source_seen_at_seconds = self.waited_seconds(),
            // A switchover or a rename hides it for a while.
            None if self.waited_seconds() < self.response.source_seen_at_seconds + HIDDEN_SECONDS_MAX => {
                return Ok(false);
            }
            None => {}
        }
        // Only in this phase one was asked for.
        if self.phase == Phase::Cutover && !self.response.late_calls_are_over {
            self.response.late_calls_are_over = true;
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether the bearer of the name is what the deployment made.
    fn is_green(&self, bearer: &DbInstance, found: Option<&BlueGreenDeployment>) -> bool {
        let resource_id = bearer.dbi_resource_id();
        if resource_id == Some(self.planned.owner.source_resource_id.as_str()) {
            return false;
        }
        match self.way.deployment.targets.first() {
            Some(target) => resource_id == Some(target.resource_id.as_str()),
            // Somebody switched it over before the execution had seen it.
            None => found.is_some_and(|found| found.status() == Some(deployment::SWITCHOVER_COMPLETED)),
        }
    }

    async fn take_back_deployment(&mut self) -> Result<bool, Error> {
        if self.planned.options.on_failure == OnFailure::Keep {
            self.report().await?;
            return Ok(true);
        }
        if let Some(why) = self.why_source_may_be_lost().await? {
            return self.spare_the_last_copies(why).await;
        }
        let mut pending = vec![];
        match self.found().await? {
            Some(found) => pending = self.delete(&found).await?,
            None => pending.extend(self.leftovers().await?),
        }
        Ok(self.is_gone(pending))
    }

    /// Does what is next on the way to the deployment's end; returns what is not gone yet.
    async fn delete(&mut self, found: &BlueGreenDeployment) -> Result<Vec<String>, Error> {
        let name = named(&self.way.deployment_name);
        let status = found.status().unwrap_or_default();
        if status == deployment::DELETING {
            // The reply of the call that did it may be lost.
            self.note_deleted(name.clone());
            return Ok(vec![name]);
        }
        let greens = self.greens(Some(found)).await?;
        for green in &greens {
            let resource_id = green.dbi_resource_id().unwrap_or_default().to_owned();
            if !self.response.greens.contains(&resource_id) {
                self.response.greens.push(resource_id);
            }
        }
        // Somebody promoted green, or deleted a member: what is left of it may be theirs by now.
        let is_theirs = self.way.deployment.was_whole && status == deployment::INVALID_CONFIGURATION;
        if self.mark(&greens).await? || !is_theirs && self.open(&greens).await? {
            return Ok(vec![name]);
        }
        match deployment::delete(self.client, found, Some(!is_theirs)).await {
            Ok(()) => self.note_deleted(name.clone()),
            // While it is provisioned [A48], or a member is modified.
            Err(Error::InvalidDeploymentState(_) | Error::InvalidInstanceState(_)) => {}
            Err(Error::DeploymentNotFound(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(vec![name])
    }

    /// Gives green this execution's tags, without which the role may not delete it; returns whether that was to do.
    /// RDS copied blue's, and does so again at a switchover: what has the name is never ours to delete.
    async fn mark(&self, greens: &[DbInstance]) -> Result<bool, Error> {
        let owner = &self.planned.owner;
        let mut was_unmarked = false;
        for green in greens.iter().filter(|green| !owner.owns(green.tag_list())) {
            was_unmarked = true;
            let arn = green.db_instance_arn().unwrap_or_default();
            let call = self.client.add_tags_to_resource().resource_name(arn).set_tags(Some(owner.tags_with(&[])));
            match call.send().await.map_err(|error| Error::from_call(format!("tag {arn}"), error)) {
                Ok(_) | Err(Error::InstanceNotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(was_unmarked)
    }

    /// Takes the deletion protection off, with which green can start [A46]; returns whether that was to do.
    async fn open(&self, greens: &[DbInstance]) -> Result<bool, Error> {
        let mut was_closed = false;
        for green in greens.iter().filter(|green| green.deletion_protection() == Some(true)) {
            was_closed = true;
            let id = green.db_instance_identifier().unwrap_or_default();
            let status = green.db_instance_status().unwrap_or_default();
            if !status::can_be_modified(status) && !matches!(status::instance(status), Class::Failed { .. }) {
                continue;
            }
            let call = self.client.modify_db_instance().db_instance_identifier(id).deletion_protection(false);
            let operation = format!("switch the deletion protection of DB instance `{id}` off");
            match call.send().await.map_err(|error| Error::from_call(operation, error)) {
                Ok(_) | Err(Error::InvalidInstanceState(_) | Error::InstanceNotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(was_closed)
    }

    /// What is there of green once the deployment is gone: on its way out [A50], or left behind by whoever deleted the
    /// deployment alone, or changed green: that is told and not deleted.
    async fn leftovers(&mut self) -> Result<Vec<String>, Error> {
        let mut pending = vec![];
        let mut remaining = vec![];
        for green in self.greens(None).await? {
            let status = green.db_instance_status().unwrap_or_default();
            if is_being_deleted(status) {
                pending.push(shown(&green));
            } else {
                remaining.push(format!("{} (its blue/green deployment is gone without it)", shown(&green)));
            }
        }
        self.response.remaining = remaining;
        Ok(pending)
    }

    /// Green's instances, as the deployment names them, or as they were known.
    async fn greens(&self, found: Option<&BlueGreenDeployment>) -> Result<Vec<DbInstance>, Error> {
        let mut greens = vec![];
        if let Some(found) = found {
            for member in &self.way.members {
                greens.extend(member.counterpart(self.client, found).await?);
            }
            return Ok(greens);
        }
        let seen = self.way.deployment.targets.iter().map(|target| &target.resource_id);
        let noted = self.response.greens.iter().filter(|noted| seen.clone().all(|seen| seen != *noted));
        for resource_id in seen.clone().chain(noted) {
            greens.extend(find_by_resource_id(self.client, resource_id).await?);
        }
        Ok(greens)
    }

    async fn go_on(&mut self, step: &Step, forward: Forward) -> Result<bool, Error> {
        if self.is_over(step) {
            return Ok(true);
        }
        let over = match forward {
            Forward::Protect => self.protect_members().await?,
            Forward::DeleteDeployment => self.delete_deployment().await?,
            Forward::CleanUp | Forward::OpenTarget | Forward::DeleteReplication => true,
        };
        if over {
            self.end(step);
        }
        Ok(over)
    }

    async fn protect_members(&mut self) -> Result<bool, Error> {
        let targets = self.targets_now().await?;
        let Some(targets) = targets else { return Ok(false) };
        let previous = self.response.members_protected.take();
        let pass = async |number: usize, previous: Option<Protection>| {
            let (member, target) = &targets[number];
            let wanted = member.wanted.clone().guarded(self.client).await?;
            protect::look(self.client, target, &wanted, previous, DEADLINE_SECONDS).await
        };
        let protections = each(targets.len(), previous, pass).await?;
        let over = protections.ready;
        let notes: Vec<String> = protections.members.iter().flat_map(|member| member.notes.clone()).collect();
        self.response.members_protected = Some(protections);
        for note in notes {
            self.note(note);
        }
        Ok(over)
    }

    /// What the members' names lead to; `None` while one of them cannot be seen. A member that was left out of the
    /// switchover still leads to blue, and is not ours to protect.
    async fn targets_now(&mut self) -> Result<Option<Vec<(Member, DbInstance)>>, Error> {
        let mut targets = vec![];
        let deployment = self.found().await?;
        for member in &self.way.members {
            let name = InstanceId::parse(&member.wanted.instance_id);
            let name = name.map_err(|problem| workflow::error::invalid("members", problem))?;
            match find_instance(self.client, &name).await? {
                Some(found) if found.dbi_resource_id() == Some(member.wanted.source_resource_id.as_str()) => {
                    let green = match &deployment {
                        Some(deployment) => member.counterpart(self.client, deployment).await?,
                        None => None,
                    };
                    self.note(left_out(&name, green.as_ref()));
                }
                Some(found) => targets.push((member.clone(), found)),
                None if self.waited_seconds() < self.response.target_rested_at_seconds + HIDDEN_SECONDS_MAX => {
                    return Ok(None);
                }
                None => {
                    return Err(Error::InstanceNotFound(format!(
                        "DB instance `{name}`, encrypted by a switchover, has not been seen for {HIDDEN_SECONDS_MAX} s: \
                         somebody deleted or renamed it"
                    )));
                }
            }
        }
        self.response.target_rested_at_seconds = self.waited_seconds();
        Ok(Some(targets))
    }

    async fn delete_deployment(&mut self) -> Result<bool, Error> {
        let mut targets = vec![];
        for member in &self.way.members {
            let old = find_by_resource_id(self.client, &member.wanted.source_resource_id).await?;
            let source_id = old.as_ref().and_then(DbInstance::db_instance_identifier).map(InstanceId::parse);
            if let (Some(Ok(source_id)), Ok(instance_id)) = (source_id, InstanceId::parse(&member.wanted.instance_id))
                && source_id != instance_id
            {
                targets.push(Target { source_id, instance_id, resource_id: String::new() });
            }
        }
        let finishing =
            Finishing { owner: self.planned.owner.clone(), deployment_name: self.way.deployment_name.clone(), targets };
        let previous = self.response.finished.take();
        let finished = finishing.look(self.client, previous, DEADLINE_SECONDS).await?;
        let over = finished.ready;
        self.response.deleted.clone_from(&finished.deleted);
        self.response.kept.clone_from(&finished.kept);
        self.response.remaining.clone_from(&finished.remaining);
        self.response.finished = Some(finished);
        Ok(over)
    }
}

fn left_out(name: &InstanceId, green: Option<&DbInstance>) -> String {
    let green = green.and_then(DbInstance::db_instance_identifier);
    let stays = green.map(|green| format!("; its counterpart `{green}` stays, and is yours to delete"));
    format!("`{name}` was left out of the switchover and is unencrypted{}.", stays.unwrap_or_default())
}

fn shown(instance: &DbInstance) -> String {
    format!("DB instance `{}`", instance.db_instance_identifier().unwrap_or_default())
}
