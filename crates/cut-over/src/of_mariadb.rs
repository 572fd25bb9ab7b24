//! The outage of a MariaDB server, which is replicated as a whole.

use std::time::Duration;

use databases::{Schemas, Server};
use mariadb::compare::Comparison;
use mariadb::{Session, catalog, fence, open, preflight, replication};
use workflow::Error;

use crate::{Fenced, Outage, Request, Response};

/// The target is asked again with what the source has by then.
const LEVEL: Duration = Duration::from_secs(5);

pub(crate) struct Source<'a> {
    server: &'a Server,
    session: Session,
    schemas: &'a Schemas,
    request: &'a Request,
}

impl<'a> Source<'a> {
    pub(crate) async fn open(server: &'a Server, schemas: &'a Schemas, request: &'a Request) -> Result<Self, Error> {
        Ok(Self { server, session: open(server).await?, schemas, request })
    }
}

impl Outage for Source<'_> {
    /// A fence must not outlive the connection that it was made by.
    async fn open(&mut self) -> Result<bool, Error> {
        if let Ok(was_fenced) = fence::open(&mut self.session, self.schemas, &self.request.owner.execution).await {
            return Ok(was_fenced);
        }
        self.session = open(self.server).await?;
        fence::open(&mut self.session, self.schemas, &self.request.owner.execution).await
    }

    async fn attempt(&mut self, target: &Server, response: &mut Response) -> Result<(), Error> {
        let execution = &self.request.owner.execution;
        let (mut at_source, mut at_target, mut follower) =
            tokio::try_join!(open(self.server), open(target), open(target))?;
        // What has stopped is found before the fence.
        replication::lag(&mut at_source, &mut at_target).await?;
        // Once without an outage, and once more where nobody can change anything any more.
        preflight::still_holds(&mut self.session).await?;
        fence::has_its_clients(&mut self.session, self.schemas).await?;
        nothing_has_changed(&mut self.session, &mut follower, self.schemas).await?;
        let ours = [self.session.id(), at_source.id()];
        let sides = [self.server, target];
        let mut comparison = Comparison::begin(sides, &mut at_source, &mut at_target, execution).await?;

        let fenced = Fenced::now(self.request, response);
        let (server, source, schemas) = (self.server, &mut self.session, self.schemas);
        let work = async |response: &mut Response, until| {
            fence::close(source, schemas, execution).await?;
            response.sessions_ended = fence::clear(server, source, execution, &ours, until).await?;
            let end = become_level(source, &mut follower).await?;
            nothing_has_changed(source, &mut follower, schemas).await?;
            response.compared = comparison.finish().await?;
            response.sequences = carry_counters(source, &mut follower).await?;
            if replication::gtid(source).await? != end {
                return Err(Error::DatabaseUnavailable("a change came behind the fence".to_owned()));
            }
            replication::stand_alone(&mut follower).await
        };
        fenced.finish(response, work).await
    }
}

async fn nothing_has_changed(source: &mut Session, target: &mut Session, schemas: &Schemas) -> Result<(), Error> {
    catalog::is_unchanged(source, schemas, "the source").await?;
    catalog::is_unchanged(target, schemas, "the target").await
}

/// The source's last GTID, which the target has.
async fn become_level(source: &mut Session, target: &mut Session) -> Result<String, Error> {
    let mut end = replication::gtid(source).await?;
    loop {
        let has_reached = replication::has_reached(target, &end, LEVEL).await?;
        let last = replication::gtid(source).await?;
        if has_reached && last == end {
            return Ok(end);
        }
        end = last;
    }
}

/// What an AUTO_INCREMENT column gives next is in no row that it gave and that went away since. Sequences are rows.
async fn carry_counters(source: &mut Session, target: &mut Session) -> Result<usize, Error> {
    let (of_source, of_target) = tokio::try_join!(catalog::counters(source), catalog::counters(target))?;
    for (table, next) in &of_source {
        if let Some(next) = next.filter(|next| of_target.get(table) != Some(&Some(*next))) {
            let statement = format!("ALTER TABLE {table} AUTO_INCREMENT = {next}");
            target.run("carry what AUTO_INCREMENT gives next", statement).await?;
        }
    }
    Ok(of_source.len())
}
