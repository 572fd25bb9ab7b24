//! Deletes what an execution made, and nothing else: from the plan's names, each looked at before it is touched.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbInstance, DbSnapshot};

use crate::describe::{find_by_resource_id, find_instance, find_snapshot};
use crate::error::Error;
use crate::ids::{InstanceId, SnapshotId};
use crate::owner::DENIED_SECONDS;
use crate::owner::Owner;
use crate::status::is_being_deleted;

/// One look's worth of deleting.
pub struct Sweep<'a> {
    pub client: &'a Client,
    pub owner: &'a Owner,
    pub encrypted_instance_id: &'a InstanceId,
    /// The target's DbiResourceId, where the state knows it.
    pub target_resource_id: Option<&'a str>,
    /// For how long the loop has waited: at first a denial may pass [A12].
    pub waited_seconds: u64,
    /// Deleted by the loop, as `DB snapshot ‹id›`.
    pub deleted: Vec<String>,
    /// Not gone yet; the next look goes on with it.
    pub pending: Vec<String>,
    /// AWS refuses to delete it, with the reason.
    pub refused: Vec<String>,
}

impl Sweep<'_> {
    /// By what does not change, where that is known: the name changes in a cutover.
    pub async fn find_target(&self) -> Result<Option<DbInstance>, Error> {
        match self.target_resource_id {
            Some(resource_id) => find_by_resource_id(self.client, resource_id).await,
            None => find_instance(self.client, self.encrypted_instance_id).await,
        }
    }

    /// Deletes the target, if it bears its planned name and is this execution's.
    pub async fn delete_target(&mut self) -> Result<(), Error> {
        let id = self.encrypted_instance_id;
        let name = format!("DB instance `{id}`");
        let Some(instance) = find_instance(self.client, id).await?.filter(|instance| self.owns_instance(instance))
        else {
            return Ok(());
        };
        if is_being_deleted(instance.db_instance_status().unwrap_or_default()) {
            // The reply of the call that did it may be lost.
            self.note_deleted(name.clone());
            self.pending.push(name);
            return Ok(());
        }
        if instance.deletion_protection() == Some(true) {
            let call = self.client.modify_db_instance().db_instance_identifier(id.as_str()).deletion_protection(false);
            let outcome = call.send().await.map(drop);
            let operation = format!("switch the deletion protection of DB instance `{id}` off");
            return self.note(name, outcome.map_err(|error| Error::from_call(operation, error)));
        }
        let call = self
            .client
            .delete_db_instance()
            .db_instance_identifier(id.as_str())
            .skip_final_snapshot(true)
            .delete_automated_backups(true);
        let outcome = call.send().await.map(drop);
        if outcome.is_ok() {
            self.note_deleted(name.clone());
        }
        self.note(name, outcome.map_err(|error| Error::from_call(format!("delete DB instance `{id}`"), error)))
    }

    /// Deletes a snapshot that was found and is this execution's.
    pub async fn delete_snapshot(&mut self, id: &SnapshotId, snapshot: &DbSnapshot) -> Result<(), Error> {
        if snapshot.status() == Some("deleting") {
            self.note_deleted(named(id));
            self.pending.push(named(id));
            return Ok(());
        }
        let outcome = self.client.delete_db_snapshot().db_snapshot_identifier(id.as_str()).send().await.map(drop);
        if outcome.is_ok() {
            self.note_deleted(named(id));
        }
        self.note(named(id), outcome.map_err(|error| Error::from_call(format!("delete DB snapshot `{id}`"), error)))
    }

    /// The snapshot, and whether it is this execution's.
    pub async fn find_snapshot(&self, id: &SnapshotId) -> Result<Option<(DbSnapshot, bool)>, Error> {
        let snapshot = find_snapshot(self.client, id).await?;
        Ok(snapshot.map(|snapshot| {
            let is_ours = self.owner.owns(snapshot.tag_list());
            (snapshot, is_ours)
        }))
    }

    /// Never the source, whatever its name and tags are, and no other than the target we know.
    pub fn owns_instance(&self, instance: &DbInstance) -> bool {
        let resource_id = instance.dbi_resource_id();
        self.owner.owns(instance.tag_list())
            && resource_id != Some(self.owner.source_resource_id.as_str())
            && (self.target_resource_id.is_none() || self.is_known_target(instance))
    }

    pub fn is_known_target(&self, instance: &DbInstance) -> bool {
        self.target_resource_id.is_some() && self.target_resource_id == instance.dbi_resource_id()
    }

    /// Sorts what a deleting call came to. A state that does not allow it yet passes, as does a call
    /// that worked (the next look sees the resource gone) and, for a while, a denial; what passes by itself is the
    /// state machine's to retry; anything else must not keep the other resources from being deleted.
    fn note(&mut self, name: String, outcome: Result<(), Error>) -> Result<(), Error> {
        match outcome {
            Ok(()) | Err(Error::InvalidInstanceState(_) | Error::InvalidSnapshotState(_)) => self.pending.push(name),
            Err(Error::InstanceNotFound(_) | Error::SnapshotNotFound(_)) => {}
            Err(Error::AccessDenied(_)) if self.waited_seconds < DENIED_SECONDS => self.pending.push(name),
            Err(error) if error.is_passing() => return Err(error),
            Err(error) => self.refused.push(format!("{name} ({error})")),
        }
        Ok(())
    }

    pub fn note_deleted(&mut self, name: String) {
        if !self.deleted.contains(&name) {
            self.deleted.push(name);
        }
    }
}

pub fn named(id: &SnapshotId) -> String {
    format!("DB snapshot `{id}`")
}

/// What to do about what could not be deleted.
pub fn still_there(remaining: &[String]) -> String {
    format!("{}. Delete it by hand once the reason is gone.", remaining.join("; "))
}
