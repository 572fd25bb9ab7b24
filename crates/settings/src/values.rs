//! The values of an instance's settings. It knows no table: the table's fields and rules work on it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Waits for a cutover; see the crate.
pub const BACKUPS: &str = "BackupRetentionPeriod";
pub const SECURITY_GROUPS: &str = "VpcSecurityGroupIds";
/// Beside the settings: the keys among them that AWS manages, as the plan has found out.
pub(crate) const AWS_MANAGED_KEYS: &str = "AwsManagedKeys";

/// The settings of an instance that travel or are compared, by name; what is off may be absent.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "BTreeMap<String, Value>")]
pub struct Settings(pub(crate) BTreeMap<&'static str, Value>);

impl Settings {
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
}
