//! What the tests put into a local cloud, and how they look at it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_rds::types::DbInstance;
use databases::{Credentials, Server};
use mariadb::Session;
use serde_json::{Value, json};
use workflow::Error;

use crate::cloud::{Cloud, EXECUTION_SECONDS_MAX, repository};

/// Of a MariaDB server, for the functions.
pub(crate) const MARIADB_LOGIN: &str = "rds_encrypt_dba";
pub(crate) const PASSWORD: &str = "correct-horse-battery";

/// An unencrypted instance; of the engine postgres it has a server, of any other a file.
pub(crate) fn seed(cloud: &Cloud, id: &str, fields: Value) {
    let mut all = json!({"Engine": "mysql", "StorageEncrypted": false});
    all.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    cloud.control("PUT", &format!("instances/{id}"), json!({"fields": all, "master_password": PASSWORD}));
}

pub(crate) fn fault(cloud: &Cloud, naming: &str, operation: &str, rule: Value) {
    let mut all = json!({"operation": operation, "naming": naming});
    all.as_object_mut().expect("an object").extend(rule.as_object().expect("an object").clone());
    cloud.control("POST", "faults", all);
}

pub(crate) async fn find(cloud: &Cloud, id: &str) -> Option<DbInstance> {
    let answer = cloud.rds.describe_db_instances().db_instance_identifier(id).send().await;
    answer.ok().and_then(|output| output.db_instances.unwrap_or_default().into_iter().next())
}

pub(crate) async fn instance(cloud: &Cloud, id: &str) -> DbInstance {
    find(cloud, id).await.unwrap_or_else(|| panic!("there is no DB instance {id}"))
}

/// Everything of the name's family that exists: instances, then snapshots.
pub(crate) async fn family(cloud: &Cloud, id: &str) -> Vec<String> {
    // Tests that share a cloud have more than a page of them.
    let instances: Result<Vec<_>, _> =
        cloud.rds.describe_db_instances().into_paginator().items().send().collect().await;
    let snapshots: Result<Vec<_>, _> =
        cloud.rds.describe_db_snapshots().into_paginator().items().send().collect().await;
    let (instances, snapshots) = (instances.expect("instances"), snapshots.expect("snapshots"));
    let instances = instances.iter().filter_map(|instance| instance.db_instance_identifier());
    let snapshots = snapshots.iter().filter_map(|snapshot| snapshot.db_snapshot_identifier());
    let own = |name: &&str| name.starts_with(id);
    let mut names: Vec<String> = instances.filter(own).map(|name| format!("instance {name}")).collect();
    names.extend(snapshots.filter(own).map(|name| format!("snapshot {name}")));
    names.sort();
    names
}

pub(crate) async fn sql(instance: &DbInstance) -> tokio_postgres::Client {
    connect(instance).await.expect("connected")
}

pub(crate) async fn connect(instance: &DbInstance) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    connect_to(instance, "postgres").await
}

pub(crate) async fn connect_to(
    instance: &DbInstance,
    database: &str,
) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let endpoint = instance.endpoint().expect("an endpoint");
    let address = endpoint.address().expect("an address");
    let port = endpoint.port().expect("a port");
    let user = instance.master_username().expect("a master user");
    let options = format!("host={address} port={port} user={user} password={PASSWORD} dbname={database}");
    let (client, connection) = tokio_postgres::connect(&options, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// An instance with a MariaDB server, and a login for the functions (docs/online.md).
pub(crate) async fn seed_mariadb(cloud: &Cloud, id: &str, fields: Value) -> DbInstance {
    const GRANT: &str = "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, RELOAD, PROCESS, EXECUTE, SHOW VIEW, EVENT,
        TRIGGER, CREATE USER, REPLICATION SLAVE, BINLOG MONITOR, SLAVE MONITOR ON *.* TO rds_encrypt_dba WITH GRANT OPTION";
    let mut all = json!({"Engine": "mariadb", "DBName": "app", "BackupRetentionPeriod": 1});
    all.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    let body = json!({
        "fields": all,
        "master_password": PASSWORD,
        "parameters": {"binlog_format": "ROW", "log_bin_trust_function_creators": "1"},
        "server": true,
    });
    cloud.control("PUT", &format!("instances/{id}"), body);
    let source = instance(cloud, id).await;
    let mut master = mariadb_session(cloud, &source).await.expect("a session");
    for statement in [&format!("CREATE USER {MARIADB_LOGIN} IDENTIFIED BY '{PASSWORD}'"), GRANT] {
        master.run("make the login", statement).await.expect("a login");
    }
    source
}

/// As the functions reach it, by the master user.
pub(crate) fn mariadb_server(cloud: &Cloud, instance: &DbInstance) -> Server {
    let roots = cloud.control("GET", "", json!({}))["database_roots"].as_str().expect("PEM").to_owned();
    let username = instance.master_username().expect("a master user").to_owned();
    Server::of(instance, &roots, Credentials { username, password: PASSWORD.to_owned() }).expect("a server")
}

pub(crate) async fn mariadb_session(cloud: &Cloud, instance: &DbInstance) -> Result<Session, Error> {
    mariadb::open(&mariadb_server(cloud, instance)).await
}

/// A program of the local cloud's, told where an instance is reached and by which password.
pub(crate) fn client_program(instance: &DbInstance, arguments: &[&str]) -> Command {
    let endpoint = instance.endpoint().expect("an endpoint");
    let mut program = Command::new(repository().join(".local/cloud/bin/python"));
    program.current_dir(repository()).args(arguments).env("PGPASSWORD", PASSWORD).env("MYSQL_PWD", PASSWORD);
    program.args(["--host", endpoint.address().expect("an address")]);
    program.args(["--port", &endpoint.port().expect("a port").to_string()]);
    program
}

/// Clients that write until they are told to end, and then say what they were told and what is there.
pub(crate) struct Load(Child);

impl Load {
    pub(crate) fn start(program: &mut Command) -> Self {
        Self(program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the load"))
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().expect("piped")).read_line(&mut line).expect("read");
        line
    }

    /// Ends it, and compares what was acknowledged with what is there.
    pub(crate) fn outcome(mut self) -> Value {
        drop(self.0.stdin.take());
        let mut text = String::new();
        self.0.stdout.take().expect("piped").read_to_string(&mut text).expect("read");
        self.0.wait().expect("ended");
        serde_json::from_str(&text).expect("the ledger's outcome")
    }
}

/// Returns while, or shortly after, an execution is in this state.
pub(crate) async fn until_entered(cloud: &Cloud, execution: &str, state: &str) {
    let started = Instant::now();
    loop {
        let ended = cloud.outcome_now(execution).await;
        let went = cloud.entered_lately(execution).await;
        if went.iter().any(|entered| entered == state) {
            return;
        }
        assert!(ended.is_none(), "{execution} never entered {state}: {went:?}, and it ended: {ended:#?}");
        let limit = Duration::from_secs(EXECUTION_SECONDS_MAX);
        assert!(started.elapsed() < limit, "{execution} has not entered {state} yet: {went:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
