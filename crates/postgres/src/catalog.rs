//! What is in a server: its databases, their tables, and what replication cannot carry.

use workflow::Error;
use workflow::online::OLDEST_MAJOR_VERSION;
use workflow::options::Engine;

use crate::names::{Client, Database, MAINTENANCE, quoted};
use crate::rows::{Column, Table};
use crate::{Session, failed};

/// No rows of anybody's are in these: RDS keeps `rdsadmin` to itself.
const OWN_DATABASES: [&str; 4] = ["rdsadmin", "template0", "template1", MAINTENANCE];
/// Before it, who is not a superuser needs other rights, which nobody tried.
const VERSION_MIN: i32 = OLDEST_MAJOR_VERSION as i32 * 10_000;
const GIBIBYTE: i64 = 1 << 30;
/// All but the schema of a run's own marker, whose name ends in eight digits (`Names`).
const USER_SCHEMA: &str =
    "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname !~ '^rds_encrypt_[0-9a-f]{8}$'";
/// Of a name of a role or of what it was granted: nothing that a run makes for itself.
const OWN_ROLE: &str = "rds_encrypt_[0-9a-f]{8}";

/// Made by CREATE EXTENSION, which the copy has from the snapshot.
const OF_EXTENSION: &str = "EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
    AND d.deptype = 'e')";
/// Tables whose updates and deletions cannot be told from their rows: once such a table is published, PostgreSQL refuses
/// them to everybody. A key that is checked at the end of a transaction does not tell rows apart within it.
const KEYLESS: &str = "c.relkind = 'r' AND c.relreplident <> 'f' AND NOT EXISTS (SELECT FROM pg_index i
    WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate
        AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END)";

/// Generated columns are not published. PostgreSQL 18 refuses updates to everybody where one belongs to what tells rows
/// apart ("Replica identity must not contain unpublished generated columns"); before, the target would not find them.
const GENERATED_IDENTITY: &str = "c.relkind = 'r' AND EXISTS (SELECT FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attgenerated <> '' AND NOT a.attisdropped AND (c.relreplident = 'f' OR EXISTS (
        SELECT FROM pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey::int2[])
            AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END)))";
/// The target compares whole rows where it has no key, and these types have no equality, nor have domains and arrays of
/// them.
const NO_EQUALITY: &str = "'json'::regtype, 'xml'::regtype, 'point'::regtype, 'line'::regtype, 'lseg'::regtype,
    'box'::regtype, 'path'::regtype, 'polygon'::regtype, 'circle'::regtype";

/// A server's problems, each with its remedy; none of it depends on a database.
pub async fn problems_of_server(session: &Session, databases: usize, engine: Engine) -> Result<Vec<String>, Error> {
    let is_native = engine == Engine::Native;
    let roles: &[&str] =
        if is_native { &["pg_create_subscription", "pg_signal_backend"] } else { &["pg_signal_backend"] };
    let row = session
        .query_one(
            "SELECT current_setting('server_version_num')::int,
                    current_setting('wal_level'),
                    current_setting('max_replication_slots')::bigint - (SELECT count(*) FROM pg_replication_slots),
                    current_setting('max_wal_senders')::bigint - (SELECT count(*) FROM pg_stat_replication),
                    current_setting('max_logical_replication_workers')::bigint,
                    current_setting('max_slot_wal_keep_size'),
                    (SELECT count(*) FROM pg_prepared_xacts),
                    (SELECT rolreplication OR EXISTS (SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication'
                        AND pg_has_role(g.oid, 'USAGE')) FROM pg_roles WHERE rolname = current_user),
                    (SELECT bool_and(pg_has_role(oid, 'USAGE')) FROM pg_roles WHERE rolname = ANY ($1)),
                    (SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user),
                    coalesce(current_setting('idle_replication_slot_timeout', true), '0'),
                    (SELECT count(*) FROM pg_subscription),
                    current_user,
                    current_setting('max_worker_processes')::bigint,
                    current_setting('max_active_replication_origins', true)::bigint",
            &[&roles],
        )
        .await
        .map_err(failed("read the server's settings"))?;
    let (version, user): (i32, String) = (row.get(0), row.get(12));
    // What is asked further on it may not know.
    if version < VERSION_MIN {
        let older = format!(
            "PostgreSQL {} is older than {OLDEST_MAJOR_VERSION}, with which it was not tried",
            version / 10_000
        );
        return Err(Error::DatabaseNotUsable(older));
    }
    let databases = databases as i64;
    let mut problems = vec![];
    let mut check = |fails: bool, problem: String| {
        if fails {
            problems.push(problem);
        }
    };
    check(
        row.get::<_, &str>(1) != "logical",
        "wal_level is not `logical`: set rds.logical_replication = 1 in the DB parameter group and reboot".to_owned(),
    );
    // One to replicate by, and one that tells which rows change while they are compared.
    for (column, setting, needed) in [(2, "max_replication_slots", 2 * databases), (3, "max_wal_senders", databases)] {
        let free: i64 = row.get(column);
        check(
            free < needed,
            format!("{setting}: {free} are free, and {needed} are needed for {databases} databases: raise it"),
        );
    }
    let workers: i64 = row.get(4);
    check(
        is_native && workers < databases,
        format!("max_logical_replication_workers is {workers}, and {databases} databases need one each: raise it"),
    );
    // Besides, the process that starts them.
    let processes: i64 = row.get(13);
    check(
        is_native && processes <= databases,
        format!("max_worker_processes is {processes}, and {databases} databases need one each: raise it"),
    );
    let origins: Option<i64> = row.get(14);
    check(
        is_native && origins.is_some_and(|origins| origins < databases),
        format!("max_active_replication_origins is less than the {databases} databases that need one each: raise it"),
    );
    check(
        row.get::<_, &str>(5) != "-1",
        format!("max_slot_wal_keep_size is {}: a slot could be lost on the way; set it to -1", row.get::<_, &str>(5)),
    );
    let prepared: i64 = row.get(6);
    check(prepared > 0, format!("{prepared} prepared transactions, which no fence ends: commit or roll them back"));
    check(!row.get::<_, bool>(7), format!("no replication: GRANT rds_replication TO {}", quoted(&user)));
    check(
        !row.get::<_, bool>(8),
        format!(
            "no right to {}: GRANT {} TO {}",
            if is_native { "subscribe or to end sessions" } else { "end sessions" },
            roles.join(", "),
            quoted(&user)
        ),
    );
    check(!row.get::<_, bool>(9), format!("no right to make a role: ALTER ROLE {} CREATEROLE", quoted(&user)));
    check(
        row.get::<_, &str>(10) != "0",
        "idle_replication_slot_timeout is set: a slot could be lost on the way; set it to 0".to_owned(),
    );
    let subscriptions: i64 = row.get(11);
    check(
        subscriptions > 0,
        format!(
            "{subscriptions} subscriptions: what they apply passes the fence, and the copy would take their changes, too; drop them"
        ),
    );
    Ok(problems)
}

/// Who may connect to a database, but for the run's own role.
pub async fn clients(session: &Session, oid: u32) -> Result<Vec<Client>, Error> {
    let statement = format!(
        "SELECT CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee)::text END, a.is_grantable
         FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
         WHERE d.oid = $1 AND a.privilege_type = 'CONNECT' AND pg_get_userbyid(a.grantee) !~ '^{OWN_ROLE}$'
         ORDER BY 1 NULLS FIRST, 2"
    );
    let rows = session.query(&statement, &[&oid]).await.map_err(failed("read who may connect"))?;
    Ok(rows.iter().map(|row| Client { role: row.get(0), may_grant: row.get(1) }).collect())
}

/// Name, OID and connection limit of the databases that hold data, in the order of their OIDs.
pub async fn databases(session: &Session) -> Result<Vec<(String, u32, i32)>, Error> {
    let rows = session
        .query(
            "SELECT datname::text, oid, datconnlimit FROM pg_database
             WHERE datallowconn AND datname <> ALL ($1) ORDER BY oid",
            &[&OWN_DATABASES.as_slice()],
        )
        .await
        .map_err(failed("list the databases"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// The same names, and that of the database where we log in, in the order of their bytes.
pub async fn all_databases(session: &Session) -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = databases(session).await?.into_iter().map(|(name, ..)| name).collect();
    names.push(MAINTENANCE.to_owned());
    names.sort();
    Ok(names)
}

/// Of the database where we log in to fence the others: it must hold no data, since it stays open.
pub async fn problems_of_maintenance(session: &Session) -> Result<Vec<String>, Error> {
    let tables = names(session, &format!("c.relkind IN ('r', 'p', 'm') AND {USER_SCHEMA}")).await?;
    Ok(match tables.as_slice() {
        [] => vec![],
        tables => vec![format!(
            "database `{MAINTENANCE}`: {} would not be replicated, since that database stays open: move them to another",
            listed(tables)
        )],
    })
}

/// A database's problems, each with its remedy.
pub async fn problems_of_database(session: &Session, database: &str, engine: Engine) -> Result<Vec<String>, Error> {
    let own = session
        .query_one(
            "SELECT pg_has_role(datdba, 'USAGE'), current_user::text,
                    (SELECT count(*) FROM pg_largeobject_metadata),
                    (SELECT string_agg(extname, ', ') FROM pg_extension WHERE extname IN ('pg_cron', 'aws_s3', 'timescaledb'))
             FROM pg_database WHERE datname = current_database()",
            &[],
        )
        .await
        .map_err(failed("read the database"))?;
    let user = quoted(&own.get::<_, String>(1));
    let mut problems = vec![];
    if !own.get::<_, bool>(0) {
        problems.push(format!("{user} is not its owner: ALTER DATABASE {} OWNER TO {user}", quoted(database)));
    }
    let large_objects: i64 = own.get(2);
    if large_objects > 0 {
        problems.push(format!("{large_objects} large objects, which logical replication does not carry: move them to bytea, or encrypt another way"));
    }
    if let Some(extensions) = own.get::<_, Option<&str>>(3) {
        problems.push(format!("the extensions {extensions} write by themselves on the copy, too: drop them for the time being, or encrypt another way"));
    }
    let no_equality = format!(
        "c.relkind = 'r' AND c.relreplident = 'f'
         AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
         AND EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND (t.oid IN ({NO_EQUALITY})
                OR t.typbasetype IN ({NO_EQUALITY}) OR t.typelem IN ({NO_EQUALITY})))"
    );
    let of_engine: &[(&str, &str)] = match engine {
        Engine::Native => &[
            (
                GENERATED_IDENTITY,
                "told apart by a generated column, with which updates would fail once it is published: add a primary key of other columns, and REPLICA IDENTITY DEFAULT",
            ),
            (&no_equality, "told apart by columns without an equality (json, xml, geometry): add a primary key"),
            (
                "c.relkind IN ('r', 'p') AND c.relrowsecurity AND c.relforcerowsecurity",
                "with row level security that is forced on its owner, as whom the target writes: ALTER TABLE … NO FORCE ROW LEVEL SECURITY",
            ),
            (
                KEYLESS,
                "without a primary key (updates would fail once it is published): add one, or ALTER TABLE … REPLICA IDENTITY FULL",
            ),
            (
                "c.relkind IN ('r', 'p') AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgenabled IN ('A', 'R'))",
                "with a trigger ENABLE ALWAYS or REPLICA (it fires a second time on the copy): ALTER TABLE … ENABLE TRIGGER",
            ),
        ],
        Engine::Dms => &[
            (
                "c.relkind = 'p' OR EXISTS (SELECT FROM pg_inherits h WHERE c.oid IN (h.inhparent, h.inhrelid))",
                "partitioned or inherited, whose rows AWS DMS could take twice: use \"engine\": \"native\"",
            ),
            (
                "c.relkind = 'r' AND c.relrowsecurity",
                "with row level security, which hides rows from AWS DMS: ALTER TABLE … DISABLE ROW LEVEL SECURITY, or use \"engine\": \"native\"",
            ),
            (
                "c.relkind = 'r' AND EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = c.oid AND w.ev_enabled <> 'D')",
                "with a rule, which would rewrite what AWS DMS writes: DROP RULE, or use \"engine\": \"native\"",
            ),
        ],
    };
    let of_both = [
        (
            "c.relkind IN ('r', 'p') AND c.relpersistence = 'u'",
            "unlogged (a copy has none of the rows): ALTER TABLE … SET LOGGED",
        ),
        (
            "c.relkind IN ('r', 'p', 'S') AND NOT (pg_has_role(c.relowner, 'USAGE') AND pg_has_role(c.relowner, 'SET'))",
            "owned by a role that the login is no member of: GRANT the role to it",
        ),
        ("c.relkind = 'f'", "foreign (what a trigger writes to it is not replicated): drop it for the time being"),
    ];
    for (condition, problem) in of_engine.iter().chain(&of_both) {
        let found = names(session, &format!("({condition}) AND {USER_SCHEMA}")).await?;
        if !found.is_empty() {
            problems.push(format!("{}, {problem}", listed(&found)));
        }
    }
    if engine == Engine::Dms {
        let statement = "SELECT EXISTS (SELECT FROM pg_database d, aclexplode(d.datacl) AS a
            WHERE d.datname = current_database() AND a.privilege_type = 'CONNECT' AND a.grantor <> d.datdba)";
        if session.query_one(statement, &[]).await.map_err(failed("read who granted CONNECT"))?.get(0) {
            problems.push(
                "somebody but its owner granted CONNECT, which the fence could not put back: let the owner grant it"
                    .to_owned(),
            );
        }
        let found = of_all(session, &format!("c.relkind = 'r' AND {OF_EXTENSION} AND {USER_SCHEMA}")).await?;
        if !found.is_empty() {
            problems.push(format!(
                "{}, of an extension, which AWS DMS would take for the application's: use \"engine\": \"native\"",
                listed(&found)
            ));
        }
    }
    Ok(problems.into_iter().map(|problem| format!("database `{database}`: {problem}")).collect())
}

/// What a human should know, and what stops nothing.
pub async fn warnings_of_database(session: &Session, database: &str, engine: Engine) -> Result<Vec<String>, Error> {
    let views = names(session, &format!("c.relkind = 'm' AND {USER_SCHEMA}")).await?;
    let old = session
        .query_one(
            "SELECT coalesce(max(extract(epoch FROM now() - xact_start)), 0)::bigint FROM pg_stat_activity
             WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
            &[],
        )
        .await
        .map_err(failed("look for long transactions"))?
        .get::<_, i64>(0);
    let mut warnings = vec![];
    let keyless = match engine {
        Engine::Native => vec![],
        // "Updates and deletes on tables with no primary key are ignored" is what AWS DMS says of itself.
        Engine::Dms => {
            let without = "NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)";
            names(session, &format!("c.relkind = 'r' AND ({without} OR {KEYLESS}) AND {USER_SCHEMA}")).await?
        }
    };
    let of_extensions = of_all(session, &format!("c.relkind = 'r' AND {OF_EXTENSION} AND {USER_SCHEMA}")).await?;
    if !of_extensions.is_empty() {
        warnings.push(format!(
            "database `{database}`: {} of an extension: not replicated; if somebody writes there, the comparison in the \
             outage ends the run, and nothing is lost",
            listed(&of_extensions)
        ));
    }
    if !keyless.is_empty() {
        warnings.push(format!(
            "database `{database}`: {} without a primary key that the log has: AWS DMS carries what is inserted, and neither changes nor \
             deletions; if there are any, the comparison in the outage ends the run, and nothing is lost",
            listed(&keyless)
        ));
    }
    let tables = compared_tables(session).await?;
    let large: Vec<String> = tables
        .into_iter()
        .filter(|table| table.key.is_empty() && table.bytes > GIBIBYTE)
        .map(|table| table.name)
        .collect();
    if !large.is_empty() {
        warnings.push(format!(
            "database `{database}`: {} larger than 1 GiB and without a primary key: compared as a whole in the outage, \
             which opens the source again if that takes too long; add a primary key",
            listed(&large)
        ));
    }
    if !views.is_empty() {
        warnings
            .push(format!("database `{database}`: {} are as of the snapshot afterwards: refresh them", listed(&views)));
    }
    if old > 60 {
        warnings.push(format!(
            "database `{database}`: a transaction is open for {old} s; replication begins after its end"
        ));
    }
    Ok(warnings)
}

/// The tables that are published, those with partitions by themselves, as SQL takes them.
pub async fn tables(session: &Session) -> Result<Vec<String>, Error> {
    names(
        session,
        &format!("c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p' AND {USER_SCHEMA}"),
    )
    .await
}

/// The sequences whose values are carried, as SQL takes them: unlogged ones too, which a copy has from their beginning.
pub async fn sequences(session: &Session) -> Result<Vec<String>, Error> {
    names(session, &format!("c.relkind = 'S' AND c.relpersistence <> 't' AND {USER_SCHEMA}")).await
}

/// The tables that hold rows: partitions, and not what they are partitions of.
pub async fn tables_with_rows(session: &Session) -> Result<Vec<String>, Error> {
    names(session, &format!("c.relkind = 'r' AND c.relpersistence = 'p' AND {USER_SCHEMA}")).await
}

/// Of a table with rows: extensions have some for themselves.
fn compared() -> String {
    format!(
        "c.relkind = 'r' AND c.relpersistence = 'p' AND {USER_SCHEMA}
         AND (NOT {OF_EXTENSION} OR has_table_privilege(c.oid, 'SELECT'))"
    )
}

/// What a comparison would stop at once it comes to these tables, with the remedy.
pub async fn problems_of_comparison(session: &Session, database: &str) -> Result<Vec<String>, Error> {
    let user = session.query_one("SELECT current_user::text", &[]).await.map_err(failed("read who is logged in"))?;
    let user = quoted(user.get(0));
    let mut problems = vec![];
    for (condition, problem) in [
        (
            "NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))",
            format!(
                "which {user} may not read: GRANT SELECT on them and USAGE ON their SCHEMA TO {user}, or pg_read_all_data"
            ),
        ),
        (
            "row_security_active(c.oid)",
            format!(
                "whose row level security hides rows from {user}: log in as their owner, or as a role with BYPASSRLS"
            ),
        ),
    ] {
        let found = of_all(session, &format!("{} AND {condition}", compared())).await?;
        if !found.is_empty() {
            problems.push(format!("database `{database}`: {}, {problem}", listed(&found)));
        }
    }
    Ok(problems)
}

/// The same tables, with what they are compared by, and those of extensions, which nobody publishes.
pub async fn compared_tables(session: &Session) -> Result<Vec<Table>, Error> {
    // A generated column is in no publication's rows.
    let statement = format!(
        "SELECT format('%I.%I', n.nspname, c.relname), c.oid, c.relreplident = 'f', c.reltuples::bigint,
            pg_table_size(c.oid), coalesce(k.names, '{{}}'), coalesce(k.types, '{{}}'), coalesce(k.is_generated, false),
            (SELECT md5(string_agg(format('%s %s %s', a.attname, format_type(a.atttypid, a.atttypmod),
                a.attcollation::regcollation), ',' ORDER BY a.attnum)) FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN LATERAL (
            SELECT array_agg(a.attname::text ORDER BY place) AS names,
                array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY place) AS types,
                bool_or(a.attgenerated <> '') AS is_generated
            FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS of_key (number, place)
            JOIN pg_attribute a ON a.attnum = number
            WHERE i.indrelid = c.oid AND a.attrelid = c.oid AND place <= i.indnkeyatts
                AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
                AND NOT ({KEYLESS}) AND NOT {OF_EXTENSION}) k ON true
         WHERE {} ORDER BY 1",
        compared()
    );
    let rows = session.query(&statement, &[]).await.map_err(failed("list the tables and their keys"))?;
    Ok(rows
        .iter()
        .map(|row| {
            let (names, types): (Vec<String>, Vec<String>) = (row.get(5), row.get(6));
            let columns = names.into_iter().zip(types).map(|(name, type_name)| Column { name, type_name });
            Table {
                name: row.get(0),
                oid: row.get(1),
                key: if row.get(7) { vec![] } else { columns.collect() },
                columns_hash: row.get::<_, Option<String>>(8).unwrap_or_default(),
                has_whole_identity: row.get(2),
                rows: row.get::<_, i64>(3).max(0),
                bytes: row.get(4),
            }
        })
        .collect())
}

/// The schemas of these.
pub async fn schemas(session: &Session) -> Result<Vec<String>, Error> {
    let statement = format!(
        "SELECT DISTINCT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND {USER_SCHEMA} AND NOT {OF_EXTENSION} ORDER BY 1"
    );
    let rows = session.query(&statement, &[]).await.map_err(failed("list the schemas"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn names(session: &Session, condition: &str) -> Result<Vec<String>, Error> {
    of_all(session, &format!("{condition} AND NOT {OF_EXTENSION}")).await
}

/// Those of extensions, too.
async fn of_all(session: &Session, condition: &str) -> Result<Vec<String>, Error> {
    let statement = format!(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE {condition} ORDER BY 1"
    );
    let rows = session.query(&statement, &[]).await.map_err(failed("list the tables"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// A hash of everything that replication does not carry, but for passwords, which nobody may read, and rows: what DDL
/// changes, grants, and the roles of the whole server.
pub async fn schema_hash(session: &Session) -> Result<String, Error> {
    let relation_grants = grants("relacl", "CASE relkind WHEN 'S' THEN 's'::\"char\" ELSE 'r' END", "relowner");
    let schema_grants = grants("n.nspacl", "'n'", "n.nspowner");
    let statement = format!(
        "WITH relations AS (
            SELECT c.*, format('%I.%I', n.nspname, c.relname) AS name
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relpersistence <> 't' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND {USER_SCHEMA})
         SELECT md5(coalesce(string_agg(line, E'\\n' ORDER BY line COLLATE \"C\"), '')) FROM (
            SELECT format('relation %s %s %s %s %s %s %s %s %s %s %s', name, relkind, relpersistence, relreplident,
                pg_get_expr(relpartbound, oid), relowner::regrole,
                {relation_grants}, reloptions, relrowsecurity, relforcerowsecurity,
                CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END) AS line FROM relations
            UNION ALL
            SELECT format('column %s %s %s %s %s %s %s %s %s', name, a.attnum, a.attname,
                format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, a.attacl,
                pg_get_expr(d.adbin, d.adrelid))
            FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
            LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            UNION ALL
            -- Foreign keys come back not yet validated where AWS DMS needed them away.
            SELECT format('constraint %s %s %s %s', name, k.conname,
                CASE k.contype WHEN 'f' THEN regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '')
                    ELSE pg_get_constraintdef(k.oid) END,
                CASE k.contype WHEN 'f' THEN NULL ELSE k.convalidated END)
            FROM relations r JOIN pg_constraint k ON k.conrelid = r.oid
            UNION ALL
            SELECT format('constraint of %s %s %s', k.contypid::regtype, k.conname, pg_get_constraintdef(k.oid))
            FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE k.contypid <> 0 AND {USER_SCHEMA}
            UNION ALL
            SELECT format('inherits %s %s %s', name, h.inhparent::regclass, h.inhseqno)
            FROM relations r JOIN pg_inherits h ON h.inhrelid = r.oid
            UNION ALL
            SELECT format('statistics %s', pg_get_statisticsobjdef(s.oid))
            FROM relations r JOIN pg_statistic_ext s ON s.stxrelid = r.oid
            UNION ALL
            SELECT format('comment %s %s %s', name, d.objsubid, d.description)
            FROM relations r JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = r.oid
            UNION ALL
            SELECT format('index %s %s %s', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisreplident)
            FROM relations r JOIN pg_index i ON i.indrelid = r.oid
            UNION ALL
            SELECT format('trigger %s %s', pg_get_triggerdef(t.oid), t.tgenabled)
            FROM relations r JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
            UNION ALL
            SELECT format('sequence %s %s %s %s %s %s %s %s', name, s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmax,
                s.seqmin, s.seqcycle, s.seqcache)
            FROM relations r JOIN pg_sequence s ON s.seqrelid = r.oid
            UNION ALL
            SELECT format('function %I.%I(%s) %s %s %s', n.nspname, p.proname,
                pg_get_function_identity_arguments(p.oid), p.proowner::regrole, p.proacl,
                CASE p.prokind WHEN 'a' THEN a::text ELSE pg_get_functiondef(p.oid) END)
            FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid
            WHERE {USER_SCHEMA}
            UNION ALL
            SELECT format('type %I.%I %s %s %s %s %s %s', n.nspname, t.typname, t.typowner::regrole, t.typacl,
                format_type(t.typbasetype, t.typtypmod), t.typnotnull, t.typdefault,
                (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid))
            FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
            WHERE t.typtype IN ('c', 'd', 'e', 'r') AND {USER_SCHEMA}
            UNION ALL
            SELECT format('foreign server %I %s', srvname, srvoptions) FROM pg_foreign_server
            UNION ALL
            -- What no log carries to the target, and what brings rows past the fence.
            SELECT format('large objects %s', count(*)) FROM pg_largeobject_metadata
            UNION ALL
            SELECT format('subscription %s', subname) FROM pg_subscription WHERE subname !~ '^{OWN_ROLE}$'
            UNION ALL
            SELECT format('policy %s %s %s %s %s %s %s', name, p.polname, p.polcmd, p.polpermissive, p.polroles::regrole[],
                pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
            FROM relations r JOIN pg_policy p ON p.polrelid = r.oid
            UNION ALL
            SELECT format('rule %s %s', pg_get_ruledef(w.oid), w.ev_enabled)
            FROM relations r JOIN pg_rewrite w ON w.ev_class = r.oid AND w.rulename <> '_RETURN'
            UNION ALL
            SELECT format('schema %s %s %s', n.nspname, n.nspowner::regrole, {schema_grants})
            FROM pg_namespace n WHERE {USER_SCHEMA}
            UNION ALL
            SELECT format('extension %s %s', extname, extversion) FROM pg_extension
            UNION ALL
            SELECT format('event trigger %s %s %s %s', evtname, evtevent, evtenabled, evtfoid::regproc) FROM pg_event_trigger
            UNION ALL
            SELECT format('default grant %s %s %s %s', defaclrole::regrole, defaclnamespace::regnamespace, defaclobjtype,
                defaclacl) FROM pg_default_acl
            UNION ALL
            -- CONNECT is what a fence takes away, and looked at by itself.
            SELECT format('database %s %s', d.datdba::regrole, (SELECT
                string_agg(format('%s %s %s', a.grantee::regrole, a.privilege_type, a.is_grantable), ',' ORDER BY
                    a.grantee::regrole::text COLLATE \"C\", a.privilege_type, a.is_grantable)
                FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a WHERE a.privilege_type <> 'CONNECT'))
            FROM pg_database d WHERE d.datname = current_database()
            UNION ALL
            SELECT format('setting %s %s %s', s.setdatabase = 0, s.setrole::regrole, s.setconfig) FROM pg_db_role_setting s
            WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
            UNION ALL
            SELECT format('role %s %s %s %s %s %s %s %s %s %s', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb,
                rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil)
            FROM pg_roles WHERE rolname !~ '^{OWN_ROLE}$'
            UNION ALL
            SELECT format('member %s %s %s %s %s', roleid::regrole, member::regrole, admin_option, inherit_option, set_option)
            FROM pg_auth_members
            WHERE roleid::regrole::text !~ '^{OWN_ROLE}$' AND member::regrole::text !~ '^{OWN_ROLE}$'
         ) AS lines"
    );
    let row = session.query_one(&statement, &[]).await.map_err(failed("read the schema"))?;
    Ok(row.get(0))
}

/// The grants of an object but those to the run's own role, which make PostgreSQL's implicit ones explicit.
fn grants(list: &str, kind: &str, owner: &str) -> String {
    format!(
        "(SELECT string_agg(a::text, ',' ORDER BY a::text COLLATE \"C\")
            FROM unnest(coalesce({list}, acldefault({kind}, {owner}))) AS a WHERE a::text !~ '^{OWN_ROLE}=')"
    )
}

/// That a database is on this side as the preflight found it.
pub async fn is_unchanged(session: &Session, database: &Database, side: &str) -> Result<(), Error> {
    has_its_clients(session, database, side).await?;
    has_its_schema(session, database, side).await
}

/// That the same may connect to it.
pub async fn has_its_clients(session: &Session, database: &Database, side: &str) -> Result<(), Error> {
    if clients(session, database.oid).await? == database.clients {
        return Ok(());
    }
    Err(changed(database, side))
}

/// The same of a database that a fence may let nobody into any more.
pub async fn has_its_schema(session: &Session, database: &Database, side: &str) -> Result<(), Error> {
    if schema_hash(session).await? == database.schema_hash {
        return Ok(());
    }
    Err(changed(database, side))
}

fn changed(database: &Database, side: &str) -> Error {
    Error::SchemaChanged(format!(
        "database `{}`: tables, indexes, triggers, functions, grants or roles of {side} are not as the preflight found \
         them: somebody changed them, which logical replication does not carry; start again when nobody does",
        database.name
    ))
}

/// That the server has the databases that are replicated, and no others with data.
pub async fn has_the_same_databases(maintenance: &Session, planned: &[Database]) -> Result<(), Error> {
    let found: Vec<(String, u32)> =
        databases(maintenance).await?.into_iter().map(|(name, oid, _)| (name, oid)).collect();
    let planned: Vec<(String, u32)> = planned.iter().map(|database| (database.name.clone(), database.oid)).collect();
    if found != planned {
        let names = |list: &[(String, u32)]| list.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Error::SchemaChanged(format!(
            "the source has the databases {} and had {} at the preflight: what is new is not replicated; start again",
            names(&found),
            names(&planned)
        )));
    }
    match problems_of_maintenance(maintenance).await?.pop() {
        Some(problem) => Err(Error::SchemaChanged(format!("since the preflight: {problem}"))),
        None => Ok(()),
    }
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}
