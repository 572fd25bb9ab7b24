//! What the input asks for, besides which instance.

use serde::{Deserialize, Serialize};

/// The input's choices, normalised by the plan and carried in the state.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    pub snapshots: Snapshots,
    pub on_failure: OnFailure,
    pub plan_only: bool,
    /// The deadline of each wait.
    pub max_wait_seconds: u64,
}

/// What becomes of the two snapshots once the target is proven.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Snapshots {
    DeleteUnencrypted,
    DeleteAll,
    Keep,
}

impl Snapshots {
    pub const ALL: &[(&str, Self)] =
        &[("delete_unencrypted", Self::DeleteUnencrypted), ("delete_all", Self::DeleteAll), ("keep", Self::Keep)];
}

/// What becomes of what was created when a step fails before the target is proven.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    Undo,
    Keep,
}

impl OnFailure {
    pub const ALL: &[(&str, Self)] = &[("undo", Self::Undo), ("keep", Self::Keep)];
}
