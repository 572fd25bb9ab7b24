//! Lets AWS DMS into the source and the target, and takes off the target what would be in its way: foreign keys and
//! triggers, which are written down in the target for the time after.
//!
//! AWS calls: DescribeDBInstances, Secrets Manager GetSecretValue. Repeating it is safe: what is there is kept, and
//! what is away is found no more.

use databases::{Access, Servers};
use postgres::dms::{self, Rights};
use postgres::names::{Database, MAINTENANCE, Names};
use postgres::{Open, catalog, replication};
use serde::{Deserialize, Serialize};
use workflow::Error;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub source_resource_id: String,
    pub target_resource_id: String,
    pub access: Access,
    /// Whose names the objects bear.
    pub execution: String,
    pub databases: Vec<Database>,
}

#[derive(Debug, Serialize)]
pub struct Response {
    /// Foreign keys and triggers that this call took off the target.
    pub taken_away: usize,
}

pub async fn handle(servers: &Servers, request: Request) -> Result<Response, Error> {
    let names = Names::of(&request.execution);
    let source = servers.get(&request.source_resource_id, &request.access).await?;
    let target = servers.get(&request.target_resource_id, &request.access).await?;
    let mut taken_away = 0;
    for (server, rights) in [(&source, Rights::Read), (&target, Rights::Write)] {
        let maintenance = server.open(MAINTENANCE).await?;
        replication::create_role(&maintenance, &names).await?;
        let password = names.password(&server.credentials.password);
        replication::set_password(&maintenance, &names, &password).await?;
        for database in &request.databases {
            let session = server.open(&database.name).await?;
            dms::admit(&session, database, &names, rights).await?;
        }
    }
    for database in &request.databases {
        let (at_source, at_target) = tokio::try_join!(source.open(&database.name), target.open(&database.name))?;
        catalog::is_unchanged(&at_source, database, "the source").await?;
        taken_away += dms::prepare(&at_target, database, &names).await?;
    }
    Ok(Response { taken_away })
}
