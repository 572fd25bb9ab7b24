//! Reading one DB instance or snapshot by name, where "it is not there" is an answer, not an error.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbInstance, DbSnapshot, Filter, PendingModifiedValues};

use crate::error::{Error, invalid};
use crate::ids::{InstanceId, SnapshotId};
use crate::status;

pub async fn find_instance(client: &Client, id: &InstanceId) -> Result<Option<DbInstance>, Error> {
    let answer = client.describe_db_instances().db_instance_identifier(id.as_str()).send().await;
    match answer.map_err(|error| Error::from_call(format!("describe DB instance `{id}`"), error)) {
        Ok(output) => Ok(output.db_instances.unwrap_or_default().into_iter().next()),
        Err(Error::InstanceNotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

pub async fn find_snapshot(client: &Client, id: &SnapshotId) -> Result<Option<DbSnapshot>, Error> {
    let answer = client.describe_db_snapshots().db_snapshot_identifier(id.as_str()).send().await;
    match answer.map_err(|error| Error::from_call(format!("describe DB snapshot `{id}`"), error)) {
        Ok(output) => Ok(output.db_snapshots.unwrap_or_default().into_iter().next()),
        Err(Error::SnapshotNotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a modification was accepted and is not in force yet.
pub fn has_pending_modifications(instance: &DbInstance) -> bool {
    instance.pending_modified_values().is_some_and(|pending| *pending != PendingModifiedValues::builder().build())
}

/// Whether the instance can be modified now, and shows what it was asked for before.
pub fn can_be_modified(instance: &DbInstance) -> bool {
    status::can_be_modified(instance.db_instance_status().unwrap_or_default()) && !has_pending_modifications(instance)
}

/// The instance with this DbiResourceId, whatever it is called now; `None` while a rename hides it [A34].
///
/// The answer is compared and paged through, and an empty id is refused: a filter that RDS ignored
/// would otherwise hand over a stranger's instance.
pub async fn find_by_resource_id(client: &Client, resource_id: &str) -> Result<Option<DbInstance>, Error> {
    if resource_id.is_empty() {
        return Err(invalid("resource_id", "is empty, so no DB instance can be told by it"));
    }
    let filter = Filter::builder().name("dbi-resource-id").values(resource_id).build();
    let mut instances = client.describe_db_instances().filters(filter).into_paginator().items().send();
    while let Some(instance) = instances.next().await {
        match instance.map_err(|error| Error::from_call(format!("find DB instance {resource_id}"), error)) {
            Ok(instance) if instance.dbi_resource_id() == Some(resource_id) => return Ok(Some(instance)),
            Ok(_) => {}
            Err(Error::InstanceNotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// That the source is still called what the plan calls it. Under another name it is left alone: somebody
/// renamed it, or a switchover did.
pub fn is_called(source: &DbInstance, id: &str) -> Result<(), Error> {
    let name = source.db_instance_identifier().unwrap_or_default();
    if name == id {
        return Ok(());
    }
    Err(Error::SourceRenamed(format!(
        "the source, DB instance {}, is called `{name}` now and not `{id}`: somebody renamed it, so it is left alone \
         under its new name; start again with that",
        source.dbi_resource_id().unwrap_or_default()
    )))
}

/// The identifier that an instance is being renamed to.
pub fn pending_identifier(instance: &DbInstance) -> Option<&str> {
    instance.pending_modified_values().and_then(PendingModifiedValues::db_instance_identifier)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_rds::error::ErrorMetadata;
    use aws_sdk_rds::operation::describe_db_instances::{DescribeDBInstancesError, DescribeDbInstancesOutput};
    use aws_sdk_rds::operation::describe_db_snapshots::{DescribeDBSnapshotsError, DescribeDbSnapshotsOutput};
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};

    fn orders() -> InstanceId {
        InstanceId::parse("orders").expect("legal")
    }

    /// Answers a look by that name.
    fn named(instance: Option<DbInstance>) -> Rule {
        mock!(Client::describe_db_instances)
            .match_requests(|input| input.db_instance_identifier() == Some("orders") && input.filters().is_empty())
            .then_output(move || DescribeDbInstancesOutput::builder().set_db_instances(Some(list(&instance))).build())
    }

    /// Answers a look by DbiResourceId.
    fn identified(instance: Option<DbInstance>) -> Rule {
        mock!(Client::describe_db_instances)
            .match_requests(|input| match (input.db_instance_identifier(), input.filters()) {
                (None, [filter]) => filter.name() == Some("dbi-resource-id") && filter.values() == ["db-ONE"],
                _ => false,
            })
            .then_output(move || DescribeDbInstancesOutput::builder().set_db_instances(Some(list(&instance))).build())
    }

    fn list(instance: &Option<DbInstance>) -> Vec<DbInstance> {
        instance.iter().cloned().collect()
    }

    fn refused(code: &'static str) -> Rule {
        mock!(Client::describe_db_instances)
            .then_error(move || DescribeDBInstancesError::generic(ErrorMetadata::builder().code(code).build()))
    }

    fn one() -> DbInstance {
        DbInstance::builder().dbi_resource_id("db-ONE").build()
    }

    fn client(rule: &Rule) -> Client {
        mock_client!(aws_sdk_rds, RuleMode::MatchAny, [rule])
    }

    #[tokio::test]
    async fn an_instance_is_found_by_its_name_or_by_what_does_not_change() {
        let found = find_instance(&client(&named(Some(one()))), &orders()).await.expect("read");
        assert_eq!(found, Some(one()));
        let found = find_by_resource_id(&client(&identified(Some(one()))), "db-ONE").await.expect("read");
        assert_eq!(found, Some(one()));
    }

    #[tokio::test]
    async fn an_instance_is_told_by_its_resource_id_wherever_it_is_in_the_answer() {
        let other = || DbInstance::builder().dbi_resource_id("db-OTHER").build();
        let page = |instances: Vec<DbInstance>, marker: Option<&str>| {
            DescribeDbInstancesOutput::builder()
                .set_db_instances(Some(instances))
                .set_marker(marker.map(str::to_owned))
                .build()
        };
        let first = mock!(Client::describe_db_instances)
            .match_requests(|input| input.marker().is_none())
            .then_output(move || page(vec![other()], Some("2")));
        let second = mock!(Client::describe_db_instances)
            .match_requests(|input| input.marker() == Some("2"))
            .then_output(move || page(vec![other(), one()], None));
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&first, &second]);
        assert_eq!(find_by_resource_id(&client, "db-ONE").await.expect("read"), Some(one()));
        assert_eq!(find_by_resource_id(&client, "db-TWO").await.expect("read"), None);
        let error = find_by_resource_id(&client, "").await.expect_err("no id");
        assert_eq!(error.name(), "InvalidInput");
    }

    #[tokio::test]
    async fn what_is_not_there_is_an_answer() {
        for rule in [refused("DBInstanceNotFound"), named(None)] {
            assert_eq!(find_instance(&client(&rule), &orders()).await.expect("an answer"), None);
        }
        for rule in [refused("DBInstanceNotFound"), identified(None)] {
            assert_eq!(find_by_resource_id(&client(&rule), "db-ONE").await.expect("an answer"), None);
        }
        let snapshot = SnapshotId::parse("orders-encrypted").expect("legal");
        let rule = mock!(Client::describe_db_snapshots).then_error(|| {
            DescribeDBSnapshotsError::generic(ErrorMetadata::builder().code("DBSnapshotNotFound").build())
        });
        assert_eq!(find_snapshot(&client(&rule), &snapshot).await.expect("an answer"), None);
    }

    #[tokio::test]
    async fn a_look_that_fails_is_no_answer_and_says_what_was_looked_for() {
        let denied = refused("AccessDenied");
        let error = find_instance(&client(&denied), &orders()).await.expect_err("denied");
        assert!(error.to_string().starts_with("describe DB instance `orders`: AccessDenied"), "{error}");
        let error = find_by_resource_id(&client(&denied), "db-ONE").await.expect_err("denied");
        assert!(error.to_string().starts_with("find DB instance db-ONE: AccessDenied"), "{error}");
        let snapshot = SnapshotId::parse("orders-encrypted").expect("legal");
        let rule = mock!(Client::describe_db_snapshots)
            .then_error(|| DescribeDBSnapshotsError::generic(ErrorMetadata::builder().code("AccessDenied").build()));
        let error = find_snapshot(&client(&rule), &snapshot).await.expect_err("denied");
        assert!(error.to_string().starts_with("describe DB snapshot `orders-encrypted`: AccessDenied"), "{error}");
    }

    #[tokio::test]
    async fn a_snapshot_is_found_by_its_name() {
        let snapshot = DbSnapshot::builder().status("available").build();
        let found = snapshot.clone();
        let rule = mock!(Client::describe_db_snapshots)
            .match_requests(|input| input.db_snapshot_identifier() == Some("orders-encrypted"))
            .then_output(move || DescribeDbSnapshotsOutput::builder().db_snapshots(found.clone()).build());
        let id = SnapshotId::parse("orders-encrypted").expect("legal");
        assert_eq!(find_snapshot(&client(&rule), &id).await.expect("read"), Some(snapshot));
    }

    #[test]
    fn an_empty_element_of_pending_modifications_means_none() {
        let with = |pending| DbInstance::builder().pending_modified_values(pending).build();
        assert!(!has_pending_modifications(&one()));
        assert!(!has_pending_modifications(&with(PendingModifiedValues::builder().build())));
        let storage = with(PendingModifiedValues::builder().allocated_storage(200).build());
        assert!(has_pending_modifications(&storage));
        assert_eq!(pending_identifier(&storage), None);
        let renaming = with(PendingModifiedValues::builder().db_instance_identifier("orders").build());
        assert_eq!(pending_identifier(&renaming), Some("orders"));
    }
}
