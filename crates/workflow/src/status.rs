//! What each status of a DB instance or DB snapshot means to somebody who waits for it.
//!
//! The API has no enum for them: they are free strings. The instances' are those of "Viewing Amazon
//! RDS DB instance status" in the RDS User Guide; the snapshots' those that the SDKs' waiters
//! (`DBSnapshotAvailable`) and the life of a snapshot know. RDS may add more, so a status that is
//! not listed is pending until the deadline of whoever waits, and worth a line in the log.

/// What a status means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It passes by itself. One that no table lists is not `known`, and logged.
    Pending {
        known: bool,
    },
    Ready,
    /// It stays until somebody acts. `remedy` says how, and reads on after "is `storage-full`: ".
    Failed {
        remedy: &'static str,
    },
}

const PENDING: Class = Class::Pending { known: true };

const fn failed(remedy: &'static str) -> Class {
    Class::Failed { remedy }
}

const START_IT: &str =
    "start it with `aws rds start-db-instance`, wait until it is `available`, and start a new execution";
const KEY_IS_LOST: &str = "RDS cannot use its KMS key; enable the key and its grants, start the instance within 7 days \
                           of its loss, or else restore a backup";
const FREE_ADDRESSES: &str =
    "see that its DB subnet group and security groups exist and have free IP addresses, or restore it elsewhere";
const BEING_DELETED: &str = "somebody is deleting it; restore a backup if that was not meant";

/// For an instance, `available` is what ModifyDBInstance asks for ("available for modifications").
const INSTANCE: &[(&str, Class)] = &[
    ("available", Class::Ready),
    ("backing-up", PENDING),
    ("configuring-enhanced-monitoring", PENDING),
    ("configuring-iam-database-auth", PENDING),
    ("configuring-log-exports", PENDING),
    ("converting-to-vpc", PENDING),
    ("creating", PENDING),
    ("delete-precheck", failed(BEING_DELETED)),
    ("deleting", failed(BEING_DELETED)),
    ("failed", failed("RDS cannot recover it; restore it to a point in time or from a snapshot")),
    ("inaccessible-encryption-credentials", failed("its KMS key is lost for good; restore a backup under another key")),
    ("inaccessible-encryption-credentials-recoverable", failed(KEY_IS_LOST)),
    ("incompatible-create", failed("see its events for the resource that does not fit, and create it anew")),
    ("incompatible-network", failed(FREE_ADDRESSES)),
    ("incompatible-option-group", failed("see its events for the option at fault, and undo or correct the change")),
    ("incompatible-parameters", failed("correct or reset its DB parameter group, and reboot it")),
    ("incompatible-restore", failed("see its events for what does not fit, delete it, and restore it anew")),
    ("insufficient-capacity", failed("AWS lacks capacity; delete it and try later, in another zone or class")),
    ("maintenance", PENDING),
    ("modifying", PENDING),
    ("moving-to-vpc", PENDING),
    ("rebooting", PENDING),
    ("renaming", PENDING),
    ("resetting-master-credentials", PENDING),
    ("restore-error", failed("the restore failed; see its events, delete it, and restore it anew")),
    ("starting", PENDING),
    ("stopped", failed(START_IT)),
    ("stopping", failed(START_IT)),
    ("storage-config-upgrade", PENDING),
    (
        "storage-full",
        failed("raise its allocated storage with `aws rds modify-db-instance`, and wait until it is `available`"),
    ),
    ("storage-initialization", PENDING),
    ("storage-optimization", PENDING),
    ("upgrading", PENDING),
];

const SNAPSHOT: &[(&str, Class)] = &[
    ("available", Class::Ready),
    ("copying", PENDING),
    ("creating", PENDING),
    ("deleted", failed("somebody deleted it; take a new one")),
    ("deleting", failed("somebody is deleting it; take a new one")),
    ("failed", failed("RDS could not complete it; see the DB snapshot's events, delete it, and take a new one")),
    ("incompatible-parameters", failed("RDS cannot restore it; take a new one")),
    ("incompatible-restore", failed("RDS cannot restore it; take a new one")),
];

/// Statuses of a source whose data is as good as gone: what was copied of it may be the last. In all others
/// that are listed its storage is there and can be served, started or restored from again.
const LOST: &[&str] = &[
    "delete-precheck",
    "deleting",
    "failed",
    "inaccessible-encryption-credentials",
    "inaccessible-encryption-credentials-recoverable",
    "incompatible-create",
    "incompatible-restore",
    "insufficient-capacity",
    "restore-error",
];

/// Statuses in which an instance serves clients as usual, although it is not `available`.
/// The baseline backup after a restore takes hours, and storage optimization can take a day; both
/// and the lazy load run beside the database [A7] [A11].
const SERVING: &[&str] = &[
    "available",
    "backing-up",
    "configuring-enhanced-monitoring",
    "configuring-iam-database-auth",
    "configuring-log-exports",
    "storage-initialization",
    "storage-optimization",
];

/// Statuses in which ModifyDBInstance, AddRoleToDBInstance and RebootDBInstance work. While storage is optimized
/// "you can perform any other instance modifications" than of storage (re:Post, "RDS instance stuck in
/// storage-optimization"); it takes up to a day. Of `storage-initialization` it is assumed [A7].
const CAN_BE_MODIFIED: &[&str] = &["available", "storage-initialization", "storage-optimization"];

/// CreateDBSnapshot: "must be in the `available` or `storage-optimization` state".
const SNAPSHOT_CAN_BE_TAKEN: &[&str] = &["available", "storage-optimization"];

/// Whether an instance can be modified, renamed and handed over.
pub fn instance(status: &str) -> Class {
    class(INSTANCE, status)
}

/// Whether a snapshot of an instance can be taken.
pub fn source_class(status: &str) -> Class {
    if SNAPSHOT_CAN_BE_TAKEN.contains(&status) { Class::Ready } else { instance(status) }
}

/// Whether an instance serves clients. It may still refuse modifications.
pub fn serves_clients(status: &str) -> bool {
    SERVING.contains(&status)
}

/// Whether the data of an instance with this status may be gone for good. Of a status that no table lists
/// nobody knows.
pub fn is_lost(status: &str) -> bool {
    LOST.contains(&status) || matches!(instance(status), Class::Pending { known: false })
}

/// Whether an instance with this status can be modified.
pub fn can_be_modified(status: &str) -> bool {
    CAN_BE_MODIFIED.contains(&status)
}

/// Whether an instance is on its way out, which whoever deletes it has only to wait for.
pub fn is_being_deleted(status: &str) -> bool {
    matches!(status, "delete-precheck" | "deleting")
}

/// Whether a snapshot can be copied, restored and deleted.
pub fn snapshot(status: &str) -> Class {
    class(SNAPSHOT, status)
}

fn class(table: &[(&str, Class)], status: &str) -> Class {
    let row = table.iter().find(|(listed, _)| *listed == status);
    row.map_or_else(
        || {
            tracing::warn!(status, "unknown status: it counts as one that passes, until the deadline");
            Class::Pending { known: false }
        },
        |(_, class)| *class,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_listed_once() {
        for table in [INSTANCE, SNAPSHOT] {
            assert!(table.is_sorted_by(|(one, _), (next, _)| one < next), "sort the table, without repeats");
        }
    }

    #[test]
    fn each_remedy_reads_on_after_the_status() {
        for (status, class) in INSTANCE.iter().chain(SNAPSHOT) {
            let Class::Failed { remedy } = class else { continue };
            let first = remedy.chars().next().expect("a remedy");
            assert!(
                first.is_lowercase() || remedy.starts_with("RDS") || remedy.starts_with("AWS"),
                "{status}: {remedy}"
            );
            assert!(!remedy.ends_with('.') && !remedy.contains(". "), "one sentence, {status}: {remedy}");
            assert!(!remedy.contains("  "), "{status}: {remedy}");
        }
    }

    #[test]
    fn every_status_says_whether_the_data_is_still_there() {
        let all: Vec<&str> = INSTANCE.iter().map(|(status, _)| *status).collect();
        let unlisted: Vec<_> = LOST.iter().chain(SERVING).filter(|status| !all.contains(status)).collect();
        assert!(unlisted.is_empty(), "{unlisted:?} are not statuses of an instance");
        let lost: Vec<&str> = all.into_iter().filter(|status| is_lost(status)).collect();
        assert_eq!(lost, LOST, "sorted, each once");
        assert!(!LOST.iter().any(|status| serves_clients(status)));
        assert!(is_lost("vanishing"), "nobody knows what that is");
    }

    #[test]
    fn only_available_is_ready() {
        for (table, class_of) in [(INSTANCE, instance as fn(&str) -> Class), (SNAPSHOT, snapshot)] {
            let ready: Vec<_> = table.iter().filter(|(status, _)| class_of(status) == Class::Ready).collect();
            assert_eq!(ready, [&("available", Class::Ready)]);
        }
    }

    #[test]
    fn an_unlisted_status_is_pending_and_says_so() {
        for status in ["", "Available", "available ", "defragmenting"] {
            assert_eq!(instance(status), Class::Pending { known: false }, "{status}");
            assert_eq!(source_class(status), Class::Pending { known: false }, "{status}");
            assert_eq!(snapshot(status), Class::Pending { known: false }, "{status}");
            assert!(!serves_clients(status), "{status}");
        }
        assert_eq!(instance("creating"), Class::Pending { known: true });
        assert_eq!(snapshot("creating"), Class::Pending { known: true });
    }

    #[test]
    fn a_snapshot_can_be_taken_during_storage_optimization_but_not_during_a_backup() {
        assert_eq!(source_class("available"), Class::Ready);
        assert_eq!(source_class("storage-optimization"), Class::Ready);
        assert_eq!(source_class("backing-up"), PENDING);
        assert_eq!(source_class("modifying"), PENDING);
    }

    #[test]
    fn a_source_that_does_not_recover_by_itself_is_refused() {
        let refused = |status: &str| matches!(source_class(status), Class::Failed { .. });
        for status in ["stopped", "stopping", "failed", "storage-full", "restore-error", "deleting"] {
            assert!(refused(status), "{status}");
        }
        for (status, _) in INSTANCE {
            let expected = status.starts_with("incompatible-") || status.starts_with("inaccessible-");
            assert!(!expected || refused(status), "{status}");
        }
    }

    #[test]
    fn an_instance_that_is_backed_up_serves_clients_and_cannot_be_modified() {
        assert!(serves_clients("backing-up"));
        assert_ne!(instance("backing-up"), Class::Ready);
        for status in SERVING.iter().chain(CAN_BE_MODIFIED) {
            assert!(!matches!(instance(status), Class::Failed { .. } | Class::Pending { known: false }), "{status}");
        }
        assert!(CAN_BE_MODIFIED.iter().all(|status| serves_clients(status)));
        assert!(!can_be_modified("backing-up"));
        for status in ["creating", "rebooting", "renaming", "stopped"] {
            assert!(!serves_clients(status), "{status}");
        }
    }

    #[test]
    fn an_instance_that_is_being_deleted_is_lost_to_everybody_else() {
        for (status, class) in INSTANCE {
            assert_eq!(is_being_deleted(status), *class == failed(BEING_DELETED), "{status}");
        }
    }
}
