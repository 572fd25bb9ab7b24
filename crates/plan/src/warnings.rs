//! What does not stop the execution, but what its owner wants to know beforehand.

use aws_sdk_rds::types::DbInstance;
use settings::Settings;
use workflow::Error;
use workflow::options::Options;

use crate::blue_green::successor_of;
use crate::refusals::replicas;
use crate::{Context, online};
use workflow::estimate::Estimate;

pub(crate) fn of_source(source: &DbInstance, options: &Options) -> Vec<String> {
    let mut warnings = vec![];
    if !options.is_replicated() {
        warnings.push(
            "The target holds the data as of the snapshot (snapshot_database_time in the output): what is written to \
             the source afterwards is not in it."
                .to_owned(),
        );
    }
    if options.compare_data.is_some() {
        warnings.push(
            "compare_data: a row that anybody writes to the source between the snapshot and the comparison is a \
             difference, and what was made is undone: stop the writers before the start."
                .to_owned(),
        );
    }
    warnings.extend([
        "A KMS key cannot be changed later: another key means another copy and restore. Losing it means losing the \
         data."
            .to_owned(),
        "First reads on the target are slow: after a restore RDS loads each block from the snapshot when it is first \
         touched. Read the hot tables once before clients come."
            .to_owned(),
    ]);
    let engine = source.engine().unwrap_or_default();
    if source.multi_az() != Some(true) || engine.starts_with("sqlserver") {
        warnings.push(
            "Taking the snapshot suspends I/O for seconds to minutes, because the instance is not Multi-AZ (or is SQL \
             Server): start outside of busy hours."
                .to_owned(),
        );
    }
    // A preflight that logs in knows better.
    if engine == "postgres" && !options.is_replicated() {
        warnings.push(
            "Unlogged tables are empty after a restore, since a snapshot does not hold them; list them with SELECT \
             relname FROM pg_class WHERE relpersistence = 'u'."
                .to_owned(),
        );
        warnings.push(
            "Replication slots come along in the copy, inactive, and keep WAL: drop those that you do not use there \
             (pg_drop_replication_slot)."
                .to_owned(),
        );
    }
    if engine == "mysql" || engine == "mariadb" {
        // "Automated backups with unsupported MySQL (MariaDB) storage engines" (RDS User Guide).
        warnings.push(
            "A snapshot holds MyISAM and Aria tables as they are on disk at that moment, and they may need a repair \
             afterwards: stop their writers before the start, or move them to InnoDB. They are listed by SELECT \
             table_schema, table_name FROM information_schema.tables WHERE engine IN ('MyISAM', 'Aria') AND \
             table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')."
                .to_owned(),
        );
    }
    if let Some(successor) = successor_of(source.db_instance_identifier().unwrap_or_default()) {
        warnings.push(format!(
            "The source is called as a blue/green switchover calls what it leaves behind: if that is so, its data ends \
             at the switchover, and clients use `{successor}`."
        ));
    }
    let replicas = replicas(source);
    if !replicas.is_empty() {
        warnings.push(format!(
            "The read replicas {} stay unencrypted replicas of the source; create new ones of the target.",
            replicas.join(", ")
        ));
    }
    warnings.extend(
        Settings::notes(source)
            .into_iter()
            .filter(|note| !note.refuse)
            .map(|note| format!("{}: {}", note.field, note.message)),
    );
    warnings
}

/// The outage, announced: what a client of the name will see and when.
pub(crate) fn of_cutover(source: &DbInstance, options: &Options) -> Vec<String> {
    let id = source.db_instance_identifier().unwrap_or_default();
    let begins = match &options.isolation_security_group_id {
        Some(_) => "the moment on that the source is behind the isolating security group",
        None => "the first rename on",
    };
    let mut warnings = vec![format!(
        "The cutover is an outage: from {begins}, `{id}` answers nobody until the target has the name. Two \
         renames, each of which reboots, take minutes, and the new DNS name can take 10 minutes more to be known \
         everywhere. Clients must connect anew."
    )];
    if options.is_replicated() {
        warnings.push(format!(
            "Until the cutover `{id}` keeps its log until the target has taken it: a target that stops taking it fills \
             the storage of `{id}`. No write is lost; clients' sessions are ended when the cutover begins."
        ));
    }
    if let Some(opens) = &options.window {
        warnings.push(format!(
            "The outage begins and ends within the window: {opens} (UTC), each time {} minutes.",
            options.window_seconds / 60
        ));
    }
    if options.accept_lost_writes {
        warnings.push(format!(
            "ACCEPTED: what is written to `{id}` between the snapshot (snapshot_database_time) and the cutover is lost."
        ));
    }
    if options.isolation_security_group_id.is_none() && !options.is_replicated() {
        warnings.push(format!(
            "Without isolation_security_group_id, a client that holds the old address can still write to the old \
             instance after the cutover, and nobody will see it on `{id}`."
        ));
    }
    warnings.extend(match online::needs_log(source, options) {
        true => Some(online::BACKUPS_DO_NOT_WAIT.to_owned()),
        false => Settings::capture(source).backups_in_a_cutover().map(str::to_owned),
    });
    warnings
}

/// A wait that ends too early throws away what was waited for.
pub(crate) fn short_wait(source: &DbInstance, options: &Options) -> Option<String> {
    let most_minutes = Estimate::longest_wait_minutes(source);
    let given_minutes = options.max_wait_seconds / 60;
    (given_minutes < most_minutes).then(|| {
        format!(
            "One wait for the snapshot or its copy can take {most_minutes} minutes by a cautious estimate, but \
             max_wait_minutes ends it after {given_minutes}, and what was made is undone: raise it, up to 10080 (7 \
             days)."
        )
    })
}

pub(crate) async fn pending_maintenance(context: &Context, source: &DbInstance) -> Result<Vec<String>, Error> {
    let arn = source.db_instance_arn().unwrap_or_default();
    let answer = context.rds.describe_pending_maintenance_actions().resource_identifier(arn).send().await;
    let output = answer.map_err(|error| Error::from_call(format!("read the pending maintenance of {arn}"), error))?;
    let actions: Vec<&str> = output
        .pending_maintenance_actions()
        .iter()
        .flat_map(|resource| resource.pending_maintenance_action_details())
        .filter_map(|action| action.action())
        .collect();
    if actions.is_empty() {
        return Ok(vec![]);
    }
    Ok(vec![format!(
        "Maintenance is pending on the source ({}): in its window it can interrupt the snapshot.",
        actions.join(", ")
    )])
}

/// What is not ours and stays readable without the key.
///
/// `source_name`: what the source is called when the warning is read. After a cutover its old name
/// belongs to the encrypted instance, which nobody must delete by mistake.
pub(crate) fn plaintext(source: &DbInstance, source_name: &str) -> Vec<String> {
    let id = source_name;
    let mut stays = format!(
        "These stay in plain text and are yours to delete when you no longer need them: the source `{id}`, its older \
         manual snapshots (`aws rds describe-db-snapshots --db-instance-identifier {id}`)"
    );
    if source.backup_retention_period().is_some_and(|days| days > 0) {
        stays.push_str(", its automated backups");
    }
    if !source.db_instance_automated_backups_replications().is_empty() {
        stays.push_str(", their replicas in other Regions");
    }
    if !replicas(source).is_empty() {
        stays.push_str(", its read replicas");
    }
    stays.push('.');
    vec![stays]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Input;
    use serde_json::{Value, json};
    use workflow::options::Way;

    #[test]
    fn replicas_that_stay_behind_are_named() {
        let source = DbInstance::builder().read_replica_db_instance_identifiers("orders-replica").build();
        let options = |input: Value| Input::parse(&input, Way::Snapshot).expect("legal").options;
        let warnings = of_source(&source, &options(json!({"instance_id": "a"}))).join("\n");
        assert!(warnings.contains("orders-replica") && warnings.contains("as of the snapshot"), "{warnings}");
        // It follows its source.
        let parent = "arn:aws:states:eu-west-1:123456789012:execution:online:one";
        let warnings = of_source(&source, &options(json!({"instance_id": "a", "on_behalf_of": parent}))).join("\n");
        assert!(!warnings.contains("as of the snapshot"), "{warnings}");
        assert!(plaintext(&source, "orders").join("\n").contains("read replicas"));
    }
}
