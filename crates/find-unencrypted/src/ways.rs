//! The ways to encrypt an instance: each is a machine of its own.

#[derive(Debug)]
pub struct Way {
    pub name: &'static str,
    /// The environment variable that holds its machine's ARN.
    pub variable: &'static str,
    /// Fields of the input that its executions alone take.
    pub fields: &'static [&'static str],
    /// Whether clients notice every execution of it.
    pub(crate) interrupts: bool,
    /// Whether its executions make snapshots, which count against a quota.
    pub(crate) makes_snapshots: bool,
    /// Whether it makes the read replicas anew, too.
    pub(crate) takes_replicas: bool,
}

/// It interrupts nobody, unless a cutover is asked for.
pub(crate) static SNAPSHOT: Way = Way {
    name: "snapshot",
    variable: "ENCRYPT_INSTANCE_STATE_MACHINE_ARN",
    fields: &[
        "snapshots",
        "quarantine_security_group_id",
        "cutover",
        "writes_stopped",
        "accept_lost_writes",
        "isolation_security_group_id",
        "wait_for_initialization",
        "accept_stale_replicas",
    ],
    interrupts: false,
    makes_snapshots: true,
    takes_replicas: false,
};

static BLUE_GREEN: Way = Way {
    name: "blue_green",
    variable: "ENCRYPT_BLUE_GREEN_STATE_MACHINE_ARN",
    fields: &["switchover_timeout_seconds", ACCEPT_STACK_DRIFT],
    interrupts: true,
    makes_snapshots: false,
    takes_replicas: true,
};

pub static WAYS: [&Way; 2] = [&SNAPSHOT, &BLUE_GREEN];

/// The plan compares the ways without it: whoever accepts a drift chooses the way.
const ACCEPT_STACK_DRIFT: &str = "accept_stack_drift";

/// Fields that executions of every way take. What names one instance, or what is made of it, is none.
pub const FOR_EVERY_WAY: &[&str] =
    &["kms_key_id", "on_failure", "max_wait_minutes", "approval", "approval_timeout_minutes"];

impl Way {
    pub(crate) fn takes(&self, field: &str) -> bool {
        self.fields.contains(&field) || FOR_EVERY_WAY.contains(&field)
    }
}

/// Whether the executions of any way take it, when each instance has its own.
pub(crate) fn any_takes(field: &str) -> bool {
    field != ACCEPT_STACK_DRIFT && WAYS.iter().any(|way| way.takes(field))
}
