//! The rows of two servers, side by side.

use serde::{Deserialize, Serialize};
use workflow::Error;

use crate::{Session, catalog, failed};

/// What was compared, and found equal.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Compared {
    pub tables: usize,
    pub rows: i64,
}

/// Counts and hashes of all rows of one database. The hash is of the rows' text under the settings that every
/// session of ours has: unlike a hash of the values it tells 1.0 from 1.00, and takes every type.
pub async fn whole(database: &str, source: &Session, target: &Session) -> Result<Compared, Error> {
    let tables = catalog::tables_with_rows(source).await?;
    let mut compared = Compared { tables: tables.len(), rows: 0 };
    for table in &tables {
        let (of_source, of_target) = tokio::try_join!(digest(source, table), digest(target, table))?;
        if of_source != of_target {
            return Err(Error::DataDiffers(format!(
                "database `{database}`, table {table}: {} rows in the source and {} in the target{}",
                of_source.0,
                of_target.0,
                if of_source.0 == of_target.0 { ", of other contents" } else { "" }
            )));
        }
        compared.rows += of_source.0;
    }
    Ok(compared)
}

/// A column that has the alias's name would be read in the place of the whole row.
fn digest_of(table: &str) -> String {
    format!(
        "SELECT count(*), sum(hashtextextended(rds_encrypt_row.*::text, 0))::text FROM ONLY {table} AS rds_encrypt_row"
    )
}

async fn digest(session: &Session, table: &str) -> Result<(i64, Option<String>), Error> {
    let statement = digest_of(table);
    let row = session.query_one(&statement, &[]).await.map_err(failed(format!("read {table}")))?;
    Ok((row.get(0), row.get(1)))
}
