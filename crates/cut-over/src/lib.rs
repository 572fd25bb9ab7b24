//! The outage, in one invocation: fence, end the sessions, marker, drain, proof that nothing came after, sequences,
//! and the comparison of the rows that changed last. What does not work out in time opens the source again.
//!
//! By AWS DMS the proof is its own: every table validated, and nothing left to compare. At the end it is shut out, and
//! the target has its foreign keys and triggers back before any client can write.
//!
//! AWS calls: DescribeDBInstances, Secrets Manager GetSecretValue; DMS DescribeReplicationTasks,
//! DescribeTableStatistics. Repeating it is safe: a fence that an earlier invocation left is taken away first, and the
//! answer is to wait.

mod of_mariadb;
mod of_postgresql;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_sdk_databasemigration::Client;
use databases::{Access, Compared, Replicated, Server, Servers};
use dms::Replication;
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
/// What replicates goes on meanwhile, and the loop around looks after it.
const BETWEEN_LOOKS_AT_WINDOW: Duration = Duration::from_mins(30);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub engine: Engine,
    pub owner: Owner,
    pub target_resource_id: String,
    pub access: Access,
    pub databases: Replicated,
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

/// What differs between the makers of the servers.
trait Outage {
    /// Takes the fence away, if there is one: whether there was.
    async fn open(&mut self) -> Result<bool, Error>;
    /// From the fence to a target that has everything.
    async fn attempt(&mut self, target: &Server, response: &mut Response) -> Result<(), Error>;
}

pub async fn handle(servers: &Servers, client: &Client, request: Request) -> Result<Response, Error> {
    let source = servers.get(&request.owner.source_resource_id, &request.access).await?;
    match &request.databases {
        Replicated::PostgreSql(databases) => {
            let dms = Replication::of(client, &request.owner);
            let dms = (request.engine == Engine::Dms).then_some(dms);
            run(servers, &request, of_postgresql::Source::open(&source, databases, &request, dms.as_ref()).await?).await
        }
        Replicated::MariaDb(schemas) => {
            run(servers, &request, of_mariadb::Source::open(&source, schemas, &request).await?).await
        }
    }
}

async fn run(servers: &Servers, request: &Request, mut source: impl Outage) -> Result<Response, Error> {
    let previous = request.previous.clone().unwrap_or_default();
    let attempts = previous.attempts + 1;
    let mut response = Response { attempts, wait: previous.wait.clone(), ..Response::default() };
    // Before anything that can fail.
    let was_fenced = source.open().await?;
    let target = servers.get(&request.target_resource_id, &request.access).await?;
    if !was_fenced && let Some(opens_in) = request.opens_in(SystemTime::now())? {
        let wait_seconds = opens_in.min(BETWEEN_LOOKS_AT_WINDOW).as_secs() + 1;
        let reason = Some(format!("the window opens in {} minutes", opens_in.as_secs() / 60));
        return Ok(Response { wait: Wait { wait_seconds, ..previous.wait.clone() }, reason, ..previous });
    }
    let failure = if was_fenced {
        Error::DatabaseUnavailable("an earlier attempt ended in the middle; the source was opened again".to_owned())
    } else {
        match source.attempt(&target, &mut response).await {
            Ok(()) => return Ok(response),
            Err(error) => {
                source.open().await?;
                error
            }
        }
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

/// The time that an outage has.
struct Fenced {
    begun: Instant,
    until: Instant,
}

impl Fenced {
    fn now(request: &Request, response: &mut Response) -> Self {
        let begun = Instant::now();
        response.fenced_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Self { begun, until: begun + Duration::from_secs(FENCED_SECONDS_MAX.min(request.max_downtime_seconds)) }
    }

    /// What is not done by then is given up.
    async fn finish(
        self,
        response: &mut Response,
        work: impl AsyncFnOnce(&mut Response, Instant) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let left = self.until.saturating_duration_since(Instant::now());
        tokio::time::timeout(left, work(response, self.until)).await.map_err(|_| {
            Error::DatabaseUnavailable(format!(
                "the target was not level, or not compared, {} s after the fence",
                self.until.duration_since(self.begun).as_secs()
            ))
        })??;
        response.ready = true;
        response.milliseconds = self.begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        response.outage_seconds = self.begun.elapsed().as_secs() + 1;
        Ok(())
    }
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
            databases: Replicated::PostgreSql(vec![]),
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
