//! The steps that change something in AWS, each beside what the undo does about it.

use workflow::options::Way;

/// One row of the table.
#[derive(Debug)]
pub struct Step {
    pub way: Way,
    /// The state of the machine.
    pub state: &'static str,
    pub compensation: Compensation,
}

/// What the undo does about a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compensation {
    /// Deletes what it made, if this execution owns it.
    Delete(Made),
    /// Gives the source the security groups that it had before its fence.
    OpenSource,
    /// Gives the source its name back, once no abandoned call can take it away again.
    NameSource,
    /// Asks the target whether the commit point has passed: it has the name, or is about to.
    AskTarget,
    /// Asks whether RDS has switched over, once no switchover is in progress any more: the name leads to green.
    AskName,
    /// Lets clients log in to the source again, by a login.
    Unfence,
    /// Takes replication off the source's databases, by a login.
    OpenDatabases,
    /// Deletes what AWS DMS has of it.
    DeleteReplication,
    /// As the way by snapshot does, whose machine it is.
    Nested,
    /// Past the commit point nothing is taken back: it is done again until it is done.
    GoOn(Forward),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Made {
    UnencryptedSnapshot,
    EncryptedSnapshot,
    Target,
    /// With its green side.
    Deployment,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Forward {
    /// The target's databases stand alone, and the old source loses its slots, by a login.
    OpenTarget,
    Protect,
    CleanUp,
    /// Without any instance.
    DeleteDeployment,
    /// What AWS DMS has of it, which is billed.
    DeleteReplication,
}

/// Each way in the order of its machine.
pub const STEPS: &[Step] = &[
    snapshot("CreateSnapshot", Compensation::Delete(Made::UnencryptedSnapshot)),
    snapshot("CopyEncrypted", Compensation::Delete(Made::EncryptedSnapshot)),
    // With it goes what ApplySettings set.
    snapshot("RestoreInstance", Compensation::Delete(Made::Target)),
    snapshot("FenceSource", Compensation::OpenSource),
    snapshot("RenameSource", Compensation::NameSource),
    snapshot("RenameTarget", Compensation::AskTarget),
    snapshot("ProtectTarget", Compensation::GoOn(Forward::Protect)),
    snapshot("CleanUp", Compensation::GoOn(Forward::CleanUp)),
    // With it goes what ApplySettings set.
    blue_green("CreateDeployment", Compensation::Delete(Made::Deployment)),
    blue_green("SwitchOver", Compensation::AskName),
    blue_green("ProtectTarget", Compensation::GoOn(Forward::Protect)),
    blue_green("DeleteDeployment", Compensation::GoOn(Forward::DeleteDeployment)),
    online("PublishSource", Compensation::OpenDatabases),
    online("EncryptInstance", Compensation::Nested),
    online("PrepareTarget", Compensation::OpenDatabases),
    // A task lets go of its slot while it still can log in.
    online("CreateReplication", Compensation::DeleteReplication),
    // The source is unfenced before anything is taken off it.
    online("CutOver", Compensation::Unfence),
    online("RenameSource", Compensation::NameSource),
    online("RenameTarget", Compensation::AskTarget),
    online("OpenTarget", Compensation::GoOn(Forward::OpenTarget)),
    online("CleanUpReplication", Compensation::GoOn(Forward::DeleteReplication)),
    online("ProtectTarget", Compensation::GoOn(Forward::Protect)),
    online("CleanUp", Compensation::GoOn(Forward::CleanUp)),
];

const fn snapshot(state: &'static str, compensation: Compensation) -> Step {
    Step { way: Way::Snapshot, state, compensation }
}

const fn blue_green(state: &'static str, compensation: Compensation) -> Step {
    Step { way: Way::BlueGreen, state, compensation }
}

const fn online(state: &'static str, compensation: Compensation) -> Step {
    Step { way: Way::Online, state, compensation }
}

/// Those of one way.
pub(crate) fn steps(way: Way) -> impl DoubleEndedIterator<Item = &'static Step> {
    STEPS.iter().filter(move |step| step.way == way)
}
