use super::*;

const SOURCE: &str = "source";
const TARGET: &str = "target";

/// A deployment of which the instance is on this side.
fn deployment(side: &str, status: &str) -> BlueGreenDeployment {
    let deployment =
        BlueGreenDeployment::builder().blue_green_deployment_identifier("bgd-1").blue_green_deployment_name("upgrade");
    let deployment = match side {
        SOURCE => deployment.source(SOURCE_ARN).target("arn:green"),
        _ => deployment.source("arn:blue").target(SOURCE_ARN),
    };
    deployment.status(status).build()
}

fn with(deployments: Vec<BlueGreenDeployment>) -> Account {
    Account { deployments, ..account(source()) }
}

#[tokio::test]
async fn a_blue_green_deployment_in_progress_is_refused() {
    for side in [SOURCE, TARGET] {
        for status in ["AVAILABLE", "SWITCHOVER_IN_PROGRESS", "INVALID_CONFIGURATION", "SWITCHOVER_FAILED"] {
            let text = refusal(with(vec![deployment(side, status)]), "BlueGreenDeployment").await;
            let said = format!("is the {side} of the blue/green deployment `upgrade` ({status})");
            assert!(text.contains(&said), "{text}");
        }
        for status in ["SWITCHOVER_COMPLETED", "DELETING"] {
            planned(with(vec![deployment(side, status)])).await;
        }
    }
}

#[tokio::test]
async fn a_member_of_a_deployment_takes_part_in_it_and_a_stranger_does_not() {
    let other = || BlueGreenDeployment::builder().source("arn:blue").target("arn:green").status("AVAILABLE");
    let member = SwitchoverDetail::builder().source_member(SOURCE_ARN).target_member("arn:green-replica").build();
    refusal(with(vec![other().build(), other().switchover_details(member).build()]), "BlueGreenDeployment").await;
    planned(with(vec![other().build()])).await;
}

#[tokio::test]
async fn what_a_switchover_left_behind_is_not_taken_for_what_serves() {
    let arn = "arn:aws:rds:eu-west-1:123456789012:db:orders-old1";
    let old = |deployments| {
        let source = source().db_instance_identifier("orders-old1").db_instance_arn(arn);
        Account { deployments, ..account(source) }
    };
    let over = BlueGreenDeployment::builder().blue_green_deployment_identifier("bgd-1").source(arn).target(SOURCE_ARN);
    let over = over.status("SWITCHOVER_COMPLETED").build();
    let input = || json!({"instance_id": "orders-old1"});
    let error = old(vec![over]).plan(input()).await.expect_err("left behind");
    assert_eq!(error.name(), "BlueGreenDeployment");
    for words in ["clients use `orders`", "delete-blue-green-deployment --blue-green-deployment-identifier bgd-1"] {
        assert!(error.to_string().contains(words), "{error}");
    }
    // Once the deployment is deleted, only the name tells.
    let warnings = old(vec![]).plan(input()).await.expect("planned").warnings.join("\n");
    assert!(warnings.contains("clients use `orders`"), "{warnings}");
    assert!(!planned(account(source())).await.warnings.join("\n").contains("clients use"));
}

#[tokio::test]
async fn where_nobody_may_look_only_a_run_without_a_cutover_goes_on() {
    let answer = |code: &'static str| {
        let refused = mock!(Rds::describe_blue_green_deployments).then_error(move || {
            DescribeBlueGreenDeploymentsError::generic(ErrorMetadata::builder().code(code).build())
        });
        account(source()).context_with(vec![refused])
    };
    let said = plan_in(&answer("AccessDenied"), orders()).await.expect("planned").warnings.join("\n");
    assert!(said.contains("NOT looked for: blue/green deployments (look for blue/green deployments of arn:"), "{said}");
    let renames = || cutover(json!({"writes_stopped": true}));
    for (input, code, name) in [
        (orders(), "Throttling", "Throttled"),
        (renames(), "Throttling", "Throttled"),
        (renames(), "AccessDenied", "AccessDenied"),
        (renames(), "InvalidParameterValue", "RequestRejected"),
    ] {
        assert_eq!(plan_in(&answer(code), input).await.expect_err(code).name(), name);
    }
    // Where the action is unknown, nobody can have a deployment.
    let plan = plan_in(&answer("InvalidAction"), renames()).await.expect("planned");
    assert!(!plan.warnings.join("\n").contains("blue/green"), "{:?}", plan.warnings);
}
