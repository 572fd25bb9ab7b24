//! The rows of two servers that nobody changes, side by side: each table once, and nothing is written.

use std::time::Instant;

use databases::{Compared, Server};
use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;
use workflow::Error;

use crate::names::MAINTENANCE;
use crate::rows::{Sides, Table};
use crate::{Open, Session, catalog, failed};

/// A table without a key is one statement, and so is the way back to where a call before this one was in a large table.
const SETTINGS: &str = "SET statement_timeout = '200s'; SET default_transaction_read_only = on";

/// How far it came, in the order of the names' bytes. It counts rows, since keys do not belong into the state.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub database: String,
    /// As SQL takes it; empty before the first one.
    pub table: String,
    pub rows_of_table: i64,
    pub is_table_done: bool,
    /// Of what is done, this table included.
    pub compared: Compared,
}

/// What one side has to be compared.
#[derive(Debug, Default, Serialize)]
pub struct Preflight {
    pub tables: usize,
    /// By PostgreSQL's own estimate.
    pub rows_estimated: i64,
}

/// Logs in to all databases, and names everything that the login may not read: hours may be over when it is its turn.
pub async fn preflight(server: &Server) -> Result<Preflight, Error> {
    let (mut found, mut problems) = (Preflight::default(), vec![]);
    for database in catalog::all_databases(&server.open(MAINTENANCE).await?).await? {
        let session = server.open(&database).await?;
        problems.extend(catalog::problems_of_comparison(&session, &database).await?);
        let tables = catalog::compared_tables(&session).await?;
        found.tables += tables.len();
        found.rows_estimated += tables.iter().map(|table| table.rows).sum::<i64>();
    }
    if problems.is_empty() {
        return Ok(found);
    }
    Err(Error::DatabaseNotUsable(format!("{} cannot be compared as it is:\n- {}", server.what, problems.join("\n- "))))
}

/// Goes on until then; whether it came to the end.
pub async fn compare(
    database: &str,
    source: &Session,
    target: &Session,
    place: &mut Place,
    until: Instant,
) -> Result<bool, Error> {
    if place.database != database {
        *place = Place { database: database.to_owned(), compared: place.compared.clone(), ..Place::default() };
    }
    for side in [source, target] {
        side.batch_execute(SETTINGS).await.map_err(failed("prepare the comparison"))?;
    }
    let sides = Sides { database, source, target };
    for table in tables(&sides).await? {
        if table.name < place.table || table.name == place.table && place.is_table_done {
            continue;
        }
        if table.name != place.table {
            place.table.clone_from(&table.name);
            (place.rows_of_table, place.is_table_done) = (0, false);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        let is_done =
            compare_table(&sides, &table, place, until).await.map_err(|error| for_good(error, &table.name))?;
        if !is_done {
            return Ok(false);
        }
        place.is_table_done = true;
        place.compared.tables += 1;
    }
    Ok(true)
}

/// A statement that was canceled for its time will be so again, and each time takes as long.
fn for_good(error: Error, table: &str) -> Error {
    match error {
        Error::DatabaseUnavailable(said) if said.ends_with(&format!("({})", SqlState::QUERY_CANCELED.code())) => {
            Error::DatabaseRefused(format!(
                "table {table} is too large for a comparison here, where a statement has 200 s (of a table without a \
                 primary key all rows are one): {said}"
            ))
        }
        other => other,
    }
}

/// Both have the same.
async fn tables(sides: &Sides<'_>) -> Result<Vec<Table>, Error> {
    let (mut tables, of_target) =
        tokio::try_join!(catalog::compared_tables(sides.source), catalog::compared_tables(sides.target))?;
    tables.sort_by(|one, other| one.name.cmp(&other.name));
    let lacks = |one: &[Table], other: &[Table]| {
        let name = one.iter().map(|table| &table.name).find(|name| other.iter().all(|table| table.name != **name));
        name.cloned()
    };
    let only = [("source", lacks(&tables, &of_target)), ("target", lacks(&of_target, &tables))];
    for (side, table) in only {
        if let Some(table) = table {
            let database = sides.database;
            return Err(Error::DataDiffers(format!("database `{database}`: only the {side} has the table {table}")));
        }
    }
    Ok(tables)
}

async fn compare_table(sides: &Sides<'_>, table: &Table, place: &mut Place, until: Instant) -> Result<bool, Error> {
    if table.key.is_empty() {
        place.compared.rows += sides.compare_whole(table).await?;
        return Ok(true);
    }
    let mut after = match place.rows_of_table {
        0 => None,
        rows => sides.key_at(table, "true", rows).await?,
    };
    loop {
        let chunk = sides.compare_chunk(table, after.as_ref()).await?;
        if !chunk.differing.is_empty() {
            return Err(sides.differs(table, chunk.differing.iter()));
        }
        place.rows_of_table += chunk.rows;
        place.compared.rows += chunk.rows;
        if chunk.end.is_none() {
            return Ok(true);
        }
        after = chunk.end;
        if Instant::now() >= until {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_statement_that_took_too_long_is_not_tried_again() {
        let error = |said: &str| for_good(Error::DatabaseUnavailable(said.to_owned()), "public.t");
        let late = error("read public.t: canceling statement due to statement timeout (57014)");
        assert_eq!(late.name(), "DatabaseRefused");
        assert!(late.to_string().contains("public.t is too large"), "{late}");
        assert_eq!(error("read public.t: connection closed").name(), "DatabaseUnavailable");
        assert_eq!(error("read public.t: the database system is shutting down (57P01)").name(), "DatabaseUnavailable");
    }
}
