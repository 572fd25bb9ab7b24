//! Least privilege, proven: each function calls what its role allows, and its role allows nothing else.
//!
//! The local cloud does not enforce IAM. It records which function made which call on which resources
//! (AWS_SDK_UA_APP_ID), and this compares the record with the roles of template.yaml: here, after every
//! execution that another end-to-end test follows to its end, and in every pair of the fault matrix.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex};

use aws_sdk_databasemigration::types::ReplicationEndpointTypeValue;
use serde_json::{Value, json};
use serde_norway::Value as Yaml;

use crate::cloud::{ACCOUNT, Cloud, REGION, Running, Setup};
use crate::contract::resources_of_type;
use crate::cutover::undo_of;
use crate::fixtures::{fault, instance, seed};

/// What no call of a function shows: AWS checks these besides the action that is called [A38].
const DEPENDENT_ACTIONS: &[(&str, &str, &str)] = &[
    // Service Authorization Reference, "Actions, resources, and condition keys for Amazon RDS",
    // column "Dependent actions", and, for the tags that are given at creation, the RDS User Guide,
    // "Tagging Amazon RDS resources".
    ("create-snapshot", "rds:AddTagsToResource", "CreateDBSnapshot"),
    ("copy-encrypted", "rds:AddTagsToResource", "CopyDBSnapshot"),
    ("restore", "rds:AddTagsToResource", "RestoreDBInstanceFromDBSnapshot"),
    ("restore", "iam:PassRole", "RestoreDBInstanceFromDBSnapshot"),
    ("apply-settings", "iam:PassRole", "AddRoleToDBInstance, ModifyDBInstance"),
    // RDS User Guide, "AWS KMS key management": RDS uses the key with the caller's permissions.
    ("copy-encrypted", "kms:CreateGrant", "CopyDBSnapshot"),
    ("copy-encrypted", "kms:DescribeKey", "CopyDBSnapshot"),
    ("restore", "kms:CreateGrant", "RestoreDBInstanceFromDBSnapshot"),
    ("restore", "kms:DescribeKey", "RestoreDBInstanceFromDBSnapshot"),
    // RDS User Guide, "Permissions required for Secrets Manager integration": with
    // ManageMasterUserPassword RDS makes the secret with the caller's permissions.
    ("restore", "kms:Decrypt", "RestoreDBInstanceFromDBSnapshot"),
    ("restore", "kms:GenerateDataKey", "RestoreDBInstanceFromDBSnapshot"),
    ("restore", "secretsmanager:CreateSecret", "RestoreDBInstanceFromDBSnapshot"),
    ("restore", "secretsmanager:TagResource", "RestoreDBInstanceFromDBSnapshot"),
    ("apply-settings", "kms:CreateGrant", "ModifyDBInstance"),
    ("apply-settings", "kms:Decrypt", "ModifyDBInstance"),
    ("apply-settings", "kms:DescribeKey", "ModifyDBInstance"),
    ("apply-settings", "kms:GenerateDataKey", "ModifyDBInstance"),
    ("apply-settings", "secretsmanager:CreateSecret", "ModifyDBInstance"),
    ("apply-settings", "secretsmanager:TagResource", "ModifyDBInstance"),
    // Step Functions Developer Guide, "Data at rest encryption": Step Functions decrypts with the
    // caller's permissions what a customer key encrypts.
    ("plan", "kms:Decrypt", "DescribeExecution"),
    ("read-execution", "kms:Decrypt", "DescribeExecution, GetExecutionHistory"),
];

/// The roles of the functions, as the template gives them.
pub(crate) struct Roles(BTreeMap<String, Vec<Statement>>);

struct Statement {
    actions: Vec<String>,
    resources: Vec<String>,
    /// Of actions that no recorded call shows: see `DEPENDENT_ACTIONS`.
    is_dependent: bool,
}

impl Roles {
    pub(crate) fn of_template() -> &'static Self {
        static ROLES: LazyLock<Roles> = LazyLock::new(|| {
            let functions = resources_of_type("AWS::Serverless::Function");
            Roles(functions.values().map(|function| role(&function["Properties"])).collect())
        });
        &ROLES
    }

    /// Why a recorded call would have been refused.
    pub(crate) fn refusal(&self, call: &Value) -> Option<String> {
        let function = function_of(call)?;
        let Some(statements) = self.0.get(function) else { return Some(format!("no role for {function}: {call}")) };
        let action = action(call);
        let allows = |resource: &String| {
            statements.iter().any(|statement| {
                !statement.is_dependent
                    && statement.actions.contains(&action)
                    && statement.resources.iter().any(|pattern| matches(pattern, resource))
            })
        };
        let refused = resources_of(call).into_iter().find(|resource| !allows(resource))?;
        Some(format!("{function} may not {action} on {refused}"))
    }

    /// Every action of every role, with the function's name.
    fn actions(&self) -> BTreeSet<(String, String)> {
        let of_statement = |function: &String, statement: &Statement| -> Vec<_> {
            statement.actions.iter().map(|action| (function.clone(), action.clone())).collect()
        };
        self.0
            .iter()
            .flat_map(|(function, statements)| {
                statements.iter().flat_map(|statement| of_statement(function, statement))
            })
            .collect()
    }
}

/// A function's name and what its role allows.
fn role(properties: &Yaml) -> (String, Vec<Statement>) {
    let app_id = properties["Environment"]["Variables"]["AWS_SDK_UA_APP_ID"].as_str().expect("AWS_SDK_UA_APP_ID");
    let name = app_id.strip_prefix("rds-encrypt.").expect("rds-encrypt.<step>").to_owned();
    let policies = properties["Policies"].as_sequence().expect("Policies");
    let statements = policies.iter().flat_map(|policy| {
        // A policy under a condition counts as if that held.
        let policy = if let Yaml::Tagged(choice) = policy { &choice.value[1] } else { policy };
        policy["Statement"].as_sequence().expect("a Statement")
    });
    (name, statements.map(statement).collect())
}

fn statement(statement: &Yaml) -> Statement {
    assert_eq!(statement["Effect"], "Allow");
    let condition = serde_norway::to_string(&statement["Condition"]).expect("YAML");
    Statement {
        actions: texts(&statement["Action"]),
        resources: texts(&statement["Resource"]),
        is_dependent: condition.contains("kms:ViaService") || condition.contains("kms:EncryptionContext"),
    }
}

/// One text or several, with CloudFormation's pseudo parameters filled in; a parameter's name for its value.
fn texts(value: &Yaml) -> Vec<String> {
    match value {
        Yaml::Sequence(values) => values.iter().flat_map(texts).collect(),
        Yaml::Tagged(tagged) if tagged.tag == "Sub" || tagged.tag == "Ref" => texts(&tagged.value),
        Yaml::String(text) => {
            let pseudo = [("${AWS::Partition}", "aws"), ("${AWS::Region}", REGION), ("${AWS::AccountId}", ACCOUNT)];
            vec![pseudo.iter().fold(text.clone(), |text, (name, value)| text.replace(name, value))]
        }
        other => panic!("neither a text nor a list of texts: {other:?}"),
    }
}

fn function_of(call: &Value) -> Option<&str> {
    call["app_id"].as_str()?.strip_prefix("rds-encrypt.")
}

fn action(call: &Value) -> String {
    let service = call["service"].as_str().expect("a service");
    format!("{service}:{}", call["operation"].as_str().expect("an operation"))
}

/// The resources that AWS would check: those that the call touched, else those that it names, else
/// all of the kind that it lists, else `*`. A call that a fault befell has touched nothing.
fn resources_of(call: &Value) -> Vec<String> {
    let touched: Vec<String> =
        call["resources"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if !touched.is_empty() {
        return touched;
    }
    let parameters = &call["parameters"];
    let arn = |kind: &str, id: &str| format!("arn:aws:rds:{REGION}:{ACCOUNT}:{kind}:{id}");
    let named = |name: &str| parameters[name].as_str().unwrap_or("*").to_owned();
    let looked_for = match call["operation"].as_str().unwrap_or_default() {
        "DescribeDBInstances" => arn("db", &named("DBInstanceIdentifier")),
        "DescribeDBSnapshots" => arn("snapshot", &named("DBSnapshotIdentifier")),
        "DescribeExecution" | "GetExecutionHistory" => named("executionArn"),
        "ListExecutions" => named("stateMachineArn"),
        _ if call["status"].as_u64().is_some_and(|status| status != 200) => return vec![],
        _ => "*".to_owned(),
    };
    vec![looked_for]
}

/// Whether IAM's pattern, in which `*` stands for anything, matches.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(head) else { return false };
    (0..=rest.len()).filter(|&start| rest.is_char_boundary(start)).any(|start| matches(tail, &rest[start..]))
}

/// Every call of a cloud's functions so far, those to Step Functions included.
fn calls(cloud: &Cloud) -> Vec<Value> {
    let services = cloud.control("GET", "calls", json!({}));
    let services = services.as_array().expect("calls").clone();
    services.into_iter().chain(cloud.trail()).filter(|call| function_of(call).is_some()).collect()
}

/// That all calls since the last time, of whichever test, were within the functions' roles.
pub(crate) fn assert_calls_are_permitted(cloud: &Cloud) {
    static LOOKED_AT: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());
    let last = |numbers: &BTreeMap<String, u64>| numbers.get(cloud.endpoint()).copied().unwrap_or_default();
    let after = last(&LOOKED_AT.lock().expect("no panic"));
    let calls = cloud.control("GET", &format!("calls?after={after}"), json!({}));
    // What a call touches is known at its end.
    let ended: Vec<_> = calls.as_array().expect("calls").iter().take_while(|call| !call["status"].is_null()).collect();
    if let Some(number) = ended.last().and_then(|call| call["number"].as_u64()) {
        let mut numbers = LOOKED_AT.lock().expect("no panic");
        let number = number.max(last(&numbers));
        numbers.insert(cloud.endpoint().to_owned(), number);
    }
    let refusals: BTreeSet<String> = ended.into_iter().filter_map(|call| Roles::of_template().refusal(call)).collect();
    assert!(refusals.is_empty(), "{refusals:#?}");
}

/// Executions that, taken together, need everything that a role may do.
async fn use_everything(cloud: &Cloud) {
    let denied = || json!({"action": {"type": "error", "code": "AccessDenied", "status": 403}});
    let role = |feature: &str| json!({"RoleArn": format!("arn:aws:iam::{ACCOUNT}:role/import"), "FeatureName": feature, "Status": "ACTIVE"});
    seed(
        cloud,
        "roles",
        json!({"Engine": "postgres", "AssociatedRoles": [role("s3Import")], "DeletionProtection": true, "BackupRetentionPeriod": 7}),
    );
    let proxy = json!({"DBProxies": [{"DBProxyName": "roles-proxy"}]});
    cloud.control("PUT", "replies/DescribeDBProxies", proxy);
    cloud.control("PUT", "replies/DescribeDBProxyTargets", json!({"Targets": []}));
    let cutover = json!({"cutover": "rename", "accept_lost_writes": true, "isolation_security_group_id": "sg-0fe7ce"});
    let with = |id: &str, fields: Value| {
        let mut input = json!({"instance_id": id});
        input.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        input
    };
    // The SDK calls again, and meets its own instance.
    fault(
        cloud,
        "roles-encrypted",
        "RestoreDBInstanceFromDBSnapshot",
        json!({"when": "after", "action": {"type": "lost"}}),
    );
    // AWS DMS reads the source, too, and somebody tags it meanwhile.
    let endpoint = cloud.dms.create_endpoint().endpoint_identifier("roles").engine_name("postgres");
    let endpoint = endpoint.endpoint_type(ReplicationEndpointTypeValue::Source);
    let host = instance(cloud, "roles").await.endpoint().and_then(|endpoint| endpoint.address().map(str::to_owned));
    endpoint.set_server_name(host).send().await.expect("a DMS endpoint");
    let tag = json!({"fields": {"TagList": [{"Key": "team", "Value": "stars"}]}});
    let tag = json!({"action": {"type": "run", "command": cloud.control_command("PATCH", "instances/roles", &tag)}});
    fault(cloud, "roles-encrypted", "CopyDBSnapshot", tag);
    let outcome = cloud.encrypt(with("roles", cutover)).await;
    assert!(outcome.succeeded()["warnings"].to_string().contains("AWS DMS endpoint `roles`"), "{outcome:#?}");

    // Without a metric, nobody knows whether the writes have stopped.
    seed(cloud, "writes", json!({}));
    let stopped = json!({"cutover": "rename", "writes_stopped": true, "max_wait_minutes": 30});
    assert_eq!(cloud.encrypt(with("writes", stopped)).await.status.as_str(), "FAILED");

    // Somebody protects the target before it fails.
    seed(cloud, "protected", json!({}));
    let protection = json!({"fields": {"DeletionProtection": true}});
    let protect = cloud.control_command("PATCH", "instances/protected-encrypted", &protection);
    for (function, action) in [
        ("describe-status", json!({"type": "run", "command": protect})),
        ("verify", json!({"type": "error", "code": "AccessDenied", "status": 403})),
    ] {
        let rule = json!({"app_id": format!("rds-encrypt.{function}"), "action": action});
        fault(cloud, "protected-encrypted", "DescribeDBInstances", rule);
    }
    cloud.encrypt(json!({"instance_id": "protected"})).await.failed("AccessDenied");

    seed(cloud, "resumed", json!({}));
    fault(cloud, "resumed", "RestoreDBInstanceFromDBSnapshot", denied());
    let kept = cloud.encrypt(with("resumed", json!({"on_failure": "keep"}))).await;
    kept.failed("AccessDenied");
    cloud.encrypt(with("resumed", json!({"resume": kept.execution}))).await.succeeded();

    // Somebody stops an execution, which is undone from outside.
    seed(cloud, "stopped", json!({}));
    cloud.stop_in(&[(cloud.state_machine(), "WaitForInstance")]);
    let stopped = cloud.start_execution(&json!({"instance_id": "stopped"}).to_string()).await;
    undo_of(cloud, &stopped).await.succeeded();
}

#[tokio::test]
async fn functions_call_what_their_roles_allow_and_roles_allow_nothing_else() {
    let running = Running::start(&Setup { storage: "files", time_scale: 0.001, ..Setup::default() });
    let cloud = Cloud::connect(&running).await;
    cloud.record_trail();
    use_everything(&cloud).await;
    let roles = Roles::of_template();
    let calls = calls(&cloud);
    let refusals: BTreeSet<String> = calls.iter().filter_map(|call| roles.refusal(call)).collect();
    assert!(refusals.is_empty(), "{refusals:#?}");

    let used: BTreeSet<(String, String)> =
        calls.iter().filter_map(|call| Some((function_of(call)?.to_owned(), action(call)))).collect();
    let dependent = DEPENDENT_ACTIONS.iter().map(|&(function, action, _)| (function.to_owned(), action.to_owned()));
    let needed: BTreeSet<_> = used.into_iter().chain(dependent).collect();
    let unused: Vec<_> = roles.actions().difference(&needed).cloned().collect();
    assert!(unused.is_empty(), "no call needs {unused:#?}");
    let unknown: Vec<_> = needed.difference(&roles.actions()).cloned().collect();
    assert!(unknown.is_empty(), "the table of dependent actions names what no role has: {unknown:#?}");
}

#[test]
fn a_role_is_read_with_its_limits() {
    let roles = Roles::of_template();
    let call = |function: &str, operation: &str, resource: &str| {
        let app_id = format!("rds-encrypt.{function}");
        let arn = format!("arn:aws:rds:{REGION}:{ACCOUNT}:{resource}");
        roles.refusal(&json!({"app_id": app_id, "service": "rds", "operation": operation, "resources": [arn]}))
    };
    assert_eq!(call("create-snapshot", "CreateDBSnapshot", "snapshot:orders-no-encrypted"), None);
    assert!(call("create-snapshot", "CreateDBSnapshot", "snapshot:orders").is_some(), "another name");
    assert!(call("create-snapshot", "DeleteDBSnapshot", "snapshot:orders-no-encrypted").is_some(), "another action");
    assert!(call("nobody", "CreateDBSnapshot", "snapshot:orders-no-encrypted").is_some(), "another function");
    let key = json!({"app_id": "rds-encrypt.restore", "service": "kms", "operation": "DescribeKey",
        "resources": [format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/1")]});
    assert!(roles.refusal(&key).is_some(), "only RDS may, on the function's behalf");
}
