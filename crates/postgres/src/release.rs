//! Taking replication away again: off the target and the old source once they have switched, or off a source that
//! goes on as if nothing had been.

use workflow::Error;

use crate::names::{Database, MAINTENANCE, Names};
use crate::{Server, Session, fence, replication};

/// The target stands alone from now on.
pub async fn target(
    server: &Server,
    maintenance: &Session,
    databases: &[Database],
    names: &Names,
) -> Result<(), Error> {
    for database in databases {
        let session = server.open(&database.name).await?;
        replication::unsubscribe(&session, names).await?;
        replication::drop_slot(&session, &names.slot(database)).await?;
        replication::drop_own(&session, names).await?;
    }
    replication::drop_role(maintenance, databases, names).await
}

/// The slots hold the old source's log back. What stands in its databases stays: they are fenced, and it is harmless.
pub async fn old_source(server: &Server, databases: &[Database], names: &Names) -> Result<(), Error> {
    let maintenance = server.open(MAINTENANCE).await?;
    for database in databases {
        replication::drop_slot(&maintenance, &names.slot(database)).await?;
    }
    replication::drop_role(&maintenance, databases, names).await
}

/// The source is open again, and has nothing of the run. Clients come first.
pub async fn source(server: &Server, databases: &[Database], names: &Names) -> Result<Vec<String>, Error> {
    let maintenance = server.open(MAINTENANCE).await?;
    let opened = fence::open(&maintenance, databases).await?;
    for database in databases {
        replication::drop_slot(&maintenance, &names.slot(database)).await?;
        let session = server.open(&database.name).await?;
        replication::drop_own(&session, names).await?;
    }
    replication::drop_role(&maintenance, databases, names).await?;
    Ok(opened)
}
