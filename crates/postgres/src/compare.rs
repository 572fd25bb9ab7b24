//! The rows of two servers, side by side, while clients write: each table once in chunks of its primary key, and the
//! rows that change meanwhile again and again, until the outage is left with the few of its last seconds.
//!
//! How far it came stands in the target's own schema: the comparison may take hours, a function may not, and keys do
//! not belong into the state.
//!
//! Why that proves every row: a row that nobody changed on either side since the slots were made is as it was when its
//! chunk was compared, and one that somebody changed, here or there, a slot has told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use databases::{CHANGED_ROWS_MAX, Compared, Key, Look, key_of_text, text_of_key};
use workflow::Error;

use crate::changes::{self, Noted};
use crate::names::{Database, Names};
use crate::rows::{Sides, Table};
use crate::{Session, catalog, failed, replication};

/// Keys in one statement, and in memory.
const KEYS_AT_ONCE: usize = 1_000;
const KEYS_A_PAGE: i64 = 20_000;
/// A target that has not applied the marker by then is behind, and is looked at later.
const MARKER: Duration = Duration::from_secs(20);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Both sides of a database.
pub struct Comparison<'a> {
    database: &'a Database,
    sides: Sides<'a>,
    names: &'a Names,
    tables: Vec<Table>,
}

impl<'a> Comparison<'a> {
    /// Repeated, it goes on; the target's session must end with it.
    pub async fn begin(
        database: &'a Database,
        source: &'a Session,
        target: &'a Session,
        names: &'a Names,
    ) -> Result<Self, Error> {
        // An invocation that was given up may still be at it, and would note what is no longer so.
        let lock = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))";
        let is_alone = target.query_one(lock, &[&names.base()]).await.map_err(failed("lock the comparison"))?;
        if !is_alone.get::<_, bool>(0) {
            let name = &database.name;
            return Err(Error::DatabaseUnavailable(format!(
                "database `{name}`: an earlier call still compares its rows"
            )));
        }
        let tables = catalog::compared_tables(source).await?;
        // The tables tell that both slots were made.
        if !replication::exists(target, "pg_class WHERE oid = to_regclass($1)", &names.compared()).await? {
            for side in [source, target] {
                changes::watch(side, database, &tables, names).await?;
            }
            target
                .batch_execute(&format!(
                    "CREATE TABLE {changed} (oid oid NOT NULL, key text NOT NULL);
                     CREATE UNIQUE INDEX ON {changed} (oid, md5(key));
                     CREATE TABLE {compared} (oid oid PRIMARY KEY, after text, rows bigint NOT NULL,
                        done boolean NOT NULL)",
                    compared = names.compared(),
                    changed = names.changed(),
                ))
                .await
                .map_err(failed("make the comparison's tables"))?;
        }
        Ok(Self { database, sides: Sides { database: &database.name, source, target }, names, tables })
    }

    /// Goes on until then, and says how far it came.
    pub async fn look(&self, until: Instant) -> Result<Look, Error> {
        let is_whole = self.go_through(until).await?;
        let is_drained = self.drain(Some(until), None).await?;
        // What is equal by now is done with; only what is left, and little, is worth a verdict.
        self.changed_that_differ(Some(until)).await?;
        let is_level = is_drained && self.changed().await? <= CHANGED_ROWS_MAX && self.compare_again(until).await?;
        let done = self.done().await?;
        Ok(Look {
            // A table can have been truncated meanwhile.
            is_whole: is_whole && self.keyed().all(|table| done.contains_key(&table.oid)),
            is_level,
            tables: self.tables.len(),
            tables_compared: done.len(),
            rows: self.rows_compared().await?,
            rows_estimated: self.keyed().map(|table| table.rows).sum(),
            changed: self.changed().await?,
        })
    }

    /// Behind the fence and level: what is left is little, and every row of it must be equal.
    pub async fn finish(&self) -> Result<Compared, Error> {
        self.drain(None, None).await?;
        if let Some((table, keys)) = self.changed_that_differ(None).await?.into_iter().next() {
            return Err(self.sides.differs(table, keys.iter()));
        }
        let done = self.done().await?;
        let mut compared = Compared { tables: self.tables.len(), rows: done.values().sum() };
        for table in self.tables.iter().filter(|table| !done.contains_key(&table.oid)) {
            compared.rows += self.sides.compare_whole(table).await?;
        }
        Ok(compared)
    }

    fn keyed(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter().filter(|table| !table.key.is_empty())
    }

    /// Each table once, chunk by chunk; `false` if there is more to do.
    async fn go_through(&self, until: Instant) -> Result<bool, Error> {
        for table in self.keyed() {
            let statement = format!("SELECT after, rows, done FROM {} WHERE oid = $1", self.names.compared());
            let known =
                self.sides.target.query_opt(&statement, &[&table.oid]).await.map_err(failed("look where it was"))?;
            let (mut after, mut rows, mut done): (Option<String>, i64, bool) =
                known.map_or((None, 0, false), |row| (row.get(0), row.get(1), row.get(2)));
            while !done {
                if Instant::now() >= until {
                    return Ok(false);
                }
                let from = after.as_deref().map(key_of_text).transpose()?;
                let chunk = self.sides.compare_chunk(table, from.as_ref()).await?;
                if !chunk.is_equal {
                    // Most often since the target is a moment behind.
                    let differing = self.sides.differing(table, &chunk.condition).await?;
                    let keys = BTreeMap::from([(table.oid, differing)]);
                    self.note(&Noted { keys, ..Noted::default() }).await?;
                }
                rows += chunk.rows;
                done = chunk.end.is_none();
                after = chunk.end.as_ref().map(|key| text_of_key(key));
                let statement = format!(
                    "INSERT INTO {} VALUES ($1, $2, $3, $4) ON CONFLICT (oid) DO UPDATE
                     SET after = excluded.after, rows = excluded.rows, done = excluded.done",
                    self.names.compared()
                );
                let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&table.oid, &after, &rows, &done];
                self.sides.target.execute(&statement, &values).await.map_err(failed("note how far it came"))?;
            }
        }
        Ok(true)
    }

    /// The rows that changed; `false` if the target is too far behind to tell. A row that differs although nobody has
    /// changed it since before the target was level will not be equal any more.
    async fn compare_again(&self, until: Instant) -> Result<bool, Error> {
        if !self.drain(Some(until), None).await? {
            return Ok(false);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let id = format!("compared {now}");
        replication::mark(self.sides.source, self.names, &id).await?;
        let begun = Instant::now();
        while !replication::is_marked(self.sides.target, self.names, &id).await? {
            if begun.elapsed() > MARKER {
                return Ok(false);
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        let differing = self.changed_that_differ(None).await?;
        let mut since = Noted::default();
        self.drain(None, Some(&mut since)).await?;
        for (table, keys) in differing {
            let none = BTreeSet::new();
            let noted = since.keys.get(&table.oid).unwrap_or(&none);
            let mut unchanged = keys.difference(noted).peekable();
            if unchanged.peek().is_some() && !since.truncated.contains(&table.oid) {
                return Err(self.sides.differs(table, unchanged));
            }
        }
        Ok(true)
    }

    /// Takes from both sides' slots what has changed, and keeps it; `false` if there is more.
    async fn drain(&self, until: Option<Instant>, mut told: Option<&mut Noted>) -> Result<bool, Error> {
        for side in [self.sides.source, self.sides.target] {
            changes::flush(side).await?;
            loop {
                let step = changes::step(side, self.database, self.names).await?;
                let noted = changes::noted(side, self.database, &self.tables, self.names, &step).await?;
                self.note(&noted).await?;
                changes::forget(side, self.database, self.names, &step).await?;
                if let Some(told) = &mut told {
                    told.truncated.extend(noted.truncated);
                    for (oid, keys) in noted.keys {
                        told.keys.entry(oid).or_default().extend(keys);
                    }
                }
                if step.is_last {
                    break;
                }
                if is_over(until) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn note(&self, noted: &Noted) -> Result<(), Error> {
        let what = || failed("note what has changed");
        for oid in &noted.truncated {
            for table in [self.names.compared(), self.names.changed()] {
                let statement = format!("DELETE FROM {table} WHERE oid = $1");
                self.sides.target.execute(&statement, &[oid]).await.map_err(what())?;
            }
        }
        let statement = format!(
            "INSERT INTO {} SELECT $1, key FROM unnest($2::text[]) AS key ON CONFLICT DO NOTHING",
            self.names.changed()
        );
        for (oid, keys) in &noted.keys {
            let keys: Vec<String> = keys.iter().map(|key| text_of_key(key)).collect();
            for keys in keys.chunks(KEYS_AT_ONCE) {
                self.sides.target.execute(&statement, &[oid, &keys]).await.map_err(what())?;
            }
        }
        Ok(())
    }

    async fn changed(&self) -> Result<i64, Error> {
        let statement = format!("SELECT count(*) FROM {}", self.names.changed());
        Ok(self.sides.target.query_one(&statement, &[]).await.map_err(failed("count the changed rows"))?.get(0))
    }

    /// Of the rows that changed those that are not equal; the others are done with.
    async fn changed_that_differ(&self, until: Option<Instant>) -> Result<Vec<(&Table, BTreeSet<Key>)>, Error> {
        let mut all = vec![];
        for table in self.keyed() {
            let mut differing = BTreeSet::new();
            let mut after = String::new();
            while !is_over(until) {
                let Some(last) = self.compare_page(table, &after, &mut differing).await? else { break };
                after = last;
            }
            if !differing.is_empty() {
                all.push((table, differing));
            }
        }
        Ok(all)
    }

    /// Of the changed rows' keys those behind `after`, in the order of their hashes; the last one's, unless there are none.
    async fn compare_page(
        &self,
        table: &Table,
        after: &str,
        differing: &mut BTreeSet<Key>,
    ) -> Result<Option<String>, Error> {
        let what = || failed("go through the changed rows");
        let statement = format!(
            "SELECT key, md5(key) FROM {} WHERE oid = $1 AND md5(key) > $2 ORDER BY md5(key) LIMIT {KEYS_A_PAGE}",
            self.names.changed()
        );
        let rows = self.sides.target.query(&statement, &[&table.oid, &after]).await.map_err(what())?;
        let keys: Vec<Key> = rows.iter().map(|row| key_of_text(row.get(0))).collect::<Result<_, _>>()?;
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let values: Vec<String> = keys.iter().map(|key| table.values(key)).collect();
            let condition = format!("{} IN (VALUES {})", table.columns(), values.join(", "));
            let differ = self.sides.differing(table, &condition).await?;
            let equal: Vec<String> =
                keys.iter().filter(|key| !differ.contains(*key)).map(|key| text_of_key(key)).collect();
            let statement = format!(
                "DELETE FROM {} WHERE oid = $1 AND md5(key) IN (SELECT md5(key) FROM unnest($2::text[]) AS key)",
                self.names.changed()
            );
            self.sides.target.execute(&statement, &[&table.oid, &equal]).await.map_err(what())?;
            differing.extend(differ);
        }
        Ok(rows.last().map(|row| row.get(1)))
    }

    /// By table, with the rows in it, those that were gone through.
    async fn done(&self) -> Result<BTreeMap<u32, i64>, Error> {
        let statement = format!("SELECT oid, rows FROM {} WHERE done", self.names.compared());
        let rows = self.sides.target.query(&statement, &[]).await.map_err(failed("look how far it came"))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Those of a table that is being gone through, too.
    async fn rows_compared(&self) -> Result<i64, Error> {
        let statement = format!("SELECT coalesce(sum(rows), 0)::bigint FROM {}", self.names.compared());
        let row = self.sides.target.query_one(&statement, &[]).await.map_err(failed("look how far it came"))?;
        Ok(row.get(0))
    }
}

fn is_over(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() >= until)
}
