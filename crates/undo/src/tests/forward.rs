//! Past the commit point.

use super::*;

fn released() -> DbInstance {
    let mut target = instance("db-TARGET", "orders", "available");
    target.deletion_protection = Some(true);
    target.backup_retention_period = Some(7);
    target
}

#[tokio::test]
async fn what_was_left_to_do_is_done_and_the_target_stays() {
    let rds = Rds::with(&[behind("sg-fence", renamed_source("available")), renamed_target("available")]);
    rds.lock().snapshots = vec![snapshot("orders-no-encrypted", OURS), snapshot("orders-encrypted", OURS)];
    let state = committed();
    let mut response = rds.look(state.clone()).await.expect("a look");
    assert_eq!(rds.calls(), ["release arn:orders"]);
    rds.put(released());
    while !response.ready {
        rds.time_passes();
        response = rds.look(with(&state, "undo", json!(response))).await.expect("a look");
    }
    assert_eq!(rds.calls(), ["release arn:orders", "delete snapshot orders-no-encrypted"]);
    assert!(response.whole);
    assert_eq!(response.kept, ["DB instance `orders`", COPY]);
    let said = cause(&response);
    assert!(said.contains("The target is proven and stays") && said.contains(PLAINTEXT), "{said}");
}

#[tokio::test]
async fn a_rename_that_was_asked_for_is_waited_for() {
    for under_way in [target("renaming"), renamed_target("rebooting")] {
        let rds = Rds::with(&[renamed_source("available"), under_way]);
        assert!(!rds.look(committed()).await.expect("waited for").ready);
        assert!(rds.calls().is_empty());
    }
}

#[tokio::test]
async fn a_target_that_somebody_stopped_is_said_with_the_command() {
    let rds = Rds::with(&[renamed_source("available"), renamed_target("stopped")]);
    rds.lock().snapshots = vec![snapshot("orders-encrypted", OURS)];
    let response = rds.look(committed()).await.expect("said");
    assert!(response.ready && !response.whole && rds.calls().is_empty(), "{response:?}");
    let said = cause(&response);
    assert!(said.contains("NOT finished") && said.contains("aws rds start-db-instance"), "{said}");
    assert!(said.contains("Left as it is: DB instance `orders`, DB snapshot `orders-encrypted`."), "{said}");
}

#[tokio::test]
async fn a_target_that_is_gone_after_all_is_said() {
    let rds = Rds::with(&[renamed_source("available")]);
    assert!(!rds.look(committed()).await.expect("hidden").ready);
    let response = rds.look(after(&committed(), 900)).await.expect("said");
    assert!(response.ready && cause(&response).contains("somebody deleted it"), "{response:?}");
}

#[tokio::test]
async fn without_a_cutover_the_target_keeps_its_name() {
    let mut state = with(&preparing(), "phase", json!("committed"));
    state["target"]["resource_id"] = json!("db-TARGET");
    let rds = Rds::with(&[source("available"), target("available")]);
    rds.look(state).await.expect("a look");
    assert_eq!(rds.calls(), ["release arn:orders-encrypted"]);
}

#[tokio::test]
async fn plaintext_that_lost_its_tag_does_not_stay_unsaid() {
    let rds = Rds::with(&[renamed_source("available"), released()]);
    rds.lock().snapshots = vec![snapshot("orders-no-encrypted", "arn:theirs")];
    let response = rds.run(&committed()).await.expect("said");
    assert!(!response.whole && rds.calls().is_empty());
    assert!(cause(&response).contains("NOT deleted: DB snapshot `orders-no-encrypted`"), "{response:?}");
}
