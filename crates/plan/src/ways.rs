//! Which ways there are to encrypt an instance, and why one of them is closed.

use aws_sdk_rds::types::DbInstance;
use serde::Serialize;
use workflow::Error;
use workflow::options::Way;

use crate::{Context, deployment, online};

/// A way, as the plan shows it.
#[derive(Debug, Serialize)]
pub struct WayOut {
    pub way: Way,
    pub state_machine: &'static str,
    pub usable: bool,
    /// Why it cannot be used, each with what would open it.
    pub why_not: Vec<String>,
    /// For how long the instance's name answers nobody.
    pub outage: &'static str,
    pub writes_lost: &'static str,
    pub recommended: bool,
}

/// The plan's own refusals have passed, so that the way by snapshot is open.
pub(crate) async fn compare(context: &Context, source: &DbInstance) -> Result<Vec<WayOut>, Error> {
    let replicas = deployment::replicas(context, source).await?;
    let why_not = deployment::obstacles(context, source, &replicas, false).await?.closed;
    let is_open = why_not.is_empty();
    let why_not_online = online::obstacles(context, source).await?;
    let replicates = why_not_online.is_empty();
    Ok(vec![
        WayOut {
            way: Way::BlueGreen,
            state_machine: "encrypt-blue-green",
            usable: is_open,
            why_not,
            outage: "usually under a minute, at the switchover; read replicas come along",
            writes_lost: "none",
            recommended: is_open,
        },
        WayOut {
            way: Way::Online,
            state_machine: "encrypt-online",
            usable: replicates,
            why_not: why_not_online,
            outage: "seconds and two renames, at most max_downtime_seconds; needs a login to its databases, which may have \
                     more against it: a plan of encrypt-online looks into them",
            writes_lost: "none",
            recommended: replicates && !is_open,
        },
        WayOut {
            way: Way::Snapshot,
            state_machine: "encrypt-instance",
            usable: true,
            why_not: vec![],
            outage: "none without a cutover; with \"cutover\": \"rename\" two renames, minutes",
            writes_lost: "all since the snapshot, unless every client is stopped (writes_stopped)",
            recommended: !replicates && !is_open,
        },
    ])
}
