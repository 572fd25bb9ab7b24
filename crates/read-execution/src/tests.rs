use aws_sdk_sfn::error::ErrorMetadata;
use aws_sdk_sfn::operation::describe_execution::{DescribeExecutionError, DescribeExecutionOutput};
use aws_sdk_sfn::operation::get_execution_history::{GetExecutionHistoryError, GetExecutionHistoryOutput};
use aws_sdk_sfn::operation::list_executions::ListExecutionsOutput;
use aws_sdk_sfn::primitives::DateTime;
use aws_sdk_sfn::types::{ExecutionListItem, HistoryEvent, HistoryEventType, StateEnteredEventDetails};
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
        "phase": "preparing",
        "undo": null,
        "undo_error": null,
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
    handle(&client, Request { input: json!({"executionArn": EXECUTION}), undo_execution_arn: THIS_UNDO.into() }).await
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
        (SECOND_PAGE, EXECUTION, done("undo"), "nothing"),
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

#[tokio::test]
async fn any_input_names_an_execution_or_says_that_it_does_not() {
    let event = json!({"executionArn": EXECUTION, "status": "ABORTED", "input": "{}", "stopDate": 1});
    for input in [event.clone(), json!({"source": "aws.states", "detail": event})] {
        let described = described(ExecutionStatus::Running, None, None);
        let client = mock_client!(aws_sdk_sfn, RuleMode::MatchAny, [&described]);
        let request = Request { input, undo_execution_arn: THIS_UNDO.into() };
        assert_eq!(handle(&client, request).await.expect("read")["recovery"]["execution"], EXECUTION);
    }
    for input in [json!(null), json!([1]), json!({}), json!({"executionArn": 1}), json!({"execution_arn": EXECUTION})] {
        let client = mock_client!(aws_sdk_sfn, RuleMode::MatchAny, &[] as &[&Rule]);
        let request = Request { input: input.clone(), undo_execution_arn: THIS_UNDO.into() };
        let error = handle(&client, request).await.expect_err("no execution");
        assert_eq!(error.name(), "InvalidInput", "{input}");
        assert!(error.to_string().starts_with("`executionArn`: is missing"), "{error}");
    }
}

#[tokio::test]
async fn an_execution_that_runs_or_succeeded_is_left_alone_and_its_history_unread() {
    for status in [ExecutionStatus::Running, ExecutionStatus::Succeeded, ExecutionStatus::PendingRedrive] {
        let response = read(&[&described(status.clone(), None, None)]).await.expect("nothing to do");
        let recovery = json!({"action": "nothing", "execution": EXECUTION, "status": status.as_str()});
        assert_eq!(Value::Object(response), json!({"recovery": recovery}));
    }
}

#[tokio::test]
async fn an_execution_that_ended_before_a_plan_has_nothing_to_undo() {
    let begun = json!({"input": {"instance_id": "orders"}, "phase": "planning", "instance_id": "an instance"});
    let states = [("Begin", json!({"instance_id": "orders"})), ("Plan", begun.clone()), ("Undo", begun)];
    assert_eq!(failed(&states).await["recovery"]["action"], "nothing");
    assert_eq!(aborted(&states[..1]).await["recovery"]["action"], "nothing");
}

#[tokio::test]
async fn whatever_ended_it_from_outside_it_is_undone() {
    for status in [ExecutionStatus::Aborted, ExecutionStatus::TimedOut, ExecutionStatus::Failed] {
        let states = [("Plan", json!({})), ("CreateSnapshot", state(json!({})))];
        let response = read(&[&described(status.clone(), None, None), &history(&states)]).await.expect("read");
        assert_eq!(response["recovery"]["action"], "undo", "{status}");
        assert_eq!(response["recovery"]["status"], status.as_str());
        assert_eq!(response["recovery"]["execution"], EXECUTION);
    }
}

#[tokio::test]
async fn the_undo_works_from_the_last_document_that_the_plans_fields_are_in() {
    let target = |resource_id| state(json!({"target": {"resource_id": resource_id}}));
    let states = [
        ("RestoreInstance", target(None)),
        ("DescribeInstance", target(Some("db-TARGET"))),
        // A report replaces the state.
        ("PublishSuccess", json!({"instance_id": "orders", "encrypted_instance_id": "orders"})),
    ];
    let response = aborted(&states).await;
    assert_eq!(response["target"]["resource_id"], "db-TARGET");
    assert_eq!(response["owner"]["execution"], EXECUTION);
}

#[tokio::test]
async fn the_loop_of_the_undo_starts_anew() {
    let worn = json!({"undo": {"ready": false, "wait": {"waited_seconds": 9}}, "undo_error": {"Error": "x"}});
    let response = aborted(&[("Undo", state(worn))]).await;
    assert_eq!((&response["undo"], &response["undo_error"]), (&Value::Null, &Value::Null));
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
async fn an_execution_whose_own_undo_left_all_well_is_left_alone_and_any_other_is_not() {
    for (undo, action) in [
        (json!({"ready": true, "whole": true}), "nothing"),
        // It still has something to delete, or to put back.
        (
            json!({"ready": true, "whole": false, "remaining": ["DB snapshot `orders-encrypted` (AccessDenied)"]}),
            "undo",
        ),
        (json!({"ready": true, "whole": false, "stuck": "the name is not back"}), "undo"),
        // It died on the way.
        (json!({"ready": false, "whole": true}), "undo"),
        (json!({"failure": {"error": "SnapshotFailed"}}), "undo"),
        (json!(null), "undo"),
    ] {
        let states = [("Undo", state(json!({}))), ("Failed", state(json!({"undo": undo})))];
        assert_eq!(failed(&states).await["recovery"]["action"], action, "{undo}");
    }
}

/// A look at others that fails must wake nobody where nothing is left to do.
#[tokio::test]
async fn others_are_looked_for_only_where_something_is_left_to_do() {
    for (undo, looks) in [(json!({"ready": true, "whole": true}), false), (json!(null), true)] {
        let described = described(ExecutionStatus::Failed, Some("AccessDenied"), Some("no."));
        let nobody = ListExecutionsOutput::builder().set_executions(Some(vec![])).build().expect("complete");
        let others = mock!(Client::list_executions).then_output(move || nobody.clone());
        read(&[&described, &history(&[("Failed", state(json!({"undo": undo})))]), &others]).await.expect("read");
        assert_eq!(others.num_calls() > 0, looks);
    }
}

/// Of 25,000 events with 256 KiB of data each, nothing is kept but the page at hand.
#[tokio::test]
async fn a_history_is_read_backwards_and_no_further_than_to_the_document_that_decides() {
    let events = |name: &'static str, state: Value| vec![entered(&(name, state))];
    let (last, first) =
        (events("Failed", json!({"no": "plan"})), events("RenameSource", state(json!({"phase": "cutover"}))));
    let page_of = |token: Option<&'static str>, events: Vec<HistoryEvent>, next: Option<&'static str>| {
        mock!(Client::get_execution_history)
            .match_requests(move |input| {
                input.next_token() == token
                    && input.reverse_order() == Some(true)
                    && input.max_results().is_some_and(|events| events <= 100)
            })
            .then_output(move || page(events.clone(), next))
    };
    let pages = [
        page_of(None, last, Some("2")),
        page_of(Some("2"), first, Some("3")),
        page_of(Some("3"), events("Plan", json!({})), None),
    ];
    let described = described(ExecutionStatus::Aborted, None, None);
    let response = read(&[&described, &pages[0], &pages[1], &pages[2]]).await.expect("read");
    assert_eq!(response["phase"], "cutover");
    assert_eq!((pages[1].num_calls(), pages[2].num_calls()), (1, 0));
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
