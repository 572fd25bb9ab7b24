//! After the switch: takes replication and all else of the run off the target, which stands alone from then on, and the
//! replication slots off the old source, whose log they hold back. Of AWS DMS nothing is left then, either.
//!
//! AWS calls: DescribeDBInstances, Secrets Manager GetSecretValue; for what AWS DMS has its Describe calls,
//! ListTagsForResource, StopReplicationTask, DeleteReplicationTask, DeleteEndpoint and DeleteReplicationInstance.
//! Repeating it is safe: what is gone is gone.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_databasemigration::Client;
use databases::{Access, Replicated, Servers};
use dms::Replication;
use postgres::names::{MAINTENANCE, Names};
use postgres::{Open, release};
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::options::Engine;
use workflow::owner::Owner;
use workflow::wait::{self, Wait};

#[derive(Debug, Deserialize)]
#[serde(tag = "side", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Target {
        resource_id: String,
        access: Access,
        execution: String,
        databases: Replicated,
        /// When the fence went up, in seconds since 1970.
        fenced_at: f64,
    },
    OldSource {
        engine: Engine,
        owner: Owner,
        access: Access,
        databases: Replicated,
        /// By which it was read.
        slots: Vec<String>,
        /// `None` at the first look.
        previous: Option<CleanedUp>,
        max_wait_seconds: u64,
    },
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Response {
    Opened(Opened),
    CleanedUp(CleanedUp),
}

#[derive(Debug, Serialize)]
pub struct Opened {
    /// From the fence until clients can log in to the target by its name, as this step saw it.
    pub downtime_seconds: f64,
    /// Foreign keys that hold for what is written, and for whose older rows PostgreSQL has yet to say so: the
    /// statements that have it look.
    pub not_validated: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CleanedUp {
    /// Nothing is left.
    pub ready: bool,
    pub wait: Wait,
}

pub async fn handle(servers: &Servers, client: &Client, request: Request) -> Result<Response, Error> {
    match request {
        Request::Target { resource_id, access, execution, databases, fenced_at } => {
            let server = servers.get(&resource_id, &access).await?;
            let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            let (now, not_validated) = match &databases {
                Replicated::PostgreSql(databases) => {
                    let maintenance = server.open(MAINTENANCE).await?;
                    (seconds(), release::target(&server, &maintenance, databases, &Names::of(&execution)).await?)
                }
                Replicated::MariaDb(schemas) => {
                    let mut session = mariadb::open(&server).await?;
                    mariadb::release::target(&mut session, schemas, &execution).await?;
                    // Only now: the accounts were locked here, too.
                    (seconds(), vec![])
                }
            };
            Ok(Response::Opened(Opened { downtime_seconds: now - fenced_at, not_validated }))
        }
        Request::OldSource { engine, owner, access, databases, slots, previous, max_wait_seconds } => {
            // Somebody may have deleted it already.
            if let Some(server) = servers.find(&owner.source_resource_id, &access).await? {
                match &databases {
                    Replicated::PostgreSql(databases) => {
                        release::old_source(&server, databases, &Names::of(&owner.execution), &slots).await?;
                    }
                    Replicated::MariaDb(schemas) => {
                        let mut session = mariadb::open(&server).await?;
                        mariadb::release::old_source(&mut session, schemas, &owner.execution).await?;
                    }
                }
            }
            let mut response = CleanedUp { ready: true, ..previous.unwrap_or_default() };
            if engine == Engine::Dms {
                let oids: Vec<u32> = databases.postgresql().iter().map(|database| database.oid).collect();
                let pending = Replication::of(client, &owner).delete(&oids).await?.pending;
                if !pending.is_empty() {
                    response.ready = false;
                    response.wait = wait::next(Some(&response.wait), None, max_wait_seconds).map_err(|_| {
                        Error::WaitTimedOut(format!("not gone after {max_wait_seconds} s: {}", pending.join(", ")))
                    })?;
                }
            }
            Ok(Response::CleanedUp(response))
        }
    }
}
