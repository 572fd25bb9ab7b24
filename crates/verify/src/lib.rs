//! The commit point: reads source and target side by side. Only a target that is encrypted under the
//! asked key, steadily available and equal in every setting that was not announced to differ passes.
//!
//! AWS calls: DescribeDBInstances.
//!
//! Repeating it is safe: it only reads.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbInstance, DbParameterGroupStatus};
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::describe::{find_target, has_pending_modifications};
use workflow::encryption::EncryptionClass;
use workflow::ids::InstanceId;
use workflow::owner::{Owner, TagPair, user_tags};
use workflow::settings::{Settings, TABLE, Travels};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub target_instance_id: InstanceId,
    pub target_resource_id: Option<String>,
    pub kms_key_arn: String,
    /// The source's, as the plan captured them.
    pub settings: Settings,
    pub tags: Vec<TagPair>,
    pub owner: Owner,
}

/// The short proof that the execution's output holds.
#[derive(Debug, Deserialize, Serialize)]
pub struct Proof {
    pub encryption: String,
    pub kms_key_arn: String,
    pub target_resource_id: String,
    pub endpoint: Option<String>,
    /// Settings that are equal on both sides, tags and roles included.
    pub compared: Vec<String>,
    pub differs_on_purpose: Vec<String>,
    /// The same in words, for the mail that asks for an approval.
    pub summary: String,
}

pub async fn handle(client: &Client, request: Request) -> Result<Proof, Error> {
    let target = find_target(client, &request.target_instance_id, request.target_resource_id.as_deref()).await?;
    let mut problems = encryption_problems(&target, &request.kms_key_arn);
    if target.dbi_resource_id() == Some(request.owner.source_resource_id.as_str()) {
        problems.push("the target is the source itself".to_owned());
    }
    let status = target.db_instance_status().unwrap_or_default();
    if !workflow::status::serves_clients(status) {
        problems.push(format!("its status is `{status}`, not `available`"));
    }
    if has_pending_modifications(&target) {
        problems.push("modifications of it are pending".to_owned());
    }
    problems.extend(parameter_group_problems(&target));
    let settings = Settings::capture(&target);
    problems.extend(request.settings.differences(&settings).iter().map(ToString::to_string));
    problems.extend(tag_problems(&request.tags, &user_tags(target.tag_list())));
    if !problems.is_empty() {
        return Err(Error::NotProven(format!(
            "DB instance `{}` is not what was planned: {}",
            request.target_instance_id,
            problems.join("; ")
        )));
    }
    Ok(proof(&target, &request))
}

/// The class and the key, read back from the instance itself.
fn encryption_problems(target: &DbInstance, kms_key_arn: &str) -> Vec<String> {
    let class = EncryptionClass::of(target);
    let mut problems = vec![];
    if class != EncryptionClass::KmsKey {
        problems.push(format!("it is {class}"));
    }
    if target.kms_key_id() != Some(kms_key_arn) {
        problems.push(format!("its key is {}, not {kms_key_arn}", target.kms_key_id().unwrap_or("none")));
    }
    problems
}

/// A group that is the right one says nothing about the parameters that are in force.
fn parameter_group_problems(target: &DbInstance) -> Vec<String> {
    let groups = target.db_parameter_groups().iter();
    let problem = |group: &DbParameterGroupStatus| {
        let status = group.parameter_apply_status().unwrap_or("of unknown status");
        let name = group.db_parameter_group_name().unwrap_or_default();
        (status != "in-sync").then(|| format!("its parameter group `{name}` is {status}, not in-sync"))
    };
    groups.filter_map(problem).collect()
}

fn tag_problems(source: &[TagPair], target: &[TagPair]) -> Vec<String> {
    let missing = source.iter().filter(|tag| !target.contains(tag)).map(|tag| ("is missing on the target", tag));
    let added = target.iter().filter(|tag| !source.contains(tag)).map(|tag| ("is only on the target", tag));
    missing.chain(added).map(|(what, tag)| format!("tag {}={} {what}", tag.key, tag.value)).collect()
}

fn proof(target: &DbInstance, request: &Request) -> Proof {
    let fields = |travels: &[Travels]| -> Vec<String> {
        TABLE.iter().filter(|field| travels.contains(&field.travels)).map(|field| field.name.to_owned()).collect()
    };
    // What comes last, after this proof, is read back when it is set.
    let compared = TABLE
        .iter()
        .filter(|field| field.travels != Travels::Last)
        .filter_map(|field| field.setting)
        .filter(|setting| request.settings.get(setting).is_some());
    let compared: Vec<String> = compared.map(str::to_owned).chain(["Tags".to_owned()]).collect();
    let differs_on_purpose = fields(&[Travels::DiffersOnPurpose]);
    let summary = format!(
        "Proven: {}, key {}. Equal on both sides ({}): {}. Different on purpose: {}.",
        EncryptionClass::of(target),
        request.kms_key_arn,
        compared.len(),
        compared.join(", "),
        differs_on_purpose.join(", ")
    );
    Proof {
        summary,
        encryption: EncryptionClass::of(target).to_string(),
        kms_key_arn: request.kms_key_arn.clone(),
        target_resource_id: target.dbi_resource_id().unwrap_or_default().to_owned(),
        endpoint: target.endpoint().and_then(|endpoint| endpoint.address()).map(str::to_owned),
        compared,
        differs_on_purpose,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_rds::error::ErrorMetadata;
    use aws_sdk_rds::operation::describe_db_instances::{DescribeDBInstancesError, DescribeDbInstancesOutput};
    use aws_sdk_rds::types::builders::DbInstanceBuilder;
    use aws_sdk_rds::types::{Endpoint, PendingModifiedValues, StorageEncryptionType, Tag};
    use aws_smithy_mocks::{RuleMode, mock, mock_client};

    const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    fn source() -> DbInstanceBuilder {
        DbInstance::builder()
            .engine("postgres")
            .multi_az(true)
            .preferred_maintenance_window("sun:01:00-sun:02:00")
            .deletion_protection(true)
    }

    fn parameter_group(status: &str) -> DbParameterGroupStatus {
        DbParameterGroupStatus::builder().db_parameter_group_name("tuned").parameter_apply_status(status).build()
    }

    /// What a run makes of the source.
    fn target() -> DbInstanceBuilder {
        source()
            .deletion_protection(false)
            .db_instance_status("available")
            .dbi_resource_id("db-TARGET")
            .endpoint(Endpoint::builder().address("orders-encrypted.example").build())
            .storage_encrypted(true)
            .storage_encryption_type(StorageEncryptionType::Cmk)
            .kms_key_id(KEY)
            .set_tag_list(Some(owner().tags_with(&[team("a")])))
    }

    fn owner() -> Owner {
        Owner { execution: "arn:ours".into(), source_resource_id: "db-SOURCE".into() }
    }

    fn team(value: &str) -> TagPair {
        TagPair { key: "team".into(), value: value.into() }
    }

    fn request() -> Request {
        Request {
            target_instance_id: InstanceId::parse("orders-encrypted").expect("legal"),
            target_resource_id: Some("db-TARGET".into()),
            kms_key_arn: KEY.into(),
            settings: Settings::capture(&source().build()),
            tags: vec![team("a")],
            owner: owner(),
        }
    }

    async fn verify(target: DbInstanceBuilder, request: Request) -> Result<Proof, Error> {
        let target = target.build();
        let describe = mock!(Client::describe_db_instances)
            .match_requests(|input| input.db_instance_identifier() == Some("orders-encrypted"))
            .then_output(move || DescribeDbInstancesOutput::builder().db_instances(target.clone()).build());
        handle(&mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe]), request).await
    }

    /// Everything that a target is found to lack.
    async fn problems(target: DbInstanceBuilder, request: Request) -> String {
        let error = verify(target, request).await.expect_err("a target that is not proven");
        assert_eq!(error.name(), "NotProven");
        let text = error.to_string();
        let beginning = "DB instance `orders-encrypted` is not what was planned: ";
        text.strip_prefix(beginning).unwrap_or_else(|| panic!("{text}")).to_owned()
    }

    #[tokio::test]
    async fn a_proof_says_what_was_compared_and_what_differs_on_purpose() {
        let proof = verify(target(), request()).await.expect("proven");
        assert_eq!(proof.encryption, "encrypted under a KMS key (sse-kms)");
        assert_eq!((proof.kms_key_arn.as_str(), proof.target_resource_id.as_str()), (KEY, "db-TARGET"));
        assert_eq!(proof.endpoint.as_deref(), Some("orders-encrypted.example"));
        let has = |names: &[String], name: &str| names.iter().any(|listed| listed == name);
        for name in ["Engine", "MultiAZ", "PreferredMaintenanceWindow", "Tags"] {
            assert!(has(&proof.compared, name), "{name}: {proof:?}");
        }
        let summary = &proof.summary;
        assert!(summary.starts_with(&format!("Proven: encrypted under a KMS key (sse-kms), key {KEY}. ")), "{summary}");
        assert!(has(&proof.differs_on_purpose, "KmsKeyId") && has(&proof.differs_on_purpose, "DbiResourceId"));
    }

    #[tokio::test]
    async fn a_proof_claims_nothing_of_what_comes_after_it() {
        let proof = verify(target(), request()).await.expect("deletion protection comes last");
        assert!(!proof.compared.iter().any(|name| name == "DeletionProtection"), "{proof:?}");
    }

    #[tokio::test]
    async fn each_problem_stops_the_run_by_its_name() {
        let pending = PendingModifiedValues::builder().allocated_storage(200).build();
        for (target, problem) in [
            (
                target().storage_encryption_type(StorageEncryptionType::Unencrypted).storage_encrypted(false),
                "it is not encrypted",
            ),
            (
                target().storage_encryption_type(StorageEncryptionType::Sse),
                "it is encrypted under an AWS-owned key (sse-rds)",
            ),
            (target().set_storage_encryption_type(None).storage_encrypted(false), "it is not encrypted"),
            (target().db_instance_status("creating"), "its status is `creating`, not `available`"),
            (target().db_instance_status("stopped"), "its status is `stopped`, not `available`"),
            (target().pending_modified_values(pending), "modifications of it are pending"),
            (target().multi_az(false), "MultiAZ: true at the source, false at the target"),
            (
                target().set_preferred_maintenance_window(None),
                "PreferredMaintenanceWindow: \"sun:01:00-sun:02:00\" at the source, not set at the target",
            ),
            (target().set_tag_list(Some(vec![])), "tag team=a is missing on the target"),
            (target().tag_list(Tag::builder().key("cost").value("b").build()), "tag cost=b is only on the target"),
        ] {
            assert_eq!(problems(target, request()).await, problem);
        }
    }

    #[tokio::test]
    async fn another_key_than_the_pinned_one_is_not_proof() {
        let other = problems(target().kms_key_id("arn:other"), request()).await;
        assert_eq!(other, format!("its key is arn:other, not {KEY}"));
        let none = problems(target().set_kms_key_id(None), request()).await;
        assert_eq!(none, format!("its key is none, not {KEY}"));
    }

    #[tokio::test]
    async fn parameters_that_are_not_in_force_are_not_proof() {
        let with_group = |status: &str| {
            let group = parameter_group(status);
            let settings = Settings::capture(&source().db_parameter_groups(group.clone()).build());
            (target().db_parameter_groups(group), Request { settings, ..request() })
        };
        let (target, request) = with_group("pending-reboot");
        let said = problems(target, request).await;
        assert_eq!(said, "its parameter group `tuned` is pending-reboot, not in-sync");
        let (target, request) = with_group("in-sync");
        assert!(verify(target, request).await.is_ok());
    }

    #[tokio::test]
    async fn the_source_does_not_prove_itself() {
        let source = target().dbi_resource_id("db-SOURCE");
        let request = Request { target_resource_id: None, ..request() };
        assert_eq!(problems(source, request).await, "the target is the source itself");
    }

    #[tokio::test]
    async fn all_problems_are_told_at_once() {
        let target =
            target().kms_key_id("arn:other").multi_az(false).set_tag_list(Some(owner().tags_with(&[team("b")])));
        let said = problems(target, request()).await;
        assert_eq!(
            said,
            format!(
                "its key is arn:other, not {KEY}; MultiAZ: true at the source, false at the target; tag team=a is \
                 missing on the target; tag team=b is only on the target"
            )
        );
    }

    #[tokio::test]
    async fn awss_and_our_own_tags_are_no_difference() {
        let stack = Tag::builder().key("aws:cloudformation:stack-name").value("s").build();
        assert!(verify(target().tag_list(stack), request()).await.is_ok());
    }

    #[tokio::test]
    async fn a_first_backup_does_not_stand_in_the_way() {
        assert!(verify(target().db_instance_status("backing-up"), request()).await.is_ok());
    }

    #[tokio::test]
    async fn another_instance_under_the_targets_name_is_named() {
        let error = verify(target().dbi_resource_id("db-ANOTHER"), request()).await.expect_err("another");
        assert_eq!(error.name(), "InstanceNotFound");
        assert!(error.to_string().contains("db-ANOTHER instead of db-TARGET"), "{error}");
    }

    #[tokio::test]
    async fn a_call_that_rds_refuses_is_named() {
        for (code, name) in
            [("DBInstanceNotFound", "InstanceNotFound"), ("Throttling", "Throttled"), ("AccessDenied", "AccessDenied")]
        {
            let describe = mock!(Client::describe_db_instances)
                .then_error(move || DescribeDBInstancesError::generic(ErrorMetadata::builder().code(code).build()));
            let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe]);
            assert_eq!(handle(&client, request()).await.expect_err(code).name(), name);
        }
    }

    #[tokio::test]
    async fn throttling_that_ends_is_not_noticed() {
        let describe = mock!(Client::describe_db_instances)
            .sequence()
            .http_status(503, None)
            .times(2)
            .output(|| DescribeDbInstancesOutput::builder().db_instances(target().build()).build())
            .build();
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe]);
        assert!(handle(&client, request()).await.is_ok());
        assert_eq!(describe.num_calls(), 3);
    }
}
