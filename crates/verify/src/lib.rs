//! Reads source and target side by side. Only a target that is encrypted under the asked key, available
//! and equal in every setting that was not announced to differ passes.
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
use workflow::options::Cutover;
use workflow::settings::{BACKUPS, Field, Settings, TABLE, Travels};
use workflow::wanted::Wanted;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub target_instance_id: InstanceId,
    pub target_resource_id: Option<String>,
    pub kms_key_arn: String,
    /// As the plan saw it; the source is looked at again.
    pub wanted: Wanted,
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
    /// `key=value`: put there by others, or taken off the source, and left alone.
    pub tags_only_on_target: Vec<String>,
    /// What somebody changed at the source since the plan.
    pub changed_since_plan: Vec<String>,
    /// The same in words, for the mail that asks for an approval.
    pub summary: String,
}

pub async fn handle(client: &Client, request: Request) -> Result<Proof, Error> {
    let target = find_target(client, &request.target_instance_id, request.target_resource_id.as_deref()).await?;
    let (wanted, changed_since_plan) = request.wanted.now(client).await?;
    let mut problems = encryption_problems(&target, &request.kms_key_arn);
    if target.dbi_resource_id() == Some(wanted.source_resource_id.as_str()) {
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
    problems.extend(wanted.settings.differences(&settings).iter().map(ToString::to_string));
    let missing = wanted.missing_tags(target.tag_list());
    problems.extend(missing.iter().map(|tag| format!("tag {tag} is missing on the target")));
    if !problems.is_empty() {
        return Err(Error::NotProven(format!(
            "DB instance `{}` is not proven: {}",
            request.target_instance_id,
            problems.join("; ")
        )));
    }
    Ok(proof(&target, &wanted, request.kms_key_arn, changed_since_plan))
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

fn proof(target: &DbInstance, wanted: &Wanted, kms_key_arn: String, changed_since_plan: Vec<String>) -> Proof {
    // What comes last, after this proof, is read back when it is set.
    let comes_last =
        |field: &Field| field.travels == Travels::Last || wanted.cutover == Cutover::Rename && field.name == BACKUPS;
    let compared = TABLE
        .iter()
        .filter(|field| !comes_last(field))
        .filter_map(|field| field.setting)
        .filter(|setting| wanted.settings.get(setting).is_some());
    let compared: Vec<String> = compared.map(str::to_owned).chain(["Tags".to_owned()]).collect();
    let differs = TABLE.iter().filter(|field| field.travels == Travels::DiffersOnPurpose || comes_last(field));
    let differs_on_purpose: Vec<String> = differs.map(|field| field.name.to_owned()).collect();
    let foreign = wanted.foreign_tags(target.tag_list());
    let tags_only_on_target: Vec<String> = foreign.iter().map(ToString::to_string).collect();
    let mut summary = format!(
        "Proven: {}, key {kms_key_arn}. Equal on both sides ({}): {}. Different on purpose, or set later: {}.",
        EncryptionClass::of(target),
        compared.len(),
        compared.join(", "),
        differs_on_purpose.join(", ")
    );
    if !tags_only_on_target.is_empty() {
        summary.push_str(&format!(" Tags that only the target has: {}.", tags_only_on_target.join(", ")));
    }
    if !changed_since_plan.is_empty() {
        summary.push_str(&format!(" Changed at the source since the plan: {}.", changed_since_plan.join("; ")));
    }
    Proof {
        summary,
        encryption: EncryptionClass::of(target).to_string(),
        kms_key_arn,
        target_resource_id: target.dbi_resource_id().unwrap_or_default().to_owned(),
        endpoint: target.endpoint().and_then(|endpoint| endpoint.address()).map(str::to_owned),
        compared,
        differs_on_purpose,
        tags_only_on_target,
        changed_since_plan,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_rds::error::ErrorMetadata;
    use aws_sdk_rds::operation::describe_db_instances::{DescribeDBInstancesError, DescribeDbInstancesOutput};
    use aws_sdk_rds::types::builders::DbInstanceBuilder;
    use aws_sdk_rds::types::{Endpoint, PendingModifiedValues, StorageEncryptionType, Tag};
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};

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
            .set_tag_list(Some(tags("a")))
    }

    fn team(value: &str) -> Tag {
        Tag::builder().key("team").value(value).build()
    }

    /// Ours, and the user's.
    fn tags(team_value: &str) -> Vec<Tag> {
        vec![Tag::builder().key("rds-encrypt:execution").value("arn:ours").build(), team(team_value)]
    }

    fn wanted(source: DbInstanceBuilder) -> Wanted {
        Wanted::of(&source.dbi_resource_id("db-SOURCE").tag_list(team("a")).build(), Cutover::None)
    }

    fn request() -> Request {
        Request {
            target_instance_id: InstanceId::parse("orders-encrypted").expect("legal"),
            target_resource_id: Some("db-TARGET".into()),
            kms_key_arn: KEY.into(),
            wanted: wanted(source()),
        }
    }

    /// Beside a source that is gone, so as the plan saw it.
    async fn verify(target: DbInstanceBuilder, request: Request) -> Result<Proof, Error> {
        verify_beside(None, target, request).await
    }

    async fn verify_beside(
        source: Option<DbInstance>,
        target: DbInstanceBuilder,
        request: Request,
    ) -> Result<Proof, Error> {
        let target = target.build();
        let describe = mock!(Client::describe_db_instances)
            .match_requests(|input| input.db_instance_identifier() == Some("orders-encrypted"))
            .then_output(move || DescribeDbInstancesOutput::builder().db_instances(target.clone()).build());
        let source = source_is(source);
        handle(&mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe, &source]), request).await
    }

    fn source_is(source: Option<DbInstance>) -> Rule {
        mock!(Client::describe_db_instances)
            .match_requests(|input| input.filters().iter().any(|filter| filter.values() == ["db-SOURCE"]))
            .then_output(move || {
                DescribeDbInstancesOutput::builder().set_db_instances(Some(source.iter().cloned().collect())).build()
            })
    }

    /// Everything that a target is found to lack.
    async fn problems(target: DbInstanceBuilder, request: Request) -> String {
        let error = verify(target, request).await.expect_err("a target that is not proven");
        assert_eq!(error.name(), "NotProven");
        let text = error.to_string();
        let beginning = "DB instance `orders-encrypted` is not proven: ";
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
            let wanted = wanted(source().db_parameter_groups(group.clone()));
            (target().db_parameter_groups(group), Request { wanted, ..request() })
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
        let target = target().kms_key_id("arn:other").multi_az(false).set_tag_list(Some(tags("b")));
        let said = problems(target, request()).await;
        assert_eq!(
            said,
            format!(
                "its key is arn:other, not {KEY}; MultiAZ: true at the source, false at the target; tag team=a is \
                 missing on the target"
            )
        );
    }

    #[tokio::test]
    async fn what_changed_at_the_source_since_the_plan_is_a_difference() {
        let changed = source().preferred_maintenance_window("mon:01:00-mon:02:00").tag_list(team("b")).build();
        let error = verify_beside(Some(changed.clone()), target(), request()).await.expect_err("they differ");
        let said = error.to_string();
        assert!(said.contains("PreferredMaintenanceWindow: \"mon:01:00-mon:02:00\" at the source"), "{said}");
        assert!(said.contains("tag team=b is missing on the target"), "{said}");
        let target = target().preferred_maintenance_window("mon:01:00-mon:02:00").set_tag_list(Some(tags("b")));
        let proof = verify_beside(Some(changed), target, request()).await.expect("proven");
        assert_eq!(proof.changed_since_plan.len(), 2, "{proof:?}");
        assert!(proof.summary.contains("Changed at the source since the plan: Preferred"), "{proof:?}");
    }

    #[tokio::test]
    async fn backups_that_wait_for_the_cutover_are_not_claimed_to_be_equal() {
        let source = source().dbi_resource_id("db-SOURCE").backup_retention_period(7).build();
        let proven = async |cutover, days| {
            let request = Request { wanted: Wanted::of(&source, cutover), ..request() };
            let proof = verify(target().backup_retention_period(days), request).await.expect("proven");
            let has = |list: &[String]| list.iter().any(|name| name == BACKUPS);
            (has(&proof.compared), has(&proof.differs_on_purpose))
        };
        assert_eq!(proven(Cutover::None, 7).await, (true, false));
        assert_eq!(proven(Cutover::Rename, 0).await, (false, true));
    }

    #[tokio::test]
    async fn tags_that_others_put_on_the_target_are_told_and_are_no_problem() {
        let robot = Tag::builder().key("created-by").value("robot").build();
        let proof = verify(target().tag_list(robot), request()).await.expect("proven");
        assert_eq!(proof.tags_only_on_target, ["created-by=robot"]);
        assert!(proof.summary.contains("Tags that only the target has: created-by=robot."), "{proof:?}");
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
        let source = source_is(None);
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&source, &describe]);
        assert!(handle(&client, request()).await.is_ok());
        assert_eq!(describe.num_calls(), 3);
    }
}
