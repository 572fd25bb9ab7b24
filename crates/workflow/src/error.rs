//! The error contract: what a step can fail with, and the name under which Step Functions sees it.
//!
//! Step Functions matches `errorType` by its exact spelling, so a variant's name is public:
//! `statemachine/*.asl.json` retries and catches by it, docs/when-it-fails.md explains it, and renaming one is a
//! breaking change. Policy (what is retried, what is undone) belongs to the state machine.

use aws_sdk_rds::config::http::HttpResponse;
use aws_sdk_rds::error::{ProvideErrorMetadata, SdkError};
use lambda_runtime::Diagnostic;

/// Everything a step can fail with. The text says what happened, to what, and what to do.
#[derive(Debug, strum::IntoStaticStr, strum::VariantNames, thiserror::Error)]
pub enum Error {
    /// A field of the input is missing, unknown, or has a value that cannot be used.
    #[error("`{field}`: {problem}")]
    InvalidInput { field: String, problem: String },

    // Refusals of the plan: nothing has been created.
    #[error("{0}")]
    AlreadyEncrypted(String),
    #[error("{0}")]
    ClusterMember(String),
    #[error("{0}")]
    ReadReplica(String),
    #[error("{0}")]
    BlueGreenDeployment(String),
    /// The instance cannot be encrypted by a blue/green deployment.
    #[error("{0}")]
    BlueGreenNotSupported(String),
    #[error("{0}")]
    EncryptionNotSupported(String),
    #[error("{0}")]
    SettingNotSupported(String),
    #[error("{0}")]
    InstanceNotUsable(String),
    #[error("{0}")]
    KeyNotUsable(String),
    /// A name that the plan derived belongs to somebody else, or to another execution.
    #[error("{0}")]
    NameConflict(String),
    #[error("{0}")]
    TooManyTags(String),
    #[error("{0}")]
    LostWritesNotAccepted(String),
    #[error("{0}")]
    StaleReplicasNotAccepted(String),
    #[error("{0}")]
    NotResumable(String),
    /// Another execution is to cut the same source over, or its undo still looks after that.
    #[error("{0}")]
    CutoverInProgress(String),

    // What a resource came to, or what it turned out to be.
    /// Somebody gave the source another name, so that nothing more is done to it.
    #[error("{0}")]
    SourceRenamed(String),
    #[error("{0}")]
    InstanceNotFound(String),
    #[error("{0}")]
    SnapshotNotFound(String),
    #[error("{0}")]
    InstanceFailed(String),
    #[error("{0}")]
    SnapshotFailed(String),
    #[error("{0}")]
    DeploymentNotFound(String),
    #[error("{0}")]
    DeploymentFailed(String),
    /// RDS took a switchover back, or left a member of the deployment out of it.
    #[error("{0}")]
    SwitchoverFailed(String),
    /// A deployment holds the log of the source back, and that is running out of storage.
    #[error("{0}")]
    SourceStorageLow(String),
    /// A polling loop reached its deadline (`max_wait_minutes`).
    #[error("{0}")]
    WaitTimedOut(String),
    /// The target is not what the plan promised: not encrypted, another key, or a setting differs.
    #[error("{0}")]
    NotProven(String),
    /// Clients still write to the source although the input says that they stopped.
    #[error("{0}")]
    WritesNotStopped(String),
    /// The database does not meet what replication needs; each problem is named with its remedy.
    #[error("{0}")]
    DatabaseNotUsable(String),
    /// A database cannot be connected to, or a statement found no time or lock: it may later.
    #[error("{0}")]
    DatabaseUnavailable(String),
    /// PostgreSQL refused a login or a statement.
    #[error("{0}")]
    DatabaseRefused(String),
    /// Somebody changed tables, triggers or functions while the source was replicated.
    #[error("{0}")]
    SchemaChanged(String),
    /// The start was not found, the subscription stopped, or a slot was lost.
    #[error("{0}")]
    ReplicationFailed(String),
    /// Rows of source and target differ.
    #[error("{0}")]
    DataDiffers(String),
    /// The target is proven and stays, but what should have been deleted was not.
    #[error("{0}")]
    CleanUpFailed(String),

    // AWS said no. Throttling, capacity, quota and state ([A10]) are retried for hours.
    #[error("{0}")]
    Throttled(#[source] CallFailure),
    #[error("{0}")]
    ServiceUnavailable(#[source] CallFailure),
    #[error("{0}")]
    CapacityUnavailable(#[source] CallFailure),
    #[error("{0}")]
    QuotaExceeded(#[source] CallFailure),
    #[error("{0}")]
    InvalidInstanceState(#[source] CallFailure),
    #[error("{0}")]
    InvalidSnapshotState(#[source] CallFailure),
    #[error("{0}")]
    InvalidDeploymentState(#[source] CallFailure),
    #[error("{0}")]
    AccessDenied(#[source] CallFailure),
    #[error("{0}")]
    RequestRejected(#[source] CallFailure),
}

impl Error {
    /// The name that Step Functions matches: the variant's own.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Whether the same call may well succeed later without anybody's help.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Throttled(_)
                | Self::ServiceUnavailable(_)
                | Self::CapacityUnavailable(_)
                | Self::QuotaExceeded(_)
                | Self::InvalidInstanceState(_)
                | Self::InvalidSnapshotState(_)
                | Self::DatabaseUnavailable(_)
        )
    }

    /// Names a failed AWS call. `operation` is what was being done to which resource, in words.
    ///
    /// Errors are matched by code, because throttling, access and validation errors are not
    /// modelled as variants of each operation.
    pub fn from_call<E>(operation: impl Into<String>, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let code = error.code().unwrap_or_default().to_owned();
        let server_fault = error.raw_response().is_some_and(|response| response.status().is_server_error());
        let answered = matches!(error, SdkError::ServiceError(_));
        let failure = CallFailure {
            operation: operation.into(),
            code,
            message: error.message().map_or_else(|| error.to_string(), str::to_owned),
            source: Some(Box::new(error)),
        };
        Self::from_failure(failure, server_fault || !answered)
    }

    /// Names a failed call that no SDK made. `unanswered`: the service could not answer, or did not.
    pub fn from_failure(failure: CallFailure, unanswered: bool) -> Self {
        match failure.code.as_str() {
            "DBInstanceNotFound" | "DBInstanceNotFoundFault" => Self::InstanceNotFound(failure.to_string()),
            "DBSnapshotNotFound" | "DBSnapshotNotFoundFault" => Self::SnapshotNotFound(failure.to_string()),
            "InvalidDBInstanceState" | "InvalidDBInstanceStateFault" => Self::InvalidInstanceState(failure),
            "InvalidDBSnapshotState" | "InvalidDBSnapshotStateFault" => Self::InvalidSnapshotState(failure),
            "BlueGreenDeploymentNotFoundFault" => Self::DeploymentNotFound(failure.to_string()),
            "InvalidBlueGreenDeploymentStateFault" => Self::InvalidDeploymentState(failure),
            "SourceDatabaseNotSupportedFault" => Self::BlueGreenNotSupported(failure.to_string()),
            "KMSKeyNotAccessibleFault" => Self::KeyNotUsable(failure.to_string()),
            "InsufficientDBInstanceCapacity" | "InsufficientDBInstanceCapacityFault" => {
                Self::CapacityUnavailable(failure)
            }
            "SnapshotQuotaExceeded" | "InstanceQuotaExceeded" | "StorageQuotaExceeded" => Self::QuotaExceeded(failure),
            // Of AWS DMS.
            "InvalidResourceStateFault" => Self::InvalidInstanceState(failure),
            "InsufficientResourceCapacityFault" => Self::CapacityUnavailable(failure),
            "ResourceQuotaExceededFault" | "StorageQuotaExceededFault" => Self::QuotaExceeded(failure),
            "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestLimitExceeded"
            | "TooManyRequestsException" => Self::Throttled(failure),
            "AccessDenied"
            | "AccessDeniedException"
            | "AccessDeniedFault"
            | "UnauthorizedOperation"
            | "NotAuthorized" => Self::AccessDenied(failure),
            _ if unanswered => Self::ServiceUnavailable(failure),
            _ => Self::RequestRejected(failure),
        }
    }
}

/// A call that AWS refused, or that did not come back.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {code}{}{message}", if code.is_empty() { "" } else { ": " })]
pub struct CallFailure {
    pub operation: String,
    /// AWS's error code; empty when no answer arrived.
    pub code: String,
    pub message: String,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl CallFailure {
    /// A call that was not made, because it is known that AWS would refuse it.
    pub fn refused(operation: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { operation: operation.into(), code: code.into(), message: message.into(), source: None }
    }
}

/// A missing or wrong field of a step's input.
pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Error {
    Error::InvalidInput { field: field.into(), problem: problem.into() }
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self { error_type: error.name().to_owned(), error_message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_rds::Client;
    use aws_sdk_rds::operation::copy_db_snapshot::CopyDBSnapshotError;
    use aws_sdk_rds::types::error::SnapshotQuotaExceededFault;
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    #[test]
    fn a_variant_is_named_as_it_is_spelled() {
        let error = invalid("instance_id", "is empty");
        let diagnostic = Diagnostic::from(error);
        assert_eq!(diagnostic.error_type, "InvalidInput");
        assert_eq!(diagnostic.error_message, "`instance_id`: is empty");
    }

    #[tokio::test]
    async fn a_modelled_error_is_named_by_its_code_and_says_what_was_done() {
        let rule = mock!(Client::copy_db_snapshot).then_error(|| {
            CopyDBSnapshotError::SnapshotQuotaExceededFault(
                SnapshotQuotaExceededFault::builder()
                    .message("at most 100")
                    .meta(aws_sdk_rds::error::ErrorMetadata::builder().code("SnapshotQuotaExceeded").build())
                    .build(),
            )
        });
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&rule]);
        let error = client.copy_db_snapshot().send().await.expect_err("quota");
        let error = Error::from_call("copy snapshot `a` to `b`", error);
        assert_eq!(error.name(), "QuotaExceeded");
        assert!(error.to_string().starts_with("copy snapshot `a` to `b`: SnapshotQuotaExceeded"), "{error}");
    }

    #[tokio::test]
    async fn a_server_fault_without_a_code_is_service_unavailable() {
        let rule = mock!(Client::copy_db_snapshot).sequence().http_status(503, None).times(4).build();
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&rule]);
        let error = client.copy_db_snapshot().send().await.expect_err("unavailable");
        assert_eq!(Error::from_call("copy", error).name(), "ServiceUnavailable");
    }
}
