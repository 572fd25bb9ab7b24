//! Tables, and their rows on two servers side by side: counted and hashed in chunks of a key.

use std::collections::{BTreeMap, BTreeSet};

use databases::{Chunk, Key, rows_a_chunk};
use workflow::Error;

use crate::names::{literal, quoted};
use crate::{Session, failed};

/// Keys that a difference names.
const KEYS_NAMED: usize = 3;

/// A table with rows, and by what these are told apart.
#[derive(Clone, Debug)]
pub struct Table {
    /// As SQL takes it.
    pub name: String,
    pub oid: u32,
    /// The columns of its replica identity's index, or of its primary key. Without, it is compared as a whole, and must
    /// not be published either.
    pub key: Vec<Column>,
    /// Of the names, types and collations of all columns.
    pub columns_hash: String,
    /// REPLICA IDENTITY FULL: a publication must have all of its columns.
    pub has_whole_identity: bool,
    /// By PostgreSQL's own estimate.
    pub rows: i64,
    pub bytes: i64,
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    /// As SQL takes it.
    pub type_name: String,
}

/// A database on both servers.
pub(crate) struct Sides<'a> {
    pub(crate) database: &'a str,
    pub(crate) source: &'a Session,
    pub(crate) target: &'a Session,
}

impl Sides<'_> {
    /// What comes behind that key.
    pub(crate) async fn compare_chunk(&self, table: &Table, after: Option<&Key>) -> Result<Chunk, Error> {
        let mut condition =
            after.map_or("true".to_owned(), |key| format!("{} > {}", table.columns(), table.values(key)));
        let end = self.key_at(table, &condition, rows_a_chunk(table.rows, table.bytes)).await?;
        if let Some(end) = &end {
            condition += &format!(" AND {} <= {}", table.columns(), table.values(end));
        }
        let digest = |side| digest(side, &table.name, &condition);
        let (of_source, of_target) = tokio::try_join!(digest(self.source), digest(self.target))?;
        Ok(Chunk { end, rows: of_source.0, rows_of_target: of_target.0, is_equal: of_source == of_target, condition })
    }

    /// The n-th row's, in the order of the key.
    pub(crate) async fn key_at(&self, table: &Table, condition: &str, number: i64) -> Result<Option<Key>, Error> {
        let statement = format!(
            "SELECT {} FROM ONLY {} AS rds_encrypt_row WHERE {condition} ORDER BY {} OFFSET {} LIMIT 1",
            table.key_texts(),
            table.name,
            table.column_list(),
            number - 1
        );
        let row = self.source.query_opt(&statement, &[]).await.map_err(failed(format!("read {}", table.name)))?;
        Ok(row.map(|row| row.get(0)))
    }

    /// The keys of rows that only one side has, or that differ.
    pub(crate) async fn differing(&self, table: &Table, condition: &str) -> Result<BTreeSet<Key>, Error> {
        let rows = |side| hashes(side, table, condition);
        let (of_source, of_target) = tokio::try_join!(rows(self.source), rows(self.target))?;
        let differ = |key: &&Key| of_source.get(*key) != of_target.get(*key);
        Ok(of_source.keys().chain(of_target.keys()).filter(differ).cloned().collect())
    }

    pub(crate) async fn compare_whole(&self, table: &Table) -> Result<i64, Error> {
        let digest = |side| digest(side, &table.name, "true");
        let (of_source, of_target) = tokio::try_join!(digest(self.source), digest(self.target))?;
        if of_source == of_target {
            return Ok(of_source.0);
        }
        Err(Error::DataDiffers(format!(
            "database `{}`, table {}: {} rows in the source and {} in the target{}",
            self.database,
            table.name,
            of_source.0,
            of_target.0,
            if of_source.0 == of_target.0 { ", of other contents" } else { "" }
        )))
    }

    pub(crate) fn differs<'k>(&self, table: &Table, keys: impl Iterator<Item = &'k Key>) -> Error {
        let keys: Vec<&Key> = keys.collect();
        let named: Vec<String> = keys.iter().take(KEYS_NAMED).map(|key| format!("({})", key.join(", "))).collect();
        let more = if keys.len() > KEYS_NAMED { ", …" } else { "" };
        Error::DataDiffers(format!(
            "database `{}`, table {}: {} rows are not as in the source, with the keys {}{more}",
            self.database,
            table.name,
            keys.len(),
            named.join(", ")
        ))
    }
}

impl Table {
    /// What a publication of keys has of it.
    pub(crate) fn published(&self) -> String {
        // Who inherits from it has a key, and an entry, of its own.
        if self.has_whole_identity {
            return format!("ONLY {}", self.name);
        }
        let columns: Vec<String> = self.key.iter().map(|column| quoted(&column.name)).collect();
        format!("ONLY {} ({})", self.name, columns.join(", "))
    }

    fn column_list(&self) -> String {
        let columns: Vec<String> =
            self.key.iter().map(|column| format!("rds_encrypt_row.{}", quoted(&column.name))).collect();
        columns.join(", ")
    }

    pub(crate) fn columns(&self) -> String {
        format!("({})", self.column_list())
    }

    /// As pgoutput writes them: by the types' own output, which is not always what a cast to text gives.
    fn key_texts(&self) -> String {
        let texts: Vec<String> =
            self.key.iter().map(|column| format!("format('%s', rds_encrypt_row.{})", quoted(&column.name))).collect();
        format!("ARRAY[{}]", texts.join(", "))
    }

    pub(crate) fn values(&self, key: &Key) -> String {
        let values: Vec<String> = self
            .key
            .iter()
            .zip(key)
            .map(|(column, value)| format!("{}::{}", literal(value), column.type_name))
            .collect();
        format!("({})", values.join(", "))
    }
}

/// How many rows there are, and a hash of them: of the rows' text under the settings that every session of ours has.
/// Unlike a hash of the values it tells 1.0 from 1.00, and takes every type. A column that has the alias's name would
/// be read in the place of the whole row.
async fn digest(session: &Session, table: &str, condition: &str) -> Result<(i64, Option<String>), Error> {
    let statement = format!(
        "SELECT count(*), sum(hashtextextended(rds_encrypt_row.*::text, 0))::text
         FROM ONLY {table} AS rds_encrypt_row WHERE {condition}"
    );
    let row = session.query_one(&statement, &[]).await.map_err(failed(format!("read {table}")))?;
    Ok((row.get(0), row.get(1)))
}

/// The same row by row.
async fn hashes(session: &Session, table: &Table, condition: &str) -> Result<BTreeMap<Key, i64>, Error> {
    let statement = format!(
        "SELECT {}, hashtextextended(rds_encrypt_row.*::text, 0) FROM ONLY {} AS rds_encrypt_row WHERE {condition}",
        table.key_texts(),
        table.name
    );
    let rows = session.query(&statement, &[]).await.map_err(failed(format!("read {}", table.name)))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let key = [("a \"b\"", "character(9)"), ("c", "integer")]
            .map(|(name, type_name)| Column { name: name.to_owned(), type_name: type_name.to_owned() });
        Table {
            name: "public.t".to_owned(),
            oid: 1,
            key: key.into(),
            columns_hash: String::new(),
            has_whole_identity: false,
            rows: 0,
            bytes: 0,
        }
    }

    #[test]
    fn a_key_is_published_alone_and_compared_in_its_types() {
        let table = table();
        assert_eq!(table.published(), r#"ONLY public.t ("a ""b""", "c")"#);
        assert_eq!(Table { has_whole_identity: true, ..table.clone() }.published(), "ONLY public.t");
        let key = vec!["it's".to_owned(), "7".to_owned()];
        assert_eq!(table.values(&key), "(E'it''s'::character(9), E'7'::integer)");
    }
}
