//! The outage, in one invocation: fence, end the sessions, marker, drain, proof that nothing came after, sequences,
//! and the comparison of the rows that changed last. What does not work out in time opens the source again.
//!
//! By AWS DMS the proof is its own: every table validated, and nothing left to compare. At the end it is shut out, and
//! the target has its foreign keys and triggers back before any client can write.
//!
//! AWS calls: DescribeDBInstances, Secrets Manager GetSecretValue; DMS DescribeReplicationTasks,
//! DescribeTableStatistics. Repeating it is safe: a fence that an earlier invocation left is taken away first, and the
//! answer is to wait.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_sdk_databasemigration::Client;
use dms::Replication;
use postgres::compare::Comparison;
use postgres::names::{Database, MAINTENANCE, Names, literal};
use postgres::rows::Compared;
use postgres::{Access, Server, Servers, Session, catalog, dms as of_dms, failed, fence, replication};
use serde::{Deserialize, Serialize};
use window::Now;
use workflow::Error;
use workflow::options::Engine;
use workflow::owner::Owner;
use workflow::wait::Wait;

/// From the fence to the answer: the function itself ends after 60 seconds.
const FENCED_SECONDS_MAX: u64 = 30;
/// A source that cannot be drained is not fenced for ever again.
const ATTEMPTS_MAX: u32 = 5;
const BETWEEN_ATTEMPTS_SECONDS: u64 = 60;
const BETWEEN_LOOKS: Duration = Duration::from_millis(3);
/// What replicates goes on meanwhile, and the loop around looks after it.
const BETWEEN_LOOKS_AT_WINDOW: Duration = Duration::from_mins(30);
/// At what AWS DMS says of its tables, which is a call of its API.
const BETWEEN_CALLS: Duration = Duration::from_millis(100);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub engine: Engine,
    pub owner: Owner,
    pub target_resource_id: String,
    pub access: Access,
    pub databases: Vec<Database>,
    pub max_downtime_seconds: u64,
    pub window: Option<String>,
    pub window_seconds: u64,
    /// `None` at the first attempt.
    pub previous: Option<Response>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// The target has everything, and nobody writes to the source any more.
    pub ready: bool,
    pub attempts: u32,
    /// Why the last attempt opened the source again, or was none.
    pub reason: Option<String>,
    /// Seconds since 1970 at which the fence went up, with milliseconds.
    pub fenced_at: f64,
    /// From the fence to this answer.
    pub milliseconds: u64,
    /// For the renames: for how long nobody has been able to write.
    pub outage_seconds: u64,
    /// Sessions of clients that were ended.
    pub sessions_ended: u64,
    pub sequences: usize,
    /// Foreign keys and triggers that the target has back.
    pub put_back: usize,
    pub compared: Compared,
    pub wait: Wait,
}

pub async fn handle(servers: &Servers, client: &Client, request: Request) -> Result<Response, Error> {
    let previous = request.previous.clone().unwrap_or_default();
    let attempts = previous.attempts + 1;
    let mut response = Response { attempts, wait: previous.wait.clone(), ..Response::default() };
    let source = servers.get(&request.owner.source_resource_id, &request.access).await?;
    let maintenance = source.open(MAINTENANCE).await?;
    // Before anything that can fail.
    let opened = fence::open(&maintenance, &request.databases, request.engine).await?;
    let target = servers.get(&request.target_resource_id, &request.access).await?;
    if opened.is_empty()
        && let Some(opens_in) = request.opens_in(SystemTime::now())?
    {
        let wait_seconds = opens_in.min(BETWEEN_LOOKS_AT_WINDOW).as_secs() + 1;
        let reason = Some(format!("the window opens in {} minutes", opens_in.as_secs() / 60));
        return Ok(Response { wait: Wait { wait_seconds, ..previous.wait.clone() }, reason, ..previous });
    }
    let failure = if opened.is_empty() {
        let dms = Replication::of(client, &request.owner);
        let dms = (request.engine == Engine::Dms).then_some(dms);
        match attempt(&source, &target, &maintenance, dms.as_ref(), &request, &mut response).await {
            Ok(()) => return Ok(response),
            Err(error) => {
                reopen(&source, &maintenance, &request).await?;
                error
            }
        }
    } else {
        Error::DatabaseUnavailable("an earlier attempt ended in the middle; the source was opened again".to_owned())
    };
    if !failure.is_passing() {
        return Err(failure);
    }
    if attempts >= ATTEMPTS_MAX {
        return Err(Error::WaitTimedOut(format!(
            "the source could not be drained in {ATTEMPTS_MAX} attempts; each time it was opened again: {failure}"
        )));
    }
    let wait = Wait { wait_seconds: BETWEEN_ATTEMPTS_SECONDS, ..previous.wait };
    Ok(Response { attempts, reason: Some(failure.to_string()), wait, ..Response::default() })
}

impl Request {
    /// Until the window opens, if there is one and it is not open; the outage must end before it closes.
    fn opens_in(&self, now: SystemTime) -> Result<Option<Duration>, Error> {
        let Some(opens) = &self.window else { return Ok(None) };
        let lasts = Duration::from_secs(self.window_seconds.saturating_sub(self.max_downtime_seconds));
        match window::look(opens, lasts, now) {
            Ok(Now::Open) => Ok(None),
            Ok(Now::OpensIn(time)) => Ok(Some(time)),
            Err(problem) => Err(Error::WaitTimedOut(format!("the source was not cut over; the window {problem}"))),
        }
    }
}

/// A fence must not outlive the invocation that gave up, nor the connection that it was made by.
async fn reopen(source: &Server, maintenance: &Session, request: &Request) -> Result<(), Error> {
    if fence::open(maintenance, &request.databases, request.engine).await.is_err() {
        fence::open(&source.open(MAINTENANCE).await?, &request.databases, request.engine).await?;
    }
    Ok(())
}

/// Both sides of a database, connected before the fence, which lets nobody in.
struct Pair<'a> {
    database: &'a Database,
    source: Session,
    target: Session,
}

async fn attempt(
    source: &Server,
    target: &Server,
    maintenance: &Session,
    dms: Option<&Replication<'_>>,
    request: &Request,
    response: &mut Response,
) -> Result<(), Error> {
    let names = Names::of(&request.owner.execution);
    let mut pairs = vec![];
    for database in &request.databases {
        let (source, target) = tokio::try_join!(source.open(&database.name), target.open(&database.name))?;
        // What has stopped is found before the fence.
        match dms {
            None => _ = replication::lag(&source, &target, database, &names).await?,
            Some(dms) => _ = dms.progress(database.oid).await?,
        }
        pairs.push(Pair { database, source, target });
    }
    // Once without an outage, and once more where nobody can change anything any more.
    for pair in &pairs {
        catalog::has_its_clients(&pair.source, pair.database, "the source").await?;
    }
    nothing_has_changed(maintenance, &pairs, request).await?;
    let mut ours = vec![];
    let mut comparisons = vec![];
    for pair in &pairs {
        comparisons.push(Comparison::begin(pair.database, &pair.source, &pair.target, &names).await?);
        ours.push(fence::process_id(&pair.source).await?);
    }

    let begun = Instant::now();
    let until = begun + Duration::from_secs(FENCED_SECONDS_MAX.min(request.max_downtime_seconds));
    response.fenced_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    fence::close(maintenance, &request.databases, request.engine).await?;
    response.sessions_ended = fence::clear(maintenance, &request.databases, &names, &ours, until).await?;
    let left = until.saturating_duration_since(Instant::now());
    let finish = async {
        nothing_has_changed(maintenance, &pairs, request).await?;
        finish(&pairs, &comparisons, &names, dms, request, response).await
    };
    tokio::time::timeout(left, finish).await.map_err(|_| {
        Error::DatabaseUnavailable(format!(
            "the target was not level, or not compared, {} s after the fence",
            until.duration_since(begun).as_secs()
        ))
    })??;
    response.ready = true;
    response.milliseconds = begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
    response.outage_seconds = begun.elapsed().as_secs() + 1;
    Ok(())
}

async fn nothing_has_changed(maintenance: &Session, pairs: &[Pair<'_>], request: &Request) -> Result<(), Error> {
    catalog::has_the_same_databases(maintenance, &request.databases).await?;
    for pair in pairs {
        catalog::has_its_schema(&pair.source, pair.database, "the source").await?;
        // By AWS DMS foreign keys and triggers are away until the end.
        if request.engine == Engine::Native {
            catalog::is_unchanged(&pair.target, pair.database, "the target").await?;
        }
    }
    Ok(())
}

async fn finish(
    pairs: &[Pair<'_>],
    comparisons: &[Comparison<'_>],
    names: &Names,
    dms: Option<&Replication<'_>>,
    request: &Request,
    response: &mut Response,
) -> Result<(), Error> {
    let id = format!("{} {}", request.owner.execution, response.fenced_at);
    for (pair, comparison) in pairs.iter().zip(comparisons) {
        let place = replication::mark(&pair.source, names, &id).await?;
        while !replication::is_marked(&pair.target, names, &id).await? {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        match dms {
            Some(dms) => {
                while !dms.progress(pair.database.oid).await?.is_validated() {
                    tokio::time::sleep(BETWEEN_CALLS).await;
                }
            }
            None => {
                replication::pause(&pair.target, names).await?;
                let behind = replication::changes_behind(&pair.source, pair.database, names, place).await?;
                if behind > 0 {
                    return Err(Error::DatabaseUnavailable(format!(
                        "database `{}`: {behind} changes came behind the fence",
                        pair.database.name
                    )));
                }
            }
        }
        response.sequences += set_sequences(pair).await?;
        let compared = comparison.finish().await?;
        response.compared.tables += compared.tables;
        response.compared.rows += compared.rows;
    }
    if dms.is_some() {
        for pair in pairs {
            of_dms::dismiss(&pair.source, names).await?;
            of_dms::dismiss(&pair.target, names).await?;
            response.put_back += of_dms::put_back(&pair.target, pair.database, names).await?;
            catalog::is_unchanged(&pair.target, pair.database, "the target").await?;
        }
    }
    Ok(())
}

/// Sequences are not replicated: each of the target, identity columns' included, gets what the source's has.
async fn set_sequences(pair: &Pair<'_>) -> Result<usize, Error> {
    let what = || failed(format!("carry the sequences of database `{}`", pair.database.name));
    let sequences = catalog::sequences(&pair.source).await?;
    if sequences.is_empty() {
        return Ok(0);
    }
    let reads: Vec<String> = sequences
        .iter()
        .map(|sequence| format!("SELECT {}::text, last_value, is_called FROM {sequence}", literal(sequence)))
        .collect();
    let values = pair.source.query(&reads.join(" UNION ALL "), &[]).await.map_err(what())?;
    let writes: String = values
        .iter()
        .map(|row| {
            let (sequence, value, is_called): (String, i64, bool) = (row.get(0), row.get(1), row.get(2));
            format!("SELECT setval({}, {value}, {is_called});", literal(&sequence))
        })
        .collect();
    pair.target.batch_execute(&writes).await.map_err(what())?;
    Ok(sequences.len())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use workflow::online::Login;

    use super::*;

    fn request(window: Option<&str>) -> Request {
        Request {
            engine: Engine::Native,
            owner: Owner { execution: "an execution".to_owned(), source_resource_id: "db-A1".to_owned() },
            target_resource_id: "db-B2".to_owned(),
            access: Access { login: Login::IamUser(String::new()), extra_roots: String::new() },
            databases: vec![],
            max_downtime_seconds: 900,
            window: window.map(str::to_owned),
            window_seconds: 3_600,
            previous: None,
        }
    }

    #[test]
    fn the_outage_begins_in_the_window_only_where_it_ends_in_it() {
        let opens = SystemTime::UNIX_EPOCH + Duration::from_hours(2);
        let look = |seconds: i64| {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs((7_200 + seconds).cast_unsigned());
            request(Some("1970-01-01T02:00:00Z")).opens_in(now)
        };
        assert_eq!(look(-60).expect("opens"), Some(Duration::from_mins(1)));
        assert_eq!(look(0).expect("open"), None);
        assert_eq!(look(3_600 - 901).expect("open"), None);
        let missed = look(3_600 - 900).expect_err("too late for all of the outage");
        assert_eq!(missed.name(), "WaitTimedOut");
        assert!(missed.to_string().contains("was open at 1970-01-01T02:00:00"), "{missed}");
        assert_eq!(request(None).opens_in(opens).expect("always open"), None);
    }
}
