//! The source's name and security groups.

use aws_sdk_rds::types::PendingModifiedValues;
use workflow::rename::NAME_RELEASE_SECONDS;
use workflow::turn::HIDDEN_SECONDS_MAX;

use super::*;

fn pending_name(mut instance: DbInstance, name: &str) -> DbInstance {
    instance.pending_modified_values = Some(PendingModifiedValues::builder().db_instance_identifier(name).build());
    instance
}

fn pending_storage(mut instance: DbInstance) -> DbInstance {
    instance.pending_modified_values = Some(PendingModifiedValues::builder().allocated_storage(200).build());
    instance
}

/// What the undo asked of the source, not what it deleted.
fn asked(rds: &Rds) -> Vec<String> {
    rds.calls().into_iter().filter(|call| !call.starts_with("delete") && !call.starts_with("protect")).collect()
}

#[tokio::test]
async fn a_target_that_has_the_name_or_is_about_to_is_past_the_commit_point() {
    for target in [
        renamed_target("available"),
        renamed_target("rebooting"),
        pending_name(target("available"), "orders"),
        pending_name(target("modifying"), "orders"),
    ] {
        let rds = Rds::with(&[renamed_source("available"), target]);
        for state in [cutting_over(), after(&cutting_over(), 70)] {
            let response = rds.look(state).await.expect("settled");
            assert!(response.past_commit_point, "{response:?}");
        }
        assert!(asked(&rds).iter().all(|call| call.starts_with("release")), "nothing goes back: {:?}", rds.calls());
    }
}

#[tokio::test]
async fn a_late_call_is_waited_for_before_a_name_goes_back() {
    let rds = Rds::with(&[renamed_source("available"), target("available")]);
    let response = rds.look(cutting_over()).await.expect("waits");
    assert_eq!((response.ready, response.wait.wait_seconds), (false, 70));
    assert!(rds.calls().is_empty());
    // It lands.
    rds.put(renamed_target("renaming"));
    let response = rds.look(with(&cutting_over(), "undo", json!(response))).await.expect("landed");
    assert!(response.past_commit_point);
}

#[tokio::test]
async fn the_source_gets_its_name_back_once_then_its_groups_and_then_the_rest_is_deleted() {
    let rds = Rds::with(&[behind("sg-fence", renamed_source("available")), target("available")]);
    let state = cutting_over();
    let mut response = rds.look(state.clone()).await.expect("waits");
    let mut next = async |rds: &Rds| {
        response = rds.look(with(&state, "undo", json!(response))).await.expect("a look");
        response.clone()
    };
    next(&rds).await;
    assert_eq!(asked(&rds), ["rename orders-unencrypted to orders"]);
    rds.hide("db-SOURCE");
    next(&rds).await;
    rds.put(behind("sg-fence", source("rebooting")));
    rds.lock().instances.iter_mut().for_each(|instance| {
        if instance.dbi_resource_id() == Some("db-SOURCE") {
            *instance = behind("sg-fence", instance.clone());
        }
    });
    next(&rds).await;
    assert_eq!(asked(&rds).len(), 1);
    rds.put(behind("sg-fence", source("available")));
    // Twice at home; then its groups.
    next(&rds).await;
    assert_eq!(asked(&rds).len(), 1);
    next(&rds).await;
    assert_eq!(asked(&rds), ["rename orders-unencrypted to orders", "open orders to sg-own"]);
    rds.put(source("available"));
    next(&rds).await;
    assert!(!rds.calls().iter().any(|call| call.starts_with("delete")), "one look does not prove it");
    next(&rds).await;
    assert_eq!(rds.calls().last().map(String::as_str), Some("delete instance orders-encrypted"));
    assert_eq!(asked(&rds).len(), 2, "each once");
}

#[tokio::test]
async fn a_source_that_was_never_renamed_is_left_alone_whatever_its_own_life_is() {
    for source in [source("available"), source("backing-up"), source("stopped"), pending_storage(source("available"))] {
        let rds = Rds::with(&[source, target("available")]);
        rds.run(&cutting_over()).await.expect("undone");
        assert_eq!(rds.calls(), ["delete instance orders-encrypted"]);
    }
}

#[tokio::test]
async fn a_rename_that_is_on_its_way_is_seen_to_its_end_before_the_name_goes_back() {
    for under_way in [
        pending_name(source("available"), "orders-unencrypted"),
        source("renaming"),
        pending_name(renamed_source("available"), "orders"),
    ] {
        let rds = Rds::with(&[under_way, target("available")]);
        let response = rds.look(after(&cutting_over(), 70)).await.expect("under way");
        assert_eq!((response.steady_looks.0, rds.calls().len()), (0, 0));
    }
}

#[tokio::test]
async fn while_the_target_is_between_two_names_none_goes_back() {
    for status in ["renaming", "modifying"] {
        let rds = Rds::with(&[renamed_source("available"), target(status)]);
        rds.look(after(&cutting_over(), 70)).await.expect(status);
        assert!(rds.calls().is_empty(), "{status}");
    }
    let rds = Rds::with(&[renamed_source("available")]);
    let response = rds.look(after(&cutting_over(), 70)).await.expect("hidden");
    assert!(rds.calls().is_empty());
    rds.put(renamed_target("renaming"));
    let response = rds.look(with(&cutting_over(), "undo", json!(response))).await.expect("named");
    assert!(response.past_commit_point);
}

#[tokio::test]
async fn a_target_that_stays_hidden_is_gone_and_the_name_goes_back() {
    let rds = Rds::with(&[renamed_source("available")]);
    rds.look(after(&cutting_over(), HIDDEN_SECONDS_MAX)).await.expect("asked for");
    assert_eq!(rds.calls(), ["rename orders-unencrypted to orders"]);
    // The count starts when it was last seen at rest.
    let rds = Rds::with(&[renamed_source("maintenance"), target("available")]);
    let mut seen = rds.look(after(&cutting_over(), 400)).await.expect("busy");
    rds.hide("db-TARGET");
    rds.put(renamed_source("available"));
    seen.wait.waited_seconds = HIDDEN_SECONDS_MAX;
    rds.look(with(&cutting_over(), "undo", json!(seen))).await.expect("hidden for less");
    assert!(rds.calls().is_empty());
}

#[tokio::test]
async fn a_source_that_somebody_else_renamed_is_left_so_and_everything_else_is_undone() {
    let rds = Rds::with(&[behind("sg-own", instance("db-SOURCE", "archive", "available")), target("available")]);
    let response = rds.run(&cutting_over()).await.expect("undone");
    assert_eq!(rds.calls(), ["delete instance orders-encrypted"]);
    assert!(response.whole, "{response:?}");
    assert!(cause(&response).contains("The source is called `archive` now: somebody renamed it"), "{response:?}");
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_name_for_a_while_is_waited_for() {
    for refusal in ["DBInstanceAlreadyExists", "InvalidDBInstanceState", "DBInstanceNotFound"] {
        let rds = Rds::with(&[renamed_source("available"), target("available")]).refusing("rename", refusal);
        assert!(!rds.look(after(&cutting_over(), 70)).await.expect(refusal).ready);
    }
    let rds = Rds::with(&[renamed_source("backing-up"), target("available")]);
    rds.look(after(&cutting_over(), 70)).await.expect("asked for all the same: the name answers nobody");
    assert_eq!(rds.calls().len(), 1);
    let rds = Rds::with(&[renamed_source("rebooting"), target("available")]);
    rds.look(after(&cutting_over(), 70)).await.expect("reboots");
    assert!(rds.calls().is_empty());
}

/// Nothing is deleted while the source is not as it was.
#[tokio::test]
async fn what_stays_in_the_way_of_a_name_is_said_with_the_way_on() {
    let taken = Rds::with(&[renamed_source("available"), target("available")]);
    let full = Rds::with(&[renamed_source("storage-full"), target("available")]);
    let busy = Rds::with(&[renamed_source("maintenance"), target("available")]);
    for (rds, waited_seconds, words) in [
        (
            taken.refusing("rename", "DBInstanceAlreadyExists"),
            HIDDEN_SECONDS_MAX + NAME_RELEASE_SECONDS,
            "taken that name",
        ),
        (full, 70, "`storage-full`"),
        (busy, TWO_DAYS_SECONDS, "is not over after"),
    ] {
        let response = match rds.look(after(&cutting_over(), waited_seconds)).await {
            Ok(response) => response,
            Err(error) => {
                assert!(error.to_string().contains(words), "{error}");
                continue;
            }
        };
        let said = cause(&response);
        assert!(response.ready && !response.whole, "{response:?}");
        assert!(said.contains("NOT put back: ") && said.contains(words), "{said}");
        assert!(said.contains(&format!("Left as it is: {TARGET}.")) && said.contains("undo-instance"), "{said}");
        assert!(!rds.calls().iter().any(|call| call.starts_with("delete")), "{:?}", rds.calls());
    }
}

#[tokio::test]
async fn of_a_source_that_is_gone_nothing_is_put_back_and_nothing_deleted() {
    let rds = Rds::with(&[target("available")]);
    rds.look(after(&cutting_over(), HIDDEN_SECONDS_MAX - 1)).await.expect("a rename may hide it");
    let mut response = rds.look(after(&cutting_over(), HIDDEN_SECONDS_MAX)).await.expect("gone");
    while !response.ready {
        response = rds.look(with(&cutting_over(), "undo", json!(response))).await.expect("a look");
    }
    assert!(rds.calls().is_empty(), "{:?}", rds.calls());
    assert!(cause(&response).contains("last copy of its data"), "{response:?}");
}

#[tokio::test]
async fn groups_that_were_never_noted_were_never_taken() {
    for fenced in [json!(null), json!({"requested": false, "security_groups_before": null})] {
        let rds = Rds::with(&[behind("sg-fence", source("available")), target("available")]);
        rds.run(&with(&cutting_over(), "fenced", fenced)).await.expect("undone");
        assert!(asked(&rds).is_empty(), "{:?}", rds.calls());
    }
}

#[tokio::test]
async fn groups_that_somebody_gave_the_source_meanwhile_stay() {
    let rds = Rds::with(&[behind("sg-new", source("available")), target("available")]);
    rds.run(&cutting_over()).await.expect("undone");
    assert!(asked(&rds).is_empty(), "{:?}", rds.calls());
}

#[tokio::test]
async fn a_source_that_cannot_be_opened_yet_is_waited_for() {
    let fenced = || behind("sg-fence", source("available"));
    let rds = Rds::with(&[fenced(), target("available")]).refusing("open", "InvalidDBInstanceState");
    let mut response = rds.look(after(&cutting_over(), 70)).await.expect("a look");
    for _ in 0..5 {
        response = rds.look(with(&cutting_over(), "undo", json!(response))).await.expect("a look");
    }
    assert!(!response.ready && rds.calls().iter().all(|call| call == "open orders to sg-own"), "{:?}", rds.calls());
    rds.lock().refused.clear();
    rds.put(source("available"));
    while !response.ready {
        rds.time_passes();
        response = rds.look(with(&cutting_over(), "undo", json!(response))).await.expect("a look");
    }
    assert!(response.whole);
}

/// The tag by which the role allows it may be too young to count.
#[tokio::test]
async fn a_denial_is_not_yet_for_a_quarter_of_an_hour() {
    let rds = Rds::with(&[renamed_source("available"), target("available")]).refusing("rename", "AccessDenied");
    let early = rds.look(after(&cutting_over(), 899)).await.expect("not yet");
    assert!(!early.ready && early.stuck.is_none(), "{early:?}");
    let late = rds.look(after(&cutting_over(), 900)).await.expect("never");
    assert!(late.ready && late.stuck.as_deref().is_some_and(|why| why.contains("AccessDenied")), "{late:?}");
}

#[tokio::test]
async fn what_passes_by_itself_is_the_state_machines_to_retry() {
    let rds = Rds::of(OURS).refusing("describe", "InsufficientDBInstanceCapacity");
    assert_eq!(rds.look(preparing()).await.expect_err("to be retried").name(), "CapacityUnavailable");
}
