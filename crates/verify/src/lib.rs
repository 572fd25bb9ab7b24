//! Reads source and target side by side. Only a target that is encrypted under the asked key, at rest and equal in
//! every setting that was not announced to differ passes.
//!
//! It is one look of a loop: what passes by itself is waited for, and named at the deadline. A difference that
//! nothing on its way can mend ends the run at once.
//!
//! After a switchover it proves that the names lead to what was proven before.
//!
//! AWS calls: DescribeDBInstances; after a switchover DescribeBlueGreenDeployments.
//!
//! Repeating it is safe: it only reads.

mod switchover;

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbInstance;
use serde::{Deserialize, Serialize};
use settings::member::{Member, Members};
use settings::wanted::{Seen, Sight, Wanted};
use settings::{BACKUPS, Difference, Field, Force, SECURITY_GROUPS, Settings, TABLE, Travels};
use workflow::Error;
use workflow::deployment::Target;
use workflow::describe::has_pending_modifications;
use workflow::encryption::EncryptionClass;
use workflow::ids::InstanceId;
use workflow::members::{Each, Pass};
use workflow::options::Cutover;
use workflow::status::{self, Class};
use workflow::wait::{self, Wait};

#[derive(Debug, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Instance(Box<One>),
    /// Every counterpart of a deployment, one after the other.
    Members(Members<Proofs>),
    Switchover(switchover::Request),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct One {
    pub target_instance_id: InstanceId,
    pub target_resource_id: Option<String>,
    pub kms_key_arn: String,
    /// As the plan saw it; the source is looked at again.
    pub wanted: Wanted,
    pub previous: Option<Response>,
    pub max_wait_seconds: u64,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Response {
    /// The loop is over: the proof is there.
    pub ready: bool,
    /// What the target lacks for its proof, and is waited for.
    pub pending: Vec<String>,
    pub seen: Seen,
    pub wait: Wait,
    #[serde(flatten)]
    pub proof: Option<Proof>,
}

/// The short proof that the execution's output holds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Proof {
    pub encryption: String,
    pub kms_key_arn: String,
    pub target_resource_id: String,
    pub endpoint: Option<String>,
    /// Settings that are equal on both sides, tags and roles included.
    pub compared: Vec<String>,
    pub differs_on_purpose: Vec<String>,
    /// Settings that are not equal and need not be, such as storage that grew, each with both values.
    pub tolerated: Vec<String>,
    /// `key=value`: put there by others, or taken off the source, and left alone.
    pub tags_only_on_target: Vec<String>,
    /// What somebody changed at the source since the plan.
    pub changed_since_plan: Vec<String>,
    /// The same in words, for the mail that asks for an approval.
    pub summary: String,
}

/// The loop over the counterparts.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Proofs {
    #[serde(flatten)]
    pub each: Each<Response>,
    /// Of each that is proven, for the mail that asks for an approval.
    pub summary: String,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    One(Box<Response>),
    Each(Proofs),
    Switchover(switchover::Response),
}

pub async fn handle(client: &Client, request: Request) -> Result<Answer, Error> {
    Ok(match request {
        Request::Instance(request) => Answer::One(Box::new(prove(client, *request).await?)),
        Request::Members(mut all) => {
            let previous = all.previous.take().map(|previous| previous.each);
            let max_wait_seconds = all.max_wait_seconds;
            let pass = async |member: &Member, target: &Target, previous| {
                let request = One {
                    target_instance_id: target.instance_id.clone(),
                    target_resource_id: Some(target.resource_id.clone()),
                    kms_key_arn: member.kms_key_arn.clone(),
                    wanted: member.wanted_beside(target),
                    previous,
                    max_wait_seconds,
                };
                prove(client, request).await
            };
            let each = all.each(previous, pass).await?;
            let proofs = all.targets.iter().zip(each.members.iter().filter_map(|member| member.proof.as_ref()));
            let lines = proofs.map(|(target, proof)| format!("{}: {}", target.instance_id, proof.summary));
            let summary = lines.collect::<Vec<_>>().join("\n");
            Answer::Each(Proofs { each, summary })
        }
        Request::Switchover(request) => Answer::Switchover(switchover::look(client, request).await?),
    })
}

impl Pass for Response {
    fn is_ready(&self) -> bool {
        self.ready
    }

    fn wait(&self) -> &Wait {
        &self.wait
    }
}

async fn prove(client: &Client, request: One) -> Result<Response, Error> {
    let One { target_instance_id: id, target_resource_id, kms_key_arn, wanted, previous, max_wait_seconds } = request;
    // A proof that there is already is not this one's: the target has changed since.
    let mut response = previous.filter(|previous| !previous.ready).unwrap_or_default();
    let waited_seconds = response.wait.waited_seconds;
    let sight = response.seen.look(client, waited_seconds, wanted, &id, target_resource_id.as_deref()).await?;
    let (problems, pending) = match &sight {
        Some(Sight { target, wanted, .. }) => look(target, wanted, &kms_key_arn),
        None => (vec![], vec!["RDS leaves it or the source out of its answer".to_owned()]),
    };
    let not_proven =
        |problems: &[String]| Error::NotProven(format!("DB instance `{id}` is not proven: {}", problems.join("; ")));
    if !problems.is_empty() {
        return Err(not_proven(&problems));
    }
    response.pending = pending;
    match sight {
        Some(Sight { target, wanted, changes }) if response.pending.is_empty() => {
            response.ready = true;
            response.proof = Some(proof(&target, &wanted, kms_key_arn, changes));
        }
        _ => {
            response.wait = wait::next(Some(&response.wait), None, max_wait_seconds).map_err(|_| {
                response.pending.push(format!("and so it stayed for {max_wait_seconds} s (max_wait_minutes)"));
                not_proven(&response.pending)
            })?;
        }
    }
    Ok(response)
}

/// What speaks against the target for good, and what only for now.
fn look(target: &DbInstance, wanted: &Wanted, kms_key_arn: &str) -> (Vec<String>, Vec<String>) {
    let mut problems = encryption_problems(target, kms_key_arn);
    let mut pending = vec![];
    if target.dbi_resource_id() == Some(wanted.source_resource_id.as_str()) {
        problems.push("the target is the source itself".to_owned());
    }
    let status = target.db_instance_status().unwrap_or_default();
    match status::instance(status) {
        Class::Failed { remedy } => problems.push(format!("it is `{status}`: {remedy}")),
        _ if rests(status, wanted.cutover) => {}
        _ => pending.push(format!("its status is `{status}`, not `available`")),
    }
    if has_pending_modifications(target) {
        pending.push("modifications of it are pending".to_owned());
    }
    for membership in Settings::not_in_force(target) {
        match membership.force() {
            Force::Failed | Force::NeedsReboot => problems.push(format!("{membership}, not in force")),
            _ => pending.push(membership.to_string()),
        }
    }
    let differences = wanted.settings.differences(&Settings::capture(target));
    let missing = wanted.missing_tags(target.tag_list());
    let differences = differences
        .iter()
        .map(ToString::to_string)
        .chain(missing.iter().map(|tag| format!("tag {tag} is missing on the target")));
    // What is on its way can be what they lack.
    if pending.is_empty() {
        problems.extend(differences)
    } else {
        pending.extend(differences)
    }
    (problems, pending)
}

/// Whether the target is as it will be handed over. Without a cutover clients can live with a backup, which takes
/// hours; a rename would wait for its end, and so the proof does.
fn rests(status: &str, cutover: Cutover) -> bool {
    status::can_be_modified(status) || cutover == Cutover::None && status::serves_clients(status)
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

fn proof(target: &DbInstance, wanted: &Wanted, kms_key_arn: String, changed_since_plan: Vec<String>) -> Proof {
    // What comes last, after this proof, is read back when it is set.
    let comes_last = |field: &Field| {
        let is_quarantined = wanted.quarantine_security_group_id.is_some() && field.setting == Some(SECURITY_GROUPS);
        field.travels == Travels::Last || wanted.backups_wait() && field.name == BACKUPS || is_quarantined
    };
    let tolerated = wanted.settings.tolerated(&Settings::capture(target));
    let is_tolerated = |setting: &&str| tolerated.iter().any(|difference| difference.field == *setting);
    let compared = TABLE
        .iter()
        .filter(|field| !comes_last(field))
        .filter_map(|field| field.setting)
        .filter(|setting| wanted.settings.get(setting).is_some() && !is_tolerated(setting));
    let tags = (!wanted.tags_come_with_switchover).then(|| "Tags".to_owned());
    let compared: Vec<String> = compared.map(str::to_owned).chain(tags.clone()).collect();
    let differs = TABLE.iter().filter(|field| field.travels == Travels::DiffersOnPurpose || comes_last(field));
    let later = tags.is_none().then(|| "Tags".to_owned());
    let differs_on_purpose: Vec<String> = differs.map(|field| field.name.to_owned()).chain(later).collect();
    let tolerated: Vec<String> = tolerated.iter().map(Difference::to_string).collect();
    let foreign = wanted.foreign_tags(target.tag_list());
    let tags_only_on_target: Vec<String> = foreign.iter().map(ToString::to_string).collect();
    let quarantine = wanted.quarantine_security_group_id.iter();
    let mut summary = format!(
        "Proven: {}, key {kms_key_arn}. Equal on both sides ({}): {}. Different on purpose, or set later: {}.",
        EncryptionClass::of(target),
        compared.len(),
        compared.join(", "),
        differs_on_purpose.join(", ")
    );
    for (what, told) in [
        (" In quarantine behind", quarantine.cloned().collect::<Vec<_>>().join(", ")),
        (" Not equal, and need not be:", tolerated.join("; ")),
        (" Tags that only the target has:", tags_only_on_target.join(", ")),
        (" Changed at the source since the plan:", changed_since_plan.join("; ")),
    ] {
        if !told.is_empty() {
            summary.push_str(&format!("{what} {told}."));
        }
    }
    Proof {
        summary,
        encryption: EncryptionClass::of(target).to_string(),
        kms_key_arn,
        target_resource_id: target.dbi_resource_id().unwrap_or_default().to_owned(),
        endpoint: target.endpoint().and_then(|endpoint| endpoint.address()).map(str::to_owned),
        compared,
        differs_on_purpose,
        tolerated,
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
    use aws_sdk_rds::types::{
        DbInstanceRole, DbParameterGroupStatus, Endpoint, OptionGroupMembership, PendingModifiedValues,
        StorageEncryptionType, Tag, VpcSecurityGroupMembership,
    };
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};

    const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    fn source() -> DbInstanceBuilder {
        DbInstance::builder()
            .engine("postgres")
            .multi_az(true)
            .preferred_maintenance_window("sun:01:00-sun:02:00")
            .deletion_protection(true)
    }

    /// As RDS reports it.
    fn named(source: DbInstanceBuilder) -> DbInstance {
        source.db_instance_identifier("orders").dbi_resource_id("db-SOURCE").build()
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
        Wanted::of(&named(source.tag_list(team("a"))), Cutover::None)
    }

    fn request() -> One {
        One {
            target_instance_id: InstanceId::parse("orders-encrypted").expect("legal"),
            target_resource_id: Some("db-TARGET".into()),
            kms_key_arn: KEY.into(),
            wanted: wanted(source()),
            previous: None,
            max_wait_seconds: 3_600,
        }
    }

    /// Beside a source that is as good as gone, so as the plan saw it.
    async fn verify(target: DbInstanceBuilder, request: One) -> Result<Proof, Error> {
        verify_beside(None, target, request).await
    }

    async fn verify_beside(
        source: Option<DbInstance>,
        target: DbInstanceBuilder,
        request: One,
    ) -> Result<Proof, Error> {
        let response = look_beside(source, target, request).await?;
        assert!(response.ready, "it waits: {response:?}");
        Ok(response.proof.expect("a proof"))
    }

    /// What a target is found to lack for now.
    async fn pending(target: DbInstanceBuilder, request: One) -> Vec<String> {
        let response = look_beside(None, target, request).await.expect("a look");
        assert!(!response.ready && response.proof.is_none() && response.wait.wait_seconds > 0, "{response:?}");
        response.pending
    }

    async fn look_beside(
        source: Option<DbInstance>,
        target: DbInstanceBuilder,
        request: One,
    ) -> Result<Response, Error> {
        let target = target.build();
        let describe = mock!(Client::describe_db_instances)
            .match_requests(|input| input.db_instance_identifier() == Some("orders-encrypted"))
            .then_output(move || DescribeDbInstancesOutput::builder().db_instances(target.clone()).build());
        let source = source_is(source);
        prove(&mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe, &source]), request).await
    }

    fn source_is(source: Option<DbInstance>) -> Rule {
        let source = source.unwrap_or_else(|| named(self::source().db_instance_status("deleting")));
        mock!(Client::describe_db_instances)
            .match_requests(|input| input.filters().iter().any(|filter| filter.values() == ["db-SOURCE"]))
            .then_output(move || DescribeDbInstancesOutput::builder().db_instances(source.clone()).build())
    }

    /// Everything that a target is found to lack.
    async fn problems(target: DbInstanceBuilder, request: One) -> String {
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
            (
                target().db_instance_status("storage-full"),
                "it is `storage-full`: raise its allocated storage with `aws rds modify-db-instance`, and wait until \
                 it is `available`",
            ),
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
            (target().db_parameter_groups(group), One { wanted, ..request() })
        };
        let (target, request) = with_group("pending-reboot");
        let said = problems(target, request).await;
        assert_eq!(said, "DBParameterGroups: `tuned` is pending-reboot, not in force");
        let (target, request) = with_group("applying");
        assert_eq!(pending(target, request).await, ["DBParameterGroups: `tuned` is applying"]);
        let (target, request) = with_group("in-sync");
        assert!(verify(target, request).await.is_ok());
    }

    #[tokio::test]
    async fn a_membership_is_proof_once_it_is_in_force() {
        let option_group =
            |status: &str| OptionGroupMembership::builder().option_group_name("audit").status(status).build();
        let role = |status: &str| DbInstanceRole::builder().role_arn("arn:1").feature_name("s3").status(status).build();
        let group =
            |status: &str| VpcSecurityGroupMembership::builder().vpc_security_group_id("sg-1").status(status).build();
        let source = source()
            .option_group_memberships(option_group("in-sync"))
            .associated_roles(role("ACTIVE"))
            .vpc_security_groups(group("active"));
        let request = || One { wanted: wanted(source.clone()), ..request() };
        let target = |options: &str, assumed: &str, security: &str| {
            let target = target().option_group_memberships(option_group(options)).associated_roles(role(assumed));
            target.vpc_security_groups(group(security))
        };
        assert!(verify(target("in-sync", "ACTIVE", "active"), request()).await.is_ok());
        assert_eq!(
            pending(target("pending-apply", "PENDING", "adding"), request()).await,
            [
                "OptionGroupMemberships: `audit` is pending-apply",
                "VpcSecurityGroups: `sg-1` is adding",
                "AssociatedRoles: `arn:1` is PENDING",
            ]
        );
        for (target, failed) in [
            (target("failed", "ACTIVE", "active"), "OptionGroupMemberships: `audit` is failed, not in force"),
            (target("in-sync", "INVALID", "active"), "AssociatedRoles: `arn:1` is INVALID, not in force"),
        ] {
            let said = problems(target, request()).await;
            assert!(said.starts_with(failed), "{said}");
        }
    }

    #[tokio::test]
    async fn what_passes_by_itself_is_waited_for_and_named_at_the_deadline() {
        let modification = PendingModifiedValues::builder().multi_az(true).build();
        for (target, waits_for) in [
            (target().db_instance_status("maintenance"), vec!["its status is `maintenance`, not `available`"]),
            (target().db_instance_status("rebooting"), vec!["its status is `rebooting`, not `available`"]),
            (
                // It is what the difference waits for.
                target().multi_az(false).pending_modified_values(modification),
                vec!["modifications of it are pending", "MultiAZ: true at the source, false at the target"],
            ),
        ] {
            assert_eq!(pending(target.clone(), request()).await, waits_for);
            let late = Response { wait: Wait { waited_seconds: 3_600, ..Wait::default() }, ..Response::default() };
            let said = problems(target, One { previous: Some(late), ..request() }).await;
            assert_eq!(said, format!("{}; and so it stayed for 3600 s (max_wait_minutes)", waits_for.join("; ")));
        }
        let unencrypted =
            target().db_instance_status("maintenance").storage_encryption_type(StorageEncryptionType::Sse);
        assert!(problems(unencrypted, request()).await.starts_with("it is encrypted under an AWS-owned key"));
    }

    /// They last for hours and days, and nothing is left to do.
    #[tokio::test]
    async fn what_clients_can_live_with_does_not_stand_in_the_way() {
        for status in ["available", "storage-optimization", "storage-initialization"] {
            for cutover in [Cutover::None, Cutover::Rename] {
                let request = One { wanted: Wanted { cutover, ..request().wanted }, ..request() };
                assert!(verify(target().db_instance_status(status), request).await.is_ok(), "{status}");
            }
        }
        let backing_up = || target().db_instance_status("backing-up");
        assert!(verify(backing_up(), request()).await.is_ok());
        // A rename asks for more.
        let wanted = Wanted { cutover: Cutover::Rename, ..request().wanted };
        assert_eq!(
            pending(backing_up(), One { wanted, ..request() }).await,
            ["its status is `backing-up`, not `available`"]
        );
    }

    #[tokio::test]
    async fn one_empty_answer_is_no_reason_to_throw_the_target_away() {
        let nothing = mock!(Client::describe_db_instances).then_output(|| DescribeDbInstancesOutput::builder().build());
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&nothing]);
        let response = prove(&client, request()).await.expect("a look");
        assert_eq!(response.pending, ["RDS leaves it or the source out of its answer"]);
        assert!(!response.ready && response.wait.wait_seconds > 0, "{response:?}");
        let late = Response { wait: Wait { waited_seconds: 300, ..Wait::default() }, ..response };
        let error = prove(&client, One { previous: Some(late), ..request() }).await.expect_err("gone");
        assert_eq!(error.name(), "InstanceNotFound");
    }

    #[tokio::test]
    async fn a_look_goes_on_from_the_one_before_and_a_proof_begins_anew() {
        let busy = || target().db_instance_status("maintenance");
        let first = look_beside(None, busy(), request()).await.expect("a look");
        let state = serde_json::to_value(&first).expect("a state");
        assert_eq!(state.get("encryption"), None, "{state}");
        let previous = serde_json::from_value(state).expect("a look");
        let second = look_beside(None, busy(), One { previous: Some(previous), ..request() }).await.expect("a look");
        assert!(second.wait.waited_seconds > first.wait.waited_seconds, "{second:?}");
        let proven = look_beside(None, target(), One { previous: Some(second), ..request() }).await.expect("proven");
        let state = serde_json::to_value(&proven).expect("a state");
        assert_eq!((&state["ready"], &state["endpoint"]), (&true.into(), &"orders-encrypted.example".into()));
        let previous = serde_json::from_value(state).expect("a proof");
        let again = look_beside(None, busy(), One { previous: Some(previous), ..request() }).await.expect("a look");
        assert!(!again.ready && again.proof.is_none(), "{again:?}");
        assert_eq!(again.wait.waited_seconds, again.wait.wait_seconds);
    }

    #[tokio::test]
    async fn a_quarantine_is_proven_and_said_to_differ() {
        let group = |id| VpcSecurityGroupMembership::builder().vpc_security_group_id(id).status("active").build();
        let source = named(source().vpc_security_groups(group("sg-1")));
        let quarantined = |group: Option<&str>| {
            let wanted = Wanted::of(&source, Cutover::None);
            One { wanted: Wanted { quarantine_security_group_id: group.map(str::to_owned), ..wanted }, ..request() }
        };
        let target = |id| target().vpc_security_groups(group(id));
        let proof = verify(target("sg-q"), quarantined(Some("sg-q"))).await.expect("proven");
        let has = |list: &[String], name: &str| list.iter().any(|listed| listed == name);
        assert!(
            has(&proof.differs_on_purpose, "VpcSecurityGroups") && !has(&proof.compared, SECURITY_GROUPS),
            "{proof:?}"
        );
        assert!(proof.summary.contains("In quarantine behind sg-q."), "{proof:?}");
        problems(target("sg-1"), quarantined(Some("sg-q"))).await;
        let proof = verify(target("sg-1"), quarantined(None)).await.expect("proven");
        assert!(
            has(&proof.compared, SECURITY_GROUPS) && !has(&proof.differs_on_purpose, "VpcSecurityGroups"),
            "{proof:?}"
        );
        problems(target("sg-q"), quarantined(None)).await;
    }

    #[tokio::test]
    async fn storage_that_grew_is_told_and_not_claimed_to_be_equal() {
        let wanted = wanted(source().allocated_storage(100));
        let proof = verify(target().allocated_storage(120), One { wanted, ..request() }).await.expect("proven");
        assert_eq!(proof.tolerated, ["AllocatedStorage: 100 at the source, 120 at the target"]);
        assert!(!proof.compared.iter().any(|name| name == "AllocatedStorage"), "{proof:?}");
        assert!(proof.summary.contains("Not equal, and need not be: AllocatedStorage: 100 at the"), "{proof:?}");
    }

    #[tokio::test]
    async fn a_source_that_somebody_renamed_proves_nothing() {
        let renamed = source().db_instance_identifier("orders-old1").dbi_resource_id("db-SOURCE").build();
        let error = look_beside(Some(renamed), target(), request()).await.expect_err("renamed");
        assert_eq!(error.name(), "SourceRenamed");
    }

    #[tokio::test]
    async fn the_source_does_not_prove_itself() {
        let source = target().dbi_resource_id("db-SOURCE");
        let request = One { target_resource_id: None, ..request() };
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
        let changed = named(source().preferred_maintenance_window("mon:01:00-mon:02:00").tag_list(team("b")));
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
        let source = named(source().backup_retention_period(7));
        let proven = async |cutover, days| {
            let request = One { wanted: Wanted::of(&source, cutover), ..request() };
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
    async fn another_instance_under_the_targets_name_is_named() {
        let error = verify(target().dbi_resource_id("db-ANOTHER"), request()).await.expect_err("another");
        assert_eq!(error.name(), "InstanceNotFound");
        assert!(error.to_string().contains("db-ANOTHER instead of db-TARGET"), "{error}");
    }

    #[tokio::test]
    async fn a_call_that_rds_refuses_is_named() {
        for (code, name) in
            [("Throttling", "Throttled"), ("AccessDenied", "AccessDenied"), ("InternalFailure", "RequestRejected")]
        {
            let describe = mock!(Client::describe_db_instances)
                .then_error(move || DescribeDBInstancesError::generic(ErrorMetadata::builder().code(code).build()));
            let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe]);
            assert_eq!(prove(&client, request()).await.expect_err(code).name(), name);
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
        assert!(prove(&client, request()).await.is_ok());
        assert_eq!(describe.num_calls(), 3);
    }
}
