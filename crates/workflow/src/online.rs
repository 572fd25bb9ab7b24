//! What the undo and the step that logs in for it say to each other.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseTask {
    /// Before the commit point: the source is unfenced, and loses replication.
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
