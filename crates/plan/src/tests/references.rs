use super::*;

#[tokio::test]
async fn what_will_still_point_at_the_old_instance_is_found() {
    let found = vec![
        mock!(Rds::describe_event_subscriptions).then_output(|| {
            let of =
                |name, source| EventSubscription::builder().cust_subscription_id(name).source_ids_list(source).build();
            DescribeEventSubscriptionsOutput::builder()
                .event_subscriptions_list(of("orders-events", "orders"))
                .event_subscriptions_list(of("other-events", "customers"))
                .build()
        }),
        mock!(Rds::describe_db_proxies).then_output(|| {
            let named = |name| DbProxy::builder().db_proxy_name(name).build();
            DescribeDbProxiesOutput::builder()
                .db_proxies(named("orders-proxy"))
                .db_proxies(named("other-proxy"))
                .build()
        }),
        mock!(Rds::describe_db_proxy_targets).then_compute_output(|input| {
            let instance = if input.db_proxy_name() == Some("orders-proxy") { "orders" } else { "customers" };
            let target = DbProxyTarget::builder().rds_resource_id(instance).build();
            DescribeDbProxyTargetsOutput::builder().targets(target).build()
        }),
        mock!(CloudWatch::describe_alarms).then_output(|| {
            let of = |name, instance| {
                let dimension = Dimension::builder().name("DBInstanceIdentifier").value(instance).build();
                MetricAlarm::builder().alarm_name(name).dimensions(dimension).build()
            };
            DescribeAlarmsOutput::builder()
                .metric_alarms(of("orders-cpu", "orders"))
                .metric_alarms(of("other-cpu", "customers"))
                .build()
        }),
        mock!(Dms::describe_endpoints).then_output(|| {
            let at = |name, host| {
                Endpoint::builder()
                    .endpoint_identifier(name)
                    .endpoint_arn(format!("arn:{name}"))
                    .server_name(host)
                    .build()
            };
            DescribeEndpointsOutput::builder()
                .endpoints(at("orders-endpoint", "Orders.example"))
                .endpoints(at("idle-endpoint", "orders.example"))
                .endpoints(at("other-endpoint", "customers.example"))
                .build()
        }),
        mock!(Dms::describe_replication_tasks).then_output(|| {
            let task = |name, source, target| {
                let task = ReplicationTask::builder().replication_task_identifier(name).status("running");
                task.source_endpoint_arn(source).target_endpoint_arn(target).build()
            };
            DescribeReplicationTasksOutput::builder()
                .replication_tasks(task("orders-out", "arn:orders-endpoint", "arn:other-endpoint"))
                .replication_tasks(task("orders-in", "arn:other-endpoint", "arn:orders-endpoint"))
                .replication_tasks(task("other-task", "arn:other-endpoint", "arn:other-endpoint"))
                .build()
        }),
        mock!(Rds::describe_db_snapshots)
            .match_requests(|input| input.snapshot_type() == Some("awsbackup"))
            .then_output(|| {
                let point = DbSnapshot::builder().db_snapshot_identifier("awsbackup:job-1").build();
                DescribeDbSnapshotsOutput::builder().db_snapshots(point).build()
            }),
    ];
    let source = source()
        .endpoint(RdsEndpoint::builder().address("orders.example").build())
        .iam_database_authentication_enabled(true)
        .tag_list(Tag::builder().key("aws:cloudformation:logical-id").value("OrdersDatabase").build())
        .tag_list(Tag::builder().key("managed-by").value("Terraform").build());
    let context = account(source).context_with(found);
    let input = cutover(json!({"writes_stopped": true}));
    let warnings = plan_in(&context, input).await.expect("planned").warnings.join("\n");
    for words in [
        "event subscription `orders-events`",
        "RDS proxy `orders-proxy`",
        "follow the name to the target and can fire during the cutover: orders-cpu.",
        &format!(":dbuser:{RESOURCE_ID}/"),
        "The CloudFormation stack `s` owns the source as `OrdersDatabase`",
        "would give the name `orders` back to the *old* instance",
        "before the cutover terraform state rm aws_db_instance.<name>; after it,",
        "terraform import aws_db_instance.<name> orders",
        "DMS endpoint `orders-endpoint` has the source's host name",
        "stop its tasks `orders-out` (running), `orders-in` (running) before the cutover",
        "DMS endpoint `idle-endpoint` has the source's host name and follows it to the target: no task uses it.",
        "AWS Backup protects the source (1 recovery points)",
    ] {
        assert!(warnings.contains(words), "{warnings} does not say {words}");
    }
    assert!(!warnings.contains("other-"), "{warnings}");
}

#[tokio::test]
async fn an_account_without_dms_is_no_failure() {
    let none = mock!(Dms::describe_endpoints)
        .then_error(|| DescribeEndpointsError::ResourceNotFoundFault(ResourceNotFoundFault::builder().build()));
    let source = source().endpoint(RdsEndpoint::builder().address("orders.example").build());
    let context = account(source).context_with(vec![none]);
    let plan = plan_in(&context, cutover(json!({"writes_stopped": true}))).await.expect("planned");
    let said = plan.warnings.join("\n");
    assert!(!said.contains("DMS endpoint `") && !said.contains("AWS Backup protects"), "{said}");
}

#[tokio::test]
async fn what_points_at_the_instance_is_read_only_when_it_matters() {
    let denied = mock!(Rds::describe_db_proxies)
        .then_error(|| DescribeDBProxiesError::generic(ErrorMetadata::builder().code("AccessDenied").build()));
    let context = account(source()).context_with(vec![denied]);
    let said = async |input| plan_in(&context, input).await.expect("planned").warnings.join("\n");
    assert!(!said(orders()).await.contains("RDS proxies"), "not read");
    for input in [cutover(json!({"writes_stopped": true})), json!({"instance_id": "orders", "plan_only": true})] {
        let said = said(input).await;
        assert!(said.contains("NOT looked for: RDS proxies (read the RDS proxies: AccessDenied"), "{said}");
    }
}

#[tokio::test]
async fn a_plan_alone_tells_of_what_would_forbid_a_cutover() {
    let integration = Integration::builder().integration_name("orders-to-redshift").source_arn(SOURCE_ARN).build();
    let account = Account { integrations: vec![integration], ..account(source()) };
    let said = account.plan(json!({"instance_id": "orders", "plan_only": true})).await.expect("planned").warnings;
    let said = said.join("\n");
    assert!(said.contains("integration `orders-to-redshift` reads this instance"), "{said}");
}

#[tokio::test]
async fn an_endpoint_that_does_not_follow_the_name_is_told() {
    for (engine, is_told) in [("oracle-ee", true), ("oracle-ee-cdb", true), ("oracle-se2", false), ("postgres", false)]
    {
        let input = cutover(json!({"accept_lost_writes": true}));
        let warnings = account(source().engine(engine)).plan(input).await.expect("planned").warnings.join("\n");
        assert_eq!(warnings.contains("Primary Endpoint"), is_told, "{engine}: {warnings}");
    }
}

/// Whatever AWS answers: the run is worth more than the advice.
#[tokio::test]
async fn no_error_of_a_look_up_that_advises_fails_the_plan() {
    for code in ["AccessDenied", "Throttling", "InternalFailure", "InvalidAction", "DBInstanceNotFound"] {
        let meta = move || ErrorMetadata::builder().code(code).build();
        let refused = vec![
            mock!(Rds::describe_pending_maintenance_actions)
                .then_error(move || DescribePendingMaintenanceActionsError::generic(meta())),
            mock!(Rds::describe_db_parameters).then_error(move || DescribeDBParametersError::generic(meta())),
            mock!(Rds::describe_event_subscriptions)
                .then_error(move || DescribeEventSubscriptionsError::generic(meta())),
            mock!(Rds::describe_db_proxies).then_error(move || DescribeDBProxiesError::generic(meta())),
            mock!(Rds::describe_db_snapshots)
                .match_requests(|input| input.snapshot_type() == Some("awsbackup"))
                .then_error(move || DescribeDBSnapshotsError::generic(meta())),
            mock!(CloudWatch::describe_alarms).then_error(move || DescribeAlarmsError::generic(meta())),
            mock!(Dms::describe_endpoints).then_error(move || DescribeEndpointsError::generic(meta())),
        ];
        let source = source().endpoint(RdsEndpoint::builder().address("orders.example").build());
        let context = account(source).context_with(refused);
        let plan = plan_in(&context, cutover(json!({"accept_lost_writes": true}))).await.expect("planned");
        for what in [
            "pending maintenance",
            "what a restored copy does by itself (DB parameters)",
            "RDS event subscriptions",
            "RDS proxies",
            "AWS Backup's snapshots",
            "CloudWatch alarms",
            "AWS DMS endpoints and tasks",
        ] {
            let mut warnings = plan.warnings.iter();
            let said = |warning: &&String| {
                warning.starts_with(&format!("NOT looked for: {what} (")) && warning.ends_with("). Look yourself.")
            };
            assert!(warnings.any(|warning| said(&warning) && warning.contains(code)), "{what}: {:?}", plan.warnings);
        }
    }
}
