//! What AWS DMS needs of the databases: a role of its own, and a target whose foreign keys and triggers are away while
//! it writes table by table, since they would refuse rows or write some themselves.
//!
//! What is taken off the target is written down in the target, in the same transaction: it is encrypted as the target
//! is, no crash can come between, and it goes with the target. The source has all of it, too, and its schema is frozen.

use std::time::Instant;

use workflow::Error;

use crate::names::{Database, Names, literal, quoted};
use crate::{Session, catalog, failed, replication};

/// What the own role may do with every table [A107].
#[derive(Clone, Copy, Debug)]
pub enum Rights {
    Read,
    /// "Using a PostgreSQL database as a target" (AWS DMS User Guide) lists them.
    Write,
}

/// Lets the own role into a database. Repeated, it grants the same again.
pub async fn admit(session: &Session, database: &Database, names: &Names, rights: Rights) -> Result<(), Error> {
    replication::create_own(session, database, names).await?;
    let own = quoted(names.base());
    let (of_tables, of_own) = match rights {
        Rights::Read => ("SELECT", "USAGE"),
        // In the own schema are the control tables of AWS DMS [A106].
        Rights::Write => ("SELECT, INSERT, UPDATE, DELETE, TRUNCATE", "USAGE, CREATE"),
    };
    let tables = [catalog::tables_with_rows(session).await?, vec![names.marker()]].concat().join(", ");
    let schemas = catalog::schemas(session).await?.join(", ");
    // No default is changed: what is made later is no part of a frozen schema.
    let mut statements = format!("GRANT {of_tables} ON {tables} TO {own}; GRANT {of_own} ON SCHEMA {own} TO {own};");
    if !schemas.is_empty() {
        statements += &format!("GRANT USAGE ON SCHEMA {schemas} TO {own};");
    }
    session.batch_execute(&statements).await.map_err(failed(format!("let AWS DMS into database `{}`", database.name)))
}

/// Takes foreign keys off a target and switches its triggers off; returns how many of both. Repeated, it finds none.
pub async fn prepare(target: &Session, database: &Database, names: &Names) -> Result<usize, Error> {
    let what = || failed(format!("take the foreign keys and triggers of database `{}` away", database.name));
    let rows = target
        .query(
            "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', k.conrelid::regclass, k.conname),
                format('ALTER TABLE %s ADD CONSTRAINT %I %s%s', k.conrelid::regclass, k.conname,
                    pg_get_constraintdef(k.oid), CASE WHEN k.convalidated THEN ' NOT VALID' END)
                || format('; COMMENT ON CONSTRAINT %I ON %s IS %L', k.conname, k.conrelid::regclass,
                    obj_description(k.oid, 'pg_constraint')),
                CASE WHEN k.convalidated
                    THEN format('ALTER TABLE %s VALIDATE CONSTRAINT %I', k.conrelid::regclass, k.conname) END
             FROM pg_constraint k WHERE k.contype = 'f'
             UNION ALL
             SELECT format('ALTER TABLE %s DISABLE TRIGGER %I', t.tgrelid::regclass, t.tgname),
                format('ALTER TABLE %s ENABLE %s TRIGGER %I', t.tgrelid::regclass,
                    CASE t.tgenabled WHEN 'R' THEN 'REPLICA' WHEN 'A' THEN 'ALWAYS' END, t.tgname),
                NULL
             FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
             WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND c.relkind = 'r'",
            &[],
        )
        .await
        .map_err(what())?;
    let mut statements =
        format!("CREATE TABLE IF NOT EXISTS {} (put_back text NOT NULL, validate text);", names.definitions());
    for row in &rows {
        let (take_away, put_back, validate): (&str, &str, Option<&str>) = (row.get(0), row.get(1), row.get(2));
        let validate = validate.map_or("NULL".to_owned(), literal);
        statements +=
            &format!("INSERT INTO {} VALUES ({}, {validate}); {take_away};", names.definitions(), literal(put_back));
    }
    // One transaction.
    target.batch_execute(&statements).await.map_err(what())?;
    Ok(rows.len())
}

/// Puts back what [`prepare`] took away, all of it or nothing. Foreign keys hold for what is written from now on, and
/// the rows, which are the source's, are looked at later.
pub async fn put_back(target: &Session, database: &Database, names: &Names) -> Result<usize, Error> {
    let what = || failed(format!("put the foreign keys and triggers of database `{}` back", database.name));
    let statement = format!("SELECT put_back FROM {}", names.definitions());
    let rows = target.query(&statement, &[]).await.map_err(what())?;
    let statements: String = rows.iter().map(|row| format!("{};", row.get::<_, &str>(0))).collect();
    target.batch_execute(&statements).await.map_err(what())?;
    Ok(rows.len())
}

/// Has PostgreSQL look at the rows of the foreign keys, which locks no client out. What there is no time for is
/// returned, as the statement that does it, and so is what the rows, which are the source's, do not fit.
pub async fn validate(target: &Session, names: &Names, until: Instant) -> Result<Vec<String>, Error> {
    let what = || failed("validate the foreign keys");
    // Repeated, it may have gone with all that is ours.
    if !replication::exists(target, "pg_class WHERE oid = to_regclass($1)", &names.definitions()).await? {
        return Ok(vec![]);
    }
    let statement = format!("SELECT validate FROM {} WHERE validate IS NOT NULL ORDER BY 1", names.definitions());
    let mut left = vec![];
    for row in target.query(&statement, &[]).await.map_err(what())? {
        let statement: String = row.get(0);
        let time = until.saturating_duration_since(Instant::now());
        let limit = format!("SET statement_timeout = {}", time.as_millis().max(1));
        target.batch_execute(&limit).await.map_err(what())?;
        match target.batch_execute(&statement).await.map_err(failed(statement.clone())) {
            Ok(()) => {}
            Err(Error::DatabaseUnavailable(_)) => left.push(statement),
            Err(refused) => left.push(format!("{statement} -- {refused}")),
        }
    }
    target.batch_execute("RESET statement_timeout").await.map_err(what())?;
    Ok(left)
}

/// Fails if AWS DMS may log in no more: a cutover came to its last moments and no further, and the target has its
/// foreign keys and triggers back.
pub async fn is_admitted(maintenance: &Session, names: &Names) -> Result<(), Error> {
    let statement = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1 AND rolcanlogin)";
    let what = failed("look whether AWS DMS may log in");
    if maintenance.query_one(statement, &[&names.base()]).await.map_err(what)?.get(0) {
        return Ok(());
    }
    Err(Error::ReplicationFailed(format!(
        "the role {} of AWS DMS may not log in: a cutover ended right after it was shut out, or somebody did it; start again",
        names.base()
    )))
}

/// The slots that AWS DMS reads a database by, under names of its own.
pub async fn slots(source: &Session, names: &Names) -> Result<Vec<String>, Error> {
    let statement =
        "SELECT s.slot_name::text FROM pg_replication_slots s JOIN pg_stat_activity a ON a.pid = s.active_pid
        WHERE s.database = current_database() AND a.usename = $1";
    let rows = source.query(statement, &[&names.base()]).await.map_err(failed("look for the slot of AWS DMS"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// AWS DMS never comes back to this server: its endpoints name hosts, which the renames give to others.
pub async fn dismiss(session: &Session, names: &Names) -> Result<(), Error> {
    let what = || failed("shut AWS DMS out");
    session.batch_execute(&format!("ALTER ROLE {} NOLOGIN", quoted(names.base()))).await.map_err(what())?;
    session
        .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", &[&names.base()])
        .await
        .map_err(what())?;
    replication::take_rights(session, names).await
}
