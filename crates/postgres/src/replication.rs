//! Publication, slot and subscription: made, read and taken away again.
//!
//! A volume snapshot holds the replication slot and its log [A94]. So the order is publication, slot, snapshot; what
//! the slot tells on the copy is what the copy has, and the end of the longest common beginning of both slots is
//! where the copy goes on. Of a copy that came without the slot RDS says where its recovery ended [A96].

use std::collections::BTreeMap;
use std::time::Duration;

use databases::Server;
use postgres_protocol::password::scram_sha_256;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::types::PgLsn;
use workflow::Error;

use crate::names::{Database, Names, literal, quoted};
use crate::{Session, catalog, failed};

/// How far past the copy's last commit the source's slot is read.
const READ_AHEAD_BYTES: u64 = 1 << 20;
const SLOT_ATTEMPTS: u32 = 50;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);
/// Errors of a subscription that are taken for a connection that was lost, as long as it goes on after them.
const STOPS_FORGIVEN: i64 = 10;
/// The markers on either side of the snapshot: who has the one and lacks the other is a copy of a moment between them.
const PUBLISHED: &str = "published";
const SEEDING: &str = "seeding";

/// The role that the target logs in by, as yet without a password.
pub async fn create_role(maintenance: &Session, names: &Names) -> Result<(), Error> {
    let role = quoted(names.base());
    let exists = exists(maintenance, "pg_roles WHERE rolname = $1", names.base()).await?;
    let verb = if exists { "ALTER" } else { "CREATE" };
    // On RDS it is a role that gives the right to replicate; the attribute is a superuser's to give [A97].
    let on_rds = exists_role(maintenance, "rds_replication").await?;
    let attribute = if on_rds { "" } else { "REPLICATION" };
    let mut statement = format!("{verb} ROLE {role} LOGIN {attribute}");
    if on_rds {
        statement += &format!("; GRANT rds_replication TO {role}");
    }
    maintenance.batch_execute(&statement).await.map_err(failed(format!("make the role {role}")))
}

/// Gives it this one; the statement, and so no log, has but what the server stores of it.
pub async fn set_password(maintenance: &Session, names: &Names, password: &str) -> Result<(), Error> {
    let role = quoted(names.base());
    let verifier = scram_sha_256(password.as_bytes());
    let statement = format!("ALTER ROLE {role} PASSWORD {}", literal(&verifier));
    maintenance.batch_execute(&statement).await.map_err(failed(format!("give the role {role} its password")))
}

/// One by chance, from the server, which alone has a source of it that a function need not bring along.
pub async fn new_password(maintenance: &Session) -> Result<String, Error> {
    let statement = "SELECT gen_random_uuid()::text || gen_random_uuid()::text";
    Ok(maintenance.query_one(statement, &[]).await.map_err(failed("make a password"))?.get(0))
}

/// The marker's table, and the own role's way into the database.
pub async fn create_own(session: &Session, database: &Database, names: &Names) -> Result<(), Error> {
    let own = quoted(names.base());
    session
        .batch_execute(&format!(
            "CREATE SCHEMA IF NOT EXISTS {own};
             CREATE TABLE IF NOT EXISTS {} (id text PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
             GRANT CONNECT ON DATABASE {} TO {own}",
            names.marker(),
            quoted(&database.name),
        ))
        .await
        .map_err(failed(format!("make the marker's table in database `{}`", database.name)))
}

/// Publication and slot of one database, if they are not there yet.
pub async fn publish(session: &Session, database: &Database, names: &Names) -> Result<(), Error> {
    let own = quoted(names.base());
    let what = |what: &str| format!("{what} in database `{}`", database.name);
    create_own(session, database, names).await?;
    if !exists(session, "pg_publication WHERE pubname = $1", names.base()).await? {
        let tables = [catalog::tables(session).await?, vec![names.marker()]].concat().join(", ");
        session
            .batch_execute(&format!("CREATE PUBLICATION {own} FOR TABLE {tables}"))
            .await
            .map_err(failed(what("publish all tables")))?;
    }
    create_slot(session, database, &names.slot(database)).await?;
    mark(session, names, PUBLISHED).await?;
    Ok(())
}

/// A replication slot of one database, if it is not there yet.
pub async fn create_slot(session: &Session, database: &Database, slot: &str) -> Result<(), Error> {
    if exists(session, "pg_replication_slots WHERE slot_name = $1", slot).await? {
        return Ok(());
    }
    let what = format!(
        "make a replication slot, for which every running transaction has to end, in database `{}`",
        database.name
    );
    // That wait is one for a lock on each of them, and only the statement's own limit is to end it.
    session.batch_execute("SET lock_timeout = 0").await.map_err(failed(&what))?;
    session
        .execute("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", &[&slot])
        .await
        .map_err(failed(&what))?;
    session.batch_execute("RESET lock_timeout").await.map_err(failed(&what))
}

/// What became of a database's start.
pub struct Seeded {
    /// Where the copy goes on.
    pub start: PgLsn,
    /// How many commits of the slot the copy has.
    pub commits: usize,
    /// Whose word that is.
    pub told_by: &'static str,
}

/// Lets the target go on from where its copy ends. Repeated, it goes on with what is missing.
pub async fn seed(
    source: &Server,
    source_session: &Session,
    target_session: &Session,
    database: &Database,
    names: &Names,
    password: Option<&str>,
) -> Result<Option<Seeded>, Error> {
    let own = quoted(names.base());
    let slot = names.slot(database);
    let what = |what: &str| format!("{what} in database `{}`", database.name);
    let mut seeded = None;
    if is_subscribed(target_session, names).await? {
        refuse_stopped(target_session, database, names).await?;
    } else {
        let start = start(source_session, target_session, database, names).await?;
        source_session
            .execute("SELECT pg_replication_slot_advance($1, $2)", &[&slot, &start.start])
            .await
            .map_err(failed(what("advance the slot")))?;
        let password = password.ok_or_else(|| dropped(database))?;
        let connection = connection(source, source_session, database, names, password).await?;
        target_session
            .batch_execute(&format!(
                "CREATE SUBSCRIPTION {own} CONNECTION {} PUBLICATION {own} WITH (copy_data = false, create_slot = false, \
                 enabled = false, slot_name = {}, disable_on_error = true)",
                literal(&connection),
                quoted(&slot),
            ))
            .await
            .map_err(failed(what("subscribe")))?;
        seeded = Some(start);
    }
    // The inherited ones would hold the target's log back for ever.
    drop_slot(target_session, &slot).await?;
    target_session
        .batch_execute(&format!("DROP PUBLICATION IF EXISTS {own}; ALTER SUBSCRIPTION {own} ENABLE"))
        .await
        .map_err(failed(what("begin to replicate")))?;
    Ok(seeded)
}

/// Lets a subscription that there is log in by another password.
pub async fn reconnect(
    source: &Server,
    source_session: &Session,
    target_session: &Session,
    database: &Database,
    names: &Names,
    password: &str,
) -> Result<(), Error> {
    let connection = connection(source, source_session, database, names, password).await?;
    let statement = format!("ALTER SUBSCRIPTION {} CONNECTION {}", quoted(names.base()), literal(&connection));
    let what = format!("give the subscription in database `{}` its password", database.name);
    target_session.batch_execute(&statement).await.map_err(failed(what))
}

/// As a subscription takes it.
async fn connection(
    source: &Server,
    source_session: &Session,
    database: &Database,
    names: &Names,
    password: &str,
) -> Result<String, Error> {
    // Not a moment in clear if the server can do otherwise; the session that asks is itself encrypted.
    let ssl: String = source_session.query_one("SHOW ssl", &[]).await.map_err(failed("ask for TLS"))?.get(0);
    Ok(format!(
        "host={} port={} dbname={} user={} password={password} application_name=rds-encrypt sslmode={}",
        value(&source.host),
        source.port,
        value(&database.name),
        value(names.base()),
        if ssl == "on" { "require" } else { "disable" },
    ))
}

pub async fn is_subscribed(session: &Session, names: &Names) -> Result<bool, Error> {
    exists(session, "pg_subscription WHERE subname = $1 AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())", names.base()).await
}

fn dropped(database: &Database) -> Error {
    Error::ReplicationFailed(format!("database `{}`: the subscription is gone: somebody dropped it", database.name))
}

/// A subscription stops at every error, and a connection that is lost is one. So it is enabled again; what it cannot
/// apply it will stop at once more.
async fn refuse_stopped(target: &Session, database: &Database, names: &Names) -> Result<(), Error> {
    let Some(errors) = errors_of_stopped(target, database, names).await? else { return Ok(()) };
    if errors <= STOPS_FORGIVEN {
        target
            .batch_execute(&format!("ALTER SUBSCRIPTION {} ENABLE", quoted(names.base())))
            .await
            .map_err(failed("go on with the subscription"))?;
        for _ in 0..SLOT_ATTEMPTS {
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
            if errors_of_stopped(target, database, names).await?.is_some() {
                break;
            }
        }
        if errors_of_stopped(target, database, names).await?.is_none() {
            return Ok(());
        }
    }
    Err(Error::ReplicationFailed(format!(
        "database `{}`: the target could not apply a change and stopped (its PostgreSQL log says which): usually DDL, or a \
         row that somebody wrote on the target; start again",
        database.name
    )))
}

/// At how many errors the subscription is disabled, if it is.
async fn errors_of_stopped(target: &Session, database: &Database, names: &Names) -> Result<Option<i64>, Error> {
    let errors = target
        .query_opt(
            "SELECT s.subenabled, t.apply_error_count FROM pg_subscription s
             JOIN pg_stat_subscription_stats t ON t.subid = s.oid
             WHERE s.subname = $1 AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
            &[&names.base()],
        )
        .await
        .map_err(failed("look at the subscription"))?
        .ok_or_else(|| dropped(database))?;
    let (is_enabled, errors): (bool, i64) = (errors.get(0), errors.get(1));
    Ok((!is_enabled && errors > 0).then_some(errors))
}

/// How far the target is behind, in bytes of the source's log.
pub async fn lag(source: &Session, target: &Session, database: &Database, names: &Names) -> Result<i64, Error> {
    refuse_stopped(target, database, names).await?;
    let row = source
        .query_opt(
            "SELECT (pg_current_wal_lsn() - confirmed_flush_lsn)::bigint, coalesce(wal_status, 'lost') FROM pg_replication_slots
             WHERE slot_name = $1",
            &[&names.slot(database)],
        )
        .await
        .map_err(failed("look at the slot"))?;
    match row {
        Some(row) if row.get::<_, &str>(1) != "lost" => Ok(row.get(0)),
        _ => Err(Error::ReplicationFailed(format!(
            "database `{}`: the replication slot {} is gone or lost, so that changes are missing for ever; start again",
            database.name,
            names.slot(database)
        ))),
    }
}

/// Writes a row that the target must see; the place in the log behind it.
pub async fn mark(source: &Session, names: &Names, id: &str) -> Result<PgLsn, Error> {
    let statement = format!(
        "INSERT INTO {} (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET at = clock_timestamp() RETURNING pg_current_wal_insert_lsn()",
        names.marker()
    );
    Ok(source.query_one(&statement, &[&id]).await.map_err(failed("write the marker"))?.get(0))
}

pub async fn is_marked(target: &Session, names: &Names, id: &str) -> Result<bool, Error> {
    let statement = format!("SELECT EXISTS (SELECT FROM {} WHERE id = $1)", names.marker());
    Ok(target.query_one(&statement, &[&id]).await.map_err(failed("look for the marker"))?.get(0))
}

/// Ends the target's applying, so that the slot can be read.
pub async fn pause(target: &Session, names: &Names) -> Result<(), Error> {
    target
        .batch_execute(&format!("ALTER SUBSCRIPTION {} DISABLE", quoted(names.base())))
        .await
        .map_err(failed("pause the subscription"))
}

/// How many changes the slot holds behind a place in the log.
pub async fn changes_behind(source: &Session, database: &Database, names: &Names, place: PgLsn) -> Result<i64, Error> {
    let slot = names.slot(database);
    wait_until_idle(source, &slot).await?;
    // Insert, update, delete, truncate (PostgreSQL manual, "Logical Replication Message Formats").
    let statement = "SELECT count(*) FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL, 'proto_version', '1',
            'publication_names', $2) WHERE get_byte(data, 0) IN (73, 85, 68, 84) AND lsn >= $3";
    let row =
        source.query_one(statement, &[&slot, &names.base(), &place]).await.map_err(failed("read the slot's end"))?;
    Ok(row.get(0))
}

/// Ends the subscription of a database. Its slot is the source's, which lets nobody in any more.
pub async fn unsubscribe(session: &Session, names: &Names) -> Result<(), Error> {
    if !is_subscribed(session, names).await? {
        return Ok(());
    }
    let own = quoted(names.base());
    for statement in
        ["ALTER SUBSCRIPTION own DISABLE", "ALTER SUBSCRIPTION own SET (slot_name = NONE)", "DROP SUBSCRIPTION own"]
    {
        // One by one: DROP SUBSCRIPTION and its kin do not go into one implicit transaction.
        let statement = statement.replace("own", &own);
        session.batch_execute(&statement).await.map_err(failed("end the subscription"))?;
    }
    Ok(())
}

/// Publications, marker, the comparison's memory and grants of one database.
pub async fn drop_own(session: &Session, names: &Names) -> Result<(), Error> {
    let own = quoted(names.base());
    let of_comparison = quoted(&names.comparison());
    session
        .batch_execute(&format!(
            "DROP PUBLICATION IF EXISTS {own}, {of_comparison}; DROP SCHEMA IF EXISTS {own} CASCADE"
        ))
        .await
        .map_err(failed("drop the publication"))?;
    take_rights(session, names).await
}

/// What the own role was granted in one database.
pub async fn take_rights(session: &Session, names: &Names) -> Result<(), Error> {
    let what = || failed(format!("take the rights of {} away", names.base()));
    let granted = session
        .query(
            "SELECT format('REVOKE ALL ON %I.%I FROM %I;', n.nspname, c.relname, $1::text)
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE EXISTS (SELECT FROM aclexplode(c.relacl) WHERE grantee = (SELECT oid FROM pg_roles WHERE rolname = $1::text))
             UNION ALL
             SELECT format('REVOKE ALL ON SCHEMA %I FROM %I;', n.nspname, $1::text) FROM pg_namespace n
             WHERE EXISTS (SELECT FROM aclexplode(n.nspacl) WHERE grantee = (SELECT oid FROM pg_roles WHERE rolname = $1::text))",
            &[&names.base()],
        )
        .await
        .map_err(what())?;
    let statements: String = granted.iter().map(|row| row.get::<_, String>(0)).collect();
    session.batch_execute(&statements).await.map_err(what())
}

pub async fn drop_role(maintenance: &Session, databases: &[Database], names: &Names) -> Result<(), Error> {
    if !exists_role(maintenance, names.base()).await? {
        return Ok(());
    }
    let own = quoted(names.base());
    for database in databases {
        maintenance
            .batch_execute(&format!("REVOKE CONNECT ON DATABASE {} FROM {own}", quoted(&database.name)))
            .await
            .map_err(failed("take the role's right away"))?;
    }
    maintenance.batch_execute(&format!("DROP ROLE {own}")).await.map_err(failed(format!("drop the role {own}")))
}

/// Also one that is in use.
pub async fn drop_slot(session: &Session, slot: &str) -> Result<(), Error> {
    let what = || format!("drop the replication slot {slot}");
    for attempt in 0..SLOT_ATTEMPTS {
        session
            .execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active_pid IS NOT NULL",
                &[&slot],
            )
            .await
            .map_err(failed(what()))?;
        let dropped = session
            .execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1",
                &[&slot],
            )
            .await
            .map_err(failed(what()));
        match dropped {
            Err(Error::DatabaseUnavailable(_)) if attempt + 1 < SLOT_ATTEMPTS => {
                tokio::time::sleep(BETWEEN_ATTEMPTS).await
            }
            result => return result.map(|_| ()),
        }
    }
    Ok(())
}

async fn wait_until_idle(session: &Session, slot: &str) -> Result<(), Error> {
    for _ in 0..SLOT_ATTEMPTS {
        if !exists(session, "pg_replication_slots WHERE slot_name = $1 AND active", slot).await? {
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_ATTEMPTS / 10).await;
    }
    Err(Error::DatabaseUnavailable(format!("the replication slot {slot} is still in use")))
}

/// A transaction, as the slot tells it.
#[derive(Debug, Eq, PartialEq)]
struct Commit {
    transaction: u32,
    committed: u64,
    end: u64,
    at: i64,
}

/// The place from which the copy goes on.
async fn start(source: &Session, target: &Session, database: &Database, names: &Names) -> Result<Seeded, Error> {
    let slot = names.slot(database);
    let inherited = target
        .query_opt("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = $1", &[&slot])
        .await
        .map_err(failed("look for the inherited slot"))?;
    let confirmed: Option<PgLsn> = source
        .query_opt("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = $1", &[&slot])
        .await
        .map_err(failed("look at the slot"))?
        .map(|row| row.get(0));
    let Some(inherited) = inherited else { return told_by_rds(source, target, database, names, confirmed).await };
    let inherited: PgLsn = inherited.get(0);
    // Nobody else reads it: an earlier call came so far.
    if let Some(start) = confirmed.filter(|confirmed| *confirmed > inherited) {
        return Ok(Seeded { start, commits: 0, told_by: "its slot, earlier" });
    }
    let has = commits(target, &slot, names, None).await?;
    let upto = has.last().map(|commit| PgLsn::from(commit.end + READ_AHEAD_BYTES));
    let told = commits(source, &slot, names, upto).await?;
    let common = has.iter().zip(&told).take_while(|(one, other)| one == other).count();
    // The copy's own commits come behind, and are none of the source's.
    if has[common..].iter().any(|own| told.contains(own)) {
        return Err(Error::ReplicationFailed(format!(
            "database `{}`: the copy does not hold a beginning of the source's transactions; start again",
            database.name
        )));
    }
    let start = match common.checked_sub(1) {
        Some(last) => PgLsn::from(has[last].end),
        None => inherited,
    };
    Ok(Seeded { start, commits: common, told_by: "its slot" })
}

/// The same for a copy that came without the slot [A94]. What RDS says is believed only between the two markers; the
/// comparison of all rows before the outage proves it.
async fn told_by_rds(
    source: &Session,
    target: &Session,
    database: &Database,
    names: &Names,
    confirmed: Option<PgLsn>,
) -> Result<Seeded, Error> {
    let told_by = "rds_tools.logical_seed_lsn()";
    let refused = |why: String| {
        Error::ReplicationFailed(format!(
            "database `{}`: the restored copy has no slot {}, and {why}, so that nobody can say where it goes on; \
             encrypt this instance by \"engine\": \"dms\", or by encrypt-blue-green",
            database.name,
            names.slot(database)
        ))
    };
    // The extension is RDS's own, and is not to stay.
    let asked = "BEGIN; CREATE EXTENSION IF NOT EXISTS rds_tools; SELECT rds_tools.logical_seed_lsn(); ROLLBACK";
    let answer = target.simple_query(asked).await.map_err(failed("ask RDS for the end of the copy's recovery"));
    let answer = match answer {
        Err(Error::DatabaseRefused(why)) => return Err(refused(format!("RDS does not tell ({why})"))),
        answer => answer?,
    };
    let place = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse::<PgLsn>().ok(),
        _ => None,
    });
    let place = place.ok_or_else(|| refused("rds_tools.logical_seed_lsn() tells nothing".to_owned()))?;
    if confirmed == Some(place) {
        return Ok(Seeded { start: place, commits: 0, told_by });
    }
    let lacked = mark(source, names, SEEDING).await?;
    let has = target
        .query(&format!("SELECT id, xmin::text::bigint FROM {}", names.marker()), &[])
        .await
        .map_err(failed("look for the markers"))?;
    let has: BTreeMap<String, i64> = has.iter().map(|row| (row.get(0), row.get(1))).collect();
    let upto = PgLsn::from(u64::from(place).saturating_add(READ_AHEAD_BYTES));
    let told = commits(source, &names.slot(database), names, Some(upto)).await?;
    let copied: Vec<&Commit> = told.iter().take_while(|commit| commit.end <= u64::from(place)).collect();
    let is_behind = copied.iter().any(|commit| has.get(PUBLISHED) == Some(&i64::from(commit.transaction)));
    if !is_behind || place >= lacked || has.contains_key(SEEDING) {
        return Err(refused(format!("{place}, which RDS names, is not between the markers around the snapshot")));
    }
    Ok(Seeded { start: place, commits: copied.len(), told_by })
}

/// The transactions that a slot holds, in the order of their commits; it is not moved.
async fn commits(session: &Session, slot: &str, names: &Names, upto: Option<PgLsn>) -> Result<Vec<Commit>, Error> {
    // Only begins (B) and commits (C) cross the wire.
    let statement = "SELECT data FROM pg_logical_slot_peek_binary_changes($1, $2, NULL, 'proto_version', '1',
            'publication_names', $3) WHERE get_byte(data, 0) IN (66, 67)";
    let rows = session.query(statement, &[&slot, &upto, &names.base()]).await.map_err(failed("read the slot"))?;
    let mut transaction = 0;
    let mut commits = vec![];
    for row in rows {
        match Message::read(row.get(0)) {
            Some(Message::Begin { transaction: begun }) => transaction = begun,
            Some(Message::Commit { committed, end, at }) => commits.push(Commit { transaction, committed, end, at }),
            None => return Err(Error::ReplicationFailed("the slot tells what pgoutput does not write".to_owned())),
        }
    }
    Ok(commits)
}

/// PostgreSQL manual, "Logical Replication Message Formats".
#[derive(Debug, PartialEq)]
enum Message {
    Begin { transaction: u32 },
    Commit { committed: u64, end: u64, at: i64 },
}

impl Message {
    fn read(data: &[u8]) -> Option<Self> {
        let number = |from: usize| Some(u64::from_be_bytes(data.get(from..from + 8)?.try_into().ok()?));
        match data.first()? {
            b'B' => Some(Self::Begin { transaction: u32::from_be_bytes(data.get(17..21)?.try_into().ok()?) }),
            b'C' => Some(Self::Commit { committed: number(2)?, end: number(10)?, at: number(18)?.cast_signed() }),
            _ => None,
        }
    }
}

async fn exists_role(session: &Session, role: &str) -> Result<bool, Error> {
    exists(session, "pg_roles WHERE rolname = $1", role).await
}

pub(crate) async fn exists(session: &Session, of: &str, name: &str) -> Result<bool, Error> {
    let statement = format!("SELECT EXISTS (SELECT FROM {of})");
    Ok(session.query_one(&statement, &[&name]).await.map_err(failed(format!("look for {name}")))?.get(0))
}

/// A value of a connection string (libpq).
fn value(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_and_commits_are_read_as_the_manual_lays_them_out() {
        let mut begin = vec![b'B'];
        begin.extend(7_u64.to_be_bytes());
        begin.extend(1_i64.to_be_bytes());
        begin.extend(42_u32.to_be_bytes());
        assert_eq!(Message::read(&begin), Some(Message::Begin { transaction: 42 }));
        let mut commit = vec![b'C', 0];
        commit.extend(7_u64.to_be_bytes());
        commit.extend(9_u64.to_be_bytes());
        commit.extend((-5_i64).to_be_bytes());
        assert_eq!(Message::read(&commit), Some(Message::Commit { committed: 7, end: 9, at: -5 }));
        assert_eq!(Message::read(&commit[..20]), None);
        assert_eq!(Message::read(b""), None);
    }

    #[test]
    fn a_connection_string_survives_every_name() {
        assert_eq!(value("it's a \\ name"), "'it\\'s a \\\\ name'");
    }
}
