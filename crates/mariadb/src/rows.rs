//! Tables, and their rows on two servers side by side: counted and hashed in chunks of a key.

use std::collections::{BTreeMap, BTreeSet};

use databases::{Chunk, rows_a_chunk};
use workflow::Error;

use crate::{Session, literal, quoted};

/// Keys that a difference names.
const KEYS_NAMED: usize = 3;

#[derive(Clone, Debug)]
pub struct Table {
    pub schema: String,
    pub name: String,
    /// A SEQUENCE of MariaDB's is a table of one row.
    pub is_sequence: bool,
    /// By InnoDB's own estimate.
    pub rows: i64,
    pub bytes: i64,
    /// All but those that are computed when they are read.
    pub columns: Vec<Column>,
    /// Of its primary key, each with its place there. Without, it is compared as a whole.
    pub key: Vec<(u64, Key)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    /// MariaDB's word for it, without its length.
    pub type_name: String,
    /// Its whole type, and its collation.
    pub definition: String,
}

/// A column of a primary key.
#[derive(Clone, Debug)]
pub struct Key {
    pub column: String,
    /// Among the table's columns, from 0.
    pub position: usize,
    /// `None` is one that is not told apart here.
    pub kind: Option<Kind>,
}

/// How the binary log and a query tell the value of a column of a key: as a text that `literal` takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    /// In decimal digits, without the zeros of ZEROFILL.
    Integer { bits: u32, is_unsigned: bool },
    /// In hexadecimal digits, of the column's own character set.
    Text { character_set: String },
    /// In hexadecimal digits, with the zeros at the end of a BINARY column, which the log leaves out.
    Bytes { length: Option<usize> },
    /// `2026-11-30`
    Date,
    /// `2026-11-30 01:02:03.000000`, however exact it is.
    DateTime,
}

/// The texts of a key's columns.
pub(crate) type Values = databases::Key;

impl Kind {
    pub(crate) fn of(
        type_name: &str,
        full_type: &str,
        character_set: Option<String>,
        octets: Option<u64>,
    ) -> Option<Self> {
        let bits = match type_name {
            "tinyint" => 8,
            "smallint" => 16,
            "mediumint" => 24,
            "int" => 32,
            "bigint" => 64,
            "char" | "varchar" => return character_set.map(|character_set| Self::Text { character_set }),
            "varbinary" => return Some(Self::Bytes { length: None }),
            "binary" => return Some(Self::Bytes { length: octets.and_then(|octets| octets.try_into().ok()) }),
            "date" => return Some(Self::Date),
            "datetime" => return Some(Self::DateTime),
            _ => return None,
        };
        Some(Self::Integer { bits, is_unsigned: full_type.contains("unsigned") })
    }

    /// The text of it, as a query tells it.
    fn text(&self, column: &str) -> String {
        match self {
            Self::Integer { .. } => format!("CAST({column} + 0 AS CHAR)"),
            Self::Date => format!("CAST({column} AS CHAR)"),
            Self::DateTime => format!("DATE_FORMAT({column}, '%Y-%m-%d %H:%i:%s.%f')"),
            Self::Text { .. } | Self::Bytes { .. } => format!("HEX({column})"),
        }
    }

    fn literal(&self, value: &str) -> String {
        match self {
            Self::Integer { .. } => value.to_owned(),
            Self::Date | Self::DateTime => literal(value),
            Self::Text { character_set } => format!("_{character_set} x'{value}'"),
            Self::Bytes { .. } => format!("x'{value}'"),
        }
    }
}

impl Table {
    /// As SQL takes it.
    pub fn path(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }

    fn keys(&self) -> impl Iterator<Item = (String, &Kind)> {
        self.key.iter().filter_map(|(_, key)| Some((quoted(&key.column), key.kind.as_ref()?)))
    }

    fn key_columns(&self) -> String {
        self.keys().map(|(column, _)| column).collect::<Vec<_>>().join(", ")
    }

    fn key_texts(&self) -> String {
        self.keys().map(|(column, kind)| kind.text(&column)).collect::<Vec<_>>().join(", ")
    }

    /// The rows behind that key, or up to it: in a form of which MariaDB makes a range of the index.
    fn beside(&self, values: &Values, comparison: &str) -> String {
        let strict = &comparison[..1];
        let mut alternatives = vec![];
        let mut equal = String::new();
        let keys: Vec<_> = self.keys().zip(values).collect();
        for (place, ((column, kind), value)) in keys.iter().enumerate() {
            let value = kind.literal(value);
            let operator = if place + 1 == keys.len() { comparison } else { strict };
            alternatives.push(format!("({equal}{column} {operator} {value})"));
            equal += &format!("{column} = {value} AND ");
        }
        let ((first, kind), value) = &keys[0];
        format!("{first} {strict}= {} AND ({})", kind.literal(value), alternatives.join(" OR "))
    }

    /// The rows of these keys.
    pub(crate) fn among(&self, keys: &[Values]) -> String {
        let tuples: Vec<String> = keys
            .iter()
            .map(|values| {
                let values: Vec<String> =
                    self.keys().zip(values).map(|((_, kind), value)| kind.literal(value)).collect();
                format!("({})", values.join(", "))
            })
            .collect();
        format!("({}) IN ({})", self.key_columns(), tuples.join(", "))
    }

    /// A hash of a row. Long values go in by a hash of their own, since MariaDB answers NULL for a text that is longer
    /// than `max_allowed_packet`.
    fn row_hash(&self) -> String {
        let parts: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let name = quoted(&column.name);
                let text = match column.type_name.as_str() {
                    // As text a float has six digits.
                    "float" | "double" => format!("CAST({name} AS DOUBLE)"),
                    "bit" | "enum" | "set" | "year" => format!("({name} + 0)"),
                    "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "date" | "datetime"
                    | "timestamp" | "time" | "uuid" | "inet4" | "inet6" => format!("CAST({name} AS CHAR)"),
                    // Characters, bytes, JSON, geometry.
                    _ => format!("MD5({name})"),
                };
                format!("COALESCE(CONCAT(LENGTH({text}), ':', {text}), '-')")
            })
            .collect();
        format!("MD5(CONCAT({}))", parts.join(", "))
    }
}

/// Both servers.
pub(crate) struct Sides<'a> {
    pub(crate) source: &'a mut Session,
    pub(crate) target: &'a mut Session,
}

impl Sides<'_> {
    /// What comes behind that key.
    pub(crate) async fn compare_chunk(&mut self, table: &Table, after: Option<&Values>) -> Result<Chunk, Error> {
        let mut condition = after.map_or("TRUE".to_owned(), |values| table.beside(values, ">"));
        let end = self.key_at(table, &condition, rows_a_chunk(table.rows, table.bytes)).await?;
        if let Some(end) = &end {
            condition += &format!(" AND {}", table.beside(end, "<="));
        }
        let (of_source, of_target) =
            tokio::try_join!(digest(self.source, table, &condition), digest(self.target, table, &condition))?;
        Ok(Chunk { end, rows: of_source.0, rows_of_target: of_target.0, is_equal: of_source == of_target, condition })
    }

    /// The n-th row's, in the order of the key.
    pub(crate) async fn key_at(
        &mut self,
        table: &Table,
        condition: &str,
        number: i64,
    ) -> Result<Option<Values>, Error> {
        let statement = format!(
            "SELECT CONCAT_WS('{SEPARATOR}', {}) FROM {} WHERE {condition} ORDER BY {} LIMIT 1 OFFSET {}",
            table.key_texts(),
            table.path(),
            table.key_columns(),
            number - 1
        );
        let texts: Option<String> = self.source.row(&reading(table), statement).await?;
        Ok(texts.map(|texts| values_of(table, &texts)))
    }

    /// The keys of rows that only one side has, or that differ.
    pub(crate) async fn differing(&mut self, table: &Table, condition: &str) -> Result<BTreeSet<Values>, Error> {
        let (of_source, of_target) =
            tokio::try_join!(hashes(self.source, table, condition), hashes(self.target, table, condition))?;
        let differ = |key: &&Values| of_source.get(*key) != of_target.get(*key);
        Ok(of_source.keys().chain(of_target.keys()).filter(differ).cloned().collect())
    }

    pub(crate) async fn compare_whole(&mut self, table: &Table) -> Result<i64, Error> {
        let (of_source, of_target) =
            tokio::try_join!(digest(self.source, table, "TRUE"), digest(self.target, table, "TRUE"))?;
        if of_source == of_target {
            return Ok(of_source.0);
        }
        Err(Error::DataDiffers(format!(
            "table {}: {} rows in the source and {} in the target{}",
            table.path(),
            of_source.0,
            of_target.0,
            if of_source.0 == of_target.0 { ", of other contents" } else { "" }
        )))
    }
}

pub(crate) fn differs<'k>(table: &Table, keys: impl Iterator<Item = &'k Values>) -> Error {
    let keys: Vec<&Values> = keys.collect();
    let named: Vec<String> = keys.iter().take(KEYS_NAMED).map(|values| table.among(&[(*values).clone()])).collect();
    let more = if keys.len() > KEYS_NAMED { ", …" } else { "" };
    Error::DataDiffers(format!(
        "table {}: {} rows are not as in the source, where {}{more}",
        table.path(),
        keys.len(),
        named.join(", ")
    ))
}

fn reading(table: &Table) -> String {
    format!("read {}", table.path())
}

/// As a query joins them.
fn values_of(table: &Table, texts: &str) -> Values {
    match table.key.len() {
        1 => vec![texts.to_owned()],
        _ => texts.split(SEPARATOR).map(str::to_owned).collect(),
    }
}

/// How many rows there are, and a hash of them, which does not depend on their order.
async fn digest(session: &mut Session, table: &Table, condition: &str) -> Result<(i64, Option<String>), Error> {
    let statement = format!(
        "SELECT COUNT(*), CAST(SUM(CAST(CONV(LEFT(hash, 16), 16, 10) AS UNSIGNED)) AS CHAR)
         FROM (SELECT {} AS hash FROM {} WHERE {condition}) AS hashed",
        table.row_hash(),
        table.path()
    );
    session.one(&reading(table), statement).await
}

/// The same row by row.
async fn hashes(session: &mut Session, table: &Table, condition: &str) -> Result<BTreeMap<Values, String>, Error> {
    let statement = format!(
        "SELECT CONCAT_WS('{SEPARATOR}', {}), {} FROM {} WHERE {condition}",
        table.key_texts(),
        table.row_hash(),
        table.path()
    );
    let rows: Vec<(String, String)> = session.rows(&reading(table), statement).await?;
    Ok(rows.into_iter().map(|(key, hash)| (values_of(table, &key), hash)).collect())
}

/// In no text of a key.
const SEPARATOR: char = '|';
