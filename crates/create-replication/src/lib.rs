//! Makes what replicates by AWS DMS, tests its connections, and looks until all of it can be started.
//!
//! AWS calls: DescribeDBInstances, Secrets Manager GetSecretValue; DMS CreateReplicationInstance, CreateEndpoint,
//! TestConnection, CreateReplicationTask and their Describe calls, ListTagsForResource. It logs in to no database.
//! Repeating it is safe: it goes on with what is missing.

use aws_sdk_databasemigration::Client;
use databases::{Access, Servers};
use dms::Replication;
use dms::create::{self, InstanceSettings, Look};
use postgres::names::{Database, Names};
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::owner::{DENIED_SECONDS, Owner};
use workflow::wait::{self, Wait};

/// A connection can fail for a moment, while security groups or addresses are new.
const FAILED_TESTS_MAX: u32 = 3;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub owner: Owner,
    pub target_resource_id: String,
    pub access: Access,
    pub databases: Vec<Database>,
    pub instance: InstanceSettings,
    /// `None` at the first look.
    pub previous: Option<Response>,
    pub max_wait_seconds: u64,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    pub ready: bool,
    /// What was waited for at the last look.
    pub status: Option<String>,
    pub failed_tests: u32,
    pub wait: Wait,
}

pub async fn handle(servers: &Servers, client: &Client, request: Request) -> Result<Response, Error> {
    let names = Names::of(&request.owner.execution);
    let source = servers.get(&request.owner.source_resource_id, &request.access).await?;
    let target = servers.get(&request.target_resource_id, &request.access).await?;
    let previous = request.previous.unwrap_or_default();
    let password = names.password(&source.credentials.password);
    let [source, target] = [&source, &target].map(|server| create::Server {
        host: &server.host,
        port: server.port,
        username: names.base(),
        password: &password,
        schema: names.base(),
    });
    let databases: Vec<create::Database> =
        request.databases.iter().map(|database| create::Database { name: &database.name, oid: database.oid }).collect();
    let replication = Replication::of(client, &request.owner);
    let mut failed_tests = previous.failed_tests;
    let status = match replication.create(&request.instance, &databases, &source, &target).await {
        Ok(Look::Ready) => return Ok(Response { ready: true, ..previous }),
        Ok(Look::Pending(what)) => what,
        // The tags by which we may go on with what we made can be too young to count [A12].
        Err(error @ Error::AccessDenied(_)) if previous.wait.waited_seconds < DENIED_SECONDS => error.to_string(),
        Err(error) => return Err(error),
        Ok(Look::Unreachable(why)) => {
            failed_tests += 1;
            if failed_tests >= FAILED_TESTS_MAX {
                return Err(Error::ReplicationFailed(format!(
                    "{why}. The security groups of source and target must let the replication instance in, which has \
                     those of the stack's parameter SecurityGroupIds"
                )));
            }
            why
        }
    };
    let wait = wait::next(Some(&previous.wait), None, request.max_wait_seconds).map_err(|_| {
        Error::WaitTimedOut(format!("AWS DMS is not ready after {} s: {status}", request.max_wait_seconds))
    })?;
    Ok(Response { ready: false, status: Some(status), failed_tests, wait })
}
