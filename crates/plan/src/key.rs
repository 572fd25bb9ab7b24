//! The KMS key: found, usable for RDS, and pinned by its ARN.

use aws_sdk_kms::types::{KeyManagerType, KeyMetadata, KeySpec, KeyState, KeyUsageType};
use workflow::Error;
use workflow::arn::Arn;

use crate::Context;

pub(crate) struct Key {
    pub(crate) arn: String,
    /// `AWS managed` or `customer managed`.
    pub(crate) manager: &'static str,
}

pub(crate) async fn usable(context: &Context, key_id: &str) -> Result<Key, Error> {
    if let Some(region) = Arn::parse(key_id).map(|arn| arn.region).filter(|region| *region != context.region) {
        return Err(Error::KeyNotUsable(format!(
            "KMS key {key_id} is in Region {region}, but RDS in {} needs a key of its own Region (kms_key_id)",
            context.region
        )));
    }
    // Makes `alias/aws/rds` in a Region that never used it [A15].
    let metadata = metadata(context, key_id).await?.ok_or_else(|| {
        Error::KeyNotUsable(format!(
            "there is no KMS key {key_id} in {}; check kms_key_id (an alias is written alias/<name>)",
            context.region
        ))
    })?;
    if let Some(problem) = problem(&metadata) {
        return Err(Error::KeyNotUsable(format!("KMS key {key_id} {problem}")));
    }
    Ok(Key {
        arn: metadata.arn().unwrap_or_default().to_owned(),
        manager: match metadata.key_manager() {
            Some(KeyManagerType::Aws) => "AWS managed",
            _ => "customer managed",
        },
    })
}

/// What KMS says of a key, if it is there.
pub(crate) async fn metadata(context: &Context, key_id: &str) -> Result<Option<KeyMetadata>, Error> {
    match context.kms.describe_key().key_id(key_id).send().await {
        Ok(output) => Ok(output.key_metadata),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(|error| error.is_not_found_exception() || error.is_invalid_arn_exception()) =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::from_call(format!("describe KMS key {key_id}"), error)),
    }
}

/// What keeps RDS from encrypting under the key ("Encrypting Amazon RDS resources": a symmetric
/// encryption key; "Key states of AWS KMS keys": only an enabled key can be used).
pub(crate) fn problem(key: &KeyMetadata) -> Option<String> {
    if key.key_usage() != Some(&KeyUsageType::EncryptDecrypt) {
        let usage = key.key_usage().map_or("unknown", KeyUsageType::as_str);
        return Some(format!("has the usage {usage}; RDS needs a key for ENCRYPT_DECRYPT"));
    }
    if key.key_spec() != Some(&KeySpec::SymmetricDefault) {
        let spec = key.key_spec().map_or("unknown", KeySpec::as_str);
        return Some(format!("is asymmetric ({spec}); RDS needs a symmetric one"));
    }
    match key.key_state() {
        Some(KeyState::Enabled) => None,
        Some(KeyState::Disabled) => Some("is disabled; enable it with `aws kms enable-key`".to_owned()),
        Some(KeyState::PendingDeletion) => {
            Some("is about to be deleted; keep it with `aws kms cancel-key-deletion`, then enable it".to_owned())
        }
        state => {
            let state = state.map_or("unknown", KeyState::as_str);
            Some(format!("is in the state {state}; RDS needs an enabled key"))
        }
    }
}
