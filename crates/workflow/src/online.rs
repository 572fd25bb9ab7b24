//! What the steps of the way online share that log in to no database.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::arn::Arn;
use crate::error::{Error, invalid};

/// The oldest major version of PostgreSQL with which replication was tried.
pub const OLDEST_MAJOR_VERSION: u16 = 16;

/// The series of MariaDB with which it was tried.
pub const MARIADB_SERIES: &str = "10.11";

/// What the functions may read are secrets whose names begin so, and what they may log in as are users.
const SECRETS: &str = "rds-encrypt/";
const USERS: &str = "rds_encrypt_";
/// Longer than any that AWS gives out.
const ARN_LENGTH_MAX: usize = 512;
/// Of an identifier (PostgreSQL: NAMEDATALEN - 1).
const USER_LENGTH_MAX: usize = 63;

/// How the functions log in to the databases; in the state as both fields, one of them `null`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub enum Login {
    /// With what Secrets Manager holds: `username` and `password`.
    SecretArn(String),
    /// Under that name, by a token of IAM.
    IamUser(String),
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    secret_arn: Option<String>,
    iam_user: Option<String>,
}

impl TryFrom<Fields> for Login {
    type Error = Error;
    fn try_from(fields: Fields) -> Result<Self, Error> {
        Self::parse(fields.secret_arn.as_deref(), fields.iam_user.as_deref())
    }
}

impl From<Login> for Fields {
    fn from(login: Login) -> Self {
        match login {
            Login::SecretArn(arn) => Self { secret_arn: Some(arn), iam_user: None },
            Login::IamUser(user) => Self { secret_arn: None, iam_user: Some(user) },
        }
    }
}

impl Login {
    /// From the two fields of an input.
    pub fn parse(secret_arn: Option<&str>, iam_user: Option<&str>) -> Result<Self, Error> {
        let (field, checked) = match (secret_arn, iam_user) {
            (Some(arn), None) => ("database_secret_arn", secret(arn)),
            (None, Some(user)) => ("database_iam_user", user_of_iam(user)),
            (Some(_), Some(_)) => {
                ("database_iam_user", Err("is another login than database_secret_arn; give one of them".to_owned()))
            }
            (None, None) => (
                "database_secret_arn",
                Err("is missing; it names the secret with \"username\" and \"password\" by which the databases are \
                     logged in to (or give database_iam_user)"
                    .to_owned()),
            ),
        };
        checked.map_err(|problem| invalid(field, problem))
    }

    /// Of an engine, as RDS calls it.
    pub fn suits(&self, engine: &str) -> Result<(), Error> {
        match self {
            Self::IamUser(_) if engine == "mariadb" => {
                Err(invalid("database_iam_user", "was not tried with MariaDB; give database_secret_arn"))
            }
            _ => Ok(()),
        }
    }
}

fn secret(arn: &str) -> Result<Login, String> {
    let parsed = Arn::parse(arn).filter(|_| arn.len() <= ARN_LENGTH_MAX);
    let name = parsed.and_then(|arn| arn.name_of("secretsmanager", "secret"));
    let Some(name) = name.filter(|name| !name.contains(char::is_whitespace)) else {
        return Err("is not the ARN of a secret (arn:aws:secretsmanager:…:secret:…)".to_owned());
    };
    match name.starts_with(SECRETS) {
        true => Ok(Login::SecretArn(arn.to_owned())),
        false => Err(format!("the secret's name does not begin with {SECRETS}, by which the functions may read it")),
    }
}

fn user_of_iam(user: &str) -> Result<Login, String> {
    let is_plain = user.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    // What a run makes for itself is called so.
    let is_own = user
        .strip_prefix(USERS)
        .is_some_and(|rest| rest.len() == 8 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if is_own {
        return Err("is a name that runs give their own roles; log in under another".to_owned());
    }
    if !is_plain || user.len() > USER_LENGTH_MAX || !user.starts_with(USERS) {
        return Err(format!(
            "is not a name of small letters that begins with {USERS}, by which the functions may log in"
        ));
    }
    Ok(Login::IamUser(user.to_owned()))
}

/// What keeps the names of an execution apart from all others', in databases and in AWS.
pub fn token(execution: &str) -> String {
    Sha256::digest(execution).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseTask {
    /// Before the commit point: clients may log in to the source again.
    Unfence,
    /// The source is unfenced, and loses replication.
    OpenSource,
    /// Past it: the target stands alone, and the old source loses its slots.
    OpenTarget,
}

/// Asked by `undo` in its answer, answered by `undo-database` in its place.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Undone {
    pub task: DatabaseTask,
    pub ready: bool,
    /// Why it could not be done yet.
    pub problem: Option<String>,
    pub notes: Vec<String>,
}

impl Undone {
    pub fn ask(task: DatabaseTask) -> Self {
        Self { task, ready: false, problem: None, notes: vec![] }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_login_is_one_of_two() {
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds-encrypt/orders-a1B2c3";
        let login = Login::parse(Some(arn), None).expect("legal");
        assert_eq!(serde_json::to_value(&login).expect("JSON"), json!({"secret_arn": arn, "iam_user": null}));
        let login = Login::parse(None, Some("rds_encrypt_dba")).expect("legal");
        assert_eq!(serde_json::from_value::<Login>(json!({"iam_user": "rds_encrypt_dba"})).expect("a login"), login);
        for (secret, user, said) in [
            (None, None, "`database_secret_arn`: is missing"),
            (Some(arn), Some("rds_encrypt_dba"), "`database_iam_user`: is another login"),
            (Some("orders"), None, "is not the ARN of a secret"),
            (Some("arn:aws:secretsmanager:eu-west-1:1:secret:orders-a1B2c3"), None, "does not begin with rds-encrypt/"),
            (None, Some("postgres"), "`database_iam_user`: is not a name"),
            (None, Some("rds_encrypt_O'Hara"), "is not a name"),
            (None, Some(""), "is not a name"),
            (None, Some("rds_encrypt_0badcafe"), "give their own roles"),
        ] {
            let error = Login::parse(secret, user).expect_err(said);
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
