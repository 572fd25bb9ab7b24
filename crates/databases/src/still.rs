//! The rows of two servers that nobody changes, side by side: each table once, and nothing is written.

use std::collections::BTreeSet;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use workflow::Error;

use crate::{Chunk, Compared, Key};

/// A table without a key is one statement, and so is the way back to where a call before this one was in a large table.
pub const STATEMENT_SECONDS: u32 = 200;

/// What one side has to be compared.
#[derive(Debug, Default, Serialize)]
pub struct Preflight {
    pub tables: usize,
    /// By the server's own estimate.
    pub rows_estimated: i64,
}

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

/// Both sides, in the SQL of who made their servers.
pub trait Sides {
    type Table;
    /// The server's code for a statement that took too long.
    const TOO_LONG: &'static str;

    /// Of a server whose databases are compared one by one; else empty.
    fn database(&self) -> &str;
    /// All that holds rows, of the source and of the target.
    fn tables(&mut self) -> impl Future<Output = Result<[Vec<Self::Table>; 2], Error>>;
    /// As SQL takes it.
    fn name(table: &Self::Table) -> String;
    fn has_key(table: &Self::Table) -> bool;
    /// What both are compared by.
    fn is_alike(source: &Self::Table, target: &Self::Table) -> bool;
    /// What comes behind that key.
    fn chunk(&mut self, table: &Self::Table, after: Option<&Key>) -> impl Future<Output = Result<Chunk, Error>>;
    /// The n-th row's, in the order of the key.
    fn key_at(&mut self, table: &Self::Table, number: i64) -> impl Future<Output = Result<Option<Key>, Error>>;
    /// How many rows there are, all of them equal.
    fn whole(&mut self, table: &Self::Table) -> impl Future<Output = Result<i64, Error>>;
    fn differs(&self, table: &Self::Table, keys: &BTreeSet<Key>) -> Error;
}

/// Databases that only one side has are a difference, too; else their names.
pub fn same_databases(source: Vec<String>, target: &[String]) -> Result<Vec<String>, Error> {
    if source == target {
        return Ok(source);
    }
    Err(Error::DataDiffers(format!(
        "the source has the databases {}, and the target {}",
        source.join(", "),
        target.join(", ")
    )))
}

/// Goes on until then, but at least for a chunk; whether it came to the end.
pub async fn compare<S: Sides>(sides: &mut S, place: &mut Place, until: Instant) -> Result<bool, Error> {
    if place.database != sides.database() {
        *place = Place { database: sides.database().to_owned(), compared: place.compared.clone(), ..Place::default() };
    }
    let begun = place.compared.clone();
    for table in tables(sides).await? {
        let name = S::name(&table);
        if name < place.table || name == place.table && place.is_table_done {
            continue;
        }
        if name != place.table {
            place.table.clone_from(&name);
            (place.rows_of_table, place.is_table_done) = (0, false);
        }
        if place.compared != begun && Instant::now() >= until {
            return Ok(false);
        }
        let is_done = compare_table(sides, &table, place, until).await;
        if !is_done.map_err(|error| for_good(error, S::TOO_LONG, &name))? {
            return Ok(false);
        }
        place.is_table_done = true;
        place.compared.tables += 1;
    }
    Ok(true)
}

/// A statement that was ended for its time will be so again, and each time takes as long.
fn for_good(error: Error, too_long: &str, table: &str) -> Error {
    match error {
        Error::DatabaseUnavailable(said) if said.ends_with(&format!("({too_long})")) => {
            Error::DatabaseRefused(format!(
                "table {table} is too large for a comparison here, where a statement has {STATEMENT_SECONDS} s (of a table \
                 without a primary key all rows are one): {said}"
            ))
        }
        other => other,
    }
}

/// Both have the same.
async fn tables<S: Sides>(sides: &mut S) -> Result<Vec<S::Table>, Error> {
    let [mut of_source, mut of_target] = sides.tables().await?;
    for tables in [&mut of_source, &mut of_target] {
        tables.sort_by_key(S::name);
    }
    let place = match sides.database() {
        "" => String::new(),
        name => format!("database `{name}`: "),
    };
    let lacks = |one: &[S::Table], other: &[S::Table]| {
        let has = |name: &String| other.binary_search_by_key(name, S::name).is_ok();
        one.iter().map(S::name).find(|name| !has(name))
    };
    for (side, table) in [("source", lacks(&of_source, &of_target)), ("target", lacks(&of_target, &of_source))] {
        if let Some(table) = table {
            return Err(Error::DataDiffers(format!("{place}only the {side} has the table {table}")));
        }
    }
    let other = of_source.iter().zip(&of_target).find(|(one, other)| !S::is_alike(one, other));
    if let Some((table, _)) = other {
        let table = S::name(table);
        return Err(Error::DataDiffers(format!("{place}table {table}: other columns in the target, or another key")));
    }
    Ok(of_source)
}

async fn compare_table<S: Sides>(
    sides: &mut S,
    table: &S::Table,
    place: &mut Place,
    until: Instant,
) -> Result<bool, Error> {
    if !S::has_key(table) {
        place.compared.rows += sides.whole(table).await?;
        return Ok(true);
    }
    let mut after = match place.rows_of_table {
        0 => None,
        rows => sides.key_at(table, rows).await?,
    };
    loop {
        let chunk = sides.chunk(table, after.as_ref()).await?;
        if !chunk.differing.is_empty() {
            return Err(sides.differs(table, &chunk.differing));
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
        let error = |said: &str| for_good(Error::DatabaseUnavailable(said.to_owned()), "57014", "public.t");
        let late = error("read public.t: canceling statement due to statement timeout (57014)");
        assert_eq!(late.name(), "DatabaseRefused");
        assert!(late.to_string().contains("public.t is too large"), "{late}");
        assert_eq!(error("read public.t: connection closed").name(), "DatabaseUnavailable");
        assert_eq!(error("read public.t: the database system is shutting down (57P01)").name(), "DatabaseUnavailable");
    }
}
