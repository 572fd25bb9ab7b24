//! A target that follows its source, to which clients write: every row once, and then again what changes.

use std::time::{Duration, Instant};

use databases::{CHANGED_ROWS_MAX, Look, Replicated, Servers};
use postgres::Open;
use postgres::compare::Comparison;
use postgres::names::Names;
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::wait::{self, Wait};

/// Of the function's 300 seconds; the last chunk, and the rows that changed, come on top.
const LOOK: Duration = Duration::from_secs(180);
/// There is more to do, so that nothing is waited for.
const AT_ONCE: u64 = 1;

pub type Request = databases::Request<Response>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// Every row was found equal, but for the few that changed since.
    pub ready: bool,
    pub tables: usize,
    /// Those that were gone through; the others have no key, and are compared in the outage.
    pub tables_compared: usize,
    pub rows: i64,
    pub percent_progress: Option<i64>,
    /// To be compared again.
    pub changed: i64,
    pub wait: Wait,
}

pub async fn handle(servers: &Servers, request: Request) -> Result<Response, Error> {
    let until = Instant::now() + LOOK;
    let execution = &request.owner.execution;
    let source = servers.get(&request.owner.source_resource_id, &request.access).await?;
    let target = servers.get(&request.target_resource_id, &request.access).await?;
    let mut response = Response { ready: true, wait: request.previous.unwrap_or_default().wait, ..Response::default() };
    let (mut is_whole, mut rows_estimated) = (true, 0);
    let mut add = |look: Look| {
        is_whole &= look.is_whole;
        response.ready &= look.is_whole && look.is_level;
        response.tables += look.tables;
        response.tables_compared += look.tables_compared;
        response.rows += look.rows;
        rows_estimated += look.rows_estimated;
        response.changed += look.changed;
    };
    match &request.databases {
        Replicated::PostgreSql(databases) => {
            let names = Names::of(execution);
            for database in databases {
                let (at_source, at_target) =
                    tokio::try_join!(source.open(&database.name), target.open(&database.name))?;
                let comparison = Comparison::begin(database, &at_source, &at_target, &names).await?;
                add(comparison.look(until).await?);
            }
        }
        Replicated::MariaDb(_) => {
            let (mut at_source, mut at_target) = tokio::try_join!(mariadb::open(&source), mariadb::open(&target))?;
            let sides = [&source, &target];
            let mut comparison =
                mariadb::compare::Comparison::begin(sides, &mut at_source, &mut at_target, execution).await?;
            add(comparison.look(until).await?);
        }
    }
    // The estimate is no promise.
    response.percent_progress = (rows_estimated > 0).then(|| (100 * response.rows / rows_estimated).min(99));
    response.ready &= response.changed <= CHANGED_ROWS_MAX;
    if response.ready {
        return Ok(Response { percent_progress: Some(100), ..response });
    }
    response.wait = if is_whole {
        wait::next(Some(&response.wait), None, request.max_wait_seconds).map_err(|_| {
            let what = match response.changed {
                changed if changed > CHANGED_ROWS_MAX => format!("{changed} rows change faster than they are compared"),
                _ => "the target is behind whenever rows are compared".to_owned(),
            };
            Error::WaitTimedOut(format!("{what}, after {} s: choose a quieter time", request.max_wait_seconds))
        })?
    } else {
        let Wait { waited_seconds, looks, .. } = response.wait;
        Wait { waited_seconds: waited_seconds + AT_ONCE, wait_seconds: AT_ONCE, looks: looks + 1, ..response.wait }
    };
    Ok(response)
}
