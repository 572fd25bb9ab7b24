//! One turn of a loop that brings a DB instance into a wanted state: what it saw and did, and how
//! long to sleep before the next turn.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::wait::{self, Wait};

/// An instance can say `available` shortly before it reboots, so one look does not prove it.
const STEADY_LOOKS: u32 = 2;
/// Between two looks at an instance that has nothing left to do.
const CONFIRM_SECONDS: u64 = 15;

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Turn {
    pub ready: bool,
    /// AWS's word at the last look.
    pub status: Option<String>,
    /// What was asked of AWS, so that it is not asked again while it is on its way.
    pub requested: bool,
    /// The endpoint's address before the request.
    pub endpoint_before: Option<String>,
    pub steady_looks: u32,
    /// The time waited at the last look that saw the instance.
    pub seen_at_seconds: u64,
    pub wait: Wait,
}

impl Turn {
    pub fn after(previous: Option<Self>) -> Self {
        Self { ready: false, ..previous.unwrap_or_default() }
    }

    /// Notes that the instance was seen, and AWS's word for how it is.
    pub fn see(&mut self, status: Option<&str>) {
        self.status = status.map(str::to_owned);
        self.seen_at_seconds = self.wait.waited_seconds;
    }

    /// For how long the instance has not been seen: a rename hides one for minutes.
    pub fn unseen_seconds(&self) -> u64 {
        self.wait.waited_seconds.saturating_sub(self.seen_at_seconds)
    }

    /// Ends the turn: `steady` if nothing is left to do. `what` completes "… after 600 s".
    pub fn end(mut self, steady: bool, what: &str, deadline_seconds: u64) -> Result<Self, Error> {
        self.steady_looks = if steady { self.steady_looks + 1 } else { 0 };
        self.ready = self.steady_looks >= STEADY_LOOKS;
        if self.ready {
            return Ok(self);
        }
        let next = if steady {
            wait::sleep(Some(&self.wait), CONFIRM_SECONDS, deadline_seconds)
        } else {
            wait::next(Some(&self.wait), None, deadline_seconds)
        };
        self.wait = next.map_err(|_| {
            let status = self.status.as_deref().unwrap_or("not to be seen");
            Error::WaitTimedOut(format!("{what} (status `{status}`) after {deadline_seconds} s"))
        })?;
        Ok(self)
    }
}
