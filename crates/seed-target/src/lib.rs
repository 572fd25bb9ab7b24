//! Lets the target go on from exactly where its snapshot ends, and looks until it is close behind the source.
//!
//! AWS calls: DescribeDBInstances, Secrets Manager GetSecretValue. Repeating it is safe: it goes on with what is
//! missing.

use databases::{Replicated, Schemas, Server, Servers};
use postgres::names::{Database, MAINTENANCE, Names};
use postgres::{Open, Session, catalog, replication};
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::wait::{self, Wait};

/// The target applies so much in well under a second.
const CLOSE_BYTES: i64 = 1 << 20;

pub type Request = databases::Request<Response>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    pub ready: bool,
    /// Of each database, where it went on, and who says so: `app at 0/3A1F2C8 after 12 transactions, by its slot`
    pub starts: Vec<String>,
    /// By which the target reads the source.
    pub slots: Vec<String>,
    /// Of the database that is furthest behind.
    pub lag_bytes: i64,
    pub wait: Wait,
}

pub async fn handle(servers: &Servers, request: Request) -> Result<Response, Error> {
    let names = Names::of(&request.owner.execution);
    let source = servers.get(&request.owner.source_resource_id, &request.access).await?;
    let target = servers.get(&request.target_resource_id, &request.access).await?;
    let mut response = Response { ready: false, lag_bytes: 0, ..request.previous.unwrap_or_default() };
    match &request.databases {
        Replicated::PostgreSql(databases) => of_postgresql(&source, &target, databases, &names, &mut response).await?,
        Replicated::MariaDb(schemas) => {
            of_mariadb(&source, &target, schemas, &request.owner.execution, &mut response).await?;
        }
    }
    response.ready = response.lag_bytes <= CLOSE_BYTES;
    if !response.ready {
        response.wait = wait::next(Some(&response.wait), None, request.max_wait_seconds).map_err(|_| {
            Error::WaitTimedOut(format!(
                "the target is still {} bytes of log behind after {} s: it applies slower than the source writes; \
                 choose a larger class or a quieter time",
                response.lag_bytes, request.max_wait_seconds
            ))
        })?;
    }
    Ok(response)
}

async fn of_mariadb(
    source: &Server,
    target: &Server,
    schemas: &Schemas,
    execution: &str,
    response: &mut Response,
) -> Result<(), Error> {
    let (mut at_source, mut at_target) = tokio::try_join!(mariadb::open(source), mariadb::open(target))?;
    mariadb::catalog::is_unchanged(&mut at_source, schemas, "the source").await?;
    mariadb::catalog::is_unchanged(&mut at_target, schemas, "the target").await?;
    let started = mariadb::replication::seed(source, &mut at_source, &mut at_target, execution).await?;
    response.starts.extend(started.map(|gtid| format!("the server behind GTID {gtid}, by its binary log")));
    response.lag_bytes = mariadb::replication::lag(&mut at_source, &mut at_target).await?;
    Ok(())
}

async fn of_postgresql(
    source: &Server,
    target: &Server,
    databases: &[Database],
    names: &Names,
    response: &mut Response,
) -> Result<(), Error> {
    let maintenance = source.open(MAINTENANCE).await?;
    catalog::has_the_same_databases(&maintenance, databases).await?;
    response.slots = databases.iter().map(|database| names.slot(database)).collect();
    let password = new_password(source, target, &maintenance, databases, names).await?;
    for database in databases {
        let (at_source, at_target) = tokio::try_join!(source.open(&database.name), target.open(&database.name))?;
        catalog::is_unchanged(&at_source, database, "the source").await?;
        catalog::is_unchanged(&at_target, database, "the target").await?;
        let seeded = replication::seed(source, &at_source, &at_target, database, names, password.as_deref());
        if let Some(seeded) = seeded.await? {
            response.starts.push(format!(
                "{} at {} after {} transactions, by {}",
                database.name, seeded.start, seeded.commits, seeded.told_by
            ));
        }
        let lag = replication::lag(&at_source, &at_target, database, names).await?;
        response.lag_bytes = response.lag_bytes.max(lag);
    }
    Ok(())
}

/// For the role that the target logs in by, as long as a database is not subscribed: nobody keeps it but the
/// subscriptions, so that each such call makes another, for those of an earlier call, too.
async fn new_password(
    source: &Server,
    target: &Server,
    maintenance: &Session,
    databases: &[Database],
    names: &Names,
) -> Result<Option<String>, Error> {
    let mut subscribed = vec![];
    for database in databases {
        if replication::is_subscribed(&target.open(&database.name).await?, names).await? {
            subscribed.push(database);
        }
    }
    if subscribed.len() == databases.len() {
        return Ok(None);
    }
    let password = replication::new_password(maintenance).await?;
    replication::set_password(maintenance, names, &password).await?;
    for database in subscribed {
        let (at_source, at_target) = tokio::try_join!(source.open(&database.name), target.open(&database.name))?;
        replication::reconnect(source, &at_source, &at_target, database, names, &password).await?;
    }
    Ok(Some(password))
}
