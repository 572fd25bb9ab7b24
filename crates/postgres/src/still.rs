//! The rows of two servers that nobody changes, database by database, each in its name's place.

use std::collections::BTreeSet;
use std::time::Instant;

use databases::still::{self, Place, Preflight, STATEMENT_SECONDS};
use databases::{Chunk, Key, Server};
use workflow::Error;

use crate::names::MAINTENANCE;
use crate::rows::{Sides, Table};
use crate::{Open, catalog, failed};

/// Logs in to all databases, and names everything that the login may not read: hours may be over when it is its turn.
pub async fn preflight(server: &Server) -> Result<Preflight, Error> {
    let (mut found, mut problems) = (Preflight::default(), vec![]);
    for database in databases(server).await? {
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

/// Goes on until then, but at least for a chunk; whether it came to the end.
pub async fn compare(source: &Server, target: &Server, place: &mut Place, until: Instant) -> Result<bool, Error> {
    let (of_source, of_target) = tokio::try_join!(databases(source), databases(target))?;
    let databases = still::same_databases(of_source, &of_target)?;
    let begun = place.compared.clone();
    let begin = databases.partition_point(|name| *name < place.database);
    for database in &databases[begin..] {
        if place.compared != begun && Instant::now() >= until {
            return Ok(false);
        }
        let (source, target) = tokio::try_join!(source.open(database), target.open(database))?;
        let settings =
            format!("SET statement_timeout = '{STATEMENT_SECONDS}s'; SET default_transaction_read_only = on");
        for side in [&source, &target] {
            side.batch_execute(&settings).await.map_err(failed("prepare the comparison"))?;
        }
        let mut sides = Sides { database, source: &source, target: &target };
        if !still::compare(&mut sides, place, until).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// In the order of their names' bytes.
async fn databases(server: &Server) -> Result<Vec<String>, Error> {
    catalog::all_databases(&server.open(MAINTENANCE).await?).await
}

impl still::Sides for Sides<'_> {
    type Table = Table;
    /// query_canceled
    const TOO_LONG: &'static str = "57014";

    fn database(&self) -> &str {
        self.database
    }

    async fn tables(&mut self) -> Result<[Vec<Table>; 2], Error> {
        let (of_source, of_target) =
            tokio::try_join!(catalog::compared_tables(self.source), catalog::compared_tables(self.target))?;
        Ok([of_source, of_target])
    }

    fn name(table: &Table) -> String {
        table.name.clone()
    }

    fn has_key(table: &Table) -> bool {
        !table.key.is_empty()
    }

    fn is_alike(source: &Table, target: &Table) -> bool {
        source.columns_hash == target.columns_hash
    }

    async fn chunk(&mut self, table: &Table, after: Option<&Key>) -> Result<Chunk, Error> {
        self.compare_chunk(table, after).await
    }

    async fn key_at(&mut self, table: &Table, number: i64) -> Result<Option<Key>, Error> {
        Sides::key_at(self, table, "true", number).await
    }

    async fn whole(&mut self, table: &Table) -> Result<i64, Error> {
        self.compare_whole(table).await
    }

    async fn differing(&mut self, table: &Table, condition: &str) -> Result<BTreeSet<Key>, Error> {
        Sides::differing(self, table, condition).await
    }

    fn differs(&self, table: &Table, keys: &BTreeSet<Key>) -> Error {
        Sides::differs(self, table, keys.iter())
    }
}
