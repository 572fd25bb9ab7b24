//! What an instance's own description forbids: the plan refuses it, and a fleet does not even start it.

use aws_sdk_rds::types::DbInstance;

use crate::Settings;
use workflow::Error;
use workflow::encryption::EncryptionClass;

/// Everything that the source's own description decides.
pub fn instance(source: &DbInstance) -> Result<(), Error> {
    let id = source.db_instance_identifier().unwrap_or_default();
    let engine = source.engine().unwrap_or_default();
    let class = EncryptionClass::of(source);
    if class != EncryptionClass::None {
        let key = source.kms_key_id().map(|key| format!(", key {key}")).unwrap_or_default();
        return Err(Error::AlreadyEncrypted(format!("DB instance `{id}` is already {class}{key}; nothing to do")));
    }
    if let Some(cluster) = source.db_cluster_identifier().filter(|cluster| !cluster.is_empty()) {
        return Err(Error::ClusterMember(format!(
            "DB instance `{id}` belongs to the DB cluster `{cluster}`, whose storage is encrypted as a whole: take a \
             cluster snapshot and restore it with a KMS key (restore-db-cluster-from-snapshot --kms-key-id)"
        )));
    }
    let primaries =
        [source.read_replica_source_db_instance_identifier(), source.read_replica_source_db_cluster_identifier()];
    if let Some(primary) = primaries.into_iter().flatten().find(|primary| !primary.is_empty()) {
        return Err(Error::ReadReplica(format!(
            "DB instance `{id}` is a read replica of `{primary}`, and a replica is encrypted exactly if its source is: \
             encrypt `{primary}`, then create the replica anew"
        )));
    }
    // "Limitations of Amazon RDS encrypted DB instances" lists the edition and the classes.
    if engine == "sqlserver-ex" {
        return Err(Error::EncryptionNotSupported(format!(
            "DB instance `{id}` runs SQL Server Express, which cannot be encrypted; move to the Web edition or above"
        )));
    }
    let refused: Vec<String> = Settings::notes(source)
        .into_iter()
        .filter(|note| note.refuse)
        .map(|note| format!("{}: {}", note.field, note.message))
        .collect();
    if !refused.is_empty() {
        return Err(Error::SettingNotSupported(format!("DB instance `{id}`: {}", refused.join("; "))));
    }
    Ok(())
}
