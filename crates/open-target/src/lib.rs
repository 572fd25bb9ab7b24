//! After the switch: takes the subscription and all else of the run off the target, which stands alone from then on,
//! and the replication slots off the old source, whose log they hold back.
//!
//! AWS calls: DescribeDBInstances, Secrets Manager GetSecretValue. Repeating it is safe: what is gone is gone.

use std::time::{SystemTime, UNIX_EPOCH};

use postgres::names::{Database, Names};
use postgres::{Access, Servers};
use serde::{Deserialize, Serialize};
use workflow::Error;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub side: Side,
    pub resource_id: String,
    pub access: Access,
    pub execution: String,
    pub databases: Vec<Database>,
    /// When the fence went up, in seconds since 1970; for the target.
    #[serde(default)]
    pub fenced_at: f64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Target,
    OldSource,
}

#[derive(Debug, Default, Serialize)]
pub struct Response {
    /// From the fence to this step's first login at the target, by its name.
    pub downtime_seconds: f64,
}

pub async fn handle(servers: &Servers, request: Request) -> Result<Response, Error> {
    let names = Names::of(&request.execution);
    let server = servers.get(&request.resource_id, &request.access).await?;
    match request.side {
        Side::Target => {
            let maintenance = server.open(postgres::names::MAINTENANCE).await?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            postgres::release::target(&server, &maintenance, &request.databases, &names).await?;
            Ok(Response { downtime_seconds: now - request.fenced_at })
        }
        Side::OldSource => {
            postgres::release::old_source(&server, &request.databases, &names).await?;
            Ok(Response::default())
        }
    }
}
