//! The way online: an execution of encrypt-instance makes the target on behalf of one of encrypt-online, which lets it
//! follow the source and gives it the name.

use aws_sdk_rds::types::DbInstance;
use aws_sdk_sfn::types::ExecutionStatus;
use serde_json::{Value, json};
use workflow::Error;
use workflow::error::invalid;
use workflow::ids::InstanceId;
use workflow::online::{Login, MARIADB_SERIES, OLDEST_MAJOR_VERSION};
use workflow::options::{Engine, Options};

use crate::executions::describe;
use crate::{Context, deployment, key, own_accord};

/// Whose SQL the steps speak, as RDS calls it.
const POSTGRESQL: &str = "postgres";
const MARIADB: &str = "mariadb";

/// PostgreSQL and MariaDB are what was tried.
pub(crate) fn refuse(source: &DbInstance) -> Result<(), Error> {
    other_engine(source).map_or(Ok(()), |problem| Err(Error::DatabaseNotUsable(problem)))
}

fn other_engine(source: &DbInstance) -> Option<String> {
    let engine = source.engine().unwrap_or_default();
    (![POSTGRESQL, MARIADB].contains(&engine)).then(|| {
        format!(
            "encrypt-online replicates PostgreSQL and MariaDB, and `{}` is of the engine {engine}: use encrypt-blue-green \
             (MySQL) or encrypt-instance",
            source.db_instance_identifier().unwrap_or_default()
        )
    })
}

/// What RDS tells of it; PreflightDatabase looks into the databases.
pub(crate) async fn obstacles(context: &Context, source: &DbInstance) -> Result<Vec<String>, Error> {
    if let Some(problem) = other_engine(source) {
        return Ok(vec![problem]);
    }
    if source.engine() == Some(MARIADB) {
        return of_mariadb(context, source).await;
    }
    let mut closed = vec![];
    let version = source.engine_version().unwrap_or_default();
    if deployment::is_older(version, (OLDEST_MAJOR_VERSION.into(), 0)) {
        closed.push(format!("PostgreSQL {version} is older than {OLDEST_MAJOR_VERSION}, with which it was not tried"));
    }
    match own_accord::replicates_logically(context, source).await {
        Ok(true) => {}
        Ok(false) => closed.push(
            "logical replication is off: set rds.logical_replication = 1 in its DB parameter group, and reboot it"
                .to_owned(),
        ),
        // PreflightDatabase asks the server itself.
        Err(error) if !error.is_passing() => {}
        Err(error) => return Err(error),
    }
    Ok(closed)
}

pub(crate) const BACKUPS_DO_NOT_WAIT: &str = "The target has its automated backups, and so its binary log, from the \
    start, by which somebody's writes on it are found: its first backup comes before the cutover, which waits for it, for \
    hours if the instance is large.";

/// Without automated backups MariaDB has no binary log (User Guide, "Binary logging for MariaDB").
pub(crate) fn needs_log(source: &DbInstance, options: &Options) -> bool {
    options.is_replicated() && source.engine() == Some(MARIADB)
}

async fn of_mariadb(context: &Context, source: &DbInstance) -> Result<Vec<String>, Error> {
    let mut closed = vec![];
    let version = source.engine_version().unwrap_or_default();
    if !version.starts_with(&format!("{MARIADB_SERIES}.")) {
        closed.push(format!("replication was tried with MariaDB {MARIADB_SERIES}, and not with {version}"));
    }
    if source.backup_retention_period().unwrap_or_default() == 0 {
        closed.push("it has no binary log: set its backup retention period to a day or more".to_owned());
    }
    match own_accord::writes_rows_to_its_log(context, source).await {
        Ok(true) => {}
        Ok(false) => closed.push("binlog_format is not ROW: set it in its DB parameter group".to_owned()),
        // PreflightDatabase asks the server itself.
        Err(error) if !error.is_passing() => {}
        Err(error) => return Err(error),
    }
    Ok(closed)
}

/// What would keep the functions out, hours from now.
pub(crate) fn refuse_login(source: &DbInstance, options: &Options) -> Result<(), Error> {
    let engine = source.engine().unwrap_or_default();
    if options.compare_data.is_some() && ![POSTGRESQL, MARIADB].contains(&engine) {
        return Err(invalid("compare_data", "is for PostgreSQL and MariaDB; leave it out here"));
    }
    if options.engine == Engine::Dms && engine == MARIADB {
        return Err(invalid("engine", "is `dms`, which was not tried with MariaDB; leave it out"));
    }
    let logins = || [&options.login, &options.compare_data].into_iter().flatten();
    logins().try_for_each(|login| login.suits(engine))?;
    if logins().any(|login| matches!(login, Login::IamUser(_)))
        && source.iam_database_authentication_enabled() != Some(true)
    {
        let problem = format!(
            "wants IAM database authentication, which is off: aws rds modify-db-instance --db-instance-identifier {} \
             --enable-iam-database-authentication --apply-immediately",
            source.db_instance_identifier().unwrap_or_default()
        );
        return Err(invalid("database_iam_user", problem));
    }
    Ok(())
}

/// What the nested execution is told; it plans the same names by itself.
pub(crate) fn nested_input(id: &InstanceId, key: &key::Key, options: &Options, execution: &str) -> Value {
    json!({
        "instance_id": id,
        "kms_key_id": key.arn,
        "on_behalf_of": execution,
        "snapshots": options.snapshots,
        "on_failure": options.on_failure,
        "max_wait_minutes": options.max_wait_seconds as f64 / 60.0,
        "accept_stale_replicas": options.accept_stale_replicas,
        "wait_for_initialization": options.wait_for_initialization,
    })
}

/// The execution on whose behalf this one works, if it really waits for it.
pub(crate) async fn running(context: &Context, parent: &str) -> Result<String, Error> {
    let found = describe(context, parent).await?;
    if found.is_some_and(|execution| *execution.status() == ExecutionStatus::Running) {
        return Ok(parent.to_owned());
    }
    Err(invalid("on_behalf_of", format!("no execution {parent} is running; it is set by encrypt-online alone")))
}
