//! Restores the encrypted copy as the target instance, with every setting that a restore can take, and behind
//! the quarantine's security group alone, if there is one. Its key is the copy's: a restore takes none.
//!
//! AWS calls: DescribeDBSnapshots, since the snapshot's size decides what RDS takes; RestoreDBInstanceFromDBSnapshot;
//! DescribeDBInstances when the name is taken.
//!
//! Repeating it is safe: an instance of that name that carries this execution's tag is the one an
//! earlier attempt made. Any other is a `NameConflict`.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbInstance;
use serde::Deserialize;
use settings::Settings;
use workflow::Error;
use workflow::adopt::adopt_instance;
use workflow::describe::find_snapshot;
use workflow::ids::{InstanceId, SnapshotId};
use workflow::look::Look;
use workflow::owner::{Owner, TagPair};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub snapshot_id: SnapshotId,
    pub target_instance_id: InstanceId,
    pub settings: Settings,
    pub quarantine_security_group_id: Option<String>,
    pub owner: Owner,
    pub tags: Vec<TagPair>,
}

pub async fn handle(client: &Client, request: Request) -> Result<Look, Error> {
    let Request { snapshot_id, target_instance_id, settings, quarantine_security_group_id, owner, tags } = request;
    let snapshot = find_snapshot(client, &snapshot_id).await?.ok_or_else(|| {
        Error::SnapshotNotFound(format!("DB snapshot `{snapshot_id}` is gone before anything was restored from it"))
    })?;
    let answer = settings
        .quarantined(quarantine_security_group_id.as_deref())
        .for_restore(&snapshot)
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
    use aws_sdk_rds::operation::describe_db_snapshots::DescribeDbSnapshotsOutput;
    use aws_sdk_rds::operation::restore_db_instance_from_db_snapshot::{
        RestoreDBInstanceFromDBSnapshotError, RestoreDbInstanceFromDbSnapshotOutput,
    };
    use aws_sdk_rds::types::error::DbInstanceAlreadyExistsFault;
    use aws_sdk_rds::types::{DbSnapshot, VpcSecurityGroupMembership};
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
            quarantine_security_group_id: None,
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
        handle(&mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&snapshot_of(100), &restore, &describe]), request())
            .await
    }

    fn snapshot_of(size_gib: i32) -> Rule {
        mock!(Client::describe_db_snapshots)
            .match_requests(|input| input.db_snapshot_identifier() == Some("orders-encrypted"))
            .then_output(move || {
                let snapshot = DbSnapshot::builder().allocated_storage(size_gib).build();
                DescribeDbSnapshotsOutput::builder().db_snapshots(snapshot).build()
            })
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
        let look =
            handle(&mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&snapshot_of(100), &restore]), request()).await;
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
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&snapshot_of(100), &restore]);
        assert!(handle(&client, request()).await.is_ok());
    }

    #[tokio::test]
    async fn a_target_in_quarantine_is_reached_by_nobody_from_the_beginning() {
        let restore = mock!(Client::restore_db_instance_from_db_snapshot)
            .match_requests(|input| input.vpc_security_group_ids() == ["sg-quarantine"])
            .then_output(restored);
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&snapshot_of(100), &restore]);
        let request = Request { quarantine_security_group_id: Some("sg-quarantine".into()), ..request() };
        assert!(handle(&client, request).await.is_ok());
    }

    /// A resume can find a source that has grown since its snapshot.
    #[tokio::test]
    async fn the_snapshots_size_decides_what_the_storage_takes() {
        let source = DbInstance::builder().engine("postgres").storage_type("gp3").allocated_storage(500);
        let settings = Settings::capture(&source.iops(12_000).storage_throughput(500).build());
        for (snapshot_gib, asked) in [(390, None), (400, Some(400))] {
            let restore = mock!(Client::restore_db_instance_from_db_snapshot)
                .match_requests(move |input| {
                    input.allocated_storage() == asked && input.iops().is_some() == asked.is_some()
                })
                .then_output(restored);
            let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&snapshot_of(snapshot_gib), &restore]);
            assert!(
                handle(&client, Request { settings: settings.clone(), ..request() }).await.is_ok(),
                "{snapshot_gib}"
            );
        }
    }

    #[tokio::test]
    async fn a_snapshot_that_is_gone_is_named() {
        let nothing = mock!(Client::describe_db_snapshots).then_output(|| DescribeDbSnapshotsOutput::builder().build());
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&nothing]);
        assert_eq!(handle(&client, request()).await.expect_err("gone").name(), "SnapshotNotFound");
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
            let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&snapshot_of(100), &restore]);
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
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&snapshot_of(100), &restore]);
        assert!(handle(&client, request()).await.is_ok());
        assert_eq!(restore.num_calls(), 3);
    }
}
