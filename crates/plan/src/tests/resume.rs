use super::*;

async fn resume(earlier: Vec<Rule>, resumed: &str) -> Result<State, Error> {
    resume_with(vec![snapshot_of(EARLIER, "orders-no-encrypted")], earlier, resumed).await
}

async fn resume_with(snapshots: Vec<DbSnapshot>, mut earlier: Vec<Rule>, resumed: &str) -> Result<State, Error> {
    earlier.push(execution_at(EXECUTION, START_SECONDS, ExecutionStatus::Running, json!({})));
    earlier.push(running(&[(EXECUTION, START_SECONDS)]));
    earlier.push(mock!(StepFunctions::list_executions).then_output(|| listed(&[])));
    let context = Account { snapshots, ..account(source()) }.context_with(earlier);
    plan_in(&context, json!({"instance_id": "orders", "resume": resumed})).await
}

#[tokio::test]
async fn of_two_that_resume_the_same_execution_the_later_gives_way() {
    const BEFORE: &[(&str, i64)] = &[(EXECUTION, START_SECONDS), (OTHER, START_SECONDS - 1)];
    const AT_ONCE: &[(&str, i64)] = &[(EXECUTION, START_SECONDS), (OTHER, START_SECONDS)];
    const AFTER: &[(&str, i64)] = &[(EXECUTION, START_SECONDS), (OTHER, START_SECONDS + 1)];
    let resumes = |resumed: &str| kept(json!({"resume": resumed}));
    let rehearsal = kept(json!({"resume": EARLIER, "plan_only": true}));
    let unknown = "arn:aws:states:eu-west-1:123456789012:execution:encrypt-instance:unknown";
    for (executions, input, is_refused) in [
        (BEFORE, resumes(EARLIER), true),
        // Both know who is first, so one goes on.
        (AT_ONCE, resumes(EARLIER), OTHER < EXECUTION),
        (AFTER, resumes(EARLIER), false),
        (BEFORE, rehearsal, false),
        (BEFORE, orders(), false),
        (BEFORE, resumes(OTHER), false),
        (BEFORE, resumes(unknown), false),
    ] {
        let forgotten = mock!(StepFunctions::describe_execution)
            .match_requests(move |input| input.execution_arn() == Some(unknown))
            .then_error(|| DescribeExecutionError::ExecutionDoesNotExist(ExecutionDoesNotExist::builder().build()));
        let other = execution_at(OTHER, executions[1].1, ExecutionStatus::Running, input.clone());
        let rules = vec![running(executions), other, forgotten, execution(ExecutionStatus::Failed, kept(json!({})))];
        let outcome = resume(rules, EARLIER).await;
        assert_eq!(outcome.is_err(), is_refused, "{executions:?} {input}: {outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(error.name(), "NotResumable");
            assert!(error.to_string().starts_with(&format!("{OTHER} goes on with {EARLIER} already")), "{error}");
        }
    }
}

/// An undo would put names and groups back under the resumed execution's hands, or delete what it adopts.
#[tokio::test]
async fn nothing_is_resumed_while_an_undo_looks_after_it() {
    let resumes = json!({"instance_id": "orders", "resume": EARLIER});
    let unrelated = "arn:aws:states:eu-west-1:123456789012:execution:encrypt-instance:unrelated";
    for (undone, input, status, is_refused) in [
        (EARLIER, json!({}), ExecutionStatus::Running, true),
        (OTHER, resumes.clone(), ExecutionStatus::Running, true),
        (OTHER, kept(json!({"resume": EARLIER})), ExecutionStatus::Running, true),
        // The list can be seconds old.
        (OTHER, resumes, ExecutionStatus::Succeeded, false),
        (OTHER, orders(), ExecutionStatus::Running, false),
        (OTHER, json!({"instance_id": "orders", "resume": unrelated}), ExecutionStatus::Running, false),
    ] {
        let undos = mock!(StepFunctions::list_executions)
            .match_requests(|input| input.state_machine_arn() == Some(UNDO_MACHINE))
            .then_output(|| listed(&[(UNDO, START_SECONDS)]));
        let undo = execution_at(UNDO, START_SECONDS, status.clone(), json!({"executionArn": undone}));
        let earlier = execution(ExecutionStatus::Failed, kept(json!({})));
        let other = execution_at(OTHER, START_SECONDS - 1, ExecutionStatus::Aborted, input.clone());
        let unrelated = execution_at(unrelated, 0, ExecutionStatus::Failed, orders());
        let outcome = resume(vec![undos, undo, earlier, other, unrelated], EARLIER).await;
        assert_eq!(outcome.is_err(), is_refused, "{undone} {input} {status}: {outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(error.name(), "NotResumable");
            assert!(error.to_string().starts_with(&format!("{UNDO} still looks after what {undone} left")), "{error}");
        }
    }
}

/// The input of an execution that leaves what it made.
fn kept(fields: Value) -> Value {
    let mut input = json!({"instance_id": "orders", "on_failure": "keep"});
    for (name, value) in fields.as_object().expect("fields") {
        input[name] = value.clone();
    }
    input
}

#[tokio::test]
async fn a_resumed_execution_takes_over_what_the_earlier_one_left() {
    for status in [ExecutionStatus::Failed, ExecutionStatus::TimedOut, ExecutionStatus::Aborted] {
        let response = resume(vec![execution(status, kept(json!({})))], EARLIER).await.expect("resumed");
        assert_eq!(response.owner.execution, EARLIER);
    }
}

#[tokio::test]
async fn a_chain_of_resumes_leads_to_the_execution_that_made_the_resources() {
    let second = "arn:aws:states:eu-west-1:123456789012:execution:encrypt-instance:second";
    let describe_second =
        mock!(StepFunctions::describe_execution).match_requests(move |input| input.execution_arn() == Some(second));
    let describe_second = describe_second.then_output(move || {
        DescribeExecutionOutput::builder()
            .execution_arn(second)
            .state_machine_arn("arn:aws:states:eu-west-1:123456789012:stateMachine:encrypt-instance")
            .status(ExecutionStatus::Failed)
            .start_date(DateTime::from_secs(0))
            .input(kept(json!({"resume": EARLIER})).to_string())
            .build()
            .expect("complete")
    });
    let chain = vec![describe_second, execution(ExecutionStatus::Failed, kept(json!({})))];
    assert_eq!(resume(chain, second).await.expect("resumed").owner.execution, EARLIER);
}

#[tokio::test]
async fn a_resume_over_a_missing_link_is_refused() {
    let plain = || snapshot_of(EARLIER, "orders-no-encrypted");
    let copy = || snapshot_of(EARLIER, "orders-encrypted");
    for (snapshots, has_target, missing) in [
        (vec![], false, None),
        (vec![plain()], false, None),
        (vec![plain(), copy()], false, None),
        (vec![plain(), copy()], true, None),
        (vec![copy()], false, Some("DB snapshot `orders-no-encrypted` is gone")),
        (vec![copy()], true, Some("DB snapshot `orders-no-encrypted` is gone")),
        (vec![plain()], true, Some("DB snapshot `orders-encrypted` is gone")),
    ] {
        let target =
            DbInstance::builder().db_instance_identifier("orders-encrypted").set_tag_list(Some(tags_of(EARLIER)));
        let target = target.build();
        let describe_target = mock!(Rds::describe_db_instances)
            .match_requests(|input| input.db_instance_identifier() == Some("orders-encrypted"))
            .then_output(move || DescribeDbInstancesOutput::builder().db_instances(target.clone()).build());
        let mut rules = vec![execution(ExecutionStatus::Failed, kept(json!({})))];
        rules.extend(has_target.then_some(describe_target));
        let outcome = resume_with(snapshots, rules, EARLIER).await;
        match (outcome, missing) {
            (Ok(_), None) => {}
            (Err(error), Some(words)) => {
                assert_eq!(error.name(), "NotResumable");
                assert!(error.to_string().starts_with(words), "{error}");
            }
            (outcome, _) => panic!("{missing:?}: {outcome:?}"),
        }
    }
}

fn snapshot_of(execution: &str, id: &str) -> DbSnapshot {
    DbSnapshot::builder().db_snapshot_identifier(id).set_tag_list(Some(tags_of(execution))).build()
}

#[tokio::test]
async fn a_chain_of_resumes_that_leads_nowhere_ends() {
    let itself = execution(ExecutionStatus::Failed, kept(json!({"resume": EARLIER})));
    let error = resume(vec![itself], EARLIER).await.expect_err("it resumes itself");
    assert_eq!(error.name(), "NotResumable");
    assert!(error.to_string().contains("more than 20 links"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_resumed_is_refused_with_the_reason() {
    for (status, words) in [
        (ExecutionStatus::Running, "is RUNNING; stop it first"),
        (ExecutionStatus::Succeeded, "succeeded; there is nothing to go on with"),
        // Its undo may be on its way, and would delete what this one adopts.
        (ExecutionStatus::Aborted, "was to undo what it made, not to keep it"),
    ] {
        let error = resume(vec![execution(status, orders())], EARLIER).await.expect_err(words);
        assert_eq!(error.name(), "NotResumable");
        assert!(error.to_string().contains(words), "{error}");
    }
    let forgotten = mock!(StepFunctions::describe_execution)
        .then_error(|| DescribeExecutionError::ExecutionDoesNotExist(ExecutionDoesNotExist::builder().build()));
    let error = resume(vec![forgotten], EARLIER).await.expect_err("forgotten");
    assert_eq!(error.name(), "NotResumable");
    let other = "arn:aws:states:eu-west-1:123456789012:execution:another-machine:earlier";
    let error = resume(vec![], other).await.expect_err("another machine");
    assert!(error.to_string().contains("another state machine"), "{error}");
}
