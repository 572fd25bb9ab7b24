//! Restores the encrypted copy as the target instance, with every setting that a restore can take.
//!
//! AWS calls: RestoreDBInstanceFromDBSnapshot; DescribeDBInstances when the name is taken.
//!
//! Repeating it is safe: an instance of that name that carries this execution's tag is the one an
//! earlier attempt made. Any other is a `NameConflict`.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbInstance;
use serde::Deserialize;
use workflow::Error;
use workflow::adopt::adopt_instance;
use workflow::ids::{InstanceId, SnapshotId};
use workflow::look::Look;
use workflow::owner::{Owner, TagPair};
use workflow::settings::Settings;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub snapshot_id: SnapshotId,
    pub target_instance_id: InstanceId,
    pub settings: Settings,
    pub owner: Owner,
    pub tags: Vec<TagPair>,
}

pub async fn handle(client: &Client, request: Request) -> Result<Look, Error> {
    let Request { snapshot_id, target_instance_id, settings, owner, tags } = request;
    let answer = settings
        .for_restore()
        .db_snapshot_identifier(snapshot_id.as_str())
        .db_instance_identifier(target_instance_id.as_str())
        .set_tags(Some(owner.tags_with(&tags)))
        .send_with(client)
        .await;
    let instance = match answer {
        Ok(output) => output.db_instance.unwrap_or_else(|| DbInstance::builder().build()),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_db_instance_already_exists_fault()) => {
            adopt_instance(client, &target_instance_id, &owner).await?
        }
        Err(error) => {
            let operation = format!("restore DB instance `{target_instance_id}` from snapshot `{snapshot_id}`");
            return Err(Error::from_call(operation, error));
        }
    };
    Ok(Look {
        resource_id: instance.dbi_resource_id().map(str::to_owned),
        ..Look::first(instance.db_instance_status())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_rds::error::ErrorMetadata;
    use aws_sdk_rds::operation::describe_db_instances::DescribeDbInstancesOutput;
    use aws_sdk_rds::operation::restore_db_instance_from_db_snapshot::{
        RestoreDBInstanceFromDBSnapshotError, RestoreDbInstanceFromDbSnapshotOutput,
    };
    use aws_sdk_rds::types::VpcSecurityGroupMembership;
    use aws_sdk_rds::types::error::DbInstanceAlreadyExistsFault;
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};

    fn request() -> Request {
        let group = |id| VpcSecurityGroupMembership::builder().vpc_security_group_id(id).status("active").build();
        let source = DbInstance::builder()
            .engine("postgres")
            .multi_az(true)
            .vpc_security_groups(group("sg-1"))
            .vpc_security_groups(group("sg-2"))
            .deletion_protection(true)
            .build();
        Request {
            snapshot_id: SnapshotId::parse("orders-encrypted").expect("legal"),
            target_instance_id: InstanceId::parse("orders-encrypted").expect("legal"),
            settings: Settings::capture(&source),
            owner: owner("arn:ours"),
            tags: vec![TagPair { key: "team".into(), value: "a".into() }],
        }
    }

    fn owner(execution: &str) -> Owner {
        Owner { execution: execution.into(), source_resource_id: "db-SOURCE".into() }
    }

    fn target() -> aws_sdk_rds::types::builders::DbInstanceBuilder {
        DbInstance::builder().db_instance_status("creating").dbi_resource_id("db-TARGET")
    }

    fn restored() -> RestoreDbInstanceFromDbSnapshotOutput {
        RestoreDbInstanceFromDbSnapshotOutput::builder().db_instance(target().build()).build()
    }

    fn exists(instances: Vec<DbInstance>) -> [Rule; 2] {
        [
            mock!(Client::restore_db_instance_from_db_snapshot).then_error(|| {
                RestoreDBInstanceFromDBSnapshotError::DbInstanceAlreadyExistsFault(
                    DbInstanceAlreadyExistsFault::builder().build(),
                )
            }),
            mock!(Client::describe_db_instances).then_output(move || {
                DescribeDbInstancesOutput::builder().set_db_instances(Some(instances.clone())).build()
            }),
        ]
    }

    async fn restore_over(instances: Vec<DbInstance>) -> Result<Look, Error> {
        let [restore, describe] = exists(instances);
        handle(&mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&restore, &describe]), request()).await
    }

    #[tokio::test]
    async fn the_target_is_restored_with_the_sources_settings_and_this_executions_tag() {
        let restore = mock!(Client::restore_db_instance_from_db_snapshot)
            .match_requests(|input| {
                input.db_snapshot_identifier() == Some("orders-encrypted")
                    && input.db_instance_identifier() == Some("orders-encrypted")
                    && input.multi_az() == Some(true)
                    && input.vpc_security_group_ids() == ["sg-1", "sg-2"]
                    && owner("arn:ours").owns(input.tags())
                    && input.tags().iter().any(|tag| tag.key() == Some("team") && tag.value() == Some("a"))
            })
            .then_output(restored);
        let look = handle(&mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&restore]), request()).await;
        let look = look.expect("restored");
        assert_eq!(look.status.as_deref(), Some("creating"));
        assert_eq!(look.resource_id.as_deref(), Some("db-TARGET"), "the undo deletes no other");
        assert!(!look.ready);
    }

    #[tokio::test]
    async fn nothing_that_would_block_the_undo_is_passed() {
        let restore = mock!(Client::restore_db_instance_from_db_snapshot)
            .match_requests(|input| input.deletion_protection().is_none())
            .then_output(restored);
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&restore]);
        assert!(handle(&client, request()).await.is_ok());
    }

    #[tokio::test]
    async fn an_instance_made_by_this_execution_is_adopted() {
        let ours = target().set_tag_list(Some(owner("arn:ours").tags_with(&[]))).build();
        let look = restore_over(vec![ours]).await.expect("adopted");
        assert_eq!(look.status.as_deref(), Some("creating"));
        assert_eq!(look.resource_id.as_deref(), Some("db-TARGET"));
    }

    #[tokio::test]
    async fn an_instance_made_by_another_execution_is_a_name_conflict_that_names_it() {
        let theirs = target().set_tag_list(Some(owner("arn:theirs").tags_with(&[]))).build();
        let error = restore_over(vec![theirs]).await.expect_err("conflict");
        assert_eq!(error.name(), "NameConflict");
        assert!(error.to_string().contains("arn:theirs"), "{error}");
    }

    #[tokio::test]
    async fn an_instance_of_somebody_else_is_a_name_conflict() {
        let error = restore_over(vec![target().build()]).await.expect_err("conflict");
        assert_eq!(error.name(), "NameConflict");
        assert!(error.to_string().contains("was not made by rds-encrypt"), "{error}");
    }

    #[tokio::test]
    async fn an_instance_that_is_gone_again_is_named() {
        assert_eq!(restore_over(vec![]).await.expect_err("gone").name(), "InstanceNotFound");
    }

    #[tokio::test]
    async fn what_rds_answers_is_named_for_the_state_machine() {
        for (code, name) in [
            ("InsufficientDBInstanceCapacity", "CapacityUnavailable"),
            ("InstanceQuotaExceeded", "QuotaExceeded"),
            ("StorageQuotaExceeded", "QuotaExceeded"),
            ("DBSnapshotNotFound", "SnapshotNotFound"),
            ("InvalidDBSnapshotState", "InvalidSnapshotState"),
            ("KMSKeyNotAccessibleFault", "KeyNotUsable"),
            ("Throttling", "Throttled"),
            ("AccessDenied", "AccessDenied"),
            ("InvalidRestoreFault", "RequestRejected"),
            ("DBParameterGroupNotFound", "RequestRejected"),
        ] {
            let restore = mock!(Client::restore_db_instance_from_db_snapshot).then_error(move || {
                RestoreDBInstanceFromDBSnapshotError::generic(ErrorMetadata::builder().code(code).build())
            });
            let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&restore]);
            let error = handle(&client, request()).await.expect_err(code);
            assert_eq!(error.name(), name, "{code}");
            let operation = "restore DB instance `orders-encrypted` from snapshot `orders-encrypted`: ";
            assert!(error.to_string().starts_with(operation), "{error}");
        }
    }

    #[tokio::test]
    async fn throttling_that_ends_is_not_noticed() {
        let restore = mock!(Client::restore_db_instance_from_db_snapshot)
            .sequence()
            .http_status(503, None)
            .times(2)
            .output(restored)
            .build();
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&restore]);
        assert!(handle(&client, request()).await.is_ok());
        assert_eq!(restore.num_calls(), 3);
    }
}
