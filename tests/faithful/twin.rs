//! Source and target side by side, field by field, in the local cloud's own records.
//!
//! This is written without the product's table of settings, which it checks: what is not named here
//! must be equal, whether anybody thought of it or not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// What makes the target another instance, and an encrypted one.
pub(crate) const DIFFERS_ON_PURPOSE: &[&str] = &[
    "StorageEncrypted",
    "StorageEncryptionType",
    "KmsKeyId",
    "DBInstanceIdentifier",
    "DBInstanceArn",
    "DbiResourceId",
    "InstanceCreateTime",
    "LatestRestorableTime",
    "ListenerEndpoint",
    "EnhancedMonitoringResourceArn",
    // RDS chooses it, or the account does.
    "SecondaryAvailabilityZone",
    "CertificateDetails",
    "UpgradeRolloutOrder",
];

/// What an instance is going through.
pub(crate) const PASSES: &[&str] = &[
    "DBInstanceStatus",
    "AutomaticRestartTime",
    "PercentProgress",
    "StorageVolumeStatus",
    "StorageOperationStatus",
    "StorageOperationPercentProgress",
    "IsStorageConfigUpgradeAvailable",
];

/// What a restore takes from the snapshot, or from the source at its time, where it is not told.
pub(crate) const INHERITED_BY_A_RESTORE: &[&str] = &[
    "Engine",
    "EngineVersion",
    "MasterUsername",
    "AllocatedStorage",
    "AdditionalStorageVolumes",
    "CharacterSetName",
    "NcharCharacterSetName",
    "Timezone",
    "MultiTenant",
    "DBName",
    "DBInstanceClass",
    "LicenseModel",
];

const SOURCE_TAG: &str = "rds-encrypt:source";

/// The fields in which the target is not the source's twin, each with both values.
pub(crate) fn differences(source: &Value, target: &Value) -> BTreeMap<String, String> {
    let mut expected = comparable(source);
    expected.insert("TagList".to_owned(), expected_tags(source));
    compared(&expected, &comparable(target))
}

/// The fields in which an instance is not what it was.
pub(crate) fn changes(before: &Value, after: &Value) -> BTreeMap<String, String> {
    let fields = |record: &Value| record["fields"].as_object().expect("an object").clone();
    let mut changes = compared(&fields(before), &fields(after));
    for name in PASSES.iter().chain(&["LatestRestorableTime"]) {
        changes.remove(*name);
    }
    changes
}

fn compared(expected: &Map<String, Value>, actual: &Map<String, Value>) -> BTreeMap<String, String> {
    let names: BTreeSet<&String> = expected.keys().chain(actual.keys()).collect();
    let difference = |name: &String| {
        let (expected, actual) = (expected.get(name), actual.get(name));
        (expected != actual).then(|| (name.clone(), format!("{actual:?} in place of {expected:?}")))
    };
    names.into_iter().filter_map(difference).collect()
}

/// The fields that must be equal. RDS promises no order of lists, and leaves out or leaves empty what
/// an instance does not have.
fn comparable(record: &Value) -> Map<String, Value> {
    let fields = record["fields"].as_object().expect("an object");
    let compared = fields.iter().filter(|(name, _)| ![DIFFERS_ON_PURPOSE, PASSES].concat().contains(&name.as_str()));
    let mut compared: Map<String, Value> = compared.map(|(name, value)| (name.clone(), in_order(value))).collect();
    // The address follows the name, and the secret is a new one.
    compared["Endpoint"] = compared["Endpoint"]["Port"].take();
    if let Some(secret) = compared.get_mut("MasterUserSecret") {
        *secret = secret["KmsKeyId"].take();
    }
    compared.retain(|_, value| !matches!(value, Value::Null) && *value != json!([]) && *value != json!({}));
    compared
}

fn in_order(value: &Value) -> Value {
    let Some(values) = value.as_array() else { return value.clone() };
    let mut values = values.clone();
    values.sort_by_key(Value::to_string);
    Value::Array(values)
}

/// The user's, without AWS's own, and where the data come from; nothing that would make it ours.
fn expected_tags(source: &Value) -> Value {
    let tags = source["fields"]["TagList"].as_array().into_iter().flatten();
    let users = tags.filter(|tag| !tag["Key"].as_str().is_some_and(|key| key.starts_with("aws:")));
    let origin = json!({"Key": SOURCE_TAG, "Value": source["fields"]["DbiResourceId"]});
    in_order(&users.cloned().chain([origin]).collect())
}
