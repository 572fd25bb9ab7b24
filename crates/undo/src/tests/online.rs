//! What only a login can take back is asked for, once nothing can come late any more.

use workflow::online::DatabaseTask;

use super::*;

fn online(state: &Value) -> Value {
    let state = with(state, "way", json!("online"));
    with(&state, "preflight", json!({"databases": []}))
}

/// What another function answers in the place of the question.
fn answered(state: &Value, response: &Response, ready: bool) -> Value {
    let mut undo = json!(response);
    undo["database"]["ready"] = json!(ready);
    undo["database"]["problem"] = if ready { json!(null) } else { json!("nobody answers") };
    with(state, "undo", undo)
}

fn asked(response: &Response) -> Option<DatabaseTask> {
    response.database.as_ref().filter(|database| !database.ready).map(|database| database.task)
}

#[tokio::test]
async fn the_databases_are_opened_once_no_step_can_make_a_slot_any_more() {
    let state = online(&preparing());
    let rds = Rds::with(&[source("available")]);
    let first = rds.look(state.clone()).await.expect("a look");
    assert_eq!((asked(&first), first.wait.wait_seconds), (None, LATE_CALL_SECONDS));
    let second = rds.look(with(&state, "undo", json!(first))).await.expect("a look");
    assert_eq!(asked(&second), Some(DatabaseTask::OpenSource));
    // It could not: it waits, and asks again.
    let third = rds.look(answered(&state, &second, false)).await.expect("a look");
    assert_eq!((asked(&third), third.ready), (None, false));
    let fourth = rds.look(with(&state, "undo", json!(third))).await.expect("a look");
    assert_eq!(asked(&fourth), Some(DatabaseTask::OpenSource));
    let fifth = rds.look(answered(&state, &fourth, true)).await.expect("a look");
    assert_eq!(fifth.over, ["PrepareTarget", "PublishSource"]);
}

#[tokio::test]
async fn clients_come_first_where_a_fence_can_be() {
    let state = with(&with(&preparing(), "phase", json!("cutover")), "way", json!("online"));
    let state = with(&state, "preflight", json!({"databases": []}));
    let rds = Rds::with(&[source("available"), target("available")]);
    let (mut response, mut tasks) = (rds.look(state.clone()).await.expect("a look"), vec![]);
    while !response.ready && tasks.len() < 2 {
        let state = match asked(&response) {
            Some(task) => {
                tasks.push(task);
                answered(&state, &response, true)
            }
            None => with(&state, "undo", json!(response)),
        };
        response = rds.look(state).await.expect("a look");
    }
    assert_eq!(tasks, [DatabaseTask::Unfence, DatabaseTask::OpenSource]);
}

/// An AWS DMS that has a replication instance of ours alone, which takes a look to go.
fn dms(status: &Arc<Mutex<Option<&'static str>>>) -> aws_sdk_databasemigration::Client {
    use aws_sdk_databasemigration::Client;
    use aws_sdk_databasemigration::error::ErrorMetadata;
    use aws_sdk_databasemigration::operation as of;
    let gone = || ErrorMetadata::builder().code("ResourceNotFoundFault").build();
    let tasks = mock!(Client::describe_replication_tasks)
        .then_error(move || of::describe_replication_tasks::DescribeReplicationTasksError::generic(gone()));
    let endpoints = mock!(Client::describe_endpoints)
        .then_error(move || of::describe_endpoints::DescribeEndpointsError::generic(gone()));
    let seen = status.clone();
    let instances = mock!(Client::describe_replication_instances).then_compute_response(move |_| {
        let mut status = seen.lock().expect("a lock");
        let instance = status.map(|status| {
            aws_sdk_databasemigration::types::ReplicationInstance::builder()
                .replication_instance_identifier(format!("rds-encrypt-{}", workflow::online::token(OURS)))
                .replication_instance_arn("arn:instance")
                .replication_instance_status(status)
                .build()
        });
        if *status == Some("deleting") {
            *status = None;
        }
        MockResponse::Output(
            of::describe_replication_instances::DescribeReplicationInstancesOutput::builder()
                .set_replication_instances(instance.map(|instance| vec![instance]))
                .build(),
        )
    });
    let tags = mock!(Client::list_tags_for_resource).then_output(|| {
        let tags = owner(OURS).tags_with(&[]);
        let tags = tags.iter().map(|tag| {
            aws_sdk_databasemigration::types::Tag::builder()
                .key(tag.key().unwrap_or_default())
                .value(tag.value().unwrap_or_default())
                .build()
        });
        of::list_tags_for_resource::ListTagsForResourceOutput::builder().set_tag_list(Some(tags.collect())).build()
    });
    let deleted = status.clone();
    let delete = mock!(Client::delete_replication_instance).then_output(move || {
        *deleted.lock().expect("a lock") = Some("deleting");
        of::delete_replication_instance::DeleteReplicationInstanceOutput::builder().build()
    });
    mock_client!(aws_sdk_databasemigration, RuleMode::MatchAny, [&tasks, &endpoints, &instances, &tags, &delete])
}

#[tokio::test]
async fn what_aws_dms_has_is_gone_before_its_role_goes() {
    let mut state = with(&online(&preparing()), "preflight", json!({"databases": [{"oid": 7}]}));
    state["options"]["engine"] = json!("dms");
    let status = Arc::new(Mutex::new(Some("available")));
    let (rds, dms) = (Rds::with(&[source("available")]).client(), dms(&status));
    let look =
        async |state: Value| handle(&rds, &dms, Request { state, execution: OURS.into() }).await.expect("a look");
    let first = look(state.clone()).await;
    assert_eq!((asked(&first), first.wait.wait_seconds, &first.deleted), (None, LATE_CALL_SECONDS, &vec![]));
    let second = look(with(&state, "undo", json!(first))).await;
    let name = format!("replication instance `rds-encrypt-{}`", workflow::online::token(OURS));
    assert_eq!((asked(&second), &second.deleted), (None, &vec![name]));
    let third = look(with(&state, "undo", json!(second))).await;
    assert_eq!((asked(&third), &third.over), (None, &vec![]), "it is still there");
    let fourth = look(with(&state, "undo", json!(third))).await;
    assert_eq!(asked(&fourth), Some(DatabaseTask::OpenSource));
    assert_eq!(fourth.over, ["CreateReplication"]);
}

/// A rename hides a source for minutes, and AWS DMS takes as long: only what was looked for in vain is gone.
#[tokio::test]
async fn a_source_is_not_taken_for_gone_by_how_long_another_row_took() {
    let mut state = with(&online(&preparing()), "preflight", json!({"databases": [{"oid": 7}]}));
    state["options"]["engine"] = json!("dms");
    let status = Arc::new(Mutex::new(Some("available")));
    let (rds, dms) = (Rds::with(&[source("available")]), dms(&status));
    let mut undo = json!(null);
    for waited_seconds in [0, 1_000, 2_000, 2_100] {
        if waited_seconds == 2_100 {
            rds.lock().instances.clear();
        }
        if waited_seconds > 0 {
            undo["wait"]["waited_seconds"] = json!(waited_seconds);
        }
        let state = with(&state, "undo", undo.clone());
        let request = Request { state, execution: OURS.into() };
        undo = json!(handle(&rds.client(), &dms, request).await.expect("a look"));
    }
    assert_eq!(undo["over"], json!(["CreateReplication"]));
}

#[tokio::test]
async fn nobody_logs_in_where_no_database_was_looked_at() {
    let state = with(&preparing(), "way", json!("online"));
    let response = Rds::with(&[source("available")]).look(state).await.expect("a look");
    assert_eq!((asked(&response), response.late_calls_are_over), (None, false));
}

#[tokio::test]
async fn a_database_that_stays_out_of_reach_is_told_and_the_rest_goes_on() {
    for (source_is_there, said, deleted) in [
        (true, ["nobody answers", "pg_drop_replication_slot"], "Undone: deleted DB instance `orders-encrypted`"),
        // Nobody is asked to log in to it, and its copies may be the last.
        (false, ["has not been seen", "last copy of its data"], "NOT deleted: DB instance `orders-encrypted`"),
    ] {
        let state = online(&preparing());
        let rds = Rds::of(OURS);
        if !source_is_there {
            rds.lock().instances.remove(0);
        }
        let mut response = rds.look(state.clone()).await.expect("a look");
        for _ in 0..1_000 {
            if response.ready {
                break;
            }
            rds.time_passes();
            let state = match asked(&response) {
                Some(_) => answered(&state, &response, false),
                None => with(&state, "undo", json!(response)),
            };
            response = rds.look(state.clone()).await.expect("a look");
        }
        assert!(response.ready && !response.whole, "{response:?}");
        let cause = response.failure.expect("a failure").cause;
        assert!(cause.contains(deleted) && said.iter().all(|words| cause.contains(words)), "{cause}");
        assert_eq!(cause.contains("CONNECTION LIMIT"), source_is_there, "{cause}");
    }
}
