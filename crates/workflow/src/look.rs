//! One look at a resource that is being waited for, as a polling loop carries it in the state.

use serde::{Deserialize, Serialize};

use crate::steady::SteadyLooks;
use crate::wait::Wait;

/// What the last look at a snapshot or an instance saw, and how long to sleep before the next.
///
/// The step that creates the resource returns the first one, `describe-status` each further one.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Look {
    /// AWS's word for it; `null` while the resource cannot be seen yet.
    pub status: Option<String>,
    /// The loop is over.
    pub ready: bool,
    pub percent_progress: Option<i32>,
    pub steady_looks: SteadyLooks,
    /// An instance's DbiResourceId: it stays when the name changes.
    pub resource_id: Option<String>,
    /// As of when a snapshot's data is (DBSnapshot.SnapshotDatabaseTime, RFC 3339).
    pub snapshot_database_time: Option<String>,
    pub wait: Wait,
}

impl Look {
    /// What a creating call returns: seen, and not waited for yet.
    pub fn first(status: Option<&str>) -> Self {
        Self { status: status.map(str::to_owned), ..Self::default() }
    }
}
