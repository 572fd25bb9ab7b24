//! The rows of two servers, side by side, while clients write: each table once in chunks of its primary key, and the
//! rows that change meanwhile again and again, until the outage is left with the few of its last seconds.
//!
//! How far it came stands in the target, in a schema of the run's own: the comparison may take hours, a function may not.
//!
//! Why that proves every row: a row that nobody changed on either side since the comparison began is as it was when its
//! chunk was compared, and one that somebody changed, here or there, a binary log has told. What a foreign key changes by
//! itself (CASCADE, SET NULL) no log tells: the target's, which are the same, do the same with the same rows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use databases::{CHANGED_ROWS_MAX, Compared, Look, Server, key_of_text, text_of_key};
use workflow::Error;

use crate::changes::{self, Noted, Of, Place};
use crate::rows::{self, Sides, Table, Values};
use crate::{Session, catalog, literal, own, quoted, replication};

/// Keys in one statement.
const KEYS_AT_ONCE: usize = 500;
const KEYS_A_PAGE: usize = 20_000;
/// A target that has not applied what the source had by then is behind, and is looked at later.
const LEVEL: Duration = Duration::from_secs(20);

/// What a log is read for at least: else what a look itself writes could be more.
const READING: Duration = Duration::from_secs(2);
/// Of a row that differs, at a target that is level.
const CHANCES: u32 = 4;

/// Both sides of a run.
pub struct Comparison<'a> {
    servers: [&'a Server; 2],
    sides: Sides<'a>,
    /// The schema that keeps how far it came.
    schema: String,
    tables: Vec<Table>,
    /// Whose writes on the target came by no replication.
    target_id: u32,
}

impl<'a> Comparison<'a> {
    /// Repeated, it goes on; the target's session must end with it.
    pub async fn begin(
        servers: [&'a Server; 2],
        source: &'a mut Session,
        target: &'a mut Session,
        execution: &str,
    ) -> Result<Self, Error> {
        // An invocation that was given up may still be at it, and would note what is no longer so.
        let name = own(execution);
        let lock = format!("SELECT GET_LOCK({}, 0)", literal(&name));
        if target.one::<Option<i64>>("lock the comparison", lock).await? != Some(1) {
            return Err(Error::DatabaseUnavailable("an earlier call still compares the rows".to_owned()));
        }
        let tables = catalog::tables(source).await?;
        let schema = quoted(&name);
        let exists = format!(
            "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = 'place'",
            literal(&name)
        );
        if target.one::<i64>("look for the comparison", exists).await? == 0 {
            let mut places = vec![];
            for (side, session) in [("source", &mut *source), ("target", &mut *target)] {
                let Place { file, position } = changes::end(session).await?.ok_or_else(|| {
                    Error::ReplicationFailed(format!("the {side} has no binary log: are its backups off?"))
                })?;
                places.push(format!("SELECT '{side}' AS side, {} AS file, {position} AS position", literal(&file)));
            }
            let what = "make the comparison's tables";
            for statement in [
                format!("CREATE SCHEMA IF NOT EXISTS {schema} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
                format!(
                    "CREATE OR REPLACE TABLE {schema}.compared (name VARCHAR(300) PRIMARY KEY, after TEXT,
                     row_count BIGINT NOT NULL, is_done BOOLEAN NOT NULL) ENGINE = InnoDB"
                ),
                format!(
                    "CREATE OR REPLACE TABLE {schema}.changed (name VARCHAR(300), hash CHAR(32), key_values TEXT NOT NULL,
                     PRIMARY KEY (name, hash)) ENGINE = InnoDB"
                ),
                // The last one: that it is there tells that all are.
                format!(
                    "CREATE OR REPLACE TABLE {schema}.place (side VARCHAR(10) PRIMARY KEY, file VARCHAR(500) NOT NULL,
                     position BIGINT UNSIGNED NOT NULL) ENGINE = InnoDB
                     {}",
                    places.join(" UNION ALL ")
                ),
            ] {
                target.run(what, statement).await?;
            }
        }
        let target_id = target.one("ask for the server id", "SELECT @@server_id").await?;
        Ok(Self { servers, sides: Sides { source, target }, schema, tables, target_id })
    }

    /// Goes on until then, and says how far it came.
    pub async fn look(&mut self, until: Instant) -> Result<Look, Error> {
        let is_whole = self.go_through(until).await?;
        let is_drained = self.drain(Some(until), None).await?;
        // What is equal by now is done with; only what is left, and little, is worth a verdict.
        self.changed_that_differ(Some(until)).await?;
        let is_level = is_drained && self.changed().await? <= CHANGED_ROWS_MAX && self.compare_again(until).await?;
        let done = self.progress().await?;
        let is_done = |table: &Table| done.get(&table.path()).is_some_and(|(_, is_done)| *is_done);
        Ok(Look {
            // A table can have been truncated meanwhile.
            is_whole: is_whole && self.keyed().all(|(_, table)| is_done(table)),
            is_level,
            tables: self.tables.len(),
            tables_compared: done.values().filter(|(_, is_done)| *is_done).count(),
            rows: done.values().map(|(rows, _)| rows).sum(),
            rows_estimated: self.keyed().map(|(_, table)| table.rows).sum(),
            changed: self.changed().await?,
        })
    }

    /// Behind the fence and level: what is left is little, and every row of it must be equal.
    pub async fn finish(&mut self) -> Result<Compared, Error> {
        self.drain(None, None).await?;
        if let Some((number, keys)) = self.changed_that_differ(None).await?.into_iter().next() {
            return Err(rows::differs(&self.tables[number], keys.iter()));
        }
        let done = self.progress().await?;
        let mut compared = Compared { tables: self.tables.len(), rows: 0 };
        for table in self.tables.clone() {
            compared.rows += match done.get(&table.path()) {
                Some((rows, true)) => *rows,
                _ => self.sides.compare_whole(&table).await?,
            };
        }
        Ok(compared)
    }

    /// With their places in the list.
    fn keyed(&self) -> impl Iterator<Item = (usize, &Table)> {
        self.tables.iter().enumerate().filter(|(_, table)| !table.key.is_empty())
    }

    /// Each table once, chunk by chunk; `false` if there is more to do.
    async fn go_through(&mut self, until: Instant) -> Result<bool, Error> {
        let keyed: Vec<(usize, Table)> = self.keyed().map(|(number, table)| (number, table.clone())).collect();
        for (number, table) in keyed {
            let statement = format!(
                "SELECT after, row_count, is_done FROM {}.compared WHERE name = {}",
                self.schema,
                literal(&table.path())
            );
            let known: Option<(Option<String>, i64, bool)> =
                self.sides.target.row("look where it was", statement).await?;
            let (mut after, mut rows, mut is_done) = known.unwrap_or_default();
            while !is_done {
                if Instant::now() >= until {
                    return Ok(false);
                }
                let from = after.as_deref().map(key_of_text).transpose()?;
                let chunk = self.sides.compare_chunk(&table, from.as_ref()).await?;
                if !chunk.is_equal {
                    // Most often since the target is a moment behind.
                    let differing = self.sides.differing(&table, &chunk.condition).await?;
                    self.note_keys(number, &differing).await?;
                }
                rows += chunk.rows;
                is_done = chunk.end.is_none();
                after = chunk.end.as_ref().map(|key| text_of_key(key));
                let statement = format!(
                    "REPLACE INTO {}.compared VALUES ({}, {}, {rows}, {is_done})",
                    self.schema,
                    literal(&table.path()),
                    after.as_deref().map_or("NULL".to_owned(), literal)
                );
                self.sides.target.run("note how far it came", statement).await?;
            }
        }
        Ok(true)
    }

    /// The rows that changed; `false` if the target is too far behind to tell. A row that differs although nobody has
    /// changed it since before the target was level will not be equal any more; but what a foreign key changes stands in
    /// no log, and can come between the two sides' answers, so that it has a few such chances.
    async fn compare_again(&mut self, until: Instant) -> Result<bool, Error> {
        let mut chances = CHANCES;
        loop {
            if !self.drain(Some(until), None).await? {
                return Ok(false);
            }
            let gtid = replication::gtid(self.sides.source).await?;
            if !replication::has_reached(self.sides.target, &gtid, LEVEL).await? {
                return Ok(false);
            }
            let differing = self.changed_that_differ(None).await?;
            let mut since = Noted::default();
            self.drain(None, Some(&mut since)).await?;
            let none = BTreeSet::new();
            let unchanged = differing.iter().find_map(|(number, keys)| {
                let noted = since.keys.get(number).unwrap_or(&none);
                let unchanged: Vec<&Values> = keys.difference(noted).collect();
                (!unchanged.is_empty() && !since.begun_again.contains(number)).then_some((*number, unchanged))
            });
            let Some((number, unchanged)) = unchanged else { return Ok(true) };
            chances -= 1;
            if chances == 0 {
                return Err(rows::differs(&self.tables[number], unchanged.into_iter()));
            }
        }
    }

    /// Takes from both sides' logs what has changed, and keeps it; `false` if there is more. In turns, so that neither
    /// waits for the other's end.
    async fn drain(&mut self, until: Option<Instant>, mut told: Option<&mut Noted>) -> Result<bool, Error> {
        let sides =
            [("source", self.servers[0], Of::Everybody), ("target", self.servers[1], Of::Server(self.target_id))];
        let mut is_drained = [false, false];
        while is_drained != [true, true] {
            for ((side, server, of), is_drained) in sides.into_iter().zip(&mut is_drained) {
                if *is_drained {
                    continue;
                }
                let statement = format!("SELECT file, position FROM {}.place WHERE side = '{side}'", self.schema);
                let (file, position) = self.sides.target.one("look where it was", statement).await?;
                let until = until.map(|until| until.max(Instant::now() + READING));
                let noted = changes::since(server, &Place { file, position }, &self.tables, of, until).await?;
                self.note(side, &noted).await?;
                *is_drained = noted.is_last;
                if let Some(told) = &mut told {
                    told.begun_again.extend(noted.begun_again);
                    for (number, keys) in noted.keys {
                        told.keys.entry(number).or_default().extend(keys);
                    }
                }
            }
            if is_drained != [true, true] && is_over(until) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn note(&mut self, side: &str, noted: &Noted) -> Result<(), Error> {
        for number in &noted.begun_again {
            let name = literal(&self.tables[*number].path());
            for table in ["compared", "changed"] {
                let statement = format!("DELETE FROM {}.{table} WHERE name = {name}", self.schema);
                self.sides.target.run("begin again", statement).await?;
            }
        }
        for (number, keys) in &noted.keys {
            self.note_keys(*number, keys).await?;
        }
        let Some(Place { file, position }) = &noted.place else { return Ok(()) };
        let statement = format!(
            "UPDATE {}.place SET file = {}, position = {position} WHERE side = '{side}'",
            self.schema,
            literal(file)
        );
        self.sides.target.run("note how far the log was read", statement).await
    }

    async fn note_keys(&mut self, number: usize, keys: &BTreeSet<Values>) -> Result<(), Error> {
        let name = literal(&self.tables[number].path());
        let keys: Vec<String> = keys.iter().map(|values| literal(&text_of_key(values))).collect();
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let rows: Vec<String> = keys.iter().map(|key| format!("({name}, MD5({key}), {key})")).collect();
            let statement = format!("INSERT IGNORE INTO {}.changed VALUES {}", self.schema, rows.join(", "));
            self.sides.target.run("note what has changed", statement).await?;
        }
        Ok(())
    }

    async fn changed(&mut self) -> Result<i64, Error> {
        let statement = format!("SELECT COUNT(*) FROM {}.changed", self.schema);
        self.sides.target.one("count the changed rows", statement).await
    }

    /// Of the rows that changed those that are not equal, by their tables' places; the others are done with.
    async fn changed_that_differ(&mut self, until: Option<Instant>) -> Result<Vec<(usize, BTreeSet<Values>)>, Error> {
        let mut all = vec![];
        let keyed: Vec<(usize, Table)> = self.keyed().map(|(number, table)| (number, table.clone())).collect();
        for (number, table) in keyed {
            let mut differing = BTreeSet::new();
            let mut after = String::new();
            while !is_over(until) {
                let Some(last) = self.compare_page(number, &table, &after, &mut differing).await? else { break };
                after = last;
            }
            if !differing.is_empty() {
                all.push((number, differing));
            }
        }
        Ok(all)
    }

    /// Of the changed rows' keys those behind `after`, in the order of their hashes; the last one's, unless there are none.
    async fn compare_page(
        &mut self,
        number: usize,
        table: &Table,
        after: &str,
        differing: &mut BTreeSet<Values>,
    ) -> Result<Option<String>, Error> {
        let name = literal(&table.path());
        let statement = format!(
            "SELECT hash, key_values FROM {}.changed WHERE name = {name} AND hash > {} ORDER BY hash LIMIT {KEYS_A_PAGE}",
            self.schema,
            literal(after)
        );
        let found: Vec<(String, String)> = self.sides.target.rows("go through the changed rows", statement).await?;
        for page in found.chunks(KEYS_AT_ONCE) {
            let keys: Vec<Values> = page.iter().map(|(_, text)| key_of_text(text)).collect::<Result<_, _>>()?;
            let differ = self.sides.differing(table, &table.among(&keys)).await?;
            // A collation can take two texts for one key: those that differ are noted as the rows have them, before
            // the others go.
            self.note_keys(number, &differ).await?;
            let equal: Vec<String> = page
                .iter()
                .zip(&keys)
                .filter(|(_, key)| !differ.contains(*key))
                .map(|((hash, _), _)| literal(hash))
                .collect();
            if !equal.is_empty() {
                let statement = format!(
                    "DELETE FROM {}.changed WHERE name = {name} AND hash IN ({})",
                    self.schema,
                    equal.join(", ")
                );
                self.sides.target.run("take away what is equal", statement).await?;
            }
            differing.extend(differ);
        }
        Ok(found.last().map(|(hash, _)| hash.clone()))
    }

    /// By table: how many rows were gone through, and whether that is all.
    async fn progress(&mut self) -> Result<BTreeMap<String, (i64, bool)>, Error> {
        let statement = format!("SELECT name, row_count, is_done FROM {}.compared", self.schema);
        let rows: Vec<(String, i64, bool)> = self.sides.target.rows("look how far it came", statement).await?;
        Ok(rows.into_iter().map(|(name, rows, is_done)| (name, (rows, is_done))).collect())
    }
}

fn is_over(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() >= until)
}
