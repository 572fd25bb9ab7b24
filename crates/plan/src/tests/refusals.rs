use super::*;

#[tokio::test]
async fn what_protects_and_could_not_be_looked_for_is_said_or_tried_again() {
    let answers = |code: &'static str| {
        let meta = move || ErrorMetadata::builder().code(code).build();
        [
            (
                "the account's quotas of RDS (read the account's RDS quotas: ",
                mock!(Rds::describe_account_attributes)
                    .then_error(move || DescribeAccountAttributesError::generic(meta())),
            ),
            (
                "zero-ETL integrations (read the zero-ETL integrations: ",
                mock!(Rds::describe_integrations).then_error(move || DescribeIntegrationsError::generic(meta())),
            ),
        ]
    };
    let renames = || cutover(json!({"writes_stopped": true}));
    for code in ["AccessDenied", "InvalidAction"] {
        for (said, rule) in answers(code) {
            let context = account(source()).context_with(vec![rule]);
            let warnings = plan_in(&context, renames()).await.expect("planned").warnings.join("\n");
            assert!(warnings.contains(&format!("NOT looked for: {said}")), "{warnings} does not say {said}");
        }
    }
    for (said, rule) in answers("Throttling") {
        let context = account(source()).context_with(vec![rule]);
        assert_eq!(plan_in(&context, renames()).await.expect_err(said).name(), "Throttled");
    }
}

#[tokio::test]
async fn a_login_that_would_fail_after_the_restore_is_refused() {
    let by_token = || json!({"instance_id": "orders", "compare_data": true, "database_iam_user": "rds_encrypt_dba"});
    let with_tokens = || source().iam_database_authentication_enabled(true);
    account(with_tokens()).plan(by_token()).await.expect("planned");
    for (source, said) in [
        (source(), "`database_iam_user`: wants IAM database authentication"),
        (with_tokens().engine("mysql").engine_version("8.0.36"), "`compare_data`: is for PostgreSQL"),
        (with_tokens().engine("mariadb").engine_version("10.11.8"), "`database_iam_user`: was not tried with MariaDB"),
    ] {
        let error = account(source).plan(by_token()).await.expect_err(said);
        assert!(error.to_string().contains(said), "{error}");
    }
}

/// Each of the names that the plan derives, taken by something with these tags.
fn with_a_name_taken(tags: &[Tag]) -> Vec<(&'static str, Account)> {
    let snapshot = |id: &str| {
        let snapshot = DbSnapshot::builder().db_snapshot_identifier(id).set_tag_list(Some(tags.to_vec())).build();
        Account { snapshots: vec![snapshot], ..account(source()) }
    };
    let instance = DbInstance::builder().db_instance_identifier("orders-encrypted").set_tag_list(Some(tags.to_vec()));
    let mut with_instance = account(source());
    with_instance.instances.push(instance.build());
    vec![
        ("DB snapshot `orders-no-encrypted`", snapshot("orders-no-encrypted")),
        ("DB snapshot `orders-encrypted`", snapshot("orders-encrypted")),
        ("DB instance `orders-encrypted`", with_instance),
    ]
}

#[tokio::test]
async fn a_name_that_somebody_else_has_is_a_conflict() {
    for (what, account) in with_a_name_taken(&[]) {
        let text = refusal(account, "NameConflict").await;
        assert!(text.starts_with(&format!("{what} exists and was not made by rds-encrypt")), "{text}");
    }
}

#[tokio::test]
async fn a_name_that_an_earlier_execution_left_is_a_conflict_that_names_it_and_the_way_out() {
    for (what, account) in with_a_name_taken(&tags_of(EARLIER)) {
        let text = refusal(account, "NameConflict").await;
        assert!(text.starts_with(&format!("{what} was made by the execution {EARLIER}")), "{text}");
        assert!(text.contains("aws rds delete-db-"), "{text}");
    }
}

#[tokio::test]
async fn the_result_of_an_earlier_execution_is_a_conflict() {
    let mut tags = tags_of(EARLIER);
    tags.retain(|tag| tag.key() != Some(workflow::owner::EXECUTION_TAG));
    for (what, account) in with_a_name_taken(&tags) {
        let text = refusal(account, "NameConflict").await;
        assert!(text.starts_with(&format!("{what} is the result of an earlier execution")), "{text}");
        assert!(text.contains(RESOURCE_ID), "{text}");
    }
}

#[tokio::test]
async fn what_this_execution_made_is_no_conflict_when_the_plan_is_repeated() {
    for (_, account) in with_a_name_taken(&tags_of(EXECUTION)) {
        planned(account).await;
    }
}

#[tokio::test]
async fn another_target_has_names_of_its_own() {
    let mut account = account(source());
    let taken = DbInstance::builder().db_instance_identifier("orders-encrypted").build();
    account.instances.push(taken);
    let input = json!({"instance_id": "orders", "target_instance_id": "rehearsal"});
    let names = account.plan(input).await.expect("stands beside the other").of_snapshot().names;
    assert_eq!(names.encrypted_instance_id.as_str(), "rehearsal");
    assert_eq!(names.no_encrypted_snapshot_id.as_str(), "rehearsal-no-encrypted");
}

#[tokio::test]
async fn the_sources_own_name_is_no_target() {
    let input = json!({"instance_id": "orders", "target_instance_id": "orders"});
    let error = account(source()).plan(input).await.expect_err("its own name");
    assert_eq!(error.name(), "InvalidInput");
    assert!(error.to_string().starts_with("`target_instance_id`: "), "{error}");
}

#[tokio::test]
async fn the_name_that_a_cutover_gives_the_source_is_no_target() {
    let with = |target: &str| cutover(json!({"accept_lost_writes": true, "target_instance_id": target}));
    let error = account(source()).plan(with("orders-unencrypted")).await.expect_err("two instances, one name");
    assert_eq!(error.name(), "InvalidInput");
    assert!(error.to_string().starts_with("`target_instance_id`: is what the cutover calls the source"), "{error}");
    let input = json!({"instance_id": "orders", "target_instance_id": "orders-unencrypted"});
    account(source()).plan(input).await.expect("nobody else takes it without a cutover");
}

#[tokio::test]
async fn a_quota_that_does_not_suffice_is_refused() {
    for (used_up, words) in [
        (quota("ManualSnapshots", 99, 100), "99 of 100 manual snapshots are in use and 2 more are needed"),
        (quota("DBInstances", 40, 40), "40 of 40 DB instances are in use and 1 more are needed"),
        (quota("AllocatedStorage", 901, 1000), "901 of 1000 GiB of storage are in use and 100 more are needed"),
    ] {
        let account = Account { quotas: vec![quota("Other", 9, 9), used_up], ..account(source()) };
        let text = refusal(account, "QuotaExceeded").await;
        assert!(text.contains(words), "{text}");
    }
}

#[tokio::test]
async fn a_quota_that_just_suffices_is_enough() {
    let quotas =
        vec![quota("ManualSnapshots", 98, 100), quota("DBInstances", 39, 40), quota("AllocatedStorage", 900, 1000)];
    planned(Account { quotas, ..account(source()) }).await;
}

#[tokio::test]
async fn no_tag_is_dropped_to_make_room_for_ours() {
    let tagged = |count: usize| {
        let tags = (0..count).map(|n| Tag::builder().key(format!("key-{n}")).value("v").build());
        // AWS's own count for nobody.
        let aws = Tag::builder().key("aws:cloudformation:stack-name").value("s").build();
        account(source().set_tag_list(Some(tags.chain([aws]).collect())))
    };
    assert_eq!(planned(tagged(48)).await.tags.len(), 48);
    let text = refusal(tagged(49), "TooManyTags").await;
    assert!(text.contains("49 tags") && text.contains("remove 1 first"), "{text}");
}
