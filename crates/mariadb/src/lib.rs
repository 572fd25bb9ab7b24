//! What the steps share that log in to a MariaDB server, which replicates as a whole: its binary log has the changes of
//! all schemas, DDL and accounts included, each transaction under a GTID.

mod account;
pub mod catalog;
mod changes;
pub mod compare;
pub mod fence;
pub mod preflight;
pub mod release;
pub mod replication;
mod rows;
mod session;
pub mod still;

pub use session::{Session, failed, open};

use workflow::online::token;

/// Of the account that the target replicates by, and of the schema that keeps how far rows were compared.
pub fn own(execution: &str) -> String {
    format!("rds_encrypt_{}", token(execution))
}

/// An identifier, as SQL takes it.
pub(crate) fn quoted(identifier: &str) -> String {
    format!("`{}`", identifier.replace('`', "``"))
}

/// A string, as SQL takes it: our sessions know no backslashes in it (NO_BACKSLASH_ESCAPES).
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
