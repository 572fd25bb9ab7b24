//! Which rows change: a server's binary log, read from one place to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Instant;

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

/// MariaDB's own: rows' texts, checkpoints, GTIDs, lists of them, the beginning of encryption.
const OWN_EVENTS: RangeInclusive<u8> = 160..=164;
/// With a comment or two before it.
const WORDS_BEFORE_TABLE: usize = 12;
/// What such a transaction wrote is told before it is there.
const XA: &str = "somebody uses XA transactions, whose rows cannot be compared while clients write: use encrypt-blue-green or \
    encrypt-instance";

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
    /// Tables that DDL was about: whatever was in them may have gone, or been exchanged, all at once.
    pub(crate) begun_again: BTreeSet<usize>,
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

/// What changed since then; not all of it if `until` comes first, or there is much.
pub(crate) async fn since(
    server: &Server,
    place: &Place,
    tables: &[Table],
    of: Of,
    until: Option<Instant>,
) -> Result<Noted, Error> {
    let what = format!("read the binary log of {}", server.what);
    let mut session = open(server).await?;
    // Else MariaDB puts other events in the place of its own, and cannot always (sql/slave.h: MARIA_SLAVE_CAPABILITY).
    session.run(&what, "SET @mariadb_slave_capability = 4").await?;
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
        let kind = header.event_type_raw();
        if OWN_EVENTS.contains(&kind) {
            continue;
        }
        if header.event_type().is_err() {
            let problem = format!("it has events of the kind {kind}, which nobody reads here; is log_bin_compress on?");
            return Err(unreadable(&problem));
        }
        // What the log does not hold, and is sent at the beginning of each file, has no place in it.
        let is_in_log = header.log_pos() > 0;
        let is_meant = match of {
            Of::Everybody => true,
            Of::Server(id) => header.server_id() == id,
        };
        if is_in_log {
            now.position = header.log_pos().into();
        }
        match event.read_data().map_err(|problem| unreadable(&problem))? {
            Some(EventData::RotateEvent(rotate)) => {
                // After a restart only what is sent tells the next file.
                let file = file_of(rotate.name_raw(), &now.file);
                if file != now.file {
                    now = Place { file, position: rotate.position() };
                    noted.place = Some(now.clone());
                }
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
            Some(EventData::XaPrepareLogEvent(_)) if is_meant => return Err(unreadable(&XA)),
            Some(EventData::QueryEvent(query)) => {
                let statement = query.query();
                if is_meant {
                    match Statement::of(&statement) {
                        Statement::Harmless => {}
                        Statement::OfTables => noted.begun_again.extend(about(&statement, tables)),
                        Statement::Xa => return Err(unreadable(&XA)),
                        Statement::Rows(verb) => {
                            return Err(unreadable(&format!(
                                "a session writes by statement ({verb} …), perhaps since it began before binlog_format was \
                                 ROW: let it connect anew, and start again"
                            )));
                        }
                    }
                }
                noted.place = Some(now.clone());
            }
            Some(EventData::XidEvent(_)) => noted.place = Some(now.clone()),
            _ => {}
        }
        let is_much = noted.keys.values().map(BTreeSet::len).sum::<usize>() > KEYS_AT_ONCE;
        let is_over = until.is_some_and(|until| Instant::now() >= until);
        if noted.place.as_ref() == Some(&now) && (is_much || is_over) {
            return Ok(noted);
        }
    }
    noted.is_last = true;
    Ok(noted)
}

/// The name in an event that is sent has a checksum behind it, which the parser leaves there: it is as long as the others.
fn file_of(name: &[u8], other: &str) -> String {
    String::from_utf8_lossy(&name[..name.len().min(other.len())]).into_owned()
}

/// What a statement of the log is about; rows are told by events of their own.
#[derive(Debug, Eq, PartialEq)]
enum Statement {
    /// Ends of transactions and parts of them, accounts, grants.
    Harmless,
    /// DDL, but for that of the comparison's own tables.
    OfTables,
    Xa,
    /// Its verb.
    Rows(String),
}

impl Statement {
    fn of(statement: &str) -> Self {
        let verb = verb(statement);
        match verb.as_str() {
            "" | "BEGIN" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" | "SET" | "GRANT" | "REVOKE" | "ANALYZE"
            | "OPTIMIZE" | "REPAIR" | "CHECK" | "FLUSH" => Self::Harmless,
            "TRUNCATE" => Self::OfTables,
            "CREATE" | "ALTER" | "DROP" | "RENAME" if is_of_tables(statement) => Self::OfTables,
            // Accounts, and what the hash of the schema has.
            "CREATE" | "ALTER" | "DROP" | "RENAME" => Self::Harmless,
            "XA" => Self::Xa,
            _ => Self::Rows(verb),
        }
    }
}

/// The first word behind comments, and behind `SET STATEMENT … FOR`.
fn verb(statement: &str) -> String {
    let mut rest = statement.trim_start();
    loop {
        let comment = rest.strip_prefix("/*").and_then(|comment| comment.split_once("*/"));
        if let Some((_, behind)) = comment {
            rest = behind.trim_start();
        } else if let Some(line) = rest.strip_prefix('#') {
            rest = line.split_once('\n').map_or("", |(_, behind)| behind).trim_start();
        } else {
            break;
        }
    }
    let word = |text: &str| -> String {
        text.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or_default().to_ascii_uppercase()
    };
    let first = word(rest);
    let behind = rest.get(first.len()..).unwrap_or_default().trim_start();
    if first == "SET" && word(behind) == "STATEMENT" {
        let upper = behind.to_ascii_uppercase();
        if let Some(place) = upper.find(" FOR ") {
            return verb(&behind[place + " FOR ".len()..]);
        }
    }
    first
}

/// `CREATE OR REPLACE TABLE`, `ALTER ONLINE IGNORE TABLE` and the like.
fn is_of_tables(statement: &str) -> bool {
    let words = statement.split_whitespace().take(WORDS_BEFORE_TABLE);
    !statement.contains("`rds_encrypt_")
        && words.into_iter().any(|word| ["TABLE", "TABLES"].contains(&word.to_ascii_uppercase().as_str()))
}

/// The tables that a statement could be about: those whose names it has.
fn about<'a>(statement: &'a str, tables: &'a [Table]) -> impl Iterator<Item = usize> + 'a {
    let is_of_name = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
    let lower = statement.to_lowercase();
    let words: BTreeSet<String> = lower.split(|letter| !is_of_name(letter)).map(str::to_owned).collect();
    let has = move |name: &str| {
        let name = name.to_lowercase();
        if name.chars().all(is_of_name) { words.contains(&name) } else { lower.contains(&name.replace('`', "``")) }
    };
    tables.iter().enumerate().filter(move |(_, table)| has(&table.name)).map(|(number, _)| number)
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
        (Kind::Integer { bits, is_unsigned }, Value::Int(number)) => {
            // The log does not always say which columns have no sign, and the parser takes 24 bits for such.
            let (number, range) = (i128::from(*number), 1 << bits);
            let number = match is_unsigned {
                true if number < 0 => number + range,
                false if number >= range / 2 => number - range,
                _ => number,
            };
            number.to_string()
        }
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
        for (bits, is_unsigned, told, number) in [
            (64, true, Value::Int(-1), "18446744073709551615"),
            (64, true, Value::UInt(u64::MAX), "18446744073709551615"),
            (64, false, Value::Int(i64::MIN), "-9223372036854775808"),
            (32, false, Value::Int(i32::MIN.into()), "-2147483648"),
            (24, false, Value::Int(16_777_211), "-5"),
            (24, true, Value::Int(16_777_211), "16777211"),
            (16, false, Value::Int(-32_768), "-32768"),
            (8, true, Value::Int(-1), "255"),
            (8, false, Value::Int(127), "127"),
        ] {
            assert_eq!(text_of(&Kind::Integer { bits, is_unsigned }, &told).as_deref(), Some(number), "{told:?}");
        }
        assert_eq!(text_of(&Kind::Bytes { length: Some(3) }, &Value::Bytes(vec![0xab])).as_deref(), Some("AB0000"));
        let midnight = Value::Date(2026, 11, 30, 0, 0, 0, 0);
        assert_eq!(text_of(&Kind::Date, &midnight).as_deref(), Some("2026-11-30"));
        assert_eq!(text_of(&Kind::DateTime, &midnight).as_deref(), Some("2026-11-30 00:00:00.000000"));
        assert_eq!(text_of(&Kind::DateTime, &Value::Int(7)), None);
    }

    #[test]
    fn rows_that_a_statement_wrote_are_told_from_ddl() {
        for statement in [
            "/* a note */ insert into t values (1)",
            "REPLACE t(a) VALUES (1)",
            "SET STATEMENT max_statement_time=1 FOR update t set a = 1",
            "# a note\nDELETE FROM t",
        ] {
            assert!(matches!(Statement::of(statement), Statement::Rows(_)), "{statement}");
        }
        for statement in [
            "SET STATEMENT lock_wait_timeout=1 FOR TRUNCATE t",
            "rename table a to b",
            "CREATE OR REPLACE TABLE b LIKE a",
        ] {
            assert_eq!(Statement::of(statement), Statement::OfTables, "{statement}");
        }
        for statement in [
            "COMMIT",
            "SET PASSWORD FOR a = 'x'",
            "# Dummy event",
            "ALTER USER table_user ACCOUNT LOCK",
            "CREATE OR REPLACE TABLE `rds_encrypt_0badcafe`.place (a INT)",
        ] {
            assert_eq!(Statement::of(statement), Statement::Harmless, "{statement}");
        }
        assert_eq!(Statement::of("XA COMMIT 'a'"), Statement::Xa);
    }

    #[test]
    fn a_file_that_is_sent_has_a_name_like_the_others() {
        assert_eq!(file_of(b"log.000002\xff123", "log.000001"), "log.000002");
        assert_eq!(file_of(b"log.000002", "log.000001"), "log.000002");
    }

    #[test]
    fn ddl_is_about_the_tables_that_it_names() {
        let table = |name: &str| Table {
            schema: "app".to_owned(),
            name: name.to_owned(),
            is_sequence: false,
            rows: 0,
            bytes: 0,
            columns: vec![],
            key: vec![],
        };
        let tables = ["account", "Order Line", "t"].map(table);
        let of = |statement| about(statement, &tables).collect::<Vec<_>>();
        assert_eq!(of("RENAME TABLE `app`.`Order Line` TO old"), [1]);
        assert_eq!(of("truncate account"), [0]);
        assert_eq!(of("ALTER TABLE app.t TRUNCATE PARTITION p"), [2]);
        assert!(of("DROP TABLE accounts").is_empty());
    }
}
