//! The pairs of a call and what goes wrong with it, and how each must end.

use std::fmt;

use serde_json::{Value, json};
use workflow::options::Way;

use super::world::{FENCE, Subject, merged, text};

pub(crate) const SOURCE: &str = "orders";
pub(crate) const ENCRYPTED: &str = "orders-encrypted";

/// A way through the state machines whose every call is befallen in turn.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) way: Way,
    pub(crate) wish: Wish,
    /// What goes wrong on the way in any case: then the calls after it are the candidates.
    pub(crate) first_fault: Option<FirstFault>,
}

/// What its input asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wish {
    Twin,
    Cutover,
    /// The same, replicated by AWS DMS.
    ByDms,
    /// The same, of a MariaDB server.
    OfMariaDb,
}

#[derive(Debug)]
pub(crate) struct FirstFault {
    pub(crate) function: &'static str,
    pub(crate) operation: &'static str,
    /// Counted are the calls that name this, if it is not empty.
    pub(crate) naming: &'static str,
    pub(crate) call: u64,
    pub(crate) kind: Kind,
}

const fn first(function: &'static str, operation: &'static str, call: u64, kind: Kind) -> Option<FirstFault> {
    Some(FirstFault { function, operation, naming: "", call, kind })
}

impl FirstFault {
    /// Whether it counts this call.
    pub(crate) fn means(&self, call: &Value) -> bool {
        call["operation"] == self.operation
            && text(&call["app_id"]).strip_prefix("rds-encrypt.") == Some(self.function)
            && (self.naming.is_empty() || call["parameters"].to_string().contains(&format!("{:?}", self.naming)))
    }
}

/// The two happy paths, and the undo from each depth: by the execution itself, and from outside.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "plain", way: Way::Snapshot, wish: Wish::Twin, first_fault: None },
    Scenario { name: "rename", way: Way::Snapshot, wish: Wish::Cutover, first_fault: None },
    Scenario {
        name: "undo-copying",
        way: Way::Snapshot,
        wish: Wish::Twin,
        first_fault: Some(FirstFault {
            function: "describe-status",
            operation: "DescribeDBSnapshots",
            naming: ENCRYPTED,
            call: 1,
            kind: Kind::Denied,
        }),
    },
    Scenario {
        name: "undo-restored",
        way: Way::Snapshot,
        wish: Wish::Twin,
        first_fault: first("verify", "DescribeDBInstances", 1, Kind::Denied),
    },
    Scenario {
        name: "undo-renamed",
        way: Way::Snapshot,
        wish: Wish::Cutover,
        first_fault: first("rename-instance", "ModifyDBInstance", 2, Kind::Denied),
    },
    Scenario {
        name: "after-commit",
        way: Way::Snapshot,
        wish: Wish::Cutover,
        first_fault: first("clean-up", "DescribeDBSnapshots", 1, Kind::Denied),
    },
    Scenario {
        name: "stopped-restored",
        way: Way::Snapshot,
        wish: Wish::Twin,
        first_fault: first("verify", "DescribeDBInstances", 1, Kind::Stopped),
    },
    Scenario {
        name: "stopped-renaming",
        way: Way::Snapshot,
        wish: Wish::Cutover,
        first_fault: first("rename-instance", "ModifyDBInstance", 1, Kind::Stopped),
    },
    Scenario {
        name: "stopped-renamed",
        way: Way::Snapshot,
        wish: Wish::Cutover,
        first_fault: first("rename-instance", "ModifyDBInstance", 2, Kind::Stopped),
    },
    Scenario { name: "green", way: Way::BlueGreen, wish: Wish::Cutover, first_fault: None },
    Scenario {
        name: "undo-green",
        way: Way::BlueGreen,
        wish: Wish::Cutover,
        first_fault: first("switch-over", "SwitchoverBlueGreenDeployment", 1, Kind::Denied),
    },
    Scenario {
        name: "after-switchover",
        way: Way::BlueGreen,
        wish: Wish::Cutover,
        first_fault: first("clean-up", "DescribeBlueGreenDeployments", 1, Kind::Denied),
    },
    Scenario {
        name: "stopped-green",
        way: Way::BlueGreen,
        wish: Wish::Cutover,
        first_fault: first("verify", "DescribeDBInstances", 1, Kind::Stopped),
    },
    Scenario {
        name: "stopped-switching",
        way: Way::BlueGreen,
        wish: Wish::Cutover,
        first_fault: first("switch-over", "SwitchoverBlueGreenDeployment", 1, Kind::Stopped),
    },
    // With a database server alone, and a client that writes all the time.
    Scenario { name: "online", way: Way::Online, wish: Wish::Cutover, first_fault: None },
    Scenario {
        name: "undo-online",
        way: Way::Online,
        wish: Wish::Cutover,
        first_fault: first("rename-instance", "ModifyDBInstance", 2, Kind::Denied),
    },
    Scenario {
        name: "stopped-online",
        way: Way::Online,
        wish: Wish::Cutover,
        first_fault: first("rename-instance", "ModifyDBInstance", 1, Kind::Stopped),
    },
    Scenario { name: "dms", way: Way::Online, wish: Wish::ByDms, first_fault: None },
    Scenario {
        name: "undo-dms",
        way: Way::Online,
        wish: Wish::ByDms,
        first_fault: first("rename-instance", "ModifyDBInstance", 2, Kind::Denied),
    },
    Scenario { name: "mariadb", way: Way::Online, wish: Wish::OfMariaDb, first_fault: None },
    Scenario {
        name: "undo-mariadb",
        way: Way::Online,
        wish: Wish::OfMariaDb,
        first_fault: first("rename-instance", "ModifyDBInstance", 2, Kind::Denied),
    },
];

impl Scenario {
    pub(crate) fn input(&self) -> Value {
        let input = json!({"instance_id": SOURCE, "max_wait_minutes": 60});
        let cutover = json!({"cutover": "rename", "accept_lost_writes": true, "isolation_security_group_id": FENCE});
        match self.wish {
            Wish::Cutover if self.way == Way::Snapshot => merged(input, cutover),
            Wish::ByDms => merged(input, json!({"engine": "dms"})),
            Wish::Twin | Wish::Cutover | Wish::OfMariaDb => input,
        }
    }
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Throttled,
    Error500,
    Error503,
    /// The connection is reset before the effect.
    Reset,
    /// The effect happens, and no reply arrives.
    Lost,
    /// The effect happens after the function has given up on the call.
    Slow,
    /// The function's process ends after the effect.
    Killed,
    Denied,
    Vanished,
    BecameFailed,
    /// The execution is stopped, and the call goes on.
    Stopped,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Extent {
    Once,
    /// From that call on.
    Lasting,
}

pub(crate) const FAULTS: &[(Kind, Extent)] = &[
    (Kind::Throttled, Extent::Once),
    (Kind::Error500, Extent::Once),
    (Kind::Error503, Extent::Once),
    (Kind::Reset, Extent::Once),
    (Kind::Lost, Extent::Once),
    (Kind::Slow, Extent::Once),
    (Kind::Killed, Extent::Once),
    (Kind::Throttled, Extent::Lasting),
    (Kind::Error500, Extent::Lasting),
    (Kind::Error503, Extent::Lasting),
    (Kind::Reset, Extent::Lasting),
    (Kind::Lost, Extent::Lasting),
    (Kind::Slow, Extent::Lasting),
    (Kind::Killed, Extent::Lasting),
    (Kind::Denied, Extent::Lasting),
    (Kind::Vanished, Extent::Once),
    (Kind::BecameFailed, Extent::Once),
    (Kind::Stopped, Extent::Once),
];

/// What the plan asks only to warn of what it finds. (Of AWS Backup's snapshots it asks before it asks for the planned
/// names, and by the same operation: what befalls those, too, is no matter of advice.)
const ADVICE: &[&str] = &[
    "DescribeEventSubscriptions",
    "DescribeDBParameters",
    "DescribeDBProxies",
    "DescribeDBProxyTargets",
    "DescribePendingMaintenanceActions",
    "DescribeSecurityGroups",
    "DescribeAlarms",
    "DescribeEndpoints",
    "DescribeReplicationTasks",
];
/// Where the plan may not look, and goes on with a warning.
const SAID: &[&str] = &[
    "DescribeAccountAttributes",
    "DescribeCertificates",
    "DescribeDBEngineVersions",
    "DescribeIntegrations",
    "DescribeOrderableDBInstanceOptions",
];
/// The same, of a blue/green deployment: MySQL's and MariaDB's events would forbid it.
const SAID_OF_A_DEPLOYMENT: &[&str] = &["DescribeDBParameters"];
/// It has no snapshots of ours: only AWS Backup's are asked for.
const ADVICE_OF_A_DEPLOYMENT: &[&str] = &["DescribeDBSnapshots"];
/// The same, without a cutover.
const SAID_OF_A_COPY: &[&str] = &["DescribeBlueGreenDeployments"];

/// The call that something goes wrong with: the n-th of an operation by a function.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: String,
    pub(crate) operation: String,
    pub(crate) number: u64,
    /// The instance or snapshot that it is about, if it is there then, under its name of then.
    pub(crate) subject: Option<(Subject, String)>,
}

impl Call {
    pub(crate) fn has_effect(&self) -> bool {
        !self.operation.starts_with("Describe") && !self.operation.starts_with("Get")
    }

    /// The step goes on in the databases, or has AWS DMS do so.
    pub(crate) fn logs_in(&self) -> bool {
        const STEPS: &[&str] = &[
            "preflight-database",
            "publish-source",
            "prepare-target",
            "create-replication",
            "run-replication",
            "seed-target",
            "verify-data",
            "cut-over",
            "open-target",
            "undo-database",
        ];
        STEPS.contains(&self.function.as_str())
    }

    /// It makes, moves, renames or deletes data.
    pub(crate) fn touches_data(&self) -> bool {
        ["CreateDBSnapshot", "CopyDBSnapshot", "RestoreDBInstanceFromDBSnapshot"].contains(&self.operation.as_str())
            || ["CreateBlueGreenDeployment", "SwitchoverBlueGreenDeployment"].contains(&self.operation.as_str())
            || self.operation.starts_with("Delete")
            || self.operation == "ModifyDBInstance" && ["rename-instance", "undo"].contains(&self.function.as_str())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) scenario: &'static Scenario,
    pub(crate) call: Call,
    pub(crate) kind: Kind,
    pub(crate) extent: Extent,
}

impl Pair {
    /// The plan looked for something in vain, says so, and goes on.
    pub(crate) fn is_only_said(&self) -> bool {
        let is_one_of = |operations: &[&str]| operations.contains(&self.call.operation.as_str());
        if self.scenario.way == Way::BlueGreen && self.call.function == "plan" && is_one_of(SAID_OF_A_DEPLOYMENT) {
            return self.kind == Kind::Denied;
        }
        let is_advice = is_one_of(ADVICE) || self.scenario.way == Way::BlueGreen && is_one_of(ADVICE_OF_A_DEPLOYMENT);
        self.call.function == "plan"
            && match self.kind {
                Kind::Killed | Kind::Vanished | Kind::BecameFailed | Kind::Stopped => false,
                Kind::Denied => {
                    is_advice || is_one_of(SAID) || self.scenario.wish == Wish::Twin && is_one_of(SAID_OF_A_COPY)
                }
                _ => is_advice,
            }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let Self { scenario, call: Call { function, operation, number, .. }, kind, extent } = self;
        write!(formatter, "{}/{function}.{operation}.{number}/{extent:?}{kind:?}", scenario.name)
    }
}

/// How long a slow answer takes, in wall seconds: longer than the functions wait for it.
const SLOW_SECONDS: f64 = 1.3;

impl Pair {
    pub(crate) fn is_applicable(&self) -> bool {
        match (self.kind, self.extent) {
            (Kind::Vanished | Kind::BecameFailed, _) => self.call.subject.is_some(),
            // A look has no effect that could come late; that its answers do not come, `Reset` shows.
            (Kind::Slow, Extent::Lasting) => self.call.has_effect(),
            _ => true,
        }
    }

    /// The fault rule that makes it happen (`tests/local/rds/faults.py`).
    pub(crate) fn rule(&self, stop: Value) -> Value {
        let mut rule = rule(&self.call.function, &self.call.operation, self.kind, &stop);
        rule[if self.extent == Extent::Lasting { "from_call" } else { "call" }] = json!(self.call.number);
        if let (Kind::Vanished | Kind::BecameFailed, Some((subject, id))) = (self.kind, &self.call.subject) {
            // RDS names green by chance.
            let is_green = self.scenario.way == Way::BlueGreen && *subject == Subject::Target;
            rule["action"]["resource"] =
                if is_green { json!({"green_of": SOURCE}) } else { json!({subject.kind(): id}) };
        }
        rule
    }

    /// What the fault itself takes away or breaks.
    pub(crate) fn broken(&self) -> Option<Subject> {
        let (subject, _) = self.call.subject.as_ref()?;
        matches!(self.kind, Kind::Vanished | Kind::BecameFailed).then_some(*subject)
    }
}

pub(crate) fn rule(function: &str, operation: &str, kind: Kind, stop: &Value) -> Value {
    let before = |action: Value| json!({"when": "before", "action": action});
    let after = |action: Value| json!({"when": "after", "action": action});
    let fault = match kind {
        Kind::Throttled => before(json!({"type": "throttle"})),
        Kind::Error500 => before(json!({"type": "error", "code": "InternalFailure", "status": 500})),
        Kind::Error503 => before(json!({"type": "http", "status": 503})),
        Kind::Reset => before(json!({"type": "reset"})),
        Kind::Lost => after(json!({"type": "lost"})),
        Kind::Slow => before(json!({"type": "slow", "seconds": SLOW_SECONDS})),
        Kind::Killed => after(json!({"type": "kill"})),
        Kind::Denied => before(json!({"type": "error", "code": "AccessDenied", "status": 403})),
        Kind::Vanished => before(json!({"type": "vanish"})),
        Kind::BecameFailed => before(json!({"type": "status", "status": "failed"})),
        Kind::Stopped => before(merged(json!({"type": "stop"}), stop.clone())),
    };
    merged(json!({"app_id": format!("rds-encrypt.{function}"), "operation": operation}), fault)
}

impl Kind {
    /// What an execution is named after that fails of it.
    pub(crate) fn errors(self) -> &'static [&'static str] {
        match self {
            Self::Throttled => &["Throttled"],
            Self::Error500 | Self::Error503 | Self::Reset | Self::Lost | Self::Slow => &["ServiceUnavailable"],
            // What Lambda calls a process that ends in the middle.
            Self::Killed => &["Runtime.ExitError"],
            // Past the commit point what cannot be deleted is listed under a name of its own.
            Self::Denied => &["AccessDenied", "CleanUpFailed"],
            Self::Vanished | Self::BecameFailed => &[
                "InstanceNotFound",
                "SnapshotNotFound",
                "InstanceFailed",
                "SnapshotFailed",
                "InstanceNotUsable",
                "NotProven",
                // A call that names it is refused, and a loop that does not find it gives up.
                "InvalidInstanceState",
                "InvalidSnapshotState",
                "WaitTimedOut",
                // A step that had found it logs in as long as a server may be away.
                "DatabaseUnavailable",
                // Of a blue/green deployment.
                "DeploymentFailed",
                "SwitchoverFailed",
            ],
            Self::Stopped => &[],
        }
    }
}
