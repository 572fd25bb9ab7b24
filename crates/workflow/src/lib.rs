//! What the steps of rds-encrypt share.
//!
//! A step is a Lambda function in a crate of its own. It reads the few fields of the state that the
//! state machine hands it, makes its AWS calls, and returns the few fields that it adds.

pub mod adopt;
pub mod describe;
pub mod encryption;
pub mod error;
pub mod ids;
pub mod look;
pub mod options;
pub mod owner;
pub mod serve;
pub mod settings;
pub mod status;
pub mod turn;
pub mod wait;
pub mod wanted;

pub use error::Error;
