//! What the steps of the way online share that log in to no database.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What keeps the names of an execution apart from all others', in databases and in AWS.
pub fn token(execution: &str) -> String {
    Sha256::digest(execution).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseTask {
    /// Before the commit point: clients may log in to the source again.
    Unfence,
    /// The source is unfenced, and loses replication.
    OpenSource,
    /// Past it: the target stands alone, and the old source loses its slots.
    OpenTarget,
}

/// Asked by `undo` in its answer, answered by `undo-database` in its place.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Undone {
    pub task: DatabaseTask,
    pub ready: bool,
    /// Why it could not be done yet.
    pub problem: Option<String>,
    pub notes: Vec<String>,
}

impl Undone {
    pub fn ask(task: DatabaseTask) -> Self {
        Self { task, ready: false, problem: None, notes: vec![] }
    }
}
