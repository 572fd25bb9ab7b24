//! Makes publication and replication slot in every database of the source, before the snapshot that is to hold them;
//! of MariaDB the account to replicate by, and has the binary log kept.
//!
//! AWS calls: DescribeDBInstances, Secrets Manager GetSecretValue. Repeating it is safe: what is there is kept.

use databases::{Access, Replicated, Servers};
use postgres::names::{MAINTENANCE, Names};
use postgres::{Open, catalog, replication};
use serde::{Deserialize, Serialize};
use workflow::Error;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub source_resource_id: String,
    pub access: Access,
    /// Whose names the objects bear.
    pub execution: String,
    pub databases: Replicated,
}

#[derive(Debug, Serialize)]
pub struct Response {
    pub slots: Vec<String>,
}

pub async fn handle(servers: &Servers, request: Request) -> Result<Response, Error> {
    let names = Names::of(&request.execution);
    let source = servers.get(&request.source_resource_id, &request.access).await?;
    if let Replicated::MariaDb(schemas) = &request.databases {
        let mut session = mariadb::open(&source).await?;
        mariadb::replication::publish(&mut session, &request.execution).await?;
        mariadb::catalog::is_unchanged(&mut session, schemas, "the source").await?;
        return Ok(Response { slots: vec![] });
    }
    let maintenance = source.open(MAINTENANCE).await?;
    replication::create_role(&maintenance, &names).await?;
    let mut slots = vec![];
    for database in request.databases.postgresql() {
        let session = source.open(&database.name).await?;
        replication::publish(&session, database, &names).await?;
        catalog::is_unchanged(&session, database, "the source").await?;
        slots.push(names.slot(database));
    }
    Ok(Response { slots })
}
