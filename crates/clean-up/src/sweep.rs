//! One look at the three resources of an execution, and what can be deleted of them now.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbInstance, DbSnapshot};
use workflow::Error;
use workflow::describe::{find_by_resource_id, find_instance, find_snapshot};
use workflow::ids::SnapshotId;
use workflow::options::Snapshots;
use workflow::status::is_being_deleted;
use workflow::turn::{HIDDEN_SECONDS_MAX, LATE_CALL_SECONDS};

use crate::{Request, Response, Task};

/// The loop's own deadline. Deleting waits for what is still being created (a snapshot in `creating`
/// cannot be deleted), and that takes as long as it takes.
const DEADLINE_SECONDS: u64 = 48 * 60 * 60;

pub(crate) struct Sweep<'a> {
    client: &'a Client,
    request: &'a Request,
    deleted: Vec<String>,
    kept: Vec<String>,
    /// Not gone yet; the next look goes on with it.
    pending: Vec<String>,
    /// AWS refuses to delete it, with the reason.
    refused: Vec<String>,
    past_commit_point: bool,
}

impl<'a> Sweep<'a> {
    pub(crate) fn new(client: &'a Client, request: &'a Request) -> Self {
        let deleted = request.previous.as_ref().map(|response| response.deleted.clone()).unwrap_or_default();
        Self { client, request, deleted, kept: vec![], pending: vec![], refused: vec![], past_commit_point: false }
    }

    /// The target first, since it can still be reading its snapshot; then the plaintext; the
    /// encrypted copy last.
    pub(crate) async fn undo(&mut self) -> Result<(), Error> {
        if find_by_resource_id(self.client, &self.request.owner.source_resource_id).await?.is_none() {
            return self.spare_the_last_copies().await;
        }
        self.delete_target().await?;
        self.delete_snapshot(&self.request.no_encrypted_snapshot_id).await?;
        self.delete_snapshot(&self.request.encrypted_snapshot_id).await
    }

    pub(crate) async fn finish(&mut self) -> Result<(), Error> {
        let Request { no_encrypted_snapshot_id, encrypted_snapshot_id, snapshots, .. } = self.request;
        // A cutover has renamed it.
        let target = self.find_target().await?;
        let target = target.as_ref().and_then(DbInstance::db_instance_identifier);
        self.kept.push(format!("DB instance `{}`", target.unwrap_or(self.request.encrypted_instance_id.as_str())));
        match snapshots {
            Snapshots::Keep => self.kept.push(named(no_encrypted_snapshot_id)),
            Snapshots::DeleteUnencrypted | Snapshots::DeleteAll => {
                self.delete_snapshot(no_encrypted_snapshot_id).await?
            }
        }
        match snapshots {
            Snapshots::Keep | Snapshots::DeleteUnencrypted => self.kept.push(named(encrypted_snapshot_id)),
            Snapshots::DeleteAll => self.delete_snapshot(encrypted_snapshot_id).await?,
        }
        Ok(())
    }

    /// Deletes nothing: says what this execution leaves.
    pub(crate) async fn report(&mut self) -> Result<(), Error> {
        let Request { no_encrypted_snapshot_id, encrypted_snapshot_id, .. } = self.request;
        if let Some(instance) = self.find_target().await?
            && (self.owns_instance(&instance) || self.is_known_target(&instance))
        {
            let id = instance.db_instance_identifier().unwrap_or_default();
            self.past_commit_point =
                !self.owns_instance(&instance) || id != self.request.encrypted_instance_id.as_str();
            self.kept.push(format!("DB instance `{id}`"));
        }
        for id in [no_encrypted_snapshot_id, encrypted_snapshot_id] {
            if let Some(snapshot) = find_snapshot(self.client, id).await?
                && self.owns_snapshot(&snapshot)
            {
                self.kept.push(named(id));
            }
        }
        Ok(())
    }

    /// Somebody deleted the source: what this execution made may be all that is left of its data [A36].
    async fn spare_the_last_copies(&mut self) -> Result<(), Error> {
        self.report().await?;
        let copies = std::mem::take(&mut self.kept);
        let waited_seconds = self.request.previous.as_ref().map_or(0, |previous| previous.wait.waited_seconds);
        if waited_seconds < HIDDEN_SECONDS_MAX {
            self.pending = copies;
        } else {
            let why = "the source is gone, so this may be the last copy of its data";
            self.refused = copies.into_iter().map(|copy| format!("{copy} ({why})")).collect();
        }
        Ok(())
    }

    /// By what does not change, where that is known: the name changes in a cutover.
    async fn find_target(&self) -> Result<Option<DbInstance>, Error> {
        match &self.request.target_resource_id {
            Some(resource_id) => find_by_resource_id(self.client, resource_id).await,
            None => find_instance(self.client, &self.request.encrypted_instance_id).await,
        }
    }

    async fn delete_target(&mut self) -> Result<(), Error> {
        let id = &self.request.encrypted_instance_id;
        let name = format!("DB instance `{id}`");
        let Some(instance) = find_instance(self.client, id).await? else { return Ok(()) };
        if !self.owns_instance(&instance) {
            return Ok(());
        }
        if is_being_deleted(instance.db_instance_status().unwrap_or_default()) {
            // The reply of the call that did it may be lost.
            self.note_deleted(name.clone());
            self.pending.push(name);
            return Ok(());
        }
        if instance.deletion_protection() == Some(true) {
            let call = self
                .client
                .modify_db_instance()
                .db_instance_identifier(id.as_str())
                .deletion_protection(false)
                .apply_immediately(true);
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

    async fn delete_snapshot(&mut self, id: &SnapshotId) -> Result<(), Error> {
        let finishing = self.request.task == Task::Finish;
        let Some(snapshot) = find_snapshot(self.client, id).await? else {
            // It was made, so it is gone; the reply of the call that did it may be lost.
            if finishing {
                self.note_deleted(named(id));
            }
            return Ok(());
        };
        if !self.owns_snapshot(&snapshot) {
            // A failed execution may never have made it. A successful one must not leave it unsaid.
            if finishing {
                self.refused.push(format!("{} (it does not carry this execution's tag)", named(id)));
            }
            return Ok(());
        }
        if snapshot.status() == Some("deleting") {
            self.note_deleted(named(id));
            self.pending.push(named(id));
            return Ok(());
        }
        // The undo goes in order, and lists at its deadline what never had its turn.
        if !finishing && !self.pending.is_empty() {
            self.pending.push(named(id));
            return Ok(());
        }
        let outcome = self.client.delete_db_snapshot().db_snapshot_identifier(id.as_str()).send().await.map(drop);
        if outcome.is_ok() {
            self.note_deleted(named(id));
        }
        self.note(named(id), outcome.map_err(|error| Error::from_call(format!("delete DB snapshot `{id}`"), error)))
    }

    /// Sorts what a deleting call came to. A state that does not allow it yet passes, as does a call
    /// that worked (the next look sees the resource gone); what passes by itself is the state
    /// machine's to retry; anything else must not keep the other resources from being deleted.
    fn note(&mut self, name: String, outcome: Result<(), Error>) -> Result<(), Error> {
        match outcome {
            Ok(()) | Err(Error::InvalidInstanceState(_) | Error::InvalidSnapshotState(_)) => self.pending.push(name),
            Err(Error::InstanceNotFound(_) | Error::SnapshotNotFound(_)) => {}
            Err(error) if error.is_passing() => return Err(error),
            Err(error) => self.refused.push(format!("{name} ({error})")),
        }
        Ok(())
    }

    fn note_deleted(&mut self, name: String) {
        if !self.deleted.contains(&name) {
            self.deleted.push(name);
        }
    }

    fn owns_snapshot(&self, snapshot: &DbSnapshot) -> bool {
        self.request.owner.owns(snapshot.tag_list())
    }

    /// Never the source, whatever its name and tags are, and no other than the target we know.
    fn owns_instance(&self, instance: &DbInstance) -> bool {
        let resource_id = instance.dbi_resource_id();
        self.request.owner.owns(instance.tag_list())
            && resource_id != Some(self.request.owner.source_resource_id.as_str())
            && (self.request.target_resource_id.is_none() || self.is_known_target(instance))
    }

    fn is_known_target(&self, instance: &DbInstance) -> bool {
        self.request.target_resource_id.is_some()
            && self.request.target_resource_id.as_deref() == instance.dbi_resource_id()
    }

    /// Decides whether the loop is over, and how long it sleeps otherwise.
    pub(crate) fn into_response(self) -> Response {
        let previous = self.request.previous.as_ref();
        let gone = self.pending.is_empty();
        let response = Response {
            deleted: self.deleted,
            kept: self.kept,
            remaining: self.refused,
            past_commit_point: self.past_commit_point,
            gone_before: gone,
            ..Response::default()
        };
        // Only a look after the last abandoned call proves that nothing is left. A report, and the orderly
        // end, have none behind them.
        let late_call_is_over =
            self.request.task != Task::Undo || previous.is_some_and(|previous| previous.gone_before);
        if gone && late_call_is_over {
            return Response { ready: true, ..response };
        }
        let wait = previous.map(|previous| &previous.wait);
        let next = if gone {
            workflow::wait::sleep(wait, LATE_CALL_SECONDS, DEADLINE_SECONDS)
        } else {
            workflow::wait::next(wait, None, DEADLINE_SECONDS)
        };
        match next {
            Ok(wait) => Response { wait, ..response },
            Err(_) => {
                let deleted = response.deleted.into_iter().filter(|name| !self.pending.contains(name)).collect();
                let late = self.pending.iter().map(|name| format!("{name} (cannot be deleted yet)"));
                let remaining = response.remaining.into_iter().chain(late).collect();
                Response { ready: true, deleted, remaining, ..response }
            }
        }
    }
}

fn named(id: &SnapshotId) -> String {
    format!("DB snapshot `{id}`")
}
