use std::sync::{Arc, Mutex};

use aws_sdk_rds::error::ErrorMetadata;
use aws_sdk_rds::operation::add_role_to_db_instance::{AddRoleToDBInstanceError, AddRoleToDbInstanceOutput};
use aws_sdk_rds::operation::add_tags_to_resource::AddTagsToResourceOutput;
use aws_sdk_rds::operation::describe_db_instances::DescribeDbInstancesOutput;
use aws_sdk_rds::operation::modify_db_instance::{ModifyDBInstanceError, ModifyDbInstanceOutput};
use aws_sdk_rds::operation::reboot_db_instance::RebootDbInstanceOutput;
use aws_sdk_rds::types::builders::DbInstanceBuilder;
use aws_sdk_rds::types::error::DbInstanceRoleAlreadyExistsFault;
use aws_sdk_rds::types::{
    DbInstanceRole, DbParameterGroupStatus, PendingModifiedValues, Tag, VpcSecurityGroupMembership,
};
use aws_smithy_mocks::{MockResponse, Rule, RuleMode, mock, mock_client};
use workflow::options::Cutover;
use workflow::owner::EXECUTION_TAG;

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

fn role(arn: &str) -> DbInstanceRole {
    DbInstanceRole::builder().role_arn(arn).feature_name("s3Import").status("ACTIVE").build()
}

fn parameter_group(status: &str) -> DbParameterGroupStatus {
    DbParameterGroupStatus::builder().db_parameter_group_name("tuned").parameter_apply_status(status).build()
}

fn named(source: DbInstanceBuilder) -> DbInstanceBuilder {
    source.db_instance_identifier("orders").dbi_resource_id("db-SOURCE")
}

fn wanted_of(source: DbInstanceBuilder) -> Wanted {
    Wanted::of(&named(source).build(), Cutover::None)
}

fn request(previous: Option<Response>) -> One {
    One {
        target_instance_id: InstanceId::parse("orders-encrypted").expect("legal"),
        target_resource_id: Some("db-TARGET".into()),
        wanted: wanted_of(source()),
        previous,
        max_wait_seconds: HOUR_SECONDS,
    }
}

fn waited(seconds: u64) -> Response {
    Response { wait: Wait { waited_seconds: seconds, ..Wait::default() }, ..Response::default() }
}

/// After these settings of the source were asked for.
fn applied(names: &[&str], acted_at_seconds: u64, seconds: u64) -> Response {
    let applied = names.iter().map(|name| (*name).to_owned()).collect();
    let settings = wanted_of(source()).settings;
    let asked = names.iter().map(|name| ((*name).to_owned(), settings.get(name).expect("a setting").clone()));
    Response { applied, asked: asked.collect(), acted_at_seconds, ..waited(seconds) }
}

/// Answers the look at the source. One that is not given is as good as gone, so as the plan saw it.
fn source_is(source: Option<DbInstance>) -> Rule {
    let mut source = source.unwrap_or_else(|| self::source().db_instance_status("deleting").build());
    source.db_instance_identifier = Some("orders".into());
    source.dbi_resource_id = Some("db-SOURCE".into());
    mock!(Client::describe_db_instances)
        .match_requests(|input| input.filters().iter().any(|filter| filter.values() == ["db-SOURCE"]))
        .then_output(move || DescribeDbInstancesOutput::builder().db_instances(source.clone()).build())
}

/// The calls that a look at this target makes to change something, and its answer.
async fn look_refused(
    target: DbInstanceBuilder,
    request: One,
    refused: &'static str,
) -> (Vec<String>, Result<Response, Error>) {
    look_beside(None, target, request, refused).await
}

async fn look_beside(
    source: Option<DbInstance>,
    target: DbInstanceBuilder,
    request: One,
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
    let add_tags = mock!(Client::add_tags_to_resource).then_compute_output(move |input| {
        let tags = input
            .tags()
            .iter()
            .map(|tag| format!("{}={}", tag.key().unwrap_or_default(), tag.value().unwrap_or_default()));
        called(format!("tag {} {}", input.resource_name().unwrap_or_default(), tags.collect::<Vec<_>>().join(" ")));
        AddTagsToResourceOutput::builder().build()
    });
    let source = source_is(source);
    let rules = [&source, &describe, &modify, &add_role, &add_tags, &reboot];
    let answer = apply(&mock_client!(aws_sdk_rds, RuleMode::MatchAny, rules), request).await;
    let calls = calls.lock().expect("no test panicked meanwhile").clone();
    (calls, answer)
}

async fn look(target: DbInstanceBuilder, request: One) -> (Vec<String>, Response) {
    let (calls, answer) = look_refused(target, request, "").await;
    (calls, answer.expect("a look"))
}

const NO_CALL: [&str; 0] = [];

#[tokio::test]
async fn what_differs_is_set_at_once_and_waited_for() {
    let (calls, response) = look(restored(), request(Some(waited(40)))).await;
    assert_eq!(calls, [format!("modify {WINDOW}")], "deletion protection would block the undo");
    assert_eq!(response.applied, ["PreferredMaintenanceWindow"]);
    assert_eq!((response.ready, response.steady_looks.0, response.acted_at_seconds), (false, 0, 40));
    assert!(response.wait.wait_seconds > 0);
}

#[tokio::test]
async fn the_second_look_sets_nothing_and_the_third_confirms_it() {
    let previous = applied(&["PreferredMaintenanceWindow"], 0, 6);
    let (calls, second) = look(settled(), request(Some(previous))).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!((second.ready, second.steady_looks.0, second.wait.wait_seconds), (false, 1, 15));
    let (calls, third) = look(settled(), request(Some(second))).await;
    assert_eq!(calls, NO_CALL);
    assert!(third.ready);
    assert_eq!(third.applied, ["PreferredMaintenanceWindow"]);
}

#[tokio::test]
async fn a_target_that_lacks_nothing_is_looked_at_twice() {
    let (_, first) = look(settled(), request(None)).await;
    assert!(!first.ready);
    let (_, disturbed) = look(settled().db_instance_status("rebooting"), request(Some(first.clone()))).await;
    assert_eq!(disturbed.steady_looks.0, 0, "two looks in a row");
    let (_, second) = look(settled(), request(Some(first))).await;
    assert!(second.ready);
}

#[tokio::test]
async fn what_was_asked_for_and_does_not_show_yet_is_not_asked_for_again() {
    let previous = applied(&["PreferredMaintenanceWindow"], 100, 699);
    let (calls, response) = look(restored(), request(Some(previous))).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!(response.steady_looks.0, 0, "it is given ten minutes");
}

#[tokio::test]
async fn what_comes_to_differ_later_is_set_too() {
    let previous = applied(&["PreferredMaintenanceWindow"], 0, 60);
    let (calls, response) = look(restored().backup_retention_period(1), request(Some(previous))).await;
    assert_eq!(calls, [format!("modify {WINDOW} 7 days of backups")]);
    assert_eq!(response.applied, ["PreferredMaintenanceWindow", "BackupRetentionPeriod"], "each once");
    assert_eq!(response.asked.len(), 2);
}

#[tokio::test]
async fn what_changed_at_the_source_since_the_plan_is_set_too() {
    let team = Tag::builder().key("team").value("b").build();
    let changed = source().backup_retention_period(14).tag_list(team).build();
    let (calls, modified) = look_beside(Some(changed.clone()), settled(), request(None), "").await;
    assert_eq!(calls, ["modify 14 days of backups"]);
    let target = || settled().backup_retention_period(14);
    let previous = modified.expect("a look");
    let (calls, tagged) = look_beside(Some(changed.clone()), target(), request(Some(previous)), "").await;
    assert_eq!(calls, ["tag arn:target team=b"]);
    let tagged = tagged.expect("a look");
    assert_eq!(tagged.applied, ["BackupRetentionPeriod", "tag team=b"]);
    // It does not show yet.
    let (calls, waiting) = look_beside(Some(changed.clone()), target(), request(Some(tagged.clone())), "").await;
    assert_eq!((calls.len(), waiting.expect("a look").steady_looks.0), (0, 0));
    let target = target().tag_list(Tag::builder().key("team").value("b").build());
    let (calls, steady) = look_beside(Some(changed), target, request(Some(tagged)), "").await;
    assert_eq!((calls.len(), steady.expect("a look").steady_looks.0), (0, 1));
}

/// The target has the execution's tag besides.
#[tokio::test]
async fn more_tags_than_rds_allows_are_refused_by_name() {
    for (count, is_refused) in [(TAGS_MAX - 1, false), (TAGS_MAX, true)] {
        let tags = (0..count).map(|number| Tag::builder().key(format!("key-{number}")).value("value").build());
        let changed = source().set_tag_list(Some(tags.collect())).build();
        let (calls, outcome) = look_beside(Some(changed), settled(), request(None), "").await;
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
    let (_, outcome) = look_beside(Some(renamed), target, request(None), "").await;
    let error = outcome.expect_err("51").to_string();
    assert!(error.contains("would have 51") && error.contains("does not have (key-0)"), "{error}");
}

#[tokio::test]
async fn a_setting_that_changes_twice_is_set_twice() {
    let at = |days| Some(source().backup_retention_period(days).build());
    let (_, first) = look_beside(at(14), settled(), request(None), "").await;
    let first = first.expect("a look");
    let (calls, _) = look_beside(at(14), settled(), request(Some(first.clone())), "").await;
    assert_eq!(calls, NO_CALL, "it is on its way");
    let (calls, _) = look_beside(at(21), settled(), request(Some(first)), "").await;
    assert_eq!(calls, ["modify 21 days of backups"]);
}

#[tokio::test]
async fn a_tag_that_changes_back_is_set_back() {
    let team = |value: &str| Tag::builder().key("team").value(value).build();
    let at = |value| Some(source().tag_list(team(value)).build());
    let target = |value| settled().tag_list(team(value));
    let mut previous = None;
    for (wanted, there) in [("b", "a"), ("a", "b"), ("b", "a")] {
        let (calls, response) = look_beside(at(wanted), target(there), request(previous), "").await;
        assert_eq!(calls, [format!("tag arn:target team={wanted}")]);
        let asked = response.expect("a look");
        let (calls, shown) = look_beside(at(wanted), target(wanted), request(Some(asked)), "").await;
        assert_eq!(calls, NO_CALL);
        previous = Some(shown.expect("a look"));
    }
    // And so it is if somebody changes it at the target.
    let (calls, _) = look_beside(at("b"), target("c"), request(previous), "").await;
    assert_eq!(calls, ["tag arn:target team=b"]);
}

fn security_group(id: &str, state: &str) -> VpcSecurityGroupMembership {
    VpcSecurityGroupMembership::builder().vpc_security_group_id(id).status(state).build()
}

#[tokio::test]
async fn a_membership_is_waited_for_until_it_is_in_force() {
    let wanted = wanted_of(source().vpc_security_groups(security_group("sg-1", "active")));
    let with_wanted = |previous| One { wanted: wanted.clone(), ..request(previous) };
    let target = |state| settled().vpc_security_groups(security_group("sg-1", state));
    // However long ago it was asked for.
    let (calls, response) = look(target("adding"), with_wanted(Some(waited(HOUR_SECONDS - 60)))).await;
    assert_eq!((calls.len(), response.steady_looks.0), (0, 0));
    let (_, refused) = look_refused(target("adding"), with_wanted(Some(waited(HOUR_SECONDS))), "").await;
    let text = refused.expect_err("too long").to_string();
    assert!(text.contains("; VpcSecurityGroups: `sg-1` is adding"), "{text}");
    let leaving = target("active").vpc_security_groups(security_group("sg-default", "removing"));
    assert_eq!(look(leaving, with_wanted(None)).await.1.steady_looks.0, 0);
    assert_eq!(look(target("active"), with_wanted(None)).await.1.steady_looks.0, 1);
    // What the source is being given is the target's too.
    let joining = source().vpc_security_groups(security_group("sg-1", "adding")).build();
    let (_, response) = look_beside(Some(joining), target("active"), request(None), "").await;
    assert_eq!(response.expect("a look").steady_looks.0, 1);
}

#[tokio::test]
async fn a_membership_that_failed_is_asked_for_once_more_and_left_to_the_proof() {
    let invalid = DbInstanceRole::builder().role_arn("arn:1").feature_name("s3Import").status("INVALID").build();
    let with_role = |previous| One { wanted: wanted_of(source().associated_roles(role("arn:1"))), ..request(previous) };
    let target = || settled().associated_roles(invalid.clone());
    let (calls, asked) = look(target(), with_role(None)).await;
    assert_eq!(calls, ["add arn:1 for s3Import"]);
    let (calls, waiting) = look(target(), with_role(Some(asked))).await;
    assert_eq!((calls.len(), waiting.steady_looks.0), (0, 0));
    let late = Response { wait: waited(SETTLE_SECONDS).wait, ..waiting };
    assert_eq!(look(target(), with_role(Some(late))).await.1.steady_looks.0, 1);
}

#[tokio::test]
async fn the_target_gets_the_sources_groups_when_its_quarantine_ends() {
    let source = || source().vpc_security_groups(security_group("sg-1", "active"));
    let target = || settled().vpc_security_groups(security_group("sg-quarantine", "active"));
    let quarantine = Some("sg-quarantine".to_owned());
    let wanted = Wanted { quarantine_security_group_id: quarantine, ..wanted_of(source()) };
    let (calls, response) = look_beside(Some(source().build()), target(), One { wanted, ..request(None) }, "").await;
    assert_eq!((calls.len(), response.expect("a look").steady_looks.0), (0, 1));
    let (calls, response) = look(target(), One { wanted: wanted_of(source()), ..request(None) }).await;
    assert_eq!((calls.len(), response.applied), (1, vec!["VpcSecurityGroupIds".to_owned()]));
}

#[tokio::test]
async fn a_source_that_somebody_renamed_stops_the_run() {
    let renamed = source().db_instance_identifier("orders-old1").dbi_resource_id("db-SOURCE").build();
    let describe = mock!(Client::describe_db_instances)
        .then_output(move || DescribeDbInstancesOutput::builder().db_instances(renamed.clone()).build());
    let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe]);
    assert_eq!(apply(&client, request(None)).await.expect_err("renamed").name(), "SourceRenamed");
}

#[tokio::test]
async fn one_empty_answer_is_no_reason_to_give_up() {
    let nothing = mock!(Client::describe_db_instances).then_output(|| DescribeDbInstancesOutput::builder().build());
    let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&nothing]);
    let response =
        apply(&client, request(Some(Response { steady_looks: SteadyLooks(1), ..waited(60) }))).await.expect("a look");
    assert_eq!((response.ready, response.steady_looks.0), (false, 0));
    assert!(response.wait.wait_seconds > 0);
    let error = apply(&client, request(Some(waited(300)))).await.expect_err("gone");
    assert_eq!(error.name(), "InstanceNotFound");
}

/// It can last a day.
#[tokio::test]
async fn storage_that_is_being_optimized_or_loaded_keeps_nobody_waiting() {
    for status in ["storage-optimization", "storage-initialization"] {
        let (calls, _) = look(restored().db_instance_status(status), request(None)).await;
        assert_eq!(calls, [format!("modify {WINDOW}")]);
        let (_, response) = look(settled().db_instance_status(status), request(None)).await;
        assert_eq!(response.steady_looks.0, 1);
    }
}

#[tokio::test]
async fn a_loop_that_was_over_begins_anew() {
    let over = Response {
        ready: true,
        steady_looks: SteadyLooks(2),
        ..applied(&["PreferredMaintenanceWindow"], 0, HOUR_SECONDS)
    };
    let (calls, response) = look(restored(), request(Some(over.clone()))).await;
    assert_eq!(calls, [format!("modify {WINDOW}")], "what was asked for in another loop is asked for again");
    assert_eq!((response.ready, response.acted_at_seconds), (false, 0));
    let (_, response) = look(settled(), request(Some(over))).await;
    assert_eq!((response.ready, response.steady_looks.0), (false, 1));
}

#[tokio::test]
async fn what_rds_does_not_do_in_ten_minutes_is_left_to_the_proof() {
    let previous = applied(&["PreferredMaintenanceWindow"], 100, 700);
    let (calls, response) = look(restored(), request(Some(previous))).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!(response.steady_looks.0, 1);
    let (_, response) = look(restored(), request(Some(response))).await;
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
        let once_steady = Response { steady_looks: SteadyLooks(1), ..waited(HOUR_SECONDS - 60) };
        let (calls, response) = look(busy, request(Some(once_steady))).await;
        assert_eq!(calls, NO_CALL);
        assert_eq!((response.ready, response.steady_looks.0), (false, 0), "{response:?}");
    }
}

#[tokio::test]
async fn roles_are_added_once_the_settings_are_in_place() {
    let wanted = wanted_of(source().associated_roles(role("arn:1")).associated_roles(role("arn:2")));
    let with_roles = |previous| One { wanted: wanted.clone(), ..request(previous) };
    let (calls, _) = look(restored(), with_roles(None)).await;
    assert_eq!(calls, [format!("modify {WINDOW}")]);
    let (calls, response) = look(settled().associated_roles(role("arn:1")), with_roles(None)).await;
    assert_eq!(calls, ["add arn:2 for s3Import"]);
    assert_eq!(response.applied, ["arn:2 for s3Import"]);
    // It does not show yet.
    let (calls, response) = look(settled().associated_roles(role("arn:1")), with_roles(Some(response))).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!(response.steady_looks.0, 0);
    let both = settled().associated_roles(role("arn:1")).associated_roles(role("arn:2"));
    let (calls, response) = look(both, with_roles(Some(response))).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!(response.steady_looks.0, 1);
}

#[tokio::test]
async fn a_role_that_is_there_already_counts_as_added() {
    let wanted = wanted_of(source().associated_roles(role("arn:1")));
    let with_role = || One { wanted: wanted.clone(), ..request(None) };
    let (_, answer) = look_refused(settled(), with_role(), "DBInstanceRoleAlreadyExists").await;
    assert_eq!(answer.expect("added").applied, ["arn:1 for s3Import"]);
    let (_, answer) = look_refused(settled(), with_role(), "DBInstanceRoleQuotaExceeded").await;
    let error = answer.expect_err("refused");
    assert_eq!(error.name(), "RequestRejected");
    let text = error.to_string();
    assert!(text.starts_with("add role arn:1 for s3Import to DB instance `orders-encrypted`: "), "{text}");
}

#[tokio::test]
async fn a_target_whose_parameters_are_pending_is_rebooted() {
    let pending = || settled().db_parameter_groups(parameter_group("pending-reboot"));
    let wanted = wanted_of(source().db_parameter_groups(parameter_group("in-sync")));
    let with_group = |previous| One { wanted: wanted.clone(), ..request(previous) };
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
        assert_eq!(
            (calls.len(), response.steady_looks.0),
            (calls_made, steady_looks),
            "{reboots} reboots, {seconds} s"
        );
    }
    let (calls, response) =
        look(settled().db_parameter_groups(parameter_group("in-sync")), with_group(Some(first))).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!(response.steady_looks.0, 1);
}

#[tokio::test]
async fn parameters_that_are_being_applied_are_waited_for() {
    let wanted = wanted_of(source().db_parameter_groups(parameter_group("in-sync")));
    let request = One { wanted, ..request(None) };
    let (calls, response) = look(settled().db_parameter_groups(parameter_group("applying")), request).await;
    assert_eq!(calls, NO_CALL);
    assert_eq!(response.steady_looks.0, 0);
}

#[tokio::test]
async fn a_target_that_failed_is_named_with_its_remedy() {
    let (calls, answer) = look_refused(restored().db_instance_status("storage-full"), request(None), "").await;
    assert_eq!(calls, NO_CALL);
    let error = answer.expect_err("failed");
    assert_eq!(error.name(), "InstanceFailed");
    assert!(error.to_string().contains("`storage-full`: raise its allocated storage"), "{error}");
}

#[tokio::test]
async fn another_instance_under_the_targets_name_is_not_touched() {
    let other = restored().dbi_resource_id("db-ANOTHER");
    let (calls, answer) = look_refused(other, request(None), "").await;
    assert_eq!(calls, NO_CALL);
    assert_eq!(answer.expect_err("another").name(), "InstanceNotFound");
}

#[tokio::test]
async fn a_wait_that_reaches_its_deadline_says_what_was_applied() {
    let previous = applied(&["PreferredMaintenanceWindow"], 0, HOUR_SECONDS);
    let (_, answer) = look_refused(restored().db_instance_status("modifying"), request(Some(previous)), "").await;
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
        let (_, answer) = look_refused(restored(), request(None), code).await;
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
    let response = apply(&client, request(None)).await.expect("a look");
    assert_eq!(response.applied, ["PreferredMaintenanceWindow"]);
    assert_eq!(modify.num_calls(), 3);
}
