//! How every setting of a DB instance travels from the source to the encrypted target.
//!
//! [`TABLE`] has one line for each field of DescribeDBInstances, so that nothing is forgotten, and
//! [`Settings`] are the values that travel, as the state carries them. The plan captures the
//! source's; the restore passes what RestoreDBInstanceFromDBSnapshot takes ([`Settings::for_restore`]);
//! `apply-settings` mends whatever then still differs ([`Settings::changes`],
//! [`Settings::roles_to_add`]), which makes repeating it safe; `verify` shows that nothing is left
//! ([`Settings::differences`]); and what would have been in the way comes last
//! ([`Settings::protection`]).
//!
//! # Automated backups
//!
//! RDS starts the first backup as soon as an instance with a retention period is restored. The
//! instance is then `backing-up`, for hours if it is large. It serves clients meanwhile, but
//! ModifyDBInstance asks for `available`, and both the settings that only ModifyDBInstance takes (each
//! instance has one, the maintenance window) and the rename of a cutover go through it [A11].
//!
//! - **Without a cutover** the retention is passed at restore, and the run waits for `available`.
//!   Nobody waits with it, and the target has point-in-time recovery when it is handed over.
//! - **With a cutover** those hours would be an outage (or lost writes), so the restore is told 0
//!   ([`Settings::without_backups`]) and [`Settings::protection`] switches backups on after the second
//!   rename. Going from 0 to a period restarts the instance (User Guide, "Settings for DB
//!   instances"), and until LatestRestorableTime appears, the encrypted snapshot is the only
//!   recovery point: the plan, the approval and the output have to say both, and the snapshot stays
//!   until then.
//!
//! Once the last setting is in place, `backing-up` is as good as `available`.

mod field;
mod notes;
mod rules;
mod table;

#[cfg(test)]
mod simulation;

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_rds::operation::modify_db_instance::builders::ModifyDbInstanceInputBuilder;
use aws_sdk_rds::operation::restore_db_instance_from_db_snapshot::builders::RestoreDbInstanceFromDbSnapshotInputBuilder;
use aws_sdk_rds::types::DbInstance;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::options::Cutover;

pub use field::{Field, Travels};
pub use table::TABLE;

/// What the plan, the approval and the output say of a run that restores [`Settings::without_backups`].
pub const BACKUPS_WAIT_FOR_CUTOVER: &str = "Automated backups are switched on after the cutover, which restarts the \
    instance. Until its first backup is done (LatestRestorableTime appears), the encrypted snapshot is the only \
    recovery point: keep it.";

/// Waits for a cutover; see the module.
pub const BACKUPS: &str = "BackupRetentionPeriod";
const PROTECTION: &str = "DeletionProtection";
/// Size, kind and performance, which RDS changes together.
const STORAGE: &[&str] = &["AllocatedStorage", "StorageType", "Iops", "StorageThroughput", "AdditionalStorageVolumes"];

/// The settings of an instance that travel or are compared, by name; what is off may be absent.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "BTreeMap<String, Value>")]
pub struct Settings(BTreeMap<&'static str, Value>);

/// Settings that were not captured by this version of the table.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum InvalidSettings {
    #[error("`{0}` is not a setting of a DB instance")]
    Unknown(String),
    #[error("the setting `{setting}` cannot be {value}")]
    WrongType { setting: &'static str, value: Value },
}

/// One call of ModifyDBInstance. The identifier is still to be set.
#[derive(Debug)]
pub struct Changes {
    pub input: ModifyDbInstanceInputBuilder,
    /// The settings that it changes.
    pub settings: Vec<&'static str>,
}

/// A setting that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub field: &'static str,
    /// `null` where the instance does not have it.
    pub source: Value,
    pub target: Value,
}

/// Something that the owner has to know before the run, or that forbids it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Note {
    pub field: &'static str,
    pub message: String,
    pub refuse: bool,
}

/// A line of the plan's table of settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub field: &'static str,
    pub value: Value,
    pub travels: Travels,
    pub remark: &'static str,
}

impl Settings {
    pub fn capture(instance: &DbInstance) -> Self {
        let carried = TABLE.iter().filter(|field| field.applies(instance));
        Self(carried.filter_map(|field| Some((field.setting?, field.value(instance)?))).collect())
    }

    /// The same with automated backups off, for a target whose first backup waits for the cutover.
    pub fn without_backups(&self) -> Self {
        let mut settings = self.clone();
        settings.0.insert(BACKUPS, 0.into());
        settings
    }

    /// A value as it was captured.
    pub fn get(&self, setting: &str) -> Option<&Value> {
        self.0.get(setting)
    }

    pub fn text(&self, setting: &str) -> Option<String> {
        self.get(setting)?.as_str().map(str::to_owned)
    }

    pub fn number(&self, setting: &str) -> Option<i32> {
        i32::try_from(self.get(setting)?.as_i64()?).ok()
    }

    pub fn flag(&self, setting: &str) -> Option<bool> {
        self.get(setting)?.as_bool()
    }

    /// A list of texts, in the order in which RDS reported it.
    pub fn texts(&self, setting: &str) -> Option<Vec<String>> {
        let values = self.get(setting)?.as_array()?.iter();
        Some(values.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// The settings that RestoreDBInstanceFromDBSnapshot takes; identifiers and tags are still to be set.
    pub fn for_restore(&self) -> RestoreDbInstanceFromDbSnapshotInputBuilder {
        let nothing_yet = Self::default();
        TABLE.iter().fold(RestoreDbInstanceFromDbSnapshotInputBuilder::default(), |request, field| {
            match (&field.restore, field.setting) {
                (Some(parameter), Some(setting)) if self.get(setting).is_some() => {
                    parameter.set.apply(request.clone(), setting, self, &nothing_yet).unwrap_or(request)
                }
                _ => request,
            }
        })
    }

    /// What ModifyDBInstance can still mend on the target, whether or not it was passed at restore.
    pub fn changes(&self, target: &DbInstance) -> Option<Changes> {
        self.modification(target, |field| field.travels != Travels::Last)
    }

    /// What guards a proven target: deletion protection, and backups if they had to wait. It is switched
    /// on where it is off, and nothing that is on is changed. Call it on the source's settings, not on
    /// those [`Settings::without_backups`].
    pub fn protection(&self, target: &DbInstance, cutover: Cutover) -> Option<Changes> {
        let is_off = |field: &Field| field.value(target).is_none_or(|value| value == false || value == 0);
        let waited = |field: &Field| cutover == Cutover::Rename && field.setting == Some(BACKUPS);
        self.modification(target, |field| (field.travels == Travels::Last || waited(field)) && is_off(field))
    }

    /// What is another one than in these earlier settings, in words. See [`crate::wanted`] about storage.
    pub fn changed_since(&self, earlier: &Self) -> Vec<String> {
        let text = |value: Option<&Value>| value.map_or("not set".to_owned(), Value::to_string);
        let changed = TABLE.iter().filter_map(|field| {
            let setting = field.setting?;
            let (was, is) = (earlier.get(setting), self.get(setting));
            let is_storage = STORAGE.contains(&setting);
            let is_same = if is_storage { was == is } else { field.is_same(was, is) };
            let remark = if is_storage { ", which the target does not follow" } else { "" };
            (!is_same).then(|| format!("{setting}: {}, was {}{remark}", text(is), text(was)))
        });
        changed.collect()
    }

    /// The same with the storage of these others.
    pub fn with_storage_of(mut self, others: &Self) -> Self {
        for &setting in STORAGE {
            match others.get(setting) {
                Some(value) => self.0.insert(setting, value.clone()),
                None => self.0.remove(setting),
            };
        }
        self
    }

    /// These settings, guarded as these others are, too: the longer retention of backups, and deletion
    /// protection if one of them has it.
    pub fn guarded_as(mut self, others: &Self) -> Self {
        if others.flag(PROTECTION) == Some(true) {
            self.0.insert(PROTECTION, true.into());
        }
        if let Some(days) = others.number(BACKUPS).filter(|days| Some(*days) > self.number(BACKUPS)) {
            self.0.insert(BACKUPS, days.into());
        }
        self
    }

    fn modification(&self, target: &DbInstance, is_due: impl Fn(&Field) -> bool) -> Option<Changes> {
        let target = Self::capture(target);
        let input = ModifyDbInstanceInputBuilder::default().apply_immediately(true);
        let mut changes = Changes { input, settings: Vec::new() };
        for (field, setting) in self.differing(&target).filter(|(field, _)| is_due(field)) {
            let Some(parameter) = &field.modify else { continue };
            if let Some(input) = parameter.set.apply(changes.input.clone(), setting, self, &target) {
                changes.input = input;
                changes.settings.push(setting);
            }
        }
        (!changes.settings.is_empty()).then_some(changes)
    }

    /// The (role's ARN, feature) pairs for AddRoleToDBInstance.
    pub fn roles_to_add(&self, target: &DbInstance) -> Vec<(String, String)> {
        let roles = |settings: &Self| -> Vec<(String, String)> {
            let records = settings.get("AssociatedRoles").and_then(Value::as_array).into_iter().flatten();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            records.map(|role| (text(&role["RoleArn"]), text(&role["FeatureName"]))).collect()
        };
        let present = roles(&Self::capture(target));
        roles(self).into_iter().filter(|role| !present.contains(role)).collect()
    }

    /// Everything that has to be equal and is not. Deletion protection, which comes after the proof,
    /// is left to [`Settings::protection`].
    pub fn differences(&self, target: &Self) -> Vec<Difference> {
        let side = |settings: &Self, setting| settings.get(setting).cloned().unwrap_or_default();
        self.differing(target)
            .filter(|(field, _)| field.travels != Travels::Last)
            .map(|(_, setting)| Difference {
                field: setting,
                source: side(self, setting),
                target: side(target, setting),
            })
            .collect()
    }

    fn differing<'a>(&'a self, target: &'a Self) -> impl Iterator<Item = (&'static Field, &'static str)> + 'a {
        let carried = TABLE.iter().filter_map(|field| Some((field, field.setting?)));
        carried.filter(|(field, setting)| !field.is_same(self.get(setting), target.get(setting)))
    }

    /// What is impossible or needs a human, and what to do about it.
    pub fn notes(source: &DbInstance) -> Vec<Note> {
        let note = |field: &Field| {
            let (message, refuse) = match (field.note?)(source)? {
                field::Remark::Warn(message) => (message, false),
                field::Remark::Refuse(message) => (message, true),
            };
            Some(Note { field: field.name, message, refuse })
        };
        TABLE.iter().filter_map(note).collect()
    }

    /// Every field that the source has, and what becomes of it. A setting that is to be another one
    /// than the source's (see [`Settings::without_backups`]) is shown as coming last.
    pub fn table(&self, source: &DbInstance) -> Vec<Row> {
        let row = |field: &'static Field| {
            let value = field.value(source)?;
            let (travels, remark) = match field.condition {
                Some(condition) if !(condition.holds)(source) => (Travels::LeftToRds, condition.otherwise),
                _ if field.setting.is_some_and(|setting| self.get(setting) != Some(&value)) => {
                    (Travels::Last, field.remark)
                }
                _ => (field.travels, field.remark),
            };
            Some(Row { field: field.name, value, travels, remark })
        };
        TABLE.iter().filter_map(row).collect()
    }
}

impl TryFrom<BTreeMap<String, Value>> for Settings {
    type Error = InvalidSettings;

    fn try_from(values: BTreeMap<String, Value>) -> Result<Self, InvalidSettings> {
        let parse = |(name, value): (String, Value)| {
            let field = TABLE.iter().find(|field| field.setting == Some(name.as_str()));
            let (field, setting) =
                field.and_then(|field| Some((field, field.setting?))).ok_or(InvalidSettings::Unknown(name))?;
            if field.fits(&value) { Ok((setting, value)) } else { Err(InvalidSettings::WrongType { setting, value }) }
        };
        values.into_iter().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

/// `MultiAZ: true at the source, false at the target`
impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |value: &Value| if value.is_null() { "not set".to_owned() } else { value.to_string() };
        write!(formatter, "{}: {} at the source, {} at the target", self.field, side(&self.source), side(&self.target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_rds::types::builders::DbInstanceBuilder;
    use aws_sdk_rds::types::{
        ActivityStreamStatus, DbInstanceRole, DbParameterGroupStatus, Endpoint, MasterUserSecret,
        OptionGroupMembership, PendingModifiedValues, VpcSecurityGroupMembership,
    };
    use serde_json::json;

    fn postgres() -> DbInstanceBuilder {
        DbInstance::builder().engine("postgres").storage_type("gp3").allocated_storage(100)
    }

    fn security_group(id: &str, status: &str) -> VpcSecurityGroupMembership {
        VpcSecurityGroupMembership::builder().vpc_security_group_id(id).status(status).build()
    }

    fn notes_about(field: &str, source: DbInstanceBuilder) -> Vec<Note> {
        let mut notes = Settings::notes(&source.build());
        notes.retain(|note| note.field == field);
        notes
    }

    #[test]
    fn all_active_security_groups_are_passed() {
        let groups = [("sg-1", "active"), ("sg-2", "removing"), ("sg-3", "active")];
        let groups = groups.map(|(id, status)| security_group(id, status)).to_vec();
        let source = postgres().set_vpc_security_groups(Some(groups));
        let request = Settings::capture(&source.clone().build()).for_restore();
        assert_eq!(request.get_vpc_security_group_ids().as_deref(), Some(&["sg-1".to_owned(), "sg-3".to_owned()][..]));
        assert!(notes_about("VpcSecurityGroups", source)[0].message.contains("sg-2"));
    }

    #[test]
    fn a_zone_is_passed_only_for_a_single_az_instance() {
        let single = postgres().availability_zone("eu-central-1a").multi_az(false).build();
        let request = Settings::capture(&single).for_restore();
        assert_eq!(request.get_availability_zone().as_deref(), Some("eu-central-1a"));
        assert_eq!(*request.get_multi_az(), Some(false));

        let multi = postgres().availability_zone("eu-central-1a").multi_az(true).build();
        let request = Settings::capture(&multi).for_restore();
        assert_eq!((request.get_availability_zone(), *request.get_multi_az()), (&None, Some(true)));
    }

    #[test]
    fn a_mirrored_sql_server_is_multi_az_whatever_its_flag_says() {
        let mirrored = DbInstance::builder()
            .engine("sqlserver-se")
            .multi_az(false)
            .availability_zone("eu-central-1a")
            .secondary_availability_zone("eu-central-1b")
            .build();
        let request = Settings::capture(&mirrored).for_restore();
        assert_eq!((request.get_availability_zone(), *request.get_multi_az()), (&None, Some(true)));
    }

    #[test]
    fn performance_of_gp3_is_passed_from_the_threshold_of_the_engine_on() {
        for (engine, size_gib, is_passed) in [
            ("postgres", 399, false),
            ("postgres", 400, true),
            ("db2-se", 399, false),
            ("oracle-ee", 199, false),
            ("oracle-ee", 200, true),
            ("sqlserver-se", 20, true),
        ] {
            let source = DbInstance::builder()
                .engine(engine)
                .storage_type("gp3")
                .allocated_storage(size_gib)
                .iops(3000)
                .storage_throughput(125);
            let request = Settings::capture(&source.build()).for_restore();
            assert_eq!(request.get_storage_type().as_deref(), Some("gp3"));
            let expected = if is_passed { (Some(3000), Some(125)) } else { (None, None) };
            assert_eq!((*request.get_iops(), *request.get_storage_throughput()), expected, "{engine} {size_gib} GiB");
        }
    }

    #[test]
    fn provisioned_iops_are_passed_without_throughput() {
        for storage_type in ["io1", "io2"] {
            let source = postgres().storage_type(storage_type).iops(1000).storage_throughput(0).build();
            let request = Settings::capture(&source).for_restore();
            assert_eq!((*request.get_iops(), *request.get_storage_throughput()), (Some(1000), None));
        }
    }

    #[test]
    fn the_port_is_the_endpoint_s() {
        let source = postgres().endpoint(Endpoint::builder().port(5433).build()).db_instance_port(0).build();
        assert_eq!(*Settings::capture(&source).for_restore().get_port(), Some(5433));
    }

    #[test]
    fn an_option_group_on_its_way_out_stays() {
        let membership = |name, status| OptionGroupMembership::builder().option_group_name(name).status(status).build();
        let source = postgres()
            .option_group_memberships(membership("old", "pending-removal"))
            .option_group_memberships(membership("new", "in-sync"))
            .build();
        assert_eq!(Settings::capture(&source).text("OptionGroupName").as_deref(), Some("new"));
    }

    #[test]
    fn what_guards_is_switched_on_and_never_off_or_lower() {
        let guarded = |on, days| postgres().deletion_protection(on).backup_retention_period(days).build();
        let settings = |on, days| Settings::capture(&guarded(on, days));
        for (wanted, target, set) in [
            ((true, 7), (false, 0), vec![BACKUPS, PROTECTION]),
            ((true, 7), (true, 0), vec![BACKUPS]),
            ((true, 7), (false, 14), vec![PROTECTION]),
            ((false, 0), (true, 14), vec![]),
            ((true, 7), (true, 1), vec![]),
        ] {
            let target = guarded(target.0, target.1);
            let changes = settings(wanted.0, wanted.1).protection(&target, Cutover::Rename);
            assert_eq!(changes.map_or(vec![], |changes| changes.settings), set, "{wanted:?} {target:?}");
        }
        // Without a cutover they were proven before.
        assert!(settings(true, 7).protection(&guarded(true, 0), Cutover::None).is_none());
        for (planned, now, wanted) in [
            ((false, 7), (true, 14), (true, 14)),
            ((true, 7), (false, 0), (true, 7)),
            ((false, 7), (false, 1), (false, 7)),
        ] {
            let both = settings(planned.0, planned.1).guarded_as(&settings(now.0, now.1));
            assert_eq!(both, settings(wanted.0, wanted.1), "{planned:?} {now:?}");
        }
    }

    #[test]
    fn deletion_protection_comes_only_with_the_protection() {
        let source = postgres().deletion_protection(true).build();
        let settings = Settings::capture(&source);
        assert_eq!(*settings.for_restore().get_deletion_protection(), None);
        let target = postgres().build();
        assert!(settings.changes(&target).is_none());
        assert_eq!(settings.differences(&Settings::capture(&target)), []);
        let protection = settings.protection(&target, Cutover::None).expect("a change");
        assert_eq!(protection.settings, ["DeletionProtection"]);
        assert_eq!(*protection.input.get_deletion_protection(), Some(true));
    }

    #[test]
    fn changes_apply_at_once_and_name_their_settings() {
        let source = postgres().preferred_maintenance_window("sun:01:00-sun:02:00").monitoring_interval(60);
        let source = source.monitoring_role_arn("arn:role").build();
        let changes = Settings::capture(&source).changes(&postgres().build()).expect("changes");
        assert_eq!(*changes.input.get_apply_immediately(), Some(true));
        assert_eq!(changes.settings, ["PreferredMaintenanceWindow", "MonitoringInterval", "MonitoringRoleArn"]);
        assert_eq!(changes.input.get_monitoring_role_arn().as_deref(), Some("arn:role"));
    }

    #[test]
    fn roles_that_are_there_or_out_of_use_are_not_added() {
        let role =
            |arn, status| DbInstanceRole::builder().role_arn(arn).feature_name("s3Import").status(status).build();
        let source = postgres()
            .associated_roles(role("arn:1", "ACTIVE"))
            .associated_roles(role("arn:2", "ACTIVE"))
            .associated_roles(role("arn:3", "INVALID"));
        let target = postgres().associated_roles(role("arn:1", "PENDING")).build();
        let settings = Settings::capture(&source.clone().build());
        assert_eq!(settings.roles_to_add(&target), [("arn:2".to_owned(), "s3Import".to_owned())]);
        assert!(notes_about("AssociatedRoles", source)[0].message.contains("arn:3"));
    }

    #[test]
    fn lists_are_compared_in_any_order() {
        let groups = |ids: [&str; 2]| {
            let groups = ids.map(|id| security_group(id, "active")).to_vec();
            Settings::capture(&postgres().set_vpc_security_groups(Some(groups)).build())
        };
        assert_eq!(groups(["sg-1", "sg-2"]).differences(&groups(["sg-2", "sg-1"])), []);
        let differences = groups(["sg-1", "sg-2"]).differences(&groups(["sg-2", "sg-2"]));
        assert_eq!(differences.len(), 1);
        assert_eq!(
            differences[0].to_string(),
            r#"VpcSecurityGroupIds: ["sg-1","sg-2"] at the source, ["sg-2","sg-2"] at the target"#
        );
    }

    #[test]
    fn a_setting_that_one_side_lacks_is_a_difference() {
        let source = Settings::capture(&postgres().max_allocated_storage(500).build());
        let target = Settings::capture(&postgres().build());
        let expected = Difference { field: "MaxAllocatedStorage", source: json!(500), target: Value::Null };
        assert_eq!(source.differences(&target), std::slice::from_ref(&expected));
        assert_eq!(expected.to_string(), "MaxAllocatedStorage: 500 at the source, not set at the target");
    }

    #[test]
    fn a_target_that_grew_is_not_a_difference_and_one_that_stayed_behind_is() {
        let sized = |size_gib| Settings::capture(&postgres().allocated_storage(size_gib).build());
        assert_eq!(sized(100).differences(&sized(110)), []);
        assert_eq!(sized(110).differences(&sized(100)).len(), 1);
    }

    #[test]
    fn performance_that_the_source_leaves_to_rds_is_not_asked_for() {
        let sized = |size_gib, iops| postgres().allocated_storage(size_gib).iops(iops).build();
        let settings = Settings::capture(&sized(390, 3000));
        // The target grew past the threshold, where RDS gives gp3 more.
        assert!(settings.changes(&sized(400, 12_000)).is_none());
    }

    #[test]
    fn a_flag_that_rds_leaves_out_is_off() {
        let reported = Settings::capture(&postgres().dedicated_log_volume(false).build());
        assert_eq!(reported.differences(&Settings::capture(&postgres().build())), []);
    }

    #[test]
    fn settings_of_another_version_are_refused_by_name() {
        let error = serde_json::from_value::<Settings>(json!({ "Colour": "red" })).expect_err("unknown");
        assert_eq!(error.to_string(), "`Colour` is not a setting of a DB instance");
        // It is a field of DescribeDBInstances, but not one that travels.
        assert!(serde_json::from_value::<Settings>(json!({ "DBInstanceIdentifier": "a" })).is_err());
        let error = serde_json::from_value::<Settings>(json!({ "Iops": "many" })).expect_err("wrong type");
        assert_eq!(error.to_string(), "the setting `Iops` cannot be \"many\"");
        for wrong in [json!({ "VpcSecurityGroupIds": [1] }), json!({ "Domain": "d-1" }), json!({ "MultiAZ": null })] {
            assert!(serde_json::from_value::<Settings>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_encrypted_faithfully_is_refused() {
        let refused = [
            notes_about("Engine", DbInstance::builder().engine("custom-oracle-ee")),
            notes_about("TdeCredentialArn", postgres().tde_credential_arn("arn")),
            notes_about("DBSecurityGroups", {
                let group = aws_sdk_rds::types::DbSecurityGroupMembership::builder().db_security_group_name("classic");
                postgres().db_security_groups(group.build())
            }),
        ];
        for notes in refused {
            assert!(notes.len() == 1 && notes[0].refuse, "{notes:?}");
        }
        assert_eq!(Settings::notes(&postgres().build()), []);
    }

    #[test]
    fn what_needs_a_human_is_said_and_not_refused() {
        let pending_reboot = DbParameterGroupStatus::builder().db_parameter_group_name("pg");
        let pending_reboot = pending_reboot.parameter_apply_status("pending-reboot").build();
        let warned = [
            (
                "ActivityStreamStatus",
                postgres().activity_stream_status(ActivityStreamStatus::Started),
                "start-activity-stream",
            ),
            (
                "MasterUserSecret",
                postgres().master_user_secret(MasterUserSecret::builder().secret_arn("arn:old").build()),
                "arn:old",
            ),
            ("DBParameterGroups", postgres().db_parameter_groups(pending_reboot), "`pg`"),
            ("BackupRetentionPeriod", postgres().backup_retention_period(7), "backing-up"),
            ("DBCapacityReservationIdentifier", postgres().db_capacity_reservation_identifier("dbcr-1"), "unreserved"),
            ("Iops", postgres().iops(12_000).storage_throughput(500), "12000 IOPS"),
            (
                "PendingModifiedValues",
                postgres().pending_modified_values(PendingModifiedValues::builder().iops(1).build()),
                "--apply-immediately",
            ),
        ];
        for (field, source, words) in warned {
            let notes = notes_about(field, source);
            assert!(notes.len() == 1 && !notes[0].refuse && notes[0].message.contains(words), "{field}: {notes:?}");
        }
        // RDS reports an empty element where nothing is pending.
        let nothing_pending = postgres().pending_modified_values(PendingModifiedValues::builder().build());
        assert_eq!(notes_about("PendingModifiedValues", nothing_pending), []);
        let stopped = postgres().activity_stream_status(ActivityStreamStatus::Stopped);
        assert_eq!(notes_about("ActivityStreamStatus", stopped), []);
    }

    #[test]
    fn the_table_says_what_becomes_of_each_field_of_this_instance() {
        let source = postgres()
            .db_instance_identifier("prod")
            .iops(3000)
            .multi_az(true)
            .availability_zone("eu-central-1a")
            .backup_retention_period(7)
            .deletion_protection(true)
            .db_capacity_reservation_identifier("dbcr-1")
            .build();
        let settings = Settings::capture(&source);
        let travels = |settings: &Settings, field: &str| {
            settings.table(&source).into_iter().find(|row| row.field == field).map(|row| row.travels.label())
        };
        assert_eq!(travels(&settings, "MultiAZ"), Some("at restore"));
        assert_eq!(travels(&settings, "AvailabilityZone"), Some("left to RDS"));
        assert_eq!(travels(&settings, "Iops"), Some("left to RDS"));
        assert_eq!(travels(&settings, "DBInstanceIdentifier"), Some("differs on purpose"));
        assert_eq!(travels(&settings, "DBCapacityReservationIdentifier"), Some("cannot travel"));
        assert_eq!(travels(&settings, "DeletionProtection"), Some("last"));
        assert_eq!(travels(&settings, "Timezone"), None, "the instance has none");
        assert_eq!(travels(&settings, "BackupRetentionPeriod"), Some("at restore"));
        assert_eq!(travels(&settings.without_backups(), "BackupRetentionPeriod"), Some("last"));
    }
}
