//! Nothing secret in the state, the outputs, the notifications or the logs.

use serde_json::{Value, json};

use crate::cloud::{Cloud, Outcome, Running, Setup};
use crate::fixtures::PASSWORD;
use crate::online::seed_replicable;

/// The password of the source's master user, which no step needs.
const MASTER_PASSWORD: &str = "planted-master-password";
/// What a database holds, which no step reads.
const ROWS: &str = "planted-rows-of-a-customer";
/// What somebody put into the input by mistake.
const MISTAKEN_INPUT: &str = "planted-password-in-the-input";

fn seed(cloud: &Cloud, id: &str) {
    let body = json!({"fields": {"Engine": "mysql", "DeletionProtection": true}, "master_password": MASTER_PASSWORD});
    cloud.control("PUT", &format!("instances/{id}"), body);
    cloud.control("PUT", &format!("instances/{id}/data"), json!({"data": ROWS}));
}

/// Everything that Step Functions keeps of an execution.
async fn record(cloud: &Cloud, input: Value) -> String {
    let outcome = cloud.encrypt(input).await;
    kept(cloud, &outcome).await
}

/// The SDK's Debug hides what an event holds.
async fn kept(cloud: &Cloud, outcome: &Outcome) -> String {
    let mut texts = vec![format!("{outcome:?}")];
    for event in cloud.history(&outcome.execution).await {
        let held = [
            event.state_entered_event_details().and_then(|details| details.input()),
            event.state_exited_event_details().and_then(|details| details.output()),
            event.task_scheduled_event_details().map(|details| details.parameters()),
            event.task_succeeded_event_details().and_then(|details| details.output()),
            event.task_failed_event_details().and_then(|details| details.cause()),
        ];
        texts.extend(held.into_iter().flatten().map(str::to_owned));
    }
    assert!(texts.len() > 10, "the history holds nothing: {texts:?}");
    texts.concat()
}

#[tokio::test]
async fn no_secret_is_in_state_output_notification_or_log() {
    let running = Running::start(&Setup { storage: "files", time_scale: 0.001, ..Setup::default() });
    let cloud = Cloud::connect(&running).await;
    let mut inbox = cloud.inbox();
    for id in ["vault", "refused", "mistaken"] {
        seed(&cloud, id);
    }
    let success =
        record(&cloud, json!({"instance_id": "vault", "cutover": "rename", "accept_lost_writes": true})).await;
    let denied = json!({"type": "error", "code": "AccessDenied", "message": "no", "status": 403});
    cloud.control("POST", "faults", json!({"operation": "CopyDBSnapshot", "action": denied}));
    let failure = record(&cloud, json!({"instance_id": "refused"})).await;
    let mails = format!("{} {}", inbox.next_about("vault"), inbox.next_about("refused"));

    // The input itself is the caller's to keep out of sight; what we say about it must not repeat it.
    let mistake = cloud.encrypt(json!({"instance_id": "mistaken", "password": MISTAKEN_INPUT})).await;
    let mistake = mistake.failed("InvalidInput").to_owned();

    // What each must hold shows that the search is not in vain.
    for (place, text, must_hold) in [
        ("an execution that succeeded", success, "security_groups_before"),
        ("an execution that failed", failure, "final_settings"),
        ("the notifications", mails, "AccessDenied"),
        ("the cause of a mistaken input", mistake, "password"),
        ("the functions' logs", cloud.logs().concat(), "RequestId"),
        ("the local cloud's logs", cloud.process_logs(), "rds-encrypt-"),
    ] {
        assert!(text.contains(must_hold), "{place} hold nothing: {text}");
        for secret in [MASTER_PASSWORD, ROWS, MISTAKEN_INPUT] {
            assert!(!text.contains(secret), "{secret} is in {place}");
        }
    }
}

#[tokio::test]
async fn no_login_is_in_state_output_or_log() {
    const WRONG: &str = "planted-wrong-password";
    let cloud = Cloud::shared().await.online();
    let (source, input) = seed_replicable(&cloud, "lagoon", None).await;
    let success = cloud.encrypt(input).await;
    success.succeeded();
    // By which the target follows its source.
    let derived = postgres::names::Names::of(&success.execution).password(PASSWORD);

    let (_, mut input) = seed_replicable(&cloud, "laguna", None).await;
    input["engine"] = json!("dms");
    let by_dms = cloud.encrypt(input).await;
    by_dms.succeeded();
    let of_dms = postgres::names::Names::of(&by_dms.execution).password(PASSWORD);

    let (_, mut input) = seed_replicable(&cloud, "atoll", None).await;
    let user = source.master_username().expect("a user");
    input["database_secret_arn"] = json!(cloud.login("atoll-wrong", user, WRONG, None));
    let failure = cloud.encrypt(input).await;
    assert!(failure.failed("DatabaseRefused").contains("password authentication failed"), "{failure:?}");

    for (place, text, must_hold) in [
        ("success", kept(&cloud, &success).await, "fenced_at"),
        ("success by AWS DMS", kept(&cloud, &by_dms).await, "loaded anew"),
        ("failure", kept(&cloud, &failure).await, "rds-encrypt/atoll-wrong"),
        ("the functions' logs", cloud.logs().concat(), "RequestId"),
    ] {
        assert!(text.contains(must_hold), "{place} holds nothing: {text}");
        for secret in [PASSWORD, WRONG, &derived, &of_dms] {
            assert!(!text.contains(secret), "a password is in {place}");
        }
    }
}
