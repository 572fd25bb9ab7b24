//! The orderly end: the snapshots that the input does not keep are deleted, and what there is now is told.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbInstance;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::ids::{InstanceId, SnapshotId};
use crate::options::{Cutover, Snapshots};
use crate::owner::Owner;
use crate::sweep::{Sweep, named};
use crate::wait::{self, Wait};

/// What an execution made, and what of it the input keeps.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finishing {
    pub owner: Owner,
    pub no_encrypted_snapshot_id: SnapshotId,
    pub encrypted_snapshot_id: SnapshotId,
    pub encrypted_instance_id: InstanceId,
    /// What a cutover has renamed the source to.
    pub unencrypted_instance_id: InstanceId,
    pub target_resource_id: Option<String>,
    pub snapshots: Snapshots,
    pub cutover: Cutover,
}

/// One look of the loop.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Finished {
    pub ready: bool,
    /// What the target is called now.
    pub target_instance_id: Option<String>,
    /// After a cutover, what became of the source.
    pub old_instance: Option<OldInstance>,
    pub deleted: Vec<String>,
    /// Kept on purpose.
    pub kept: Vec<String>,
    /// Still there although it should not be, each with the reason.
    pub remaining: Vec<String>,
    pub wait: Wait,
}

/// The source after a cutover. It is never deleted: these commands are for whoever decides to.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OldInstance {
    pub id: InstanceId,
    pub delete_commands: [String; 2],
}

impl OldInstance {
    pub fn new(id: &InstanceId) -> Self {
        let delete_commands = [
            format!(
                "aws rds modify-db-instance --db-instance-identifier {id} --no-deletion-protection --apply-immediately"
            ),
            format!("aws rds delete-db-instance --db-instance-identifier {id} --skip-final-snapshot"),
        ];
        Self { id: id.clone(), delete_commands }
    }
}

impl Finishing {
    /// Starts what can be started now, and answers whether everything is gone.
    pub async fn look(
        &self,
        client: &Client,
        previous: Option<Finished>,
        max_wait_seconds: u64,
    ) -> Result<Finished, Error> {
        let previous = previous.unwrap_or_default();
        let mut sweep = Sweep {
            client,
            owner: &self.owner,
            encrypted_instance_id: &self.encrypted_instance_id,
            target_resource_id: self.target_resource_id.as_deref(),
            waited_seconds: previous.wait.waited_seconds,
            deleted: previous.deleted,
            pending: vec![],
            refused: vec![],
        };
        let target = sweep.find_target().await?;
        let target_id = target.as_ref().and_then(DbInstance::db_instance_identifier).map(str::to_owned);
        let shown = target_id.clone().unwrap_or_else(|| self.encrypted_instance_id.to_string());
        let mut kept = vec![format!("DB instance `{shown}`")];
        match self.snapshots {
            Snapshots::Keep => kept.push(named(&self.no_encrypted_snapshot_id)),
            Snapshots::DeleteUnencrypted | Snapshots::DeleteAll => {
                delete(&mut sweep, &self.no_encrypted_snapshot_id).await?;
            }
        }
        match self.snapshots {
            Snapshots::Keep | Snapshots::DeleteUnencrypted => kept.push(named(&self.encrypted_snapshot_id)),
            // Until point-in-time recovery has begun, it is the only recovery point.
            Snapshots::DeleteAll if target.as_ref().is_some_and(waits_for_its_first_backup) => {
                sweep.pending.push(named(&self.encrypted_snapshot_id));
            }
            Snapshots::DeleteAll => delete(&mut sweep, &self.encrypted_snapshot_id).await?,
        }
        let finished = Finished {
            target_instance_id: target_id,
            old_instance: (self.cutover == Cutover::Rename).then(|| OldInstance::new(&self.unencrypted_instance_id)),
            deleted: sweep.deleted,
            kept,
            remaining: sweep.refused,
            ..Finished::default()
        };
        if sweep.pending.is_empty() {
            return Ok(Finished { ready: true, wait: previous.wait, ..finished });
        }
        let Ok(wait) = wait::next(Some(&previous.wait), None, max_wait_seconds) else {
            let deleted = finished.deleted.into_iter().filter(|name| !sweep.pending.contains(name)).collect();
            let late = sweep.pending.iter().map(|name| format!("{name} (cannot be deleted yet)"));
            let remaining = finished.remaining.into_iter().chain(late).collect();
            return Ok(Finished { ready: true, deleted, remaining, wait: previous.wait, ..finished });
        };
        Ok(Finished { wait, ..finished })
    }
}

/// It was made, so what is not there is gone; and what lost its tag must not stay unsaid.
async fn delete(sweep: &mut Sweep<'_>, id: &SnapshotId) -> Result<(), Error> {
    match sweep.find_snapshot(id).await? {
        None => sweep.note_deleted(named(id)),
        Some((snapshot, true)) => sweep.delete_snapshot(id, &snapshot).await?,
        Some((_, false)) => sweep.refused.push(format!("{} (it does not carry this execution's tag)", named(id))),
    }
    Ok(())
}

fn waits_for_its_first_backup(target: &DbInstance) -> bool {
    target.backup_retention_period().is_some_and(|days| days > 0) && target.latest_restorable_time().is_none()
}
