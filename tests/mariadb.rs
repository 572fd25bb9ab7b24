//! The way online, end to end, on real MariaDB servers.

use std::time::{Duration, Instant};

use aws_sdk_rds::types::DbInstance;
use databases::Server;
use mariadb::Session;
use mariadb::compare::Comparison;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::fixtures::{Load, PASSWORD, client_program, family, instance};

const LOGIN: &str = "rds_encrypt_dba";
/// As docs/online.md has it.
const GRANT: &str =
    "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, RELOAD, PROCESS, EXECUTE, SHOW VIEW, EVENT,
    TRIGGER, CREATE USER, REPLICATION SLAVE, BINLOG MONITOR, SLAVE MONITOR ON *.* TO rds_encrypt_dba WITH GRANT OPTION";

/// An instance that can be replicated, with a login for the functions.
async fn seed_replicable(cloud: &Cloud, id: &str) -> (DbInstance, Value) {
    let body = json!({
        "fields": {"Engine": "mariadb", "DBName": "app", "BackupRetentionPeriod": 1},
        "master_password": PASSWORD,
        "parameters": {"binlog_format": "ROW", "log_bin_trust_function_creators": "1"},
        "server": true,
    });
    cloud.control("PUT", &format!("instances/{id}"), body);
    let source = instance(cloud, id).await;
    let secret = cloud.login(id, LOGIN, PASSWORD, None);
    let input = json!({"instance_id": id, "database_secret_arn": secret});
    let mut master = session(cloud, &source, &input).await;
    for statement in [&format!("CREATE USER {LOGIN} IDENTIFIED BY '{PASSWORD}'"), GRANT] {
        master.run("make the login", statement).await.expect("a login");
    }
    (source, input)
}

/// As the master user, who is reached as the functions reach it.
async fn server(cloud: &Cloud, instance: &DbInstance, input: &Value) -> Server {
    let (servers, access) = cloud.servers(&input["database_secret_arn"]);
    let mut server = servers.reach(instance, &access).await.expect("a server");
    server.credentials.username = instance.master_username().expect("a user").to_owned();
    server
}

async fn session(cloud: &Cloud, instance: &DbInstance, input: &Value) -> Session {
    mariadb::open(&server(cloud, instance, input).await).await.expect("a session")
}

fn load_on(source: &DbInstance) -> Load {
    let user = source.master_username().expect("a user");
    let of = |arguments: &[&str]| {
        let mut program = client_program(source, &[&["tests/local/load.py"], arguments].concat());
        program.args(["--engine", "mariadb", "--databases", "app,bills"]);
        program
    };
    let prepared = of(&["prepare", "--user", user]).status().expect("python");
    assert!(prepared.success(), "the load was not prepared");
    let mut load = Load::start(&mut of(&["run", "--pause", "0.02"]));
    assert_eq!(load.line(), "writing\n");
    load
}

/// Open for clients, and with nothing of ours in it.
async fn is_open_and_clean(cloud: &Cloud, server: &DbInstance, input: &Value) {
    let mut master = session(cloud, server, input).await;
    let left: Vec<String> = master
        .rows(
            "look for what is left",
            "SELECT CONCAT('account ', User) FROM mysql.global_priv
                WHERE User REGEXP '^rds_encrypt_[0-9a-f]{8}$'
                   OR User NOT IN ('mariadb.sys', 'rdsadmin') AND JSON_VALUE(Priv, '$.account_locked') IN ('1', 'true')
             UNION ALL SELECT CONCAT('schema ', SCHEMA_NAME) FROM information_schema.SCHEMATA
                WHERE SCHEMA_NAME LIKE 'rds_encrypt%'
             UNION ALL SELECT CONCAT('retention ', value) FROM mysql.rds_configuration WHERE value IS NOT NULL",
        )
        .await
        .expect("the catalog");
    assert!(left.is_empty(), "{left:?}");
    let follows: Vec<mysql_async::Row> =
        master.rows("ask whom it follows", "SHOW SLAVE STATUS").await.expect("a status");
    assert!(follows.is_empty(), "it follows somebody");
}

/// The source as it was, and nothing of ours.
async fn is_as_before(cloud: &Cloud, before: &DbInstance, input: &Value) {
    let id = before.db_instance_identifier().expect("a name");
    let now = instance(cloud, id).await;
    assert_eq!((now.dbi_resource_id(), now.storage_encrypted()), (before.dbi_resource_id(), Some(false)));
    assert_eq!(family(cloud, id).await, [format!("instance {id}")]);
    is_open_and_clean(cloud, &now, input).await;
}

#[tokio::test]
async fn no_write_is_lost_or_there_twice_under_load() {
    let cloud = Cloud::shared().await.online();
    let (source, input) = seed_replicable(&cloud, "kelp").await;
    let load = load_on(&source);
    let outcome = cloud.encrypt(input.clone()).await;
    let ledger = load.outcome();
    let output = outcome.succeeded();
    eprintln!("{ledger} downtime {} s", output["downtime_seconds"]);
    assert_eq!(ledger["holds"], true, "{ledger:#}");
    assert!(ledger["acknowledged"].as_u64() > Some(100) && ledger["reconnects"].as_u64() >= Some(1), "{ledger:#}");
    assert!(
        output["compared"]["rows"].as_u64() > Some(10_000) && output["sequences"].as_u64() >= Some(8),
        "{output:#}"
    );
    let target = instance(&cloud, "kelp").await;
    assert_eq!(target.storage_encrypted(), Some(true));
    is_open_and_clean(&cloud, &target, &input).await;
}

/// Each look goes on where the one before it ended, and compares every row once: a server beside itself. What the log
/// tells of a key is the row that a query finds by it, whatever the key is of.
#[tokio::test]
async fn a_comparison_of_many_looks_leaves_no_row_out() {
    const ROWS: i64 = 60_000;
    let cloud = Cloud::shared().await;
    let (source, input) = seed_replicable(cloud, "fern").await;
    let server = server(cloud, &source, &input).await;
    let mut client = mariadb::open(&server).await.expect("a session");
    for statement in [
        "USE app",
        "CREATE TABLE app.part (name VARCHAR(20), code BINARY(16), number BIGINT UNSIGNED, at DATETIME(6), n INT DEFAULT 0,
         virtual INT AS (n + 1) VIRTUAL, PRIMARY KEY (name, code, number, at)) CHARACTER SET latin1",
        "INSERT INTO app.part (name, code, number, at)
         SELECT CONCAT('it''s |é ', seq % 3), UNHEX(HEX(seq % 256)), 18446744073709551615 - seq,
            '2026-11-30 01:02:03.000004' + INTERVAL seq % 60 SECOND FROM seq_1_to_60000",
        "CREATE TABLE app.day (day DATE PRIMARY KEY, price FLOAT, bits BIT(9), place POINT, kind ENUM('a', 'b'), doc JSON)",
        "INSERT INTO app.day VALUES ('2026-11-30', 1.1, b'101', POINT(1, 2), 'b', '{}'), ('2026-12-01', NULL, NULL, NULL, NULL, NULL)",
        "CREATE TABLE app.keyless (t TEXT)",
        "INSERT INTO app.keyless VALUES ('one'), ('one'), (NULL)",
        "CREATE SEQUENCE app.numbers",
    ] {
        client.run("make rows", statement).await.expect(statement);
    }
    let execution = "a comparison";
    let look = async || {
        let (mut one, mut other) =
            (mariadb::open(&server).await.expect("a session"), mariadb::open(&server).await.expect("a session"));
        let sides = [&server, &server];
        let mut comparison = Comparison::begin(sides, &mut one, &mut other, execution).await.expect("begun");
        comparison.look(Instant::now() + Duration::from_millis(10)).await.expect("equal")
    };
    let mut looks = 1;
    let mut last = look().await;
    while !last.is_whole {
        looks += 1;
        last = look().await;
    }
    assert!(looks > 1 && last.rows == ROWS + 2 && last.changed == 0, "{looks}, {last:?}");
    // More than a page of them, and keys themselves.
    for statement in [
        "UPDATE app.part SET n = 1 WHERE number > 18446744073709551615 - 40000",
        "UPDATE app.part SET number = number - 60000 WHERE n = 0 LIMIT 10",
        "UPDATE app.day SET price = 2 WHERE price IS NULL",
    ] {
        client.run("change rows", statement).await.expect(statement);
    }
    let most = look().await.changed;
    while !(last.is_level && last.changed == 0) {
        last = look().await;
    }
    assert!(most > 20_000, "{most} at first");
    let (mut one, mut other) =
        (mariadb::open(&server).await.expect("a session"), mariadb::open(&server).await.expect("a session"));
    let mut comparison = Comparison::begin([&server, &server], &mut one, &mut other, execution).await.expect("begun");
    let compared = comparison.finish().await.expect("equal");
    assert_eq!((compared.tables, compared.rows), (4, ROWS + 2 + 3 + 1));
    // Rows that went all at once are gone through again.
    client.run("truncate", "TRUNCATE TABLE app.part").await.expect("truncated");
    assert!(comparison.look(Instant::now() + Duration::from_secs(20)).await.expect("equal").rows <= 2);
}
