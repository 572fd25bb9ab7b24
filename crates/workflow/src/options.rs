//! What the input asks for, besides which instance.

use serde::{Deserialize, Serialize};

use crate::online::Login;

/// The input's choices, normalised by the plan and carried in the state.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    pub snapshots: Snapshots,
    pub on_failure: OnFailure,
    pub plan_only: bool,
    /// The deadline of each wait.
    pub max_wait_seconds: u64,
    pub cutover: Cutover,
    /// No client writes from before the snapshot on; checked by DatabaseConnections.
    pub writes_stopped: bool,
    /// What clients write after the snapshot may be lost.
    pub accept_lost_writes: bool,
    /// Given to the source before the renames, so that nobody reaches it any more.
    pub isolation_security_group_id: Option<String>,
    /// The target's only group until it is proven, so that what it does by itself reaches nobody.
    pub quarantine_security_group_id: Option<String>,
    /// Wait for the lazy load of the target's storage before the cutover.
    pub wait_for_initialization: bool,
    pub accept_stale_replicas: bool,
    /// A human decides between the proof and the cutover.
    pub approval: bool,
    pub approval_timeout_seconds: u64,
    /// What RDS is given for a switchover before it takes it back.
    pub switchover_timeout_seconds: u64,
    /// The execution of encrypt-online that started this one, and goes on with what it makes.
    pub on_behalf_of: Option<String>,
    /// The login by which the copy is compared with the source, which nobody writes to.
    pub compare_data: Option<Login>,
    /// The login by which the databases are replicated.
    pub login: Option<Login>,
    /// From the fence to the switch; past it the source is opened again.
    pub max_downtime_seconds: u64,
    /// Who replicates them.
    pub engine: Engine,
    /// When the outage may begin (the crate `window`), and for how long each time; it ends within.
    pub window: Option<String>,
    pub window_seconds: u64,
}

impl Options {
    /// The target follows the source until the cutover, so that no write is lost.
    pub fn is_replicated(&self) -> bool {
        self.login.is_some() || self.on_behalf_of.is_some()
    }
}

/// How an execution encrypts: each way has a state machine of its own.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// `encrypt-instance`
    #[default]
    Snapshot,
    /// `encrypt-blue-green`
    BlueGreen,
    /// `encrypt-online`
    Online,
}

/// Who keeps the target up to date on the way online.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// PostgreSQL's own logical replication, from where the snapshot ends.
    #[default]
    Native,
    /// AWS DMS, which loads every row anew.
    Dms,
}

impl Engine {
    pub const ALL: &[(&str, Self)] = &[("native", Self::Native), ("dms", Self::Dms)];
}

/// Whether the target takes the source's name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cutover {
    None,
    Rename,
}

impl Cutover {
    pub const ALL: &[(&str, Self)] = &[("none", Self::None), ("rename", Self::Rename)];
}

/// What becomes of the two snapshots once the target is proven, and needs neither [A35].
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
