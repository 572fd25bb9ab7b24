//! Encrypted means the class, not the boolean.
//!
//! `StorageEncryptionType` (none, sse-rds, sse-kms) is newer than `StorageEncrypted`, which is false
//! for storage encrypted under an AWS-owned key (sse-rds). The class decides where it is given.

use std::fmt;

use aws_sdk_rds::types::{DbInstance, StorageEncryptionType};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EncryptionClass {
    None,
    /// Under a key that AWS owns and no one can name.
    AwsOwnedKey,
    /// Under a KMS key, AWS managed or customer managed.
    KmsKey,
}

impl EncryptionClass {
    pub fn of(instance: &DbInstance) -> Self {
        match instance.storage_encryption_type() {
            Some(StorageEncryptionType::Unencrypted) => Self::None,
            Some(StorageEncryptionType::Sse) => Self::AwsOwnedKey,
            Some(StorageEncryptionType::Cmk) => Self::KmsKey,
            _ if instance.storage_encrypted() == Some(true) => Self::KmsKey,
            _ => Self::None,
        }
    }
}

impl fmt::Display for EncryptionClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "not encrypted",
            Self::AwsOwnedKey => "encrypted under an AWS-owned key (sse-rds)",
            Self::KmsKey => "encrypted under a KMS key (sse-kms)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_outweighs_the_boolean() {
        let aws_owned =
            DbInstance::builder().storage_encrypted(false).storage_encryption_type(StorageEncryptionType::Sse).build();
        assert_eq!(EncryptionClass::of(&aws_owned), EncryptionClass::AwsOwnedKey);
        let old_api = DbInstance::builder().storage_encrypted(true).build();
        assert_eq!(EncryptionClass::of(&old_api), EncryptionClass::KmsKey);
        assert_eq!(EncryptionClass::of(&DbInstance::builder().build()), EncryptionClass::None);
    }
}
