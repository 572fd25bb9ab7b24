//! How long a polling loop sleeps before it looks again.
//!
//! [`next`] is the only place that decides this. It has no clock: everything it knows comes from
//! the state document, so that a retried call gives the same answer, and a time scale changes
//! nothing.
//!
//! Without progress to go by, a loop sleeps a share of the time it has waited, so that short waits
//! lose little time and long ones little history. With progress [A31], each look bounds the end: at
//! `t` seconds and `p` percent, steady progress ends after `100 t / (p + 1)` and by `100 t / p`
//! seconds. The looks' bounds are intersected. Far from the end the loop sleeps half of what is
//! left; between the bounds it looks every few seconds. When the bounds contradict each other, or
//! have passed, progress was not steady: it starts anew, and sleeps as if there were no progress
//! until enough further percent have come as predicted.
//!
//! The constants are the ones with which [`simulation`] keeps every limit that its tests state;
//! `cargo run -p waiting --example waiting` prints its table.

pub mod simulation;

use serde::{Deserialize, Serialize};

/// The shortest sleep, but for the last one before the deadline.
const SHORTEST_SECONDS: u64 = 5;
/// Without a prediction a loop sleeps 1/16 of the time waited (3 % mean overshoot)…
const SHARE: u64 = 16;
/// …up to somewhat under a minute (30 s mean overshoot, with room for chance)…
const MODERATE_SECONDS: u64 = 56;
/// …or 1/100 of the time waited (0.5 % mean overshoot), else a week would not fit into the history
/// of an execution, which Step Functions ends at 25,000 events.
const LONG_SHARE: u64 = 100;
/// With a prediction it may sleep this long at any time: less, and a wait of 20 minutes takes more
/// looks than one a minute…
const PREDICTED_SECONDS: u64 = 60;
/// …or 1/4 of the time waited, which is what an early end can cost…
const PREDICTED_SHARE: u64 = 4;
/// …up to five minutes…
const MODERATE_PREDICTED_SECONDS: u64 = 300;
/// …or 1/10 of the time waited.
const LONG_PREDICTED_SHARE: u64 = 10;
/// Looks between the bounds of a prediction. Keeps bounds that are far apart from using up history.
const LOOKS_BETWEEN_BOUNDS: u64 = 150;
/// Percent that must arrive as predicted before the first prediction counts. The next one alone
/// proves nothing, since it is in line with any steady pace. Doubled by each contradiction.
const CONFIRMING_PERCENT: u8 = 2;
/// A look itself takes time (the Lambda, the transitions) that no sleep accounts for.
/// The bounds of a prediction leave room for this much.
const UNCOUNTED_SECONDS_A_LOOK: u64 = 1;
/// A Standard execution lasts at most a year, so no deadline can be later.
const YEAR_SECONDS: u64 = 31_536_000;

/// What a polling loop remembers between two looks, in the state document.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Wait {
    /// The sum of the sleeps granted so far, `wait_seconds` included: the time at the next look.
    pub waited_seconds: u64,
    /// The sleep to take now, for `SecondsPath`, which accepts 1 to 99,999,999.
    pub wait_seconds: u64,
    /// The looks taken so far.
    pub looks: u32,
    /// Absent until a look has seen progress.
    pub prediction: Option<Prediction>,
}

/// When the wait ends if progress is steady: after `earliest_seconds`, by `latest_seconds`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// The percentage since which all looks agree with this prediction.
    pub since_percent: u8,
    /// How much further progress must come in agreement before this prediction counts.
    pub confirming_percent: u8,
    pub earliest_seconds: u64,
    pub latest_seconds: u64,
}

/// The loop has waited for as long as it was allowed to.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[error("waited {waited_seconds} seconds, and the limit is {deadline_seconds}")]
pub struct DeadlinePassed {
    pub waited_seconds: u64,
    pub deadline_seconds: u64,
}

/// Grants the sleep after a look that found the resource still pending.
///
/// `previous` is what the last call returned, absent at the first look. A percentage outside of
/// 0 to 100 is ignored. The last sleep is shortened, so that one look falls on the deadline.
pub fn next(
    previous: Option<&Wait>,
    percent_progress: Option<i32>,
    deadline_seconds: u64,
) -> Result<Wait, DeadlinePassed> {
    let mut wait = previous.cloned().unwrap_or_default();
    let left_seconds = wait.left_seconds(deadline_seconds)?;
    let mut sleep_seconds = unpredicted_sleep_seconds(wait.waited_seconds);
    if let Some(look) = Look::new(&wait, percent_progress) {
        let prediction = look.update(wait.prediction);
        wait.prediction = Some(prediction);
        sleep_seconds = look.sleep_seconds(prediction).unwrap_or(sleep_seconds);
    }
    Ok(wait.grant(sleep_seconds.min(left_seconds)))
}

/// Grants a sleep of a given length, shortened by the deadline.
pub fn sleep(previous: Option<&Wait>, sleep_seconds: u64, deadline_seconds: u64) -> Result<Wait, DeadlinePassed> {
    let wait = previous.cloned().unwrap_or_default();
    let left_seconds = wait.left_seconds(deadline_seconds)?;
    Ok(wait.grant(sleep_seconds.clamp(1, left_seconds)))
}

impl Wait {
    fn left_seconds(&self, deadline_seconds: u64) -> Result<u64, DeadlinePassed> {
        let left_seconds = deadline_seconds.min(YEAR_SECONDS).saturating_sub(self.waited_seconds);
        if left_seconds == 0 {
            return Err(DeadlinePassed { waited_seconds: self.waited_seconds, deadline_seconds });
        }
        Ok(left_seconds)
    }

    fn grant(self, wait_seconds: u64) -> Self {
        let waited_seconds = self.waited_seconds + wait_seconds;
        Self { waited_seconds, wait_seconds, looks: self.looks.saturating_add(1), ..self }
    }
}

fn unpredicted_sleep_seconds(waited_seconds: u64) -> u64 {
    let longest_seconds = MODERATE_SECONDS.max(waited_seconds / LONG_SHARE);
    (waited_seconds / SHARE).clamp(SHORTEST_SECONDS, longest_seconds)
}

/// One look that saw progress.
struct Look {
    waited_seconds: u64,
    /// How much more time may have passed than was slept.
    uncounted_seconds: u64,
    percent: u8,
}

impl Look {
    fn new(wait: &Wait, percent_progress: Option<i32>) -> Option<Self> {
        let percent = percent_progress.and_then(|percent| u8::try_from(percent).ok())?;
        (percent <= 100).then_some(Self {
            waited_seconds: wait.waited_seconds,
            uncounted_seconds: u64::from(wait.looks) * UNCOUNTED_SECONDS_A_LOOK,
            percent,
        })
    }

    /// Narrows a prediction by this look, or starts a new one where the look contradicts it.
    fn update(&self, previous: Option<Prediction>) -> Prediction {
        let percent = u64::from(self.percent);
        let alone = Prediction {
            since_percent: self.percent,
            confirming_percent: previous
                .map_or(CONFIRMING_PERCENT, |contradicted| contradicted.confirming_percent.saturating_mul(2)),
            earliest_seconds: 100 * self.waited_seconds / (percent + 1),
            latest_seconds: (100 * (self.waited_seconds + self.uncounted_seconds))
                .checked_div(percent)
                .map_or(YEAR_SECONDS, |seconds| seconds + 1),
        };
        let Some(previous) = previous.filter(|prediction| self.percent >= prediction.since_percent) else {
            return alone;
        };
        let both = Prediction {
            earliest_seconds: previous.earliest_seconds.max(alone.earliest_seconds),
            latest_seconds: previous.latest_seconds.min(alone.latest_seconds),
            ..previous
        };
        if both.earliest_seconds < both.latest_seconds { both } else { alone }
    }

    /// The sleep by a prediction, if that is confirmed and has not passed.
    fn sleep_seconds(&self, prediction: Prediction) -> Option<u64> {
        let Prediction { since_percent, confirming_percent, earliest_seconds, latest_seconds } = prediction;
        let confirmed = self.percent - since_percent >= confirming_percent;
        if !confirmed || self.waited_seconds >= latest_seconds {
            return None;
        }
        let step_seconds = SHORTEST_SECONDS.max((latest_seconds - earliest_seconds) / LOOKS_BETWEEN_BOUNDS);
        let due_seconds = (earliest_seconds + step_seconds).min(latest_seconds);
        let sleep_seconds = match due_seconds.saturating_sub(self.waited_seconds) {
            0 => step_seconds.min(latest_seconds - self.waited_seconds),
            left_seconds @ 1..=PREDICTED_SECONDS => left_seconds,
            left_seconds => {
                let affordable_seconds = (self.waited_seconds / PREDICTED_SHARE)
                    .clamp(PREDICTED_SECONDS, MODERATE_PREDICTED_SECONDS)
                    .max(self.waited_seconds / LONG_PREDICTED_SHARE);
                (left_seconds / 2).min(affordable_seconds)
            }
        };
        Some(sleep_seconds.max(SHORTEST_SECONDS))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::simulation::{DURATIONS, Shape, Summary, fixed, predicted};
    use super::*;

    const HOUR_SECONDS: u64 = 3_600;
    const WEEK_SECONDS: u64 = 604_800;
    /// Leaves room for three waits, their retries and everything else in one history of 25,000.
    const EVENTS_A_WAIT: f64 = 6_000.0;

    /// From one minute to seven days, each a tenth longer than the one before.
    fn durations() -> impl Iterator<Item = u64> {
        std::iter::successors(Some(60), |seconds| Some(seconds * 11 / 10)).take_while(|seconds| *seconds < WEEK_SECONDS)
    }

    #[test]
    fn linear_progress_loses_five_seconds_on_average() {
        for look_milliseconds in [0, 300, 700] {
            for seconds in durations().chain([WEEK_SECONDS]) {
                let summary = Summary::of(seconds, |total| predicted(Shape::Linear, total, look_milliseconds));
                assert!(
                    summary.mean_overshoot_seconds <= 5.0,
                    "{seconds} s, {look_milliseconds} ms a look: {summary:?}"
                );
            }
        }
    }

    #[test]
    fn linear_progress_takes_fewer_looks_than_one_a_minute_beyond_twenty_minutes() {
        let each_second = 1_201..2 * HOUR_SECONDS;
        let each_half_hour = (2 * HOUR_SECONDS..=WEEK_SECONDS).step_by(1_801);
        for seconds in each_second.chain(each_half_hour) {
            let ours = predicted(Shape::Linear, seconds * 1000, 0).looks;
            let reference = fixed(seconds * 1000).looks;
            assert!(ours < reference, "{seconds} s: {ours} looks, the reference takes {reference}");
        }
    }

    #[test]
    fn no_progress_loses_thirty_seconds_up_to_100_minutes_and_little_of_a_longer_wait() {
        for shape in [Shape::Absent, Shape::StalledAtZero] {
            for seconds in durations() {
                let summary = Summary::of(seconds, |total| predicted(shape, total, 0));
                let allowed_seconds = if seconds <= 6_000 { 30.0 } else { 0.006 * seconds as f64 };
                assert!(summary.mean_overshoot_seconds <= allowed_seconds, "{shape:?}, {seconds} s: {summary:?}");
            }
        }
    }

    #[test]
    fn no_progress_loses_a_sixteenth_of_a_short_wait_at_most() {
        for seconds in durations().filter(|seconds| *seconds < 20 * 60) {
            let summary = Summary::of(seconds, |total| predicted(Shape::Absent, total, 0));
            let allowed_seconds = (seconds as f64 / 16.0).max(5.0);
            assert!(summary.max_overshoot_seconds <= allowed_seconds, "{seconds} s: {summary:?}");
            assert!(summary.max_looks <= 65.0, "{seconds} s: {summary:?}");
        }
    }

    #[test]
    fn progress_that_misleads_never_costs_more_than_no_progress_may() {
        let misleading = [Shape::StalledAtZero, Shape::StuckAt99, Shape::FallsBack, Shape::StartsLate];
        for shape in misleading {
            for seconds in durations() {
                let summary = Summary::of(seconds, |total| predicted(shape, total, 0));
                let allowed_seconds = (seconds as f64 / 100.0).max(60.0);
                assert!(summary.max_overshoot_seconds <= allowed_seconds, "{shape:?}, {seconds} s: {summary:?}");
            }
        }
    }

    #[test]
    fn a_sudden_end_costs_a_quarter_of_a_short_wait_and_a_tenth_of_a_long_one() {
        for seconds in durations() {
            let summary = Summary::of(seconds, |total| predicted(Shape::Jumps, total, 0));
            let allowed_seconds = (seconds / 4).clamp(60, 300).max(seconds / 10) as f64;
            assert!(summary.max_overshoot_seconds <= allowed_seconds, "{seconds} s: {summary:?}");
        }
    }

    #[test]
    fn a_week_fits_into_the_history_of_an_execution_whatever_the_progress() {
        for shape in Shape::ALL {
            for seconds in durations().chain([WEEK_SECONDS]) {
                let summary = Summary::of(seconds, |total| predicted(shape, total, 0));
                assert!(summary.max_events() <= EVENTS_A_WAIT, "{shape:?}, {seconds} s: {summary:?}");
            }
        }
        let reference = Summary::of(WEEK_SECONDS, fixed);
        assert!(reference.max_events() > EVENTS_A_WAIT, "the reference: {reference:?}");
    }

    #[test]
    fn the_table_has_a_row_for_each_shape_and_duration() {
        let rows = simulation::table().lines().filter(|line| line.starts_with(' ')).count();
        assert_eq!(rows, (Shape::ALL.len() + 2) * (DURATIONS.len() + 1));
    }

    #[test]
    fn the_first_look_grants_the_shortest_sleep() {
        let wait = next(None, None, HOUR_SECONDS).expect("time is left");
        assert_eq!((wait.waited_seconds, wait.wait_seconds, wait.looks), (5, 5, 1));
        assert_eq!(next(Some(&Wait::default()), None, HOUR_SECONDS).expect("time is left"), wait);
    }

    #[test]
    fn the_last_sleep_ends_on_the_deadline() {
        let first = next(None, None, 8).expect("time is left");
        let second = next(Some(&first), None, 8).expect("time is left");
        assert_eq!((second.waited_seconds, second.wait_seconds), (8, 3));
        let passed = next(Some(&second), None, 8).expect_err("the deadline has passed");
        assert_eq!(passed.to_string(), "waited 8 seconds, and the limit is 8");
        assert!(next(None, None, 0).is_err());
    }

    #[test]
    fn a_sleep_of_given_length_counts_like_any_other() {
        let wait = sleep(Some(&Wait { waited_seconds: 30, ..Wait::default() }), 45, 100).expect("time is left");
        assert_eq!((wait.waited_seconds, wait.wait_seconds), (75, 45));
        assert_eq!(sleep(Some(&wait), 45, 100).expect("time is left").wait_seconds, 25);
        assert_eq!(sleep(Some(&wait), 0, 100).expect("time is left").wait_seconds, 1);
        assert!(sleep(Some(&wait), 45, 75).is_err());
    }

    #[test]
    fn one_percent_alone_confirms_no_prediction() {
        let first = next(None, Some(0), HOUR_SECONDS).expect("time is left");
        let later = Wait { waited_seconds: 1_600, ..first };
        for (percent, sleep_seconds) in [(0, 56), (1, 56), (2, 300)] {
            let wait = next(Some(&later), Some(percent), HOUR_SECONDS).expect("time is left");
            assert_eq!(wait.wait_seconds, sleep_seconds, "{percent} %");
        }
    }

    /// A wait of about a week with a confirmed prediction.
    fn near_the_end(earliest_seconds: u64, latest_seconds: u64) -> Wait {
        let prediction = Prediction { since_percent: 0, confirming_percent: 2, earliest_seconds, latest_seconds };
        Wait { waited_seconds: 600_000, wait_seconds: 60, looks: 300, prediction: Some(prediction) }
    }

    #[test]
    fn close_bounds_are_searched_in_short_steps_and_distant_ones_in_long_steps() {
        for (latest_seconds, step_seconds) in [(600_200, 5), (606_000, 40)] {
            let wait = next(Some(&near_the_end(599_000, latest_seconds)), Some(99), 2 * WEEK_SECONDS);
            assert_eq!(wait.expect("time is left").wait_seconds, step_seconds);
        }
    }

    #[test]
    fn bounds_that_have_passed_predict_nothing() {
        let wait = next(Some(&near_the_end(597_000, 599_000)), Some(100), 2 * WEEK_SECONDS);
        assert_eq!(wait.expect("time is left").wait_seconds, 6_000);
    }

    #[test]
    fn a_percentage_out_of_range_is_ignored() {
        let wait = Wait { waited_seconds: 4_000, looks: 60, ..Wait::default() };
        let without = next(Some(&wait), None, HOUR_SECONDS * 2).expect("time is left");
        for percent in [-1, 101, 256 + 50, i32::MIN, i32::MAX] {
            assert_eq!(next(Some(&wait), Some(percent), HOUR_SECONDS * 2).expect("time is left"), without, "{percent}");
        }
    }

    #[test]
    fn a_state_without_a_prediction_is_read_and_a_misspelt_one_is_not() {
        let wait = Wait { waited_seconds: 67, wait_seconds: 7, looks: 9, prediction: None };
        let absent = json!({"waited_seconds": 67, "wait_seconds": 7, "looks": 9});
        let null = json!({"waited_seconds": 67, "wait_seconds": 7, "looks": 9, "prediction": null});
        for state in [&absent, &null] {
            assert_eq!(serde_json::from_value::<Wait>(state.clone()).expect("a state"), wait);
        }
        assert_eq!(serde_json::to_value(&wait).expect("a state"), null);
        assert!(serde_json::from_value::<Wait>(json!({"waited": 67})).is_err());
    }

    /// Any number, with the plausible ones more often.
    fn any_percent_progress() -> impl Strategy<Value = Option<i32>> {
        prop_oneof![1 => Just(None), 4 => (-2..=102).prop_map(Some), 1 => any::<i32>().prop_map(Some)]
    }

    /// A percentage for each look: anything at all, or steps upwards that each last for some looks.
    fn any_progress() -> impl Strategy<Value = Vec<Option<i32>>> {
        let steps = prop::collection::vec((0..8_i32, 1..20_usize), 1..80).prop_map(|steps| {
            let mut percent = 0;
            let mut progress = Vec::new();
            for (rise, looks) in steps {
                percent = (percent + rise).min(100);
                progress.extend(std::iter::repeat_n(Some(percent), looks));
            }
            progress
        });
        prop_oneof![prop::collection::vec(any_percent_progress(), 1..800), steps]
    }

    prop_compose! {
        fn any_wait()(
            waited_seconds in prop_oneof![0..2 * YEAR_SECONDS, any::<u64>()],
            wait_seconds: u64,
            looks in prop_oneof![any::<u32>(), Just(u32::MAX)],
            prediction in prop::option::of(any::<(u8, u8, u64, u64)>()),
        ) -> Wait {
            let prediction = prediction.map(|(since_percent, confirming_percent, earliest_seconds, latest_seconds)| {
                Prediction { since_percent, confirming_percent, earliest_seconds, latest_seconds }
            });
            Wait { waited_seconds, wait_seconds, looks, prediction }
        }
    }

    proptest! {
        #[test]
        fn every_sleep_keeps_within_floor_ceiling_and_deadline(
            progress in any_progress(),
            deadline_seconds in 1..10 * 86_400_u64,
        ) {
            let mut wait = Wait::default();
            for percent_progress in progress {
                let before = wait.waited_seconds;
                let Ok(granted) = next(Some(&wait), percent_progress, deadline_seconds) else {
                    prop_assert_eq!(before, deadline_seconds);
                    break;
                };
                let sleep_seconds = granted.wait_seconds;
                let ceiling_seconds = (before / 4).clamp(60, 300).max(before / 10);
                prop_assert!(sleep_seconds >= 5 || granted.waited_seconds == deadline_seconds);
                prop_assert!(sleep_seconds >= 1 && sleep_seconds <= ceiling_seconds);
                prop_assert!(granted.waited_seconds <= deadline_seconds);
                prop_assert_eq!(granted.waited_seconds, before + sleep_seconds);
                wait = granted;
            }
        }

        #[test]
        fn progress_that_stands_still_never_stretches_a_sleep(
            percent_progress in any_percent_progress(),
            deadline_seconds in 1..10 * 86_400_u64,
        ) {
            let mut wait = Wait::default();
            while let Ok(granted) = next(Some(&wait), percent_progress, deadline_seconds) {
                prop_assert!(granted.wait_seconds <= (wait.waited_seconds / 100).max(60));
                wait = granted;
            }
            prop_assert_eq!(wait.waited_seconds, deadline_seconds);
        }

        #[test]
        fn any_state_gives_a_sleep_that_step_functions_accepts_or_a_deadline(
            wait in any_wait(),
            percent_progress in any_percent_progress(),
            deadline_seconds: u64,
        ) {
            match next(Some(&wait), percent_progress, deadline_seconds) {
                Ok(granted) => prop_assert!((1..=99_999_999).contains(&granted.wait_seconds)),
                Err(_) => prop_assert!(wait.waited_seconds >= deadline_seconds.min(YEAR_SECONDS)),
            }
        }

        #[test]
        fn a_week_of_any_progress_fits_into_a_quarter_of_a_history(progress in any_progress()) {
            let mut wait = Wait::default();
            let mut progress = progress.into_iter().cycle();
            while let Ok(granted) = next(Some(&wait), progress.next().flatten(), WEEK_SECONDS) {
                wait = granted;
            }
            prop_assert!(wait.looks * 9 <= 6_000, "{} looks", wait.looks);
        }
    }
}
