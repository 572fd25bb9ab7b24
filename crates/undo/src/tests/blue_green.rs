//! Of a blue/green deployment.

use aws_sdk_rds::types::SwitchoverDetail;

use super::*;

const GREEN: &str = "orders-green-abc123";
const DEPLOYMENT: &str = "blue/green deployment `orders-encrypted`";

fn green(id: &str, status: &str) -> DbInstance {
    let mut green = instance("db-GREEN", id, status);
    green.db_instance_arn = Some(format!("arn:aws:rds:r:1:db:{id}"));
    green.deletion_protection = Some(true);
    green
}

fn deployment(execution: &str, status: &str) -> BlueGreenDeployment {
    let (source, target) = match status {
        "SWITCHOVER_COMPLETED" => ("orders-old1", "orders"),
        _ => ("orders", GREEN),
    };
    let arn = |id: &str| format!("arn:aws:rds:r:1:db:{id}");
    let member = SwitchoverDetail::builder().source_member(arn(source)).target_member(arn(target)).build();
    BlueGreenDeployment::builder()
        .blue_green_deployment_identifier("bgd-1")
        .blue_green_deployment_name("orders-encrypted")
        .status(status)
        .switchover_details(member)
        .set_tag_list(Some(owner(execution).tags_with(&[])))
        .build()
}

/// What is there before a switchover, with a deployment of that execution.
fn rds(execution: &str, status: &str) -> Rds {
    let rds = Rds::with(&[source("available"), green(GREEN, "available")]);
    rds.lock().deployments = vec![deployment(execution, status)];
    rds
}

/// After a switchover: the names have moved.
fn switched() -> Rds {
    let rds = Rds::with(&[instance("db-SOURCE", "orders-old1", "available"), green("orders", "available")]);
    rds.lock().deployments = vec![deployment(OURS, "SWITCHOVER_COMPLETED")];
    rds
}

fn state(phase: &str) -> Value {
    let wanted = json!({
        "source_resource_id": "db-SOURCE", "instance_id": "orders", "cutover": "none",
        "quarantine_security_group_id": null, "settings": {"DeletionProtection": true}, "tags": [],
    });
    let targets = match phase {
        "preparing" => json!([]),
        _ => json!([{"source_id": "orders", "instance_id": GREEN, "resource_id": "db-GREEN"}]),
    };
    json!({
        "way": "blue_green",
        "phase": phase,
        "instance_id": "orders",
        "deployment_name": "orders-encrypted",
        "owner": {"execution": OURS, "source_resource_id": "db-SOURCE"},
        "options": {"on_failure": "undo"},
        "members": [{"arn": "arn:aws:rds:r:1:db:orders", "kms_key_arn": "arn:key", "wanted": wanted}],
        "deployment": {"targets": targets, "was_whole": phase != "preparing"},
        "error": {"Error": "DeploymentFailed", "Cause": "it is INVALID_CONFIGURATION"},
        "undo": null,
    })
}

#[tokio::test]
async fn a_deployment_goes_with_its_green_side_and_the_source_stays() {
    for phase in ["preparing", "cutover"] {
        let rds = rds(OURS, "AVAILABLE");
        let response = rds.run(&state(phase)).await.expect("undone");
        let protect = format!("protect {GREEN} false");
        let calls =
            [&format!("tag arn:aws:rds:r:1:db:{GREEN}"), &protect, "delete bgd-1 Some(true)"].map(str::to_owned);
        assert_eq!(rds.calls(), calls, "{phase}");
        assert!(response.whole && !response.past_commit_point, "{response:?}");
        assert_eq!(response.deleted, [DEPLOYMENT]);
        assert_eq!(rds.lock().instances.len(), 1, "{phase}");
        assert!(cause(&response).contains("Undone: deleted blue/green deployment"), "{}", cause(&response));
    }
}

#[tokio::test]
async fn what_another_execution_made_is_left_alone() {
    let rds = rds("arn:theirs", "AVAILABLE");
    let response = rds.run(&state("preparing")).await.expect("nothing to do");
    assert!(response.whole && rds.calls().is_empty(), "{:?}", rds.calls());
}

#[tokio::test]
async fn nothing_is_undone_while_a_switchover_is_in_progress() {
    let rds = rds(OURS, "SWITCHOVER_IN_PROGRESS");
    let mut response = rds.look(state("cutover")).await.expect("waited for");
    for _ in 0..3 {
        response = rds.look(with(&state("cutover"), "undo", json!(response))).await.expect("waited for");
        assert!(!response.ready && rds.calls().is_empty(), "{response:?}");
    }
    // It ends, and the names have moved.
    *rds.lock() = World { instances: switched().lock().instances.clone(), ..World::default() };
    let response = rds.run(&with(&state("cutover"), "undo", json!(response))).await.expect("finished");
    assert!(response.past_commit_point && response.whole, "{response:?}");
}

#[tokio::test]
async fn a_call_to_switch_over_that_was_given_up_is_waited_out() {
    let rds = rds(OURS, "AVAILABLE");
    let first = rds.look(state("cutover")).await.expect("waits");
    assert_eq!((first.wait.wait_seconds, rds.calls().len()), (LATE_CALL_SECONDS, 0));
    // It has landed.
    rds.lock().deployments = vec![deployment(OURS, "SWITCHOVER_IN_PROGRESS")];
    let second = rds.look(with(&state("cutover"), "undo", json!(first))).await.expect("waits");
    assert!(!second.ready && rds.calls().is_empty());
}

#[tokio::test]
async fn what_has_been_switched_over_is_finished_wherever_the_execution_ended() {
    for phase in ["preparing", "cutover", "committed"] {
        let rds = switched();
        let response = rds.run(&state(phase)).await.expect("finished");
        assert_eq!(rds.calls(), ["delete bgd-1 None"], "{phase}");
        assert!(response.whole && response.past_commit_point, "{phase}: {response:?}");
        assert_eq!(response.kept, ["DB instance `orders`", "DB instance `orders-old1`"]);
        assert!(cause(&response).contains("The target is proven and stays"), "{}", cause(&response));
    }
}

#[tokio::test]
async fn the_encrypted_instance_gets_its_protection() {
    let rds = switched();
    let mut unprotected = green("orders", "available");
    unprotected.deletion_protection = Some(false);
    rds.put(unprotected);
    let first = rds.look(state("committed")).await.expect("a look");
    assert_eq!(rds.calls(), ["protect orders true"]);
    rds.put(green("orders", "available"));
    assert!(rds.run(&with(&state("committed"), "undo", json!(first))).await.expect("finished").whole);
}

#[tokio::test]
async fn green_that_somebody_promoted_is_told_and_not_deleted() {
    let rds = rds(OURS, "INVALID_CONFIGURATION");
    let response = rds.run(&state("cutover")).await.expect("told");
    assert_eq!(rds.calls().last().map(String::as_str), Some("delete bgd-1 Some(false)"));
    assert!(!response.whole, "{response:?}");
    assert_eq!(response.remaining.len(), 1);
    assert!(response.remaining[0].starts_with(&format!("DB instance `{GREEN}`")), "{response:?}");
    assert_eq!(rds.lock().instances.len(), 2);
    // One that failed before it was whole is nobody's yet.
    let rds = self::rds(OURS, "INVALID_CONFIGURATION");
    assert!(rds.run(&state("preparing")).await.expect("undone").whole);
    assert_eq!(rds.calls().last().map(String::as_str), Some("delete bgd-1 Some(true)"));
}

#[tokio::test]
async fn a_deletion_that_rds_refuses_for_now_is_asked_for_again() {
    for (call, code) in [("delete bgd-1", "InvalidBlueGreenDeploymentStateFault"), ("delete bgd-1", "AccessDenied")] {
        let rds = rds(OURS, "PROVISIONING").refusing(call, code);
        let mut response = Response::default();
        for _ in 0..5 {
            response = rds.look(with(&state("preparing"), "undo", json!(response))).await.expect(code);
            assert!(!response.ready, "{code}");
        }
        rds.lock().refused.clear();
        assert!(rds.run(&with(&state("preparing"), "undo", json!(response))).await.expect("undone").whole, "{code}");
    }
}

#[tokio::test]
async fn nothing_is_deleted_of_a_source_that_may_be_lost() {
    let rds = rds(OURS, "INVALID_CONFIGURATION");
    rds.put(source("deleting"));
    let response = rds.look(after(&state("preparing"), 900)).await.expect("spared");
    assert!(response.ready && !response.whole && rds.calls().is_empty(), "{response:?}");
    assert!(response.remaining.iter().any(|left| left.contains(GREEN) && left.contains("last copy")), "{response:?}");
}

#[tokio::test]
async fn what_is_to_be_kept_is_kept_and_said() {
    let rds = rds(OURS, "AVAILABLE");
    let keep = with(&state("preparing"), "options", json!({"on_failure": "keep"}));
    let response = rds.run(&keep).await.expect("kept");
    assert!(rds.calls().is_empty());
    assert_eq!(response.kept, [DEPLOYMENT.to_owned(), format!("DB instance `{GREEN}`")]);
    assert!(cause(&response).contains("\"resume\""), "{}", cause(&response));
}

#[tokio::test]
async fn a_member_that_was_left_out_is_told_and_the_others_are_finished() {
    let rds = switched();
    rds.lock().instances.push(instance("db-REPLICA", "orders-replica", "available"));
    let mut state = state("committed");
    let mut replica = state["members"][0].clone();
    replica["arn"] = json!("arn:aws:rds:r:1:db:orders-replica");
    replica["wanted"]["source_resource_id"] = json!("db-REPLICA");
    replica["wanted"]["instance_id"] = json!("orders-replica");
    state["members"].as_array_mut().expect("members").push(replica);
    let response = rds.run(&state).await.expect("finished");
    assert!(cause(&response).contains("`orders-replica` was left out of the switchover"), "{}", cause(&response));
    assert_eq!(rds.calls(), ["delete bgd-1 None"]);
}
