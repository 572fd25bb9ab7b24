//! Polling loops played against made-up progress: the numbers behind the constants of [`next`].

use super::{Wait, next};

/// One look is a pass through Task, Choice and Wait: three transitions (the last look lacks the
/// Wait) and nine history events, as counted in executions of such a loop.
const TRANSITIONS_A_LOOK: f64 = 3.0;
const EVENTS_A_LOOK: f64 = 9.0;

/// What `PercentProgress` can do while something takes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Absent,
    Linear,
    /// 0 until the end.
    StalledAtZero,
    /// Linear to 99 at half of the time.
    StuckAt99,
    /// Linear to 60, back to 30, and linear to the end.
    FallsBack,
    /// Linear to 30 at the end.
    Jumps,
    /// 0 for half of the time, then linear.
    StartsLate,
}

impl Shape {
    pub const ALL: [Self; 7] = [
        Self::Linear,
        Self::Absent,
        Self::StalledAtZero,
        Self::StuckAt99,
        Self::FallsBack,
        Self::Jumps,
        Self::StartsLate,
    ];

    fn percent_progress(self, elapsed: u64, total: u64) -> Option<i32> {
        let permille = elapsed * 1000 / total;
        let percent = match self {
            Self::Absent => return None,
            Self::Linear => elapsed * 100 / total,
            Self::StalledAtZero => 0,
            Self::StuckAt99 => (elapsed * 200 / total).min(99),
            Self::FallsBack if permille < 400 => elapsed * 150 / total,
            Self::FallsBack => 30 + (permille - 400) * 7 / 60,
            Self::Jumps => elapsed * 30 / total,
            Self::StartsLate => (elapsed * 200 / total).saturating_sub(100),
        };
        i32::try_from(percent).ok()
    }
}

/// How one wait went.
#[derive(Clone, Copy, Debug)]
pub struct Played {
    pub looks: u32,
    pub overshoot_milliseconds: u64,
}

/// Plays a wait by [`next`]. A look takes `look_milliseconds`, which no sleep accounts for.
pub fn predicted(shape: Shape, total_milliseconds: u64, look_milliseconds: u64) -> Played {
    let mut wait: Option<Wait> = None;
    let mut elapsed_milliseconds = 0;
    let mut looks = 1;
    while elapsed_milliseconds < total_milliseconds {
        let percent_progress = shape.percent_progress(elapsed_milliseconds, total_milliseconds);
        let Ok(granted) = next(wait.as_ref(), percent_progress, u64::MAX) else { break };
        elapsed_milliseconds += granted.wait_seconds * 1000 + look_milliseconds;
        wait = Some(granted);
        looks += 1;
    }
    Played { looks, overshoot_milliseconds: elapsed_milliseconds - total_milliseconds }
}

/// Plays a wait by a fixed sleep of 60 seconds, as the reference does.
pub fn fixed(total_milliseconds: u64) -> Played {
    let sleeps = total_milliseconds.div_ceil(60_000);
    Played {
        looks: u32::try_from(sleeps + 1).unwrap_or(u32::MAX),
        overshoot_milliseconds: sleeps * 60_000 - total_milliseconds,
    }
}

/// Waits of about the same length, taken together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub mean_overshoot_seconds: f64,
    pub max_overshoot_seconds: f64,
    pub mean_looks: f64,
    pub max_looks: f64,
}

impl Summary {
    /// Plays waits between 90 % and 100 % of `longest_seconds`. Their number is prime, so that
    /// their ends are not in step with the sleeps.
    pub fn of(longest_seconds: u64, play: impl Fn(u64) -> Played) -> Self {
        const WAITS: u32 = 97;
        let mut summary = Self::default();
        for wait in 1..=u64::from(WAITS) {
            let played = play(longest_seconds * 100 * (9 * u64::from(WAITS) + wait) / u64::from(WAITS));
            let overshoot_seconds = played.overshoot_milliseconds as f64 / 1000.0;
            let looks = f64::from(played.looks);
            summary.mean_overshoot_seconds += overshoot_seconds / f64::from(WAITS);
            summary.max_overshoot_seconds = summary.max_overshoot_seconds.max(overshoot_seconds);
            summary.mean_looks += looks / f64::from(WAITS);
            summary.max_looks = summary.max_looks.max(looks);
        }
        summary
    }

    pub fn mean_transitions(&self) -> f64 {
        TRANSITIONS_A_LOOK * self.mean_looks - 1.0
    }

    pub fn max_events(&self) -> f64 {
        EVENTS_A_LOOK * self.max_looks
    }

    fn row(&self, duration: &str) -> String {
        format!(
            "{duration:>8} {:>9.1} {:>9.1} {:>7.0} {:>12.0} {:>8.0}\n",
            self.mean_overshoot_seconds,
            self.max_overshoot_seconds,
            self.mean_looks,
            self.mean_transitions(),
            self.max_events(),
        )
    }
}

/// Waits of one minute to seven days.
pub const DURATIONS: [(&str, u64); 13] = [
    ("1 min", 60),
    ("2 min", 120),
    ("5 min", 300),
    ("10 min", 600),
    ("20 min", 1_200),
    ("30 min", 1_800),
    ("1 h", 3_600),
    ("100 min", 6_000),
    ("2 h", 7_200),
    ("10 h", 36_000),
    ("1 day", 86_400),
    ("3 days", 259_200),
    ("7 days", 604_800),
];

/// The table that `make bench` prints.
pub fn table() -> String {
    let mut table = String::new();
    let mut block = |title: String, play: &dyn Fn(u64) -> Played| {
        table += &format!("{title}\n");
        table += "    wait  mean (s)   max (s)   looks  transitions   events\n";
        for (name, seconds) in DURATIONS {
            table += &Summary::of(seconds, play).row(name);
        }
        table += "\n";
    };
    block("fixed 60 s, whatever the progress".to_owned(), &fixed);
    for shape in Shape::ALL {
        block(format!("{shape:?}"), &|total| predicted(shape, total, 0));
    }
    block("Linear, when each look takes 0.7 s".to_owned(), &|total| predicted(Shape::Linear, total, 700));
    table
}
