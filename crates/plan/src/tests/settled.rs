use super::*;
use aws_sdk_rds::primitives::DateTime as RdsDateTime;
use aws_sdk_rds::types::{LifecycleSupportName, MasterUserSecret, SupportedEngineLifecycle, UpgradeTarget};

const FAR_SECONDS: i64 = 10_000_000_000;
const OFF: &str = "open-source-rds-extended-support-disabled";

/// What RDS offers for the source's engine version, and for others of its classes.
fn offers(of_its_class: Vec<OrderableDbInstanceOption>, of_others: Vec<OrderableDbInstanceOption>) -> Rule {
    mock!(Rds::describe_orderable_db_instance_options).then_compute_output(move |input| {
        let options = if input.db_instance_class().is_some() { &of_its_class } else { &of_others };
        DescribeOrderableDbInstanceOptionsOutput::builder()
            .set_orderable_db_instance_options(Some(options.clone()))
            .build()
    })
}

async fn refused_by(rule: Rule, source: DbInstanceBuilder, name: &str) -> String {
    let error = plan_in(&account(source).context_with(vec![rule]), orders()).await.expect_err(name);
    assert_eq!(error.name(), name, "{error}");
    error.to_string()
}

async fn planned_with(rule: Rule, source: DbInstanceBuilder) -> State {
    plan_in(&account(source).context_with(vec![rule]), orders()).await.expect("planned")
}

#[tokio::test]
async fn a_class_that_cannot_be_encrypted_is_refused() {
    let unencrypted = orderable("gp3").supports_storage_encryption(false).build();
    let other_storage = orderable("io1").build();
    let account = Account { orderable: vec![unencrypted, other_storage], ..account(source()) };
    let text = refusal(account, "EncryptionNotSupported").await;
    assert!(text.starts_with("postgres 15.4 on db.m6g.large with gp3 storage cannot be encrypted"), "{text}");
}

#[tokio::test]
async fn a_class_or_a_storage_type_that_is_not_offered_any_more_is_refused_before_the_copy() {
    let others = || vec![orderable("gp3").build()];
    let text = refused_by(offers(vec![], others()), source(), "SettingNotSupported").await;
    assert!(text.starts_with("DBInstanceClass: RDS does not offer db.m6g.large for postgres 15.4 any more"), "{text}");
    let magnetic = source().storage_type("standard");
    let text = refused_by(offers(others(), others()), magnetic, "SettingNotSupported").await;
    assert!(text.starts_with("StorageType: RDS does not offer standard storage for postgres 15.4 on"), "{text}");
}

#[tokio::test]
async fn what_rds_says_nothing_about_is_a_warning() {
    let retired = mock!(Rds::describe_orderable_db_instance_options).then_error(|| {
        let code = ErrorMetadata::builder().code("InvalidParameterCombination").build();
        DescribeOrderableDBInstanceOptionsError::generic(code)
    });
    for nothing in [offers(vec![], vec![]), retired] {
        let said = planned_with(nothing, source()).await.warnings;
        assert!(said.iter().any(|warning| warning.starts_with("RDS does not say whether postgres 15.4")), "{said:?}");
    }
}

#[tokio::test]
async fn a_version_that_rds_retired_is_refused_with_those_to_upgrade_to() {
    let version = |status: &str, version: &str| {
        let target = UpgradeTarget::builder().engine_version("15.12").build();
        let version = DbEngineVersion::builder().engine("postgres").engine_version(version).status(status);
        let output =
            DescribeDbEngineVersionsOutput::builder().db_engine_versions(version.valid_upgrade_target(target).build());
        mock!(Rds::describe_db_engine_versions).then_output(move || output.clone().build())
    };
    let text = refused_by(version("deprecated", "15.4"), source(), "SettingNotSupported").await;
    assert!(text.starts_with("EngineVersion: postgres 15.4 is `deprecated` to RDS"), "{text}");
    assert!(text.contains("upgrade the source first to one of 15.12"), "{text}");
    // A custom engine version, and one that nobody knows any more.
    let text = refused_by(version("inactive", "15.4"), source(), "SettingNotSupported").await;
    assert!(text.contains("is `inactive`"), "{text}");
    let text = refused_by(version("available", "15.5"), source(), "SettingNotSupported").await;
    assert!(text.contains("is `unknown`"), "{text}");
}

#[tokio::test]
async fn a_major_version_past_its_support_is_refused_while_extended_support_is_off() {
    let ends = |seconds| {
        let lifecycle = |name, seconds| {
            let end = RdsDateTime::from_secs(seconds);
            SupportedEngineLifecycle::builder().lifecycle_support_name(name).lifecycle_support_end_date(end).build()
        };
        let major = DbMajorEngineVersion::builder()
            .supported_engine_lifecycles(lifecycle(LifecycleSupportName::OpenSourceRdsStandardSupport, seconds))
            .supported_engine_lifecycles(lifecycle(LifecycleSupportName::OpenSourceRdsExtendedSupport, FAR_SECONDS))
            .build();
        mock!(Rds::describe_db_major_engine_versions)
            .match_requests(|input| input.engine() == Some("postgres") && input.major_engine_version() == Some("15"))
            .then_output(move || {
                DescribeDbMajorEngineVersionsOutput::builder().db_major_engine_versions(major.clone()).build()
            })
    };
    let off = || source().engine_lifecycle_support(OFF);
    let text = refused_by(ends(0), off(), "SettingNotSupported").await;
    assert!(text.starts_with("EngineLifecycleSupport: the standard support of postgres 15 is over"), "{text}");
    planned_with(ends(FAR_SECONDS), off()).await;
    planned_with(ends(0), source().engine_lifecycle_support("open-source-rds-extended-support")).await;
}

#[tokio::test]
async fn a_certificate_authority_that_is_gone_or_has_expired_is_refused() {
    let has = |name: &str, till_seconds| {
        let till = RdsDateTime::from_secs(till_seconds);
        let certificate = Certificate::builder().certificate_identifier(name).valid_till(till).build();
        mock!(Rds::describe_certificates)
            .then_output(move || DescribeCertificatesOutput::builder().certificates(certificate.clone()).build())
    };
    let old = || source().ca_certificate_identifier("rds-ca-2019");
    for rule in [has("rds-ca-rsa2048-g1", FAR_SECONDS), has("rds-ca-2019", 0)] {
        let text = refused_by(rule, old(), "SettingNotSupported").await;
        assert!(text.starts_with("CACertificateIdentifier: the certificate authority `rds-ca-2019` has"), "{text}");
    }
    planned_with(has("rds-ca-2019", FAR_SECONDS), old()).await;
}

fn with_keys() -> DbInstanceBuilder {
    source()
        .performance_insights_enabled(true)
        .performance_insights_kms_key_id("arn:insights")
        .master_user_secret(MasterUserSecret::builder().kms_key_id("arn:secret").build())
}

/// Answers about a key beside the one that the target is encrypted under.
fn key_is(id: &'static str, metadata: Option<KeyMetadata>) -> Rule {
    mock!(Kms::describe_key).match_requests(move |input| input.key_id() == Some(id)).then_compute_response(move |_| {
        match metadata.clone() {
            Some(metadata) => MockResponse::Output(DescribeKeyOutput::builder().key_metadata(metadata).build()),
            None => MockResponse::Error(DescribeKeyError::NotFoundException(NotFoundException::builder().build())),
        }
    })
}

#[tokio::test]
async fn a_key_of_the_insights_or_of_the_secret_that_cannot_be_used_is_refused() {
    let disabled = || Some(key(|key| key.key_state(KeyState::Disabled)));
    let usable = || Some(key(|key| key));
    for (insights, secret, said) in [
        (disabled(), usable(), "PerformanceInsightsKMSKeyId: KMS key arn:insights is disabled"),
        (None, usable(), "PerformanceInsightsKMSKeyId: KMS key arn:insights is gone, or switch"),
        (usable(), disabled(), "MasterUserSecretKmsKeyId: KMS key arn:secret is disabled"),
    ] {
        let rules = vec![key_is("arn:insights", insights), key_is("arn:secret", secret)];
        let error = plan_in(&account(with_keys()).context_with(rules), orders()).await.expect_err("refused");
        assert_eq!(error.name(), "KeyNotUsable");
        assert!(error.to_string().starts_with(said), "{error}");
    }
    // Switched off, it needs no key.
    let off = with_keys().performance_insights_enabled(false).set_master_user_secret(None);
    planned_with(key_is("arn:insights", None), off).await;
}

#[tokio::test]
async fn keys_that_aws_manages_are_noted_so_that_nobody_names_them() {
    let managed = || Some(key(|key| key.key_manager(KeyManagerType::Aws)));
    let rules = vec![key_is("arn:insights", managed()), key_is("arn:secret", Some(key(|key| key)))];
    let state = plan_in(&account(with_keys()).context_with(rules), orders()).await.expect("planned");
    let settings = serde_json::to_value(&state.settings).expect("JSON");
    assert_eq!(settings["AwsManagedKeys"], json!(["arn:insights"]));
}

#[tokio::test]
async fn what_could_not_be_settled_is_said_or_asked_again() {
    let whole = || with_keys().ca_certificate_identifier("rds-ca-rsa2048-g1").engine_lifecycle_support(OFF);
    let answers = |code: &'static str| {
        let meta = move || ErrorMetadata::builder().code(code).build();
        [
            (
                "whether RDS still restores the engine version",
                mock!(Rds::describe_db_engine_versions)
                    .then_error(move || DescribeDBEngineVersionsError::generic(meta())),
            ),
            (
                "whether RDS encrypts this class and storage type",
                mock!(Rds::describe_orderable_db_instance_options)
                    .then_error(move || DescribeOrderableDBInstanceOptionsError::generic(meta())),
            ),
            (
                "the end of the engine's standard support",
                mock!(Rds::describe_db_major_engine_versions)
                    .then_error(move || DescribeDBMajorEngineVersionsError::generic(meta())),
            ),
            (
                "whether the certificate authority is still there",
                mock!(Rds::describe_certificates).then_error(move || DescribeCertificatesError::generic(meta())),
            ),
            (
                "whether MasterUserSecretKmsKeyId can be used",
                mock!(Kms::describe_key)
                    .match_requests(|input| input.key_id() == Some("arn:secret"))
                    .then_error(move || DescribeKeyError::generic(KmsErrorMetadata::builder().code(code).build())),
            ),
        ]
    };
    // What the others ask, answered well.
    let rest = || {
        let certificate = Certificate::builder().certificate_identifier("rds-ca-rsa2048-g1").build();
        vec![
            key_is("arn:insights", Some(key(|key| key))),
            key_is("arn:secret", Some(key(|key| key))),
            mock!(Rds::describe_certificates)
                .then_output(move || DescribeCertificatesOutput::builder().certificates(certificate.clone()).build()),
            mock!(Rds::describe_db_major_engine_versions)
                .then_output(|| DescribeDbMajorEngineVersionsOutput::builder().build()),
        ]
    };
    for (said, rule) in answers("AccessDenied") {
        let rules = [vec![rule], rest()].concat();
        let state = plan_in(&account(whole()).context_with(rules), orders()).await.expect("planned");
        let warnings = state.warnings.join("\n");
        assert!(warnings.contains(&format!("NOT looked for: {said} (")), "{warnings} does not say {said}");
    }
    for (said, rule) in answers("Throttling") {
        let rules = [vec![rule], rest()].concat();
        let error = plan_in(&account(whole()).context_with(rules), orders()).await.expect_err(said);
        assert_eq!(error.name(), "Throttled", "{said}: {error}");
    }
}
