//! Starts AWS DMS's tasks, and looks until every table is loaded and compared, and the target is close behind.
//!
//! AWS calls: DescribeDBInstances, Secrets Manager GetSecretValue; DMS DescribeReplicationTasks, StartReplicationTask,
//! DescribeTableStatistics. Repeating it is safe: a task is started once.
//!
//! Each look leaves a marker at the source, and is content if the target has the last look's. That tells how far the
//! target is behind, and keeps the slot of a database moving in which nobody writes.

use aws_sdk_databasemigration::Client;
use databases::Servers;
use dms::Replication;
use dms::run::Progress;
use postgres::names::{MAINTENANCE, Names};
use postgres::{Open, catalog, dms as of_dms, replication};
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::owner::DENIED_SECONDS;
use workflow::wait::{self, Wait};

/// Under load some rows always wait for their validation. What waits must be done with in the outage.
const PENDING_ROWS_MAX: i64 = 1_000;

pub type Request = databases::Request<Response>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    pub ready: bool,
    /// Of each database, where the target began: `app loaded anew by AWS DMS, 12 tables`
    pub starts: Vec<String>,
    /// By which AWS DMS reads the source, under names of its own.
    pub slots: Vec<String>,
    /// The number of the last look's marker.
    pub marker: u64,
    /// What was waited for at the last look.
    pub status: Option<String>,
    pub wait: Wait,
}

pub async fn handle(servers: &Servers, client: &Client, request: Request) -> Result<Response, Error> {
    let names = Names::of(&request.owner.execution);
    let source = servers.get(&request.owner.source_resource_id, &request.access).await?;
    let target = servers.get(&request.target_resource_id, &request.access).await?;
    let previous = request.previous.unwrap_or_default();
    let (at_source, at_target) = tokio::try_join!(source.open(MAINTENANCE), target.open(MAINTENANCE))?;
    catalog::has_the_same_databases(&at_source, request.databases.postgresql()).await?;
    for maintenance in [&at_source, &at_target] {
        of_dms::is_admitted(maintenance, &names).await?;
    }
    let replication = Replication::of(client, &request.owner);
    let mut response = Response { ready: false, status: None, starts: vec![], ..previous };
    let mut behind = vec![];
    for database in request.databases.postgresql() {
        let (at_source, at_target) = tokio::try_join!(source.open(&database.name), target.open(&database.name))?;
        catalog::is_unchanged(&at_source, database, "the source").await?;
        // Before the task's own slot is looked for, since it is the task that makes it.
        let progress = match replication.run(database.oid).await {
            // The tag by which we may do it can be too young to count [A12].
            Err(Error::AccessDenied(_)) if response.wait.waited_seconds < DENIED_SECONDS => None,
            progress => progress?,
        };
        for slot in of_dms::slots(&at_source, &names).await? {
            if !response.slots.contains(&slot) {
                response.slots.push(slot);
            }
        }
        let has_marker = replication::is_marked(&at_target, &names, &marker(response.marker)).await?;
        replication::mark(&at_source, &names, &marker(response.marker + 1)).await?;
        match progress {
            Some(Progress { tables, pending_rows, is_loaded: true, .. })
                if pending_rows <= PENDING_ROWS_MAX && has_marker =>
            {
                response.starts.push(format!("{} loaded anew by AWS DMS, {tables} tables", database.name));
            }
            progress => behind.push(format!("database `{}`: {}", database.name, told(progress, has_marker))),
        }
    }
    response.marker += 1;
    response.ready = behind.is_empty();
    if !response.ready {
        let status = behind.join("; ");
        response.wait = wait::next(Some(&response.wait), None, request.max_wait_seconds).map_err(|_| {
            Error::WaitTimedOut(format!("the target is still behind after {} s: {status}", request.max_wait_seconds))
        })?;
        response.status = Some(status);
    }
    Ok(response)
}

fn marker(number: u64) -> String {
    format!("look {number}")
}

fn told(progress: Option<Progress>, has_marker: bool) -> String {
    match progress {
        None => "its task is starting".to_owned(),
        Some(progress) if progress.percent_loaded < 100 => format!("{} % loaded", progress.percent_loaded),
        Some(progress) if !progress.is_loaded => "its tables are being compared".to_owned(),
        Some(progress) if has_marker => format!("{} rows to compare", progress.pending_rows),
        Some(_) => "the target does not have the last look's marker".to_owned(),
    }
}
