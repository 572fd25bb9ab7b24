//! The fence: nobody but us writes to the source any more, until it is taken away again.
//!
//! Every account that could log in is locked, and the sessions that there are get ended until two looks find none.
//! `read_only` would not do: it is a parameter of a group that other instances may have, and whoever has READ_ONLY ADMIN
//! writes on. The locks are in the binary log, so that the target has them, too: nobody writes to it before it has the
//! name.

use std::time::{Duration, Instant};

use databases::{Schemas, Server};
use workflow::Error;

use crate::{Session, catalog, literal, own};

const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
const QUIET_LOOKS: u32 = 2;
/// Whose sessions nobody may end. Threads of the server bear names that accounts may have, too.
const OF_RDS: &str = "'rdsadmin', 'rdsrepladmin'";
/// MariaDB's error for a session that is gone already.
const NO_SUCH_THREAD: &str = "(1094)";

/// An account of no address, which is there while the fence is: what somebody else locks is theirs.
fn mark(execution: &str) -> String {
    format!("{}@'fence'", literal(&own(execution)))
}

pub async fn close(session: &mut Session, schemas: &Schemas, execution: &str) -> Result<(), Error> {
    let statement = format!("CREATE USER IF NOT EXISTS {} ACCOUNT LOCK", mark(execution));
    session.run("mark the fence", statement).await?;
    set(session, "lock the accounts", &schemas.accounts, "LOCK").await
}

async fn set(session: &mut Session, what: &str, accounts: &[String], state: &str) -> Result<(), Error> {
    if accounts.is_empty() {
        return Ok(());
    }
    session.run(what, format!("ALTER USER IF EXISTS {} ACCOUNT {state}", accounts.join(", "))).await
}

/// Ends clients' sessions until two looks in a row find none, but for the replication's. `spared`: ours.
///
/// Clients come back all the time, so that to wait for a moment without one could take for ever. Who still logs in and
/// began after a session that began behind the fence finds the locks: a session has its number before it has an account,
/// since the server's first packet tells it (MariaDB's "Connecting", client/server protocol).
pub async fn clear(
    server: &Server,
    session: &mut Session,
    execution: &str,
    spared: &[u32],
    until: Instant,
) -> Result<u64, Error> {
    let behind = crate::open(server).await?;
    let spared: Vec<String> = spared.iter().chain([&behind.id()]).map(u32::to_string).collect();
    let statement = format!(
        "SELECT ID, USER FROM information_schema.PROCESSLIST
         WHERE ID NOT IN ({}) AND NOT (COMMAND = 'Connect' AND ID > {}) AND BINARY USER NOT IN ({OF_RDS}, {})
            AND NOT (BINARY USER = 'system user' AND COMMAND LIKE 'Slave%')
            AND NOT (BINARY USER = 'event_scheduler' AND COMMAND = 'Daemon')",
        spared.join(", "),
        behind.id(),
        literal(&own(execution))
    );
    let (mut ended, mut quiet) = (0, 0);
    while quiet < QUIET_LOOKS {
        let found: Vec<(u64, String)> = session.rows("look for sessions", &statement).await?;
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        for (id, _) in &found {
            match session.run("end a session", format!("CALL mysql.rds_kill({id})")).await {
                Err(Error::DatabaseRefused(text)) if text.contains(NO_SUCH_THREAD) => {}
                outcome => outcome?,
            }
            ended += 1;
        }
        if Instant::now() > until {
            return Err(Error::DatabaseUnavailable(format!("{} sessions of clients do not end", found.len())));
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    let prepared: Vec<mysql_async::Row> = session.rows("look for prepared transactions", "XA RECOVER").await?;
    if prepared.is_empty() {
        return Ok(ended);
    }
    Err(Error::DatabaseUnavailable(format!(
        "{} prepared transactions, which no fence ends: commit or roll them back",
        prepared.len()
    )))
}

/// Lets in who could log in when the preflight looked, if there is a fence: whether there was.
pub async fn open(session: &mut Session, schemas: &Schemas, execution: &str) -> Result<bool, Error> {
    let statement =
        format!("SELECT COUNT(*) FROM mysql.global_priv WHERE User = {} AND Host = 'fence'", literal(&own(execution)));
    if session.one::<u64>("look for the fence", statement).await? == 0 {
        return Ok(false);
    }
    set(session, "unlock the accounts", &schemas.accounts, "UNLOCK").await?;
    session.run("take the fence's mark away", format!("DROP USER IF EXISTS {}", mark(execution))).await?;
    Ok(true)
}

/// Nobody but who is locked out could write.
pub async fn has_its_clients(session: &mut Session, schemas: &Schemas) -> Result<(), Error> {
    let events = catalog::running_events(session).await?;
    if !events.is_empty() {
        return Err(Error::SchemaChanged(format!(
            "the events {} run in the source, behind any fence: set event_scheduler to OFF, and start again",
            events.join(", ")
        )));
    }
    if catalog::accounts(session).await? == schemas.accounts {
        return Ok(());
    }
    Err(Error::SchemaChanged(
        "accounts of the source were made, dropped, locked or unlocked since the run began, so that its fence would not \
         fit; start again"
            .to_owned(),
    ))
}
