//! The way online, end to end, on real MariaDB servers.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_rds::types::DbInstance;
use databases::Schemas;
use mariadb::compare::Comparison;
use mariadb::{Session, catalog, fence};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::cloud::{Cloud, Outcome, repository};
use crate::cutover::undo_of;
use crate::fixtures::{
    Load, MARIADB_LOGIN, PASSWORD, client_program, family, instance, mariadb_server, mariadb_session, seed_mariadb,
};
use crate::online::{alone, before, until};

/// An instance that can be replicated, and the input that encrypts it.
async fn seed_replicable(cloud: &Cloud, id: &str) -> (DbInstance, Value) {
    let source = seed_mariadb(cloud, id, json!({})).await;
    let secret = cloud.login(id, MARIADB_LOGIN, PASSWORD, None);
    (source, json!({"instance_id": id, "database_secret_arn": secret}))
}

async fn session(cloud: &Cloud, instance: &DbInstance) -> Session {
    mariadb_session(cloud, instance).await.expect("a session")
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
async fn is_open_and_clean(cloud: &Cloud, server: &DbInstance) {
    let mut master = session(cloud, server).await;
    let left: Vec<String> = master
        .rows(
            "look for what is left",
            "SELECT CONCAT('account ', User) FROM mysql.global_priv
                WHERE User REGEXP '^rds_encrypt_[0-9a-f]{8}$'
                   OR User NOT IN ('mariadb.sys', 'rdsadmin', 'idle') AND JSON_VALUE(Priv, '$.account_locked') IN ('1', 'true')
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
async fn is_as_before(cloud: &Cloud, before: &DbInstance) {
    let id = before.db_instance_identifier().expect("a name");
    let now = instance(cloud, id).await;
    assert_eq!((now.dbi_resource_id(), now.storage_encrypted()), (before.dbi_resource_id(), Some(false)));
    assert_eq!(family(cloud, id).await, [format!("instance {id}")]);
    is_open_and_clean(cloud, &now).await;
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
    is_open_and_clean(&cloud, &target).await;
}

/// Each look goes on where the one before it ended, and compares every row once: a server beside itself. What the log
/// tells of a key is the row that a query finds by it, whatever the key is of.
#[tokio::test]
async fn a_comparison_of_many_looks_leaves_no_row_out() {
    const ROWS: i64 = 60_000;
    let cloud = Cloud::shared().await;
    let (source, _) = seed_replicable(cloud, "fern").await;
    let server = mariadb_server(cloud, &source);
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
        "CREATE TABLE app.small (a MEDIUMINT, b INT(10) UNSIGNED ZEROFILL, c DATETIME, n INT, PRIMARY KEY (a, b, c))",
        "INSERT INTO app.small VALUES (-5, 50, '2026-11-30', 0), (8388607, 0, '2026-11-30 01:02:03', 0)",
        "CREATE TABLE app.swap LIKE app.small",
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
    assert!(looks > 1 && last.rows == ROWS + 4 && last.changed == 0, "{looks}, {last:?}");
    // A server that begins anew has a new log, which only what it sends tells of.
    cloud.rds.reboot_db_instance().db_instance_identifier("fern").send().await.expect("rebooted");
    until(async || {
        instance(cloud, "fern").await.db_instance_status() == Some("available") && mariadb::open(&server).await.is_ok()
    })
    .await;
    let mut client = mariadb::open(&server).await.expect("a session");
    // More than a page of them, and keys themselves.
    for statement in [
        "FLUSH BINARY LOGS",
        "UPDATE app.small SET n = 1",
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
    assert_eq!((compared.tables, compared.rows), (6, ROWS + 4 + 3 + 1));
    // Rows that went or came all at once are gone through again, and those of other tables are not.
    let mut client = mariadb::open(&server).await.expect("a session");
    client.run("truncate", "TRUNCATE TABLE app.part").await.expect("truncated");
    let exchange = "RENAME TABLE app.small TO app.old, app.swap TO app.small, app.old TO app.swap";
    client.run("exchange", exchange).await.expect("exchanged");
    let soon = || Instant::now() + Duration::from_secs(20);
    assert_eq!(comparison.look(soon()).await.expect("equal").rows, 2, "of `day` alone");
    assert_eq!(comparison.look(soon()).await.expect("equal").rows, 4);
    // What is told before it is there.
    for statement in [
        "XA START 'x'",
        "INSERT INTO app.day VALUES ('2027-01-01', 1, NULL, NULL, NULL, NULL)",
        "XA END 'x'",
        "XA PREPARE 'x'",
        "XA COMMIT 'x'",
    ] {
        client.run("use XA", statement).await.expect(statement);
    }
    let error = comparison.look(soon()).await.expect_err("XA");
    assert!(error.name() == "ReplicationFailed" && error.to_string().contains("XA transactions"), "{error}");
}

/// A statement in an instance, as a stranger runs it, of whom the functions know nothing.
fn on_instance(cloud: &Cloud, id: &str, statement: &str) -> Vec<String> {
    const RUN: &str = "import json, pathlib, subprocess, sys, urllib.request; \
        fields = json.load(urllib.request.urlopen(sys.argv[1]))['fields']; endpoint = fields['Endpoint']; \
        root = pathlib.Path('.local/mariadb/usr'); library = next(root.glob('lib/*/libmariadb.so.3')).parent; \
        subprocess.run([root / 'bin/mariadb', '--no-defaults', '-h', endpoint['Address'], '-P', str(endpoint['Port']), \
            '-u', fields['MasterUsername'], 'app', '-e', sys.argv[3]], check=True, \
            env={'MYSQL_PWD': sys.argv[2], 'LD_LIBRARY_PATH': str(library)})";
    let program = repository().join(".local/cloud/bin/python").to_string_lossy().into_owned();
    let run = RUN.replace("'.local/mariadb/usr'", &format!("{:?}", repository().join(".local/mariadb/usr")));
    let url = cloud.control_url(&format!("instances/{id}"));
    [&program, "-c", &run, &url, PASSWORD, statement].map(str::to_owned).to_vec()
}

async fn run_all(session: &mut Session, statements: &[&str]) {
    for statement in statements {
        session.run("prepare", statement).await.expect(statement);
    }
}

/// It fails of this, and clients go on in a source that has nothing of ours.
async fn fails_under_load(cloud: &Cloud, id: &str, error: &str, befall: impl AsyncFn(&mut Session)) -> Outcome {
    let (source, input) = seed_replicable(cloud, id).await;
    let load = load_on(&source);
    befall(&mut session(cloud, &source).await).await;
    let outcome = cloud.encrypt(input.clone()).await;
    cloud.control("DELETE", "faults", json!({}));
    let ledger = load.outcome();
    outcome.failed(error);
    assert_eq!(ledger["holds"], true, "{ledger:#}");
    is_as_before(cloud, &source).await;
    outcome
}

#[tokio::test]
async fn what_somebody_writes_on_the_target_is_found() {
    let (cloud, _alone) = alone().await;
    for (id, step, change, words) in [
        (
            "moss",
            "seed-target",
            "UPDATE pair SET text = 'wrong' WHERE a = 'it''s'",
            "where (`a`, `b`) IN ((_utf8mb4 x'69742773', 0))",
        ),
        ("reed", "cut-over", "UPDATE pair SET text = 'wrong' WHERE a = 'it''s'", "table `app`.`pair`: 1 rows"),
        ("sedge", "cut-over", "TRUNCATE pair", "table `app`.`pair`: 2 rows in the source and 0 in the target"),
        ("rush", "cut-over", "INSERT INTO loose VALUES ('more')", "table `app`.`loose`: 1 rows in the source and 2"),
    ] {
        let outcome = fails_under_load(&cloud, id, "DataDiffers", async |client| {
            run_all(
                client,
                &[
                    "CREATE TABLE app.pair (text TEXT, b BOOLEAN, a CHAR(9), PRIMARY KEY (a, b)) CHARACTER SET utf8mb4",
                    "INSERT INTO app.pair VALUES ('right', FALSE, 'it''s'), ('right', TRUE, 'one')",
                    "CREATE TABLE app.loose (text TEXT)",
                    "INSERT INTO app.loose VALUES ('one')",
                ],
            )
            .await;
            before(&cloud, step, &on_instance(&cloud, &format!("{id}-encrypted"), change));
        });
        let outcome = outcome.await;
        assert!(outcome.cause.contains(words), "{outcome:#?}");
        let states = cloud.states(&outcome.execution).await;
        assert_eq!(states.iter().any(|state| state == "CutOver"), step == "cut-over", "{states:?}");
    }
}

#[tokio::test]
async fn what_changes_besides_rows_ends_the_run_before_the_outage() {
    let (cloud, _alone) = alone().await;
    for (id, step, instance, change) in [
        ("fog", "seed-target", "fog-encrypted", "ALTER TABLE account ADD note TEXT"),
        ("haze", "cut-over", "haze", "CREATE USER late"),
        ("mist", "cut-over", "mist", "ALTER TABLE account ADD note TEXT"),
        // Somebody's lock is no fence of ours, which would be taken away.
        ("dew", "cut-over", "dew", "ALTER USER idle ACCOUNT LOCK"),
    ] {
        let outcome = fails_under_load(&cloud, id, "SchemaChanged", async |client| {
            run_all(client, &["CREATE USER idle"]).await;
            before(&cloud, step, &on_instance(&cloud, instance, change));
        });
        let outcome = outcome.await;
        assert!(outcome.cause.contains("start again"), "{outcome:#?}");
    }
}

/// Whatever replication may not change unnoticed, and nothing that it carries.
#[tokio::test]
async fn every_kind_of_ddl_changes_the_hash_of_the_schema() {
    const BEFORE: &[&str] = &[
        "USE app",
        "CREATE TABLE t (a INT PRIMARY KEY, b TEXT, c INT)",
        "CREATE TABLE u (a INT PRIMARY KEY, t INT, CONSTRAINT f FOREIGN KEY (t) REFERENCES t (a))",
        "CREATE TABLE p (a INT PRIMARY KEY) PARTITION BY RANGE (a) (PARTITION p0 VALUES LESS THAN (10))",
        "CREATE VIEW v AS SELECT a FROM t",
        "CREATE PROCEDURE one(x INT) SELECT x",
        "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.b = 'a'",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01' DISABLE DO SELECT 1",
        "CREATE SEQUENCE s",
        "CREATE USER someone IDENTIFIED BY 'x'",
        "CREATE ROLE readers",
    ];
    const CHANGES: &[&str] = &[
        "ALTER TABLE t ADD d INT DEFAULT 1",
        "ALTER TABLE t ALTER d SET DEFAULT 2",
        "ALTER TABLE t MODIFY b MEDIUMTEXT",
        "ALTER TABLE t ADD INDEX i (c)",
        "ALTER TABLE t ALTER INDEX i IGNORED",
        "ALTER TABLE t ADD CONSTRAINT positive CHECK (c > 0)",
        "ALTER TABLE t COMMENT 'a note'",
        "ALTER TABLE u DROP FOREIGN KEY f",
        "ALTER TABLE u ADD CONSTRAINT f FOREIGN KEY (t) REFERENCES t (a) ON DELETE CASCADE",
        "ALTER TABLE p ADD PARTITION (PARTITION p1 VALUES LESS THAN (20))",
        "CREATE OR REPLACE VIEW v AS SELECT a + 1 AS a FROM t",
        "CREATE OR REPLACE PROCEDURE one(x INT) SELECT x + 1",
        "CREATE OR REPLACE PROCEDURE one(x BIGINT) SELECT x + 1",
        "CREATE OR REPLACE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.b = 'b'",
        "ALTER EVENT e ON SCHEDULE EVERY 2 DAY",
        "CREATE USER another",
        "GRANT SELECT ON app.t TO someone",
        "GRANT SELECT (a) ON app.u TO someone",
        "GRANT INSERT ON app.* TO someone",
        "GRANT SELECT ON mysql.* TO someone",
        "GRANT EXECUTE ON PROCEDURE app.one TO someone",
        "GRANT readers TO someone",
        "GRANT PROCESS ON *.* TO someone",
        "ALTER USER someone REQUIRE SSL",
        "CREATE SCHEMA late",
        "ALTER SCHEMA late CHARACTER SET ucs2",
    ];
    const CARRIED: &[&str] = &[
        "INSERT INTO t (a) VALUES (1)",
        "DO NEXTVAL(s)",
        "ANALYZE TABLE t",
        "ALTER USER someone ACCOUNT LOCK",
        "ALTER USER someone ACCOUNT UNLOCK",
        "ALTER USER someone IDENTIFIED BY 'y'",
        "CREATE USER rds_encrypt_0badcafe REQUIRE SSL ACCOUNT LOCK",
        "CREATE SCHEMA rds_encrypt_0badcafe",
    ];
    let cloud = Cloud::shared().await;
    let (source, _) = seed_replicable(cloud, "ivy").await;
    let mut client = session(cloud, &source).await;
    run_all(&mut client, BEFORE).await;
    let mut last = catalog::schema_hash(&mut client).await.expect("a hash");
    for (statements, changes) in [(CHANGES, true), (CARRIED, false)] {
        for statement in statements {
            client.run("change it", statement).await.expect(statement);
            let now = catalog::schema_hash(&mut client).await.expect("a hash");
            assert_eq!(now != last, changes, "{statement}");
            last = now;
        }
    }
}

#[tokio::test]
async fn a_copy_without_the_sources_log_is_given_up() {
    let (cloud, _alone) = alone().await;
    cloud.control("PATCH", "settings", json!({"copies_keep_binlogs": false}));
    let outcome = fails_under_load(&cloud, "lichen", "ReplicationFailed", async |_| {}).await;
    cloud.control("PATCH", "settings", json!({"copies_keep_binlogs": true}));
    assert!(outcome.cause.contains("no transaction of the source"), "{outcome:#?}");
}

#[tokio::test]
async fn what_cannot_be_replicated_is_refused_with_every_reason() {
    let cloud = Cloud::shared().await.online();
    let (source, input) = seed_replicable(&cloud, "thorn").await;
    let mut client = session(&cloud, &source).await;
    run_all(
        &mut client,
        &[
            "CREATE TABLE app.old (a INT) ENGINE = MyISAM",
            "CREATE TABLE app.history (a INT PRIMARY KEY) WITH SYSTEM VERSIONING",
            "CREATE TABLE app.dense (a INT PRIMARY KEY, b TEXT COMPRESSED)",
        ],
    )
    .await;
    let outcome = cloud.encrypt(input.clone()).await;
    let cause = outcome.failed("DatabaseNotUsable").to_owned();
    for words in ["app.old", "app.history", "app.dense"] {
        assert!(cause.contains(words), "{cause} does not name {words}");
    }
    is_as_before(&cloud, &source).await;
    // Of a login that is somebody's, and of what was not tried.
    let master = cloud.login("thorn-master", "master", PASSWORD, None);
    let cause = cloud.encrypt(json!({"instance_id": "thorn", "database_secret_arn": master})).await;
    assert!(cause.failed("DatabaseNotUsable").contains("the login is master@%"), "{cause:#?}");
    for (field, value) in [("engine", json!("dms")), ("database_iam_user", json!("rds_encrypt_dba"))] {
        let mut other = input.clone();
        other[field] = value;
        if field == "database_iam_user" {
            other.as_object_mut().expect("an object").remove("database_secret_arn");
        }
        assert!(cloud.encrypt(other).await.failed("InvalidInput").contains(field));
    }
}

#[tokio::test]
async fn a_run_that_is_stopped_behind_the_fence_leaves_an_open_source() {
    let (cloud, _alone) = alone().await;
    for (id, state, is_undone) in
        [("bog", "RenameSource", true), ("fen", "RenameTarget", true), ("dyke", "OpenTarget", false)]
    {
        let (source, input) = seed_replicable(&cloud, id).await;
        let load = load_on(&source);
        cloud.stop_in(&[(cloud.state_machine(), state)]);
        let execution = cloud.start_execution(&input.to_string()).await;
        undo_of(&cloud, &execution).await.succeeded();
        cloud.stop_in(&[]);
        let ledger = load.outcome();
        assert_eq!(ledger["holds"], true, "{ledger:#}");
        if is_undone {
            is_as_before(&cloud, &source).await;
        } else {
            let target = instance(&cloud, id).await;
            assert_ne!(target.dbi_resource_id(), source.dbi_resource_id());
            is_open_and_clean(&cloud, &target).await;
        }
    }
}

/// As a function leaves it that is killed between the fence and the switch. And what AUTO_INCREMENT has given to a
/// transaction that was rolled back, which no log tells, is not given again.
#[tokio::test]
async fn a_fence_that_was_left_is_taken_away_before_the_next_attempt() {
    let (cloud, _alone) = alone().await;
    let (source, input) = seed_replicable(&cloud, "marsh").await;
    let counted = "CREATE TABLE app.counted (id INT AUTO_INCREMENT PRIMARY KEY)";
    run_all(&mut session(&cloud, &source).await, &[counted]).await;
    let load = load_on(&source);
    let befall = "START TRANSACTION; INSERT INTO counted VALUES (), (), (); ROLLBACK; \
        SELECT User INTO @own FROM mysql.global_priv WHERE User REGEXP '^rds_encrypt_[0-9a-f]{8}$'; \
        EXECUTE IMMEDIATE CONCAT('CREATE USER ', @own, '@fence ACCOUNT LOCK'); ALTER USER application ACCOUNT LOCK";
    let lock = on_instance(&cloud, "marsh", befall);
    let action = json!({"type": "run", "command": lock});
    let first =
        json!({"app_id": "rds-encrypt.cut-over", "operation": "DescribeDBInstances", "call": 1, "action": action});
    cloud.control("POST", "faults", first);
    let outcome = cloud.encrypt(input.clone()).await;
    cloud.control("DELETE", "faults", json!({}));
    let ledger = load.outcome();
    outcome.succeeded();
    assert_eq!(ledger["holds"], true, "{ledger:#}");
    let waits = cloud.states(&outcome.execution).await.iter().filter(|state| *state == "WaitToCutOver").count();
    assert_eq!(waits, 1);
    let target = instance(&cloud, "marsh").await;
    is_open_and_clean(&cloud, &target).await;
    let statement = "SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_NAME = 'counted'";
    let next: u64 = session(&cloud, &target).await.one("ask what comes next", statement).await.expect("a number");
    assert_eq!(next, 4);
}

/// Clients come back all the time, and find the locks. One that has begun to log in before them may not have.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_behind_the_fence_is_not_waited_for() {
    let cloud = Cloud::shared().await;
    let (source, _) = seed_replicable(cloud, "eelgrass").await;
    let server = mariadb_server(cloud, &source);
    let mut own = session(cloud, &source).await;
    run_all(&mut own, &[&format!("CREATE USER storm IDENTIFIED BY '{PASSWORD}'")]).await;
    let mut as_storm = mariadb_server(cloud, &source);
    "storm".clone_into(&mut as_storm.credentials.username);
    let as_storm = Arc::new(as_storm);
    let mut storm = JoinSet::new();
    for _ in 0..16 {
        let server = Arc::clone(&as_storm);
        storm.spawn(async move {
            loop {
                drop(mariadb::open(&server).await);
            }
        });
    }
    let mut begun = TcpStream::connect((server.host.as_str(), server.port)).expect("connected");
    begun.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    begun.read_exact(&mut [0]).expect("the server's greeting");

    let schemas = Schemas { accounts: vec!["'storm'@'%'".to_owned()], ..Schemas::default() };
    fence::close(&mut own, &schemas, "storm").await.expect("closed");
    let (spared, until) = ([own.id()], Instant::now() + Duration::from_secs(5));
    fence::clear(&server, &mut own, "storm", &spared, until).await.expect("nobody is left");
    begun.read_to_end(&mut vec![]).expect("it is ended, and logs in no more");
    let error = mariadb::open(&as_storm).await.err().expect("it is locked");
    assert!(error.to_string().contains("locked"), "{error}");
    assert!(fence::open(&mut own, &schemas, "storm").await.expect("open"), "there was a fence");
    drop(mariadb::open(&as_storm).await.expect("let in"));
    storm.shutdown().await;
}

/// Where nobody writes: what is left is one of the two worlds, open and clean.
#[tokio::test]
async fn a_run_that_is_stopped_in_any_step_leaves_one_whole_world() {
    let (cloud, _alone) = alone().await;
    let before = ["PublishSource", "EncryptInstance", "SeedTarget", "VerifyData", "CutOver", "WaitForSourceName"];
    let past = ["WaitForTargetName", "CleanUpReplication", "CleanUp"];
    for (number, state) in before.iter().chain(&past).enumerate() {
        let id = format!("stile-{number}");
        let (source, input) = seed_replicable(&cloud, &id).await;
        run_all(&mut session(&cloud, &source).await, &["CREATE TABLE app.fish (id INT AUTO_INCREMENT PRIMARY KEY)"])
            .await;
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
            is_open_and_clean(&cloud, &target).await;
        }
    }
}
