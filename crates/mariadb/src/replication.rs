//! A target that goes on from exactly where its snapshot ends.
//!
//! A snapshot holds the source's binary log, and a server that recovers from it commits what that log has: so the last
//! GTID of the source's server in the copy's own `gtid_binlog_state` is where the copy ends [A112]. RDS writes into the
//! copy, too, but under the copy's server id [A113].

use std::time::{Duration, Instant};

use databases::{Schemas, Server};
use workflow::Error;

use crate::preflight::RETENTION;
use crate::{Session, account, literal, own};

/// Longest that RDS takes (User Guide, "mysql.rds_set_configuration").
const RETENTION_HOURS: u32 = 168;
/// Of `max_binlog_size`, which is what a whole file of the log has.
const LOG_FILE_BYTES: i64 = 128 << 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// Of no error.
const NONE: u32 = 0;
/// Errors of a client (MariaDB: CR_MIN_ERROR to CR_MAX_ERROR).
const OF_CONNECTIONS: std::ops::Range<u32> = 2000..3000;

/// Before the snapshot: an account to replicate by, which the copy has as well, and a log that is kept.
pub async fn publish(session: &mut Session, execution: &str) -> Result<(), Error> {
    let account = literal(&own(execution));
    // Nobody can log in by it yet.
    session
        .run(
            "make the account to replicate by",
            format!("CREATE USER IF NOT EXISTS {account} REQUIRE SSL ACCOUNT LOCK"),
        )
        .await?;
    session.run("let the account replicate", format!("GRANT REPLICATION SLAVE ON *.* TO {account}")).await?;
    keep_log(session, Some(RETENTION_HOURS)).await
}

async fn keep_log(session: &mut Session, hours: Option<u32>) -> Result<(), Error> {
    let hours = hours.map_or("NULL".to_owned(), |hours| hours.to_string());
    session.run("have the binary log kept", format!("CALL mysql.rds_set_configuration('{RETENTION}', {hours})")).await
}

/// Where the target went on, unless it follows already.
pub async fn seed(
    source: &Server,
    at_source: &mut Session,
    at_target: &mut Session,
    execution: &str,
) -> Result<Option<String>, Error> {
    if let Some(status) = status(at_target).await? {
        if status.has_stopped() {
            start_replication(at_target).await?;
        }
        return Ok(None);
    }
    let start = start(at_source, at_target).await?;
    let account = literal(&own(execution));
    let password: String = at_source.one("make a password", "SELECT LOWER(HEX(RANDOM_BYTES(24)))").await?;
    let statement =
        format!("ALTER USER {account} IDENTIFIED BY PASSWORD '{}' ACCOUNT UNLOCK", account::hash(&password));
    at_source.run("give the account a password", statement).await?;
    let statement = format!(
        "CALL mysql.rds_set_external_master_gtid({}, {}, {account}, '{password}', '{start}', 1)",
        literal(&source.host),
        source.port
    );
    // The copy's own later transactions are in the way of nothing [A115].
    at_target.run("tell the target what to follow", statement).await?;
    start_replication(at_target).await?;
    Ok(Some(start))
}

async fn start_replication(target: &mut Session) -> Result<(), Error> {
    target.run("let the target follow", "CALL mysql.rds_start_replication").await
}

/// The GTID after which the copy goes on.
async fn start(source: &mut Session, target: &mut Session) -> Result<String, Error> {
    const WHAT: &str = "read the GTIDs";
    let of_source: String = source.one(WHAT, "SELECT CONCAT(@@server_id, ' ', @@gtid_binlog_state)").await?;
    let of_target: String = target.one(WHAT, "SELECT CONCAT(@@server_id, ' ', @@gtid_binlog_state)").await?;
    start_of(&of_source, &of_target).map_err(|problem| {
        Error::ReplicationFailed(format!(
            "{problem}; a restored copy was expected to have the source's binary log: encrypt another way"
        ))
    })
}

/// Of both sides `‹server id› ‹gtid_binlog_state›`. In each domain the copy goes on behind the last GTID that the source
/// has as well; the source's own must be among them.
fn start_of(source: &str, target: &str) -> Result<String, String> {
    let parse = |text: &str| -> Option<(u64, Vec<[u64; 3]>)> {
        let (server, state) = text.split_once(' ')?;
        Some((server.parse().ok()?, gtids(state)?))
    };
    let unreadable = || "the GTIDs cannot be read".to_owned();
    let (source_id, of_source) = parse(source).ok_or_else(unreadable)?;
    let (target_id, of_target) = parse(target).ok_or_else(unreadable)?;
    if source_id == target_id {
        return Err(format!("both servers have the server id {source_id}, so that their transactions look alike"));
    }
    let is_of_source = |gtid: &&[u64; 3]| of_source.iter().any(|other| other[..2] == gtid[..2] && other[2] >= gtid[2]);
    if of_target.iter().any(|gtid| gtid[1] == source_id && !is_of_source(&gtid)) {
        return Err(format!("the copy has transactions that the source lacks (source: {source}, copy: {target})"));
    }
    if !of_target.iter().any(|gtid| gtid[1] == source_id) {
        return Err(format!("the copy knows no transaction of the source (its GTIDs are {target})"));
    }
    let mut domains: Vec<u64> = of_target.iter().map(|gtid| gtid[0]).collect();
    domains.sort_unstable();
    domains.dedup();
    let starts: Vec<String> = domains
        .into_iter()
        .filter_map(|domain| {
            let common =
                of_target.iter().filter(|gtid| gtid[0] == domain && gtid[1] != target_id && is_of_source(gtid));
            common.max_by_key(|gtid| gtid[2]).map(|[domain, server, number]| format!("{domain}-{server}-{number}"))
        })
        .collect();
    Ok(starts.join(","))
}

/// How the target follows.
pub struct Status {
    is_reading: bool,
    is_applying: bool,
    /// What stopped it, of one thread or the other, and what keeps it from the source.
    error: Option<String>,
    /// The error passes: the source was not reached.
    may_pass: bool,
    /// Up to where in the source's log it has come.
    file: String,
    position: i64,
}

impl Status {
    /// Neither by an error nor for the moment: nobody has started it, or somebody has stopped it.
    fn has_stopped(&self) -> bool {
        self.error.is_none() && !(self.is_reading && self.is_applying)
    }
}

/// `None` if it follows nobody.
pub async fn status(target: &mut Session) -> Result<Option<Status>, Error> {
    let row: Option<mysql_async::Row> = target.row("ask how the target follows", "SHOW SLAVE STATUS").await?;
    Ok(row.map(|row| {
        let text = |column: &str| row.get::<Option<String>, _>(column).flatten().unwrap_or_default();
        let number = |column: &str| row.get::<Option<u32>, _>(column).flatten().unwrap_or_default();
        let (applying, reading) = (number("Last_SQL_Errno"), number("Last_IO_Errno"));
        let error = match (applying, reading) {
            (NONE, NONE) => None,
            (NONE, _) => Some(format!("{} ({reading})", text("Last_IO_Error"))),
            _ => Some(format!("{} ({applying})", text("Last_SQL_Error"))),
        };
        Status {
            is_reading: text("Slave_IO_Running") != "No",
            is_applying: text("Slave_SQL_Running") == "Yes",
            error,
            may_pass: applying == NONE
                && (OF_CONNECTIONS.contains(&reading) || crate::session::PASSING.contains(&(reading as u16))),
            file: text("Relay_Master_Log_File"),
            position: row.get("Exec_Master_Log_Pos").unwrap_or_default(),
        }
    }))
}

/// How far the target is behind, in bytes of the source's binary log.
pub async fn lag(source: &mut Session, target: &mut Session) -> Result<i64, Error> {
    let status = status(target).await?.ok_or_else(|| {
        Error::ReplicationFailed(
            "the target follows nobody any more: somebody ended its replication; start again".to_owned(),
        )
    })?;
    if status.has_stopped() {
        start_replication(target).await?;
        return Err(Error::DatabaseUnavailable(
            "the target's replication had stopped; it was started again".to_owned(),
        ));
    }
    match &status.error {
        Some(error) if status.may_pass => {
            return Err(Error::DatabaseUnavailable(format!("the target does not reach the source: {error}")));
        }
        Some(error) => {
            return Err(Error::ReplicationFailed(format!(
                "the target could not read or apply a change and stopped, usually since somebody wrote on it; start again: \
                 {error}"
            )));
        }
        None => {}
    }
    let place: Option<mysql_async::Row> = source.row("ask where the binary log ends", "SHOW MASTER STATUS").await?;
    let (file, position): (String, i64) = place
        .and_then(|row| Some((row.get(0)?, row.get(1)?)))
        .ok_or_else(|| Error::ReplicationFailed("the source has no binary log any more".to_owned()))?;
    let number = |file: &str| file.rsplit('.').next().and_then(|number| number.parse::<i64>().ok());
    let files = match (number(&file), number(&status.file)) {
        (Some(last), Some(reached)) => last - reached,
        _ => 1,
    };
    Ok(files * LOG_FILE_BYTES + position - status.position)
}

/// Where the source's log ends, as a target is asked to wait for it.
pub async fn gtid(source: &mut Session) -> Result<String, Error> {
    source.one("read the last GTID", "SELECT @@GLOBAL.gtid_binlog_pos").await
}

/// Whether the target has applied all up to there in that time.
pub async fn has_reached(target: &mut Session, gtid: &str, time: Duration) -> Result<bool, Error> {
    let begun = Instant::now();
    // The binary log is ahead of what is committed; only who follows nobody has none but that.
    let follows = status(target).await?.is_some();
    let statement = if follows { "SELECT @@GLOBAL.gtid_slave_pos" } else { "SELECT @@GLOBAL.gtid_binlog_state" };
    loop {
        let reached: String = target.one("ask how far the target is", statement).await?;
        if has(&reached, gtid) {
            return Ok(true);
        }
        if begun.elapsed() > time {
            return Ok(false);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// Whether each of the GTIDs is among the others, or one that came later.
fn has(reached: &str, wanted: &str) -> bool {
    let (Some(reached), Some(wanted)) = (gtids(reached), gtids(wanted)) else { return false };
    wanted.iter().all(|gtid| reached.iter().any(|other| other[..2] == gtid[..2] && other[2] >= gtid[2]))
}

/// `0-7-120,1-7-3`: domain, server and number of each.
fn gtids(text: &str) -> Option<Vec<[u64; 3]>> {
    let gtids = text.split(',').map(str::trim).filter(|gtid| !gtid.is_empty());
    gtids
        .map(|gtid| {
            let parts: Option<Vec<u64>> = gtid.split('-').map(|part| part.parse().ok()).collect();
            parts?.try_into().ok()
        })
        .collect()
}

/// The target follows nobody any more.
pub async fn stand_alone(target: &mut Session) -> Result<(), Error> {
    if status(target).await?.is_none() {
        return Ok(());
    }
    target.run("stop the replication", "CALL mysql.rds_stop_replication").await?;
    target.run("forget whom the target followed", "CALL mysql.rds_reset_external_master").await
}

/// The account, and the log's retention as it was.
pub async fn unpublish(session: &mut Session, schemas: &Schemas, execution: &str) -> Result<(), Error> {
    drop_account(session, execution).await?;
    keep_log(session, schemas.binlog_retention_hours).await
}

pub async fn drop_account(session: &mut Session, execution: &str) -> Result<(), Error> {
    session.run("drop the account", format!("DROP USER IF EXISTS {}", literal(&own(execution)))).await
}

#[cfg(test)]
mod tests {
    use super::{has, start_of};

    #[test]
    fn a_copy_goes_on_behind_the_last_transaction_of_the_source_that_it_has() {
        // What RDS wrote into the copy, and what came to the source later.
        assert_eq!(start_of("7 0-7-120", "9 0-7-100,0-9-101").expect("a place"), "0-7-100");
        // A source that followed others once.
        assert_eq!(
            start_of("7 0-3-80,0-7-120,2-3-5", "9 0-3-80,0-7-100,2-3-5,0-9-101").expect("a place"),
            "0-7-100,2-3-5"
        );
    }

    #[test]
    fn a_copy_of_something_else_is_refused() {
        for (source, target, said) in [
            ("7 0-7-120", "9 0-9-4", "no transaction of the source"),
            ("7 0-7-120", "9 ", "no transaction of the source"),
            ("7 0-7-120", "9 0-7-121", "the source lacks"),
            ("7 1-7-120", "9 0-7-120", "the source lacks"),
            ("7 0-7-120", "7 0-7-100", "both servers have the server id 7"),
            ("7 0-7-120", "9 0-7", "cannot be read"),
        ] {
            let problem = start_of(source, target).expect_err(said);
            assert!(problem.contains(said), "{problem}");
        }
    }

    #[test]
    fn a_target_has_a_transaction_once_it_has_it_or_a_later_one_of_the_same_server() {
        assert!(has("0-7-120,", "0-7-120"));
        assert!(has("0-7-121,1-7-3,0-9-500", "0-7-120,1-7-3"));
        assert!(!has("0-7-119,0-9-500", "0-7-120"));
        assert!(!has("0-7-120", "0-7-120,1-7-3"));
    }
}
