//! When a cutover may begin: from one time on, or whenever a cron expression says so, each time for a while.
//!
//! Both are UTC, and written as EventBridge Scheduler writes them, but for the time's `Z` or offset.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// For longer a source should not keep its log, nor would the looks fit into the history of an execution.
const AHEAD_MAX: Duration = Duration::from_hours(7 * 24);

/// What a look at the clock finds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Now {
    Open,
    OpensIn(Duration),
}

/// Whether it is open now, if it is so for that long. What is wrong with it, or that it does not open any more (soon
/// enough), is the error: words that go on from the field's name.
pub fn look(opens: &str, lasts: Duration, now: SystemTime) -> Result<Now, String> {
    let now = DateTime::<Utc>::from(now);
    let (last, next) = match opens.strip_prefix("cron(").and_then(|rest| rest.strip_suffix(')')) {
        Some(expression) => {
            let cron = parse(expression)?;
            (cron.find_previous_occurrence(&now, true).ok(), cron.find_next_occurrence(&now, false).ok())
        }
        None => {
            let at = DateTime::parse_from_rfc3339(opens).map_err(|_| {
                format!("`{opens}` is neither a time such as 2026-12-06T02:00:00Z nor cron(0 2 ? * SUN *)")
            })?;
            let at = at.to_utc();
            if at <= now { (Some(at), None) } else { (None, Some(at)) }
        }
    };
    let since = |then: DateTime<Utc>| (now - then).to_std().unwrap_or_default();
    if last.is_some_and(|last| since(last) < lasts) {
        return Ok(Now::Open);
    }
    let Some(next) = next else {
        return Err(match last {
            Some(last) => format!("was open at {} for the last time", last.to_rfc3339()),
            None => format!("never opens: `{opens}`"),
        });
    };
    let opens_in = (next - now).to_std().unwrap_or_default();
    if opens_in > AHEAD_MAX {
        return Err(format!(
            "opens at {}, in more than 7 days: until then the source keeps its log; start later",
            next.to_rfc3339()
        ));
    }
    Ok(Now::OpensIn(opens_in))
}

fn parse(expression: &str) -> Result<Cron, String> {
    let problem = |what: &str| {
        format!(
            "`cron({expression})` {what}; it has minutes, hours, day of month, month, day of week, year: cron(0 2 ? * SUN *)"
        )
    };
    let fields: Vec<&str> = expression.split_whitespace().collect();
    let [_, _, day, _, weekday, _] = fields[..] else { return Err(problem("does not have six fields")) };
    // "You can't use * in both the Day-of-month and Day-of-week fields" (EventBridge Scheduler, User Guide).
    if (day == "?") == (weekday == "?") {
        return Err(problem("needs a `?` for one of the two days"));
    }
    CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Required)
        .alternative_weekdays(true)
        .dom_and_dow(true)
        .sloppy_ranges(true)
        .build()
        // The library wants seconds where it is given years.
        .parse(&format!("0 {expression}"))
        .map_err(|error| problem(&format!("cannot be read ({error})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    /// On a Sunday.
    fn at(time: &str) -> SystemTime {
        DateTime::parse_from_rfc3339(&format!("2026-11-{time}Z")).expect("a time").to_utc().into()
    }

    #[test]
    fn it_is_open_from_a_time_on_for_a_while_or_opens_then() {
        for (opens, now, expected) in [
            ("2026-11-29T02:00:00Z", "29T02:00:00", Ok(Now::Open)),
            ("2026-11-29T02:00:00Z", "29T02:59:59", Ok(Now::Open)),
            ("2026-11-29T11:00:00+09:00", "29T02:30:00", Ok(Now::Open)),
            ("2026-11-29T02:00:00Z", "29T01:59:00", Ok(Now::OpensIn(Duration::from_mins(1)))),
            ("2026-11-29T02:00:00Z", "29T03:00:00", Err("was open at 2026-11-29T02:00:00+00:00 for the last time")),
            ("2026-11-29T02:00:00Z", "20T02:00:00", Err("in more than 7 days")),
            ("cron(0 2 ? * SUN *)", "29T02:10:00", Ok(Now::Open)),
            // The first day of the week is Sunday, as EventBridge counts.
            ("cron(0 2 ? * 1 *)", "29T02:10:00", Ok(Now::Open)),
            ("cron(0 2 ? * MON *)", "29T02:10:00", Ok(Now::OpensIn(24 * HOUR - Duration::from_mins(10)))),
            ("cron(0 2 ? * SUN *)", "29T03:00:00", Ok(Now::OpensIn(7 * 24 * HOUR - HOUR))),
            ("cron(0/30 1,2 29 * ? *)", "29T01:20:00", Ok(Now::Open)),
            ("cron(0 2 L * ? *)", "29T02:10:00", Ok(Now::OpensIn(24 * HOUR - Duration::from_mins(10)))),
            ("cron(0 2 ? * SUN 2025)", "29T02:10:00", Err("for the last time")),
            ("cron(0 2 1 1 ? *)", "29T02:10:00", Err("in more than 7 days")),
            ("cron(0 2 31 2 ? *)", "29T02:10:00", Err("never opens")),
        ] {
            let found = look(opens, HOUR, at(now));
            match expected {
                Ok(expected) => assert_eq!(found, Ok(expected), "{opens} at {now}"),
                Err(part) => assert!(found.as_ref().is_err_and(|said| said.contains(part)), "{opens}: {found:?}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_with_an_example() {
        for opens in [
            "tonight",
            "2026-11-29 02:00",
            "2026-11-29T02:00:00",
            "cron(0 2 * * SUN *)",
            "cron(0 2 ? * ? *)",
            "cron(0 2 * * *)",
            "cron(0 0 2 ? * SUN *)",
            "cron(61 2 ? * SUN *)",
            "cron(0 2 ? * SOON *)",
            "cron()",
            "rate(7 days)",
            "",
        ] {
            let said = look(opens, HOUR, at("29T02:00:00")).expect_err(opens);
            assert!(said.contains("cron(0 2 ? * SUN *)"), "{said}");
        }
    }
}
