//! One turn of a loop that brings a DB instance into a wanted state: what it saw and did, and how
//! long to sleep before the next turn.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_rds::primitives::{DateTime, DateTimeFormat as Format};
use serde::{Deserialize, Serialize};

use crate::error::{Error, invalid};
use crate::steady::SteadyLooks;
use crate::wait::Wait;

/// A rename hides an instance for minutes. One that is not seen for this long is gone.
pub const HIDDEN_SECONDS_MAX: u64 = 900;
/// A call that Step Functions gave up on can land for as long as its function may run, which is 60 seconds
/// (template.yaml). After this it cannot any more.
pub const LATE_CALL_SECONDS: u64 = 70;
/// While the target cannot take the name, the name answers nobody: better to give it, or its clients, back
/// to the source. Counted from the fence, or the first rename, to the request of the second.
pub const OUTAGE_SECONDS_MAX: u64 = 1_800;

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
    /// The security groups before anything was asked for.
    pub security_groups_before: Option<Vec<String>>,
    /// The time waited from which on no abandoned call can land any more.
    pub late_calls_end_at_seconds: u64,
    pub steady_looks: SteadyLooks,
    /// The time waited at the last look that saw the instance.
    pub seen_at_seconds: u64,
    /// For how long nobody has been able to reach the source, up to this turn's end; 0 before the outage.
    pub outage_seconds: u64,
    /// What the input allows, where it says so.
    pub outage_seconds_max: Option<u64>,
    pub wait: Wait,
}

/// What an earlier loop of a cutover says of the outage, whatever else it holds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Outage {
    pub outage_seconds: u64,
}

impl Turn {
    pub fn after(previous: Option<Self>) -> Self {
        Self { ready: false, ..previous.unwrap_or_default() }
    }

    /// Goes on with an outage that an earlier loop began, and counts what this turn has taken of it already:
    /// the attempts of Step Functions, and their sleeps, since it entered the state.
    pub fn go_on_with_outage(&mut self, earlier: &[Option<Outage>], entered_at: &str) -> Result<(), Error> {
        let earlier = earlier.iter().flatten().map(|outage| outage.outage_seconds).max().unwrap_or_default();
        self.outage_seconds = self.outage_seconds.max(earlier);
        let entered_at = DateTime::from_str(entered_at, Format::DateTimeWithOffset)
            .map_err(|error| invalid("entered_at", error.to_string()))?;
        if self.is_outage() {
            let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            self.outage_seconds += elapsed.saturating_sub(entered_at.secs().try_into().unwrap_or_default());
        }
        Ok(())
    }

    /// The outage begins with what this turn asks for.
    pub fn begin_outage(&mut self) {
        self.outage_seconds = self.outage_seconds.max(1);
    }

    pub fn is_outage(&self) -> bool {
        self.outage_seconds > 0
    }

    /// Ends a turn that a passing error cut short: the loop goes on, and its time counts, instead of a retry
    /// whose time nobody counts. At the deadline the error is what the loop fails with.
    pub fn end_by(self, error: Error, what: &str, deadline_seconds: u64) -> Result<Self, Error> {
        if !error.is_passing() {
            return Err(error);
        }
        self.end_in_outage(false, what, deadline_seconds).map_err(|_| error)
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

    /// Notes that a call can be on its way whose answer nobody has heard.
    pub fn expect_late_call(&mut self) {
        self.late_calls_end_at_seconds = self.wait.waited_seconds + LATE_CALL_SECONDS;
    }

    /// Ends the turn: `steady` if nothing is left to do. `what` completes "… after 600 s".
    pub fn end(mut self, steady: bool, what: &str, deadline_seconds: u64) -> Result<Self, Error> {
        self.steady_looks.count(steady);
        let late_calls_are_over = self.wait.waited_seconds >= self.late_calls_end_at_seconds;
        self.ready = self.steady_looks.are_enough() && late_calls_are_over;
        if self.ready {
            return Ok(self);
        }
        let next = self.steady_looks.wait(&self.wait, None, deadline_seconds);
        self.wait = next.map_err(|_| self.too_late(what, deadline_seconds))?;
        Ok(self)
    }

    /// The same, while the outage that this loop is part of may still be ended by going back.
    pub fn end_in_outage(mut self, steady: bool, what: &str, deadline_seconds: u64) -> Result<Self, Error> {
        if !self.is_outage() {
            return self.end(steady, what, deadline_seconds);
        }
        let outage_seconds_max = self.outage_seconds_max.unwrap_or(OUTAGE_SECONDS_MAX);
        let left_seconds = outage_seconds_max.saturating_sub(self.outage_seconds);
        let deadline_seconds = deadline_seconds.min(self.wait.waited_seconds + left_seconds);
        if left_seconds == 0 {
            return Err(self.too_late(what, outage_seconds_max));
        }
        self = self.end(steady, what, deadline_seconds)?;
        if !self.ready {
            self.outage_seconds += self.wait.wait_seconds;
        }
        Ok(self)
    }

    fn too_late(&self, what: &str, deadline_seconds: u64) -> Error {
        let status = self.status.as_deref().unwrap_or("not to be seen");
        Error::WaitTimedOut(format!("{what} (status `{status}`) after {deadline_seconds} s"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::CallFailure;

    fn seconds_now() -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().cast_signed()
    }

    fn now() -> String {
        DateTime::from_secs(seconds_now()).to_string()
    }

    fn waited(waited_seconds: u64) -> Turn {
        Turn { wait: Wait { waited_seconds, ..Wait::default() }, ..Turn::default() }
    }

    #[test]
    fn a_loop_does_not_end_while_an_abandoned_call_can_land() {
        let mut turn = waited(600);
        turn.expect_late_call();
        let mut looks = 0;
        while !turn.ready {
            turn = Turn::after(Some(turn)).end(true, "it is not done", 3_600).expect("time is left");
            looks += 1;
        }
        assert!((670..=685).contains(&turn.wait.waited_seconds), "{turn:?}");
        assert_eq!(looks, 6, "a look every 15 seconds");
    }

    #[test]
    fn the_end_of_a_loop_forgets_nothing_but_that_it_was_over() {
        let over = Turn { ready: true, requested: true, steady_looks: SteadyLooks(2), ..waited(30) };
        assert_eq!(Turn::after(Some(over.clone())), Turn { ready: false, ..over });
    }

    #[test]
    fn the_deadline_says_what_is_not_done_and_what_was_seen_last() {
        let mut turn = waited(600);
        let error = turn.clone().end(false, "it is not done", 600).expect_err("late");
        assert_eq!(error.name(), "WaitTimedOut");
        assert_eq!(error.to_string(), "it is not done (status `not to be seen`) after 600 s");
        turn.see(Some("modifying"));
        let error = turn.clone().end(true, "it is not done", 600).expect_err("one look is not enough");
        assert_eq!(error.to_string(), "it is not done (status `modifying`) after 600 s");
        // The second steady look needs no more time.
        let last = Turn { steady_looks: SteadyLooks(1), ..turn };
        assert!(last.end(true, "it is not done", 600).expect("done").ready);
    }

    #[test]
    fn an_outage_ends_after_half_an_hour_whatever_cut_the_turns_short() {
        let throttled = || Error::Throttled(CallFailure::refused("rename", "Throttling", "slow down"));
        let mut fence = Turn::after(None);
        fence.begin_outage();
        let fence = fence.end_in_outage(false, "it is not done", 86_400).expect("time is left");
        let fence: Outage = serde_json::from_value(serde_json::json!(fence)).expect("its outage");
        let mut rename = Turn::after(None);
        let mut turns = 0;
        let error = loop {
            rename.go_on_with_outage(&[Some(fence), None], &now()).expect("a time");
            match rename.clone().end_by(throttled(), "it is not done", 86_400) {
                Ok(next) => rename = Turn::after(Some(next)),
                Err(error) => break error,
            }
            turns += 1;
        };
        assert_eq!(error.name(), "Throttled");
        assert!((OUTAGE_SECONDS_MAX..=OUTAGE_SECONDS_MAX + 5).contains(&rename.outage_seconds), "{rename:?}");
        assert!(turns > 10, "it went on meanwhile: {turns}");
        let given = Turn { outage_seconds_max: Some(60), outage_seconds: 60, ..Turn::after(None) };
        let error = given.end_in_outage(false, "it is not done", 86_400).expect_err("late");
        assert!(error.to_string().ends_with("after 60 s"), "{error}");
        let error = rename.end_in_outage(true, "it is not done", 86_400).expect_err("late");
        assert_eq!(error.to_string(), "it is not done (status `not to be seen`) after 1800 s");
    }

    #[test]
    fn the_attempts_of_step_functions_count_once_the_outage_has_begun() {
        let hour_ago = DateTime::from_secs(seconds_now() - 3_600).to_string();
        let mut turn = Turn::after(None);
        turn.go_on_with_outage(&[], &hour_ago).expect("a time");
        assert!(!turn.is_outage());
        turn.begin_outage();
        turn.go_on_with_outage(&[], &hour_ago).expect("a time");
        assert!(turn.outage_seconds >= 3_600, "{turn:?}");
        assert!(Turn::after(None).go_on_with_outage(&[], "yesterday").is_err());
    }

    #[test]
    fn what_does_not_pass_ends_a_loop_at_once() {
        let denied = Error::AccessDenied(CallFailure::refused("rename", "AccessDenied", "no"));
        let error = Turn::after(None).end_by(denied, "it is not done", 86_400).expect_err("denied");
        assert_eq!(error.name(), "AccessDenied");
    }

    #[test]
    fn what_is_not_seen_is_counted_from_the_last_time_that_it_was() {
        let mut turn = waited(100);
        assert_eq!(turn.unseen_seconds(), 100);
        turn.see(Some("available"));
        assert_eq!(turn.unseen_seconds(), 0);
        turn.wait.waited_seconds = 250;
        assert_eq!(turn.unseen_seconds(), 150);
    }

    #[test]
    fn a_state_from_before_a_field_is_read_and_a_misspelt_one_is_not() {
        let turn: Turn = serde_json::from_value(serde_json::json!({"requested": true})).expect("a turn");
        assert_eq!(turn, Turn { requested: true, ..Turn::default() });
        assert!(serde_json::from_value::<Turn>(serde_json::json!({"asked": true})).is_err());
    }
}
