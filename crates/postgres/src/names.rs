//! What replication makes in the databases, named by the execution that made it.

pub use databases::{Client, Database};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use workflow::online::token;

/// Where databases are counted and fenced from, and nobody's rows may be.
pub const MAINTENANCE: &str = "postgres";

/// The names of one execution.
pub struct Names {
    base: String,
}

impl Names {
    /// `execution`: whose tag the resources of the run bear.
    pub fn of(execution: &str) -> Self {
        Self { base: format!("rds_encrypt_{}", token(execution)) }
    }

    /// Of the publication, the subscription, the role, and the schema of the marker and of AWS DMS's own tables.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn marker(&self) -> String {
        format!("{}.marker", self.base)
    }

    /// What was taken off a target for the time being.
    pub fn definitions(&self) -> String {
        format!("{}.definition", self.base)
    }

    /// Of a replication slot, whose name is the whole server's. RDS keeps those that begin with `rds` to itself [A110].
    pub fn slot(&self, database: &Database) -> String {
        format!("{}_{}", self.base.trim_start_matches("rds_"), database.oid)
    }

    /// Of the publication of the keys that change while rows are compared.
    pub fn comparison(&self) -> String {
        format!("{}_compared", self.base)
    }

    /// Of the slot that tells them.
    pub fn comparison_slot(&self, database: &Database) -> String {
        format!("{}_compared", self.slot(database))
    }

    /// How far each table was compared.
    pub fn compared(&self) -> String {
        format!("{}.compared", self.base)
    }

    /// The keys of rows that are to be compared again.
    pub fn changed(&self) -> String {
        format!("{}.changed", self.base)
    }

    /// All slots of ours in a server.
    pub fn slots(&self, databases: &[Database]) -> Vec<String> {
        databases.iter().flat_map(|database| [self.slot(database), self.comparison_slot(database)]).collect()
    }

    /// Of the role that AWS DMS logs in by. It follows from the login's own, so that it need not be kept.
    pub fn password(&self, login_password: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(login_password.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(self.base.as_bytes());
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// An identifier, as SQL takes it.
pub fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// A string, as SQL takes it where no parameter can stand.
pub fn literal(text: &str) -> String {
    // E'' whatever standard_conforming_strings says.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_by_execution_and_fit_into_postgresqls_limit() {
        let database = Database {
            name: "app".into(),
            oid: u32::MAX,
            connection_limit: -1,
            clients: vec![],
            schema_hash: String::new(),
        };
        let (one, two) = (Names::of("arn:one"), Names::of("arn:two"));
        assert_ne!(one.slot(&database), two.slot(&database));
        for slot in one.slots(&[database]) {
            assert!(slot.len() < 64, "{slot}");
            assert!(!slot.starts_with("rds"), "{slot}");
            assert!(slot.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'));
        }
    }

    #[test]
    fn the_password_follows_from_the_login_and_the_execution_alone() {
        let names = Names::of("arn:one");
        assert_eq!(names.password("secret"), Names::of("arn:one").password("secret"));
        assert_ne!(names.password("secret"), names.password("other"));
        assert_ne!(names.password("secret"), Names::of("arn:two").password("secret"));
    }

    #[test]
    fn quoting_survives_every_character() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's \\ here"), "E'it''s \\\\ here'");
    }
}
