//! What of a source is replicated, as the preflight found it, and as the state carries it.

use serde::{Deserialize, Serialize};

/// PostgreSQL replicates each database by itself, MariaDB the whole server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Replicated {
    PostgreSql(Vec<Database>),
    MariaDb(Schemas),
}

impl Replicated {
    /// None of another product's.
    pub fn postgresql(&self) -> &[Database] {
        match self {
            Self::PostgreSql(databases) => databases,
            Self::MariaDb(_) => &[],
        }
    }
}

/// All of a MariaDB server that is somebody's.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Schemas {
    pub names: Vec<String>,
    /// Who may log in, and has to be locked out for the outage: `'app'@'%'`, as SQL takes it.
    pub accounts: Vec<String>,
    /// For how many hours RDS kept the binary logs before; `None` is as long as it likes.
    pub binlog_retention_hours: Option<u32>,
    /// Of everything but rows.
    pub schema_hash: String,
}

/// A database of the source, as the preflight found it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    pub name: String,
    pub oid: u32,
    /// What clients had before the fence; -1 is none.
    pub connection_limit: i32,
    /// Who may connect; with AWS DMS the fence takes that away.
    #[serde(default)]
    pub clients: Vec<Client>,
    /// Of everything but rows.
    pub schema_hash: String,
}

/// A grant of CONNECT.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// `None` is PUBLIC.
    pub role: Option<String>,
    /// With the right to grant it on.
    pub may_grant: bool,
}
