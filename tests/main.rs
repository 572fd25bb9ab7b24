//! The tests that look at the product as a whole.
//!
//! `contract`: the state machine, the template and the crates agree with each other.
//! `docs`: the documents agree with them, and lead where they say.
//! The others run the deployed template in the local cloud (`tests/local`), with the real bootstraps.

mod before_cutover;
mod blue_green;
mod cloud;
mod contract;
mod customer_key;
mod cutover;
mod dataflow;
mod deploys;
mod dms;
mod docs;
mod encrypt_instance;
mod faithful;
mod faults;
mod fixtures;
mod fleet;
mod input;
mod mariadb;
mod online;
mod permissions;
mod repeats;
mod secrets;
mod strict_interpreter;
mod verify_data;
