//! Which rows change while they are compared: a publication and a slot on each side, besides those that replicate.
//!
//! On the source they tell what the target must still take over, on the target what anybody wrote there. Their rows are
//! the keys alone, where PostgreSQL lets a publication have columns.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;

use databases::Key;
use futures_util::TryStreamExt;
use tokio_postgres::types::{PgLsn, ToSql};
use workflow::Error;

use crate::names::{Database, Names, quoted};
use crate::rows::Table;
use crate::{Session, failed, replication};

/// Of a server's log; its keys fit into a function's memory, and the time into a statement's.
const STEP_BYTES: i64 = 16 << 20;

/// What a slot has told.
#[derive(Debug, Default)]
pub struct Noted {
    /// By the table's OID, which a physical copy shares with its source.
    pub keys: BTreeMap<u32, BTreeSet<Key>>,
    /// Every row of these may have changed.
    pub truncated: BTreeSet<u32>,
}

/// Begins to note what changes from now on. Repeated before anything was compared, it goes on with what is missing;
/// later nobody may make a slot anew, since what changed in between would be told by none.
pub async fn watch(session: &Session, database: &Database, tables: &[Table], names: &Names) -> Result<(), Error> {
    let what = |what: &str| format!("{what} in database `{}`", database.name);
    let slot = names.comparison_slot(database);
    if replication::exists(session, "pg_replication_slots WHERE slot_name = $1", &slot).await? {
        return Ok(());
    }
    let own = names.comparison();
    let published: Vec<String> = tables.iter().filter(|table| !table.key.is_empty()).map(Table::published).collect();
    let of = if published.is_empty() { String::new() } else { format!("FOR TABLE {}", published.join(", ")) };
    session
        .batch_execute(&format!("DROP PUBLICATION IF EXISTS {0}; CREATE PUBLICATION {0} {of}", quoted(&own)))
        .await
        .map_err(failed(what("publish the keys of all tables")))?;
    replication::create_slot(session, database, &slot).await
}

/// Has everything in the log that was committed so far, also by who does not wait for it, as subscriptions do not
/// (`synchronous_commit`): a slot tells no more than that.
pub async fn flush(session: &Session) -> Result<(), Error> {
    let statement = "SELECT pg_logical_emit_message(true, 'rds_encrypt', '')";
    session.execute(statement, &[]).await.map_err(failed("flush the log"))?;
    Ok(())
}

/// What is read of a slot at once.
pub struct Step {
    upto: PgLsn,
    /// Everything is read that was committed before it was asked for.
    pub is_last: bool,
}

pub async fn step(session: &Session, database: &Database, names: &Names) -> Result<Step, Error> {
    let slot = names.comparison_slot(database);
    let row = session
        .query_opt(
            "SELECT least(confirmed_flush_lsn + $2::bigint::numeric, pg_current_wal_lsn()),
                confirmed_flush_lsn + $2::bigint::numeric >= pg_current_wal_lsn()
             FROM pg_replication_slots WHERE slot_name = $1",
            &[&slot, &STEP_BYTES],
        )
        .await
        .map_err(failed(format!("look at the slot {slot}")))?;
    let gone = || {
        Error::ReplicationFailed(format!(
            "database `{}`: the replication slot {slot} is gone, so that nobody knows which rows have changed; start again",
            database.name
        ))
    };
    row.map(|row| Step { upto: row.get(0), is_last: row.get(1) }).ok_or_else(gone)
}

/// What has changed since the last [`forget`].
pub async fn noted(
    session: &Session,
    database: &Database,
    tables: &[Table],
    names: &Names,
    step: &Step,
) -> Result<Noted, Error> {
    let slot = names.comparison_slot(database);
    let what = || failed(format!("read the slot {slot}"));
    let publication = quoted(&names.comparison());
    let statement = "SELECT data FROM pg_logical_slot_peek_binary_changes($1, $2, NULL, 'proto_version', '1',
        'publication_names', $3)";
    let values: [&(dyn ToSql + Sync); 3] = [&slot, &step.upto, &publication];
    // One by one: there may be many.
    let mut rows = pin!(session.query_raw(statement, values).await.map_err(what())?);
    let mut reader = Reader { tables, relations: HashMap::new(), noted: Noted::default() };
    while let Some(row) = rows.try_next().await.map_err(what())? {
        reader
            .read(row.get(0))
            .ok_or_else(|| Error::ReplicationFailed(format!("the slot {slot} tells what pgoutput does not write")))?;
    }
    Ok(reader.noted)
}

/// Lets the log go, once what it told is kept elsewhere.
pub async fn forget(session: &Session, database: &Database, names: &Names, step: &Step) -> Result<(), Error> {
    let slot = names.comparison_slot(database);
    session
        .execute("SELECT pg_replication_slot_advance($1, $2)", &[&slot, &step.upto])
        .await
        .map_err(failed(format!("advance the slot {slot}")))?;
    Ok(())
}

/// Of the messages of pgoutput (PostgreSQL manual, "Logical Replication Message Formats") those that name rows.
struct Reader<'a> {
    tables: &'a [Table],
    /// By OID, where each column of the key stands in a row.
    relations: HashMap<u32, Vec<usize>>,
    noted: Noted,
}

impl Reader<'_> {
    /// `None` if that is no message.
    fn read(&mut self, message: &[u8]) -> Option<()> {
        let (kind, rest) = message.split_first()?;
        let mut bytes = Bytes(rest);
        match kind {
            b'R' => {
                let oid = bytes.number()?;
                bytes.text()?;
                bytes.text()?;
                bytes.take(1)?;
                let columns = (0..bytes.short()?).map(|_| bytes.column()).collect::<Option<Vec<_>>>()?;
                let place = |name: &str| columns.iter().position(|column| column == name);
                if let Some(table) = self.table(oid) {
                    let places = table.key.iter().map(|column| place(&column.name)).collect::<Option<_>>()?;
                    self.relations.insert(oid, places);
                }
            }
            // The old key comes first where the key itself changed, or all of the old row.
            b'I' | b'U' | b'D' => {
                let oid = bytes.number()?;
                let Some(places) = self.relations.get(&oid) else { return Some(()) };
                let mut has_key = false;
                while let Some(b'K' | b'O' | b'N') = bytes.byte() {
                    let row = bytes.row()?;
                    match places.iter().map(|place| row.get(*place)?.clone()).collect::<Option<Key>>() {
                        Some(key) => _ = self.noted.keys.entry(oid).or_default().insert(key),
                        // A long one that stands elsewhere and has not changed; then the old row has it.
                        None if has_key => {}
                        None => return None,
                    }
                    has_key = true;
                }
            }
            b'T' => {
                let count = bytes.number()?;
                bytes.take(1)?;
                for _ in 0..count {
                    self.noted.truncated.insert(bytes.number()?);
                }
            }
            _ => {}
        }
        Some(())
    }

    fn table(&self, oid: u32) -> Option<&Table> {
        self.tables.iter().find(|table| table.oid == oid)
    }
}

/// What is left of a message.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn short(&mut self) -> Option<usize> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?).into())
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(self.take(end)?).ok()?.to_owned();
        self.take(1)?;
        Some(text)
    }

    /// The name; flags, type and modifier are passed over.
    fn column(&mut self) -> Option<String> {
        self.take(1)?;
        let name = self.text()?;
        self.take(8)?;
        Some(name)
    }

    /// Each column's text; `None` for null, and for a long value that did not change.
    fn row(&mut self) -> Option<Vec<Option<String>>> {
        let count = self.short()?;
        let mut row = vec![];
        for _ in 0..count {
            row.push(match self.byte()? {
                b't' => {
                    let length = usize::try_from(self.number()?).ok()?;
                    Some(std::str::from_utf8(self.take(length)?).ok()?.to_owned())
                }
                _ => None,
            });
        }
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Column;

    const OID: u32 = 16_400;

    fn table(key: &[&str]) -> Table {
        let column = |name: &&str| Column { name: (*name).to_owned(), type_name: "text".to_owned() };
        Table {
            name: "public.t".to_owned(),
            oid: OID,
            key: key.iter().map(column).collect(),
            columns_hash: String::new(),
            has_whole_identity: false,
            rows: 0,
            bytes: 0,
        }
    }

    fn relation(columns: &[&str]) -> Vec<u8> {
        let mut message = vec![b'R'];
        message.extend(OID.to_be_bytes());
        message.extend(b"public\0t\0d");
        message.extend(u16::try_from(columns.len()).expect("few").to_be_bytes());
        for column in columns {
            message.push(1);
            message.extend(column.as_bytes());
            message.extend([0; 9]);
        }
        message
    }

    fn row(marker: u8, columns: &[Option<&str>]) -> Vec<u8> {
        let mut message = vec![marker];
        message.extend(u16::try_from(columns.len()).expect("few").to_be_bytes());
        for column in columns {
            match column {
                Some(text) => {
                    message.push(b't');
                    message.extend(u32::try_from(text.len()).expect("short").to_be_bytes());
                    message.extend(text.as_bytes());
                }
                None => message.push(b'n'),
            }
        }
        message
    }

    fn change(kind: u8, rows: &[Vec<u8>]) -> Vec<u8> {
        [vec![kind], OID.to_be_bytes().to_vec(), rows.concat()].concat()
    }

    fn read(table: Table, messages: &[Vec<u8>]) -> Option<Noted> {
        let tables = [table];
        let mut reader = Reader { tables: &tables, relations: HashMap::new(), noted: Noted::default() };
        messages.iter().try_for_each(|message| reader.read(message))?;
        Some(reader.noted)
    }

    fn keys(noted: &Noted) -> Vec<Vec<&str>> {
        noted.keys[&OID].iter().map(|key| key.iter().map(String::as_str).collect()).collect()
    }

    #[test]
    fn keys_are_noted_of_what_came_what_went_and_what_was_another_key_before() {
        let noted = read(
            table(&["b", "a"]),
            &[
                vec![b'B'; 21],
                // As it stands in the table, and not as it stands in the key.
                relation(&["a", "v", "b"]),
                change(b'I', &[row(b'N', &[Some("1"), None, Some("x")])]),
                change(b'U', &[row(b'K', &[Some("2"), None, Some("y")]), row(b'N', &[Some("3"), None, Some("y")])]),
                change(b'D', &[row(b'O', &[Some("4"), Some("long"), Some("z")])]),
                vec![b'C'; 26],
            ],
        );
        assert_eq!(keys(&noted.expect("messages")), [["x", "1"], ["y", "2"], ["y", "3"], ["z", "4"]]);
    }

    #[test]
    fn a_long_key_that_did_not_change_is_told_by_the_old_row() {
        let messages = [relation(&["a"]), change(b'U', &[row(b'K', &[Some("long")]), row(b'N', &[None])])];
        assert_eq!(keys(&read(table(&["a"]), &messages).expect("messages")), [["long"]]);
    }

    #[test]
    fn a_truncated_table_is_noted_as_a_whole() {
        let mut truncate = vec![b'T'];
        truncate.extend(2_u32.to_be_bytes());
        truncate.push(0);
        truncate.extend([OID.to_be_bytes(), 7_u32.to_be_bytes()].concat());
        let noted = read(table(&["a"]), &[truncate]).expect("a message");
        assert_eq!(noted.truncated, [7, OID].into());
    }

    #[test]
    fn a_message_that_ends_too_early_or_lacks_the_key_is_none() {
        let whole = change(b'I', &[row(b'N', &[Some("1")])]);
        for end in 1..whole.len() {
            // A change of which not even the kind of the row is there names no row.
            let is_whole_so_far = end == 5;
            let read = read(table(&["a"]), &[relation(&["a"]), whole[..end].to_vec()]);
            assert_eq!(read.is_some(), is_whole_so_far, "{end}");
        }
        assert!(read(table(&["a"]), &[relation(&["other"])]).is_none());
        assert!(read(table(&["a"]), &[relation(&["a"]), change(b'I', &[row(b'N', &[None])])]).is_none());
    }
}
