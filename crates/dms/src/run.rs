//! Starts tasks, and says how far they are.

use aws_sdk_databasemigration::types::{ReplicationTask, StartReplicationTaskTypeValue, TableStatistics};
use workflow::Error;

use crate::{Replication, found};

/// How far a database is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Every table was loaded, and compared once.
    pub is_loaded: bool,
    pub percent_loaded: i32,
    pub tables: usize,
    /// Rows that the validation has not come to yet, or that have changed since.
    pub pending_rows: i64,
}

impl Progress {
    /// Nothing is left to compare: under load this never holds for long.
    pub fn is_validated(&self) -> bool {
        self.is_loaded && self.pending_rows == 0
    }
}

impl Replication<'_> {
    /// Starts the task if it never ran, and looks at every table; `None` until it runs.
    pub async fn run(&self, oid: u32) -> Result<Option<Progress>, Error> {
        let task = self.existing_task(oid).await?;
        match task.status().unwrap_or_default() {
            "ready" => {
                let name = found(&task).name;
                let call = self.client.start_replication_task().replication_task_arn(found(&task).arn);
                let call = call.start_replication_task_type(StartReplicationTaskTypeValue::StartReplication);
                call.send().await.map_err(|error| Error::from_call(format!("start {name}"), error))?;
                Ok(None)
            }
            "running" => self.progress_of(&task).await.map(Some),
            "failed" | "failed-move" | "stopped" | "stopping" | "deleting" => Err(failed(&task)),
            _ => Ok(None),
        }
    }

    /// Of a task that is to be running.
    pub async fn progress(&self, oid: u32) -> Result<Progress, Error> {
        let task = self.existing_task(oid).await?;
        if task.status() != Some("running") {
            return Err(failed(&task));
        }
        self.progress_of(&task).await
    }

    async fn existing_task(&self, oid: u32) -> Result<ReplicationTask, Error> {
        let id = self.task_id(oid);
        let task = self.task(oid).await?;
        task.ok_or_else(|| Error::ReplicationFailed(format!("DMS task `{id}` is gone: somebody deleted it")))
    }

    async fn progress_of(&self, task: &ReplicationTask) -> Result<Progress, Error> {
        let named = found(task);
        let pages = self.client.describe_table_statistics().replication_task_arn(&named.arn).into_paginator().send();
        let pages: Vec<_> = pages
            .collect::<Result<_, _>>()
            .await
            .map_err(|error| Error::from_call(format!("read the tables of {}", named.name), error))?;
        let tables: Vec<&TableStatistics> = pages.iter().flat_map(|page| page.table_statistics()).collect();
        let percent_loaded = task.replication_task_stats().map_or(0, |stats| stats.full_load_progress_percent());
        let mut progress = Progress {
            is_loaded: percent_loaded == 100 && !tables.is_empty(),
            percent_loaded,
            tables: tables.len(),
            pending_rows: 0,
        };
        for table in tables {
            look_at(table, &named.name)?;
            progress.is_loaded &= table.table_state() == Some("Table completed") && was_compared(table);
            progress.pending_rows += table.validation_pending_records();
        }
        Ok(progress)
    }
}

/// API model, ValidationState. A table that has no primary key is compared by us.
fn was_compared(table: &TableStatistics) -> bool {
    matches!(
        table.validation_state(),
        Some("Validated" | "Pending records" | "Pending revalidation" | "No primary key")
    )
}

/// What no waiting mends.
fn look_at(table: &TableStatistics, task: &str) -> Result<(), Error> {
    let name = format!("table {}.{}", table.schema_name().unwrap_or_default(), table.table_name().unwrap_or_default());
    let (state, validation) = (table.table_state().unwrap_or_default(), table.validation_state().unwrap_or_default());
    // It has looked again before it counts a row [A108].
    if table.validation_failed_records() > 0 || validation == "Mismatched records" {
        return Err(Error::DataDiffers(format!(
            "{task}, {name}: the validation of AWS DMS found {} rows that differ between source and target",
            table.validation_failed_records()
        )));
    }
    let is_lost = matches!(state, "Table error" | "Table cancelled" | "Table does not exist")
        || matches!(validation, "Table error" | "Error" | "Suspended records")
        || table.validation_suspended_records() > 0;
    if is_lost {
        return Err(Error::ReplicationFailed(format!(
            "{task}, {name}: its state is `{state}`, its validation `{validation}`; the task's log in CloudWatch says why"
        )));
    }
    Ok(())
}

fn failed(task: &ReplicationTask) -> Error {
    let named = found(task);
    let why = [task.last_failure_message(), task.stop_reason()].into_iter().flatten().collect::<Vec<_>>().join("; ");
    Error::ReplicationFailed(format!(
        "{} is `{}`: {}; start again once the reason is gone",
        named.name,
        named.status,
        if why.is_empty() { "somebody stopped it" } else { &why }
    ))
}
