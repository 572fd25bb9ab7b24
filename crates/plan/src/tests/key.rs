use super::*;

#[tokio::test]
async fn a_key_that_rds_cannot_use_is_refused() {
    for (key, words) in [
        (key(|key| key.key_state(KeyState::Disabled)), "is disabled; enable it"),
        (key(|key| key.key_state(KeyState::PendingDeletion)), "is about to be deleted"),
        (key(|key| key.key_state(KeyState::PendingImport)), "is in the state PendingImport"),
        (key(|key| key.set_key_state(None)), "is in the state unknown"),
        (key(|key| key.key_spec(KeySpec::Rsa2048)), "is asymmetric (RSA_2048)"),
        (key(|key| key.key_usage(KeyUsageType::SignVerify)), "has the usage SIGN_VERIFY"),
        (key(|key| key.key_usage(KeyUsageType::GenerateVerifyMac)), "has the usage GENERATE_VERIFY_MAC"),
    ] {
        let text = refusal(Account { key, ..account(source()) }, "KeyNotUsable").await;
        assert!(text.starts_with(&format!("KMS key {DEFAULT_KEY} {words}")), "{text}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_there_is_refused() {
    let text = refusal(Account { key_id: "another", ..account(source()) }, "KeyNotUsable").await;
    assert!(text.starts_with("there is no KMS key alias/aws/rds in eu-west-1"), "{text}");
    let malformed = mock!(Kms::describe_key)
        .then_error(|| DescribeKeyError::InvalidArnException(InvalidArnException::builder().build()));
    let context = account(source()).context_with(vec![malformed]);
    assert_eq!(plan_in(&context, orders()).await.expect_err("malformed").name(), "KeyNotUsable");
}

#[tokio::test]
async fn a_key_of_another_region_is_refused() {
    for key in ["arn:aws:kms:us-east-1:123456789012:key/1234", "arn:aws:kms:us-east-1:123456789012:alias/rds"] {
        let input = json!({"instance_id": "orders", "kms_key_id": key});
        let error = account(source()).plan(input).await.expect_err("another Region");
        assert_eq!(error.name(), "KeyNotUsable");
        assert!(error.to_string().contains("is in Region us-east-1, but RDS in eu-west-1"), "{error}");
    }
}

#[tokio::test]
async fn the_asked_key_is_pinned_by_its_arn() {
    for key_id in [KEY, "alias/orders", "1234abcd-12ab-34cd-56ef-1234567890ab"] {
        let account = Account { key_id, ..account(source()) };
        let response = account.plan(json!({"instance_id": "orders", "kms_key_id": key_id})).await.expect("planned");
        assert_eq!(response.kms_key_arn, KEY);
    }
}

#[tokio::test]
async fn a_key_that_may_not_be_read_is_access_denied() {
    let denied = mock!(Kms::describe_key)
        .then_error(|| DescribeKeyError::generic(KmsErrorMetadata::builder().code("AccessDeniedException").build()));
    let context = account(source()).context_with(vec![denied]);
    let error = plan_in(&context, orders()).await.expect_err("denied");
    assert_eq!(error.name(), "AccessDenied");
    assert!(error.to_string().starts_with("describe KMS key alias/aws/rds: "), "{error}");
}
