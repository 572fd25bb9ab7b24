//! How every setting of a DB instance travels from the source to the encrypted target.
//!
//! [`TABLE`] has one line for each field of DescribeDBInstances, so that nothing is forgotten, and
//! [`Settings`] are the values that travel, as the state carries them. The plan captures the
//! source's; the restore passes what RestoreDBInstanceFromDBSnapshot takes ([`Settings::for_restore`]);
//! `apply-settings` mends whatever then still differs ([`Settings::changes`],
//! [`Settings::roles_to_add`]), which makes repeating it safe; `verify` shows that nothing is left
//! ([`Settings::differences`]); and what would have been in the way comes last
//! ([`Settings::protection`]). The source may change meanwhile: what the target can follow it follows, and the
//! rest is told ([`Settings::as_far_as_followed`], [`Settings::tolerated`]).
//!
//! What RDS refuses is settled by the table's rules, or asked and refused by the plan ([`Refused`]).
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
//!   until then. A SQL Server that is Multi-AZ cannot do without backups: they stay on, and the run
//!   waits for the first one before its cutover.
//!
//! Once the last setting is in place, `backing-up` is as good as `available`.

pub mod member;
pub mod protect;
pub mod refusals;
pub mod wanted;

mod field;
mod membership;
mod notes;
mod rules;
mod table;
mod values;

#[cfg(test)]
mod simulation;

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_rds::operation::modify_db_instance::builders::ModifyDbInstanceInputBuilder;
use aws_sdk_rds::operation::restore_db_instance_from_db_snapshot::builders::RestoreDbInstanceFromDbSnapshotInputBuilder;
use aws_sdk_rds::types::{DbInstance, DbSnapshot};
use serde::Serialize;
use serde_json::Value;
use workflow::options::Cutover;

use field::equal_in_any_order;
use values::AWS_MANAGED_KEYS;

pub use field::{Field, Refused, Travels};
pub use membership::{Force, Membership};
pub use table::TABLE;
pub use values::{BACKUPS, SECURITY_GROUPS, Settings};

const BACKUPS_WAIT_FOR_CUTOVER: &str = "Automated backups are switched on after the cutover, which restarts the \
    instance. Until its first backup is done (LatestRestorableTime appears), the encrypted snapshot is the only \
    recovery point: keep it.";
const BACKUPS_DO_NOT_WAIT: &str = "A SQL Server that is Multi-AZ cannot do without automated backups, so the target \
    takes its first backup before the cutover, which waits for it: for hours, if the instance is large, in which \
    the target falls further behind the source.";

const PROTECTION: &str = "DeletionProtection";
/// What a restored target does not follow: size, kind and performance, which RDS changes together, and the zone.
const STAYS: &[&str] =
    &["AllocatedStorage", "StorageType", "Iops", "StorageThroughput", "AdditionalStorageVolumes", "AvailabilityZone"];
/// Keys cannot be changed once they are in use.
const STAYS_IF_SET: &[&str] = &[rules::INSIGHTS_KEY, rules::SECRET_KEY];
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
    /// When RDS refuses it, and how that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Settings {
    pub fn capture(instance: &DbInstance) -> Self {
        let carried = TABLE.iter().filter(|field| field.applies(instance));
        Self(carried.filter_map(|field| Some((field.setting?, field.value(instance)?))).collect())
    }

    /// The same with automated backups off, for a target whose first backup waits for the cutover.
    pub fn without_backups(&self) -> Self {
        let mut settings = self.clone();
        if !rules::needs_backups(self) {
            settings.0.insert(BACKUPS, 0.into());
        }
        settings
    }

    /// What a cutover means for the backups of an instance with these settings; the plan, the approval and the
    /// output say it.
    pub fn backups_in_a_cutover(&self) -> Option<&'static str> {
        self.number(BACKUPS).filter(|days| *days > 0)?;
        Some(if rules::needs_backups(self) { BACKUPS_DO_NOT_WAIT } else { BACKUPS_WAIT_FOR_CUTOVER })
    }

    /// The same behind that group alone.
    pub fn quarantined(mut self, group: Option<&str>) -> Self {
        if let Some(group) = group {
            self.0.insert(SECURITY_GROUPS, vec![group].into());
        }
        self
    }

    /// Notes that AWS manages this key, which is then not named to RDS.
    pub fn note_aws_managed(&mut self, key: &str) {
        let mut keys = self.texts(AWS_MANAGED_KEYS).unwrap_or_default();
        keys.push(key.to_owned());
        self.0.insert(AWS_MANAGED_KEYS, keys.into());
    }

    /// The settings that RestoreDBInstanceFromDBSnapshot takes for this snapshot; identifiers and tags are still
    /// to be set.
    pub fn for_restore(&self, snapshot: &DbSnapshot) -> RestoreDbInstanceFromDbSnapshotInputBuilder {
        let size_gib = snapshot.allocated_storage().map(|size_gib| ("AllocatedStorage", size_gib.into()));
        let snapshot = Self(size_gib.into_iter().collect());
        TABLE.iter().fold(RestoreDbInstanceFromDbSnapshotInputBuilder::default(), |request, field| {
            match (&field.restore, field.setting) {
                (Some(parameter), Some(setting)) if self.get(setting).is_some() => {
                    parameter.set.apply(request.clone(), setting, self, &snapshot).unwrap_or(request)
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

    /// What is another one than in these earlier settings, in words.
    pub fn changed_since(&self, earlier: &Self) -> Vec<String> {
        let text = |value: Option<&Value>| value.map_or("not set".to_owned(), Value::to_string);
        let changed = TABLE.iter().filter_map(|field| {
            let setting = field.setting?;
            let (was, is) = (earlier.get(setting), self.get(setting));
            let stays = STAYS.contains(&setting) || STAYS_IF_SET.contains(&setting) && was.is_some();
            let remark = if stays { ", which the target does not follow" } else { "" };
            (!equal_in_any_order(was, is)).then(|| format!("{setting}: {}, was {}{remark}", text(is), text(was)))
        });
        changed.collect()
    }

    /// The same but for what a target, restored with what was planned, does not follow.
    pub fn as_far_as_followed(mut self, planned: &Self) -> Self {
        let stays_if_set = STAYS_IF_SET.iter().filter(|setting| planned.get(setting).is_some());
        for &setting in STAYS.iter().chain(stays_if_set).chain([&AWS_MANAGED_KEYS]) {
            match planned.get(setting) {
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
        let is_due = |field: &Field| is_due(field) && !(field.may_differ)(self, &target);
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
        self.differences_that(target, |field| !(field.may_differ)(self, target))
    }

    /// What is not equal and need not be: storage that grew on one side, for example.
    pub fn tolerated(&self, target: &Self) -> Vec<Difference> {
        self.differences_that(target, |field| (field.may_differ)(self, target))
    }

    fn differences_that(&self, target: &Self, is_meant: impl Fn(&Field) -> bool) -> Vec<Difference> {
        let side = |settings: &Self, setting| settings.get(setting).cloned().unwrap_or_default();
        self.differing(target)
            .filter(|(field, _)| field.travels != Travels::Last && is_meant(field))
            .map(|(_, setting)| Difference {
                field: setting,
                source: side(self, setting),
                target: side(target, setting),
            })
            .collect()
    }

    fn differing<'a>(&'a self, target: &'a Self) -> impl Iterator<Item = (&'static Field, &'static str)> + 'a {
        let carried = TABLE.iter().filter_map(|field| Some((field, field.setting?)));
        carried.filter(|(_, setting)| !equal_in_any_order(self.get(setting), target.get(setting)))
    }

    /// The groups, roles and directories of an instance that are not in force on it.
    pub fn not_in_force(instance: &DbInstance) -> Vec<Membership> {
        TABLE.iter().flat_map(|field| field.not_in_force(instance)).collect()
    }

    /// What is impossible or needs a human, and what to do about it.
    pub fn notes(source: &DbInstance) -> Vec<Note> {
        let notes = |field: &'static Field| {
            let lost = field.not_in_force(source).into_iter();
            let lost: Vec<_> = lost.filter(|one| matches!(one.force(), Force::Leaving | Force::Failed)).collect();
            let remarks = [field.note.and_then(|note| note(source)), notes::lost_memberships(&lost)];
            remarks.into_iter().flatten().map(|remark| {
                let (message, refuse) = match remark {
                    field::Remark::Warn(message) => (message, false),
                    field::Remark::Refuse(message) => (message, true),
                };
                Note { field: field.name, message, refuse }
            })
        };
        TABLE.iter().flat_map(notes).collect()
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
            Some(Row { field: field.name, value, travels, remark, refused: field.refused.sentence() })
        };
        TABLE.iter().filter_map(row).collect()
    }
}

impl TryFrom<BTreeMap<String, Value>> for Settings {
    type Error = InvalidSettings;

    fn try_from(values: BTreeMap<String, Value>) -> Result<Self, InvalidSettings> {
        let parse = |(name, value): (String, Value)| {
            if name == AWS_MANAGED_KEYS && value.as_array().is_some_and(|keys| keys.iter().all(Value::is_string)) {
                return Ok((AWS_MANAGED_KEYS, value));
            }
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

    /// One that says nothing of its own.
    fn no_snapshot() -> DbSnapshot {
        DbSnapshot::builder().build()
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
    fn all_security_groups_that_stay_are_passed() {
        let groups = [("sg-1", "active"), ("sg-2", "removing"), ("sg-3", "adding")];
        let groups = groups.map(|(id, status)| security_group(id, status)).to_vec();
        let source = postgres().set_vpc_security_groups(Some(groups));
        let request = Settings::capture(&source.clone().build()).for_restore(&no_snapshot());
        assert_eq!(request.get_vpc_security_group_ids().as_deref(), Some(&["sg-1".to_owned(), "sg-3".to_owned()][..]));
        let notes = notes_about("VpcSecurityGroups", source);
        assert_eq!(notes[0].message, "Not in force at the source, so it does not travel: `sg-2` (removing).");
    }

    #[test]
    fn a_zone_is_passed_only_for_a_single_az_instance() {
        let single = postgres().availability_zone("eu-central-1a").multi_az(false).build();
        let request = Settings::capture(&single).for_restore(&no_snapshot());
        assert_eq!(request.get_availability_zone().as_deref(), Some("eu-central-1a"));
        assert_eq!(*request.get_multi_az(), None, "SQL Server refuses `false`");

        let multi = postgres().availability_zone("eu-central-1a").multi_az(true).build();
        let request = Settings::capture(&multi).for_restore(&no_snapshot());
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
        let request = Settings::capture(&mirrored).for_restore(&no_snapshot());
        assert_eq!((request.get_availability_zone(), *request.get_multi_az()), (&None, Some(true)));
    }

    /// What a restore from a snapshot of that size names of the storage: size, IOPS, throughput.
    fn storage_at_restore(source: DbInstanceBuilder, snapshot_gib: i32) -> (Option<i32>, Option<i32>, Option<i32>) {
        let snapshot = DbSnapshot::builder().allocated_storage(snapshot_gib).build();
        let request = Settings::capture(&source.build()).for_restore(&snapshot);
        (*request.get_allocated_storage(), *request.get_iops(), *request.get_storage_throughput())
    }

    #[test]
    fn performance_of_gp3_is_passed_with_the_size_from_the_threshold_of_the_engine_on() {
        for (engine, size_gib, is_passed) in [
            ("postgres", 399, false),
            ("postgres", 400, true),
            ("db2-se", 399, false),
            ("oracle-ee", 199, false),
            ("oracle-ee", 200, true),
        ] {
            let source = postgres().engine(engine).allocated_storage(size_gib).iops(3000).storage_throughput(125);
            let expected = if is_passed { (Some(size_gib), Some(3000), Some(125)) } else { (None, None, None) };
            assert_eq!(storage_at_restore(source, size_gib), expected, "{engine} {size_gib} GiB");
        }
    }

    #[test]
    fn a_snapshot_that_is_older_than_the_sources_growth_decides_what_is_passed() {
        let grown = || postgres().allocated_storage(500).iops(12_000).storage_throughput(500);
        assert_eq!(storage_at_restore(grown(), 400), (Some(400), Some(12_000), Some(500)));
        assert_eq!(storage_at_restore(grown(), 390), (None, None, None));
        let provisioned = grown().storage_type("io2");
        assert_eq!(storage_at_restore(provisioned, 390), (Some(390), Some(12_000), None));
    }

    #[test]
    fn sql_server_gets_its_storage_after_the_restore() {
        let source = postgres().engine("sqlserver-se").allocated_storage(20).iops(4000).storage_throughput(250);
        assert_eq!(storage_at_restore(source.clone(), 20), (None, None, None));
        let settings = Settings::capture(&source.clone().build());
        assert_eq!(*settings.for_restore(&no_snapshot()).get_storage_type(), None);
        let restored = source.clone().storage_type("gp2").set_iops(None).set_storage_throughput(None).build();
        let changes = settings.changes(&restored).expect("changes");
        assert_eq!(changes.settings, ["StorageType"]);
        let input = changes.input;
        assert_eq!(input.get_storage_type().as_deref(), Some("gp3"));
        assert_eq!((*input.get_allocated_storage(), *input.get_iops()), (Some(20), Some(4000)), "with its performance");
    }

    #[test]
    fn a_sql_server_that_is_mirrored_keeps_its_backups_through_a_cutover() {
        let source = |engine: &str, multi_az| {
            Settings::capture(&postgres().engine(engine).multi_az(multi_az).backup_retention_period(7).build())
        };
        for (engine, multi_az, days) in [("sqlserver-ee", true, 7), ("sqlserver-ee", false, 0), ("postgres", true, 0)] {
            let settings = source(engine, multi_az);
            assert_eq!(settings.without_backups().number(BACKUPS), Some(days), "{engine}");
            let said = settings.backups_in_a_cutover().expect("backups are on");
            assert_eq!(said.contains("before the cutover"), days > 0, "{said}");
        }
        assert_eq!(Settings::capture(&postgres().build()).backups_in_a_cutover(), None);
    }

    #[test]
    fn the_port_is_the_endpoint_s() {
        let source = postgres().endpoint(Endpoint::builder().port(5433).build()).db_instance_port(0).build();
        assert_eq!(*Settings::capture(&source).for_restore(&no_snapshot()).get_port(), Some(5433));
    }

    #[test]
    fn an_option_group_on_its_way_out_does_not_travel() {
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
        assert_eq!(*settings.for_restore(&no_snapshot()).get_deletion_protection(), None);
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
    fn what_is_not_in_force_is_told_with_its_status() {
        let option_group = OptionGroupMembership::builder().option_group_name("audit").status("applying").build();
        let group = DbParameterGroupStatus::builder().db_parameter_group_name("tuned");
        let role = DbInstanceRole::builder().role_arn("arn:1").feature_name("s3Import").status("INVALID").build();
        let target = postgres()
            .db_parameter_groups(group.parameter_apply_status("pending-reboot").build())
            .option_group_memberships(option_group)
            .vpc_security_groups(security_group("sg-1", "active"))
            .vpc_security_groups(security_group("sg-2", "removing"))
            .associated_roles(role)
            .build();
        let told = Settings::not_in_force(&target).into_iter().map(|one| (one.to_string(), one.force()));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("DBParameterGroups: `tuned` is pending-reboot".to_owned(), Force::NeedsReboot),
                ("OptionGroupMemberships: `audit` is applying".to_owned(), Force::OnItsWay),
                ("VpcSecurityGroups: `sg-2` is removing".to_owned(), Force::Leaving),
                ("AssociatedRoles: `arn:1` is INVALID".to_owned(), Force::Failed),
            ]
        );
    }

    #[test]
    fn a_key_that_aws_manages_is_not_named() {
        let source = postgres()
            .performance_insights_enabled(true)
            .performance_insights_kms_key_id("arn:insights")
            .master_user_secret(MasterUserSecret::builder().kms_key_id("arn:secret").build());
        let mut settings = Settings::capture(&source.clone().build());
        let keys = |settings: &Settings, target: &DbInstance| {
            let input = settings.changes(target).expect("changes").input;
            (input.get_performance_insights_kms_key_id().clone(), input.get_master_user_secret_kms_key_id().clone())
        };
        let target = postgres().build();
        assert_eq!(keys(&settings, &target), (Some("arn:insights".into()), Some("arn:secret".into())));
        settings.note_aws_managed("arn:insights");
        assert_eq!(keys(&settings, &target), (None, Some("arn:secret".into())));
        settings.note_aws_managed("arn:secret");
        assert_eq!(keys(&settings, &target), (None, None));
        // They are compared all the same, and the note travels with the state.
        assert_eq!(settings.differences(&Settings::capture(&source.build())), []);
        let json = serde_json::to_value(&settings).expect("json");
        assert_eq!(serde_json::from_value::<Settings>(json).expect("settings"), settings);
        // Where RDS does not say which key it is, it is the default.
        let unnamed = postgres().master_user_secret(MasterUserSecret::builder().secret_arn("arn:old").build());
        let changes = Settings::capture(&unnamed.build()).changes(&target).expect("changes");
        assert_eq!(*changes.input.get_manage_master_user_password(), Some(true));
        assert_eq!(*changes.input.get_master_user_secret_kms_key_id(), None);
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

    /// What a target lacks that cannot lack it, and what is told of it.
    fn compared(source: DbInstanceBuilder, target: DbInstanceBuilder) -> (Vec<&'static str>, Vec<&'static str>) {
        let (source, target) = (Settings::capture(&source.build()), Settings::capture(&target.build()));
        let names = |differences: Vec<Difference>| differences.into_iter().map(|one| one.field).collect();
        (names(source.differences(&target)), names(source.tolerated(&target)))
    }

    #[test]
    fn storage_that_grew_on_either_side_is_told() {
        let sized = |size_gib| postgres().allocated_storage(size_gib);
        for (source, target) in [(100, 110), (110, 100)] {
            assert_eq!(compared(sized(source), sized(target)), (vec![], vec!["AllocatedStorage"]));
        }
        assert!(Settings::capture(&sized(110).build()).changes(&sized(100).build()).is_none(), "it is not followed");
        // Past the threshold RDS gives gp3 more.
        let large = || sized(400).iops(12_000).storage_throughput(500);
        let small = || sized(390).iops(3000).storage_throughput(125);
        let told = vec!["AllocatedStorage", "Iops", "StorageThroughput"];
        for (source, target) in [(large(), small()), (small(), large())] {
            assert_eq!(compared(source.clone(), target.clone()), (vec![], told.clone()));
            assert!(Settings::capture(&source.build()).changes(&target.build()).is_none());
        }
        let slower = large().iops(15_000);
        assert_eq!(compared(slower, large()), (vec!["Iops"], vec![]));
    }

    #[test]
    fn a_source_that_grew_to_its_limit_does_not_leave_the_target_without_autoscaling() {
        let sized =
            |size_gib, limit_gib| postgres().allocated_storage(size_gib).set_max_allocated_storage(limit_gib).build();
        for (source, target, set) in [
            // Grown to its limit since the snapshot.
            ((110, Some(110)), (100, None), Some(110)),
            ((110, Some(110)), (100, Some(200)), Some(110)),
            ((110, Some(110)), (100, Some(110)), None),
            // Off, or as far as RDS lets it be asked for.
            ((100, None), (100, Some(200)), Some(100)),
            ((100, None), (100, None), None),
            ((100, Some(109)), (100, None), None),
            ((100, Some(110)), (100, None), Some(110)),
        ] {
            let settings = Settings::capture(&sized(source.0, source.1));
            let changes = settings.changes(&sized(target.0, target.1));
            let asked = changes.and_then(|changes| *changes.input.get_max_allocated_storage());
            assert_eq!(asked, set, "{source:?} {target:?}");
        }
        let near = || postgres().allocated_storage(100).max_allocated_storage(109);
        assert_eq!(compared(near(), postgres()), (vec![], vec!["MaxAllocatedStorage"]));
        assert!(notes_about("MaxAllocatedStorage", near())[0].message.contains("grows up to 109 GiB"));
        assert_eq!(notes_about("MaxAllocatedStorage", near().max_allocated_storage(110)), []);
    }

    #[test]
    fn a_minor_upgrade_of_the_source_is_told_and_no_other_version_is() {
        let version = |version: &str| postgres().engine_version(version);
        for (source, target, is_told) in [
            ("15.10", "15.9", true),
            ("8.0.40", "8.0.39", true),
            ("19.0.0.0.ru-2024-10.rur-2024-10.r1", "19.0.0.0.ru-2024-07.rur-2024-07.r1", true),
            ("15.00.4410.1.v1", "15.00.4395.2.v1", true),
            ("15.9", "15.10", false),
            ("16.1", "15.9", false),
        ] {
            let told = vec!["EngineVersion"];
            let expected = if is_told { (vec![], told) } else { (told, vec![]) };
            assert_eq!(compared(version(source), version(target)), expected, "{source} {target}");
        }
    }

    #[test]
    fn what_the_target_cannot_follow_is_told_with_the_settings_that_changed() {
        let source = |size_gib, zone: &str, key: &str, window: &str| {
            let secret = MasterUserSecret::builder().kms_key_id(key).build();
            let source = postgres().allocated_storage(size_gib).availability_zone(zone).master_user_secret(secret);
            Settings::capture(&source.preferred_backup_window(window).build())
        };
        let planned = source(100, "eu-central-1a", "arn:1", "01:00-02:00");
        let now = source(120, "eu-central-1b", "arn:2", "03:00-04:00");
        let stays = ", which the target does not follow";
        let mut told = now.changed_since(&planned);
        told.sort();
        assert_eq!(
            told,
            [
                format!("AllocatedStorage: 120, was 100{stays}"),
                format!("AvailabilityZone: \"eu-central-1b\", was \"eu-central-1a\"{stays}"),
                format!("MasterUserSecretKmsKeyId: \"arn:2\", was \"arn:1\"{stays}"),
                "PreferredBackupWindow: \"03:00-04:00\", was \"01:00-02:00\"".to_owned(),
            ]
        );
        let followed = now.as_far_as_followed(&planned);
        assert_eq!(followed, source(100, "eu-central-1a", "arn:1", "03:00-04:00"));
    }

    #[test]
    fn a_quarantine_is_one_group_alone() {
        let settings = Settings::capture(&postgres().vpc_security_groups(security_group("sg-1", "active")).build());
        assert_eq!(settings.clone().quarantined(None), settings);
        let request = settings.quarantined(Some("sg-q")).for_restore(&no_snapshot());
        assert_eq!(request.get_vpc_security_group_ids().as_deref(), Some(&["sg-q".to_owned()][..]));
    }

    #[test]
    fn a_container_with_many_tenants_is_restored_without_a_name_or_a_password_of_its_own() {
        let passed = |many| {
            let secret = MasterUserSecret::builder().kms_key_id("arn:1").build();
            let source = postgres().engine("oracle-ee-cdb").db_name("ORDERS").multi_tenant(many);
            let request = Settings::capture(&source.master_user_secret(secret).build()).for_restore(&no_snapshot());
            (request.get_db_name().is_some(), request.get_manage_master_user_password().is_some())
        };
        assert_eq!((passed(true), passed(false)), ((false, false), (true, true)));
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
        for wrong in [
            json!({ "VpcSecurityGroupIds": [1] }),
            json!({ "Domain": "d-1" }),
            json!({ "MultiAZ": null }),
            json!({ "AwsManagedKeys": "arn" }),
        ] {
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
        let refused = |field: &str| {
            settings.table(&source).into_iter().find(|row| row.field == field).and_then(|row| row.refused)
        };
        assert_eq!(
            refused("StorageType").as_deref(),
            Some(
                "Refused if it cannot be ordered for the engine version (asked of rds:DescribeOrderableDBInstanceOptions)."
            )
        );
        assert_eq!(refused("MultiAZ").as_deref(), Some("Named only if on: SQL Server refuses `false`."));
        assert_eq!(refused("NetworkType"), None);
    }
}
