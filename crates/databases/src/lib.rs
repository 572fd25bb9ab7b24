//! What the steps share that log in to a database of the source or the target, whoever made its server.
//!
//! AWS calls: RDS DescribeDBInstances (the endpoint of today), Secrets Manager GetSecretValue.

mod compared;
mod replicated;
mod servers;
pub mod still;
mod tls;

pub use compared::{CHANGED_ROWS_MAX, Chunk, Compared, Key, Look, key_of_text, rows_a_chunk, text_of_key};
pub use replicated::{Client, Database, Replicated, Schemas};
pub use servers::{Access, Credentials, Product, Request, Server, Servers};
