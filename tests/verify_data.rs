//! The state machine verify-data, and `compare_data`, which starts it: two servers that nobody writes to.

use std::time::Instant;

use databases::still::Place;
use serde_json::json;
use workflow::Error;

use crate::cloud::Cloud;
use crate::cutover::undo_of;
use crate::fixtures::{family, instance, mariadb_server, mariadb_session, seed, seed_mariadb};
use crate::online::{alone_by_snapshot, before, database, on_instance, seed_replicable};

/// Tables whose names sort as bytes do in no collation, with a key of a text, without one, and in a second database.
const TABLES: &str = "CREATE TABLE b (name text PRIMARY KEY, n int); CREATE TABLE \"B\" (n int);
    CREATE SCHEMA other; CREATE TABLE other.a (x int, y int, PRIMARY KEY (y, x)); CREATE TABLE c (id int PRIMARY KEY);
    INSERT INTO b SELECT 'it''s ' || g, g FROM generate_series(1, 12000) g; INSERT INTO \"B\" VALUES (1), (1), (NULL);
    INSERT INTO other.a SELECT g, g % 7 FROM generate_series(1, 6000) g";
const ROWS: i64 = 12_000 + 3 + 6_000 + 1;

#[tokio::test]
async fn a_copy_has_every_row_or_the_difference_is_named() {
    let cloud = Cloud::shared().await;
    let (source, mut input) = seed_replicable(cloud, "slate", None).await;
    database(&source, "app").await.batch_execute(TABLES).await.expect("tables");
    let maintenance = database(&source, "postgres").await;
    maintenance
        .batch_execute("CREATE TABLE here_too (id int); INSERT INTO here_too VALUES (1)")
        .await
        .expect("a table");
    input["compare_data"] = json!(true);
    let outcome = cloud.encrypt(input.clone()).await;
    assert_eq!(outcome.succeeded()["compared"], json!({"tables": 5, "rows": ROWS}));

    let twin = database(&instance(cloud, "slate-encrypted").await, "app").await;
    let pair = json!({
        "source_instance_id": "slate",
        "target_instance_id": "slate-encrypted",
        "database_secret_arn": input["database_secret_arn"],
    });
    let outcome = cloud.verify_data(pair.clone()).await;
    assert_eq!(outcome.succeeded(), &json!({"tables": 5, "rows": ROWS}));
    // The last chunk of a table, a row that only one side has, a table without a key, one that only one side has.
    for (spoil, mend, said) in [
        (
            "UPDATE b SET n = 0 WHERE n = 11999",
            "UPDATE b SET n = 11999 WHERE n = 0",
            "public.b: 1 rows are not as in the source, with the keys (it's 11999)",
        ),
        (
            "INSERT INTO other.a VALUES (-1, 3)",
            "DELETE FROM other.a WHERE x = -1",
            "other.a: 1 rows are not as in the source, with the keys (3, -1)",
        ),
        (
            "UPDATE \"B\" SET n = 2 WHERE n IS NULL",
            "UPDATE \"B\" SET n = NULL WHERE n = 2",
            "3 rows in the source and 3 in the target, of other contents",
        ),
        ("CREATE TABLE d (id int)", "DROP TABLE d", "only the target has the table public.d"),
        ("DROP TABLE c", "CREATE TABLE c (id int PRIMARY KEY)", "only the source has the table public.c"),
        (
            "ALTER TABLE b RENAME n TO m",
            "ALTER TABLE b RENAME m TO n",
            "database `app`: table public.b: other columns in the target",
        ),
    ] {
        twin.batch_execute(spoil).await.expect("spoilt");
        let outcome = cloud.verify_data(pair.clone()).await;
        assert!(outcome.failed("DataDiffers").contains(said), "{outcome:#?}");
        assert!(!outcome.cause.starts_with('{'), "a sentence for people: {outcome:#?}");
        twin.batch_execute(mend).await.expect("mended");
    }
    cloud.verify_data(pair.clone()).await.succeeded();
    for (field, value, error, said) in [
        ("target_instance_id", json!("slate"), "InvalidInput", "is the source itself"),
        ("target_instance_id", json!("slate-2"), "InstanceNotFound", "there is no DB instance `slate-2`"),
        ("target_instance_id", json!(null), "InvalidInput", "invalid type: null"),
        ("database_secret_arn", json!("slate"), "InvalidInput", "is not the ARN of a secret"),
        ("target_id", json!("slate"), "InvalidInput", "unknown field `target_id`"),
    ] {
        let mut pair = pair.clone();
        pair[field] = value;
        let outcome = cloud.verify_data(pair).await;
        assert!(outcome.failed(error).contains(said), "{outcome:#?}");
    }
}

/// Before anything is made, and not when it is the table's turn: it may be hours until then.
#[tokio::test]
async fn a_login_that_cannot_compare_is_refused_at_once() {
    let cloud = Cloud::shared().await;
    let (source, _) = seed_replicable(cloud, "basalt", None).await;
    database(&source, "postgres").await.batch_execute("CREATE ROLE reader LOGIN PASSWORD 'p'").await.expect("a role");
    let client = database(&source, "app").await;
    client.batch_execute(TABLES).await.expect("tables");
    let forced =
        "CREATE TABLE hidden (id int); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; GRANT SELECT ON hidden TO reader";
    client.batch_execute(forced).await.expect("a table");
    let login = |password: &str| {
        let secret = cloud.login("basalt", "reader", password, None);
        json!({"instance_id": "basalt", "compare_data": true, "database_secret_arn": secret})
    };

    // As if the database could not be reached: told after minutes.
    client.batch_execute("ALTER ROLE reader CONNECTION LIMIT 0").await.expect("limited");
    let outcome = cloud.encrypt(login("p")).await;
    assert!(outcome.failed("DatabaseUnavailable").contains("too many connections for role"), "{outcome:#?}");
    let failures = cloud.history(&outcome.execution).await;
    assert_eq!(failures.iter().filter_map(|event| event.task_failed_event_details()).count(), 1 + 6);
    client.batch_execute("ALTER ROLE reader CONNECTION LIMIT -1").await.expect("limited no more");

    let outcome = cloud.encrypt(login("p")).await;
    let cause = outcome.failed("DatabaseNotUsable");
    assert!(
        cause.contains("database `app`: `other.a`, `public.\"B\"`, `public.b`, `public.c`, which \"reader\""),
        "{cause}"
    );
    assert!(cause.contains("`public.hidden`, whose row level security"), "{cause}");
    let mut plan = login("wrong");
    plan["plan_only"] = json!(true);
    for input in [login("wrong"), plan] {
        let outcome = cloud.encrypt(input).await;
        assert!(outcome.failed("DatabaseRefused").contains("log in to database `postgres`"), "{outcome:#?}");
        let states = cloud.states(&outcome.execution).await;
        assert!(!states.iter().any(|state| state == "CreateSnapshot"), "{states:?}");
    }
    assert_eq!(family(cloud, "basalt").await, ["instance basalt"]);

    // By itself, of either side.
    cloud.copied_instance("basalt", "basalt-copy").await;
    let mend = "GRANT USAGE ON SCHEMA other TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA public, other TO reader;
        ALTER TABLE hidden DISABLE ROW LEVEL SECURITY";
    client.batch_execute(mend).await.expect("mended");
    let pair = json!({
        "source_instance_id": "basalt",
        "target_instance_id": "basalt-copy",
        "database_secret_arn": login("p")["database_secret_arn"],
    });
    let outcome = cloud.verify_data(pair).await;
    assert!(outcome.failed("DatabaseNotUsable").contains("`basalt-copy` cannot be compared"), "{outcome:#?}");
    let outcome = cloud.encrypt(login("p")).await;
    assert_eq!(outcome.succeeded()["compared"], json!({"tables": 5, "rows": ROWS - 1}));
}

/// Each call goes on where the one before it ended, and no row is counted twice: a server beside itself.
async fn compared_in_many_calls(
    compare: impl AsyncFn(&mut Place, Instant) -> Result<bool, Error>,
) -> (usize, usize, i64) {
    let (mut place, mut calls) = (Place::default(), 0);
    loop {
        calls += 1;
        // As the state carries it.
        place = serde_json::from_value(json!(place)).expect("a place");
        let is_whole = compare(&mut place, Instant::now()).await.expect("equal");
        if is_whole {
            return (calls, place.compared.tables, place.compared.rows);
        }
        assert!(calls < 100, "{place:?}");
    }
}

#[tokio::test]
async fn a_comparison_of_many_calls_leaves_no_row_out() {
    let cloud = Cloud::shared().await;
    let (source, input) = seed_replicable(cloud, "shale", None).await;
    let client = database(&source, "app").await;
    client.batch_execute(TABLES).await.expect("tables");
    let more = "INSERT INTO b SELECT 'that''s ' || g, g FROM generate_series(1, 28000) g";
    client.batch_execute(more).await.expect("rows");
    let (servers, access) = cloud.servers(&input["database_secret_arn"]);
    let server = servers.get(source.dbi_resource_id().expect("an id"), &access).await.expect("a server");
    let compare = async |place: &mut Place, until| postgres::still::compare(&server, &server, place, until).await;
    let (calls, tables, rows) = compared_in_many_calls(compare).await;
    assert!(calls > 5 && (tables, rows) == (4, ROWS - 1 + 28_000), "{calls} calls, {tables} tables, {rows} rows");
}

/// The same of MariaDB, whose schemas are compared as one.
#[tokio::test]
async fn a_copy_of_mariadb_has_every_row_or_the_difference_is_named() {
    const ROWS: i64 = 60_000 + 3 + 6_000 + 1 + 1 + 1;
    let cloud = Cloud::shared().await;
    let source = seed_mariadb(cloud, "gneiss", json!({})).await;
    let mut client = mariadb_session(cloud, &source).await.expect("a session");
    for statement in [
        "USE app",
        "CREATE TABLE app.b (name VARCHAR(20) PRIMARY KEY, n INT) CHARACTER SET latin1",
        "INSERT INTO app.b SELECT CONCAT('it''s |', seq), seq FROM seq_1_to_60000",
        "CREATE TABLE app.B (n INT)",
        "INSERT INTO app.B VALUES (1), (1), (NULL)",
        "CREATE TABLE app.c (id INT PRIMARY KEY, text TEXT, kind ENUM('paid', 'open'))",
        "CREATE TABLE app.gone (id INT) ENGINE = MEMORY",
        "INSERT INTO app.gone VALUES (1)",
        "CREATE SEQUENCE app.numbers",
        "CREATE TABLE app.versions (id INT PRIMARY KEY, n INT) WITH SYSTEM VERSIONING",
        "INSERT INTO app.versions VALUES (1, 1)",
        "UPDATE app.versions SET n = 2",
        "CREATE SCHEMA other",
        "CREATE SCHEMA SYS",
        "CREATE TABLE SYS.seen (id INT)",
        "INSERT INTO SYS.seen VALUES (1)",
        "CREATE TABLE other.a (x INT, y INT, PRIMARY KEY (y, x))",
        "INSERT INTO other.a SELECT seq, seq % 7 FROM seq_1_to_6000",
        "CREATE USER reader IDENTIFIED BY 'p'",
        "GRANT SELECT ON app.* TO reader",
    ] {
        client.run("make rows", statement).await.expect(statement);
    }
    let login = cloud.login("gneiss", "reader", "p", None);
    let input = json!({"instance_id": "gneiss", "compare_data": true, "database_secret_arn": login});
    let outcome = cloud.encrypt(input.clone()).await;
    assert!(outcome.failed("DatabaseNotUsable").contains("GRANT SELECT ON *.* TO `reader`@`%`"), "{outcome:#?}");
    assert_eq!(family(cloud, "gneiss").await, ["instance gneiss"]);
    client.run("grant", "GRANT SELECT ON *.* TO reader").await.expect("granted");
    let outcome = cloud.encrypt(input).await;
    assert_eq!(outcome.succeeded()["compared"], json!({"tables": 7, "rows": ROWS}));

    // The code by which a statement is told apart that took too long.
    client.run("limit", "SET SESSION max_statement_time = 0.01").await.expect("limited");
    let long = "SELECT SUM(a.seq * b.seq) FROM seq_1_to_100000 a, seq_1_to_100000 b";
    let late = client.run("count", long).await.expect_err("it takes long");
    assert!(late.is_passing() && late.to_string().ends_with("(1969)"), "{late}");

    let server = mariadb_server(cloud, &source);
    let compare = async |place: &mut Place, until| mariadb::still::compare(&server, &server, place, until).await;
    let (calls, tables, rows) = compared_in_many_calls(compare).await;
    assert!(calls > 7 && (tables, rows) == (7, ROWS), "{calls} calls, {tables} tables, {rows} rows");

    let mut twin = mariadb_session(cloud, &instance(cloud, "gneiss-encrypted").await).await.expect("a session");
    let pair = json!({
        "source_instance_id": "gneiss",
        "target_instance_id": "gneiss-encrypted",
        "database_secret_arn": login,
    });
    for (spoil, mend, said) in [
        (
            "UPDATE app.b SET n = 0 WHERE n = 11999",
            "UPDATE app.b SET n = 11999 WHERE n = 0",
            "table `app`.`b`: 1 rows are not as in the source, where (`name`) IN ((_latin1 x'69742773207C3131393939'))",
        ),
        (
            "INSERT INTO other.a VALUES (-1, 3)",
            "DELETE FROM other.a WHERE x = -1",
            "table `other`.`a`: 1 rows are not as in the source, where (`y`, `x`) IN ((3, -1))",
        ),
        (
            "UPDATE app.B SET n = 2 WHERE n IS NULL",
            "UPDATE app.B SET n = NULL WHERE n = 2",
            "table `app`.`B`: 3 rows in the source and 3 in the target, of other contents",
        ),
        ("UPDATE app.versions SET n = 3", "UPDATE app.versions SET n = 2", "table `app`.`versions`: 1 rows"),
        ("CREATE TABLE app.d (id INT)", "DROP TABLE app.d", "only the target has the table `app`.`d`"),
        ("ALTER TABLE app.c ADD note INT", "ALTER TABLE app.c DROP note", "table `app`.`c`: other columns"),
        (
            "ALTER TABLE app.c MODIFY kind ENUM('open', 'paid')",
            "ALTER TABLE app.c MODIFY kind ENUM('paid', 'open')",
            "table `app`.`c`: other columns in the target",
        ),
        (
            "CREATE SCHEMA late",
            "DROP SCHEMA late",
            "the source has the databases SYS, app, other, and the target SYS, app, late,",
        ),
        // What a sequence gave stays given.
        ("DO NEXTVAL(app.numbers)", "DO 0", "table `app`.`numbers`: 1 rows in the source and 1 in the target"),
    ] {
        twin.run("spoil", spoil).await.expect(spoil);
        let outcome = cloud.verify_data(pair.clone()).await;
        assert!(outcome.failed("DataDiffers").contains(said), "{outcome:#?}");
        twin.run("mend", mend).await.expect(mend);
    }
    seed(cloud, "gneiss-other", json!({}));
    let by_token = json!({
        "source_instance_id": "gneiss",
        "target_instance_id": "gneiss-encrypted",
        "database_iam_user": "rds_encrypt_dba",
    });
    let mut others = pair;
    others["target_instance_id"] = json!("gneiss-other");
    for (input, said) in [(others, "is of another engine than the source"), (by_token, "was not tried with MariaDB")] {
        let outcome = cloud.verify_data(input).await;
        assert!(outcome.failed("InvalidInput").contains(said), "{outcome:#?}");
    }
}

#[tokio::test]
async fn a_copy_that_differs_or_is_compared_no_more_is_undone() {
    let (cloud, _alone) = alone_by_snapshot().await;
    for (id, is_stopped) in [("chalk", false), ("marl", true)] {
        let (source, mut input) = seed_replicable(&cloud, id, None).await;
        let rows = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)";
        database(&source, "app").await.batch_execute(rows).await.expect("rows");
        input["compare_data"] = json!(true);
        if is_stopped {
            cloud.stop_in(&[(cloud.state_machine(), "CompareData")]);
            let execution = cloud.start_execution(&input.to_string()).await;
            undo_of(&cloud, &execution).await.succeeded();
            cloud.stop_in(&[]);
        } else {
            before(&cloud, "verify", &on_instance(&cloud, "chalk", "INSERT INTO t VALUES (2) ON CONFLICT DO NOTHING"));
            let outcome = cloud.encrypt(input).await;
            cloud.control("DELETE", "faults", json!({}));
            assert!(
                outcome.failed("DataDiffers").contains("public.t: 1 rows are not as in the source"),
                "{outcome:#?}"
            );
            assert!(!outcome.cause.contains("errorMessage"), "{outcome:#?}");
        }
        assert_eq!(family(&cloud, id).await, [format!("instance {id}")]);
    }
}
