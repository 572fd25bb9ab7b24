//! Nothing secret in the state, the outputs, the notifications or the logs.

use serde_json::{Value, json};

use crate::cloud::{Cloud, Running, Setup};

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
    format!("{outcome:?} {:?}", cloud.history(&outcome.execution).await)
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
        ("an execution that succeeded", success, "vault-unencrypted"),
        ("an execution that failed", failure, "refused-encrypted"),
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
