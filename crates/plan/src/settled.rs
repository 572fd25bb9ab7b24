//! What RDS would refuse of the source's settings after hours, at the restore or later, is settled here: refused with
//! the remedy, or noted in the settings so that it is not asked for. The table of settings says which of them ask what
//! of AWS (`settings::Refused`); what could not be looked for is said.

use std::time::SystemTime;

use aws_sdk_kms::types::KeyManagerType;
use aws_sdk_rds::error::ProvideErrorMetadata;
use aws_sdk_rds::primitives::DateTime;
use aws_sdk_rds::types::{DbEngineVersion, DbInstance, LifecycleSupportName, OrderableDbInstanceOption};
use settings::Settings;
use workflow::Error;

use crate::look_ups::said_unless_passing;
use crate::{Context, key};

const EXTENDED_SUPPORT_OFF: &str = "open-source-rds-extended-support-disabled";

pub(crate) async fn refusals(
    context: &Context,
    source: &DbInstance,
    settings: &mut Settings,
) -> Result<Vec<String>, Error> {
    let mut warnings = vec![];
    let mut version = None;
    match engine_version(context, source).await {
        Ok(found) => version = Some(found),
        Err(error) => warnings.extend(said("whether RDS still restores the engine version", Err(error))?),
    }
    warnings.extend(said("whether RDS encrypts this class and storage type", orderable(context, source).await)?);
    let support = extended_support(context, settings, version.as_ref()).await;
    warnings.extend(said("the end of the engine's standard support", support)?);
    let authority = certificate_authority(context, settings).await;
    warnings.extend(said("whether the certificate authority is still there", authority)?);
    for (setting, remedy) in [
        ("PerformanceInsightsKMSKeyId", "or switch Performance Insights off at the source"),
        ("MasterUserSecretKmsKeyId", "or have RDS manage the master password under another key"),
    ] {
        let key = usable_key(context, settings, setting, remedy).await;
        warnings.extend(said(&format!("whether {setting} can be used"), key)?);
    }
    Ok(warnings)
}

/// A refusal refuses. What could not be looked for is said: it is safe to go on, since RDS itself refuses what does not
/// work, and what was made is undone.
fn said(what: &str, looked: Result<Option<String>, Error>) -> Result<Option<String>, Error> {
    match looked {
        Err(error @ (Error::SettingNotSupported(_) | Error::EncryptionNotSupported(_) | Error::KeyNotUsable(_))) => {
            Err(error)
        }
        Err(error) => said_unless_passing(what, error).map(Some),
        warning => warning,
    }
}

fn refused(setting: &str, problem: String) -> Error {
    Error::SettingNotSupported(format!("{setting}: {problem}"))
}

/// A retired version is "automatically and immediately upgraded" at a restore (Amazon RDS FAQs), or its snapshot has to
/// be upgraded first (AWS CLI reference, restore-db-instance-from-db-snapshot) [A6]: no twin either way. A custom
/// engine version has to be there, and active.
async fn engine_version(context: &Context, source: &DbInstance) -> Result<DbEngineVersion, Error> {
    let (engine, version) = (source.engine().unwrap_or_default(), source.engine_version().unwrap_or_default());
    let call = context.rds.describe_db_engine_versions().engine(engine).engine_version(version).include_all(true);
    let answer = call.send().await;
    let output = answer.map_err(|error| Error::from_call(format!("read the version {version} of {engine}"), error))?;
    let mut versions = output.db_engine_versions.unwrap_or_default().into_iter();
    let found = versions.find(|found| found.engine_version() == Some(version));
    let status = found.as_ref().map_or("unknown", |found| found.status().unwrap_or("available")).to_owned();
    match found {
        Some(found) if status == "available" => Ok(found),
        found => {
            let targets = found.iter().flat_map(|found| found.valid_upgrade_target());
            let targets: Vec<&str> = targets.filter_map(|target| target.engine_version()).collect();
            let choice = if targets.is_empty() { String::new() } else { format!(" to one of {}", targets.join(", ")) };
            Err(refused(
                "EngineVersion",
                format!(
                    "{engine} {version} is `{status}` to RDS, which would refuse to restore it or upgrade the target \
                     at once; upgrade the source first{choice} (`aws rds modify-db-instance --engine-version … \
                     --apply-immediately`)"
                ),
            ))
        }
    }
}

/// Whether this class and storage type can be ordered for the engine version, as a restore orders them [A5], and
/// encrypted.
async fn orderable(context: &Context, source: &DbInstance) -> Result<Option<String>, Error> {
    let engine = source.engine().unwrap_or_default();
    let version = source.engine_version().unwrap_or_default();
    let class = source.db_instance_class().unwrap_or_default();
    let kind = source.storage_type().unwrap_or_default();
    let what = format!("{engine} {version} on {class}");
    let options = orderable_options(context, source, Some(class)).await?;
    let list = format!("`aws rds describe-orderable-db-instance-options --engine {engine} --engine-version {version}`");
    if options.is_empty() {
        if orderable_options(context, source, None).await?.is_empty() {
            return Ok(Some(format!(
                "RDS does not say whether {what} can be encrypted (it is not offered for new instances any more); the \
                 restore will tell"
            )));
        }
        return Err(refused(
            "DBInstanceClass",
            format!(
                "RDS does not offer {class} for {engine} {version} any more, so that it would refuse the restore; \
                 modify the class of the source first ({list} has those that it offers)"
            ),
        ));
    }
    let same_storage: Vec<_> = options.iter().filter(|option| option.storage_type() == Some(kind)).collect();
    if same_storage.is_empty() {
        return Err(refused(
            "StorageType",
            format!(
                "RDS does not offer {kind} storage for {what} any more, so that it would refuse the restore; modify \
                 the storage type of the source first ({list} has those that it offers)"
            ),
        ));
    }
    if same_storage.iter().any(|option| option.supports_storage_encryption() == Some(true)) {
        return Ok(None);
    }
    Err(Error::EncryptionNotSupported(format!(
        "{what} with {kind} storage cannot be encrypted; modify the DB instance class first ({list} has those with \
         SupportsStorageEncryption)"
    )))
}

/// Those of a class; without one, some of any.
async fn orderable_options(
    context: &Context,
    source: &DbInstance,
    class: Option<&str>,
) -> Result<Vec<OrderableDbInstanceOption>, Error> {
    let engine = source.engine().unwrap_or_default();
    let version = source.engine_version().unwrap_or_default();
    let call = context.rds.describe_orderable_db_instance_options().engine(engine).engine_version(version);
    let answer = match class {
        Some(class) => call.db_instance_class(class).into_paginator().items().send().collect().await,
        None => call.send().await.map(|page| page.orderable_db_instance_options.unwrap_or_default()),
    };
    match answer {
        // "Cannot find version 13.7 for postgres": what RDS answers about a version that it does not offer.
        Err(error) if error.code() == Some("InvalidParameterCombination") => Ok(vec![]),
        answer => answer.map_err(|error| {
            let class = class.map(|class| format!(" on {class}")).unwrap_or_default();
            Error::from_call(format!("ask whether {engine} {version}{class} can be encrypted"), error)
        }),
    }
}

/// "RDS automatically upgrades your restored DB instance to a higher engine version, if the major engine version is
/// past its end of standard support date" (API reference, RestoreDBInstanceFromDBSnapshot, EngineLifecycleSupport).
async fn extended_support(
    context: &Context,
    settings: &Settings,
    version: Option<&DbEngineVersion>,
) -> Result<Option<String>, Error> {
    let support = settings.text("EngineLifecycleSupport");
    let Some(version) = version.filter(|_| support.as_deref() == Some(EXTENDED_SUPPORT_OFF)) else { return Ok(None) };
    let (engine, major) = (version.engine().unwrap_or_default(), version.major_engine_version().unwrap_or_default());
    let call = context.rds.describe_db_major_engine_versions().engine(engine).major_engine_version(major);
    let answer = call.send().await;
    let output = answer.map_err(|error| Error::from_call(format!("read the lifecycle of {engine} {major}"), error))?;
    let lifecycles = output.db_major_engine_versions().iter().flat_map(|major| major.supported_engine_lifecycles());
    let standard = LifecycleSupportName::OpenSourceRdsStandardSupport;
    let mut standard = lifecycles.filter(|lifecycle| lifecycle.lifecycle_support_name() == Some(&standard));
    let is_over = standard.any(|lifecycle| lifecycle.lifecycle_support_end_date().is_some_and(is_past));
    if !is_over {
        return Ok(None);
    }
    Err(refused(
        "EngineLifecycleSupport",
        format!(
            "the standard support of {engine} {major} is over and extended support is off, so that RDS would upgrade \
             the target to another major version at the restore; upgrade the source first, or switch its extended \
             support on, which is charged for (`aws rds modify-db-instance --engine-lifecycle-support \
             open-source-rds-extended-support`)"
        ),
    ))
}

/// CertificateNotFound is what a restore answers about an authority that AWS has withdrawn.
async fn certificate_authority(context: &Context, settings: &Settings) -> Result<Option<String>, Error> {
    let Some(authority) = settings.text("CACertificateIdentifier") else { return Ok(None) };
    let certificates = context.rds.describe_certificates().into_paginator().items().send();
    let certificates: Result<Vec<_>, _> = certificates.collect().await;
    let certificates =
        certificates.map_err(|error| Error::from_call("read the certificate authorities of RDS", error))?;
    let mut same = certificates.iter().filter(|found| found.certificate_identifier() == Some(authority.as_str()));
    if same.any(|found| !found.valid_till().is_some_and(is_past)) {
        return Ok(None);
    }
    Err(refused(
        "CACertificateIdentifier",
        format!(
            "the certificate authority `{authority}` has expired or is gone, so that RDS would refuse the restore; \
             choose a current one for the source first, and see that its clients trust that (`aws rds \
             modify-db-instance --ca-certificate-identifier rds-ca-rsa2048-g1`)"
        ),
    ))
}

/// Whether RDS can encrypt what this setting says under its key. One that AWS manages is the default.
async fn usable_key(
    context: &Context,
    settings: &mut Settings,
    setting: &str,
    remedy: &str,
) -> Result<Option<String>, Error> {
    let Some(key_id) = settings.text(setting) else { return Ok(None) };
    let metadata = key::metadata(context, &key_id).await?;
    let problem = match &metadata {
        None => Some("is gone".to_owned()),
        Some(metadata) => key::problem(metadata),
    };
    if let Some(problem) = problem {
        return Err(Error::KeyNotUsable(format!("{setting}: KMS key {key_id} {problem}, {remedy}")));
    }
    if metadata.is_some_and(|metadata| metadata.key_manager() == Some(&KeyManagerType::Aws)) {
        settings.note_aws_managed(&key_id);
    }
    Ok(None)
}

fn is_past(time: &DateTime) -> bool {
    *time < DateTime::from(SystemTime::now())
}
