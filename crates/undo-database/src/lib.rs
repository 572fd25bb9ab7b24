//! The part of the undo that needs a login: opens the source and takes replication off it, or, past the commit point,
//! lets the target stand alone. The undo asks for it and reads its answer; nothing here fails, but says why not yet.
//!
//! AWS calls: DescribeDBInstances, Secrets Manager GetSecretValue. Repeating it is safe: what is gone is gone.

use databases::{Access, Replicated, Schemas, Servers};
use postgres::names::{MAINTENANCE, Names};
use postgres::{Open, release};
use serde::Deserialize;
use workflow::Error;
use workflow::online::{DatabaseTask, Login, Undone};
use workflow::options::Engine;

#[derive(Debug, Deserialize)]
pub struct Request {
    pub state: State,
    /// The stack's parameter `ExtraDatabaseRoots`.
    pub extra_roots: String,
}

/// What it reads of the state, also of one that an earlier version wrote.
#[derive(Debug, Deserialize)]
pub struct State {
    pub owner: workflow::owner::Owner,
    pub options: Options,
    /// `None` before the preflight: then there is nothing of ours.
    #[serde(default)]
    pub preflight: Option<Preflight>,
    #[serde(default)]
    pub target: Option<Target>,
    #[serde(default)]
    pub replication: Option<Replication>,
    pub undo: Asked,
}

#[derive(Debug, Deserialize)]
pub struct Options {
    pub login: Option<Login>,
    #[serde(default)]
    pub engine: Engine,
}

#[derive(Debug, Deserialize)]
pub struct Preflight {
    pub databases: Replicated,
}

#[derive(Debug, Deserialize)]
pub struct Replication {
    /// Those that AWS DMS made, under names of its own.
    #[serde(default)]
    pub slots: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Target {
    #[serde(default)]
    pub resource_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Asked {
    pub database: Undone,
}

pub async fn handle(servers: &Servers, request: Request) -> Result<Undone, Error> {
    let asked = request.state.undo.database.clone();
    Ok(match run(servers, request).await {
        Ok(notes) => Undone { ready: true, problem: None, notes, ..asked },
        Err(error) => Undone { ready: false, problem: Some(error.to_string()), ..asked },
    })
}

async fn run(servers: &Servers, request: Request) -> Result<Vec<String>, Error> {
    let Request { state, extra_roots } = request;
    let (Some(preflight), Some(login)) = (&state.preflight, state.options.login.clone()) else {
        return Ok(vec![]);
    };
    let access = &Access { login, extra_roots };
    let databases = match &preflight.databases {
        Replicated::PostgreSql(databases) => databases,
        Replicated::MariaDb(schemas) => return of_mariadb(servers, &state, access, schemas).await,
    };
    let names = Names::of(&state.owner.execution);
    let engine = state.options.engine;
    let slots = state.replication.as_ref().map_or(&[][..], |replication| &replication.slots);
    let source = servers.get(&state.owner.source_resource_id, access);
    match state.undo.database.task {
        DatabaseTask::Unfence => Ok(told(release::fence(&source.await?, databases, engine).await?)),
        DatabaseTask::OpenSource => Ok(told(release::source(&source.await?, databases, &names, slots, engine).await?)),
        DatabaseTask::OpenTarget => {
            let server = servers.get(state.target(), access).await?;
            let maintenance = server.open(MAINTENANCE).await?;
            let left = release::target(&server, &maintenance, databases, &names).await?;
            // Somebody may have deleted the old instance already.
            if let Some(old) = servers.find(&state.owner.source_resource_id, access).await? {
                release::old_source(&old, databases, &names, slots).await?;
            }
            Ok(left.into_iter().map(|statement| format!("left to validate in {statement}")).collect())
        }
    }
}

async fn of_mariadb(
    servers: &Servers,
    state: &State,
    access: &Access,
    schemas: &Schemas,
) -> Result<Vec<String>, Error> {
    let execution = &state.owner.execution;
    let source = &state.owner.source_resource_id;
    let was_fenced = match state.undo.database.task {
        DatabaseTask::Unfence => {
            mariadb::fence::open(&mut mariadb::open(&servers.get(source, access).await?).await?, schemas, execution)
                .await?
        }
        DatabaseTask::OpenSource => {
            let mut session = mariadb::open(&servers.get(source, access).await?).await?;
            mariadb::release::source(&mut session, schemas, execution).await?
        }
        DatabaseTask::OpenTarget => {
            let mut session = mariadb::open(&servers.get(state.target(), access).await?).await?;
            mariadb::release::target(&mut session, schemas, execution).await?;
            // Somebody may have deleted the old instance already.
            if let Some(old) = servers.find(source, access).await? {
                mariadb::release::old_source(&mut mariadb::open(&old).await?, schemas, execution).await?;
            }
            false
        }
    };
    Ok(was_fenced.then(|| "the accounts of the source are unlocked again".to_owned()).into_iter().collect())
}

impl State {
    fn target(&self) -> &str {
        self.target.as_ref().and_then(|target| target.resource_id.as_deref()).unwrap_or_default()
    }
}

fn told(opened: Vec<String>) -> Vec<String> {
    opened.into_iter().map(|database| format!("database `{database}` of the source is open again")).collect()
}
