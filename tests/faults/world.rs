//! What a run starts from, what it may end in, and nothing between.
//!
//! Everything here looks at the local cloud's own records, not at what the product says of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cloud::Cloud;
use tokio_postgres::error::SqlState;

use crate::fixtures::{PASSWORD, connect_to, instance, mariadb_session, seed, seed_mariadb};

pub(crate) const FENCE: &str = "sg-0fe7ce";
/// Where the rows are.
pub(crate) const DATABASE: &str = "app";
const ROWS: &str = "1 Mercury, 2 Venus, 3 Earth";

const SOURCE_TAG: &str = "rds-encrypt:source";
/// In the place of rows that nobody may read any more: no connection is free, or nobody may connect.
const SHUT: &str = "shut for everybody";
const SHUTS: [&SqlState; 2] = [&SqlState::TOO_MANY_CONNECTIONS, &SqlState::INSUFFICIENT_PRIVILEGE];
/// Between the rows and what an execution may have left beside them.
const TRACES: &str = "; of ours: ";
const ROWS_AND_TRACES: &str = "SELECT format(
    '%s; keys and triggers in force: %s and %s; open to %s; of ours: %s slots, %s subscriptions, %s publications, %s schemas, %s roles, %s fences',
    (SELECT string_agg(name, ',') FROM planet),
    (SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated),
    (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'O'),
    (SELECT array_agg(grants ORDER BY place) FROM pg_database,
        unnest(coalesce(datacl, acldefault('d', datdba))) WITH ORDINALITY AS item (grants, place)
        WHERE datname = current_database() AND grants::text !~ '^rds_encrypt_[0-9a-f]{8}='),
    (SELECT count(*) FROM pg_replication_slots),
    (SELECT count(*) FROM pg_subscription), (SELECT count(*) FROM pg_publication),
    (SELECT count(*) FROM pg_namespace WHERE nspname ~ '^rds_encrypt'),
    (SELECT count(*) FROM pg_roles WHERE rolname ~ '^rds_encrypt'),
    (SELECT count(*) FROM pg_database WHERE datconnlimit = 0))";
/// MariaDB's error for an account that is locked.
const LOCKED: &str = "(4151)";
const MARIADB_ROWS_AND_TRACES: &str = "SELECT CONCAT(
    (SELECT GROUP_CONCAT(name) FROM app.planet), '; keys and triggers: ',
    (SELECT COUNT(*) FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = 'app'), ' and ',
    (SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'app'), '; of ours: ',
    (SELECT COUNT(*) FROM mysql.global_priv WHERE User REGEXP '^rds_encrypt_[0-9a-f]{8}$'), ' accounts, ',
    (SELECT COUNT(*) FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.account_locked') IN ('1', 'true')), ' locked, ',
    (SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'rds_encrypt%'), ' schemas, retention ',
    (SELECT COALESCE(value, 'none') FROM mysql.rds_configuration WHERE name = 'binlog retention hours'))";
/// Never the same at two looks, or in two instances.
const TRANSIENT: &[&str] = &["LatestRestorableTime", "StorageOperationStatus", "StorageOperationPercentProgress"];
/// What makes an instance itself; written down here once more, so that the product's own list is checked.
const IDENTITY: &[&str] =
    &["DBInstanceIdentifier", "DBInstanceArn", "DbiResourceId", "Endpoint", "InstanceCreateTime", "TagList"];
/// What a cutover changes of the source.
const RENAMED: &[&str] = &["DBInstanceIdentifier", "DBInstanceArn", "Endpoint"];
const GROUPS: &str = "VpcSecurityGroups";
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

/// Which new world it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum New {
    /// The twin stands beside the source.
    Twin,
    /// The twin has the source's name.
    Renamed { fenced: bool },
    /// The same, and nobody gets into the source's databases.
    Replicated,
    /// RDS has switched over.
    Switched,
}

pub(crate) fn renamed(source: &str) -> String {
    format!("{source}-unencrypted")
}

/// What a switchover calls it.
pub(crate) fn switched(source: &str) -> String {
    format!("{source}-old1")
}

/// The name of the target, and of the encrypted snapshot that it is restored from.
pub(crate) fn encrypted(source: &str) -> String {
    format!("{source}-encrypted")
}

/// Everything that exists at one time of a source's family: the resources with its name in theirs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct World {
    source: String,
    instances: BTreeMap<String, Value>,
    snapshots: BTreeMap<String, Value>,
    deployments: BTreeMap<String, Value>,
}

impl World {
    /// An unencrypted source with settings of its own, among others that are not ours to touch.
    pub(crate) async fn seed(cloud: &Cloud, source: &str, engine: &str, has_server: bool, fields: Value) -> Self {
        let usual = json!({
            "Engine": engine,
            "StorageEncrypted": false,
            "AllocatedStorage": 64,
            "BackupRetentionPeriod": 7,
            "DBName": DATABASE,
            "CopyTagsToSnapshot": true,
            "DeletionProtection": true,
            "PreferredMaintenanceWindow": "sun:03:00-sun:03:30",
            "TagList": [{"Key": "team", "Value": "planets"}, {"Key": "rds-encrypted", "Value": "no"}],
        });
        let fields = merged(usual, fields);
        let is_mariadb = engine == "mariadb" && has_server;
        if is_mariadb {
            let mut master =
                mariadb_session(cloud, &seed_mariadb(cloud, source, fields).await).await.expect("a session");
            for statement in [
                "USE app",
                "CREATE TABLE planet (name VARCHAR(200) PRIMARY KEY)",
                &format!("INSERT INTO planet VALUES ('{ROWS}')"),
                "CREATE TABLE moon (name VARCHAR(200) PRIMARY KEY, planet VARCHAR(200) REFERENCES planet (name))",
                &format!("INSERT INTO moon VALUES ('Luna', '{ROWS}')"),
                "CREATE TRIGGER wanes BEFORE INSERT ON moon FOR EACH ROW SET NEW.name = LOWER(NEW.name)",
            ] {
                master.run("make rows", statement).await.expect("rows");
            }
        } else {
            // What encrypt-online needs, and the other ways do not mind.
            let parameters = if engine == "postgres" { json!({"rds.logical_replication": "1"}) } else { json!({}) };
            let body = json!({"fields": fields, "master_password": PASSWORD, "parameters": parameters});
            cloud.control("PUT", &format!("instances/{source}"), body);
        }
        let record = cloud.control("GET", &format!("instances/{source}"), json!({}));
        if record["data"].is_null() && !is_mariadb {
            let rows = format!(
                "CREATE TABLE planet (name TEXT PRIMARY KEY); INSERT INTO planet VALUES ('{ROWS}');
                 CREATE TABLE moon (name TEXT PRIMARY KEY, planet TEXT REFERENCES planet);
                 INSERT INTO moon VALUES ('Luna', '{ROWS}');
                 CREATE FUNCTION wane() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name := lower(NEW.name); RETURN NEW; END';
                 CREATE TRIGGER wanes BEFORE INSERT OR UPDATE ON moon FOR EACH ROW EXECUTE FUNCTION wane()"
            );
            let database = connect_to(&instance(cloud, source).await, DATABASE).await.expect("connected");
            database.batch_execute(&rows).await.expect("rows");
        } else if !is_mariadb {
            cloud.control("PUT", &format!("instances/{source}/data"), json!({"data": ROWS}));
        }
        // Nobody's, and another execution's; with names that begin or end like ours.
        let another = json!([
            {"Key": "rds-encrypt:execution", "Value": "arn:aws:states:ap-northeast-1:123456789012:execution:machine:another"},
            {"Key": SOURCE_TAG, "Value": resource_id(&record)},
        ]);
        for (id, fields) in [
            (format!("{source}2"), json!({"TagList": [{"Key": "team", "Value": "planets"}]})),
            (format!("{source}-encrypted-2"), json!({"TagList": another, "StorageEncrypted": true})),
            (format!("old-{source}-encrypted"), json!({})),
        ] {
            seed(cloud, &id, fields);
        }
        for (id, fields) in [
            (format!("{source}-no-encrypted-2"), json!({"TagList": another})),
            (format!("{source}-2026-01-01"), json!({})),
            (format!("old-{source}-no-encrypted"), json!({})),
        ] {
            let fields = merged(fields, json!({"DBInstanceIdentifier": source}));
            cloud.control("PUT", &format!("snapshots/{id}"), json!({"fields": fields}));
        }
        Self::look(cloud, source)
    }

    pub(crate) fn look(cloud: &Cloud, source: &str) -> Self {
        let by_id = |path: &str, id: &str| {
            let records = cloud.control("GET", path, json!({})).as_array().expect("a list").clone();
            let named = records.into_iter().map(|record| (text(&record["fields"][id]).to_owned(), record));
            named.filter(|(id, _)| id.contains(source)).collect()
        };
        Self {
            source: source.to_owned(),
            instances: by_id("instances", "DBInstanceIdentifier"),
            snapshots: by_id("snapshots", "DBSnapshotIdentifier"),
            deployments: by_id("deployments", "BlueGreenDeploymentName"),
        }
    }

    /// Besides, what the databases of the source and the target hold, with what an execution may have left there.
    pub(crate) async fn read_rows(&mut self, cloud: &Cloud) {
        for id in [self.source.clone(), renamed(&self.source), encrypted(&self.source), switched(&self.source)] {
            let Some(record) = self.instances.get_mut(&id) else { continue };
            if record["fields"]["DBInstanceStatus"] != "available" || !record["data"].is_null() {
                continue;
            }
            let instance = instance(cloud, &id).await;
            // What cannot be read is a finding, with the name of the pair.
            record["data"] = match instance.engine() {
                Some("postgres") => match connect_to(&instance, DATABASE).await {
                    Err(problem) if problem.code().is_some_and(|code| SHUTS.contains(&code)) => json!(SHUT),
                    Err(problem) => json!(format!("not to be read: {problem:?}")),
                    Ok(database) => {
                        json!(database.query_one(ROWS_AND_TRACES, &[]).await.expect("rows").get::<_, Option<String>>(0))
                    }
                },
                Some("mariadb") => match mariadb_session(cloud, &instance).await {
                    Err(problem) if problem.to_string().contains(LOCKED) => json!(SHUT),
                    Err(problem) => json!(format!("not to be read: {problem}")),
                    Ok(mut master) => {
                        json!(
                            master.one::<Option<String>>("read the rows", MARIADB_ROWS_AND_TRACES).await.expect("rows")
                        )
                    }
                },
                _ => continue,
            };
        }
    }

    /// Nothing changes by itself any more.
    pub(crate) fn is_settled(&self) -> bool {
        const LASTING: &[&str] = &["available", "failed", "stopped"];
        const LASTING_DEPLOYMENTS: &[&str] =
            &["AVAILABLE", "INVALID_CONFIGURATION", "SWITCHOVER_COMPLETED", "SWITCHOVER_FAILED"];
        let mut deployments = self.deployments.values().map(|record| text(&record["fields"]["Status"]));
        if !deployments.all(|status| LASTING_DEPLOYMENTS.contains(&status)) {
            return false;
        }
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
        instances.map(|(id, _)| id).chain(snapshots).chain(self.deployments.keys()).cloned().collect()
    }

    /// The source as it was, under its own name, and nothing of ours.
    pub(crate) fn is_old(&self, before: &Self, broken: Option<Subject>) -> Result<(), String> {
        let ours = self.made_since(before);
        if !ours.is_empty() {
            return Err(format!("{ours:?} are left"));
        }
        if broken != Some(Subject::Source) {
            let source = self.instances.get(&self.source).ok_or(format!("no DB instance {}", self.source))?;
            equal(&self.source, before.original(), source, TRANSIENT)?;
        }
        self.others_are_untouched(before)
    }

    /// Beside or in place of the source, its encrypted twin.
    pub(crate) fn is_new(&self, before: &Self, new: New, broken: Option<Subject>) -> Result<(), String> {
        let id = self.source.clone();
        let (source_id, target_id) = match new {
            New::Twin => (id.clone(), encrypted(&id)),
            New::Renamed { .. } | New::Replicated => (renamed(&id), id.clone()),
            New::Switched => (switched(&id), id.clone()),
        };
        let fenced = matches!(new, New::Renamed { fenced: true });
        let original = before.original();
        let instance = |id: &str| self.instances.get(id).ok_or(format!("no DB instance {id}"));
        let mut expected = vec![];
        if broken != Some(Subject::Source) {
            let mut may_differ = TRANSIENT.to_vec();
            may_differ.extend(if matches!(new, New::Twin) { &[] } else { RENAMED });
            may_differ.extend(fenced.then_some(GROUPS));
            let mut source = instance(&source_id)?.clone();
            if matches!(new, New::Replicated) {
                let data = source["data"].take();
                if data != SHUT {
                    return Err(format!("{source_id} is not shut: {data}"));
                }
                source["data"] = original["data"].clone();
            }
            let source = &source;
            equal(&source_id, original, source, &may_differ)?;
            if fenced && source["fields"][GROUPS][0]["VpcSecurityGroupId"] != FENCE {
                return Err(format!("{source_id} is not fenced"));
            }
        }
        if broken != Some(Subject::Target) {
            is_twin(original, instance(&target_id)?, !matches!(new, New::Switched))?;
            expected.push(target_id);
        }
        if broken != Some(Subject::EncryptedSnapshot) && !matches!(new, New::Switched) {
            let copy_id = encrypted(&id);
            let copy = self.snapshots.get(&copy_id).ok_or(format!("no DB snapshot {copy_id}"))?;
            is_encrypted(&copy_id, &copy["fields"])?;
            expected.push(copy_id);
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
            for (id, record) in then.iter().filter(|(id, _)| **id != self.source) {
                equal(id, record, now.get(id).ok_or(format!("{id} is gone"))?, TRANSIENT)?;
            }
        }
        Ok(())
    }

    /// Wherever the source is and whatever it is called: there, with its data and settings.
    pub(crate) fn source_survives(&self, before: &Self) -> Result<(), String> {
        let original = before.original();
        let source = self.instances.values().find(|record| resource_id(record) == resource_id(original));
        let mut source = source.ok_or("the source is gone")?.clone();
        // Behind a fence the rows are as they were: nobody comes in. Traces are what an undo may yet have to take away.
        let rows = |record: &Value| text(&record["data"]).split(TRACES).next().map(str::to_owned);
        if source["data"] == SHUT || rows(&source) == rows(original) {
            source["data"] = original["data"].clone();
        }
        // Green that broke can be there for good.
        let may_differ: Vec<&str> = [TRANSIENT, RENAMED, &[GROUPS, "ReadReplicaDBInstanceIdentifiers"]].concat();
        equal("the source", original, &source, &may_differ)
    }

    /// The DbiResourceId of whoever has the name.
    pub(crate) fn resource_id_of(&self, id: &str) -> Option<&str> {
        self.instances.get(id).map(resource_id)
    }

    /// Of whoever has the name.
    pub(crate) fn status_of(&self, id: &str) -> Option<&str> {
        self.instances.get(id).map(|record| text(&record["fields"]["DBInstanceStatus"]))
    }

    /// The source before the execution.
    fn original(&self) -> &Value {
        &self.instances[&self.source]
    }
}

/// Encrypted, available, with the source's data and settings; compared field by field.
fn is_twin(original: &Value, target: &Value, is_marked: bool) -> Result<(), String> {
    let id = text(&target["fields"]["DBInstanceIdentifier"]);
    is_encrypted(id, &target["fields"])?;
    let may_differ: Vec<&str> = [TRANSIENT, IDENTITY, ENCRYPTION].concat();
    equal(id, original, target, &may_differ)?;
    let tags = |record: &Value| -> BTreeSet<String> {
        record["fields"]["TagList"].as_array().into_iter().flatten().map(Value::to_string).collect()
    };
    let mut expected = tags(original);
    if is_marked {
        expected.insert(json!({"Key": SOURCE_TAG, "Value": resource_id(original)}).to_string());
    }
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
