use std::sync::{Arc, Mutex};

use aws_sdk_rds::error::ErrorMetadata;
use aws_sdk_rds::operation::add_role_to_db_instance::{AddRoleToDBInstanceError, AddRoleToDbInstanceOutput};
use aws_sdk_rds::operation::add_tags_to_resource::AddTagsToResourceOutput;
use aws_sdk_rds::operation::describe_db_instances::DescribeDbInstancesOutput;
use aws_sdk_rds::operation::modify_db_instance::{ModifyDBInstanceError, ModifyDbInstanceOutput};
use aws_sdk_rds::operation::reboot_db_instance::RebootDbInstanceOutput;
use aws_sdk_rds::operation::remove_tags_from_resource::RemoveTagsFromResourceOutput;
use aws_sdk_rds::types::builders::DbInstanceBuilder;
use aws_sdk_rds::types::error::DbInstanceRoleAlreadyExistsFault;
use aws_sdk_rds::types::{
    DbInstanceRole, DbParameterGroupStatus, MasterUserSecret, PendingModifiedValues, Tag, VpcSecurityGroupMembership,
};
use aws_smithy_mocks::{MockResponse, Rule, RuleMode, mock, mock_client};
use workflow::options::Cutover;

use super::*;

const HOUR_SECONDS: u64 = 3_600;
const WINDOW: &str = "sun:01:00-sun:02:00";

fn source() -> DbInstanceBuilder {
    DbInstance::builder()
        .engine("postgres")
        .backup_retention_period(7)
        .preferred_maintenance_window(WINDOW)
        .deletion_protection(true)
}

fn restored() -> DbInstanceBuilder {
    source()
        .db_instance_status("available")
        .dbi_resource_id("db-TARGET")
        .db_instance_arn("arn:target")
        .preferred_maintenance_window("mon:01:00-mon:02:00")
        .deletion_protection(false)
        .tag_list(Tag::builder().key(EXECUTION_TAG).value("arn:ours").build())
}

/// With every setting of the source in place but for what comes last.
fn settled() -> DbInstanceBuilder {
    restored().preferred_maintenance_window(WINDOW)
}

/// As the last phase leaves it.
fn protected() -> DbInstanceBuilder {
    settled().set_tag_list(None).deletion_protection(true)
}

fn role(arn: &str) -> DbInstanceRole {
    DbInstanceRole::builder().role_arn(arn).feature_name("s3Import").status("ACTIVE").build()
}

fn parameter_group(status: &str) -> DbParameterGroupStatus {
    DbParameterGroupStatus::builder().db_parameter_group_name("tuned").parameter_apply_status(status).build()
}

fn wanted_of(source: DbInstanceBuilder) -> Wanted {
    Wanted::of(&source.dbi_resource_id("db-SOURCE").build(), Cutover::None)
}

fn request(phase: Phase, previous: Option<Response>) -> Request {
    Request {
        phase,
        target_instance_id: InstanceId::parse("orders-encrypted").expect("legal"),
        target_resource_id: Some("db-TARGET".into()),
        wanted: wanted_of(source()),
        previous,
        max_wait_seconds: HOUR_SECONDS,
    }
}

fn after_restore(previous: Option<Response>) -> Request {
    request(Phase::AfterRestore, previous)
}

fn last(previous: Option<Response>) -> Request {
    request(Phase::Last, previous)
}

fn waited(seconds: u64) -> Response {
    Response { wait: Wait { waited_seconds: seconds, ..Wait::default() }, ..Response::default() }
}

fn applied(names: &[&str], acted_at_seconds: u64, seconds: u64) -> Response {
    let applied = names.iter().map(|name| (*name).to_owned()).collect();
    Response { applied, asked: Some(wanted_of(source()).settings), acted_at_seconds, ..waited(seconds) }
}

/// Answers the look at the source, which is as the plan saw it if it is not given.
fn source_is(source: Option<DbInstance>) -> Rule {
    mock!(Client::describe_db_instances)
        .match_requests(|input| input.filters().iter().any(|filter| filter.values() == ["db-SOURCE"]))
        .then_output(move || {
            DescribeDbInstancesOutput::builder().set_db_instances(Some(source.iter().cloned().collect())).build()
        })
}

/// The calls that a look at this target makes to change something, and its answer.
async fn look_refused(
    target: DbInstanceBuilder,
    request: Request,
    refused: &'static str,
) -> (Vec<String>, Result<Response, Error>) {
    look_beside(None, target, request, refused).await
}

async fn look_beside(
    source: Option<DbInstance>,
    target: DbInstanceBuilder,
    request: Request,
    refused: &'static str,
) -> (Vec<String>, Result<Response, Error>) {
    let calls = Arc::new(Mutex::new(vec![]));
    let note = |calls: &Arc<Mutex<Vec<String>>>| {
        let calls = Arc::clone(calls);
        move |call: String| calls.lock().expect("no test panicked meanwhile").push(call)
    };
    let target = target.build();
    let describe = mock!(Client::describe_db_instances)
        .match_requests(|input| input.db_instance_identifier() == Some("orders-encrypted"))
        .then_output(move || DescribeDbInstancesOutput::builder().db_instances(target.clone()).build());
    let called = note(&calls);
    let modify = mock!(Client::modify_db_instance).then_compute_response(move |input| {
        assert_eq!(input.apply_immediately(), Some(true), "the next maintenance window is too late");
        let asked = [
            input.preferred_maintenance_window().map(|window| format!(" {window}")),
            input.backup_retention_period().map(|days| format!(" {days} days of backups")),
            input.deletion_protection().map(|on| format!(" protection {on}")),
        ];
        called(format!("modify{}", asked.into_iter().flatten().collect::<String>()));
        if refused.is_empty() {
            return MockResponse::Output(ModifyDbInstanceOutput::builder().build());
        }
        MockResponse::Error(ModifyDBInstanceError::generic(ErrorMetadata::builder().code(refused).build()))
    });
    let called = note(&calls);
    let add_role = mock!(Client::add_role_to_db_instance).then_compute_response(move |input| {
        let arn = input.role_arn().unwrap_or_default();
        called(format!("add {arn} for {}", input.feature_name().unwrap_or_default()));
        match refused {
            "" => MockResponse::Output(AddRoleToDbInstanceOutput::builder().build()),
            "DBInstanceRoleAlreadyExists" => {
                MockResponse::Error(AddRoleToDBInstanceError::DbInstanceRoleAlreadyExistsFault(
                    DbInstanceRoleAlreadyExistsFault::builder().build(),
                ))
            }
            code => MockResponse::Error(AddRoleToDBInstanceError::generic(ErrorMetadata::builder().code(code).build())),
        }
    });
    let called = note(&calls);
    let reboot = mock!(Client::reboot_db_instance).then_compute_output(move |_| {
        called("reboot".into());
        RebootDbInstanceOutput::builder().build()
    });
    let called = note(&calls);
    let remove_tags = mock!(Client::remove_tags_from_resource).then_compute_output(move |input| {
        called(format!("remove {} from {}", input.tag_keys().join(", "), input.resource_name().unwrap_or_default()));
        RemoveTagsFromResourceOutput::builder().build()
    });
    let called = note(&calls);
    let add_tags = mock!(Client::add_tags_to_resource).then_compute_output(move |input| {
        let tags = input
            .tags()
            .iter()
            .map(|tag| format!("{}={}", tag.key().unwrap_or_default(), tag.value().unwrap_or_default()));
        called(format!("tag {} {}", input.resource_name().unwrap_or_default(), tags.collect::<Vec<_>>().join(" ")));
        AddTagsToResourceOutput::builder().build()
    });
    let source = source_is(source);
    let rules = [&source, &describe, &modify, &add_role, &add_tags, &reboot, &remove_tags];
    let answer = handle(&mock_client!(aws_sdk_rds, RuleMode::MatchAny, rules), request).await;
    let calls = calls.lock().expect("no test panicked meanwhile").clone();
    (calls, answer)
}

async fn look(target: DbInstanceBuilder, request: Request) -> (Vec<String>, Response) {
    let (calls, answer) = look_refused(target, request, "").await;
    (calls, answer.expect("a look"))
}

const NO_CALL: [&str; 0] = [];

#[tokio::test]
async fn what_differs_is_set_at_once_and_waited_for() {
    let (calls, response) = look(restored(), after_restore(Some(waited(40)))).await;
    assert_eq!(calls, [format!("modify {WINDOW}")], "deletion protection would block the undo");
    assert_eq!(response.applied, ["PreferredMaintenanceWindow"]);
    assert_eq!((response.ready, response.steady_looks, response.acted_at_seconds), (false, 0, 40));
    assert!(response.wait.wait_seconds > 0);
}

#[tokio::test]
async fn the_second_look_sets_nothing_and_the_third_confirms_it() {
    let previous = applied(&["PreferredMaintenanceWindow"], 0, 6);
    let (calls, second) = look(settled(), after_restore(Some(previous))).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!((second.ready, second.steady_looks, second.wait.wait_seconds), (false, 1, 15));
    let (calls, third) = look(settled(), after_restore(Some(second))).await;
    assert_eq!(calls, NO_CALL);
    assert!(third.ready);
    assert_eq!(third.applied, ["PreferredMaintenanceWindow"]);
}

#[tokio::test]
async fn a_target_that_lacks_nothing_is_looked_at_twice() {
    let (_, first) = look(settled(), after_restore(None)).await;
    assert!(!first.ready);
    let (_, disturbed) = look(settled().db_instance_status("rebooting"), after_restore(Some(first.clone()))).await;
    assert_eq!(disturbed.steady_looks, 0, "two looks in a row");
    let (_, second) = look(settled(), after_restore(Some(first))).await;
    assert!(second.ready);
}

#[tokio::test]
async fn what_was_asked_for_and_does_not_show_yet_is_not_asked_for_again() {
    let previous = applied(&["PreferredMaintenanceWindow"], 100, 699);
    let (calls, response) = look(restored(), after_restore(Some(previous))).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!(response.steady_looks, 0, "it is given ten minutes");
}

#[tokio::test]
async fn what_comes_to_differ_later_is_set_too() {
    let previous = applied(&["PreferredMaintenanceWindow"], 0, 60);
    let (calls, response) = look(restored().backup_retention_period(1), after_restore(Some(previous))).await;
    assert_eq!(calls, [format!("modify {WINDOW} 7 days of backups")]);
    assert_eq!(response.applied, ["PreferredMaintenanceWindow", "BackupRetentionPeriod"], "each once");
}

#[tokio::test]
async fn what_changed_at_the_source_since_the_plan_is_set_too() {
    let team = Tag::builder().key("team").value("b").build();
    let changed = source().backup_retention_period(14).tag_list(team).build();
    let (calls, modified) = look_beside(Some(changed.clone()), settled(), after_restore(None), "").await;
    assert_eq!(calls, ["modify 14 days of backups"]);
    let target = || settled().backup_retention_period(14);
    let previous = modified.expect("a look");
    let (calls, tagged) = look_beside(Some(changed.clone()), target(), after_restore(Some(previous)), "").await;
    assert_eq!(calls, ["tag arn:target team=b"]);
    let tagged = tagged.expect("a look");
    assert_eq!(tagged.applied, ["BackupRetentionPeriod", "tag team=b"]);
    // It does not show yet.
    let (calls, waiting) = look_beside(Some(changed.clone()), target(), after_restore(Some(tagged.clone())), "").await;
    assert_eq!((calls.len(), waiting.expect("a look").steady_looks), (0, 0));
    let target = target().tag_list(Tag::builder().key("team").value("b").build());
    let (calls, steady) = look_beside(Some(changed), target, after_restore(Some(tagged)), "").await;
    assert_eq!((calls.len(), steady.expect("a look").steady_looks), (0, 1));
}

/// The target has the execution's tag besides.
#[tokio::test]
async fn more_tags_than_rds_allows_are_refused_by_name() {
    for (count, is_refused) in [(TAGS_MAX - 1, false), (TAGS_MAX, true)] {
        let tags = (0..count).map(|number| Tag::builder().key(format!("key-{number}")).value("value").build());
        let changed = source().set_tag_list(Some(tags.collect())).build();
        let (calls, outcome) = look_beside(Some(changed), settled(), after_restore(None), "").await;
        assert_eq!((calls.is_empty(), outcome.is_err()), (is_refused, is_refused), "{calls:?} {outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(error.name(), "TooManyTags");
            assert!(error.to_string().contains("would have 51") && error.to_string().contains("remove 1"), "{error}");
        }
    }
    // Somebody has renamed a key at the source meanwhile.
    let named = |number| Tag::builder().key(format!("key-{number}")).value("value").build();
    let renamed = source().set_tag_list(Some((1..TAGS_MAX).map(named).collect())).build();
    let target = settled().tag_list(named(0)).tag_list(Tag::builder().key("aws:created").value("by").build());
    let (_, outcome) = look_beside(Some(renamed), target, after_restore(None), "").await;
    let error = outcome.expect_err("51").to_string();
    assert!(error.contains("would have 51") && error.contains("does not have (key-0)"), "{error}");
}

#[tokio::test]
async fn a_setting_that_changes_twice_is_set_twice() {
    let at = |days| Some(source().backup_retention_period(days).build());
    let (_, first) = look_beside(at(14), settled(), after_restore(None), "").await;
    let first = first.expect("a look");
    let (calls, _) = look_beside(at(14), settled(), after_restore(Some(first.clone())), "").await;
    assert_eq!(calls, NO_CALL, "it is on its way");
    let (calls, _) = look_beside(at(21), settled(), after_restore(Some(first)), "").await;
    assert_eq!(calls, ["modify 21 days of backups"]);
}

#[tokio::test]
async fn a_difference_that_cannot_be_mended_yet_is_given_its_time() {
    let group = |state: &str| VpcSecurityGroupMembership::builder().vpc_security_group_id("sg-1").status(state).build();
    let changing = source().vpc_security_groups(group("adding")).build();
    let target = || settled().vpc_security_groups(group("active"));
    let (calls, response) = look_beside(Some(changing), target(), after_restore(None), "").await;
    assert_eq!((calls.len(), response.expect("a look").steady_looks), (0, 0));
}

#[tokio::test]
async fn a_loop_that_was_over_begins_anew() {
    let over = Response { ready: true, steady_looks: 2, ..applied(&["PreferredMaintenanceWindow"], 0, HOUR_SECONDS) };
    let (calls, response) = look(restored(), after_restore(Some(over.clone()))).await;
    assert_eq!(calls, [format!("modify {WINDOW}")], "what was asked for in another loop is asked for again");
    assert_eq!((response.ready, response.acted_at_seconds), (false, 0));
    let (_, response) = look(settled(), after_restore(Some(over))).await;
    assert_eq!((response.ready, response.steady_looks), (false, 1));
}

#[tokio::test]
async fn what_rds_does_not_do_in_ten_minutes_is_left_to_the_proof() {
    let previous = applied(&["PreferredMaintenanceWindow"], 100, 700);
    let (calls, response) = look(restored(), after_restore(Some(previous))).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!(response.steady_looks, 1);
    let (_, response) = look(restored(), after_restore(Some(response))).await;
    assert!(response.ready);
}

#[tokio::test]
async fn a_target_that_cannot_be_modified_now_is_left_alone() {
    let pending = PendingModifiedValues::builder().allocated_storage(200).build();
    for busy in [
        restored().db_instance_status("modifying"),
        restored().db_instance_status("backing-up"),
        restored().db_instance_status("defragmenting"),
        restored().pending_modified_values(pending),
    ] {
        let once_steady = Response { steady_looks: 1, ..waited(HOUR_SECONDS - 60) };
        let (calls, response) = look(busy, after_restore(Some(once_steady))).await;
        assert_eq!(calls, NO_CALL);
        assert_eq!((response.ready, response.steady_looks), (false, 0), "{response:?}");
    }
}

#[tokio::test]
async fn roles_are_added_once_the_settings_are_in_place() {
    let wanted = wanted_of(source().associated_roles(role("arn:1")).associated_roles(role("arn:2")));
    let with_roles = |previous| Request { wanted: wanted.clone(), ..after_restore(previous) };
    let (calls, _) = look(restored(), with_roles(None)).await;
    assert_eq!(calls, [format!("modify {WINDOW}")]);
    let (calls, response) = look(settled().associated_roles(role("arn:1")), with_roles(None)).await;
    assert_eq!(calls, ["add arn:2 for s3Import"]);
    assert_eq!(response.applied, ["arn:2 for s3Import"]);
    // It does not show yet.
    let (calls, response) = look(settled().associated_roles(role("arn:1")), with_roles(Some(response))).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!(response.steady_looks, 0);
    let both = settled().associated_roles(role("arn:1")).associated_roles(role("arn:2"));
    let (calls, response) = look(both, with_roles(Some(response))).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!(response.steady_looks, 1);
}

#[tokio::test]
async fn a_role_that_is_there_already_counts_as_added() {
    let wanted = wanted_of(source().associated_roles(role("arn:1")));
    let request = || Request { wanted: wanted.clone(), ..after_restore(None) };
    let (_, answer) = look_refused(settled(), request(), "DBInstanceRoleAlreadyExists").await;
    assert_eq!(answer.expect("added").applied, ["arn:1 for s3Import"]);
    let (_, answer) = look_refused(settled(), request(), "DBInstanceRoleQuotaExceeded").await;
    let error = answer.expect_err("refused");
    assert_eq!(error.name(), "RequestRejected");
    let text = error.to_string();
    assert!(text.starts_with("add role arn:1 for s3Import to DB instance `orders-encrypted`: "), "{text}");
}

#[tokio::test]
async fn a_target_whose_parameters_are_pending_is_rebooted() {
    let pending = || settled().db_parameter_groups(parameter_group("pending-reboot"));
    let wanted = wanted_of(source().db_parameter_groups(parameter_group("in-sync")));
    let with_group = |previous| Request { wanted: wanted.clone(), ..after_restore(previous) };
    let (calls, first) = look(pending(), with_group(Some(waited(100)))).await;
    assert_eq!(calls, ["reboot"]);
    assert_eq!((first.reboots, first.acted_at_seconds), (1, 100));
    let rebooted = |reboots, seconds| Response { reboots, acted_at_seconds: 100, ..waited(seconds) };
    for (reboots, seconds, calls_made, steady_looks) in [
        // It has not shown yet.
        (1, 159, 0, 0),
        (1, 160, 1, 0),
        (2, 160, 1, 0),
        // One reboot more would not help either.
        (3, 160, 0, 0),
        (3, 700, 0, 1),
    ] {
        let (calls, response) = look(pending(), with_group(Some(rebooted(reboots, seconds)))).await;
        assert_eq!((calls.len(), response.steady_looks), (calls_made, steady_looks), "{reboots} reboots, {seconds} s");
    }
    let (calls, response) =
        look(settled().db_parameter_groups(parameter_group("in-sync")), with_group(Some(first))).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!(response.steady_looks, 1);
}

#[tokio::test]
async fn parameters_that_are_being_applied_are_waited_for() {
    let wanted = wanted_of(source().db_parameter_groups(parameter_group("in-sync")));
    let request = Request { wanted, ..after_restore(None) };
    let (calls, response) = look(settled().db_parameter_groups(parameter_group("applying")), request).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!(response.steady_looks, 0);
}

#[tokio::test]
async fn the_last_phase_releases_the_target_before_it_protects_it() {
    // A backup that takes hours does not keep the tag on the target.
    let (calls, released) = look(settled().db_instance_status("backing-up"), last(None)).await;
    assert_eq!(calls, ["remove rds-encrypt:execution from arn:target"]);
    assert_eq!(released.steady_looks, 0);
    let (calls, protecting) = look(settled().set_tag_list(None), last(Some(released))).await;
    assert_eq!(calls, ["modify protection true"]);
    assert_eq!(protecting.applied, ["DeletionProtection"]);
    let (calls, first) = look(protected(), last(Some(protecting))).await;
    assert_eq!(calls, NO_CALL);
    assert!(!first.ready);
    let (calls, second) = look(protected(), last(Some(first))).await;
    assert_eq!(calls, NO_CALL);
    assert!(second.ready);
}

#[tokio::test]
async fn the_last_phase_switches_on_backups_that_had_to_wait() {
    let target = || protected().backup_retention_period(0);
    let (calls, _) = look(target(), last(None)).await;
    assert_eq!(calls, NO_CALL, "without a cutover, none had to wait");
    let wanted = Wanted { cutover: Cutover::Rename, ..wanted_of(source()) };
    let (calls, response) = look(target(), Request { wanted, ..last(None) }).await;
    assert_eq!(calls, ["modify 7 days of backups"]);
    assert_eq!(response.applied, ["BackupRetentionPeriod"]);
}

#[tokio::test]
async fn the_last_phase_guards_the_target_as_the_source_is_guarded_by_now() {
    let plan = source().deletion_protection(false);
    let request = Request { wanted: Wanted { cutover: Cutover::Rename, ..wanted_of(plan) }, ..last(None) };
    let guarded = source().backup_retention_period(14).build();
    let target = protected().deletion_protection(false).backup_retention_period(0);
    let (calls, _) = look_beside(Some(guarded), target, request, "").await;
    assert_eq!(calls, ["modify 14 days of backups protection true"]);
}

#[tokio::test]
async fn the_last_phase_changes_nothing_else() {
    let target = protected()
        .preferred_maintenance_window("mon:01:00-mon:02:00")
        .db_parameter_groups(parameter_group("pending-reboot"));
    let wanted = wanted_of(source().associated_roles(role("arn:1")));
    let (calls, response) = look(target, Request { wanted, ..last(None) }).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!(response.steady_looks, 1);
}

#[tokio::test]
async fn the_last_phase_never_ends_without_the_protection() {
    let asked = applied(&["DeletionProtection"], 0, 60);
    let (calls, response) = look(settled().set_tag_list(None), last(Some(asked))).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!(response.steady_looks, 0);
    let asked_long_ago = applied(&["DeletionProtection"], 0, HOUR_SECONDS - 1);
    let (calls, refused) = look_refused(settled().set_tag_list(None), last(Some(asked_long_ago)), "").await;
    assert_eq!(calls, NO_CALL);
    let error = refused.expect_err("it does not take");
    assert_eq!(error.name(), "NotProven");
    assert!(error.to_string().contains("DeletionProtection"), "{error}");
    // Accepted is not in force.
    let pending = PendingModifiedValues::builder().allocated_storage(200).build();
    let (_, response) = look(protected().pending_modified_values(pending), last(None)).await;
    assert_eq!(response.steady_looks, 0);
    // The tag cannot be told from one that is about to go, and is asked for again.
    let (calls, response) = look(settled().deletion_protection(true), last(Some(waited(HOUR_SECONDS - 1)))).await;
    assert_eq!((calls.len(), response.steady_looks), (1, 0));
}

#[tokio::test]
async fn a_protected_target_does_not_wait_for_its_first_backup() {
    let backing_up = || protected().db_instance_status("backing-up");
    let (_, first) = look(backing_up(), last(None)).await;
    let (calls, second) = look(backing_up(), last(Some(first))).await;
    assert_eq!(calls, NO_CALL);
    assert!(second.ready);
    assert!(second.notes[0].contains("only recovery point"), "{second:?}");
    // One that is not protected does, since ModifyDBInstance asks for `available`.
    let unprotected = backing_up().deletion_protection(false);
    let (calls, response) = look(unprotected, last(None)).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!(response.steady_looks, 0);
}

#[tokio::test]
async fn the_owner_is_told_of_the_new_master_user_secret() {
    let secret = MasterUserSecret::builder().secret_arn("arn:new-secret").build();
    let once_steady = Response { steady_looks: 1, ..waited(60) };
    let (_, response) = look(protected().master_user_secret(secret), last(Some(once_steady))).await;
    assert_eq!(response.notes.len(), 1);
    assert!(response.notes[0].ends_with("in a new secret: arn:new-secret"), "{response:?}");
}

#[tokio::test]
async fn a_target_that_failed_is_named_with_its_remedy() {
    let (calls, answer) = look_refused(restored().db_instance_status("storage-full"), after_restore(None), "").await;
    assert_eq!(calls, NO_CALL);
    let error = answer.expect_err("failed");
    assert_eq!(error.name(), "InstanceFailed");
    assert!(error.to_string().contains("`storage-full`: raise its allocated storage"), "{error}");
}

#[tokio::test]
async fn another_instance_under_the_targets_name_is_not_touched() {
    for phase in [Phase::AfterRestore, Phase::Last] {
        let other = restored().dbi_resource_id("db-ANOTHER");
        let (calls, answer) = look_refused(other, request(phase, None), "").await;
        assert_eq!(calls, NO_CALL);
        assert_eq!(answer.expect_err("another").name(), "InstanceNotFound");
    }
}

#[tokio::test]
async fn a_wait_that_reaches_its_deadline_says_what_was_applied() {
    let previous = applied(&["PreferredMaintenanceWindow"], 0, HOUR_SECONDS);
    let (_, answer) = look_refused(restored().db_instance_status("modifying"), after_restore(Some(previous)), "").await;
    let error = answer.expect_err("too long");
    assert_eq!(error.name(), "WaitTimedOut");
    let text = error.to_string();
    assert!(text.contains("`modifying`") && text.contains("(PreferredMaintenanceWindow)"), "{text}");
}

#[tokio::test]
async fn what_rds_refuses_is_named_with_the_settings() {
    for (code, name) in [
        ("InvalidDBInstanceState", "InvalidInstanceState"),
        ("InvalidParameterCombination", "RequestRejected"),
        ("AccessDenied", "AccessDenied"),
    ] {
        let (_, answer) = look_refused(restored(), after_restore(None), code).await;
        let error = answer.expect_err(code);
        assert_eq!(error.name(), name);
        let operation = "set PreferredMaintenanceWindow on DB instance `orders-encrypted`: ";
        assert!(error.to_string().starts_with(operation), "{error}");
    }
}

#[tokio::test]
async fn throttling_that_ends_is_not_noticed() {
    let describe = mock!(Client::describe_db_instances)
        .then_output(|| DescribeDbInstancesOutput::builder().db_instances(restored().build()).build());
    let modify = mock!(Client::modify_db_instance)
        .sequence()
        .http_status(503, None)
        .times(2)
        .output(|| ModifyDbInstanceOutput::builder().build())
        .build();
    let source = source_is(None);
    let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&source, &describe, &modify]);
    let response = handle(&client, after_restore(None)).await.expect("a look");
    assert_eq!(response.applied, ["PreferredMaintenanceWindow"]);
    assert_eq!(modify.num_calls(), 3);
}
