//! What the steps of rds-encrypt share.
//!
//! A step is a Lambda function in a crate of its own. It reads the few fields of the state that the
//! state machine hands it, makes its AWS calls, and returns the few fields that it adds.

pub mod adopt;
pub mod arn;
pub mod commit;
pub mod deployment;
pub mod describe;
pub mod encryption;
pub mod error;
pub mod estimate;
pub mod fence;
pub mod finish;
pub mod ids;
pub mod look;
pub mod members;
pub mod metrics;
pub mod online;
pub mod options;
pub mod owner;
pub mod rename;
pub mod serve;
pub mod status;
pub mod steady;
pub mod sweep;
pub mod turn;
pub mod writes;

pub use error::Error;
/// How long a loop sleeps.
pub use waiting as wait;
