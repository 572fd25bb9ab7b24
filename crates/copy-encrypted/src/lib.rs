//! Copies the snapshot under the KMS key: the step that encrypts.
//!
//! AWS calls: CopyDBSnapshot; DescribeDBSnapshots when the name is taken.
//!
//! Repeating it is safe: a copy of that name that carries this execution's tag is the one an earlier
//! attempt made. Any other is a `NameConflict`.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbSnapshot;
use serde::Deserialize;
use workflow::Error;
use workflow::adopt::adopt_snapshot;
use workflow::ids::SnapshotId;
use workflow::look::Look;
use workflow::owner::{Owner, TagPair};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub source_snapshot_id: SnapshotId,
    pub snapshot_id: SnapshotId,
    /// The key's ARN, as the plan pinned it: an alias could point elsewhere by now.
    pub kms_key_arn: String,
    pub owner: Owner,
    pub tags: Vec<TagPair>,
}

pub async fn handle(client: &Client, request: Request) -> Result<Look, Error> {
    let Request { source_snapshot_id, snapshot_id, kms_key_arn, owner, tags } = request;
    // The tags are given rather than asked for by CopyTags, which would copy no others besides.
    let answer = client
        .copy_db_snapshot()
        .source_db_snapshot_identifier(source_snapshot_id.as_str())
        .target_db_snapshot_identifier(snapshot_id.as_str())
        .kms_key_id(kms_key_arn)
        .set_tags(Some(owner.tags_with(&tags)))
        .send()
        .await;
    let snapshot = match answer {
        Ok(output) => output.db_snapshot.unwrap_or_else(|| DbSnapshot::builder().build()),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_db_snapshot_already_exists_fault()) => {
            adopt_snapshot(client, &snapshot_id, &owner).await?
        }
        Err(error) => {
            let operation = format!("copy snapshot `{source_snapshot_id}` to `{snapshot_id}`");
            return Err(Error::from_call(operation, error));
        }
    };
    Ok(Look::first(snapshot.status()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_rds::operation::copy_db_snapshot::{CopyDBSnapshotError, CopyDbSnapshotOutput};
    use aws_sdk_rds::operation::describe_db_snapshots::DescribeDbSnapshotsOutput;
    use aws_sdk_rds::types::error::{DbSnapshotAlreadyExistsFault, KmsKeyNotAccessibleFault};
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};

    const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    fn request() -> Request {
        Request {
            source_snapshot_id: SnapshotId::parse("orders-no-encrypted").expect("legal"),
            snapshot_id: SnapshotId::parse("orders-encrypted").expect("legal"),
            kms_key_arn: KEY.into(),
            owner: owner("arn:ours"),
            tags: vec![],
        }
    }

    fn owner(execution: &str) -> Owner {
        Owner { execution: execution.into(), source_resource_id: "db-SOURCE".into() }
    }

    fn copy_exists_of(execution: &'static str) -> [Rule; 2] {
        [
            mock!(Client::copy_db_snapshot).then_error(|| {
                CopyDBSnapshotError::DbSnapshotAlreadyExistsFault(DbSnapshotAlreadyExistsFault::builder().build())
            }),
            mock!(Client::describe_db_snapshots).then_output(move || {
                let tags = owner(execution).tags_with(&[]);
                let snapshot = DbSnapshot::builder().status("creating").set_tag_list(Some(tags)).build();
                DescribeDbSnapshotsOutput::builder().db_snapshots(snapshot).build()
            }),
        ]
    }

    #[tokio::test]
    async fn the_copy_is_made_under_the_pinned_key() {
        let copy = mock!(Client::copy_db_snapshot)
            .match_requests(|input| {
                input.kms_key_id() == Some(KEY)
                    && input.source_db_snapshot_identifier() == Some("orders-no-encrypted")
                    && input.target_db_snapshot_identifier() == Some("orders-encrypted")
                    && owner("arn:ours").owns(input.tags())
            })
            .then_output(|| {
                let snapshot = DbSnapshot::builder().status("creating").build();
                CopyDbSnapshotOutput::builder().db_snapshot(snapshot).build()
            });
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&copy]);
        assert_eq!(handle(&client, request()).await.expect("copied").status.as_deref(), Some("creating"));
    }

    #[tokio::test]
    async fn a_copy_made_by_this_execution_is_adopted() {
        let [copy, describe] = copy_exists_of("arn:ours");
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&copy, &describe]);
        assert_eq!(handle(&client, request()).await.expect("adopted").status.as_deref(), Some("creating"));
    }

    #[tokio::test]
    async fn a_copy_made_by_another_execution_is_a_name_conflict() {
        let [copy, describe] = copy_exists_of("arn:theirs");
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&copy, &describe]);
        assert_eq!(handle(&client, request()).await.expect_err("conflict").name(), "NameConflict");
    }

    #[tokio::test]
    async fn a_key_that_rds_cannot_use_is_named() {
        let copy = mock!(Client::copy_db_snapshot).then_error(|| {
            let meta = aws_sdk_rds::error::ErrorMetadata::builder().code("KMSKeyNotAccessibleFault").build();
            CopyDBSnapshotError::KmsKeyNotAccessibleFault(KmsKeyNotAccessibleFault::builder().meta(meta).build())
        });
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&copy]);
        assert_eq!(handle(&client, request()).await.expect_err("key").name(), "KeyNotUsable");
    }
}
