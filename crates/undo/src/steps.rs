//! The steps that change something in AWS, each beside what the undo does about it.

/// One row of the table.
#[derive(Debug)]
pub struct Step {
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
    /// Past the commit point nothing is taken back: it is done again until it is done.
    GoOn(Forward),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Made {
    UnencryptedSnapshot,
    EncryptedSnapshot,
    Target,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Forward {
    Protect,
    CleanUp,
}

/// The way by snapshot, in the order of its machine.
pub const STEPS: &[Step] = &[
    Step { state: "CreateSnapshot", compensation: Compensation::Delete(Made::UnencryptedSnapshot) },
    Step { state: "CopyEncrypted", compensation: Compensation::Delete(Made::EncryptedSnapshot) },
    // With it goes what ApplySettings set.
    Step { state: "RestoreInstance", compensation: Compensation::Delete(Made::Target) },
    Step { state: "FenceSource", compensation: Compensation::OpenSource },
    Step { state: "RenameSource", compensation: Compensation::NameSource },
    Step { state: "RenameTarget", compensation: Compensation::AskTarget },
    Step { state: "ProtectTarget", compensation: Compensation::GoOn(Forward::Protect) },
    Step { state: "CleanUp", compensation: Compensation::GoOn(Forward::CleanUp) },
];
