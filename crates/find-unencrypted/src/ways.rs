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
}

/// The first one is taken unless another is asked for.
pub const WAYS: &[Way] = &[
    Way {
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
    },
    Way {
        name: "blue_green",
        variable: "ENCRYPT_BLUE_GREEN_STATE_MACHINE_ARN",
        fields: &["switchover_timeout_seconds", "accept_stack_drift"],
        interrupts: true,
        makes_snapshots: false,
    },
];

/// Fields that executions of every way take. What names one instance, or what is made of it, is none.
pub const FOR_EVERY_WAY: &[&str] =
    &["kms_key_id", "on_failure", "max_wait_minutes", "approval", "approval_timeout_minutes"];

impl Way {
    pub(crate) fn takes(&self, field: &str) -> bool {
        self.fields.contains(&field) || FOR_EVERY_WAY.contains(&field)
    }
}
