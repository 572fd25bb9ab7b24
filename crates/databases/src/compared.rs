//! What a comparison of rows tells, whoever made the server.

use serde::{Deserialize, Serialize};

/// The outage compares so many rows in well under a second.
pub const CHANGED_ROWS_MAX: i64 = 10_000;

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
