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
pub(crate) const UNENCRYPTED_SNAPSHOT: &str = "orders-no-encrypted";
pub(crate) const FENCE: &str = "sg-0fe7ce";
const ROWS: &str = "1,Mercury\n2,Venus\n3,Earth\n";

const SOURCE_TAG: &str = "rds-encrypt:source";
/// Never the same at two looks, or in two instances.
const TRANSIENT: &[&str] = &["LatestRestorableTime", "StorageOperationStatus", "StorageOperationPercentProgress"];
/// What makes an instance itself; written down here once more, so that the product's own list is checked.
const IDENTITY: &[&str] =
    &["DBInstanceIdentifier", "DBInstanceArn", "DbiResourceId", "Endpoint", "InstanceCreateTime", "TagList"];
const ENCRYPTION: &[&str] = &["StorageEncrypted", "StorageEncryptionType", "KmsKeyId"];

/// Something that a fault takes away or breaks: no invariant holds for it any more.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Resource {
    Instance(String),
    Snapshot(String),
}

impl Resource {
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Instance(id) => json!({"instance": id}),
            Self::Snapshot(id) => json!({"snapshot": id}),
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

    /// The world without what a fault broke.
    pub(crate) fn without(&self, broken: &[Resource]) -> Self {
        let mut world = self.clone();
        for resource in broken {
            match resource {
                Resource::Instance(id) => world.instances.remove(id),
                Resource::Snapshot(id) => world.snapshots.remove(id),
            };
        }
        world
    }

    /// The source as it was, under its own name, and nothing of ours.
    pub(crate) fn is_old(&self, before: &Self) -> Result<(), String> {
        same_names("DB instances", self.instances.keys(), before.instances.keys())?;
        same_names("DB snapshots", self.snapshots.keys(), before.snapshots.keys())?;
        self.others_are_untouched(before, &[])?;
        Ok(())
    }

    /// Beside or in place of the source, its encrypted twin.
    pub(crate) fn is_new(&self, before: &Self, cutover: bool, broken: &[Resource]) -> Result<(), String> {
        let (source_id, target_id) = if cutover { (RENAMED_SOURCE, SOURCE) } else { (SOURCE, ENCRYPTED) };
        let broken_target = broken.contains(&Resource::Instance(target_id.to_owned()));
        let original = before.instances.get(SOURCE).ok_or("no source to begin with")?;
        if !broken.contains(&Resource::Instance(source_id.to_owned())) {
            let source = self.instances.get(source_id).ok_or(format!("no DB instance {source_id}"))?;
            let mut may_differ = TRANSIENT.to_vec();
            if cutover {
                may_differ.extend(["DBInstanceIdentifier", "DBInstanceArn", "Endpoint", "VpcSecurityGroups"]);
            }
            equal(source_id, original, source, &may_differ)?;
            if cutover && source["fields"]["VpcSecurityGroups"][0]["VpcSecurityGroupId"] != FENCE {
                return Err(format!("{source_id} is not fenced"));
            }
        }
        if !broken_target {
            let target = self.instances.get(target_id).ok_or(format!("no DB instance {target_id}"))?;
            is_twin(original, target)?;
        }
        let copy = Resource::Snapshot(ENCRYPTED.to_owned());
        if !broken.contains(&copy) {
            let copy = self.snapshots.get(ENCRYPTED).ok_or(format!("no DB snapshot {ENCRYPTED}"))?;
            is_encrypted(ENCRYPTED, &copy["fields"])?;
        }
        if self.snapshots.contains_key(UNENCRYPTED_SNAPSHOT) {
            return Err(format!("the plaintext snapshot {UNENCRYPTED_SNAPSHOT} is left"));
        }
        let ours = [SOURCE, RENAMED_SOURCE, ENCRYPTED].map(str::to_owned);
        let known = |names: Vec<&String>| -> BTreeSet<String> { names.into_iter().chain(&ours).cloned().collect() };
        for (kind, now, then) in [
            ("DB instance", self.instances.keys().collect::<Vec<_>>(), known(before.instances.keys().collect())),
            ("DB snapshot", self.snapshots.keys().collect(), known(before.snapshots.keys().collect())),
        ] {
            if let Some(stranger) = now.into_iter().find(|id| !then.contains(*id)) {
                return Err(format!("{kind} {stranger} is left"));
            }
        }
        self.others_are_untouched(before, &[SOURCE])
    }

    /// Everything that was there before the execution is there, as it was.
    pub(crate) fn others_are_untouched(&self, before: &Self, but: &[&str]) -> Result<(), String> {
        for (then, now) in [(&before.instances, &self.instances), (&before.snapshots, &self.snapshots)] {
            for (id, record) in then.iter().filter(|(id, _)| !but.contains(&id.as_str())) {
                equal(id, record, now.get(id).ok_or(format!("{id} is gone"))?, TRANSIENT)?;
            }
        }
        Ok(())
    }

    /// Where the source is now, whatever it is called: there, with its data.
    pub(crate) fn source_survives(&self, before: &Self) -> Result<(), String> {
        let Some(original) = before.instances.get(SOURCE) else { return Ok(()) };
        let source = self.instances.values().find(|record| resource_id(record) == resource_id(original));
        let source = source.ok_or("the source is gone")?;
        let mut may_differ = TRANSIENT.to_vec();
        may_differ.extend(["DBInstanceIdentifier", "DBInstanceArn", "Endpoint", "VpcSecurityGroups"]);
        equal("the source", original, source, &may_differ)
    }

    pub(crate) fn resource_id_of(&self, id: &str) -> Option<&str> {
        self.instances.get(id).map(resource_id)
    }

    pub(crate) fn has_instance(&self, id: &str) -> bool {
        self.instances.contains_key(id)
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

fn same_names<'a>(
    kind: &str,
    now: impl Iterator<Item = &'a String>,
    then: impl Iterator<Item = &'a String>,
) -> Result<(), String> {
    let (now, then): (Vec<_>, Vec<_>) = (now.collect(), then.collect());
    if now == then { Ok(()) } else { Err(format!("{kind} are {now:?}, not {then:?}")) }
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
