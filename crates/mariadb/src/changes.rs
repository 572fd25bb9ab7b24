//! Which rows change: a server's binary log, read from one place to its end.

use std::collections::{BTreeMap, BTreeSet};

use databases::Server;
use futures_util::StreamExt;
use mysql_async::binlog::events::{EventData, RowsEventData};
use mysql_async::binlog::row::BinlogRow;
use mysql_async::binlog::value::BinlogValue;
use mysql_async::{BinlogStreamRequest, Value};
use serde::{Deserialize, Serialize};
use workflow::Error;

use crate::rows::{Kind, Table, Values};
use crate::{Session, failed, open};

/// A reader of the log needs a server id of its own, or it ends another's reading.
const READERS: u32 = 0x4000_0000;
/// So many are noted before more is read.
const KEYS_AT_ONCE: usize = 100_000;

/// In a binary log, at the end of a transaction.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) position: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// By the table's place in the list.
    pub(crate) keys: BTreeMap<usize, BTreeSet<Values>>,
    /// Whose rows went all at once.
    pub(crate) truncated: BTreeSet<String>,
    /// Until where it was read; there may be more.
    pub(crate) place: Option<Place>,
    pub(crate) is_last: bool,
}

/// Whose transactions are meant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    Everybody,
    /// What came by replication has the source's server id.
    Server(u32),
}

/// Where the log ends.
pub(crate) async fn end(session: &mut Session) -> Result<Option<Place>, Error> {
    let row: Option<mysql_async::Row> = session.row("ask where the binary log ends", "SHOW MASTER STATUS").await?;
    Ok(row.and_then(|row| Some(Place { file: row.get(0)?, position: row.get(1)? })))
}

pub(crate) async fn since(server: &Server, place: &Place, tables: &[Table], of: Of) -> Result<Noted, Error> {
    let what = format!("read the binary log of {}", server.what);
    let session = open(server).await?;
    let request = BinlogStreamRequest::new(READERS | session.id())
        .with_non_blocking()
        .with_filename(place.file.as_bytes())
        .with_pos(place.position);
    let mut stream = session.into_connection().get_binlog_stream(request).await.map_err(failed(&what))?;
    let mut noted = Noted { place: Some(place.clone()), ..Noted::default() };
    let mut now = place.clone();
    let unreadable = |problem: &dyn std::fmt::Display| Error::ReplicationFailed(format!("{what}: {problem}"));
    while let Some(event) = stream.next().await {
        let event = event.map_err(failed(&what))?;
        let header = event.header();
        // MariaDB's own kinds: GTIDs, lists of them, checkpoints.
        if header.event_type().is_err() {
            continue;
        }
        // What the log does not hold, and what is sent at the beginning of each file, has no place in it.
        let is_in_log = header.log_pos() > 0;
        let is_meant = match of {
            Of::Everybody => true,
            Of::Server(id) => header.server_id() == id,
        };
        if is_in_log {
            now.position = header.log_pos().into();
        }
        match event.read_data().map_err(|problem| unreadable(&problem))? {
            Some(EventData::RotateEvent(rotate)) if is_in_log => {
                now = Place { file: rotate.name().into_owned(), position: rotate.position() };
                noted.place = Some(now.clone());
            }
            Some(EventData::RowsEvent(rows)) if is_meant => {
                let table = stream.get_tme(rows.table_id());
                let map = table.ok_or_else(|| unreadable(&"rows of a table that it does not name"))?;
                let (schema, name) = (map.database_name().into_owned(), map.table_name().into_owned());
                let known = tables
                    .binary_search_by(|table| (table.schema.as_str(), table.name.as_str()).cmp(&(&schema, &name)));
                let Ok(number) = known else { continue };
                let table = &tables[number];
                if table.key.is_empty() {
                    continue;
                }
                for pair in keys_of(&rows, map, table) {
                    let keys = pair.map_err(|problem| unreadable(&format!("{}: {problem}", table.path())))?;
                    noted.keys.entry(number).or_default().extend(keys);
                }
            }
            Some(EventData::QueryEvent(query)) => {
                let statement = query.query();
                if is_meant && let Some(problem) = statement_of_rows(&statement) {
                    return Err(unreadable(&problem));
                }
                if is_meant && verb(&statement) == "TRUNCATE" {
                    noted.truncated.insert(statement.into_owned());
                }
                if verb(&query.query()) != "BEGIN" {
                    noted.place = Some(now.clone());
                }
            }
            Some(EventData::XidEvent(_)) => noted.place = Some(now.clone()),
            _ => {}
        }
        if noted.place.as_ref() == Some(&now) && noted.keys.values().map(BTreeSet::len).sum::<usize>() > KEYS_AT_ONCE {
            return Ok(noted);
        }
    }
    noted.is_last = true;
    Ok(noted)
}

/// The first word behind comments.
fn verb(statement: &str) -> String {
    let mut rest = statement.trim_start();
    while let Some((_, behind)) = rest.strip_prefix("/*").and_then(|comment| comment.split_once("*/")) {
        rest = behind.trim_start();
    }
    rest.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or_default().to_ascii_uppercase()
}

/// Rows that were written by a statement, which the log repeats instead of them.
fn statement_of_rows(statement: &str) -> Option<String> {
    let verb = verb(statement);
    ["INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD"].contains(&verb.as_str()).then(|| {
        format!(
            "a session writes by statement ({verb} …), since it began before binlog_format was ROW: let it connect anew, and start again"
        )
    })
}

fn keys_of<'a>(
    rows: &'a RowsEventData<'a>,
    map: &'a mysql_async::binlog::events::TableMapEvent<'a>,
    table: &'a Table,
) -> impl Iterator<Item = Result<Vec<Values>, String>> + 'a {
    rows.rows(map).map(|pair| {
        let (before, after) = pair.map_err(|problem| problem.to_string())?;
        [before, after].iter().flatten().map(|row| key_of(row, table)).collect()
    })
}

fn key_of(row: &BinlogRow, table: &Table) -> Result<Values, String> {
    table
        .key
        .iter()
        .map(|(_, key)| {
            // Columns that the log leaves out have no place in the row.
            let generic = format!("@{}", key.position);
            let columns = row.columns_ref();
            let place = columns.iter().position(|column| {
                let name = column.name_str();
                name == generic || name == key.column
            });
            let value = place.and_then(|place| row.as_ref(place));
            let Some(BinlogValue::Value(value)) = value else {
                return Err(format!("a row without its column {}", key.column));
            };
            let kind = key.kind.as_ref().ok_or("a key of an unknown kind")?;
            text_of(kind, value).ok_or_else(|| format!("{value:?} in the column {}", key.column))
        })
        .collect()
}

/// As a query tells it.
fn text_of(kind: &Kind, value: &Value) -> Option<String> {
    Some(match (kind, value) {
        // The log does not always say which columns have no sign.
        (Kind::Integer { unsigned_bits: Some(bits) }, Value::Int(number)) if *number < 0 => {
            (i128::from(*number) + (1 << bits)).to_string()
        }
        (Kind::Integer { .. }, Value::Int(number)) => number.to_string(),
        (Kind::Integer { .. }, Value::UInt(number)) => number.to_string(),
        (Kind::Text { .. }, Value::Bytes(bytes)) => digits(bytes),
        (Kind::Bytes { length }, Value::Bytes(bytes)) => {
            let width = length.map_or(0, |length| length * 2);
            format!("{:0<width$}", digits(bytes))
        }
        (Kind::Date, Value::Date(year, month, day, ..)) => format!("{year:04}-{month:02}-{day:02}"),
        (Kind::DateTime, Value::Date(year, month, day, hour, minute, second, micros)) => {
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}")
        }
        _ => return None,
    })
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_as_a_query_tells_it() {
        let unsigned = Kind::Integer { unsigned_bits: Some(64) };
        assert_eq!(text_of(&unsigned, &Value::Int(-1)).as_deref(), Some("18446744073709551615"));
        assert_eq!(text_of(&Kind::Integer { unsigned_bits: None }, &Value::Int(-1)).as_deref(), Some("-1"));
        assert_eq!(text_of(&Kind::Bytes { length: Some(3) }, &Value::Bytes(vec![0xab])).as_deref(), Some("AB0000"));
        let midnight = Value::Date(2026, 11, 30, 0, 0, 0, 0);
        assert_eq!(text_of(&Kind::Date, &midnight).as_deref(), Some("2026-11-30"));
        assert_eq!(text_of(&Kind::DateTime, &midnight).as_deref(), Some("2026-11-30 00:00:00.000000"));
        assert_eq!(text_of(&Kind::DateTime, &Value::Int(7)), None);
    }

    #[test]
    fn rows_that_a_statement_wrote_are_told_from_ddl() {
        assert!(statement_of_rows("/* a note */ insert into t values (1)").is_some());
        assert!(statement_of_rows("REPLACE t(a) VALUES (1)").is_some());
        assert!(statement_of_rows("ALTER USER x ACCOUNT LOCK").is_none());
    }
}
