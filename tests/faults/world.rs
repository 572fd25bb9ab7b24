//! What a run starts from, what it may end in, and nothing between.
//!
//! Everything here looks at the local cloud's own records, not at what the product says of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::fixtures::seed;

pub(crate) const SOURCE: &str = "orders";
pub(crate) const RENAMED_SOURCE: &str = "orders-unencrypted";
/// The target, and the encrypted snapshot that it was restored from.
pub(crate) const ENCRYPTED: &str = "orders-encrypted";
pub(crate) const FENCE: &str = "sg-0fe7ce";
const ROWS: &str = "1,Mercury\n2,Venus\n3,Earth\n";

const SOURCE_TAG: &str = "rds-encrypt:source";
/// Never the same at two looks, or in two instances.
const TRANSIENT: &[&str] = &["LatestRestorableTime", "StorageOperationStatus", "StorageOperationPercentProgress"];
/// What makes an instance itself; written down here once more, so that the product's own list is checked.
const IDENTITY: &[&str] =
    &["DBInstanceIdentifier", "DBInstanceArn", "DbiResourceId", "Endpoint", "InstanceCreateTime", "TagList"];
/// What a cutover changes of the source.
const RENAMED_AND_FENCED: &[&str] = &["DBInstanceIdentifier", "DBInstanceArn", "Endpoint", "VpcSecurityGroups"];
const ENCRYPTION: &[&str] = &["StorageEncrypted", "StorageEncryptionType", "KmsKeyId"];

/// What an execution is about. What a fault breaks of it is not looked at any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Subject {
    Source,
    Target,
    UnencryptedSnapshot,
    EncryptedSnapshot,
}

impl Subject {
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Source | Self::Target => "instance",
            Self::UnencryptedSnapshot | Self::EncryptedSnapshot => "snapshot",
        }
    }
}

/// Everything that exists at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct World {
    instances: BTreeMap<String, Value>,
    snapshots: BTreeMap<String, Value>,
}

impl World {
    /// An unencrypted source with settings of its own, among others that are not ours to touch.
    pub(crate) async fn seed(cloud: &Cloud, engine: &str) -> Self {
        seed(
            cloud,
            SOURCE,
            json!({
                "Engine": engine,
                "AllocatedStorage": 64,
                "BackupRetentionPeriod": 7,
                "CopyTagsToSnapshot": true,
                "DeletionProtection": true,
                "PreferredMaintenanceWindow": "sun:03:00-sun:03:30",
                "TagList": [{"Key": "team", "Value": "planets"}, {"Key": "rds-encrypted", "Value": "no"}],
            }),
        );
        let resource_id =
            cloud.control("GET", &format!("instances/{SOURCE}"), json!({}))["fields"]["DbiResourceId"].clone();
        // Nobody's, and another execution's; with names that begin or end like ours.
        let tags = |execution: &str| {
            json!([
                {"Key": "rds-encrypt:execution", "Value": format!("arn:aws:states:ap-northeast-1:123456789012:execution:{execution}")},
                {"Key": SOURCE_TAG, "Value": resource_id},
            ])
        };
        for (id, fields) in [
            ("orders2", json!({"TagList": [{"Key": "team", "Value": "planets"}]})),
            ("orders-encrypted-2", json!({"TagList": tags("machine:another"), "StorageEncrypted": true})),
            ("old-orders-encrypted", json!({})),
        ] {
            seed(cloud, id, fields);
        }
        for (id, fields) in [
            ("orders-no-encrypted-2", json!({"TagList": tags("machine:another")})),
            ("orders-2026-01-01", json!({})),
            ("old-orders-no-encrypted", json!({})),
        ] {
            let fields = merged(fields, json!({"DBInstanceIdentifier": SOURCE}));
            cloud.control("PUT", &format!("snapshots/{id}"), json!({"fields": fields}));
        }
        if engine != "postgres" {
            cloud.control("PUT", &format!("instances/{SOURCE}/data"), json!({"data": ROWS}));
        }
        Self::look(cloud)
    }

    pub(crate) fn look(cloud: &Cloud) -> Self {
        let by_id = |path: &str, id: &str| {
            let records = cloud.control("GET", path, json!({}));
            let records = records.as_array().expect("a list").clone();
            records.into_iter().map(|record| (text(&record["fields"][id]).to_owned(), record)).collect()
        };
        Self {
            instances: by_id("instances", "DBInstanceIdentifier"),
            snapshots: by_id("snapshots", "DBSnapshotIdentifier"),
        }
    }

    /// Nothing changes by itself any more.
    pub(crate) fn is_settled(&self) -> bool {
        const LASTING: &[&str] = &["available", "failed", "stopped"];
        let statuses = self.instances.values().map(|record| &record["fields"]["DBInstanceStatus"]);
        let mut statuses = statuses.chain(self.snapshots.values().map(|record| &record["fields"]["Status"]));
        statuses.all(|status| LASTING.contains(&text(status)))
            && self.instances.values().all(|record| record["hidden"] == false && pending(record).is_none())
    }

    /// The resources that an execution made and that are there now, by name.
    pub(crate) fn made_since(&self, before: &Self) -> Vec<String> {
        let known: BTreeSet<&str> = before.instances.values().map(resource_id).collect();
        let instances = self.instances.iter().filter(|(_, record)| !known.contains(resource_id(record)));
        let snapshots = self.snapshots.keys().filter(|id| !before.snapshots.contains_key(*id));
        instances.map(|(id, _)| id).chain(snapshots).cloned().collect()
    }

    /// The source as it was, under its own name, and nothing of ours.
    pub(crate) fn is_old(&self, before: &Self, broken: Option<Subject>) -> Result<(), String> {
        let ours = self.made_since(before);
        if !ours.is_empty() {
            return Err(format!("{ours:?} are left"));
        }
        if broken != Some(Subject::Source) {
            let source = self.instances.get(SOURCE).ok_or(format!("no DB instance {SOURCE}"))?;
            equal(SOURCE, &before.instances[SOURCE], source, TRANSIENT)?;
        }
        self.others_are_untouched(before)
    }

    /// Beside or in place of the source, its encrypted twin.
    pub(crate) fn is_new(&self, before: &Self, cutover: bool, broken: Option<Subject>) -> Result<(), String> {
        let (source_id, target_id) = if cutover { (RENAMED_SOURCE, SOURCE) } else { (SOURCE, ENCRYPTED) };
        let original = &before.instances[SOURCE];
        let instance = |id: &str| self.instances.get(id).ok_or(format!("no DB instance {id}"));
        let mut expected = vec![];
        if broken != Some(Subject::Source) {
            let mut may_differ = TRANSIENT.to_vec();
            if cutover {
                may_differ.extend(RENAMED_AND_FENCED);
            }
            let source = instance(source_id)?;
            equal(source_id, original, source, &may_differ)?;
            if cutover && source["fields"]["VpcSecurityGroups"][0]["VpcSecurityGroupId"] != FENCE {
                return Err(format!("{source_id} is not fenced"));
            }
        }
        if broken != Some(Subject::Target) {
            is_twin(original, instance(target_id)?)?;
            expected.push(target_id);
        }
        if broken != Some(Subject::EncryptedSnapshot) {
            let copy = self.snapshots.get(ENCRYPTED).ok_or(format!("no DB snapshot {ENCRYPTED}"))?;
            is_encrypted(ENCRYPTED, &copy["fields"])?;
            expected.push(ENCRYPTED);
        }
        let made: Vec<String> = self.made_since(before);
        if broken.is_none() && made != expected {
            return Err(format!("{made:?} are there of ours, not {expected:?}"));
        }
        self.others_are_untouched(before)
    }

    /// Whatever else was there before the execution is there, as it was.
    pub(crate) fn others_are_untouched(&self, before: &Self) -> Result<(), String> {
        for (then, now) in [(&before.instances, &self.instances), (&before.snapshots, &self.snapshots)] {
            for (id, record) in then.iter().filter(|(id, _)| *id != SOURCE) {
                equal(id, record, now.get(id).ok_or(format!("{id} is gone"))?, TRANSIENT)?;
            }
        }
        Ok(())
    }

    /// Wherever the source is and whatever it is called: there, with its data and settings.
    pub(crate) fn source_survives(&self, before: &Self) -> Result<(), String> {
        let original = &before.instances[SOURCE];
        let source = self.instances.values().find(|record| resource_id(record) == resource_id(original));
        let may_differ: Vec<&str> = [TRANSIENT, RENAMED_AND_FENCED].concat();
        equal("the source", original, source.ok_or("the source is gone")?, &may_differ)
    }

    pub(crate) fn resource_id_of(&self, id: &str) -> Option<&str> {
        self.instances.get(id).map(resource_id)
    }
}

/// Encrypted, available, with the source's data and settings; compared field by field.
fn is_twin(original: &Value, target: &Value) -> Result<(), String> {
    let id = text(&target["fields"]["DBInstanceIdentifier"]);
    is_encrypted(id, &target["fields"])?;
    let may_differ: Vec<&str> = [TRANSIENT, IDENTITY, ENCRYPTION].concat();
    equal(id, original, target, &may_differ)?;
    let tags = |record: &Value| -> BTreeSet<String> {
        record["fields"]["TagList"].as_array().into_iter().flatten().map(Value::to_string).collect()
    };
    let mut expected = tags(original);
    expected.insert(json!({"Key": SOURCE_TAG, "Value": resource_id(original)}).to_string());
    if tags(target) != expected {
        return Err(format!("the tags of {id} are {:?}, not {expected:?}", tags(target)));
    }
    Ok(())
}

fn is_encrypted(id: &str, fields: &Value) -> Result<(), String> {
    let encrypted = fields.get("StorageEncrypted").or(fields.get("Encrypted")) == Some(&json!(true));
    let key = fields["KmsKeyId"].as_str().unwrap_or_default();
    if !encrypted || !key.starts_with("arn:aws:kms:") {
        return Err(format!("{id} is not encrypted: {fields}"));
    }
    Ok(())
}

/// The same data and the same fields, but for those named.
fn equal(id: &str, then: &Value, now: &Value, may_differ: &[&str]) -> Result<(), String> {
    if then["data"] != now["data"] {
        return Err(format!("the data of {id} are {}, not {}", now["data"], then["data"]));
    }
    let fields = |record: &Value| record["fields"].as_object().expect("an object").clone();
    let (then, now) = (fields(then), fields(now));
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    for name in names.into_iter().filter(|name| !may_differ.contains(&name.as_str())) {
        if then.get(name) != now.get(name) {
            return Err(format!("{name} of {id} is {:?}, not {:?}", now.get(name), then.get(name)));
        }
    }
    Ok(())
}

fn pending(record: &Value) -> Option<&Value> {
    record["fields"]["PendingModifiedValues"].as_object().filter(|pending| !pending.is_empty())?;
    Some(&record["fields"]["PendingModifiedValues"])
}

fn resource_id(record: &Value) -> &str {
    text(&record["fields"]["DbiResourceId"])
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(crate) fn merged(mut one: Value, other: Value) -> Value {
    one.as_object_mut().expect("an object").extend(other.as_object().expect("an object").clone());
    one
}
