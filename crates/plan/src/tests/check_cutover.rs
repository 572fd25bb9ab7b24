use super::*;

/// What the plan left for the cutover.
fn planned_state(options: Value) -> Value {
    let options = Input::parse(&cutover(options), Way::Snapshot).expect("legal").options;
    json!({
        "instance_id": "orders",
        "unencrypted_instance_id": "orders-unencrypted",
        "owner": Owner { execution: EXECUTION.into(), source_resource_id: RESOURCE_ID.into() },
        "options": options,
        "phase": "preparing",
        "warnings": [],
    })
}

fn fenced() -> Value {
    planned_state(json!({"accept_lost_writes": true, "isolation_security_group_id": "sg-0"}))
}

async fn check_in(context: &Context, state: Value) -> Result<Value, Error> {
    let request = json!({"task": "check_cutover", "execution": EXECUTION, "state": state});
    let response = handle(context, workflow::serve::decode(request).expect("a request")).await?;
    Ok(serde_json::to_value(response).expect("JSON"))
}

async fn check(account: Account) -> Result<Value, Error> {
    check_in(&account.context(), fenced()).await
}

#[tokio::test]
async fn nothing_new_lets_the_cutover_begin() {
    assert_eq!(check(account(source())).await.expect("nothing is in its way"), json!({"ready": true}));
    let state = planned_state(json!({"writes_stopped": true, "accept_stale_replicas": true}));
    let replicated = source().read_replica_db_instance_identifiers("orders-replica");
    check_in(&account(replicated).context(), state).await.expect("decided");
}

#[tokio::test]
async fn the_state_of_a_plan_is_what_the_check_reads() {
    let plan = account(source()).plan(cutover(json!({"accept_lost_writes": true}))).await.expect("planned");
    let state = serde_json::to_value(plan).expect("JSON");
    check_in(&account(source()).context(), state).await.expect("nothing is in its way");
}

/// Hours or days after the plan.
#[tokio::test]
async fn what_the_plan_refuses_is_refused_again() {
    let deployment = BlueGreenDeployment::builder().source(SOURCE_ARN).status("AVAILABLE").build();
    let integration = Integration::builder().integration_name("new").source_arn(SOURCE_ARN).build();
    let pending = PendingModifiedValues::builder().db_instance_class("db.r6g.large").build();
    let stranger = DbInstance::builder().db_instance_identifier("orders-unencrypted").build();
    let isolated = VpcSecurityGroupMembership::builder().vpc_security_group_id("sg-0").status("active").build();
    let with_a_stranger = {
        let mut account = account(source());
        account.instances.push(stranger);
        account
    };
    for (account, name) in [
        (account(source().pending_modified_values(pending)), "InstanceNotUsable"),
        (account(source().db_instance_status("storage-full")), "InstanceNotUsable"),
        (account(source().read_replica_db_instance_identifiers("new")), "StaleReplicasNotAccepted"),
        (account(source().read_replica_db_cluster_identifiers("new")), "StaleReplicasNotAccepted"),
        (Account { deployments: vec![deployment], ..account(source()) }, "BlueGreenDeployment"),
        (Account { integrations: vec![integration], ..account(source()) }, "InstanceNotUsable"),
        (with_a_stranger, "NameConflict"),
        (account(source().vpc_security_groups(isolated)), "InvalidInput"),
        (Account { ec2: Ec2Answers::Vpcs(vec![]), ..account(source()) }, "InvalidInput"),
    ] {
        let error = check(account).await.expect_err(name);
        assert_eq!(error.name(), name, "{error}");
    }
}

#[tokio::test]
async fn a_source_under_another_name_is_left_alone() {
    let error = check(account(source().db_instance_identifier("orders-2"))).await.expect_err("renamed");
    assert_eq!(error.name(), "SourceRenamed");
    for words in [RESOURCE_ID, "is called `orders-2` now and not `orders`", "left alone", "start again"] {
        assert!(error.to_string().contains(words), "{error} does not say {words}");
    }
}

/// Somebody renamed the source and made another instance of its name.
#[tokio::test]
async fn another_instance_of_the_sources_name_is_not_the_source() {
    let other = source().dbi_resource_id("db-ZZZZZZZZZZZZZZZZZZZZZZZZ99");
    let error = check(account(other)).await.expect_err("gone");
    assert_eq!(error.name(), "InstanceNotFound");
    assert!(error.to_string().contains("is gone"), "{error}");
}

#[tokio::test]
async fn one_empty_answer_does_not_make_a_source_vanish() {
    let empty = mock!(Rds::describe_db_instances)
        .match_requests(|input| !input.filters().is_empty())
        .then_output(|| DescribeDbInstancesOutput::builder().build());
    check_in(&account(source()).context_with(vec![empty]), fenced()).await.expect("it is there by its name");
}

#[tokio::test]
async fn what_passes_by_itself_is_waited_for() {
    let changing = VpcSecurityGroupMembership::builder().vpc_security_group_id("sg-3").status("removing").build();
    for (source, said) in [
        (source().db_instance_status("backing-up"), "it is `backing-up`"),
        (source().db_instance_status("modifying"), "it is `modifying`"),
        (source().vpc_security_groups(changing), "its security groups are being changed"),
    ] {
        let error = check(account(source)).await.expect_err(said);
        assert_eq!(error.name(), "InvalidInstanceState");
        assert!(error.to_string().starts_with("cut DB instance `orders` over: "), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_later_cutover_gives_way_and_an_undo_is_waited_for() {
    const BEFORE: &[(&str, i64)] = &[(EXECUTION, START_SECONDS), (OTHER, START_SECONDS - 1)];
    let renames = json!({"instance_id": RESOURCE_ID, "cutover": "rename"});
    let earlier = execution_at(OTHER, START_SECONDS - 1, ExecutionStatus::Running, renames.clone());
    let context = account(source()).context_with(vec![running(BEFORE), earlier]);
    assert_eq!(check_in(&context, fenced()).await.expect_err("later").name(), "CutoverInProgress");

    let context = account(source()).context_with(undo(renames, ExecutionStatus::Running));
    let error = check_in(&context, fenced()).await.expect_err("an undo");
    assert_eq!(error.name(), "InvalidInstanceState");
    assert!(error.to_string().contains(&format!("{UNDO} still looks after what {OTHER} left")), "{error}");
}

#[tokio::test]
async fn what_could_not_be_looked_for_is_no_reason_unless_a_switchover_could_come() {
    let denied = |rule: fn() -> Rule| account(source()).context_with(vec![rule()]);
    let integrations = denied(|| {
        mock!(Rds::describe_integrations)
            .then_error(|| DescribeIntegrationsError::generic(ErrorMetadata::builder().code("AccessDenied").build()))
    });
    check_in(&integrations, fenced()).await.expect("the plan has said so");
    let deployments = denied(|| {
        mock!(Rds::describe_blue_green_deployments).then_error(|| {
            DescribeBlueGreenDeploymentsError::generic(ErrorMetadata::builder().code("AccessDenied").build())
        })
    });
    assert_eq!(check_in(&deployments, fenced()).await.expect_err("a switchover").name(), "AccessDenied");
}
