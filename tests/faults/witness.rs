//! A client that writes through a whole execution, and remembers what it was told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_rds::types::DbInstance;
use mariadb::Session;
use tokio::task::JoinHandle;

use super::world::DATABASE;
use crate::cloud::Cloud;
use crate::fixtures::{connect_to, find, mariadb_session};

const BETWEEN_WRITES: Duration = Duration::from_millis(20);
/// Applications give a connection up, too.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// It writes by the endpoint's name, each number once, and comes back whenever it was thrown out.
#[derive(Debug)]
pub(crate) struct Witness {
    task: JoinHandle<()>,
    acknowledged: Arc<Mutex<Vec<i64>>>,
}

enum Client {
    PostgreSql(tokio_postgres::Client),
    MariaDb(Session),
}

impl Client {
    async fn connect(cloud: &Cloud, instance: &DbInstance) -> Result<Self, String> {
        if instance.engine() == Some("postgres") {
            let client = connect_to(instance, DATABASE).await;
            return client.map(Self::PostgreSql).map_err(|problem| format!("{problem:?}"));
        }
        mariadb_session(cloud, instance).await.map(Self::MariaDb).map_err(|problem| problem.to_string())
    }

    async fn run(&mut self, statement: &str) -> Result<(), String> {
        match self {
            Self::PostgreSql(client) => client.batch_execute(statement).await.map_err(|problem| format!("{problem:?}")),
            Self::MariaDb(session) => session.run("write", statement).await.map_err(|problem| problem.to_string()),
        }
    }

    /// What was written.
    async fn numbers(&mut self) -> Result<Vec<i64>, String> {
        let statement = format!("SELECT number FROM {}", self.table());
        match self {
            Self::PostgreSql(client) => {
                let rows = client.query(&statement, &[]).await.map_err(|problem| format!("{problem:?}"))?;
                Ok(rows.iter().map(|row| row.get(0)).collect())
            }
            Self::MariaDb(session) => session.rows("read", statement).await.map_err(|problem| problem.to_string()),
        }
    }

    fn table(&self) -> &'static str {
        match self {
            Self::PostgreSql(_) => "entry",
            Self::MariaDb(_) => "app.entry",
        }
    }
}

impl Witness {
    pub(crate) async fn of(cloud: &Cloud, source: DbInstance) -> Self {
        let mut client = Client::connect(cloud, &source).await.expect("connected");
        let id = match &client {
            Client::PostgreSql(_) => "bigint GENERATED ALWAYS AS IDENTITY",
            Client::MariaDb(_) => "bigint AUTO_INCREMENT",
        };
        let table = client.table();
        let statement = format!("CREATE TABLE {table} (id {id} PRIMARY KEY, number bigint NOT NULL)");
        client.run(&statement).await.expect("a table");
        let acknowledged = Arc::new(Mutex::new(vec![]));
        let task = tokio::spawn(write(cloud.clone(), source, client, Arc::clone(&acknowledged)));
        Self { task, acknowledged }
    }

    /// From then on it writes no more.
    pub(crate) fn acknowledged(&self) -> Vec<i64> {
        self.task.abort();
        self.acknowledged.lock().expect("no writer panics").clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn write(cloud: Cloud, source: DbInstance, client: Client, acknowledged: Arc<Mutex<Vec<i64>>>) {
    let mut client = Some(client);
    for number in 0.. {
        let insert = async {
            let mut connected = match client.take() {
                Some(client) => client,
                None => Client::connect(&cloud, &source).await?,
            };
            let table = connected.table();
            connected.run(&format!("INSERT INTO {table} (number) VALUES ({number})")).await?;
            Ok::<_, String>(connected)
        };
        if let Ok(Ok(connected)) = tokio::time::timeout(ANSWER_MAX, insert).await {
            client = Some(connected);
            acknowledged.lock().expect("no reader panics").push(number);
        }
        tokio::time::sleep(BETWEEN_WRITES).await;
    }
}

/// Each of them is in the instance of that name, and nothing is there twice.
pub(crate) async fn has_all(cloud: &Cloud, id: &str, acknowledged: &[i64]) -> Result<(), String> {
    let instance = find(cloud, id).await.ok_or(format!("no DB instance {id}"))?;
    let numbers = async { Client::connect(cloud, &instance).await?.numbers().await };
    let mut found: BTreeMap<i64, usize> = BTreeMap::new();
    for number in numbers.await.map_err(|problem| format!("{id} cannot be read: {problem}"))? {
        *found.entry(number).or_default() += 1;
    }
    let missing: Vec<&i64> = acknowledged.iter().filter(|number| !found.contains_key(number)).collect();
    let twice: Vec<&i64> = found.iter().filter(|(_, times)| **times > 1).map(|(number, _)| number).collect();
    if missing.is_empty() && twice.is_empty() {
        return Ok(());
    }
    Err(format!(
        "of {} acknowledged writes {id} lacks {missing:?}, and has {twice:?} more than once",
        acknowledged.len()
    ))
}
