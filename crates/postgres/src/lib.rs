//! What the steps share that log in to a PostgreSQL database of the source or the target.
//!
//! AWS calls: RDS DescribeDBInstances (the endpoint of today), Secrets Manager GetSecretValue.

pub mod catalog;
pub mod changes;
pub mod compare;
pub mod dms;
pub mod fence;
pub mod names;
pub mod release;
pub mod replication;
pub mod rows;
mod servers;
pub mod still;
mod tls;

pub use servers::{Access, Credentials, Request, Server, Servers, Session, failed};
