use std::sync::{Arc, Mutex};

use aws_sdk_rds::error::ErrorMetadata;
use aws_sdk_rds::operation::describe_db_instances::DescribeDbInstancesOutput;
use aws_sdk_rds::operation::modify_db_instance::ModifyDbInstanceOutput;
use aws_sdk_rds::operation::remove_tags_from_resource::{RemoveTagsFromResourceError, RemoveTagsFromResourceOutput};
use aws_sdk_rds::types::builders::DbInstanceBuilder;
use aws_sdk_rds::types::{DbInstance, MasterUserSecret, Tag};
use aws_smithy_mocks::{MockResponse, RuleMode, mock, mock_client};
use workflow::options::Cutover;
use workflow::owner::EXECUTION_TAG;
use workflow::steady::SteadyLooks;
use workflow::wait::Wait;

use super::*;

const HOUR_SECONDS: u64 = 3_600;

fn source() -> DbInstanceBuilder {
    DbInstance::builder()
        .dbi_resource_id("db-SOURCE")
        .engine("postgres")
        .backup_retention_period(7)
        .deletion_protection(true)
}

/// The proven target, before it passes the commit point.
fn proven() -> DbInstanceBuilder {
    released().tag_list(Tag::builder().key(EXECUTION_TAG).value("arn:ours").build())
}

fn released() -> DbInstanceBuilder {
    source()
        .db_instance_identifier("orders")
        .dbi_resource_id("db-TARGET")
        .db_instance_arn("arn:target")
        .db_instance_status("available")
        .backup_retention_period(0)
        .deletion_protection(false)
}

fn protected() -> DbInstanceBuilder {
    released().backup_retention_period(7).deletion_protection(true)
}

fn after(seconds: u64, applied: &[&str]) -> Protection {
    let applied = applied.iter().map(|name| (*name).to_owned()).collect();
    let asked = Some(Wanted::of(&source().build(), Cutover::None).settings);
    Protection { applied, asked, wait: Wait { waited_seconds: seconds, ..Wait::default() }, ..Protection::default() }
}

/// The calls that a look makes to change something, and its answer; `refused` is what RDS says of taking the tag off.
async fn look(
    target: DbInstanceBuilder,
    cutover: Cutover,
    previous: Option<Protection>,
    refused: Option<&'static str>,
) -> (Vec<String>, Result<Protection, Error>) {
    let calls: Arc<Mutex<Vec<String>>> = Arc::default();
    let target = target.build();
    let describe = mock!(Client::describe_db_instances).then_compute_response(move |input| {
        let found = match input.filters()[0].values()[0].as_str() {
            "db-SOURCE" => source().build(),
            _ => target.clone(),
        };
        MockResponse::Output(DescribeDbInstancesOutput::builder().db_instances(found).build())
    });
    let noted = Arc::clone(&calls);
    let modify = mock!(Client::modify_db_instance).then_compute_response(move |input| {
        let days = input.backup_retention_period().map(|days| format!(" {days} days"));
        let protection = input.deletion_protection().map(|on| format!(" protection {on}"));
        let call = format!("modify{}{}", days.unwrap_or_default(), protection.unwrap_or_default());
        noted.lock().expect("no panic").push(call);
        MockResponse::Output(ModifyDbInstanceOutput::builder().build())
    });
    let noted = Arc::clone(&calls);
    let untag = mock!(Client::remove_tags_from_resource).then_compute_response(move |input| {
        noted.lock().expect("no panic").push(format!("release {}", input.resource_name().unwrap_or_default()));
        match refused {
            None => MockResponse::Output(RemoveTagsFromResourceOutput::builder().build()),
            Some(code) => {
                MockResponse::Error(RemoveTagsFromResourceError::generic(ErrorMetadata::builder().code(code).build()))
            }
        }
    });
    let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe, &modify, &untag]);
    let request = One {
        target_resource_id: "db-TARGET".into(),
        wanted: Wanted { cutover, ..Wanted::of(&source().build(), Cutover::None) },
        previous,
        max_wait_seconds: HOUR_SECONDS,
    };
    let answer = protect_one(&client, request).await;
    let calls = calls.lock().expect("no panic").clone();
    (calls, answer)
}

#[tokio::test]
async fn the_commit_point_is_passed_before_anything_is_switched_on() {
    let (calls, answer) = look(proven(), Cutover::Rename, None, None).await;
    assert_eq!(calls, ["release arn:target"]);
    assert!(!answer.expect("a look").ready);
    let (calls, _) = look(released(), Cutover::Rename, None, None).await;
    assert_eq!(calls, ["modify 7 days protection true"]);
}

#[tokio::test]
async fn two_looks_that_find_nothing_to_do_end_the_loop() {
    let (calls, first) = look(protected(), Cutover::Rename, None, None).await;
    let first = first.expect("a look");
    assert!(calls.is_empty() && !first.ready);
    // The first backup is nobody's wait.
    let backing_up = protected().db_instance_status("backing-up");
    let (_, second) = look(backing_up, Cutover::Rename, Some(first), None).await;
    let second = second.expect("a look");
    assert!(second.ready && second.notes[0].contains("point-in-time recovery begins"), "{second:?}");
}

#[tokio::test]
async fn what_was_asked_for_is_not_asked_for_again_and_what_does_not_take_is_named() {
    let asked = ["BackupRetentionPeriod", "DeletionProtection"];
    let (calls, answer) = look(released(), Cutover::Rename, Some(after(60, &asked)), None).await;
    assert!(calls.is_empty() && answer.is_ok());
    let (_, answer) = look(released(), Cutover::Rename, Some(after(600, &asked)), None).await;
    let error = answer.expect_err("it does not take");
    assert_eq!(error.name(), "NotProven");
    assert!(error.to_string().contains("is proven and stays, but its last settings do not take"), "{error}");
}

/// The tag may be gone already, and the look be of before.
#[tokio::test]
async fn a_denial_of_the_tag_passes_for_a_while() {
    let (_, answer) = look(proven(), Cutover::None, Some(after(899, &[])), Some("AccessDenied")).await;
    assert!(!answer.expect("not yet").ready);
    let (_, answer) = look(proven(), Cutover::None, Some(after(900, &[])), Some("AccessDenied")).await;
    assert_eq!(answer.expect_err("never").name(), "AccessDenied");
}

#[tokio::test]
async fn a_target_that_somebody_stopped_is_named_with_the_command() {
    let (calls, answer) = look(proven().db_instance_status("stopped"), Cutover::Rename, None, None).await;
    let error = answer.expect_err("stopped");
    assert!(calls.is_empty());
    assert_eq!(error.name(), "InstanceFailed");
    assert!(error.to_string().contains("aws rds start-db-instance"), "{error}");
}

#[tokio::test]
async fn the_owner_is_told_of_the_new_master_user_secret() {
    let secret = MasterUserSecret::builder().secret_arn("arn:new-secret").build();
    let steady = Protection { steady_looks: SteadyLooks(1), ..after(60, &[]) };
    let (_, answer) = look(protected().master_user_secret(secret), Cutover::None, Some(steady), None).await;
    assert!(answer.expect("over").notes[0].ends_with("in a new secret: arn:new-secret"));
}

#[tokio::test]
async fn a_wait_that_reaches_its_deadline_says_what_was_applied() {
    let busy = released().db_instance_status("modifying");
    let (_, answer) = look(busy, Cutover::None, Some(after(HOUR_SECONDS, &["DeletionProtection"])), None).await;
    let error = answer.expect_err("too long");
    assert_eq!(error.name(), "WaitTimedOut");
    assert!(error.to_string().contains("`modifying`") && error.to_string().contains("(DeletionProtection)"), "{error}");
}
