//! Taking replication away again: off the target and the old source once they have switched, or off a source that goes
//! on as if nothing had been.

use databases::Schemas;
use workflow::Error;

use crate::{Session, fence, own, quoted, replication};

/// The target stands alone, and lets clients in.
pub async fn target(session: &mut Session, schemas: &Schemas, execution: &str) -> Result<(), Error> {
    replication::stand_alone(session).await?;
    // Clients first.
    fence::open(session, schemas, execution).await?;
    drop_own(session, execution).await?;
    replication::unpublish(session, schemas, execution).await
}

/// It stays fenced, and keeps its log no longer than before.
pub async fn old_source(session: &mut Session, schemas: &Schemas, execution: &str) -> Result<(), Error> {
    replication::unpublish(session, schemas, execution).await
}

/// The source is open again, and has nothing of the run. Clients come first. Whether it was fenced.
pub async fn source(session: &mut Session, schemas: &Schemas, execution: &str) -> Result<bool, Error> {
    let was_fenced = fence::open(session, schemas, execution).await?;
    replication::unpublish(session, schemas, execution).await?;
    Ok(was_fenced)
}

/// The comparison's memory.
async fn drop_own(session: &mut Session, execution: &str) -> Result<(), Error> {
    session.run("drop the schema of the run", format!("DROP SCHEMA IF EXISTS {}", quoted(&own(execution)))).await
}
