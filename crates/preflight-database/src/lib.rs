//! Logs in to the source and refuses what replication could not carry, or a comparison not read, before anything is
//! created.
//!
//! AWS calls: DescribeDBInstances, Secrets Manager GetSecretValue. Of the databases it only reads.

use databases::still::Preflight;
use databases::{Access, Product, Replicated, Server, Servers};
use postgres::names::{Database, MAINTENANCE};
use postgres::{Open, catalog};
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::options::Engine;

#[derive(Debug, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Replication(Replication),
    /// As verify-data does, where nobody writes.
    Comparison {
        source_resource_id: String,
        access: Access,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replication {
    pub source_resource_id: String,
    pub access: Access,
    pub engine: Engine,
    /// Where AWS DMS's instance is to be: the stack's parameter, which may be empty.
    pub replication_subnet_group: String,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Response {
    Replicable(Replicable),
    Comparable(Preflight),
}

#[derive(Debug, Serialize)]
pub struct Replicable {
    /// What is replicated.
    pub databases: Replicated,
    pub tables: usize,
    pub warnings: Vec<String>,
}

pub async fn handle(servers: &Servers, request: Request) -> Result<Response, Error> {
    Ok(match request {
        Request::Replication(request) => Response::Replicable(replication(servers, &request).await?),
        Request::Comparison { source_resource_id, access } => {
            let source = servers.get(&source_resource_id, &access).await?;
            Response::Comparable(match source.product {
                Product::PostgreSql => postgres::still::preflight(&source).await?,
                Product::MariaDb => mariadb::still::preflight(&source).await?,
            })
        }
    })
}

async fn replication(servers: &Servers, request: &Replication) -> Result<Replicable, Error> {
    let source = servers.get(&request.source_resource_id, &request.access).await?;
    let (response, problems) = match source.product {
        Product::PostgreSql => of_postgresql(&source, request).await?,
        Product::MariaDb => of_mariadb(&source, request).await?,
    };
    if problems.is_empty() {
        return Ok(response);
    }
    Err(Error::DatabaseNotUsable(format!(
        "{} cannot be replicated as it is:\n- {}",
        source.what,
        problems.join("\n- ")
    )))
}

async fn of_mariadb(source: &Server, request: &Replication) -> Result<(Replicable, Vec<String>), Error> {
    if request.engine == Engine::Dms {
        return Err(Error::DatabaseNotUsable(format!(
            "{} is a MariaDB server, with which AWS DMS was not tried: leave \"engine\" out",
            source.what
        )));
    }
    let found = mariadb::preflight::look(&mut mariadb::open(source).await?).await?;
    let databases = Replicated::MariaDb(found.schemas);
    Ok((Replicable { databases, tables: found.tables, warnings: found.warnings }, found.problems))
}

async fn of_postgresql(source: &Server, request: &Replication) -> Result<(Replicable, Vec<String>), Error> {
    let maintenance = source.open(MAINTENANCE).await?;
    let found = catalog::databases(&maintenance).await?;
    let engine = request.engine;
    let mut problems = catalog::problems_of_server(&maintenance, found.len(), engine).await?;
    if engine == Engine::Dms && request.replication_subnet_group.is_empty() {
        problems.push(
            "the stack's parameter ReplicationSubnetGroup is empty: name a replication subnet group of AWS DMS from which \
             the source can be reached"
                .to_owned(),
        );
    }
    problems.extend(catalog::problems_of_maintenance(&maintenance).await?);
    if found.is_empty() {
        problems.push("there is no database but `postgres`, so nothing to replicate: use encrypt-instance".to_owned());
    }
    let (mut databases, mut tables, mut warnings) = (vec![], 0, vec![]);
    for (name, oid, connection_limit) in found {
        if connection_limit == 0 {
            problems.push(format!(
                "database `{name}`: its CONNECTION LIMIT is 0, so that nobody can write to it: a fence that somebody \
                 left? ALTER DATABASE … CONNECTION LIMIT -1, or drop the database"
            ));
            continue;
        }
        let session = source.open(&name).await?;
        problems.extend(catalog::problems_of_database(&session, &name, engine).await?);
        problems.extend(catalog::problems_of_comparison(&session, &name).await?);
        warnings.extend(catalog::warnings_of_database(&session, &name, engine).await?);
        tables += catalog::tables(&session).await?.len();
        let clients = catalog::clients(&session, oid).await?;
        let schema_hash = catalog::schema_hash(&session).await?;
        databases.push(Database { name, oid, connection_limit, clients, schema_hash });
    }
    Ok((Replicable { databases: Replicated::PostgreSql(databases), tables, warnings }, problems))
}
