//! What a comparison of rows tells, whoever made the server.

use serde::{Deserialize, Serialize};
use workflow::Error;

/// What is hashed with one statement on each side.
const CHUNK_BYTES: i64 = 32 << 20;
const CHUNK_ROWS_MIN: i64 = 100;
pub(crate) const CHUNK_ROWS_MAX: i64 = 50_000;
/// Of a table that nobody has analyzed.
const CHUNK_ROWS_UNKNOWN: i64 = 5_000;
/// The outage compares so many rows in well under a second.
pub const CHANGED_ROWS_MAX: i64 = 10_000;

/// The texts of a key's columns.
pub type Key = Vec<String>;

/// Some rows of a table that stand next to each other.
pub struct Chunk {
    /// The last one's, unless the table ends with it.
    pub end: Option<Key>,
    pub rows: i64,
    pub rows_of_target: i64,
    pub is_equal: bool,
    /// What makes them these rows.
    pub condition: String,
}

/// What was compared, and found equal.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Compared {
    pub tables: usize,
    pub rows: i64,
}

/// How far a comparison came that goes on while clients write.
#[derive(Debug, Default)]
pub struct Look {
    /// Every table was gone through once.
    pub is_whole: bool,
    /// The target had what the source had at the look's begin.
    pub is_level: bool,
    pub tables: usize,
    pub tables_compared: usize,
    pub rows: i64,
    /// By the server's own estimate, of the tables that are gone through.
    pub rows_estimated: i64,
    /// Of the rows that change, how many are to be compared again.
    pub changed: i64,
}

/// So many rows are about as long as a chunk may be, by the server's own estimates of a table.
pub fn rows_a_chunk(rows: i64, bytes: i64) -> i64 {
    if rows <= 0 {
        return CHUNK_ROWS_UNKNOWN;
    }
    (CHUNK_BYTES / (bytes / rows).max(1)).clamp(CHUNK_ROWS_MIN, CHUNK_ROWS_MAX)
}

/// A key's columns, as the target keeps them.
pub fn text_of_key(key: &[String]) -> String {
    serde_json::to_string(key).expect("texts")
}

pub fn key_of_text(text: &str) -> Result<Key, Error> {
    serde_json::from_str(text)
        .map_err(|_| Error::ReplicationFailed("somebody wrote into the comparison's tables; start again".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_few_rows_where_they_are_long_and_many_where_they_are_short() {
        for (rows, bytes, chunk) in [
            (-1, 1 << 40, CHUNK_ROWS_UNKNOWN),
            (0, 0, CHUNK_ROWS_UNKNOWN),
            (1_000_000, 1_000_000_000, CHUNK_BYTES / 1_000),
            (1_000_000, 10_000_000, CHUNK_ROWS_MAX),
            (1_000, 10_000_000_000, CHUNK_ROWS_MIN),
        ] {
            assert_eq!(rows_a_chunk(rows, bytes), chunk, "{rows} rows, {bytes} bytes");
        }
    }

    #[test]
    fn a_key_is_noted_as_it_is_read() {
        let key = vec!["it's".to_owned(), "7".to_owned()];
        assert_eq!(key_of_text(&text_of_key(&key)).expect("a key"), key);
        assert_eq!(key_of_text("7").expect_err("somebody's").name(), "ReplicationFailed");
    }
}
