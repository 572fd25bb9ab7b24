//! What Step Functions knows of earlier attempts: an execution of a fleet is called `<DbiResourceId>-<attempt>`.
//!
//! ListExecutions is eventually consistent, so that one of the last seconds can be missing. The name is what guards:
//! Step Functions starts no second execution of it.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_sfn::Client;
use aws_sdk_sfn::types::{ExecutionListItem, ExecutionStatus};
use serde_json::Value;
use workflow::Error;

use crate::ask::Ask;

#[derive(Debug, Default)]
pub(crate) struct Attempts {
    running: BTreeSet<String>,
    /// How many have ended, by DbiResourceId.
    ended: BTreeMap<String, u32>,
}

impl Attempts {
    /// Step Functions remembers them for 90 days.
    pub(crate) async fn of(client: &Client, machines: &BTreeMap<&'static str, String>) -> Result<Self, Error> {
        let mut attempts = Self::default();
        for machine in machines.values() {
            for execution in list(client, machine, None).await? {
                let Some(resource_id) = resource_id_in(&execution.name) else { continue };
                match execution.status {
                    ExecutionStatus::Running => _ = attempts.running.insert(resource_id.to_owned()),
                    _ => *attempts.ended.entry(resource_id.to_owned()).or_default() += 1,
                }
            }
        }
        Ok(attempts)
    }

    pub(crate) fn is_running(&self, resource_id: &str) -> bool {
        self.running.contains(resource_id)
    }

    pub(crate) fn ended(&self, resource_id: &str) -> u32 {
        self.ended.get(resource_id).copied().unwrap_or_default()
    }
}

/// `db-ABC-1`: an execution that a fleet started. Others have names of their own.
fn resource_id_in(name: &str) -> Option<&str> {
    let (resource_id, attempt) = name.rsplit_once('-')?;
    (resource_id.starts_with("db-") && attempt.parse::<u32>().is_ok()).then_some(resource_id)
}

/// Whether a fleet of all instances that began earlier still runs; a tie goes by name.
pub(crate) async fn is_sweep_running(client: &Client, execution: &str) -> Result<bool, Error> {
    let Some((machine, _)) = execution.rsplit_once(':') else { return Ok(false) };
    let machine = machine.replacen(":execution:", ":stateMachine:", 1);
    let running = list(client, &machine, Some(ExecutionStatus::Running)).await?;
    let order = |one: &ExecutionListItem| (one.start_date.as_nanos(), one.execution_arn.clone());
    // One that is not in the list yet is the latest.
    let this = running.iter().find(|other| other.execution_arn == execution).map(order);
    for other in running.iter().filter(|other| other.execution_arn != execution) {
        if this.as_ref().is_some_and(|this| order(other) > *this) {
            continue;
        }
        let described = client.describe_execution().execution_arn(&other.execution_arn).send().await;
        let described = described
            .map_err(|error| Error::from_call(format!("describe execution {}", other.execution_arn), error))?;
        let input: Value = described.input().and_then(|input| serde_json::from_str(input).ok()).unwrap_or_default();
        if *described.status() == ExecutionStatus::Running && Ask::is_sweep_input(&input) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn list(
    client: &Client,
    machine: &str,
    status: Option<ExecutionStatus>,
) -> Result<Vec<ExecutionListItem>, Error> {
    let call = client.list_executions().state_machine_arn(machine).set_status_filter(status).max_results(1_000);
    let executions: Result<_, _> = call.into_paginator().items().send().collect().await;
    executions.map_err(|error| Error::from_call(format!("list the executions of {machine}"), error))
}
