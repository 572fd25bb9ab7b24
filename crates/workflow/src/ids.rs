//! Identifiers, parsed once at the edge, and the names derived from them.
//!
//! Source of the rules: the parameter `DBInstanceIdentifier` of CreateDBInstance (1 to 63 letters,
//! digits or hyphens, a letter first, no trailing and no double hyphen; stored in lower case) and
//! `DBSnapshotIdentifier` of CreateDBSnapshot (the same, up to 255) and `BlueGreenDeploymentName` of
//! CreateBlueGreenDeployment (the same, up to 60).

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::arn::Arn;

const INSTANCE_ID_MAX_LENGTH: usize = 63;
const SNAPSHOT_ID_MAX_LENGTH: usize = 255;
const DEPLOYMENT_NAME_MAX_LENGTH: usize = 60;

macro_rules! identifier {
    ($name:ident, $max_length:expr, $what:literal) => {
        #[doc = concat!("A legal ", $what, " identifier, in lower case.")]
        #[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The problem is a sentence without the value's field name.
            pub fn parse(text: &str) -> Result<Self, String> {
                check(text, $max_length, $what)?;
                Ok(Self(text.to_owned()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

identifier!(InstanceId, INSTANCE_ID_MAX_LENGTH, "DB instance");
identifier!(SnapshotId, SNAPSHOT_ID_MAX_LENGTH, "DB snapshot");
identifier!(DeploymentName, DEPLOYMENT_NAME_MAX_LENGTH, "blue/green deployment");

impl InstanceId {
    /// The name in the ARN of a DB instance.
    pub fn of_arn(arn: &str) -> Option<Self> {
        Self::parse(Arn::parse(arn)?.name_of("rds", "db")?).ok()
    }
}

impl DeploymentName {
    /// Of the deployment that encrypts this source.
    pub fn derive(source: &InstanceId) -> Self {
        Self(with_suffix(source, "-encrypted", DEPLOYMENT_NAME_MAX_LENGTH))
    }
}

fn check(text: &str, max_length: usize, what: &str) -> Result<(), String> {
    let shown: String = text.chars().take(80).collect();
    let problem = if text.is_empty() {
        "is empty".to_owned()
    } else if text.chars().count() > max_length {
        format!("has {} characters, a {what} identifier has at most {max_length}", text.chars().count())
    } else if text.chars().any(|character| character.is_ascii_uppercase()) {
        format!("`{shown}` has upper-case letters; RDS stores identifiers in lower case: `{}`", shown.to_lowercase())
    } else if let Some(other) = text.chars().find(|c| !c.is_ascii_lowercase() && !c.is_ascii_digit() && *c != '-') {
        format!("`{shown}` has {other:?}; a {what} identifier consists of letters, digits and hyphens")
    } else if !text.starts_with(|character: char| character.is_ascii_lowercase()) {
        format!("`{shown}` does not begin with a letter")
    } else if text.ends_with('-') || text.contains("--") {
        format!("`{shown}` ends with a hyphen or has two in a row")
    } else {
        return Ok(());
    };
    Err(problem)
}

/// How an input may name the DB instance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InstanceReference {
    Id(InstanceId),
    /// `arn:<partition>:rds:<region>:<account>:db:<id>`
    Arn {
        region: String,
        account: String,
        id: InstanceId,
    },
    /// `db-…`, which stays with the instance whatever it is called. It is told from an identifier by
    /// its upper-case letters: RDS's resource ids are `db-` and 26 upper-case letters and digits.
    ResourceId(String),
}

impl InstanceReference {
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("arn:") {
            let instance = Arn::parse(text).and_then(|arn| Some((arn, arn.name_of("rds", "db")?)));
            let (arn, id) =
                instance.ok_or("is not the ARN of a DB instance (arn:aws:rds:<region>:<account>:db:<identifier>)")?;
            return Ok(Self::Arn {
                region: arn.region.to_owned(),
                account: arn.account.to_owned(),
                id: InstanceId::parse(id)?,
            });
        }
        let resource_part = text.strip_prefix("db-").filter(|rest| {
            rest.len() >= 10
                && rest.chars().any(|character| character.is_ascii_uppercase())
                && rest.chars().all(|character| character.is_ascii_uppercase() || character.is_ascii_digit())
        });
        match resource_part {
            Some(_) => Ok(Self::ResourceId(text.to_owned())),
            None => InstanceId::parse(text).map(Self::Id),
        }
    }
}

/// The names of everything that one execution creates. They follow from the source's and the
/// target's identifiers alone, so every step, every repeat and the undo know them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    pub no_encrypted_snapshot_id: SnapshotId,
    pub encrypted_snapshot_id: SnapshotId,
    pub encrypted_instance_id: InstanceId,
    /// What a cutover renames the source to.
    pub unencrypted_instance_id: InstanceId,
}

impl Names {
    /// `target`: the asked `target_instance_id`. Then the snapshots are named after it, so that a
    /// rehearsal and the real run can stand side by side.
    pub fn derive(source: &InstanceId, target: Option<&InstanceId>) -> Self {
        let base = target.unwrap_or(source).as_str();
        Self {
            no_encrypted_snapshot_id: SnapshotId(format!("{base}-no-encrypted")),
            encrypted_snapshot_id: SnapshotId(format!("{base}-encrypted")),
            encrypted_instance_id: target.cloned().unwrap_or_else(|| instance_with_suffix(source, "-encrypted")),
            unencrypted_instance_id: instance_with_suffix(source, "-unencrypted"),
        }
    }
}

fn instance_with_suffix(id: &InstanceId, suffix: &str) -> InstanceId {
    InstanceId(with_suffix(id, suffix, INSTANCE_ID_MAX_LENGTH))
}

/// Appends `suffix`; an identifier that would get too long is cut, and a hash of the whole one keeps
/// two long identifiers with a common beginning apart.
fn with_suffix(id: &InstanceId, suffix: &str, max_length: usize) -> String {
    let id = id.as_str();
    if id.len() + suffix.len() <= max_length {
        return format!("{id}{suffix}");
    }
    let hash: String = Sha256::digest(id).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let kept = &id[..max_length - suffix.len() - hash.len() - 1];
    format!("{}-{hash}{suffix}", kept.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn legal_id() -> impl Strategy<Value = InstanceId> {
        "[a-z](-?[a-z0-9]){0,62}".prop_filter_map("legal", |text| InstanceId::parse(&text).ok())
    }

    #[test]
    fn the_names_are_the_references() {
        let names = Names::derive(&InstanceId::parse("soa-04-005").expect("legal"), None);
        assert_eq!(names.no_encrypted_snapshot_id.as_str(), "soa-04-005-no-encrypted");
        assert_eq!(names.encrypted_snapshot_id.as_str(), "soa-04-005-encrypted");
        assert_eq!(names.encrypted_instance_id.as_str(), "soa-04-005-encrypted");
    }

    #[test]
    fn an_illegal_identifier_is_refused_with_its_problem() {
        for (text, problem) in [
            ("", "empty"),
            ("Orders", "`orders`"),
            ("1orders", "letter"),
            ("orders-", "hyphen"),
            ("or--ders", "hyphen"),
            ("orders_1", "'_'"),
            ("bestellungen-ü", "'ü'"),
            (&"a".repeat(64), "64 characters"),
        ] {
            let said = InstanceId::parse(text).expect_err(text);
            assert!(said.contains(problem), "{text}: {said}");
        }
    }

    #[test]
    fn an_arn_and_a_resource_id_are_told_from_an_identifier() {
        let arn = InstanceReference::parse("arn:aws:rds:eu-west-1:123456789012:db:orders");
        assert!(matches!(arn, Ok(InstanceReference::Arn { ref id, .. }) if id.as_str() == "orders"), "{arn:?}");
        let resource = InstanceReference::parse("db-ABCDEFGHIJKLMNOPQRSTUVWX12");
        assert!(matches!(resource, Ok(InstanceReference::ResourceId(_))), "{resource:?}");
        assert!(matches!(InstanceReference::parse("db-orders"), Ok(InstanceReference::Id(_))));
        assert!(InstanceReference::parse("arn:aws:rds:eu-west-1:123456789012:cluster:orders").is_err());
    }

    proptest! {
        #[test]
        fn derived_names_are_legal_distinct_and_stable(id in legal_id(), other in legal_id()) {
            let names = Names::derive(&id, None);
            prop_assert!(InstanceId::parse(names.encrypted_instance_id.as_str()).is_ok());
            prop_assert!(InstanceId::parse(names.unencrypted_instance_id.as_str()).is_ok());
            prop_assert!(SnapshotId::parse(names.no_encrypted_snapshot_id.as_str()).is_ok());
            prop_assert!(SnapshotId::parse(names.encrypted_snapshot_id.as_str()).is_ok());
            prop_assert_ne!(&names.no_encrypted_snapshot_id, &names.encrypted_snapshot_id);
            prop_assert_ne!(&names.encrypted_instance_id, &id);
            prop_assert_ne!(&names.unencrypted_instance_id, &id);
            prop_assert_ne!(&names.unencrypted_instance_id, &names.encrypted_instance_id);
            prop_assert_eq!(&names, &Names::derive(&id, None));
            prop_assert!(DeploymentName::parse(DeploymentName::derive(&id).as_str()).is_ok());
            if id != other {
                prop_assert_ne!(names.encrypted_instance_id, Names::derive(&other, None).encrypted_instance_id);
                prop_assert_ne!(DeploymentName::derive(&id), DeploymentName::derive(&other));
            }
        }

        #[test]
        fn parsing_never_panics(text in "\\PC*") {
            let _ = InstanceReference::parse(&text);
        }
    }
}
