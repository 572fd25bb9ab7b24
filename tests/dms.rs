//! The way online by AWS DMS, end to end, on real PostgreSQL servers and tasks that really replicate.

use aws_sdk_rds::types::DbInstance;
use aws_sdk_sfn::types::ExecutionStatus;
use postgres::Open;
use postgres::names::Names;
use postgres::{release, replication};
use serde_json::{Value, json};

use crate::cloud::{Cloud, Outcome};
use crate::cutover::{token_of, undo_of};
use crate::fixtures::{find, instance, sql, until_entered};
use crate::online::{
    alone, before, calm_load_on, database, has_all_of_the_load, is_as_before, is_open_and_clean, on_instance, reach,
    seed_replicable,
};

/// What the load's schema does not have: triggers in each of their states, foreign keys of each kind, a comment, and a
/// table without a key.
const MORE: &str = "
    CREATE TABLE event (at timestamptz NOT NULL, note text);
    INSERT INTO event SELECT now(), md5(g::text) FROM generate_series(1, 500) g;
    CREATE TABLE parent (id int PRIMARY KEY);
    INSERT INTO parent VALUES (1);
    CREATE TABLE child (id int PRIMARY KEY, parent int, other int);
    INSERT INTO child VALUES (1, 9, 1);
    ALTER TABLE child ADD CONSTRAINT other FOREIGN KEY (other) REFERENCES parent DEFERRABLE INITIALLY DEFERRED;
    ALTER TABLE child ADD CONSTRAINT doubtful FOREIGN KEY (parent) REFERENCES parent ON DELETE SET NULL NOT VALID;
    COMMENT ON CONSTRAINT doubtful ON child IS 'it''s old';
    CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.other := 7; RETURN NEW; END';
    CREATE TRIGGER always BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION spoil();
    CREATE TRIGGER replica BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION spoil();
    CREATE TRIGGER disabled BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION spoil();
    CREATE TRIGGER origin BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION quiet();
    ALTER TABLE child ENABLE ALWAYS TRIGGER always, ENABLE REPLICA TRIGGER replica, DISABLE TRIGGER disabled;
    REVOKE CONNECT ON DATABASE app FROM PUBLIC; GRANT CONNECT ON DATABASE app TO application WITH GRANT OPTION;";

/// Where nobody writes.
const FISH: &str = "
    CREATE TABLE fish (id serial PRIMARY KEY);
    INSERT INTO fish SELECT FROM generate_series(1, 100);
    CREATE TABLE scale (id serial PRIMARY KEY, fish int REFERENCES fish)";

/// Foreign keys, triggers and who may connect, as text.
const AROUND: &str = "SELECT (SELECT string_agg(concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid),
        convalidated, obj_description(oid, 'pg_constraint')), E'\\n' ORDER BY conrelid::regclass::text, conname)
        FROM pg_constraint WHERE contype = 'f')
    || E'\\n' || (SELECT string_agg(concat_ws(' ', tgrelid::regclass, tgname, tgenabled), E'\\n'
        ORDER BY tgrelid::regclass::text, tgname) FROM pg_trigger WHERE NOT tgisinternal)
    || E'\\n' || (SELECT string_agg(coalesce(datacl, acldefault('d', datdba))::text, E'\\n' ORDER BY datname)
        FROM pg_database WHERE datname IN ('app', 'bills'))";

async fn around(server: &DbInstance) -> String {
    database(server, "app").await.query_one(AROUND, &[]).await.expect("the catalog").get(0)
}

/// An instance whose rows AWS DMS is to replicate.
async fn seed_for_dms(cloud: &Cloud, id: &str) -> (DbInstance, Value) {
    let (source, mut input) = seed_replicable(cloud, id, None).await;
    input["engine"] = json!("dms");
    (source, input)
}

/// What an execution has in AWS DMS.
pub(crate) async fn left_in_dms(cloud: &Cloud, execution: &str) -> Vec<String> {
    let base = format!("rds-encrypt-{}", workflow::online::token(execution));
    let is_ours = |name: Option<&str>| name.filter(|name| name.starts_with(&base)).map(str::to_owned);
    let instances = cloud.dms.describe_replication_instances().send().await;
    let endpoints = cloud.dms.describe_endpoints().send().await;
    let tasks = cloud.dms.describe_replication_tasks().send().await;
    // Where there is nothing at all, that is an error.
    let instances = instances.ok().and_then(|answer| answer.replication_instances).unwrap_or_default();
    let endpoints = endpoints.ok().and_then(|answer| answer.endpoints).unwrap_or_default();
    let tasks = tasks.ok().and_then(|answer| answer.replication_tasks).unwrap_or_default();
    let names = instances.iter().filter_map(|one| is_ours(one.replication_instance_identifier()));
    let names = names.chain(endpoints.iter().filter_map(|one| is_ours(one.endpoint_identifier())));
    names.chain(tasks.iter().filter_map(|one| is_ours(one.replication_task_identifier()))).collect()
}

#[tokio::test]
async fn no_write_is_lost_or_there_twice() {
    let cloud = Cloud::shared().await.online();
    let (source, input) = seed_for_dms(&cloud, "torrent").await;
    let load = calm_load_on(&source);
    database(&source, "app").await.batch_execute(MORE).await.expect("more objects");
    let before = around(&source).await;
    let outcome = cloud.encrypt(input).await;
    let ledger = load.outcome();
    let output = outcome.succeeded();
    let target = has_all_of_the_load(&cloud, "torrent", &ledger, output).await;
    assert!(output["database_warnings"].to_string().contains("public.event"), "{output:#}");
    assert_eq!(output["not_validated"], json!([]));
    assert_eq!(around(&target).await, before);
    assert_eq!(left_in_dms(&cloud, &outcome.execution).await, Vec::<String>::new());
    let old = find(&cloud, "torrent-unencrypted").await.expect("the old instance");
    let slots = sql(&old).await.query_one("SELECT count(*) FROM pg_replication_slots", &[]).await.expect("slots");
    assert_eq!(slots.get::<_, i64>(0), 0, "the old instance keeps its log");
}

/// It fails of this, clients go on in a source that is as it was, and nothing is billed any more.
async fn fails_under_load(cloud: &Cloud, id: &str, error: &str, befall: impl AsyncFn(&DbInstance)) -> Outcome {
    let (source, input) = seed_for_dms(cloud, id).await;
    let load = calm_load_on(&source);
    database(&source, "app").await.batch_execute(MORE).await.expect("more objects");
    let before = around(&source).await;
    befall(&source).await;
    let outcome = cloud.encrypt(input).await;
    let ledger = load.outcome();
    outcome.failed(error);
    assert_eq!(ledger["holds"], true, "{ledger:#}");
    is_as_before(cloud, &source).await;
    assert_eq!(around(&source).await, before);
    assert_eq!(left_in_dms(cloud, &outcome.execution).await, Vec::<String>::new());
    outcome
}

#[tokio::test]
async fn a_row_that_differs_is_found_by_us_where_aws_dms_does_not_look() {
    let (cloud, _alone) = alone().await;
    let outcome = fails_under_load(&cloud, "ripple", "DataDiffers", async |_| {
        let wrong = "UPDATE event SET note = 'wrong' WHERE note = md5('7')";
        before(&cloud, "cut-over", &on_instance(&cloud, "ripple-encrypted", wrong));
    });
    let outcome = outcome.await;
    cloud.control("DELETE", "faults", json!({}));
    assert!(outcome.cause.contains("public.event"), "{outcome:#?}");
}

/// A client may change it all the while, although a publication of it would let nobody.
#[tokio::test]
async fn what_no_log_tells_aws_dms_is_found_by_us() {
    let (cloud, _alone) = alone().await;
    let (source, input) = seed_for_dms(&cloud, "slough").await;
    let tables = "CREATE TABLE numb (id int PRIMARY KEY); ALTER TABLE numb REPLICA IDENTITY NOTHING;
        CREATE TABLE lazy (id int PRIMARY KEY DEFERRABLE); INSERT INTO numb VALUES (1), (2); INSERT INTO lazy VALUES (1), (2)";
    database(&source, "app").await.batch_execute(tables).await.expect("tables");
    let change = "DELETE FROM numb WHERE id = 2; DELETE FROM lazy WHERE id = 2";
    before(&cloud, "cut-over", &on_instance(&cloud, "slough", change));
    let outcome = cloud.encrypt(input).await;
    cloud.control("DELETE", "faults", json!({}));
    outcome.failed("DataDiffers");
    assert!(outcome.cause.contains("public.lazy: 1 rows in the source and 2 in the target"), "{outcome:#?}");
    let counts = "SELECT (SELECT count(*) FROM numb), (SELECT count(*) FROM lazy)";
    let row = database(&source, "app").await.query_one(counts, &[]).await.expect("rows");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 1), "the changes were refused");
    is_as_before(&cloud, &source).await;
}

#[tokio::test]
async fn a_task_that_fails_or_finds_a_difference_ends_the_run_before_the_outage() {
    let (cloud, _alone) = alone().await;
    for (id, plays, error, words) in [
        ("surge", json!({"fails": "changes"}), "ReplicationFailed", "told to fail"),
        ("swell", json!({"mismatches": true}), "DataDiffers", "validation of AWS DMS"),
    ] {
        cloud.control("PATCH", "settings", json!({"dms_plays": plays}));
        let outcome = fails_under_load(&cloud, id, error, async |_| {}).await;
        cloud.control("PATCH", "settings", json!({"dms_plays": {"fails": null, "mismatches": false}}));
        assert!(outcome.cause.contains(words), "{outcome:#?}");
    }
}

#[tokio::test]
async fn a_validation_that_does_not_end_opens_the_source_again_until_it_does() {
    let (cloud, _alone) = alone().await;
    let (source, mut input) = seed_for_dms(&cloud, "eddy").await;
    let load = calm_load_on(&source);
    cloud.control("PATCH", "settings", json!({"dms_plays": {"pending": true}}));
    input["max_downtime_seconds"] = json!(20);
    let execution = cloud.start_execution(&input.to_string()).await;
    until_entered(&cloud, &execution, "WaitToCutOver").await;
    cloud.control("PATCH", "settings", json!({"dms_plays": {"pending": false}}));
    let outcome = cloud.outcome(&execution).await;
    let ledger = load.outcome();
    has_all_of_the_load(&cloud, "eddy", &ledger, outcome.succeeded()).await;
    assert!(ledger["reconnects"].as_u64() >= Some(16), "the fence was up, was taken away, and came again: {ledger:#}");
}

#[tokio::test]
async fn a_cutover_that_ends_once_aws_dms_is_shut_out_fails_and_leaves_the_source_open() {
    let (cloud, _alone) = alone().await;
    let (source, mut input) = seed_for_dms(&cloud, "sandbar").await;
    database(&source, "app").await.batch_execute(FISH).await.expect("rows");
    input["approval"] = json!(true);
    input["max_downtime_seconds"] = json!(10);
    let mut inbox = cloud.inbox();
    let execution = cloud.start_execution(&input.to_string()).await;
    let token = token_of(&mut inbox, "sandbar", "the source keeps its log for it");
    // Rows can be written beside it, and no foreign key made.
    let target = database(&instance(&cloud, "sandbar-encrypted").await, "app").await;
    target.batch_execute("BEGIN; LOCK TABLE scale IN ROW EXCLUSIVE MODE").await.expect("a lock");
    cloud.sfn.send_task_success().task_token(token).output("{}").send().await.expect("approved");
    let outcome = cloud.outcome(&execution).await;
    outcome.failed("ReplicationFailed");
    assert!(outcome.cause.contains("may not log in"), "{outcome:#?}");
    is_as_before(&cloud, &source).await;
    assert_eq!(left_in_dms(&cloud, &execution).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_run_that_is_stopped_behind_the_fence_leaves_an_open_source() {
    let (cloud, _alone) = alone().await;
    let (source, input) = seed_for_dms(&cloud, "weirs").await;
    let load = calm_load_on(&source);
    database(&source, "app").await.batch_execute(MORE).await.expect("more objects");
    let before = around(&source).await;
    cloud.stop_in(&[(cloud.state_machine(), "RenameSource")]);
    let execution = cloud.start_execution(&input.to_string()).await;
    undo_of(&cloud, &execution).await.succeeded();
    cloud.stop_in(&[]);
    let ledger = load.outcome();
    assert_eq!(ledger["holds"], true, "{ledger:#}");
    is_as_before(&cloud, &source).await;
    assert_eq!(around(&source).await, before);
    assert_eq!(left_in_dms(&cloud, &execution).await, Vec::<String>::new());
}

/// Where nobody writes: what is left is one of the two worlds, open, clean, and with nothing that is billed.
#[tokio::test]
async fn a_run_that_is_stopped_in_any_step_leaves_one_whole_world() {
    let (cloud, _alone) = alone().await;
    let before = ["PrepareTarget", "CreateReplication", "WaitForReplicationInstance", "RunReplication", "WaitForLoad"];
    let past = ["OpenTarget", "CleanUpReplication", "WaitForReplicationToGo"];
    for (number, state) in before.iter().chain(&past).enumerate() {
        let id = format!("halt-{number}");
        let (source, input) = seed_for_dms(&cloud, &id).await;
        database(&source, "app").await.batch_execute(FISH).await.expect("rows");
        cloud.stop_in(&[(cloud.state_machine(), state)]);
        let execution = cloud.start_execution(&input.to_string()).await;
        undo_of(&cloud, &execution).await.succeeded();
        cloud.stop_in(&[]);
        let outcome = cloud.outcome(&execution).await;
        assert_eq!(outcome.status, ExecutionStatus::Aborted, "stopped in {state}: {outcome:#?}");
        if before.contains(state) {
            is_as_before(&cloud, &source).await;
        } else {
            let target = instance(&cloud, &id).await;
            assert_eq!(target.storage_encrypted(), Some(true), "stopped in {state}");
            is_open_and_clean(&target).await;
            let open = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated";
            let keys = database(&target, "app").await.query_one(open, &[]).await.expect("the catalog");
            assert_eq!(keys.get::<_, i64>(0), 1, "stopped in {state}");
        }
        assert_eq!(left_in_dms(&cloud, &execution).await, Vec::<String>::new(), "stopped in {state}");
    }
}

/// A foreign key that its own rows do not fit is the source's, and no reason to keep what holds the log.
#[tokio::test]
async fn a_foreign_key_that_the_rows_do_not_fit_is_left_and_said() {
    let cloud = Cloud::shared().await.online();
    let (source, input) = seed_replicable(&cloud, "rill", None).await;
    let orphan = "CREATE TABLE fish (id int PRIMARY KEY); CREATE TABLE scale (fish int);
        INSERT INTO scale VALUES (1); ALTER TABLE scale ADD CONSTRAINT of FOREIGN KEY (fish) REFERENCES fish NOT VALID";
    let client = database(&source, "app").await;
    client.batch_execute(orphan).await.expect("tables");
    let (server, maintenance, app) = reach(&cloud, &source, &input).await;
    let session = server.open("app").await.expect("a session");
    let names = Names::of("an orphan");
    replication::create_role(&maintenance, &names).await.expect("a role");
    replication::create_own(&session, &app, &names).await.expect("a schema");
    replication::create_slot(&session, &app, &names.comparison_slot(&app)).await.expect("a slot");
    let noted = format!(
        "CREATE TABLE {0} (put_back text, validate text); INSERT INTO {0} VALUES ('', 'ALTER TABLE public.scale VALIDATE CONSTRAINT of')",
        names.definitions()
    );
    session.batch_execute(&noted).await.expect("as PrepareTarget notes it");
    let left = release::target(&server, &maintenance, &[app], &names).await.expect("taken away");
    assert!(left[0].contains("VALIDATE CONSTRAINT of -- ") && left[0].contains("23503"), "{left:?}");
    is_open_and_clean(&source).await;
}

#[tokio::test]
async fn what_aws_dms_could_not_carry_is_refused_with_every_reason() {
    let cloud = Cloud::shared().await.online();
    let (source, input) = seed_for_dms(&cloud, "fjord").await;
    let awkward = "CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE secret (id int PRIMARY KEY); ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
        CREATE TABLE ruled (id int PRIMARY KEY); CREATE RULE nothing AS ON INSERT TO ruled DO INSTEAD NOTHING;
        CREATE ROLE friend; GRANT CONNECT ON DATABASE app TO friend WITH GRANT OPTION;
        GRANT friend TO CURRENT_USER; SET ROLE friend;
        GRANT CONNECT ON DATABASE app TO PUBLIC; RESET ROLE";
    database(&source, "app").await.batch_execute(awkward).await.expect("tables");
    let outcome = cloud.encrypt(input).await;
    let cause = outcome.failed("DatabaseNotUsable");
    for words in ["public.parts", "public.secret", "public.ruled", "granted CONNECT"] {
        assert!(cause.contains(words), "{cause} does not name {words}");
    }
    assert_eq!(left_in_dms(&cloud, &outcome.execution).await, Vec::<String>::new());
}
