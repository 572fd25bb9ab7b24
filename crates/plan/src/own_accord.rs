//! What a restored copy does by itself, before anyone connects to it: as far as parameters tell, since nobody
//! logs in here.

use aws_sdk_rds::types::{DbInstance, Parameter};
use workflow::Error;
use workflow::options::Options;

use crate::Context;

/// A restored copy runs with the source's parameters, so what these switch on at the source runs in both.
pub(crate) async fn find(context: &Context, source: &DbInstance, options: &Options) -> Result<Vec<String>, Error> {
    // A preflight that logs in refuses it.
    if options.is_replicated() {
        return Ok(vec![]);
    }
    let engine = source.engine().unwrap_or_default();
    let mut found = match engine {
        "postgres" => postgres(&set_by_somebody(context, source).await?),
        "mysql" | "mariadb" => mysql(engine, source.engine_version(), &set_by_somebody(context, source).await?),
        _ if engine.starts_with("oracle") => oracle(&set_by_somebody(context, source).await?),
        // SQL Server Agent comes with every edition but Express, which cannot be encrypted.
        _ if engine.starts_with("sqlserver") => vec![runs("the jobs of SQL Server Agent (msdb.dbo.sysjobs)")],
        _ => vec![],
    };
    if let Some(group) = &options.quarantine_security_group_id {
        if !found.is_empty() {
            found.push(format!(
                "Until the target is proven it has the security group `{group}` alone, so that none of this reaches \
                 anybody outside of it; within the copy it runs."
            ));
        }
        if !source.domain_memberships().is_empty() {
            found.push(format!(
                "The source is a member of a domain, which the target joins while it has the security group `{group}`: \
                 let that reach the directory, or the target is not proven."
            ));
        }
    } else if !found.is_empty() {
        found.push(
            "None of this can reach anybody before the proof if the target is restored behind a security group that \
             lets nothing in or out: quarantine_security_group_id."
                .to_owned(),
        );
    }
    Ok(found)
}

/// Whether MySQL's or MariaDB's events run, by the parameters of an instance.
pub(crate) async fn runs_events(context: &Context, source: &DbInstance) -> Result<bool, Error> {
    let engine = source.engine().unwrap_or_default();
    if engine != "mysql" && engine != "mariadb" {
        return Ok(false);
    }
    Ok(!mysql(engine, source.engine_version(), &set_by_somebody(context, source).await?).is_empty())
}

/// Whether an instance is set up to publish or subscribe by logical replication.
pub(crate) async fn replicates_logically(context: &Context, source: &DbInstance) -> Result<bool, Error> {
    if source.engine() != Some("postgres") {
        return Ok(false);
    }
    Ok(value(&set_by_somebody(context, source).await?, "rds.logical_replication") == Some("1"))
}

/// Of MariaDB; the default is MIXED.
pub(crate) async fn writes_rows_to_its_log(context: &Context, source: &DbInstance) -> Result<bool, Error> {
    Ok(value(&set_by_somebody(context, source).await?, "binlog_format") == Some("ROW"))
}

/// The parameters of the source's groups that are not at the engine's default; nothing else has to be read.
async fn set_by_somebody(context: &Context, source: &DbInstance) -> Result<Vec<Parameter>, Error> {
    let mut parameters = vec![];
    for group in source.db_parameter_groups().iter().filter_map(|group| group.db_parameter_group_name()) {
        let call = context.rds.describe_db_parameters().db_parameter_group_name(group).source("user");
        let answer: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
        let read = answer.map_err(|error| Error::from_call(format!("read the parameter group `{group}`"), error))?;
        parameters.extend(read);
    }
    Ok(parameters)
}

fn value<'a>(parameters: &'a [Parameter], name: &str) -> Option<&'a str> {
    let parameter = parameters.iter().find(|parameter| parameter.parameter_name() == Some(name))?;
    parameter.parameter_value().map(str::trim)
}

fn runs(what: &str) -> String {
    format!(
        "On the restored copy {what} run, too, from its start on and beside the source's: they do everything twice."
    )
}

fn postgres(parameters: &[Parameter]) -> Vec<String> {
    let mut found = vec![];
    let libraries = value(parameters, "shared_preload_libraries").unwrap_or_default();
    let is_loaded = |library: &str| libraries.split(',').any(|loaded| loaded.trim() == library);
    let mut subscriptions = vec![];
    // Four by default, so that any instance can be a subscriber.
    if value(parameters, "max_logical_replication_workers") != Some("0") {
        subscriptions.push("subscriptions (SELECT subname FROM pg_subscription WHERE subenabled)");
    }
    if is_loaded("pglogical") {
        subscriptions
            .push("subscriptions of pglogical (SELECT sub_name FROM pglogical.subscription WHERE sub_enabled)");
    }
    if !subscriptions.is_empty() {
        found.push(format!(
            "If the source has {}, the restored copy has them, too: from its start on it asks the publisher for the \
             changes, and takes them from the slot, so that the source misses them. writes_stopped does not see apply \
             workers, either. Disable subscriptions before the start (ALTER SUBSCRIPTION … DISABLE), and enable them \
             afterwards on the instance that serves.",
            subscriptions.join(" or ")
        ));
    }
    if is_loaded("pg_cron") {
        found.push(runs("the jobs of pg_cron (SELECT * FROM cron.job)"));
    }
    if is_loaded("pgactive") {
        found.push(runs("the apply workers of pgactive (SELECT * FROM pgactive.pgactive_nodes)"));
    }
    found
}

fn mysql(engine: &str, version: Option<&str>, parameters: &[Parameter]) -> Vec<String> {
    // "Default Value (≥ 8.0): ON" (MySQL Reference Manual, event_scheduler); MariaDB's is OFF.
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    let is_on_by_default = engine == "mysql" && major.is_some_and(|major| major >= 8);
    let is_on = value(parameters, "event_scheduler")
        .map_or(is_on_by_default, |value| value.eq_ignore_ascii_case("on") || value == "1");
    let events = "events (SELECT event_schema, event_name FROM information_schema.events WHERE status = 'ENABLED')";
    if is_on { vec![runs(events)] } else { vec![] }
}

fn oracle(parameters: &[Parameter]) -> Vec<String> {
    if value(parameters, "job_queue_processes") == Some("0") {
        return vec![];
    }
    vec![runs("scheduler jobs (SELECT owner, job_name FROM dba_scheduler_jobs WHERE enabled = 'TRUE')")]
}
