//! Takes the unencrypted snapshot of the source.
//!
//! AWS calls: CreateDBSnapshot; DescribeDBSnapshots when the name is taken.
//!
//! Repeating it is safe: the name derives from the input, and a snapshot of that name that carries
//! this execution's tag is the one an earlier attempt made. Any other is a `NameConflict`.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbSnapshot;
use serde::Deserialize;
use workflow::Error;
use workflow::adopt::adopt_snapshot;
use workflow::ids::{InstanceId, SnapshotId};
use workflow::look::Look;
use workflow::owner::{Owner, TagPair};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub instance_id: InstanceId,
    pub snapshot_id: SnapshotId,
    pub owner: Owner,
    pub tags: Vec<TagPair>,
}

pub async fn handle(client: &Client, request: Request) -> Result<Look, Error> {
    let Request { instance_id, snapshot_id, owner, tags } = request;
    let answer = client
        .create_db_snapshot()
        .db_instance_identifier(instance_id.as_str())
        .db_snapshot_identifier(snapshot_id.as_str())
        .set_tags(Some(owner.tags_with(&tags)))
        .send()
        .await;
    let snapshot = match answer {
        Ok(output) => output.db_snapshot.unwrap_or_else(|| DbSnapshot::builder().build()),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_db_snapshot_already_exists_fault()) => {
            adopt_snapshot(client, &snapshot_id, &owner).await?
        }
        Err(error) => {
            let operation = format!("create snapshot `{snapshot_id}` of DB instance `{instance_id}`");
            return Err(Error::from_call(operation, error));
        }
    };
    // The name can have come to another instance while this was tried again for hours.
    if let Some(resource_id) = snapshot.dbi_resource_id().filter(|id| *id != owner.source_resource_id) {
        return Err(Error::InstanceNotFound(format!(
            "DB instance `{instance_id}` is another instance now ({resource_id} instead of {}): somebody deleted or \
             renamed the source",
            owner.source_resource_id
        )));
    }
    Ok(Look::first(snapshot.status()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_rds::operation::create_db_snapshot::{CreateDBSnapshotError, CreateDbSnapshotOutput};
    use aws_sdk_rds::operation::describe_db_snapshots::DescribeDbSnapshotsOutput;
    use aws_sdk_rds::types::error::DbSnapshotAlreadyExistsFault;
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};

    fn request() -> Request {
        Request {
            instance_id: InstanceId::parse("orders").expect("legal"),
            snapshot_id: SnapshotId::parse("orders-no-encrypted").expect("legal"),
            owner: owner("arn:ours"),
            tags: vec![TagPair { key: "team".into(), value: "a".into() }],
        }
    }

    fn owner(execution: &str) -> Owner {
        Owner { execution: execution.into(), source_resource_id: "db-SOURCE".into() }
    }

    #[tokio::test]
    async fn a_snapshot_of_another_instance_of_that_name_is_not_taken_for_the_sources() {
        for (resource_id, is_ours) in [("db-SOURCE", true), ("db-ANOTHER", false)] {
            let create = mock!(Client::create_db_snapshot).then_output(move || {
                let snapshot = DbSnapshot::builder().status("creating").dbi_resource_id(resource_id).build();
                CreateDbSnapshotOutput::builder().db_snapshot(snapshot).build()
            });
            let outcome = handle(&mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&create]), request()).await;
            assert_eq!(outcome.is_ok(), is_ours, "{outcome:?}");
        }
    }

    fn taken() -> Rule {
        mock!(Client::create_db_snapshot).then_error(|| {
            CreateDBSnapshotError::DbSnapshotAlreadyExistsFault(DbSnapshotAlreadyExistsFault::builder().build())
        })
    }

    fn snapshot_of(execution: &'static str) -> Rule {
        mock!(Client::describe_db_snapshots).then_output(move || {
            let snapshot =
                DbSnapshot::builder().status("available").set_tag_list(Some(owner(execution).tags_with(&[]))).build();
            DescribeDbSnapshotsOutput::builder().db_snapshots(snapshot).build()
        })
    }

    #[tokio::test]
    async fn the_snapshot_is_tagged_with_the_users_tags_and_this_execution() {
        let create = mock!(Client::create_db_snapshot)
            .match_requests(|input| {
                input.db_instance_identifier() == Some("orders")
                    && input.db_snapshot_identifier() == Some("orders-no-encrypted")
                    && owner("arn:ours").owns(input.tags())
                    && input.tags().iter().any(|tag| tag.key() == Some("team"))
            })
            .then_output(|| {
                let snapshot = DbSnapshot::builder().status("creating").build();
                CreateDbSnapshotOutput::builder().db_snapshot(snapshot).build()
            });
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&create]);
        let look = handle(&client, request()).await.expect("created");
        assert_eq!(look.status.as_deref(), Some("creating"));
        assert!(!look.ready);
    }

    #[tokio::test]
    async fn a_snapshot_made_by_this_execution_is_adopted() {
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&taken(), &snapshot_of("arn:ours")]);
        let look = handle(&client, request()).await.expect("adopted");
        assert_eq!(look.status.as_deref(), Some("available"));
    }

    #[tokio::test]
    async fn a_snapshot_made_by_another_execution_is_a_name_conflict_that_names_it() {
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&taken(), &snapshot_of("arn:theirs")]);
        let error = handle(&client, request()).await.expect_err("conflict");
        assert_eq!(error.name(), "NameConflict");
        assert!(error.to_string().contains("arn:theirs"), "{error}");
    }

    #[tokio::test]
    async fn throttling_that_does_not_end_is_named() {
        let create = mock!(Client::create_db_snapshot).then_error(|| {
            CreateDBSnapshotError::generic(aws_sdk_rds::error::ErrorMetadata::builder().code("Throttling").build())
        });
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&create]);
        assert_eq!(handle(&client, request()).await.expect_err("throttled").name(), "Throttled");
    }

    #[tokio::test]
    async fn throttling_that_ends_is_not_noticed() {
        let create = mock!(Client::create_db_snapshot)
            .sequence()
            .http_status(503, None)
            .times(2)
            .output(|| CreateDbSnapshotOutput::builder().build())
            .build();
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&create]);
        assert!(handle(&client, request()).await.is_ok());
        assert_eq!(create.num_calls(), 3);
    }
}
