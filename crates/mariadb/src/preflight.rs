//! What of a server replication could not carry, each with its remedy.

use databases::Schemas;
use workflow::Error;
use workflow::online::MARIADB_SERIES;

use crate::catalog::{self, is_users};
use crate::{Session, quoted};

/// Of the user that the functions log in as; the fence leaves it alone.
const USERS: &str = "rds_encrypt_";
/// What that user needs, on all schemas and with the right to grant it, in the words of `information_schema` [A114].
const PRIVILEGES: [&str; 17] = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "DROP",
    "ALTER",
    "RELOAD",
    "PROCESS",
    "EXECUTE",
    "SHOW VIEW",
    "EVENT",
    "TRIGGER",
    "CREATE USER",
    "REPLICATION SLAVE",
    "BINLOG MONITOR",
    "SLAVE MONITOR",
];
const GIBIBYTE: i64 = 1 << 30;
/// The binary log is not waited for by whoever deletes it, so it is kept for a week, which is as long as RDS keeps it.
pub(crate) const RETENTION: &str = "binlog retention hours";

/// What the preflight found.
#[derive(Default)]
pub struct Found {
    pub schemas: Schemas,
    pub tables: usize,
    pub problems: Vec<String>,
    pub warnings: Vec<String>,
}

pub async fn look(session: &mut Session) -> Result<Found, Error> {
    // Without its privileges there is no looking further.
    let mut problems = of_login(session).await?;
    if !problems.is_empty() {
        return Ok(Found { problems, ..Found::default() });
    }
    problems.extend(of_server(session).await?);
    problems.extend(of_schemas(session).await?);
    let names = catalog::schemas(session).await?;
    let tables = catalog::tables(session).await?;
    if tables.is_empty() {
        problems.push("there is no table, so nothing to replicate: use encrypt-instance".to_owned());
    }
    let schemas = Schemas {
        names,
        accounts: catalog::accounts(session).await?,
        binlog_retention_hours: retention(session).await?,
        schema_hash: catalog::schema_hash(session).await?,
    };
    let large: Vec<String> = tables
        .iter()
        .filter(|table| table.key.is_empty() && table.bytes > GIBIBYTE)
        .map(|table| table.path())
        .collect();
    let mut warnings = vec![];
    if !large.is_empty() {
        warnings.push(format!(
            "tables {}, larger than 1 GiB and without a primary key of numbers, characters, bytes or dates: compared as a \
             whole in the outage, which opens the source again if that takes too long",
            large.join(", ")
        ));
    }
    Ok(Found { schemas, tables: tables.len(), problems, warnings })
}

/// The server's settings, which somebody may have changed since.
pub async fn still_holds(session: &mut Session) -> Result<(), Error> {
    let problems = of_server(session).await?;
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::DatabaseNotUsable(format!("{} can no longer be replicated:\n- {}", session.what, problems.join("\n- "))))
}

async fn of_server(session: &mut Session) -> Result<Vec<String>, Error> {
    if let Some(version) = other_series(session).await? {
        return Err(Error::DatabaseNotUsable(format!(
            "replication was tried with MariaDB {MARIADB_SERIES}, and this is {version}: use encrypt-blue-green or encrypt-instance"
        )));
    }
    let mut problems = vec![];
    for (variable, wanted, remedy) in [
        ("log_bin", "ON", "the server has no binary log: set the backup retention period to a day or more"),
        ("binlog_format", "ROW", "set it in the DB parameter group, and let the applications connect anew"),
        ("binlog_row_image", "FULL", "set it in the DB parameter group, and let the applications connect anew"),
        ("log_bin_compress", "OFF", "set it to OFF in the DB parameter group"),
        ("sync_binlog", "1", "a snapshot could hold what its log does not: set it in the DB parameter group"),
        (
            "innodb_flush_log_at_trx_commit",
            "1",
            "a snapshot could lack what its log has: set it in the DB parameter group",
        ),
        ("slave_run_triggers_for_rbr", "NO", "triggers would run twice on the copy: set it in the DB parameter group"),
        (
            "gtid_strict_mode",
            "OFF",
            "the copy, which RDS writes to as well, could not follow: set it to OFF in the DB parameter group",
        ),
    ] {
        let statement = format!("SELECT CAST(@@GLOBAL.{variable} AS CHAR)");
        let value: String = session.one("read the server's settings", statement).await?;
        if value != wanted {
            problems.push(format!("{variable} is {value}, and {wanted} is needed: {remedy}"));
        }
    }
    let replicates: Vec<mysql_async::Row> =
        session.rows("ask whom it replicates from", "SHOW ALL SLAVES STATUS").await?;
    if !replicates.is_empty() {
        problems.push(
            "it replicates from another server, whose writes pass the fence: end that first (mysql.rds_reset_external_master)"
                .to_owned(),
        );
    }
    let prepared: Vec<mysql_async::Row> = session.rows("look for prepared transactions", "XA RECOVER").await?;
    if !prepared.is_empty() {
        problems
            .push(format!("{} prepared transactions, which no fence ends: commit or roll them back", prepared.len()));
    }
    Ok(problems)
}

/// Its version, unless it is of the series that was tried.
pub(crate) async fn other_series(session: &mut Session) -> Result<Option<String>, Error> {
    let version: String = session.one("read the version", "SELECT VERSION()").await?;
    let is_tried = version.starts_with(&format!("{MARIADB_SERIES}.")) && version.contains("MariaDB");
    Ok((!is_tried).then_some(version))
}

/// Who is logged in, as SQL takes it.
pub(crate) async fn login(session: &mut Session) -> Result<String, Error> {
    let account: String = session.one("ask for the login", "SELECT CURRENT_USER()").await?;
    let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
    Ok(format!("{}@{}", quoted(user), quoted(host)))
}

/// What the login has on all schemas, in the words of `information_schema`, and whether it may grant it.
pub(crate) async fn privileges(session: &mut Session) -> Result<Vec<(String, bool)>, Error> {
    let statement = "SELECT PRIVILEGE_TYPE, IS_GRANTABLE = 'YES' FROM information_schema.USER_PRIVILEGES
        WHERE GRANTEE = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')";
    session.rows("read the login's privileges", statement).await
}

async fn of_login(session: &mut Session) -> Result<Vec<String>, Error> {
    let account: String = session.one("ask for the login", "SELECT CURRENT_USER()").await?;
    let mut problems = vec![];
    if !account.starts_with(USERS) {
        problems.push(format!(
            "the login is {account}; the fence locks all accounts but that one, so log in by one of its own, whose name \
             begins with {USERS}, and which nobody else uses"
        ));
    }
    let granted = privileges(session).await?;
    let has = |wanted: &str| granted.iter().any(|(privilege, may_grant)| privilege == wanted && *may_grant);
    let missing: Vec<&str> = PRIVILEGES.into_iter().filter(|wanted| !has(wanted)).collect();
    if !missing.is_empty() {
        problems.push(format!(
            "the login lacks privileges: GRANT {} ON *.* TO {} WITH GRANT OPTION",
            missing.join(", "),
            login(session).await?
        ));
    }
    if problems.is_empty() {
        let namesakes: u64 = session
            .one(
                "look for the login's namesakes",
                "SELECT COUNT(*) FROM mysql.global_priv WHERE User = SUBSTRING_INDEX(CURRENT_USER(), '@', 1)",
            )
            .await?;
        if namesakes > 1 {
            problems.push(format!(
                "there are {namesakes} accounts of the login's name, for different hosts, and the fence leaves one of them open: \
                 drop the others"
            ));
        }
    }
    Ok(problems)
}

async fn of_schemas(session: &mut Session) -> Result<Vec<String>, Error> {
    let mut problems = vec![];
    for (condition, problem) in [
        (
            "TABLE_TYPE IN ('BASE TABLE', 'SEQUENCE') AND ENGINE <> 'InnoDB'",
            "not of InnoDB, whose snapshot is not one of a moment: ALTER TABLE … ENGINE = InnoDB",
        ),
        (
            "TABLE_TYPE = 'SYSTEM VERSIONED'",
            "with system versioning, whose times differ on the copy: ALTER TABLE … DROP SYSTEM VERSIONING, or encrypt another way",
        ),
    ] {
        let statement = format!(
            "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES
             WHERE {condition} AND {} ORDER BY 1",
            is_users("TABLE_SCHEMA")
        );
        let found: Vec<String> = session.rows("list the tables", statement).await?;
        if !found.is_empty() {
            problems.push(format!("tables {}, {problem}", found.join(", ")));
        }
    }
    let statement = format!(
        "SELECT DISTINCT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.COLUMNS
         WHERE COLUMN_TYPE LIKE '%COMPRESSED%' AND {} ORDER BY 1",
        is_users("TABLE_SCHEMA")
    );
    let compressed: Vec<String> = session.rows("list the columns", statement).await?;
    if !compressed.is_empty() {
        problems.push(format!(
            "tables {}, with compressed columns, which the comparison cannot read in the log: ALTER TABLE … MODIFY without COMPRESSED",
            compressed.join(", ")
        ));
    }
    let events = catalog::running_events(session).await?;
    if !events.is_empty() {
        problems.push(format!(
            "events {}, which would run on the copy as well, and behind the fence: set event_scheduler to OFF in the DB \
             parameter group until the run is over",
            events.join(", ")
        ));
    }
    Ok(problems)
}

/// How long RDS keeps the binary logs now.
async fn retention(session: &mut Session) -> Result<Option<u32>, Error> {
    let statement = format!("SELECT value FROM mysql.rds_configuration WHERE name = '{RETENTION}'");
    let found: Option<Option<String>> = session.row("ask how long binary logs are kept", statement).await?;
    Ok(found.flatten().and_then(|hours| hours.parse().ok()))
}
