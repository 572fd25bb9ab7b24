//! What the steps share that log in to a PostgreSQL database of the source or the target.

pub mod catalog;
pub mod changes;
pub mod compare;
pub mod dms;
pub mod fence;
pub mod names;
pub mod release;
pub mod replication;
pub mod rows;
mod session;
pub mod still;

pub use session::{Open, Session, failed};
