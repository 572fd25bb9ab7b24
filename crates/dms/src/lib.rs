//! AWS DMS, as the way online uses it: one replication instance for an execution, and for each database two endpoints,
//! whose connections are tested, and a task. All of it has names that follow from the execution, and its tags.
//!
//! AWS calls: DescribeReplicationInstances, DescribeEndpoints, DescribeConnections, DescribeReplicationTasks,
//! DescribeTableStatistics, ListTagsForResource; CreateReplicationInstance, CreateEndpoint, TestConnection,
//! CreateReplicationTask, StartReplicationTask; StopReplicationTask, DeleteReplicationTask, DeleteEndpoint,
//! DeleteReplicationInstance. Each step makes those of one module: [`create`], [`run`], [`delete`].

pub mod create;
pub mod delete;
pub mod run;
mod settings;
#[cfg(test)]
mod tests;

use aws_sdk_databasemigration::Client;
use aws_sdk_databasemigration::types::{Filter, ReplicationTask, Tag};
use aws_sdk_rds::config::http::HttpResponse;
use aws_sdk_rds::error::{ProvideErrorMetadata, SdkError};
use workflow::Error;
use workflow::error::CallFailure;
use workflow::online::token;
use workflow::owner::{EXECUTION_TAG, Owner, SOURCE_TAG};

/// What one execution has in AWS DMS. A description is believed only if it names what was asked for: a filter that
/// DMS ignored would hand over a stranger's.
pub struct Replication<'a> {
    client: &'a Client,
    owner: &'a Owner,
    /// What all names begin with.
    base: String,
}

/// A side of a database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    Source,
    Target,
}

/// A resource, as a description has it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) status: String,
}

impl<'a> Replication<'a> {
    pub fn of(client: &'a Client, owner: &'a Owner) -> Self {
        Self { client, owner, base: format!("rds-encrypt-{}", token(&owner.execution)) }
    }

    pub(crate) fn endpoint_id(&self, oid: u32, side: Side) -> String {
        let side = match side {
            Side::Source => "source",
            Side::Target => "target",
        };
        format!("{}-{oid}-{side}", self.base)
    }

    pub(crate) fn task_id(&self, oid: u32) -> String {
        format!("{}-{oid}", self.base)
    }

    pub(crate) fn tags(&self) -> Vec<Tag> {
        [(EXECUTION_TAG, &self.owner.execution), (SOURCE_TAG, &self.owner.source_resource_id)]
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .into()
    }

    pub(crate) async fn instance(&self) -> Result<Option<Found>, Error> {
        let call =
            self.client.describe_replication_instances().filters(named("replication-instance-id", &[&self.base]));
        let Some(answer) = or_absent("read the replication instance", call.send().await)? else { return Ok(None) };
        let mut found = answer.replication_instances().iter();
        let found = found.find(|instance| instance.replication_instance_identifier() == Some(&self.base));
        Ok(found.map(|instance| Found {
            name: format!("replication instance `{}`", self.base),
            arn: text(instance.replication_instance_arn()),
            status: text(instance.replication_instance_status()),
        }))
    }

    pub(crate) async fn endpoint(&self, oid: u32, side: Side) -> Result<Option<Found>, Error> {
        let id = self.endpoint_id(oid, side);
        let call = self.client.describe_endpoints().filters(named("endpoint-id", &[&id]));
        let Some(answer) = or_absent(format!("read the DMS endpoint `{id}`"), call.send().await)? else {
            return Ok(None);
        };
        let found = answer.endpoints().iter().find(|endpoint| endpoint.endpoint_identifier() == Some(&id));
        Ok(found.map(|endpoint| Found {
            name: format!("DMS endpoint `{id}`"),
            arn: text(endpoint.endpoint_arn()),
            status: text(endpoint.status()),
        }))
    }

    pub(crate) async fn task(&self, oid: u32) -> Result<Option<ReplicationTask>, Error> {
        let id = self.task_id(oid);
        let call = self.client.describe_replication_tasks().filters(named("replication-task-id", &[&id]));
        let answer = or_absent(format!("read the DMS task `{id}`"), call.without_settings(true).send().await)?;
        let found = answer.and_then(|answer| answer.replication_tasks);
        let mut found = found.into_iter().flatten();
        Ok(found.find(|task| task.replication_task_identifier() == Some(&id)))
    }

    /// By its tags, which no description has.
    pub(crate) async fn owns(&self, found: &Found) -> Result<bool, Error> {
        let call = self.client.list_tags_for_resource().resource_arn(&found.arn).send().await;
        let Some(answer) = or_absent(format!("read the tags of {}", found.name), call)? else { return Ok(false) };
        let has = |wanted: &Tag| {
            answer.tag_list().iter().any(|tag| tag.key() == wanted.key() && tag.value() == wanted.value())
        };
        Ok(self.tags().iter().all(has))
    }
}

pub(crate) fn found(task: &ReplicationTask) -> Found {
    Found {
        name: format!("DMS task `{}`", task.replication_task_identifier().unwrap_or_default()),
        arn: text(task.replication_task_arn()),
        status: text(task.status()),
    }
}

fn text(field: Option<&str>) -> String {
    field.unwrap_or_default().to_owned()
}

pub(crate) fn named(filter: &str, values: &[&str]) -> Filter {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Filter::builder().name(filter).set_values(Some(values)).build().expect("a name and values")
}

/// DMS answers with a fault where other services have an empty list [A29], [A102].
pub(crate) fn or_absent<T, E>(
    operation: impl Into<String>,
    answer: Result<T, SdkError<E, HttpResponse>>,
) -> Result<Option<T>, Error>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code() == Some("ResourceNotFoundFault") => Ok(None),
        Err(error) => Err(Error::from_call(operation, error)),
    }
}

/// Another's resource has the name; it follows from a hash, so that this takes some doing.
pub(crate) fn conflict(found: &Found) -> Error {
    Error::NameConflict(format!(
        "{} exists and does not bear this execution's tag, so it is left alone: rename or delete it ({})",
        found.name, found.arn
    ))
}

/// Not yet.
pub(crate) fn busy(operation: &str, found: &Found) -> Error {
    Error::InvalidInstanceState(CallFailure::refused(
        operation,
        "InvalidResourceStateFault",
        format!("{} is `{}`", found.name, found.status),
    ))
}
