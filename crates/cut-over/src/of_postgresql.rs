//! The outage of a PostgreSQL server, each of whose databases is replicated by itself.

use std::time::Duration;

use databases::{Database, Server};
use dms::Replication;
use postgres::compare::Comparison;
use postgres::names::{MAINTENANCE, Names, literal};
use postgres::{Open, Session, catalog, dms as of_dms, failed, fence, replication};
use workflow::Error;
use workflow::options::Engine;

use crate::{Fenced, Outage, Request, Response};

const BETWEEN_LOOKS: Duration = Duration::from_millis(3);
/// At what AWS DMS says of its tables, which is a call of its API.
const BETWEEN_CALLS: Duration = Duration::from_millis(100);

pub(crate) struct Source<'a> {
    server: &'a Server,
    /// In a database that is not fenced.
    maintenance: Session,
    databases: &'a [Database],
    request: &'a Request,
    dms: Option<&'a Replication<'a>>,
}

impl<'a> Source<'a> {
    pub(crate) async fn open(
        server: &'a Server,
        databases: &'a [Database],
        request: &'a Request,
        dms: Option<&'a Replication<'a>>,
    ) -> Result<Self, Error> {
        Ok(Self { server, maintenance: server.open(MAINTENANCE).await?, databases, request, dms })
    }

    async fn nothing_has_changed(&self, pairs: &[Pair<'_>]) -> Result<(), Error> {
        catalog::has_the_same_databases(&self.maintenance, self.databases).await?;
        for pair in pairs {
            catalog::has_its_schema(&pair.source, pair.database, "the source").await?;
            // By AWS DMS foreign keys and triggers are away until the end.
            if self.request.engine == Engine::Native {
                catalog::is_unchanged(&pair.target, pair.database, "the target").await?;
            }
        }
        Ok(())
    }
}

/// Both sides of a database, connected before the fence, which lets nobody in.
struct Pair<'a> {
    database: &'a Database,
    source: Session,
    target: Session,
}

impl Outage for Source<'_> {
    /// A fence must not outlive the connection that it was made by.
    async fn open(&mut self) -> Result<bool, Error> {
        let (databases, engine) = (self.databases, self.request.engine);
        if let Ok(opened) = fence::open(&self.maintenance, databases, engine).await {
            return Ok(!opened.is_empty());
        }
        self.maintenance = self.server.open(MAINTENANCE).await?;
        Ok(!fence::open(&self.maintenance, databases, engine).await?.is_empty())
    }

    async fn attempt(&mut self, target: &Server, response: &mut Response) -> Result<(), Error> {
        let names = Names::of(&self.request.owner.execution);
        let mut pairs = vec![];
        for database in self.databases {
            let (source, target) = tokio::try_join!(self.server.open(&database.name), target.open(&database.name))?;
            // What has stopped is found before the fence.
            match self.dms {
                None => _ = replication::lag(&source, &target, database, &names).await?,
                Some(dms) => _ = dms.progress(database.oid).await?,
            }
            pairs.push(Pair { database, source, target });
        }
        // Once without an outage, and once more where nobody can change anything any more.
        for pair in &pairs {
            catalog::has_its_clients(&pair.source, pair.database, "the source").await?;
        }
        self.nothing_has_changed(&pairs).await?;
        let mut ours = vec![];
        let mut comparisons = vec![];
        for pair in &pairs {
            comparisons.push(Comparison::begin(pair.database, &pair.source, &pair.target, &names).await?);
            ours.push(fence::process_id(&pair.source).await?);
        }

        let fenced = Fenced::now(self.request, response);
        let this = &*self;
        let work = async |response: &mut Response, until| {
            fence::close(&this.maintenance, this.databases, this.request.engine).await?;
            response.sessions_ended = fence::clear(&this.maintenance, this.databases, &names, &ours, until).await?;
            this.nothing_has_changed(&pairs).await?;
            finish(&pairs, &comparisons, &names, this.dms, this.request, response).await
        };
        fenced.finish(response, work).await
    }
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
