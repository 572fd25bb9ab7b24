//! The rows of two servers that nobody changes, of all schemas.

use std::collections::BTreeSet;
use std::time::Instant;

use databases::still::{self, Place, Preflight, STATEMENT_SECONDS};
use databases::{Chunk, Key, Server};
use workflow::Error;

use crate::rows::{self, Sides, Table};
use crate::{catalog, open, preflight};

/// Logs in, and says what is needed to see every table.
pub async fn preflight(server: &Server) -> Result<Preflight, Error> {
    let mut session = open(server).await?;
    if let Some(version) = preflight::other_series(&mut session).await? {
        return Err(Error::DatabaseNotUsable(format!(
            "{} is of MariaDB {version}, and rows were compared with {} only",
            server.what,
            workflow::online::MARIADB_SERIES
        )));
    }
    // A table of which somebody has no privilege is not even listed to him.
    if !preflight::privileges(&mut session).await?.iter().any(|(privilege, _)| privilege == "SELECT") {
        return Err(Error::DatabaseNotUsable(format!(
            "{} cannot be compared as it is: the login may not read every table: GRANT SELECT ON *.* TO {}",
            server.what,
            preflight::login(&mut session).await?
        )));
    }
    let tables = catalog::tables(&mut session).await?;
    Ok(Preflight { tables: tables.len(), rows_estimated: tables.iter().map(|table| table.rows).sum() })
}

/// Goes on until then, but at least for a chunk; whether it came to the end.
pub async fn compare(source: &Server, target: &Server, place: &mut Place, until: Instant) -> Result<bool, Error> {
    let (mut source, mut target) = tokio::try_join!(open(source), open(target))?;
    for side in [&mut source, &mut target] {
        let settings = [
            format!("SET SESSION max_statement_time = {STATEMENT_SECONDS}"),
            "SET SESSION TRANSACTION READ ONLY".into(),
        ];
        for setting in settings {
            side.run("prepare the comparison", setting).await?;
        }
    }
    let (of_source, of_target) = tokio::try_join!(catalog::schemas(&mut source), catalog::schemas(&mut target))?;
    still::same_databases(of_source, &of_target)?;
    still::compare(&mut Sides { source: &mut source, target: &mut target }, place, until).await
}

impl still::Sides for Sides<'_> {
    type Table = Table;
    /// ER_STATEMENT_TIMEOUT
    const TOO_LONG: &'static str = "1969";

    fn database(&self) -> &str {
        ""
    }

    async fn tables(&mut self) -> Result<[Vec<Table>; 2], Error> {
        let (of_source, of_target) = tokio::try_join!(catalog::tables(self.source), catalog::tables(self.target))?;
        Ok([of_source, of_target])
    }

    fn name(table: &Table) -> String {
        table.path()
    }

    fn has_key(table: &Table) -> bool {
        !table.key.is_empty()
    }

    fn is_alike(source: &Table, target: &Table) -> bool {
        source.columns == target.columns
    }

    async fn chunk(&mut self, table: &Table, after: Option<&Key>) -> Result<Chunk, Error> {
        self.compare_chunk(table, after).await
    }

    async fn key_at(&mut self, table: &Table, number: i64) -> Result<Option<Key>, Error> {
        Sides::key_at(self, table, "TRUE", number).await
    }

    async fn whole(&mut self, table: &Table) -> Result<i64, Error> {
        self.compare_whole(table).await
    }

    async fn differing(&mut self, table: &Table, condition: &str) -> Result<BTreeSet<Key>, Error> {
        Sides::differing(self, table, condition).await
    }

    fn differs(&self, table: &Table, keys: &BTreeSet<Key>) -> Error {
        rows::differs(table, keys.iter())
    }
}
