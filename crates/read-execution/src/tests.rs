use aws_sdk_sfn::error::ErrorMetadata;
use aws_sdk_sfn::operation::describe_execution::{DescribeExecutionError, DescribeExecutionOutput};
use aws_sdk_sfn::operation::get_execution_history::{GetExecutionHistoryError, GetExecutionHistoryOutput};
use aws_sdk_sfn::operation::list_executions::ListExecutionsOutput;
use aws_sdk_sfn::primitives::DateTime;
use aws_sdk_sfn::types::{ExecutionListItem, HistoryEventType, StateEnteredEventDetails};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};

use super::*;

const EXECUTION: &str = "arn:aws:states:eu-west-1:123456789012:execution:encrypt:one";
const MACHINE: &str = "arn:aws:states:eu-west-1:123456789012:stateMachine:encrypt";
const UNDO_MACHINE: &str = "arn:aws:states:eu-west-1:123456789012:stateMachine:undo";
const OTHER: &str = "arn:aws:states:eu-west-1:123456789012:execution:encrypt:two";
const UNDO: &str = "arn:aws:states:eu-west-1:123456789012:execution:undo:one";
const THIS_UNDO: &str = "arn:aws:states:eu-west-1:123456789012:execution:undo:this";
/// When the execution ended.
const END_SECONDS: i64 = 1_000;

/// The plan's fields, and what the steps have added.
fn state(added: Value) -> Value {
    let mut state = json!({
        "instance_id": "orders",
        "encrypted_instance_id": "orders-encrypted",
        "owner": {"execution": EXECUTION, "source_resource_id": "db-SOURCE"},
        "options": {"cutover": "rename", "on_failure": "undo"},
        "restored_names": null,
    });
    let fields = state.as_object_mut().expect("an object");
    fields.extend(added.as_object().expect("an object").clone());
    state
}

fn described(status: ExecutionStatus, error: Option<&str>, cause: Option<&str>) -> Rule {
    let output = DescribeExecutionOutput::builder()
        .execution_arn(EXECUTION)
        .state_machine_arn(MACHINE)
        .status(status)
        .start_date(DateTime::from_secs(1))
        .stop_date(DateTime::from_secs(END_SECONDS))
        .set_error(error.map(str::to_owned))
        .set_cause(cause.map(str::to_owned))
        .build()
        .expect("complete");
    mock!(Client::describe_execution)
        .match_requests(|input| input.execution_arn() == Some(EXECUTION))
        .then_output(move || output.clone())
}

fn entered((name, input): &(&str, Value)) -> HistoryEvent {
    let details = StateEnteredEventDetails::builder().name(*name).input(input.to_string()).build();
    HistoryEvent::builder()
        .timestamp(DateTime::from_secs(1))
        .r#type(HistoryEventType::TaskStateEntered)
        .id(1)
        .state_entered_event_details(details.expect("complete"))
        .build()
        .expect("complete")
}

/// An event of another kind than a state's entry.
fn succeeded() -> HistoryEvent {
    let event = HistoryEvent::builder().timestamp(DateTime::from_secs(1)).id(1);
    event.r#type(HistoryEventType::LambdaFunctionSucceeded).build().expect("complete")
}

fn page(events: Vec<HistoryEvent>, next: Option<&str>) -> GetExecutionHistoryOutput {
    let output = GetExecutionHistoryOutput::builder().set_events(Some(events));
    output.set_next_token(next.map(str::to_owned)).build().expect("complete")
}

/// The states in the order in which they were entered, each with its input.
fn history(states: &[(&str, Value)]) -> Rule {
    let events: Vec<_> = states.iter().rev().flat_map(|state| [succeeded(), entered(state)]).collect();
    mock!(Client::get_execution_history)
        .match_requests(|input| {
            input.execution_arn() == Some(EXECUTION)
                && input.reverse_order() == Some(true)
                && input.include_execution_data() == Some(true)
        })
        .then_output(move || page(events.clone(), None))
}

async fn read(rules: &[&Rule]) -> Result<Response, Error> {
    // Unless a test says otherwise, nobody else looks after it.
    let nobody = mock!(Client::list_executions)
        .then_output(|| ListExecutionsOutput::builder().set_executions(Some(vec![])).build().expect("complete"));
    let this = beside(THIS_UNDO, json!({"executionArn": EXECUTION}), None);
    let rules: Vec<&Rule> = rules.iter().copied().chain([&this, &nobody]).collect();
    let client = mock_client!(aws_sdk_sfn, RuleMode::MatchAny, &rules);
    handle(&client, Request { execution_arn: EXECUTION.into(), undo_execution_arn: THIS_UNDO.into() }).await
}

/// Executions with when they started, page by page.
type Pages = &'static [&'static [(&'static str, i64)]];

/// The executions of a machine that have a status.
fn listed(machine: &'static str, status: &ExecutionStatus, pages: Pages) -> Vec<Rule> {
    let item = |&(execution, start_seconds): &(&str, i64)| {
        ExecutionListItem::builder()
            .execution_arn(execution)
            .state_machine_arn(machine)
            .name("name")
            .status(ExecutionStatus::Running)
            .start_date(DateTime::from_secs(start_seconds))
            .build()
            .expect("complete")
    };
    let token = |number: usize| (number > 0).then(|| number.to_string());
    let page = |number: usize| {
        let next = (number + 1 < pages.len()).then_some(number + 1).and_then(token);
        let executions = pages[number].iter().map(item).collect();
        let output = ListExecutionsOutput::builder().set_executions(Some(executions)).set_next_token(next);
        let (output, status) = (output.build().expect("complete"), status.clone());
        mock!(Client::list_executions)
            .match_requests(move |input| {
                input.state_machine_arn() == Some(machine)
                    && input.status_filter() == Some(&status)
                    && input.next_token().map(str::to_owned) == token(number)
            })
            .then_output(move || output.clone())
    };
    (0..pages.len()).map(page).collect()
}

/// Another execution, of either machine.
fn beside(execution: &'static str, input: Value, output: Option<Value>) -> Rule {
    let described = move || {
        DescribeExecutionOutput::builder()
            .execution_arn(execution)
            .state_machine_arn(UNDO_MACHINE)
            .status(ExecutionStatus::Running)
            .start_date(DateTime::from_secs(END_SECONDS + 5))
            .input(input.to_string())
            .set_output(output.as_ref().map(Value::to_string))
            .build()
            .expect("complete")
    };
    mock!(Client::describe_execution)
        .match_requests(move |call| call.execution_arn() == Some(execution))
        .then_output(described)
}

/// What an execution that was stopped during its cutover is owed beside others.
async fn action_beside(rules: Vec<Rule>) -> Value {
    let stopped = described(ExecutionStatus::Aborted, None, None);
    let owner = json!({"owner": {"execution": "arn:first", "source_resource_id": "db-SOURCE"}});
    let states = history(&[("RenameSource", state(owner))]);
    let rules: Vec<&Rule> = rules.iter().chain([&stopped, &states]).collect();
    read(&rules).await.expect("read")["recovery"]["action"].clone()
}

/// By now the name and the groups of the source can be those of another execution's cutover.
#[tokio::test]
async fn what_was_undone_is_not_undone_again() {
    const AT_ONCE: Pages = &[&[(UNDO, END_SECONDS)]];
    const BEFORE_THE_END: Pages = &[&[(UNDO, END_SECONDS - 1)]];
    const SECOND_PAGE: Pages = &[&[(OTHER, END_SECONDS + 9)], &[(UNDO, END_SECONDS + 1)]];
    let another = "arn:aws:states:eu-west-1:123456789012:execution:encrypt:another";
    let done = |action: &str| Some(json!({"recovery": {"action": action}}));
    for (undos, of, output, action) in [
        (AT_ONCE, EXECUTION, done("undo"), "nothing"),
        (SECOND_PAGE, EXECUTION, done("finish"), "nothing"),
        (AT_ONCE, EXECUTION, done("nothing"), "undo"),
        (BEFORE_THE_END, EXECUTION, done("undo"), "undo"),
        (AT_ONCE, another, done("undo"), "undo"),
    ] {
        let mut rules = listed(UNDO_MACHINE, &ExecutionStatus::Succeeded, undos);
        rules.push(beside(UNDO, json!({"executionArn": of}), output.clone()));
        rules.push(beside(OTHER, json!({"executionArn": another}), None));
        assert_eq!(action_beside(rules).await, action, "{undos:?} {of} {output:?}");
    }
    let mut in_vain = listed(UNDO_MACHINE, &ExecutionStatus::Failed, AT_ONCE);
    in_vain.push(beside(UNDO, json!({"executionArn": EXECUTION}), None));
    assert_eq!(action_beside(in_vain).await, "undo");
}

/// An event can be delivered twice. This undo began 5 seconds after the end.
#[tokio::test]
async fn of_two_undos_at_once_the_later_does_nothing() {
    const EARLIER: Pages = &[&[(THIS_UNDO, END_SECONDS + 5), (UNDO, END_SECONDS + 4)]];
    const LATER: Pages = &[&[(UNDO, END_SECONDS + 6), (THIS_UNDO, END_SECONDS + 5)]];
    for (undos, action) in [(EARLIER, "nothing"), (LATER, "undo")] {
        let mut rules = listed(UNDO_MACHINE, &ExecutionStatus::Running, undos);
        rules.push(beside(UNDO, json!({"executionArn": EXECUTION}), None));
        assert_eq!(action_beside(rules).await, action, "{undos:?}");
    }
}

#[tokio::test]
async fn what_another_execution_resumes_is_left_to_it() {
    const RUNNING: Pages = &[&[(OTHER, END_SECONDS)]];
    let planned = |owner: &str, is_ready: bool| {
        ("IsSourceReady", state(json!({"owner": {"execution": owner}, "source": {"ready": is_ready}})))
    };
    for (resumed, entered_state, action) in [
        (Some("arn:first"), planned("arn:first", true), "nothing"),
        // It can still be refused.
        (Some("arn:first"), planned("arn:first", false), "undo"),
        (Some("arn:first"), ("Plan", json!({"resume": "arn:first"})), "undo"),
        (Some("arn:another"), planned("arn:another", true), "undo"),
        (None, planned("arn:first", true), "undo"),
    ] {
        let mut rules = listed(MACHINE, &ExecutionStatus::Running, RUNNING);
        rules.push(beside(OTHER, json!({"instance_id": "orders", "resume": resumed}), None));
        let events = vec![entered(&entered_state)];
        let of_other =
            mock!(Client::get_execution_history).match_requests(|input| input.execution_arn() == Some(OTHER));
        rules.push(of_other.then_output(move || page(events.clone(), None)));
        assert_eq!(action_beside(rules).await, action, "{resumed:?} {entered_state:?}");
    }
}

async fn aborted(states: &[(&str, Value)]) -> Response {
    read(&[&described(ExecutionStatus::Aborted, None, None), &history(states)]).await.expect("read")
}

async fn failed(states: &[(&str, Value)]) -> Response {
    let described = described(ExecutionStatus::Failed, Some("AccessDenied"), Some("no."));
    read(&[&described, &history(states)]).await.expect("read")
}

#[test]
fn an_event_is_a_request_whatever_else_it_says() {
    let event = json!({"executionArn": EXECUTION, "status": "ABORTED", "input": "{}", "stopDate": 1});
    let mut request = event;
    request["undo_execution_arn"] = json!(THIS_UNDO);
    assert_eq!(serde_json::from_value::<Request>(request).expect("a request").execution_arn, EXECUTION);
}

#[tokio::test]
async fn an_execution_that_runs_or_succeeded_is_left_alone_and_its_history_unread() {
    for status in [ExecutionStatus::Running, ExecutionStatus::Succeeded, ExecutionStatus::PendingRedrive] {
        let response = read(&[&described(status.clone(), None, None)]).await.expect("nothing to do");
        let recovery =
            json!({"action": "nothing", "execution": EXECUTION, "status": status.as_str(), "cutover_began": false});
        assert_eq!(Value::Object(response), json!({"recovery": recovery}));
    }
}

#[tokio::test]
async fn an_execution_that_ended_before_a_plan_has_nothing_to_undo() {
    let input = json!({"instance_id": "orders"});
    let refused = [("Plan", input), ("DescribePlanFailure", json!({"Error": "NameConflict", "Cause": "taken"}))];
    assert_eq!(failed(&refused).await["recovery"]["action"], "nothing");
    assert_eq!(aborted(&refused[..1]).await["recovery"]["action"], "nothing");
}

#[tokio::test]
async fn whatever_ended_it_from_outside_it_is_undone() {
    for status in [ExecutionStatus::Aborted, ExecutionStatus::TimedOut, ExecutionStatus::Failed] {
        let states = [("Plan", json!({})), ("IsPlanOnly", state(json!({}))), ("CreateSnapshot", state(json!({})))];
        let response = read(&[&described(status.clone(), None, None), &history(&states)]).await.expect("read");
        assert_eq!(response["recovery"]["action"], "undo", "{status}");
        assert_eq!(response["recovery"]["status"], status.as_str());
        assert_eq!(response["recovery"]["execution"], EXECUTION);
    }
}

#[tokio::test]
async fn the_undo_works_from_the_last_state_that_the_plans_fields_are_in() {
    let target = |resource_id| state(json!({"target": {"resource_id": resource_id}}));
    let states = [
        ("RestoreInstance", target(None)),
        ("DescribeInstance", target(Some("db-TARGET"))),
        // A report or a failure's text replaces the state.
        ("PublishSuccess", json!({"instance_id": "orders", "encrypted_instance_id": "orders"})),
    ];
    let response = aborted(&states).await;
    assert_eq!(response["target"]["resource_id"], "db-TARGET");
    assert_eq!(response["owner"]["execution"], EXECUTION);
}

#[tokio::test]
async fn the_loops_of_the_undo_start_anew() {
    let worn = json!({"undo": {"wait": {"waited_seconds": 9}}, "protected": {"ready": false}, "cleaned": 1,
        "restored_names": {"committed": false}, "unfenced": 1, "target_renamed": 1});
    let response = aborted(&[("Undo", state(worn))]).await;
    for name in ["undo", "undo_error", "restored_names", "unfenced", "target_renamed", "protected", "cleaned"] {
        assert_eq!(response.get(name), Some(&Value::Null), "{name}");
    }
}

#[tokio::test]
async fn the_error_is_the_executions_own_or_says_what_ended_it() {
    let response = failed(&[("CreateSnapshot", state(json!({"error": {"Error": "Other"}})))]).await;
    assert_eq!(response["error"], json!({"Error": "AccessDenied", "Cause": "no."}));
    let response = aborted(&[("CreateSnapshot", state(json!({})))]).await;
    let cause = format!("The execution {EXECUTION} ended as ABORTED.");
    assert_eq!(response["error"], json!({"Error": "ABORTED", "Cause": cause}));
}

#[tokio::test]
async fn an_execution_that_undid_kept_or_reported_by_itself_is_left_alone() {
    for end in ["Failed", "StepTimedOut"] {
        let states = [("Undo", state(json!({}))), ("PublishFailure", state(json!({}))), (end, state(json!({})))];
        assert_eq!(failed(&states).await["recovery"]["action"], "nothing", "{end}");
        // It died on the way there.
        assert_eq!(failed(&states[..2]).await["recovery"]["action"], "undo");
    }
}

/// A look at others that fails must wake nobody where nothing is left to do.
#[tokio::test]
async fn others_are_looked_for_only_where_something_is_left_to_do() {
    for (end, looks) in [("Failed", false), ("Undo", true)] {
        let described = described(ExecutionStatus::Failed, Some("AccessDenied"), Some("no."));
        let nobody = ListExecutionsOutput::builder().set_executions(Some(vec![])).build().expect("complete");
        let others = mock!(Client::list_executions).then_output(move || nobody.clone());
        read(&[&described, &history(&[(end, state(json!({})))]), &others]).await.expect("read");
        assert_eq!(others.num_calls() > 0, looks, "{end}");
    }
}

#[tokio::test]
async fn an_undo_that_failed_is_tried_again() {
    let states = [("UndoFailed", state(json!({}))), ("Failed", state(json!({})))];
    assert_eq!(failed(&states).await["recovery"]["action"], "undo");
}

/// It reported, and ended in order; but the name answers nobody.
#[tokio::test]
async fn a_name_or_a_fence_that_could_not_be_put_back_is_tried_again() {
    let refused = json!({"undo_error": {"Error": "AccessDenied", "Cause": "no."}});
    let states = [("ReportLeftovers", state(refused.clone())), ("Failed", state(refused))];
    let response = failed(&states).await;
    assert_eq!(response["recovery"]["action"], "undo");
    assert_eq!(response["undo_error"], Value::Null);
}

#[tokio::test]
async fn what_could_not_be_deleted_is_tried_again() {
    let end =
        |remaining: Value| [("Undo", state(json!({}))), ("Failed", state(json!({"undo": {"remaining": remaining}})))];
    let refused = failed(&end(json!(["DB snapshot `orders-encrypted` (AccessDenied)"]))).await;
    assert_eq!(refused["recovery"]["action"], "undo");
    assert_eq!(refused["undo"], Value::Null);
    assert_eq!(failed(&end(json!([]))).await["recovery"]["action"], "nothing");
}

#[tokio::test]
async fn what_its_undo_was_refused_to_delete_is_tried_again() {
    let refused = json!({"undo": {"ready": true, "remaining": ["DB snapshot `orders-encrypted` (AccessDenied)"]}});
    let states = [("Undo", state(json!({}))), ("Failed", state(refused))];
    assert_eq!(failed(&states).await["recovery"]["action"], "undo");
    let undone = json!({"undo": {"ready": true, "remaining": []}});
    let states = [("Undo", state(json!({}))), ("Failed", state(undone))];
    assert_eq!(failed(&states).await["recovery"]["action"], "nothing");
}

#[tokio::test]
async fn a_proven_target_is_finished_and_never_undone() {
    let states = [("ProtectTarget", state(json!({}))), ("WaitForProtection", state(json!({})))];
    assert_eq!(aborted(&states).await["recovery"]["action"], "finish");
    let reported = [("ProtectTarget", state(json!({}))), ("Failed", state(json!({})))];
    assert_eq!(failed(&reported).await["recovery"]["action"], "finish");
}

#[tokio::test]
async fn a_target_that_has_the_name_is_finished_and_never_undone() {
    let committed = state(json!({"restored_names": {"committed": true}}));
    let states = [("RestoreNames", state(json!({}))), ("ReportLeftovers", committed.clone()), ("Failed", committed)];
    assert_eq!(failed(&states).await["recovery"]["action"], "finish");
    assert_eq!(aborted(&states[..2]).await["recovery"]["action"], "finish");
}

#[tokio::test]
async fn names_and_groups_are_put_back_only_if_the_cutover_began() {
    let before = [("Verify", state(json!({}))), ("CheckWrites", state(json!({})))];
    assert_eq!(aborted(&before).await["recovery"]["cutover_began"], false);
    for begun in ["FenceSource", "RenameSource"] {
        let states = [before[0].clone(), (begun, state(json!({})))];
        assert_eq!(aborted(&states).await["recovery"]["cutover_began"], true, "{begun}");
    }
}

#[tokio::test]
async fn a_history_is_read_to_its_beginning() {
    let events = |name| vec![entered(&(name, state(json!({}))))];
    let (last, first) = (events("RenameSource"), events("ProtectTarget"));
    let pages = [
        mock!(Client::get_execution_history)
            .match_requests(|input| input.next_token().is_none())
            .then_output(move || page(last.clone(), Some("more"))),
        mock!(Client::get_execution_history)
            .match_requests(|input| input.next_token() == Some("more"))
            .then_output(move || page(first.clone(), None)),
    ];
    let described = described(ExecutionStatus::Aborted, None, None);
    let response = read(&[&described, &pages[0], &pages[1]]).await.expect("read");
    assert_eq!(response["recovery"]["action"], "finish");
    assert_eq!(pages[1].num_calls(), 1);
}

#[tokio::test]
async fn an_execution_that_cannot_be_read_is_named() {
    let unknown = mock!(Client::describe_execution)
        .then_error(|| DescribeExecutionError::generic(ErrorMetadata::builder().code("ExecutionDoesNotExist").build()));
    let error = read(&[&unknown]).await.expect_err("unknown");
    assert_eq!(error.name(), "RequestRejected");
    assert!(error.to_string().starts_with(&format!("describe execution {EXECUTION}")), "{error}");

    let denied = mock!(Client::get_execution_history).then_error(|| {
        GetExecutionHistoryError::generic(ErrorMetadata::builder().code("AccessDeniedException").build())
    });
    let described = described(ExecutionStatus::Aborted, None, None);
    assert_eq!(read(&[&described, &denied]).await.expect_err("denied").name(), "AccessDenied");
}
