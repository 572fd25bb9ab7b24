//! What is in a server: its schemas, tables and accounts, and a hash of all that is not rows.

use std::collections::BTreeMap;

use databases::Schemas;
use sha2::{Digest, Sha256};
use workflow::Error;

use crate::rows::{Column, Key, Kind, Table};
use crate::{Session, quoted};

/// Of the server itself.
const OF_SERVER: &str = "'information_schema', 'mysql', 'performance_schema', 'sys'";
/// What a run makes for itself.
const OWN: &str = "^rds_encrypt_[0-9a-f]{8}$";
/// RDS's own accounts, and MariaDB's, whose password nobody has.
const OF_RDS: &str = "'rdsadmin', 'rdsrepladmin', 'mariadb.sys'";

/// A condition on a column of names of schemas.
pub(crate) fn is_users(column: &str) -> String {
    // Whose collation would take `SYS` for `sys`.
    format!("BINARY {column} NOT IN ({OF_SERVER}) AND BINARY {column} NOT REGEXP '{OWN}'")
}

pub async fn schemas(session: &mut Session) -> Result<Vec<String>, Error> {
    let statement = format!("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE {}", is_users("SCHEMA_NAME"));
    let mut names: Vec<String> = session.rows("list the schemas", statement).await?;
    names.sort();
    Ok(names)
}

/// Who may log in but for whom we log in as, in SQL's words.
pub async fn accounts(session: &mut Session) -> Result<Vec<String>, Error> {
    let statement = format!(
        "SELECT User, Host FROM mysql.global_priv
         WHERE COALESCE(JSON_VALUE(Priv, '$.account_locked'), '0') NOT IN ('1', 'true')
           AND COALESCE(JSON_VALUE(Priv, '$.is_role'), '0') NOT IN ('1', 'true')
           AND User NOT IN ({OF_RDS}) AND User NOT REGEXP '{OWN}' AND CONCAT(User, '@', Host) <> CURRENT_USER()
         ORDER BY 1, 2"
    );
    let found: Vec<(String, String)> = session.rows("list the accounts", statement).await?;
    Ok(found.iter().map(|(user, host)| format!("{}@{}", crate::literal(user), crate::literal(host))).collect())
}

/// Those that the server runs by itself now.
pub async fn running_events(session: &mut Session) -> Result<Vec<String>, Error> {
    let statement = format!(
        "SELECT CONCAT(EVENT_SCHEMA, '.', EVENT_NAME) FROM information_schema.EVENTS
         WHERE STATUS = 'ENABLED' AND @@GLOBAL.event_scheduler = 'ON' AND {} ORDER BY 1",
        is_users("EVENT_SCHEMA")
    );
    session.rows("list the events", statement).await
}

/// Of each table, as SQL takes it, what its AUTO_INCREMENT column gives next, if it has one; of a sequence nothing.
pub async fn counters(session: &mut Session) -> Result<BTreeMap<String, Option<u64>>, Error> {
    let statement = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, AUTO_INCREMENT FROM information_schema.TABLES
         WHERE (TABLE_TYPE = 'SEQUENCE' OR AUTO_INCREMENT IS NOT NULL) AND {}",
        is_users("TABLE_SCHEMA")
    );
    let found: Vec<(String, String, Option<u64>)> = session.rows("read what comes next", statement).await?;
    Ok(found.into_iter().map(|(schema, name, next)| (format!("{}.{}", quoted(&schema), quoted(&name)), next)).collect())
}

/// All that holds rows, with what it is compared by: but for those of MEMORY, which no copy has, and what system
/// versioning keeps of former rows.
pub async fn tables(session: &mut Session) -> Result<Vec<Table>, Error> {
    const WHAT: &str = "list the tables and their keys";
    let statement = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE = 'SEQUENCE', COALESCE(TABLE_ROWS, 0),
            COALESCE(DATA_LENGTH, 0) FROM information_schema.TABLES
         WHERE TABLE_TYPE IN ('BASE TABLE', 'SEQUENCE', 'SYSTEM VERSIONED') AND COALESCE(ENGINE, '') <> 'MEMORY' AND {}",
        is_users("TABLE_SCHEMA")
    );
    type Row = (String, String, bool, u64, u64);
    let found: Vec<Row> = session.rows(WHAT, statement).await?;
    let statement = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION - 1, LOWER(DATA_TYPE), LOWER(COLUMN_TYPE),
            CHARACTER_SET_NAME, CHARACTER_OCTET_LENGTH, EXTRA LIKE '%VIRTUAL%', CONCAT_WS(' ', COLUMN_TYPE, COLLATION_NAME)
         FROM information_schema.COLUMNS WHERE {} ORDER BY 1, 2, 4",
        is_users("TABLE_SCHEMA")
    );
    let columns: Vec<mysql_async::Row> = session.rows(WHAT, statement).await?;
    // Joined here: each row of such a view is made anew for each row of another.
    let statement = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, SEQ_IN_INDEX, SUB_PART IS NOT NULL
         FROM information_schema.STATISTICS WHERE INDEX_NAME = 'PRIMARY' AND {}",
        is_users("TABLE_SCHEMA")
    );
    type OfKey = (String, String, String, u64, bool);
    let of_keys: Vec<OfKey> = session.rows(WHAT, statement).await?;
    let of_keys: BTreeMap<_, _> = of_keys
        .into_iter()
        .map(|(schema, table, column, order, has_prefix)| ((schema, table, column), (order, has_prefix)))
        .collect();
    let mut tables: Vec<Table> = found
        .into_iter()
        .map(|(schema, name, is_sequence, rows, bytes)| Table {
            schema,
            name,
            is_sequence,
            rows: rows.try_into().unwrap_or(i64::MAX),
            bytes: bytes.try_into().unwrap_or(i64::MAX),
            columns: vec![],
            key: vec![],
        })
        .collect();
    // They are looked up by their names, whose order is not that of a collation.
    tables.sort_by(|one, other| (&one.schema, &one.name).cmp(&(&other.schema, &other.name)));
    for row in columns {
        let (schema, name): (String, String) = (text(&row, 0), text(&row, 1));
        let Ok(place) =
            tables.binary_search_by(|table| (table.schema.as_str(), table.name.as_str()).cmp(&(&schema, &name)))
        else {
            continue;
        };
        let table = &mut tables[place];
        let (column, type_name) = (text(&row, 2), text(&row, 4));
        if let Some((order, has_prefix)) = of_keys.get(&(schema, name, column.clone())) {
            let full_type = text(&row, 5);
            let kind = if *has_prefix {
                None
            } else {
                Kind::of(&type_name, &full_type, row.get::<Option<String>, _>(6).flatten(), row.get(7).flatten())
            };
            table.key.push((*order, Key { column: column.clone(), position: row.get(3).unwrap_or_default(), kind }));
        }
        if !row.get::<bool, _>(8).unwrap_or(false) {
            table.columns.push(Column { name: column, type_name, definition: text(&row, 9) });
        }
    }
    for table in &mut tables {
        table.key.sort_by_key(|(order, _)| *order);
        // A key that the log does not tell exactly is none: such a table is compared as a whole.
        if table.key.iter().any(|(_, key)| key.kind.is_none()) || table.is_sequence {
            table.key.clear();
        }
    }
    match tables.iter().find(|table| table.columns.is_empty()) {
        // Only a warning says so.
        Some(table) => Err(Error::DatabaseUnavailable(format!("table {} could not be opened", table.path()))),
        None => Ok(tables),
    }
}

fn text(row: &mysql_async::Row, column: usize) -> String {
    row.get(column).unwrap_or_default()
}

/// A hash of all but rows, passwords and locks, which replication carries, and what a run makes for itself. Of each
/// query every row is a line.
pub async fn schema_hash(session: &mut Session) -> Result<String, Error> {
    let mut hash = Sha256::new();
    for (what, columns, from) in of_schema() {
        let columns: Vec<String> = columns.iter().map(|column| format!("COALESCE(HEX({column}), '-')")).collect();
        let statement = format!("SELECT CONCAT_WS(' ', {}) AS line FROM {from} ORDER BY 1", columns.join(", "));
        let lines: Vec<String> = session.rows("read the schemas", statement).await?;
        for line in lines {
            hash.update(format!("{what} {line}\n"));
        }
    }
    Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

fn of_schema() -> Vec<(&'static str, Vec<&'static str>, String)> {
    let of = |view: &str, schema: &str| format!("information_schema.{view} WHERE {}", is_users(schema));
    // Grants on the server's own schemas, too.
    let of_all = |view: &str| format!("information_schema.{view} WHERE TABLE_SCHEMA NOT REGEXP '{OWN}'");
    let is_no_own = |column: &str| format!("{column} NOT REGEXP '^''?rds_encrypt_[0-9a-f]{{8}}(''|$)'");
    vec![
        (
            "schema",
            vec!["SCHEMA_NAME", "DEFAULT_CHARACTER_SET_NAME", "DEFAULT_COLLATION_NAME", "SCHEMA_COMMENT"],
            of("SCHEMATA", "SCHEMA_NAME"),
        ),
        (
            "table",
            vec![
                "TABLE_SCHEMA",
                "TABLE_NAME",
                "TABLE_TYPE",
                "ENGINE",
                "TABLE_COLLATION",
                "CREATE_OPTIONS",
                "TABLE_COMMENT",
            ],
            of("TABLES", "TABLE_SCHEMA"),
        ),
        (
            "column",
            vec![
                "TABLE_SCHEMA",
                "TABLE_NAME",
                "ORDINAL_POSITION",
                "COLUMN_NAME",
                "COLUMN_DEFAULT",
                "IS_NULLABLE",
                "COLUMN_TYPE",
                "COLLATION_NAME",
                "EXTRA",
                "COLUMN_COMMENT",
                "GENERATION_EXPRESSION",
            ],
            of("COLUMNS", "TABLE_SCHEMA"),
        ),
        (
            "index",
            vec![
                "TABLE_SCHEMA",
                "TABLE_NAME",
                "INDEX_NAME",
                "SEQ_IN_INDEX",
                "NON_UNIQUE",
                "COLUMN_NAME",
                "COLLATION",
                "SUB_PART",
                "INDEX_TYPE",
                "INDEX_COMMENT",
                "IGNORED",
            ],
            of("STATISTICS", "TABLE_SCHEMA"),
        ),
        (
            "constraint",
            vec!["CONSTRAINT_SCHEMA", "TABLE_NAME", "CONSTRAINT_NAME", "CONSTRAINT_TYPE"],
            of("TABLE_CONSTRAINTS", "CONSTRAINT_SCHEMA"),
        ),
        (
            "key",
            vec![
                "CONSTRAINT_SCHEMA",
                "CONSTRAINT_NAME",
                "TABLE_NAME",
                "COLUMN_NAME",
                "ORDINAL_POSITION",
                "REFERENCED_TABLE_SCHEMA",
                "REFERENCED_TABLE_NAME",
                "REFERENCED_COLUMN_NAME",
            ],
            of("KEY_COLUMN_USAGE", "CONSTRAINT_SCHEMA"),
        ),
        (
            "foreign key",
            vec!["CONSTRAINT_SCHEMA", "TABLE_NAME", "CONSTRAINT_NAME", "MATCH_OPTION", "UPDATE_RULE", "DELETE_RULE"],
            of("REFERENTIAL_CONSTRAINTS", "CONSTRAINT_SCHEMA"),
        ),
        (
            "check",
            vec!["CONSTRAINT_SCHEMA", "TABLE_NAME", "CONSTRAINT_NAME", "LEVEL", "CHECK_CLAUSE"],
            of("CHECK_CONSTRAINTS", "CONSTRAINT_SCHEMA"),
        ),
        (
            "partition",
            vec![
                "TABLE_SCHEMA",
                "TABLE_NAME",
                "PARTITION_NAME",
                "SUBPARTITION_NAME",
                "PARTITION_METHOD",
                "SUBPARTITION_METHOD",
                "PARTITION_EXPRESSION",
                "SUBPARTITION_EXPRESSION",
                "PARTITION_DESCRIPTION",
            ],
            of("PARTITIONS", "TABLE_SCHEMA"),
        ),
        (
            "trigger",
            vec![
                "TRIGGER_SCHEMA",
                "TRIGGER_NAME",
                "EVENT_MANIPULATION",
                "EVENT_OBJECT_TABLE",
                "ACTION_ORDER",
                "ACTION_STATEMENT",
                "ACTION_TIMING",
                "SQL_MODE",
                "DEFINER",
                "CHARACTER_SET_CLIENT",
                "COLLATION_CONNECTION",
                "DATABASE_COLLATION",
            ],
            of("TRIGGERS", "TRIGGER_SCHEMA"),
        ),
        (
            "routine",
            vec![
                "ROUTINE_SCHEMA",
                "ROUTINE_TYPE",
                "ROUTINE_NAME",
                "DTD_IDENTIFIER",
                "ROUTINE_DEFINITION",
                "IS_DETERMINISTIC",
                "SQL_DATA_ACCESS",
                "SECURITY_TYPE",
                "SQL_MODE",
                "ROUTINE_COMMENT",
                "DEFINER",
            ],
            of("ROUTINES", "ROUTINE_SCHEMA"),
        ),
        (
            "parameter",
            vec![
                "SPECIFIC_SCHEMA",
                "SPECIFIC_NAME",
                "ROUTINE_TYPE",
                "ORDINAL_POSITION",
                "PARAMETER_MODE",
                "PARAMETER_NAME",
                "DTD_IDENTIFIER",
            ],
            of("PARAMETERS", "SPECIFIC_SCHEMA"),
        ),
        (
            "event",
            vec![
                "EVENT_SCHEMA",
                "EVENT_NAME",
                "DEFINER",
                "TIME_ZONE",
                "EVENT_DEFINITION",
                "EVENT_TYPE",
                "EXECUTE_AT",
                "INTERVAL_VALUE",
                "INTERVAL_FIELD",
                "SQL_MODE",
                "STARTS",
                "ENDS",
                "STATUS",
                "ON_COMPLETION",
                "EVENT_COMMENT",
            ],
            of("EVENTS", "EVENT_SCHEMA"),
        ),
        (
            "view",
            vec![
                "TABLE_SCHEMA",
                "TABLE_NAME",
                "VIEW_DEFINITION",
                "CHECK_OPTION",
                "DEFINER",
                "SECURITY_TYPE",
                "ALGORITHM",
            ],
            of("VIEWS", "TABLE_SCHEMA"),
        ),
        (
            "account",
            vec![
                "User",
                "Host",
                "JSON_REMOVE(Priv, '$.account_locked', '$.authentication_string', '$.password_last_changed', '$.version_id')",
            ],
            format!("mysql.global_priv WHERE User NOT IN ({OF_RDS}) AND {}", is_no_own("User")),
        ),
        (
            "schema privilege",
            vec!["GRANTEE", "TABLE_SCHEMA", "PRIVILEGE_TYPE", "IS_GRANTABLE"],
            format!("{} AND {}", of_all("SCHEMA_PRIVILEGES"), is_no_own("GRANTEE")),
        ),
        (
            "table privilege",
            vec!["GRANTEE", "TABLE_SCHEMA", "TABLE_NAME", "PRIVILEGE_TYPE", "IS_GRANTABLE"],
            of_all("TABLE_PRIVILEGES"),
        ),
        (
            "column privilege",
            vec!["GRANTEE", "TABLE_SCHEMA", "TABLE_NAME", "COLUMN_NAME", "PRIVILEGE_TYPE", "IS_GRANTABLE"],
            of_all("COLUMN_PRIVILEGES"),
        ),
        (
            "routine privilege",
            vec!["Host", "Db", "User", "Routine_name", "Routine_type", "Proc_priv"],
            format!("mysql.procs_priv WHERE {}", is_users("Db")),
        ),
        ("role", vec!["Host", "User", "Role", "Admin_option"], "mysql.roles_mapping".to_owned()),
    ]
}

/// It is what the preflight found.
pub async fn is_unchanged(session: &mut Session, schemas: &Schemas, side: &str) -> Result<(), Error> {
    if schema_hash(session).await? == schemas.schema_hash {
        return Ok(());
    }
    Err(Error::SchemaChanged(format!(
        "{side} is no longer what it was at the beginning of the run: somebody changed a table, an account, a grant or \
         something else of {}; start again once that is over",
        schemas.names.join(", ")
    )))
}
