//! A deploy while executions run: each ends with the definition and the functions that it was started with.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::json;

use crate::cloud::{Cloud, Running, Setup, built, repository};
use crate::cutover::{approval_token, undo_of};
use crate::fixtures::{family, seed};

/// What is built, with another name for the state Verify and another program for its function.
fn release(running: &Running, state: &str) -> PathBuf {
    let root = running.folder().join(state);
    let (build, machines) = (root.join(".aws-sam/build"), root.join("statemachine"));
    fs::create_dir_all(&build).expect("a folder");
    fs::create_dir_all(&machines).expect("a folder");
    for entry in fs::read_dir(built()).expect("`make build` first") {
        let name = entry.expect("an entry").file_name();
        let program = if name == "VerifyFunction" { "CheckWritesFunction".into() } else { name.clone() };
        symlink(built().join(program), build.join(name)).expect("a link");
    }
    for entry in fs::read_dir(repository().join("statemachine")).expect("state machines") {
        let path = entry.expect("an entry").path();
        let definition = fs::read_to_string(&path).expect("a definition");
        let renamed = definition.replace("\"Verify\"", &format!("\"{state}\""));
        fs::write(machines.join(path.file_name().expect("a name")), renamed).expect("written");
    }
    build
}

/// The versions of the functions that an execution has called.
async fn versions(cloud: &Cloud, execution: &str) -> BTreeSet<String> {
    let history = cloud.history(execution).await;
    let called = history.iter().filter_map(|event| Some(event.task_scheduled_event_details()?.resource()));
    let functions = called.filter_map(|resource| Some(resource.split_once(":function:")?.1));
    functions.map(|function| function.split_once(':').expect("a version").1.to_owned()).collect()
}

#[tokio::test]
async fn a_running_execution_ends_as_it_began_and_the_next_one_is_of_the_new_release() {
    let running = Running::start(&Setup { storage: "files", ..Setup::default() });
    let cloud = Cloud::connect(&running).await;
    let mut inbox = cloud.inbox();
    let mut waiting = vec![];
    for name in ["approved", "stopped"] {
        seed(&cloud, name, json!({}));
        let execution = cloud.start_execution(&json!({"instance_id": name, "approval": true}).to_string()).await;
        waiting.push((execution, approval_token(&mut inbox, name)));
    }
    running.update(&release(&running, "VerifyAnew"), &["OPERATION_TIMEOUT_SECONDS=19"]);

    let [(approved, token), (stopped, _)] = &waiting[..] else { panic!("two executions") };
    cloud.sfn.send_task_success().task_token(token).output("{}").send().await.expect("approved");
    cloud.outcome(approved).await.succeeded();
    let states = cloud.states(approved).await;
    assert_eq!(states.iter().filter(|state| state.starts_with("Verify")).collect::<Vec<_>>(), ["Verify", "Verify"]);
    assert_eq!(versions(&cloud, approved).await, BTreeSet::from(["1".to_owned()]));

    // The new undo reads the old execution.
    cloud.sfn.stop_execution().execution_arn(stopped).send().await.expect("stopped");
    let undo = undo_of(&cloud, stopped).await;
    undo.succeeded();
    assert_eq!(family(&cloud, "stopped").await, ["instance stopped"]);
    assert_eq!(versions(&cloud, &undo.execution).await, BTreeSet::from(["2".to_owned()]));

    seed(&cloud, "next", json!({}));
    let next = cloud.encrypt(json!({"instance_id": "next"})).await;
    next.failed("InvalidInput");
    assert!(cloud.states(&next.execution).await.contains(&"VerifyAnew".to_owned()));
    assert_eq!(versions(&cloud, &next.execution).await, BTreeSet::from(["2".to_owned()]));

    // Functions that have not changed stay as they are.
    running.update(&release(&running, "VerifyOnceMore"), &["OPERATION_TIMEOUT_SECONDS=19"]);
    let last = cloud.encrypt(json!({"instance_id": "next"})).await;
    last.failed("InvalidInput");
    assert!(cloud.states(&last.execution).await.contains(&"VerifyOnceMore".to_owned()));
    assert_eq!(versions(&cloud, &last.execution).await, BTreeSet::from(["2".to_owned()]));
}
