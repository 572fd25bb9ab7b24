//! Deletes what replicated: tasks, endpoints, and the replication instance, which is billed for as long as it is there.

use aws_sdk_databasemigration::error::ProvideErrorMetadata;
use aws_sdk_rds::config::http::HttpResponse;
use aws_sdk_rds::error::SdkError;
use workflow::Error;

use crate::{Found, Replication, Side, found};

/// One look's worth of deleting.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Swept {
    /// What was asked for at this look.
    pub deleted: Vec<String>,
    /// Not gone yet; the next look goes on with it.
    pub pending: Vec<String>,
}

impl Replication<'_> {
    /// What is used is deleted after what uses it. A task lets go of its slot while it still can log in [A105].
    pub async fn delete(&self, databases: &[u32]) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        for oid in databases {
            if let Some(task) = self.task(*oid).await? {
                self.delete_task(&found(&task), &mut swept).await?;
            }
        }
        if !swept.pending.is_empty() {
            return Ok(swept);
        }
        for oid in databases {
            for side in [Side::Source, Side::Target] {
                if let Some(endpoint) = self.endpoint(*oid, side).await? {
                    self.delete_endpoint(&endpoint, &mut swept).await?;
                }
            }
        }
        if let Some(instance) = self.instance().await? {
            self.delete_instance(&instance, &mut swept).await?;
        }
        Ok(swept)
    }

    async fn delete_task(&self, task: &Found, swept: &mut Swept) -> Result<(), Error> {
        if !self.may_delete(task, swept).await? {
            return Ok(());
        }
        if task.status == "running" || task.status == "starting" {
            let call = self.client.stop_replication_task().replication_task_arn(&task.arn).send().await;
            return swept.note(task, "stop", false, call);
        }
        let call = self.client.delete_replication_task().replication_task_arn(&task.arn).send().await;
        swept.note(task, "delete", true, call)
    }

    async fn delete_endpoint(&self, endpoint: &Found, swept: &mut Swept) -> Result<(), Error> {
        if !self.may_delete(endpoint, swept).await? {
            return Ok(());
        }
        let call = self.client.delete_endpoint().endpoint_arn(&endpoint.arn).send().await;
        swept.note(endpoint, "delete", true, call)
    }

    async fn delete_instance(&self, instance: &Found, swept: &mut Swept) -> Result<(), Error> {
        if !self.may_delete(instance, swept).await? {
            return Ok(());
        }
        let call = self.client.delete_replication_instance().replication_instance_arn(&instance.arn).send().await;
        swept.note(instance, "delete", true, call)
    }

    /// Ours, and not on its way out.
    async fn may_delete(&self, found: &Found, swept: &mut Swept) -> Result<bool, Error> {
        if !self.owns(found).await? {
            return Ok(false);
        }
        if found.status == "deleting" {
            // The reply of the call that did it may be lost.
            swept.deleted.push(found.name.clone());
            swept.pending.push(found.name.clone());
            return Ok(false);
        }
        Ok(true)
    }
}

impl Swept {
    /// A state that does not allow it yet passes.
    fn note<T, E>(
        &mut self,
        found: &Found,
        verb: &str,
        is_deletion: bool,
        answer: Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<(), Error>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        match answer {
            Ok(_) if is_deletion => self.deleted.push(found.name.clone()),
            Ok(_) => {}
            Err(error) if error.code() == Some("ResourceNotFoundFault") => return Ok(()),
            Err(error) if error.code() == Some("InvalidResourceStateFault") => {}
            Err(error) => return Err(Error::from_call(format!("{verb} {}", found.name), error)),
        }
        self.pending.push(found.name.clone());
        Ok(())
    }
}
