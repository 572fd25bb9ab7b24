//! The rows of two servers that nobody changes, side by side: each table once, and nothing is written.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::online::token;

use crate::compared::CHUNK_ROWS_MAX;
use crate::{Chunk, Compared, Key, text_of_key};

/// A table without a key is one statement, and so is the way back to where a call before this one was in a large table.
pub const STATEMENT_SECONDS: u32 = 200;
/// A function has 300 seconds.
const AFTER_WAY_BACK: Duration = Duration::from_secs(60);

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
    /// A hash of the last one's key, by which the next call sees that it is where this one was.
    pub end: String,
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
    /// Of the same columns.
    fn is_alike(source: &Self::Table, target: &Self::Table) -> bool;
    /// What comes behind that key.
    fn chunk(&mut self, table: &Self::Table, after: Option<&Key>) -> impl Future<Output = Result<Chunk, Error>>;
    /// The n-th row's, in the order of the key.
    fn key_at(&mut self, table: &Self::Table, number: i64) -> impl Future<Output = Result<Option<Key>, Error>>;
    /// How many rows there are, all of them equal.
    fn whole(&mut self, table: &Self::Table) -> impl Future<Output = Result<i64, Error>>;
    /// The keys of rows that only one side has, or that differ.
    fn differing(&mut self, table: &Self::Table, condition: &str)
    -> impl Future<Output = Result<BTreeSet<Key>, Error>>;
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
            place.end.clear();
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
                "table {table} is too large for a comparison here, where a statement has {STATEMENT_SECONDS} s (all \
                 rows are one where no primary key tells them apart): {said}"
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
    let place = place_of(sides);
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
        return Err(Error::DataDiffers(format!("{place}table {table}: other columns in the target")));
    }
    Ok(of_source)
}

/// As errors begin.
fn place_of<S: Sides>(sides: &S) -> String {
    match sides.database() {
        "" => String::new(),
        name => format!("database `{name}`: "),
    }
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
    let begun = Instant::now();
    let mut after = match place.rows_of_table {
        0 => None,
        rows => {
            let key = sides.key_at(table, rows).await?.filter(|key| token(&text_of_key(key)) == place.end);
            Some(key.ok_or_else(|| is_written_to(sides, table))?)
        }
    };
    // As long again as the way back took, so that no call ends where it began.
    let until = until.max(Instant::now() + begun.elapsed().min(AFTER_WAY_BACK));
    loop {
        let chunk = sides.chunk(table, after.as_ref()).await?;
        if !chunk.is_equal {
            return Err(difference(sides, table, &chunk).await?);
        }
        place.rows_of_table += chunk.rows;
        place.compared.rows += chunk.rows;
        let Some(end) = chunk.end else { return Ok(true) };
        place.end = token(&text_of_key(&end));
        after = Some(end);
        if Instant::now() >= until {
            return Ok(false);
        }
    }
}

async fn difference<S: Sides>(sides: &mut S, table: &S::Table, chunk: &Chunk) -> Result<Error, Error> {
    // Their keys would not fit into the function, and tell nobody more.
    if chunk.rows_of_target > chunk.rows + CHUNK_ROWS_MAX {
        return Ok(Error::DataDiffers(format!(
            "{}table {}: {} rows in the source and {} in the target, where {}",
            place_of(sides),
            S::name(table),
            chunk.rows,
            chunk.rows_of_target,
            chunk.condition
        )));
    }
    let keys = sides.differing(table, &chunk.condition).await?;
    Ok(if keys.is_empty() { is_written_to(sides, table) } else { sides.differs(table, &keys) })
}

fn is_written_to<S: Sides>(sides: &S, table: &S::Table) -> Error {
    Error::DataDiffers(format!(
        "{}table {}: somebody writes to it while it is compared; start again once nobody does",
        place_of(sides),
        S::name(table)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One table, by its keys.
    struct Rows {
        source: Vec<i64>,
        target: Vec<i64>,
        way_back: Duration,
    }

    impl Sides for Rows {
        type Table = ();
        const TOO_LONG: &'static str = "57014";

        fn database(&self) -> &str {
            "app"
        }

        async fn tables(&mut self) -> Result<[Vec<()>; 2], Error> {
            Ok([vec![()], vec![()]])
        }

        fn name((): &()) -> String {
            "t".to_owned()
        }

        fn has_key((): &()) -> bool {
            true
        }

        fn is_alike((): &(), (): &()) -> bool {
            true
        }

        /// Two rows of the source.
        async fn chunk(&mut self, (): &(), after: Option<&Key>) -> Result<Chunk, Error> {
            let after = after.map_or(0, |key| key[0].parse().expect("a number"));
            let of_source: Vec<i64> = self.source.iter().filter(|key| **key > after).take(2).copied().collect();
            let end = (of_source.len() == 2).then(|| of_source[1]);
            let is_in = |key: &&i64| **key > after && end.is_none_or(|end| **key <= end);
            let of_target: Vec<i64> = self.target.iter().filter(is_in).copied().collect();
            Ok(Chunk {
                end: end.map(|end| vec![end.to_string()]),
                rows: of_source.len().try_into().expect("few"),
                rows_of_target: of_target.len().try_into().expect("few"),
                is_equal: of_source == of_target,
                condition: format!("id > {after}"),
            })
        }

        async fn key_at(&mut self, (): &(), number: i64) -> Result<Option<Key>, Error> {
            std::thread::sleep(self.way_back);
            let place: usize = number.try_into().expect("a place");
            Ok(self.source.get(place - 1).map(|key| vec![key.to_string()]))
        }

        async fn whole(&mut self, (): &()) -> Result<i64, Error> {
            unreachable!("it has a key")
        }

        async fn differing(&mut self, (): &(), _: &str) -> Result<BTreeSet<Key>, Error> {
            assert!(self.target.len() < 10_000, "they do not fit");
            let [source, target] = [&self.source, &self.target].map(|keys| keys.iter().collect::<BTreeSet<_>>());
            Ok(source.symmetric_difference(&target).map(|key| vec![key.to_string()]).collect())
        }

        fn differs(&self, (): &(), keys: &BTreeSet<Key>) -> Error {
            Error::DataDiffers(format!("{keys:?}"))
        }
    }

    fn rows(source: impl IntoIterator<Item = i64>, target: impl IntoIterator<Item = i64>) -> Rows {
        let [source, target] = [source.into_iter().collect(), target.into_iter().collect()];
        Rows { source, target, way_back: Duration::ZERO }
    }

    #[tokio::test]
    async fn a_call_goes_on_where_the_one_before_it_was_and_comes_further_than_back() {
        for (way_back, calls_max) in [(0, 50), (50, 25)] {
            let mut sides = Rows { way_back: Duration::from_millis(way_back), ..rows(1..=99, 1..=99) };
            let (mut place, mut calls) = (Place::default(), 1);
            while !compare(&mut sides, &mut place, Instant::now()).await.expect("equal") {
                calls += 1;
            }
            assert_eq!((place.compared.tables, place.compared.rows), (1, 99));
            assert!((2..=calls_max).contains(&calls), "{calls} calls");
        }
    }

    #[tokio::test]
    async fn whoever_writes_behind_a_call_is_noticed_by_the_next() {
        let changed: [fn(&mut Vec<i64>); 3] =
            [|keys| keys.insert(0, 0), |keys| keys.retain(|key| *key > 1), Vec::clear];
        for change in changed {
            let (mut sides, mut place) = (rows(1..=9, 1..=9), Place::default());
            assert!(!compare(&mut sides, &mut place, Instant::now()).await.expect("equal"));
            change(&mut sides.source);
            let error = compare(&mut sides, &mut place, Instant::now()).await.expect_err("another row");
            assert!(error.to_string().contains("database `app`: table t: somebody writes"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_difference_is_told_however_large_it_is() {
        for (mut sides, said) in [
            (rows([1, 2, 3], [1, 3]), "{[\"2\"]}"),
            (rows([], 1..=60_000), "table t: 0 rows in the source and 60000 in the target, where id > 0"),
        ] {
            let error = compare(&mut sides, &mut Place::default(), Instant::now()).await.expect_err(said);
            assert!(error.to_string().contains(said), "{error}");
        }
    }

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
