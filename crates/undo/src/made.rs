//! Deletes what an execution made before the commit point, or says what there is of it.

use workflow::Error;
use workflow::describe::find_by_resource_id;
use workflow::options::Way;
use workflow::status;
use workflow::sweep::{Sweep, named};
use workflow::turn::HIDDEN_SECONDS_MAX;

use crate::document::OfSnapshot;
use crate::steps::{Compensation, Made, steps};
use crate::{DEADLINE_SECONDS, Looks, Undo};

impl Undo<'_, OfSnapshot> {
    /// The target first, since it can still be reading its snapshot; then both snapshots: without the plaintext a
    /// copy that is still being made ends. Returns whether all is gone, and no abandoned call can bring it back.
    pub(crate) async fn delete_what_was_made(&mut self) -> Result<bool, Error> {
        if let Some(why) = self.why_source_may_be_lost().await? {
            return self.spare_the_last_copies(why).await;
        }
        let mut sweep = self.sweep();
        for step in steps(Way::Snapshot).rev() {
            match step.compensation {
                Compensation::Delete(Made::Target) => {
                    sweep.delete_target().await?;
                    if !sweep.pending.is_empty() {
                        break;
                    }
                }
                Compensation::Delete(Made::EncryptedSnapshot) => {
                    delete_snapshot(&mut sweep, &self.way.encrypted_snapshot_id).await?;
                }
                Compensation::Delete(Made::UnencryptedSnapshot) => {
                    delete_snapshot(&mut sweep, &self.way.no_encrypted_snapshot_id).await?;
                }
                _ => {}
            }
        }
        let Sweep { deleted, pending, refused, .. } = sweep;
        self.response.deleted = deleted;
        self.response.remaining = refused;
        Ok(self.is_gone(pending))
    }

    /// Says what this execution leaves, and deletes nothing.
    pub(crate) async fn report_what_was_made(&mut self) -> Result<(), Error> {
        let sweep = self.sweep();
        let mut kept = vec![];
        if let Some(instance) = sweep.find_target().await?
            && (sweep.owns_instance(&instance) || sweep.is_known_target(&instance))
        {
            kept.push(format!("DB instance `{}`", instance.db_instance_identifier().unwrap_or_default()));
        }
        for id in [&self.way.no_encrypted_snapshot_id, &self.way.encrypted_snapshot_id] {
            if let Some((_, true)) = sweep.find_snapshot(id).await? {
                kept.push(named(id));
            }
        }
        self.response.kept = kept;
        Ok(())
    }

    fn sweep(&self) -> Sweep<'_> {
        Sweep {
            client: self.client,
            owner: &self.planned.owner,
            encrypted_instance_id: &self.way.encrypted_instance_id,
            target_resource_id: self.way.target.resource_id.as_deref(),
            waited_seconds: self.response.wait.waited_seconds,
            deleted: self.response.deleted.clone(),
            pending: vec![],
            refused: vec![],
        }
    }
}

impl<OfWay> Undo<'_, OfWay> {
    /// Whether all is gone, and no abandoned call can bring it back: nothing was pending at two looks, of which the
    /// second comes after such a call.
    pub(crate) fn is_gone(&mut self, pending: Vec<String>) -> bool {
        let gone = pending.is_empty();
        let was_gone = std::mem::replace(&mut self.response.gone_before, gone);
        if gone {
            return was_gone;
        }
        if self.waited_seconds() < DEADLINE_SECONDS {
            return false;
        }
        self.response.deleted.retain(|name| !pending.contains(name));
        self.response.remaining.extend(pending.iter().map(|name| format!("{name} (cannot be deleted yet)")));
        true
    }

    pub(crate) fn note_deleted(&mut self, name: String) {
        if !self.response.deleted.contains(&name) {
            self.response.deleted.push(name);
        }
    }

    /// What became of the source decides whether its copies may be deleted: they outlive it [A36].
    pub(crate) async fn why_source_may_be_lost(&self) -> Result<Option<String>, Error> {
        let source = find_by_resource_id(self.client, &self.planned.owner.source_resource_id).await?;
        Ok(match source {
            None => Some("the source is gone, so this may be the last copy of its data".to_owned()),
            Some(source) => {
                let status = source.db_instance_status().unwrap_or_default();
                status::is_lost(status)
                    .then(|| format!("the source is `{status}`, so this may be the last copy of its data"))
            }
        })
    }
}

impl<OfWay> Undo<'_, OfWay>
where
    Self: Looks,
{
    /// A source that is hidden by a rename, or in a status that nobody knows, may come back.
    pub(crate) async fn spare_the_last_copies(&mut self, why: String) -> Result<bool, Error> {
        self.response.gone_before = false;
        if self.waited_seconds() < HIDDEN_SECONDS_MAX {
            return Ok(false);
        }
        self.report().await?;
        let copies = std::mem::take(&mut self.response.kept);
        self.response.remaining = copies.into_iter().map(|copy| format!("{copy} ({why})")).collect();
        Ok(true)
    }
}

/// A failed execution may never have made it.
async fn delete_snapshot(sweep: &mut Sweep<'_>, id: &workflow::ids::SnapshotId) -> Result<(), Error> {
    match sweep.find_snapshot(id).await? {
        Some((snapshot, true)) => sweep.delete_snapshot(id, &snapshot).await,
        _ => Ok(()),
    }
}
