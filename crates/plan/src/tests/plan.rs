use super::*;

#[tokio::test]
async fn the_instance_alone_makes_a_plan_with_the_references_fields_and_names() {
    let response = planned(account(source())).await;
    let state = serde_json::to_value(&response).expect("a state");
    for (field, value) in [
        ("instance_id", "orders"),
        ("availability_zone", "eu-west-1a"),
        ("db_subnet_group_name", "private"),
        ("security_group_id", "sg-1"),
        ("no_encrypted_snapshot_id", "orders-no-encrypted"),
        ("encrypted_snapshot_id", "orders-encrypted"),
        ("encrypted_instance_id", "orders-encrypted"),
        ("kms_key_arn", KEY),
    ] {
        assert_eq!(state[field], value, "{field}");
    }
    assert!(response.source.ready);
    assert_eq!(response.owner, Owner { execution: EXECUTION.into(), source_resource_id: RESOURCE_ID.into() });
    assert_eq!(response.tags, [TagPair { key: "team".into(), value: "a".into() }], "aws:* does not travel");
    assert_eq!(response.settings.texts("VpcSecurityGroupIds").expect("groups"), ["sg-1", "sg-2"]);
}

#[tokio::test]
async fn every_field_that_a_later_state_reads_is_there() {
    let state = serde_json::to_value(planned(account(source())).await).expect("a state");
    for field in [
        "writes_before",
        "applied",
        "proof",
        "writes",
        "fenced",
        "source_renamed",
        "target_renamed",
        "protected",
        "cleaned",
        "error",
        "undo",
        "undo_error",
    ] {
        assert_eq!(state.get(field), Some(&Value::Null), "{field}");
    }
    for look in ["no_encrypted_snapshot", "encrypted_snapshot", "target"] {
        assert_eq!(state[look], serde_json::to_value(Look::default()).expect("a look"), "{look}");
    }
    assert!(state["source"]["wait"]["wait_seconds"].is_u64());
    assert_eq!(state["phase"], "preparing");
    assert_eq!(state.get("plan"), None, "only for plan_only, to keep the state small");
}

#[tokio::test]
async fn plan_only_tells_names_settings_warnings_and_an_estimate() {
    let response = account(source()).plan(json!({"instance_id": "orders", "plan_only": true})).await.expect("planned");
    let plan = response.plan.expect("a plan");
    let summary = plan.summary.join("\n");
    for words in [
        "orders (postgres 15.4, db.m6g.large, 100 GiB), not encrypted",
        "orders-no-encrypted",
        "orders-encrypted",
        &format!("{KEY} (customer managed)"),
    ] {
        assert!(summary.contains(words), "{summary} does not say {words}");
    }
    let travels = |field: &str| plan.settings.iter().find(|row| row.field == field).map(|row| row.travels.label());
    assert_eq!(travels("MultiAZ"), Some("at restore"));
    assert_eq!(travels("PreferredMaintenanceWindow"), None, "the instance has none");
    assert_eq!(plan.estimate.minutes_at_least, Estimate::of(&source().build()).minutes_at_least);
    assert!(!response.warnings.is_empty());
}

#[tokio::test]
async fn an_estimate_grows_with_the_data() {
    let small = Estimate::of(&source().build());
    let large = Estimate::of(&source().allocated_storage(1000).build());
    assert_eq!((small.minutes_at_least, small.minutes_at_most), (35, 250));
    assert!(large.minutes_at_least > small.minutes_at_least && large.minutes_at_most > small.minutes_at_most);
    assert!((small.snapshot_usd_per_month_at_most - 9.5).abs() < 0.001, "{small:?}");
}

#[tokio::test]
async fn bad_input_is_refused_before_anything_is_read() {
    // A client without an answer to anything.
    let none: [Rule; 0] = [];
    let context = Context {
        rds: mock_client!(aws_sdk_rds, RuleMode::MatchAny, &none),
        kms: mock_client!(aws_sdk_kms, RuleMode::MatchAny, &none),
        cloudwatch: mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, &none),
        dms: mock_client!(aws_sdk_databasemigration, RuleMode::MatchAny, &none),
        sfn: mock_client!(aws_sdk_sfn, RuleMode::MatchAny, &none),
        ec2: Ec2Answers::Nothing.client(),
        region: REGION.into(),
        undo_state_machine_arn: UNDO_MACHINE.into(),
        patience: PATIENCE,
    };
    for input in [json!([]), json!({}), json!({"instance_id": "Orders"}), json!({"instance_id": "orders", "kms": 1})] {
        assert_eq!(plan_in(&context, input).await.expect_err("bad").name(), "InvalidInput");
    }
}

#[tokio::test]
async fn the_owner_is_warned_of_what_the_run_cannot_do() {
    let source = source()
        .multi_az(false)
        .backup_retention_period(7)
        .read_replica_db_instance_identifiers("orders-replica")
        .read_replica_db_cluster_identifiers("orders-replicas");
    let pending = PendingMaintenanceAction::builder().action("system-update").build();
    let warnings = planned(Account { maintenance: vec![pending], ..account(source) }).await.warnings.join("\n");
    for words in [
        "as of the snapshot",
        "cannot be changed later",
        "First reads on the target are slow",
        "suspends I/O",
        "Unlogged tables are empty",
        "Replication slots",
        "The read replicas orders-replica, orders-replicas stay",
        "Maintenance is pending on the source (system-update)",
        "the source `orders`, its older manual snapshots",
        "its automated backups",
        "its read replicas",
    ] {
        assert!(warnings.contains(words), "{warnings} does not say {words}");
    }
}

#[tokio::test]
async fn the_owner_is_not_warned_of_what_does_not_concern_the_source() {
    let mysql = planned(account(source().engine("mysql"))).await.warnings.join("\n");
    for words in ["suspends I/O", "Unlogged", "Replication slots", "read replicas", "Maintenance", "automated backups"]
    {
        assert!(!mysql.contains(words), "{mysql} says {words}");
    }
    let sql_server = planned(account(source().engine("sqlserver-se"))).await.warnings.join("\n");
    assert!(sql_server.contains("suspends I/O"), "a Multi-AZ SQL Server does, too: {sql_server}");
}

#[tokio::test]
async fn throttling_is_named_if_it_does_not_end_and_not_noticed_if_it_does() {
    let throttled = mock!(Rds::describe_account_attributes)
        .then_error(|| DescribeAccountAttributesError::generic(ErrorMetadata::builder().code("Throttling").build()));
    let context = account(source()).context_with(vec![throttled]);
    assert_eq!(plan_in(&context, orders()).await.expect_err("throttled").name(), "Throttled");
    let ends = mock!(Rds::describe_account_attributes)
        .sequence()
        .http_status(503, None)
        .times(2)
        .output(|| DescribeAccountAttributesOutput::builder().build())
        .build();
    let context = account(source()).context_with(vec![ends.clone()]);
    assert!(plan_in(&context, orders()).await.is_ok());
    assert_eq!(ends.num_calls(), 3);
}

#[tokio::test]
async fn a_wait_that_may_be_too_short_is_told() {
    let told = async |gib, minutes: f64| {
        let input = json!({"instance_id": "orders", "max_wait_minutes": minutes});
        let warnings = account(source().allocated_storage(gib)).plan(input).await.expect("planned").warnings;
        warnings.into_iter().find(|warning| warning.contains("max_wait_minutes"))
    };
    let warning = told(100, 90.0).await.expect("100 GiB can take longer");
    assert!(warning.contains("can take 125 minutes") && warning.contains("ends it after 90"), "{warning}");
    assert_eq!(told(100, 125.0).await, None);
    let default = planned(account(source().allocated_storage(2_000))).await.warnings.join("\n");
    assert!(default.contains("can take 2025 minutes"), "{default}");
}

#[tokio::test]
async fn engines_with_tables_that_a_snapshot_may_break_are_told() {
    for (engine, is_told) in [("mysql", true), ("mariadb", true), ("postgres", false), ("oracle-ee", false)] {
        let warnings = planned(account(source().engine(engine))).await.warnings.join("\n");
        assert_eq!(warnings.contains("engine IN ('MyISAM', 'Aria')"), is_told, "{engine}: {warnings}");
    }
}
