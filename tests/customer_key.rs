//! The stack under a customer key: what keeps data names the key, and executions run and are undone as ever.
//!
//! The local cloud encrypts nothing. But it asks the functions' roles for the key, and leaves the execution's
//! data out of the events of an encrypted machine, as AWS does; from such an event undo-instance is started.

use serde_json::{Value, json};

use crate::cloud::{ACCOUNT, Cloud, REGION, Running, Setup};
use crate::cutover::undo_of;
use crate::fixtures::{family, seed, until_entered};

#[tokio::test]
async fn executions_under_a_customer_key_run_and_are_undone() {
    let key = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab");
    let parameter = format!("DataKmsKeyArn={key}");
    let running = Running::start(&Setup { storage: "files", parameters: &[&parameter], ..Setup::default() });
    let cloud = Cloud::connect(&running).await;
    for machine in [cloud.state_machine(), cloud.undo_state_machine()] {
        let described = cloud.sfn.describe_state_machine().state_machine_arn(machine).send().await;
        let encryption = described.expect("described").encryption_configuration.expect("a configuration");
        assert_eq!(encryption.kms_key_id.as_deref(), Some(&*key), "{machine}");
    }
    let log_groups = cloud.log_groups();
    assert_eq!(log_groups.len(), 2, "{log_groups:#?}");
    assert!(log_groups.iter().all(|group| group["kmsKeyId"] == key.as_str()), "{log_groups:#?}");

    seed(&cloud, "guarded", json!({}));
    cloud.encrypt(json!({"instance_id": "guarded"})).await.succeeded();

    seed(&cloud, "halted", json!({}));
    let execution = cloud.start_execution(&json!({"instance_id": "halted"}).to_string()).await;
    until_entered(&cloud, &execution, "WaitForInstance").await;
    cloud.sfn.stop_execution().execution_arn(&execution).send().await.expect("stopped");
    let undo = undo_of(&cloud, &execution).await;
    undo.succeeded();
    assert_eq!(family(&cloud, "halted").await, ["instance halted"]);
    let undo = cloud.sfn.describe_execution().execution_arn(&undo.execution).send().await.expect("described");
    let event: Value = serde_json::from_str(undo.input().expect("an event")).expect("JSON");
    assert_eq!(event["input"], Value::Null, "{event:#}");
}
