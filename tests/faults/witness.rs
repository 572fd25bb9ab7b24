//! A client that writes through a whole execution, and remembers what it was told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_rds::types::DbInstance;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Error};

use super::world::DATABASE;
use crate::cloud::Cloud;
use crate::fixtures::{connect_to, find};

const BETWEEN_WRITES: Duration = Duration::from_millis(20);
/// Applications give a connection up, too.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// It writes by the endpoint's name, each number once, and comes back whenever it was thrown out.
#[derive(Debug)]
pub(crate) struct Witness {
    task: JoinHandle<()>,
    acknowledged: Arc<Mutex<Vec<i64>>>,
}

impl Witness {
    pub(crate) async fn of(source: DbInstance) -> Self {
        let table = "CREATE TABLE entry (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number bigint NOT NULL)";
        let client = connect_to(&source, DATABASE).await.expect("connected");
        client.batch_execute(table).await.expect("a table");
        let acknowledged = Arc::new(Mutex::new(vec![]));
        let task = tokio::spawn(write(source, client, Arc::clone(&acknowledged)));
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

async fn write(source: DbInstance, client: Client, acknowledged: Arc<Mutex<Vec<i64>>>) {
    let mut client = Some(client);
    for number in 0.. {
        let insert = async {
            let connected = match client.take() {
                Some(client) => client,
                None => connect_to(&source, DATABASE).await?,
            };
            connected.execute("INSERT INTO entry (number) VALUES ($1)", &[&number]).await?;
            Ok::<_, Error>(connected)
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
    let found = async {
        let client = connect_to(&instance, DATABASE).await?;
        let missing = "SELECT number FROM unnest($1::bigint[]) number WHERE number NOT IN (SELECT number FROM entry)";
        let missing = client.query(missing, &[&acknowledged]).await?;
        let twice = client.query("SELECT number FROM entry GROUP BY number HAVING count(*) > 1", &[]).await?;
        Ok::<_, Error>([missing, twice].map(|rows| rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>()))
    };
    match found.await.map_err(|problem| format!("{id} cannot be read: {problem:?}"))? {
        [missing, twice] if missing.is_empty() && twice.is_empty() => Ok(()),
        [missing, twice] => Err(format!(
            "of {} acknowledged writes {id} lacks {missing:?}, and has {twice:?} more than once",
            acknowledged.len()
        )),
    }
}
