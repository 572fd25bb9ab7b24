//! A name that is taken: by an earlier attempt of this execution, whose resource is adopted, or by
//! somebody else, whose resource is left alone.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbInstance, DbSnapshot, Tag};

use crate::describe::{find_instance, find_snapshot};
use crate::error::Error;
use crate::ids::{InstanceId, SnapshotId};
use crate::owner::{Owner, execution_of, source_of};

pub async fn adopt_snapshot(client: &Client, id: &SnapshotId, owner: &Owner) -> Result<DbSnapshot, Error> {
    let snapshot = find_snapshot(client, id).await?.ok_or_else(|| {
        Error::SnapshotNotFound(format!("DB snapshot `{id}` was there a moment ago and is gone: something deletes it"))
    })?;
    if owner.owns(snapshot.tag_list()) {
        return Ok(snapshot);
    }
    let remedy = format!("aws rds delete-db-snapshot --db-snapshot-identifier {id}");
    Err(conflict(&format!("DB snapshot `{id}`"), snapshot.tag_list(), &remedy))
}

pub async fn adopt_instance(client: &Client, id: &InstanceId, owner: &Owner) -> Result<DbInstance, Error> {
    let instance = find_instance(client, id).await?.ok_or_else(|| {
        Error::InstanceNotFound(format!("DB instance `{id}` was there a moment ago and is gone: something deletes it"))
    })?;
    if owner.owns(instance.tag_list()) {
        return Ok(instance);
    }
    let remedy = format!("aws rds delete-db-instance --db-instance-identifier {id}");
    Err(conflict(&format!("DB instance `{id}`"), instance.tag_list(), &remedy))
}

/// Says whose the resource is, and how its owner can make room for it.
pub fn conflict(resource: &str, tags: &[Tag], delete_command: &str) -> Error {
    Error::NameConflict(match (execution_of(tags), source_of(tags)) {
        (Some(execution), _) => format!(
            "{resource} was made by the execution {execution}. If that still runs, or is being undone, wait for it. If \
             it succeeded, this is its result: choose another `target_instance_id`. If it failed and was to keep what it made (on_failure), go on with it by adding \"resume\": \"{execution}\" to \
             the input. Otherwise start the state machine undo-instance with {{\"executionArn\":\"{execution}\"}}, or, \
             if you do not need it: {delete_command}"
        ),
        (None, Some(source)) => format!(
            "{resource} is the result of an earlier execution of rds-encrypt for the instance {source}. Choose \
             another `target_instance_id`, or, if you do not need it: {delete_command}"
        ),
        (None, None) => format!(
            "{resource} exists and was not made by rds-encrypt, so it is left alone. Choose another \
             `target_instance_id`, or rename or delete the resource"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::{EXECUTION_TAG, SOURCE_TAG};
    use aws_sdk_rds::error::ErrorMetadata;
    use aws_sdk_rds::operation::describe_db_instances::{DescribeDBInstancesError, DescribeDbInstancesOutput};
    use aws_sdk_rds::operation::describe_db_snapshots::{DescribeDBSnapshotsError, DescribeDbSnapshotsOutput};
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    fn owner(execution: &str) -> Owner {
        Owner { execution: execution.into(), source_resource_id: "db-SOURCE".into() }
    }

    fn tag(key: &str, value: &str) -> Tag {
        Tag::builder().key(key).value(value).build()
    }

    /// An RDS in which both a snapshot and an instance of any name carry these tags.
    fn tagged(tags: Vec<Tag>) -> Client {
        let snapshot = DbSnapshot::builder().status("creating").set_tag_list(Some(tags.clone())).build();
        let instance = DbInstance::builder().db_instance_status("creating").set_tag_list(Some(tags)).build();
        let snapshots = mock!(Client::describe_db_snapshots)
            .then_output(move || DescribeDbSnapshotsOutput::builder().db_snapshots(snapshot.clone()).build());
        let instances = mock!(Client::describe_db_instances)
            .then_output(move || DescribeDbInstancesOutput::builder().db_instances(instance.clone()).build());
        mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&snapshots, &instances])
    }

    async fn adopt(client: &Client) -> [Result<String, Error>; 2] {
        let snapshot = SnapshotId::parse("orders-encrypted").expect("legal");
        let instance = InstanceId::parse("orders-encrypted").expect("legal");
        let status = |status: Option<&str>| status.unwrap_or_default().to_owned();
        [
            adopt_snapshot(client, &snapshot, &owner("arn:ours")).await.map(|found| status(found.status())),
            adopt_instance(client, &instance, &owner("arn:ours")).await.map(|found| status(found.db_instance_status())),
        ]
    }

    async fn conflicts(tags: Vec<Tag>) -> [String; 2] {
        adopt(&tagged(tags)).await.map(|outcome| {
            let error = outcome.expect_err("not ours");
            assert_eq!(error.name(), "NameConflict");
            error.to_string()
        })
    }

    #[tokio::test]
    async fn what_an_earlier_attempt_made_is_adopted() {
        for outcome in adopt(&tagged(owner("arn:ours").tags_with(&[]))).await {
            assert_eq!(outcome.expect("ours"), "creating");
        }
    }

    #[tokio::test]
    async fn what_another_execution_made_is_left_with_its_name_and_both_ways_out() {
        let [snapshot, instance] = conflicts(owner("arn:theirs").tags_with(&[])).await;
        assert!(
            snapshot.starts_with("DB snapshot `orders-encrypted` was made by the execution arn:theirs."),
            "{snapshot}"
        );
        assert!(
            snapshot.contains("aws rds delete-db-snapshot --db-snapshot-identifier orders-encrypted"),
            "{snapshot}"
        );
        assert!(instance.contains("\"resume\": \"arn:theirs\""), "{instance}");
        assert!(
            instance.contains("aws rds delete-db-instance --db-instance-identifier orders-encrypted"),
            "{instance}"
        );
    }

    #[tokio::test]
    async fn one_of_the_two_tags_alone_makes_nothing_ours() {
        conflicts(vec![tag(EXECUTION_TAG, "arn:ours")]).await;
        conflicts(vec![tag(EXECUTION_TAG, "arn:ours"), tag(SOURCE_TAG, "db-ANOTHER")]).await;
        // A target that was released from its execution.
        for said in conflicts(vec![tag(SOURCE_TAG, "db-SOURCE")]).await {
            assert!(said.contains("is the result of an earlier execution of rds-encrypt"), "{said}");
        }
    }

    #[tokio::test]
    async fn what_was_not_made_by_rds_encrypt_is_left_alone() {
        for said in conflicts(vec![tag("team", "a")]).await {
            assert!(said.contains("was not made by rds-encrypt, so it is left alone"), "{said}");
            assert!(!said.contains("aws rds delete"), "no command to delete what is somebody's: {said}");
        }
    }

    #[tokio::test]
    async fn what_was_taken_a_moment_ago_and_is_gone_is_named() {
        let snapshots = mock!(Client::describe_db_snapshots).then_error(|| {
            DescribeDBSnapshotsError::generic(ErrorMetadata::builder().code("DBSnapshotNotFound").build())
        });
        let instances = mock!(Client::describe_db_instances).then_error(|| {
            DescribeDBInstancesError::generic(ErrorMetadata::builder().code("DBInstanceNotFound").build())
        });
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&snapshots, &instances]);
        let names = adopt(&client).await.map(|outcome| outcome.expect_err("gone").name());
        assert_eq!(names, ["SnapshotNotFound", "InstanceNotFound"]);
    }
}
