//! Taking replication away again: off the target and the old source once they have switched, or off a source that
//! goes on as if nothing had been.

use std::time::{Duration, Instant};

use databases::Server;
use workflow::Error;
use workflow::options::Engine;

use crate::names::{Database, MAINTENANCE, Names};
use crate::{Open, Session, dms, fence, replication};

/// For all foreign keys together: a function ends after 60 seconds.
const VALIDATION: Duration = Duration::from_secs(30);

/// The target stands alone from now on. Returns the statements that are left to run: of foreign keys that hold for what
/// is written, and whose older rows there was no time for, or do not fit.
pub async fn target(
    server: &Server,
    maintenance: &Session,
    databases: &[Database],
    names: &Names,
) -> Result<Vec<String>, Error> {
    let until = Instant::now() + VALIDATION;
    let mut left = vec![];
    for database in databases {
        let session = server.open(&database.name).await?;
        // First what would hold the log.
        replication::unsubscribe(&session, names).await?;
        for slot in names.slots(std::slice::from_ref(database)) {
            replication::drop_slot(&session, &slot).await?;
        }
        let statements = dms::validate(&session, names, until).await?;
        left.extend(statements.into_iter().map(|statement| format!("database `{}`: {statement}", database.name)));
        replication::drop_own(&session, names).await?;
    }
    replication::drop_role(maintenance, databases, names).await?;
    Ok(left)
}

/// The slots hold the old source's log back. What stands in its databases stays: they are fenced, and it is harmless.
/// `slots`: those that were made under other names than ours.
pub async fn old_source(server: &Server, databases: &[Database], names: &Names, slots: &[String]) -> Result<(), Error> {
    let maintenance = server.open(MAINTENANCE).await?;
    drop_slots(&maintenance, databases, names, slots).await?;
    replication::drop_role(&maintenance, databases, names).await
}

/// Clients may log in again.
pub async fn fence(server: &Server, databases: &[Database], engine: Engine) -> Result<Vec<String>, Error> {
    fence::open(&server.open(MAINTENANCE).await?, databases, engine).await
}

/// The source is open again, and has nothing of the run. Clients come first.
pub async fn source(
    server: &Server,
    databases: &[Database],
    names: &Names,
    slots: &[String],
    engine: Engine,
) -> Result<Vec<String>, Error> {
    let maintenance = server.open(MAINTENANCE).await?;
    let opened = fence::open(&maintenance, databases, engine).await?;
    drop_slots(&maintenance, databases, names, slots).await?;
    for database in databases {
        let session = server.open(&database.name).await?;
        replication::drop_own(&session, names).await?;
    }
    replication::drop_role(&maintenance, databases, names).await?;
    Ok(opened)
}

async fn drop_slots(
    maintenance: &Session,
    databases: &[Database],
    names: &Names,
    slots: &[String],
) -> Result<(), Error> {
    for slot in names.slots(databases).iter().chain(slots) {
        replication::drop_slot(maintenance, slot).await?;
    }
    Ok(())
}
