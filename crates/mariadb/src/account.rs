//! The password of the account that the target replicates by.

use sha1::{Digest, Sha1};

/// As `mysql_native_password` stores it, so that the word itself is in no statement that the binary log has.
pub(crate) fn hash(password: &str) -> String {
    let twice = Sha1::digest(Sha1::digest(password));
    format!("*{}", twice.iter().map(|byte| format!("{byte:02X}")).collect::<String>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_password_is_hashed_as_mariadb_does() {
        // MariaDB's manual, PASSWORD().
        assert_eq!(super::hash("notagoodpwd"), "*3A70EE9FC6594F88CE9E959CD51C5A1C002DC937");
    }
}
