//! When a loop over an instance is over: at the second look in a row that found nothing left to do.

use serde::{Deserialize, Serialize};

use crate::wait::{self, DeadlinePassed, Wait};

/// An instance can say `available` shortly before it reboots, so one look does not prove it.
const LOOKS_NEEDED: u32 = 2;
/// Between two looks at what has nothing left to do.
const CONFIRM_SECONDS: u64 = 15;

/// So many looks in a row, up to this one, found nothing left to do.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct SteadyLooks(pub u32);

impl SteadyLooks {
    pub fn count(&mut self, steady: bool) {
        self.0 = if steady { self.0 + 1 } else { 0 };
    }

    pub fn are_enough(self) -> bool {
        self.0 >= LOOKS_NEEDED
    }

    /// Grants the sleep before the next look, which comes soon if it has only to confirm this one.
    pub fn wait(
        self,
        previous: &Wait,
        percent_progress: Option<i32>,
        deadline_seconds: u64,
    ) -> Result<Wait, DeadlinePassed> {
        if self.0 > 0 {
            wait::sleep(Some(previous), CONFIRM_SECONDS, deadline_seconds)
        } else {
            wait::next(Some(previous), percent_progress, deadline_seconds)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steady_looks_in_a_row_are_enough() {
        let mut looks = SteadyLooks::default();
        for (steady, enough) in [(true, false), (false, false), (true, false), (true, true), (true, true)] {
            looks.count(steady);
            assert_eq!(looks.are_enough(), enough, "{looks:?}");
        }
    }

    #[test]
    fn a_steady_look_is_confirmed_soon_and_any_other_waits_its_time() {
        let waited = Wait { waited_seconds: 3_200, ..Wait::default() };
        let seconds = |looks: u32| SteadyLooks(looks).wait(&waited, None, 86_400).expect("time is left").wait_seconds;
        assert_eq!(seconds(1), CONFIRM_SECONDS);
        assert!(seconds(0) > CONFIRM_SECONDS);
        assert!(SteadyLooks(1).wait(&waited, None, 3_200).is_err());
    }
}
