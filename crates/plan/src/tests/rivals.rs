use super::*;

const BEFORE: &[(&str, i64)] = &[(EXECUTION, START_SECONDS), (OTHER, START_SECONDS - 1)];
const AT_ONCE: &[(&str, i64)] = &[(EXECUTION, START_SECONDS), (OTHER, START_SECONDS)];
const AFTER: &[(&str, i64)] = &[(EXECUTION, START_SECONDS), (OTHER, START_SECONDS + 1)];

/// A cutover of an instance, however it is named, to another target.
fn renames(instance: &str) -> Value {
    json!({"instance_id": instance, "cutover": "rename", "accept_lost_writes": true, "target_instance_id": "another"})
}

fn with(mut input: Value, field: &str, value: Value) -> Value {
    input[field] = value;
    input
}

/// This one's plan for a cutover, beside another execution.
async fn plan_beside(
    executions: &'static [(&'static str, i64)],
    other: Value,
    status: ExecutionStatus,
) -> Result<State, Error> {
    let rules = vec![running(executions), execution_at(OTHER, executions[1].1, status, other)];
    plan_in(&account(source()).context_with(rules), cutover(json!({"accept_lost_writes": true}))).await
}

#[tokio::test]
async fn of_two_cutovers_of_one_source_the_later_is_refused_however_the_earlier_names_it() {
    for (executions, other, is_refused) in [
        (BEFORE, renames("orders"), true),
        (BEFORE, renames(SOURCE_ARN), true),
        (BEFORE, renames(RESOURCE_ID), true),
        // An older version's rules need not be this one's.
        (BEFORE, with(renames("orders"), "a_field_of_later", json!(1)), true),
        // Both know who is first, so one goes on.
        (AT_ONCE, renames("orders"), OTHER < EXECUTION),
        (AFTER, renames("orders"), false),
        (BEFORE, renames("customers"), false),
        (BEFORE, renames("db-ZZZZZZZZZZZZZZZZZZZZZZZZ99"), false),
        (BEFORE, with(renames("orders"), "plan_only", json!(true)), false),
        (BEFORE, with(renames("orders"), "cutover", json!("none")), false),
        // One that replicates always does; one that logs in only to compare does not.
        (BEFORE, json!({"instance_id": "orders", "database_secret_arn": "arn"}), true),
        (BEFORE, json!({"instance_id": "orders", "database_iam_user": "rds_encrypt_dba"}), true),
        (BEFORE, json!({"instance_id": "orders", "database_iam_user": "rds_encrypt_dba", "compare_data": true}), false),
        (BEFORE, json!([]), false),
    ] {
        let outcome = plan_beside(executions, other.clone(), ExecutionStatus::Running).await;
        assert_eq!(outcome.is_err(), is_refused, "{executions:?} {other}: {outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(error.name(), "CutoverInProgress");
            let said = format!("the execution {OTHER} began earlier, still runs, and is to give the name of `orders`");
            assert!(error.to_string().starts_with(&said), "{error}");
        }
    }
}

#[tokio::test]
async fn one_that_has_ended_since_it_was_listed_is_in_nobodys_way() {
    plan_beside(BEFORE, renames("orders"), ExecutionStatus::Succeeded).await.expect("planned");
}

/// The earlier one has renamed the source already, which this one found by its resource id.
#[tokio::test]
async fn a_source_that_has_its_other_name_already_is_known() {
    let half_way = source().db_instance_identifier("orders-unencrypted");
    let rules =
        vec![running(BEFORE), execution_at(OTHER, START_SECONDS - 1, ExecutionStatus::Running, renames("orders"))];
    let context = account(half_way).context_with(rules);
    let error = plan_in(&context, renames(RESOURCE_ID)).await.expect_err("half-way through a cutover");
    assert_eq!(error.name(), "CutoverInProgress");
}

#[tokio::test]
async fn a_run_without_a_cutover_asks_for_no_others() {
    let denied = mock!(StepFunctions::list_executions)
        .then_error(|| ListExecutionsError::generic(SfnErrorMetadata::builder().code("AccessDenied").build()));
    let context = account(source()).context_with(vec![denied]);
    plan_in(&context, orders()).await.expect("planned");
    let error = plan_in(&context, cutover(json!({"accept_lost_writes": true}))).await.expect_err("it protects");
    assert_eq!(error.name(), "AccessDenied");
}

#[tokio::test]
async fn nothing_is_cut_over_while_an_undo_can_put_back_its_name() {
    for (undone, status, is_refused) in [
        (renames("orders"), ExecutionStatus::Running, true),
        (renames("orders"), ExecutionStatus::Succeeded, false),
        (renames("customers"), ExecutionStatus::Running, false),
        // Its undo does not touch the source.
        (orders(), ExecutionStatus::Running, false),
    ] {
        let context = account(source()).context_with(undo(undone.clone(), status.clone()));
        let outcome = plan_in(&context, cutover(json!({"accept_lost_writes": true}))).await;
        assert_eq!(outcome.is_err(), is_refused, "{undone} {status}: {outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(error.name(), "CutoverInProgress");
            let said = format!("{UNDO} still looks after what {OTHER} left");
            assert!(error.to_string().starts_with(&said) && error.to_string().contains("start again"), "{error}");
        }
    }
}
