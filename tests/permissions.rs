//! Least privilege, proven: each function calls what its role allows, and its role allows nothing else.
//!
//! The local cloud judges every call of a function by its role in the deployed stack, with conditions and
//! dependent actions, and denies it as AWS does (`tests/local/iam`). What it denied for another reason than a tag
//! that does not count yet, or any more, fails whatever test made the call. What no call has needed is found here.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_databasemigration::types::ReplicationEndpointTypeValue;
use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};

use crate::cloud::{ACCOUNT, Cloud, REGION, Running, Setup};
use crate::cutover::{connections, undo_of};
use crate::fixtures::{fault, instance, seed, until_entered};
use crate::online::{seed_for_tokens, seed_replicable};

/// By function, what the local cloud knows of the roles under this name.
fn roles(cloud: &Cloud, name: &str) -> BTreeMap<String, Value> {
    let roles = cloud.control("GET", "roles", json!({}));
    let roles = roles.as_object().expect("roles").iter();
    let told = roles.filter(|(_, role)| role[name].as_array().is_some_and(|list| !list.is_empty()));
    told.map(|(function, role)| (function.clone(), role[name].clone())).collect()
}

/// Calls that a function made and its role does not allow, whatever tags the resources bear.
pub(crate) fn refused(cloud: &Cloud) -> BTreeMap<String, Value> {
    roles(cloud, "refused")
}

fn role(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}

fn denied() -> Value {
    json!({"type": "error", "code": "AccessDenied", "status": 403})
}

/// Whose use is a matter of the roles, unlike that of AWS's own keys.
async fn customer_key(cloud: &Cloud) -> String {
    cloud.kms.create_key().send().await.expect("a key").key_metadata.expect("its metadata").arn.expect("an ARN")
}

/// Executions that, taken together, need everything that a role may do.
async fn use_everything(cloud: &Cloud) {
    travel_with_all_settings(cloud).await;
    undo_what_is_protected(cloud).await;
    resume_beside_an_undo(cloud).await;
    go_by_deployments(&cloud.by_blue_green()).await;
    go_online(&cloud.online()).await;
    go_by_dms(&cloud.online()).await;

    // Stopped past the commit point, before the target is released.
    seed(cloud, "finished", json!({}));
    cloud.stop_in(&[(cloud.state_machine(), "ProtectTarget")]);
    let stopped = cloud.start_execution(&json!({"instance_id": "finished"}).to_string()).await;
    undo_of(cloud, &stopped).await.succeeded();
    cloud.stop_in(&[]);

    // Nobody is connected, before the snapshot and after it.
    seed(cloud, "writes", json!({}));
    connections(cloud, "writes", 0.0).await;
    let input = json!({"instance_id": "writes", "cutover": "rename", "writes_stopped": true, "max_wait_minutes": 30});
    cloud.encrypt(input).await.succeeded();

    be_a_sweep_beside_another(cloud).await;
}

/// The first waits for its approval.
async fn be_a_sweep_beside_another(cloud: &Cloud) {
    seed(cloud, "of-a-fleet", json!({}));
    let first = cloud.start_fleet(&json!({"cutover": "rename", "accept_lost_writes": true})).await;
    until_entered(cloud, &first, "RequestApproval").await;
    let second = cloud.encrypt_fleet(json!({})).await;
    assert!(second.succeeded()["left_out"]["sweep_running"].is_u64(), "{second:#?}");
    cloud.sfn.stop_execution().execution_arn(first).send().await.expect("stopped");
    cloud.encrypt_fleet(json!({"instances": ["of-a-fleet"]})).await.succeeded();
}

/// What is passed at a restore, what is set later, and what changes meanwhile.
async fn travel_with_all_settings(cloud: &Cloud) {
    let key = customer_key(cloud).await;
    let secret = json!({"SecretArn": "arn:before", "SecretStatus": "active", "KmsKeyId": key});
    let domain = json!([{"Domain": "d-1234567890", "IAMRoleName": "directory", "Status": "joined"}]);
    // With Oracle, the secret and the domain are parameters of the restore.
    seed(cloud, "oracle", json!({"Engine": "oracle-ee", "MasterUserSecret": secret, "DomainMemberships": domain}));
    cloud.encrypt(json!({"instance_id": "oracle", "kms_key_id": key})).await.succeeded();

    let import = json!({"RoleArn": role("import"), "FeatureName": "s3Import", "Status": "ACTIVE"});
    let fields = json!({
        "Engine": "postgres", "AssociatedRoles": [import], "DeletionProtection": true, "BackupRetentionPeriod": 7,
        "MonitoringInterval": 60, "MonitoringRoleArn": role("monitoring"), "MasterUserSecret": secret,
        "EngineLifecycleSupport": "open-source-rds-extended-support-disabled",
    });
    seed(cloud, "roles", fields);
    let proxy = json!({"DBProxies": [{"DBProxyName": "roles-proxy"}]});
    cloud.control("PUT", "replies/DescribeDBProxies", proxy);
    cloud.control("PUT", "replies/DescribeDBProxyTargets", json!({"Targets": []}));
    // AWS DMS reads the source, too.
    let endpoint = cloud.dms.create_endpoint().endpoint_identifier("roles").engine_name("postgres");
    let endpoint = endpoint.endpoint_type(ReplicationEndpointTypeValue::Source);
    let host = instance(cloud, "roles").await.endpoint().and_then(|endpoint| endpoint.address().map(str::to_owned));
    endpoint.set_server_name(host).send().await.expect("a DMS endpoint");
    // Somebody tags it meanwhile, gives it other groups, and has it join a domain.
    let groups = json!({
        "DBParameterGroups": [{"DBParameterGroupName": "others", "ParameterApplyStatus": "in-sync"}],
        "OptionGroupMemberships": [{"OptionGroupName": "others", "Status": "in-sync"}],
        "DBSubnetGroup": {"DBSubnetGroupName": "others"},
        "TagList": [{"Key": "team", "Value": "stars"}], "DomainMemberships": domain,
    });
    seed(cloud, "others", groups.clone());
    let change = cloud.control_command("PATCH", "instances/roles", &json!({"fields": groups}));
    fault(cloud, "roles-encrypted", "CopyDBSnapshot", json!({"action": {"type": "run", "command": change}}));
    // The SDK calls again, and meets its own instance.
    let lost = json!({"when": "after", "action": {"type": "lost"}});
    fault(cloud, "roles-encrypted", "RestoreDBInstanceFromDBSnapshot", lost);
    let input = json!({
        "instance_id": "roles", "cutover": "rename", "accept_lost_writes": true, "isolation_security_group_id": "sg-0fe7ce",
    });
    let outcome = cloud.encrypt(input).await;
    assert!(outcome.succeeded()["warnings"].to_string().contains("AWS DMS endpoint `roles`"), "{outcome:#?}");
}

/// One that succeeds, one that is undone, and one whose green somebody takes.
async fn go_by_deployments(cloud: &Cloud) {
    let key = customer_key(cloud).await;
    let import = json!({"RoleArn": role("import"), "FeatureName": "s3Import", "Status": "ACTIVE"});
    let fields = json!({
        "Engine": "mariadb", "BackupRetentionPeriod": 7, "AssociatedRoles": [import], "DeletionProtection": true,
        "MonitoringInterval": 60, "MonitoringRoleArn": role("monitoring"), "TagList": [{"Key": "team", "Value": "stars"}],
    });
    for id in ["blue", "blue-undone", "blue-taken"] {
        seed(cloud, id, fields.clone());
    }
    // The SDK calls again, and meets its own deployment.
    let lost = json!({"when": "after", "action": {"type": "lost"}});
    fault(cloud, "blue", "CreateBlueGreenDeployment", lost);
    cloud.encrypt(json!({"instance_id": "blue", "kms_key_id": key})).await.succeeded();
    fault(cloud, "blue-undone", "SwitchoverBlueGreenDeployment", json!({"action": denied()}));
    cloud.encrypt(json!({"instance_id": "blue-undone"})).await.failed("AccessDenied");
    let promote = json!({"type": "promote", "resource": {"green_of": "blue-taken"}});
    fault(cloud, "blue-taken", "SwitchoverBlueGreenDeployment", json!({"action": promote}));
    cloud.encrypt(json!({"instance_id": "blue-taken"})).await.failed("DeploymentFailed");
    // Stopped past the commit point.
    seed(cloud, "blue-stopped", fields);
    cloud.stop_in(&[(cloud.state_machine(), "ProtectTarget")]);
    let stopped = cloud.start_execution(&json!({"instance_id": "blue-stopped"}).to_string()).await;
    undo_of(cloud, &stopped).await.succeeded();
    cloud.stop_in(&[]);
}

/// One that succeeds, with a login under a customer key, one that is undone, and one that is finished from outside.
async fn go_online(cloud: &Cloud) {
    let key = customer_key(cloud).await;
    for (id, error) in [("online", None), ("online-undone", Some("AccessDenied"))] {
        let (_, input) = seed_replicable(cloud, id, Some(&key)).await;
        if error.is_some() {
            fault(cloud, id, "RestoreDBInstanceFromDBSnapshot", json!({"action": denied()}));
        }
        let outcome = cloud.encrypt(input).await;
        match error {
            None => outcome.succeeded(),
            Some(error) => &json!(outcome.failed(error)),
        };
    }
    // And by a token.
    for (id, is_refused) in [("token", false), ("token-undone", true)] {
        let (_, input) = seed_for_tokens(cloud, id).await;
        if is_refused {
            fault(cloud, id, "RestoreDBInstanceFromDBSnapshot", json!({"action": denied()}));
        }
        let outcome = cloud.encrypt(input).await;
        assert_eq!(outcome.status == ExecutionStatus::Succeeded, !is_refused, "{outcome:#?}");
    }
    // Stopped past the commit point.
    let (_, input) = seed_replicable(cloud, "online-stopped", Some(&key)).await;
    cloud.stop_in(&[(cloud.state_machine(), "OpenTarget")]);
    let stopped = cloud.start_execution(&input.to_string()).await;
    undo_of(cloud, &stopped).await.succeeded();
    cloud.stop_in(&[]);
}

/// One that succeeds, whose task has to be stopped, and one that is undone while its task runs.
async fn go_by_dms(cloud: &Cloud) {
    let key = customer_key(cloud).await;
    let (_, mut input) = seed_replicable(cloud, "dms", Some(&key)).await;
    input["engine"] = json!("dms");
    let running = json!({
        "operation": "DescribeReplicationTasks", "app_id": "rds-encrypt.open-target", "when": "after",
        "action": {"type": "status", "status": "running"},
    });
    cloud.control("POST", "faults", running);
    cloud.encrypt(input).await.succeeded();
    let (_, mut input) = seed_replicable(cloud, "dms-stopped", None).await;
    input["engine"] = json!("dms");
    cloud.stop_in(&[(cloud.state_machine(), "CheckCutover")]);
    let stopped = cloud.start_execution(&input.to_string()).await;
    undo_of(cloud, &stopped).await.succeeded();
    cloud.stop_in(&[]);
}

/// Somebody protects the target before it fails.
async fn undo_what_is_protected(cloud: &Cloud) {
    seed(cloud, "protected", json!({}));
    let protection = json!({"fields": {"DeletionProtection": true}});
    let protect = cloud.control_command("PATCH", "instances/protected-encrypted", &protection);
    for (function, action) in [("describe-status", json!({"type": "run", "command": protect})), ("verify", denied())] {
        let rule = json!({"app_id": format!("rds-encrypt.{function}"), "action": action});
        fault(cloud, "protected-encrypted", "DescribeDBInstances", rule);
    }
    cloud.encrypt(json!({"instance_id": "protected"})).await.failed("AccessDenied");
}

/// Somebody stops an execution. While it is undone from outside, another one is resumed.
async fn resume_beside_an_undo(cloud: &Cloud) {
    seed(cloud, "resumed", json!({}));
    fault(cloud, "resumed", "RestoreDBInstanceFromDBSnapshot", json!({"action": denied()}));
    let kept = cloud.encrypt(json!({"instance_id": "resumed", "on_failure": "keep"})).await;
    kept.failed("AccessDenied");

    seed(cloud, "stopped", json!({}));
    cloud.stop_in(&[(cloud.state_machine(), "WaitForInstance")]);
    let busy = json!({"from_call": 1, "action": {"type": "error", "code": "InvalidDBInstanceState"}});
    fault(cloud, "stopped-encrypted", "DeleteDBInstance", busy);
    let stopped = cloud.start_execution(&json!({"instance_id": "stopped"}).to_string()).await;
    let resume = async {
        let is_undoing = || {
            let rules = cloud.control("GET", "faults", json!({}));
            let mut rules = rules.as_array().expect("rules").iter();
            rules.any(|rule| rule["operation"] == "DeleteDBInstance" && rule["befallen"] != 0)
        };
        while !is_undoing() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cloud.stop_in(&[]);
        cloud.encrypt(json!({"instance_id": "resumed", "resume": kept.execution})).await.succeeded();
        cloud.control("DELETE", "faults", json!({}));
    };
    let (undo, ()) = tokio::join!(undo_of(cloud, &stopped), resume);
    undo.succeeded();
}

#[tokio::test]
async fn functions_call_what_their_roles_allow_and_roles_allow_nothing_else() {
    let key = format!("DataKmsKeyArn=arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab");
    let running = Running::start(&Setup { time_scale: 0.001, parameters: &[&key], ..Setup::default() });
    let cloud = Cloud::connect(&running).await;
    // DMS asks for the use of its key, which has to be there.
    let of_dms = format!("ReplicationKmsKeyArn={}", customer_key(&cloud).await);
    running.deploy(&[&key, &of_dms]);
    use_everything(&cloud).await;
    let unused = roles(&cloud, "unused");
    assert!(unused.is_empty(), "no call needs {unused:#?}");
}
