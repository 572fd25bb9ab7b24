//! What a line of the table is made of.

use aws_sdk_rds::operation::modify_db_instance::builders::ModifyDbInstanceInputBuilder;
use aws_sdk_rds::operation::restore_db_instance_from_db_snapshot::builders::RestoreDbInstanceFromDbSnapshotInputBuilder;
use aws_sdk_rds::types::DbInstance;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::membership::{self, Force, Membership};
use super::values::Settings;

pub(super) type Restore = RestoreDbInstanceFromDbSnapshotInputBuilder;
pub(super) type Modify = ModifyDbInstanceInputBuilder;

/// A field of DescribeDBInstances, and how its value gets from the source to the target.
pub struct Field {
    /// Its name in DescribeDBInstances.
    pub name: &'static str,
    /// Its name in [`Settings`], or `None` if they do not carry it. It is the request parameter's
    /// name where RDS reports another form than it takes (`VpcSecurityGroups` is what it reports,
    /// `VpcSecurityGroupIds` what it takes).
    pub setting: Option<&'static str>,
    pub travels: Travels,
    /// One sentence for the plan; empty where the columns say it all.
    pub remark: &'static str,
    pub refused: Refused,
    pub(super) read: Read,
    pub(super) condition: Option<Condition>,
    pub(super) restore: Option<Parameter<Restore>>,
    pub(super) modify: Option<Parameter<Modify>>,
    /// Whether the two sides' values may differ, which is told and not mended.
    pub(super) may_differ: fn(&Settings, &Settings) -> bool,
    /// For what RDS reports with a status of its own.
    pub(super) memberships: Option<membership::Read>,
    pub(super) note: Option<fn(&DbInstance) -> Option<Remark>>,
}

/// When RDS refuses a setting that the source has, and how that is known before anything is created.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// What one instance of this account and Region has, another may have.
    Never,
    /// A rule of the table keeps it from being asked for.
    Settled(&'static str),
    /// The plan asks AWS, by this action, and refuses with the remedy.
    Asked { when: &'static str, action: &'static str },
}

impl Refused {
    /// In words, for the plan's table.
    pub fn sentence(self) -> Option<String> {
        match self {
            Self::Never => None,
            Self::Settled(rule) => Some(rule.to_owned()),
            Self::Asked { when, action } => Some(format!("Refused {when} (asked of {action}).")),
        }
    }
}

/// How a field gets to the target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Travels {
    AtRestore,
    AfterRestore,
    ByItsOwnApi,
    Last,
    /// It is part of the data, so the restored instance has it without being told.
    InSnapshot,
    /// This instance has no say in it; see [`Condition`].
    LeftToRds,
    DiffersOnPurpose,
    CannotTravel,
}

impl Travels {
    pub fn label(self) -> &'static str {
        match self {
            Self::AtRestore => "at restore",
            Self::AfterRestore => "after restore",
            Self::ByItsOwnApi => "by its own API",
            Self::Last => "last",
            Self::InSnapshot => "in the snapshot",
            Self::LeftToRds => "left to RDS",
            Self::DiffersOnPurpose => "differs on purpose",
            Self::CannotTravel => "cannot travel",
        }
    }
}

impl Serialize for Travels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
    }
}

/// How a field is read, and which JSON it becomes.
#[derive(Clone, Copy)]
pub(super) enum Read {
    Text(fn(&DbInstance) -> Option<&str>),
    Number(fn(&DbInstance) -> Option<i32>),
    /// RDS leaves some flags out where the engine lacks the feature: off.
    Flag(fn(&DbInstance) -> Option<bool>),
    /// A list of texts; an empty one is absent.
    Texts(fn(&DbInstance) -> Vec<String>),
    /// A list of objects; an empty one is absent.
    Records(fn(&DbInstance) -> Vec<Value>),
    /// Anything else; an object where [`Settings`] carry it.
    Json(fn(&DbInstance) -> Option<Value>),
}

impl Read {
    fn value(self, instance: &DbInstance) -> Option<Value> {
        match self {
            Self::Text(read) => read(instance).map(Value::from),
            Self::Number(read) => read(instance).map(Value::from),
            Self::Flag(read) => Some(read(instance).unwrap_or_default().into()),
            Self::Texts(read) => Some(read(instance)).filter(|texts| !texts.is_empty()).map(Value::from),
            Self::Records(read) => Some(read(instance)).filter(|records| !records.is_empty()).map(Value::from),
            Self::Json(read) => read(instance),
        }
    }

    fn fits(self, value: &Value) -> bool {
        let all = |is: fn(&Value) -> bool| value.as_array().is_some_and(|values| values.iter().all(is));
        match self {
            Self::Text(_) => value.is_string(),
            Self::Number(_) => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            Self::Flag(_) => value.is_boolean(),
            Self::Texts(_) => all(Value::is_string),
            Self::Records(_) => all(Value::is_object),
            Self::Json(_) => value.is_object(),
        }
    }
}

/// Where the field means nothing, or is not the owner's to choose, it is neither passed nor compared.
#[derive(Clone, Copy)]
pub(super) struct Condition {
    pub(super) holds: fn(&DbInstance) -> bool,
    pub(super) otherwise: &'static str,
}

/// What a request takes for a field.
pub(super) struct Parameter<B> {
    /// The request parameters that `set` may set.
    #[cfg_attr(not(test), expect(dead_code, reason = "the contract test compares them with the SDK"))]
    pub(super) names: &'static [&'static str],
    pub(super) set: Set<B>,
}

/// How a value enters a request.
pub(super) enum Set<B> {
    Text(fn(B, Option<String>) -> B),
    Number(fn(B, Option<i32>) -> B),
    Flag(fn(B, Option<bool>) -> B),
    /// A flag that only some engines take, and that is off where it is not passed.
    FlagIfOn(fn(B, Option<bool>) -> B),
    Texts(fn(B, Option<Vec<String>>) -> B),
    /// Looks at the other settings of the source and of the target (at restore: of the snapshot), and
    /// answers `None` if this request cannot set the field.
    With(fn(B, &Settings, &Settings) -> Option<B>),
}

impl<B> Set<B> {
    /// The request with the field set, or `None` if it cannot be set.
    pub(super) fn apply(&self, request: B, setting: &str, source: &Settings, target: &Settings) -> Option<B> {
        Some(match self {
            Self::Text(set) => set(request, Some(source.text(setting)?)),
            Self::Number(set) => set(request, Some(source.number(setting)?)),
            Self::Flag(set) => set(request, Some(source.flag(setting)?)),
            Self::FlagIfOn(set) => set(request, Some(source.flag(setting).filter(|on| *on)?)),
            Self::Texts(set) => set(request, Some(source.texts(setting)?)),
            Self::With(set) => set(request, source, target)?,
        })
    }
}

/// What [`Field::note`] says about an instance.
pub(super) enum Remark {
    Warn(String),
    Refuse(String),
}

impl Field {
    /// The field's value, whether or not it means anything on this instance.
    pub(super) fn value(&self, instance: &DbInstance) -> Option<Value> {
        self.read.value(instance)
    }

    pub(super) fn applies(&self, instance: &DbInstance) -> bool {
        self.condition.is_none_or(|condition| (condition.holds)(instance))
    }

    pub(super) fn fits(&self, value: &Value) -> bool {
        self.read.fits(value)
    }

    /// What of this field is not in force on the instance.
    pub(super) fn not_in_force(&self, instance: &DbInstance) -> Vec<Membership> {
        let Some(read) = self.memberships else { return vec![] };
        let membership = |(name, status): (String, Option<&str>)| {
            Some(Membership { field: self.name, name, status: status?.to_owned() })
        };
        let memberships = read(instance).into_iter().filter_map(membership);
        memberships.filter(|membership| membership.force() != Force::InForce).collect()
    }

    const fn new(travels: Travels, name: &'static str, read: Read, remark: &'static str) -> Self {
        Self {
            name,
            setting: None,
            travels,
            remark,
            refused: Refused::Never,
            read,
            condition: None,
            restore: None,
            modify: None,
            may_differ: |_, _| false,
            memberships: None,
            note: None,
        }
    }

    const fn carried(travels: Travels, name: &'static str, read: Read, remark: &'static str) -> Self {
        Self { setting: Some(name), ..Self::new(travels, name, read, remark) }
    }

    pub(super) const fn at_restore(name: &'static str, read: Read, remark: &'static str) -> Self {
        Self::carried(Travels::AtRestore, name, read, remark)
    }

    pub(super) const fn after_restore(name: &'static str, read: Read, remark: &'static str) -> Self {
        Self::carried(Travels::AfterRestore, name, read, remark)
    }

    pub(super) const fn by_its_own_api(name: &'static str, read: Read, remark: &'static str) -> Self {
        Self::new(Travels::ByItsOwnApi, name, read, remark)
    }

    pub(super) const fn last(name: &'static str, read: Read, remark: &'static str) -> Self {
        Self::carried(Travels::Last, name, read, remark)
    }

    pub(super) const fn in_snapshot(name: &'static str, read: Read, remark: &'static str) -> Self {
        Self::carried(Travels::InSnapshot, name, read, remark)
    }

    pub(super) const fn differs(name: &'static str, read: Read, remark: &'static str) -> Self {
        Self::new(Travels::DiffersOnPurpose, name, read, remark)
    }

    pub(super) const fn cannot_travel(name: &'static str, read: Read, remark: &'static str) -> Self {
        Self::new(Travels::CannotTravel, name, read, remark)
    }

    pub(super) const fn carried_as(self, setting: &'static str) -> Self {
        Self { setting: Some(setting), ..self }
    }

    pub(super) const fn only_if(self, holds: fn(&DbInstance) -> bool, otherwise: &'static str) -> Self {
        Self { condition: Some(Condition { holds, otherwise }), ..self }
    }

    pub(super) const fn restore(self, names: &'static [&'static str], set: Set<Restore>) -> Self {
        Self { restore: Some(Parameter { names, set }), ..self }
    }

    pub(super) const fn modify(self, names: &'static [&'static str], set: Set<Modify>) -> Self {
        Self { modify: Some(Parameter { names, set }), ..self }
    }

    pub(super) const fn settled(self, rule: &'static str) -> Self {
        Self { refused: Refused::Settled(rule), ..self }
    }

    /// `when` reads on after "Refused".
    pub(super) const fn asked(self, when: &'static str, action: &'static str) -> Self {
        Self { refused: Refused::Asked { when, action }, ..self }
    }

    pub(super) const fn may_differ_if(self, may_differ: fn(&Settings, &Settings) -> bool) -> Self {
        Self { may_differ, ..self }
    }

    pub(super) const fn with_status(self, memberships: membership::Read) -> Self {
        Self { memberships: Some(memberships), ..self }
    }

    pub(super) const fn noting(self, note: fn(&DbInstance) -> Option<Remark>) -> Self {
        Self { note: Some(note), ..self }
    }
}

/// RDS promises no order for the lists that it reports.
pub(super) fn equal_in_any_order(source: Option<&Value>, target: Option<&Value>) -> bool {
    match (source.and_then(Value::as_array), target.and_then(Value::as_array)) {
        (Some(source), Some(target)) => {
            let sorted = |values: &[Value]| {
                let mut texts: Vec<String> = values.iter().map(Value::to_string).collect();
                texts.sort();
                texts
            };
            sorted(source) == sorted(target)
        }
        _ => source == target,
    }
}
