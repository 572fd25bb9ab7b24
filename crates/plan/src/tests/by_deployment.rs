//! The way by a blue/green deployment.

use aws_sdk_rds::types::MasterUserSecret;
use workflow::options::Way;

use super::*;

fn plain() -> DbInstanceBuilder {
    source().engine("postgres").engine_version("15.4").backup_retention_period(7).set_tag_list(None)
}

async fn plan_deployment(account: Account, input: Value) -> Result<State, Error> {
    plan_by("blue_green", &account.context(), input, json!({})).await
}

fn of_blue_green(state: State) -> OfBlueGreen {
    match state.of_way {
        OfWay::BlueGreen(of_blue_green) => *of_blue_green,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_source_is_the_first_member_and_its_group_is_named() {
    let state = plan_deployment(account(plain()), orders()).await.expect("planned");
    assert_eq!((state.way, state.phase), (Way::BlueGreen, "preparing"));
    let of_way = of_blue_green(state);
    assert_eq!(of_way.deployment_name.as_str(), "orders-encrypted");
    assert_eq!(of_way.parameter_group.as_deref(), Some("orders-15"));
    let ids: Vec<&str> = of_way.members.iter().map(|member| member.wanted.instance_id.as_str()).collect();
    assert_eq!(ids, ["orders"]);
    assert_eq!(of_way.members[0].arn, SOURCE_ARN);
}

#[tokio::test]
async fn every_obstacle_is_named_at_once_with_its_remedy() {
    let stack = Tag::builder().key("aws:cloudformation:stack-name").value("shop").build();
    let secret = MasterUserSecret::builder().secret_arn("arn:secret").build();
    let source = plain()
        .backup_retention_period(0)
        .master_user_secret(secret)
        .read_replica_db_instance_identifiers("arn:aws:rds:us-east-1:1:db:far")
        .read_replica_db_cluster_identifiers("cluster")
        .tag_list(stack);
    let error = plan_deployment(account(source), orders()).await.expect_err("closed");
    assert_eq!(error.name(), "BlueGreenNotSupported");
    for reason in [
        "backups are off",
        "Secrets Manager",
        "other Regions",
        "DB clusters",
        "`shop`",
        "accept_stack_drift",
        "encrypt-instance",
    ] {
        assert!(error.to_string().contains(reason), "{reason}: {error}");
    }
}

#[tokio::test]
async fn a_stack_that_may_drift_is_no_obstacle() {
    let stack = Tag::builder().key("aws:cloudformation:stack-name").value("shop").build();
    let input = json!({"instance_id": "orders", "accept_stack_drift": true});
    let state = plan_deployment(account(plain().tag_list(stack)), input).await.expect("planned");
    assert!(state.warnings.join("\n").contains("The CloudFormation stack `shop`"), "{:?}", state.warnings);
}

#[tokio::test]
async fn a_proxy_is_led_over_by_the_switchover_if_it_is_registered_in_time() {
    let found = vec![
        mock!(Rds::describe_db_proxies).then_output(|| {
            DescribeDbProxiesOutput::builder().db_proxies(DbProxy::builder().db_proxy_name("shop").build()).build()
        }),
        mock!(Rds::describe_db_proxy_targets).then_output(|| {
            let target = DbProxyTarget::builder().rds_resource_id("orders").build();
            DescribeDbProxyTargetsOutput::builder().targets(target).build()
        }),
    ];
    let context = account(plain()).context_with(found);
    let state = plan_by("blue_green", &context, orders(), json!({})).await.expect("planned");
    let warning = state.warnings.iter().find(|warning| warning.contains("RDS proxy `shop`")).expect("a warning");
    assert!(warning.contains("Register no further proxy until then"), "{warning}");
    assert!(!warning.contains("deregister-db-proxy-targets"), "{warning}");
}

#[tokio::test]
async fn an_engine_or_a_version_without_deployments_is_refused() {
    for (engine, version, is_open) in [
        ("postgres", "11.1", true),
        ("postgres", "10.23", false),
        ("mysql", "5.6.51", false),
        ("mariadb", "10.2.11", true),
        ("oracle-ee", "19.0", false),
    ] {
        let source = plain().engine(engine).engine_version(version).build();
        let closed = crate::deployment::of_description(&source, &[]);
        assert_eq!(closed.is_empty(), is_open, "{engine} {version}: {closed:?}");
    }
}

#[tokio::test]
async fn a_deployment_of_that_name_is_a_conflict_unless_it_is_ours() {
    let named = |tags| {
        let deployment = BlueGreenDeployment::builder().blue_green_deployment_name("orders-encrypted");
        let deployment = deployment.source(SOURCE_ARN).status("AVAILABLE").set_tag_list(tags).build();
        Account { deployments: vec![deployment], ..account(plain()) }
    };
    let error = plan_deployment(named(None), orders()).await.expect_err("theirs");
    assert_eq!(error.name(), "NameConflict");
    plan_deployment(named(Some(tags_of(EXECUTION))), orders()).await.expect("ours");
}
