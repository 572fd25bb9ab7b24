//! What the undo reads of an execution's state document, also of one that an earlier version wrote: fields that
//! it does not know are left alone.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use settings::Settings;
use settings::member::Member;
use settings::wanted::Wanted;
use workflow::Error;
use workflow::deployment;
use workflow::finish::Finishing;
use workflow::ids::{DeploymentName, InstanceId, SnapshotId};
use workflow::options::{Cutover, Engine, OnFailure, Snapshots, Way};
use workflow::owner::{Owner, TagPair};
use workflow::serve::decode;

use crate::Response;
use crate::failure::Caught;

/// How far an execution has got.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    #[default]
    Planning,
    Preparing,
    /// The source may have other security groups or another name.
    Cutover,
    /// The target is proven and, with a cutover, has the name.
    Committed,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Document {
    #[serde(default)]
    pub(crate) phase: Phase,
    #[serde(default)]
    pub(crate) instance_id: Option<String>,
    /// What the failed step's Catch caught.
    #[serde(default)]
    pub(crate) error: Option<Caught>,
    #[serde(default)]
    pub(crate) undo: Option<Response>,
    /// Only where an undo from outside looks after another execution.
    #[serde(default)]
    pub(crate) recovery: Option<Recovery>,
    /// `None` if the execution failed before its plan was made: then there is nothing of it.
    #[serde(skip)]
    pub(crate) planned: Option<(Planned, OfWay)>,
    #[serde(default)]
    pub(crate) way: Way,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Recovery {
    pub(crate) execution: Option<String>,
}

/// What the plan fixed, whatever the way.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Planned {
    pub(crate) owner: Owner,
    pub(crate) instance_id: InstanceId,
    pub(crate) options: Chosen,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Chosen {
    pub(crate) on_failure: OnFailure,
}

/// What the undo reads besides, by the way that the execution went.
#[derive(Clone, Debug)]
pub(crate) enum OfWay {
    Snapshot(Box<OfSnapshot>),
    BlueGreen(Box<OfBlueGreen>),
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct OfSnapshot {
    /// Of the machine: a nested execution goes the way by snapshot for one of encrypt-online.
    #[serde(default)]
    pub(crate) way: Way,
    pub(crate) no_encrypted_snapshot_id: SnapshotId,
    pub(crate) encrypted_snapshot_id: SnapshotId,
    pub(crate) encrypted_instance_id: InstanceId,
    pub(crate) unencrypted_instance_id: InstanceId,
    pub(crate) options: SnapshotOptions,
    pub(crate) final_settings: Settings,
    pub(crate) tags: Vec<TagPair>,
    #[serde(default)]
    pub(crate) target: Target,
    #[serde(default)]
    pub(crate) fenced: Option<Fenced>,
    /// Of a database, before which nothing is made in it.
    #[serde(default)]
    pub(crate) preflight: Option<Preflight>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Preflight {
    pub(crate) databases: Replicated,
}

/// Only what AWS DMS replicates has names that the undo must know: PostgreSQL's databases.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Replicated {
    PostgreSql(Vec<Database>),
    Other(IgnoredAny),
}

impl Replicated {
    pub(crate) fn oids(&self) -> Vec<u32> {
        match self {
            Self::PostgreSql(databases) => databases.iter().map(|database| database.oid).collect(),
            Self::Other(_) => vec![],
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Database {
    pub(crate) oid: u32,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SnapshotOptions {
    pub(crate) snapshots: Snapshots,
    pub(crate) cutover: Cutover,
    pub(crate) isolation_security_group_id: Option<String>,
    #[serde(default)]
    pub(crate) engine: Engine,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct OfBlueGreen {
    pub(crate) deployment_name: DeploymentName,
    /// The source first.
    pub(crate) members: Vec<Member>,
    #[serde(default)]
    pub(crate) deployment: Seen,
}

/// What the execution saw of its deployment.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Seen {
    pub(crate) was_whole: bool,
    pub(crate) targets: Vec<deployment::Target>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Target {
    pub(crate) resource_id: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Fenced {
    pub(crate) security_groups_before: Option<Vec<String>>,
}

impl Document {
    pub(crate) fn read(state: &Value) -> Result<Self, Error> {
        let mut document: Self = decode(state.clone())?;
        if state.get("owner").is_some() {
            let of_way = match document.way {
                Way::Snapshot | Way::Online => OfWay::Snapshot(Box::new(decode(state.clone())?)),
                Way::BlueGreen => OfWay::BlueGreen(Box::new(decode(state.clone())?)),
            };
            document.planned = Some((decode(state.clone())?, of_way));
        }
        Ok(document)
    }

    pub(crate) fn recovered_execution(&self) -> Option<&str> {
        self.recovery.as_ref()?.execution.as_deref()
    }
}

impl OfSnapshot {
    pub(crate) fn finishing(&self, planned: &Planned) -> Finishing {
        Finishing {
            owner: planned.owner.clone(),
            no_encrypted_snapshot_id: self.no_encrypted_snapshot_id.clone(),
            encrypted_snapshot_id: self.encrypted_snapshot_id.clone(),
            encrypted_instance_id: self.encrypted_instance_id.clone(),
            unencrypted_instance_id: self.unencrypted_instance_id.clone(),
            target_resource_id: self.target.resource_id.clone(),
            snapshots: self.options.snapshots,
            cutover: self.options.cutover,
        }
    }

    pub(crate) fn wanted(&self, planned: &Planned) -> Wanted {
        Wanted {
            source_resource_id: planned.owner.source_resource_id.clone(),
            instance_id: planned.instance_id.to_string(),
            cutover: self.options.cutover,
            quarantine_security_group_id: None,
            settings: self.final_settings.clone(),
            tags: self.tags.clone(),
            tags_come_with_switchover: false,
        }
    }
}
