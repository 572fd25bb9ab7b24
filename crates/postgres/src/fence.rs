//! The fence: nobody but us writes to the source any more, until it is taken away again.
//!
//! CONNECTION LIMIT 0 stops everybody who is no superuser, and the sessions that there are get terminated. On RDS the
//! only superuser is its own, whose sessions nobody may end, and who writes no rows of anybody's [A98]. A
//! read-only default would lose data: a client that says BEGIN READ WRITE writes on.
//!
//! AWS DMS must be able to come back, and comes as an ordinary client. For it everybody loses CONNECT, the owner
//! included, but the run's own role, which nobody else is.

use std::time::{Duration, Instant};

use workflow::Error;
use workflow::options::Engine;

use crate::names::{Client, Database, Names, quoted};
use crate::{Session, catalog, failed};

const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
const QUIET_LOOKS: u32 = 2;

/// `maintenance` is a session in a database that is not fenced.
pub async fn close(maintenance: &Session, databases: &[Database], engine: Engine) -> Result<(), Error> {
    for database in databases {
        match engine {
            Engine::Native => limit(maintenance, &database.name, 0).await?,
            Engine::Dms => shut_out(maintenance, database).await?,
        }
    }
    Ok(())
}

async fn shut_out(maintenance: &Session, database: &Database) -> Result<(), Error> {
    let statements: String = database
        .clients
        .iter()
        .map(|client| format!("REVOKE CONNECT ON DATABASE {} FROM {};", quoted(&database.name), grantee(client)))
        .collect();
    let what = format!("take CONNECT to database `{}` away", database.name);
    maintenance.batch_execute(&statements).await.map_err(failed(what))
}

fn grantee(client: &Client) -> String {
    client.role.as_deref().map_or("PUBLIC".to_owned(), quoted)
}

/// Ends clients' sessions until two looks in a row find none, but for those of the run's own role. `spared`: the
/// processes of ours.
pub async fn clear(
    maintenance: &Session,
    databases: &[Database],
    names: &Names,
    spared: &[i32],
    until: Instant,
) -> Result<u64, Error> {
    let oids: Vec<u32> = databases.iter().map(|database| database.oid).collect();
    let mut starting = starting(maintenance, &oids, None).await?;
    let (mut ended, mut quiet) = (0, 0);
    while quiet < QUIET_LOOKS || !starting.is_empty() {
        starting = self::starting(maintenance, &oids, Some(starting)).await?;
        let found = maintenance
            .query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datid = ANY ($1) AND backend_type = 'client backend' AND pid <> ALL ($2)
                 AND usesysid NOT IN (SELECT oid FROM pg_roles WHERE rolsuper OR rolname = $3)",
                &[&oids, &spared, &names.base()],
            )
            .await
            .map_err(failed("end the clients' sessions"))?
            .len();
        quiet = if found == 0 { quiet + 1 } else { 0 };
        ended += found as u64;
        if Instant::now() > until {
            let found = found + starting.len();
            return Err(Error::DatabaseUnavailable(format!("{found} sessions of clients do not end, or do not begin")));
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    let prepared = maintenance
        .query_one("SELECT count(*) FROM pg_prepared_xacts", &[])
        .await
        .map_err(failed("look for prepared transactions"))?
        .get::<_, i64>(0);
    if prepared > 0 {
        return Err(Error::DatabaseUnavailable(format!(
            "{prepared} prepared transactions, which no fence ends: commit or roll them back"
        )));
    }
    Ok(ended)
}

/// Processes that begin a session: each locks its database before it looks whether it may connect, and lets go of it once
/// it is in pg_stat_activity (`InitPostgres` in PostgreSQL's postinit.c). One of them may have looked before the fence.
async fn starting(maintenance: &Session, oids: &[u32], of: Option<Vec<i32>>) -> Result<Vec<i32>, Error> {
    let rows = maintenance
        .query(
            "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'object' AND classid = 'pg_database'::regclass
             AND objid = ANY ($1) AND ($2::int[] IS NULL OR pid = ANY ($2)) AND pid <> pg_backend_pid()",
            &[&oids, &of],
        )
        .await
        .map_err(failed("look for sessions that begin"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Gives clients what the preflight found, where the fence is. Returns the databases that it opened.
pub async fn open(maintenance: &Session, databases: &[Database], engine: Engine) -> Result<Vec<String>, Error> {
    let mut opened = vec![];
    for database in databases {
        let was_fenced = match engine {
            Engine::Native => unlimit(maintenance, database).await?,
            Engine::Dms => let_in(maintenance, database).await?,
        };
        if was_fenced {
            opened.push(database.name.clone());
        }
    }
    Ok(opened)
}

async fn unlimit(maintenance: &Session, database: &Database) -> Result<bool, Error> {
    let found = maintenance
        .query_opt("SELECT datconnlimit FROM pg_database WHERE oid = $1", &[&database.oid])
        .await
        .map_err(failed("look for the fence"))?;
    // A limit that is not 0 is no fence of ours.
    let is_fenced = found.is_some_and(|row| row.get::<_, i32>(0) == 0) && database.connection_limit != 0;
    if is_fenced {
        limit(maintenance, &database.name, database.connection_limit).await?;
    }
    Ok(is_fenced)
}

/// All grants went at once: where one is left, it was not the fence.
async fn let_in(maintenance: &Session, database: &Database) -> Result<bool, Error> {
    if !catalog::clients(maintenance, database.oid).await?.is_empty() {
        return Ok(false);
    }
    let statements: String = database
        .clients
        .iter()
        .map(|client| {
            let option = if client.may_grant { " WITH GRANT OPTION" } else { "" };
            format!("GRANT CONNECT ON DATABASE {} TO {}{option};", quoted(&database.name), grantee(client))
        })
        .collect();
    let what = format!("give CONNECT to database `{}` back", database.name);
    maintenance.batch_execute(&statements).await.map_err(failed(what))?;
    Ok(!statements.is_empty())
}

async fn limit(maintenance: &Session, database: &str, connections: i32) -> Result<(), Error> {
    let statement = format!("ALTER DATABASE {} CONNECTION LIMIT {connections}", quoted(database));
    maintenance.batch_execute(&statement).await.map_err(failed(format!("limit connections to database `{database}`")))
}

/// The process behind a session.
pub async fn process_id(session: &Session) -> Result<i32, Error> {
    let row = session.query_one("SELECT pg_backend_pid()", &[]).await.map_err(failed("ask for the process"))?;
    Ok(row.get(0))
}
