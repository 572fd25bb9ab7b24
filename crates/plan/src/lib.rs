//! Reads everything that decides whether the encryption can work, and refuses before anything is
//! created; otherwise returns the whole state that the later steps work from.
//!
//! AWS calls, all of them reads: DescribeDBInstances, DescribeDBSnapshots, KMS DescribeKey,
//! DescribeAccountAttributes, DescribeOrderableDBInstanceOptions, DescribeBlueGreenDeployments,
//! DescribePendingMaintenanceActions; for a cutover or a plan alone DescribeEventSubscriptions,
//! DescribeDBProxies, DescribeDBProxyTargets, DescribeIntegrations, CloudWatch DescribeAlarms, DMS
//! DescribeEndpoints and DescribeReplicationTasks; for a resume Step Functions DescribeExecution and
//! ListExecutions.
//!
//! Repeating it is safe: it changes nothing.

mod estimate;
mod input;
mod key;
mod references;
mod refusals;
mod resume;
mod source;
#[cfg(test)]
mod tests;
mod warnings;

use aws_sdk_rds::types::DbInstance;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use workflow::Error;
use workflow::ids::{InstanceId, Names};
use workflow::look::Look;
use workflow::options::{Cutover, Options};
use workflow::owner::{Owner, TagPair};
use workflow::settings::{Row, Settings};
use workflow::wanted::Wanted;

pub use crate::estimate::Estimate;
use crate::input::Input;

/// The clients and the stack's parameters, read once at the start.
pub struct Context {
    pub rds: aws_sdk_rds::Client,
    pub kms: aws_sdk_kms::Client,
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    pub dms: aws_sdk_databasemigration::Client,
    pub sfn: aws_sdk_sfn::Client,
    pub region: String,
    /// The machine that undoes what executions left.
    pub undo_state_machine_arn: String,
    /// The stack's default key: key id, key ARN, alias name or alias ARN.
    pub kms_key_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The execution's input, whatever it is.
    pub input: Value,
    /// The execution's ARN.
    pub execution: String,
    /// The last look at a source that was busy.
    #[serde(default)]
    pub previous: Option<Look>,
}

/// The state. Every field that a later state reads is there from now on, `null` where it is empty,
/// since a path that leads nowhere ends an execution with States.Runtime, which nothing catches.
#[derive(Debug, Serialize)]
pub struct Response {
    // The reference's fields, with the reference's meaning.
    pub instance_id: InstanceId,
    pub availability_zone: Option<String>,
    pub db_subnet_group_name: Option<String>,
    /// The first group; `settings` has all of them.
    pub security_group_id: Option<String>,
    #[serde(flatten)]
    pub names: Names,

    pub options: Options,
    pub owner: Owner,
    /// Pinned: an alias could point to another key tomorrow.
    pub kms_key_arn: String,
    pub tags: Vec<TagPair>,
    /// What the target is restored with. When it is proven, it has the source's settings of then.
    pub settings: Settings,
    /// What it is to have in the end: with a cutover, backups come after the second rename.
    pub final_settings: Settings,
    pub warnings: Vec<String>,
    /// The same as lines of text, for the mail that asks for an approval.
    pub announcement: String,
    /// The table for a change request; only for `plan_only`, to keep the state small.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,

    /// `ready` is false while the source is busy, and the plan is repeated.
    pub source: Look,
    // Filled in by the steps.
    pub no_encrypted_snapshot: Look,
    pub encrypted_snapshot: Look,
    pub target: Look,
    pub writes_before: Option<()>,
    pub applied: Option<()>,
    pub initialized: Look,
    pub writes: Option<()>,
    pub fenced: Option<()>,
    pub source_renamed: Option<()>,
    pub target_renamed: Option<()>,
    pub restored_names: Option<()>,
    pub unfenced: Option<()>,
    pub protected: Option<()>,
    pub cleaned: Option<()>,
    pub undo: Option<()>,
    pub undo_error: Option<()>,
}

/// What a human wants to read before the execution is started for real.
#[derive(Debug, Serialize)]
pub struct Plan {
    pub summary: Vec<String>,
    pub settings: Vec<Row>,
    pub estimate: Estimate,
}

pub async fn handle(context: &Context, request: Request) -> Result<Response, Error> {
    let input = Input::parse(&request.input)?;
    let source = source::find(context, &input.instance).await?;
    let instance_id = source::id(&source)?;
    refusals::instance(&source)?;
    let key = key::usable(context, input.kms_key_id.as_deref()).await?;
    refusals::blue_green_deployment(context, &source).await?;
    let orderable = refusals::orderable(context, &source).await?;
    // A resume adopts what counts against the quotas already.
    if input.resume.is_none() {
        refusals::quotas(context, &source).await?;
    }
    refusals::cutover(&source, &input.options)?;
    let names = Names::derive(&instance_id, input.target_instance_id.as_ref());
    let owner = Owner {
        execution: resume::owner(context, &request.execution, input.resume.as_deref()).await?,
        source_resource_id: source.dbi_resource_id().unwrap_or_default().to_owned(),
    };
    refusals::names(context, &instance_id, &names, &owner, &input).await?;
    let Wanted { settings, tags, .. } = Wanted::of(&source, input.options.cutover);
    refusals::tags(&tags)?;

    let mut warnings = warnings::of_source(&source);
    warnings.extend(orderable);
    warnings.extend(warnings::pending_maintenance(context, &source).await?);
    warnings.extend(warnings::plaintext(
        &source,
        match input.options.cutover {
            Cutover::None => instance_id.as_str(),
            Cutover::Rename => names.unencrypted_instance_id.as_str(),
        },
    ));

    if input.options.cutover == Cutover::Rename || input.options.plan_only {
        warnings.extend(references::find(context, &source).await?);
    }
    if input.options.cutover == Cutover::Rename {
        warnings.extend(warnings::of_cutover(&source, &input.options));
    }

    let plan = input.options.plan_only.then(|| Plan {
        summary: summary(&source, &names, &key, &input.options),
        settings: settings.table(&source),
        estimate: Estimate::of(&source),
    });
    Ok(Response {
        availability_zone: source.availability_zone().map(str::to_owned),
        db_subnet_group_name: source
            .db_subnet_group()
            .and_then(|group| group.db_subnet_group_name())
            .map(str::to_owned),
        security_group_id: source
            .vpc_security_groups()
            .first()
            .and_then(|group| group.vpc_security_group_id())
            .map(str::to_owned),
        owner,
        source: source::look(&source, &instance_id, request.previous.as_ref(), input.options.max_wait_seconds)?,
        instance_id,
        names,
        options: input.options,
        kms_key_arn: key.arn,
        tags,
        settings,
        final_settings: Settings::capture(&source),
        announcement: warnings.iter().map(|warning| format!("- {warning}\n")).collect(),
        warnings,
        plan,
        no_encrypted_snapshot: Look::default(),
        encrypted_snapshot: Look::default(),
        target: Look::default(),
        writes_before: None,
        applied: None,
        initialized: Look::default(),
        writes: None,
        fenced: None,
        source_renamed: None,
        target_renamed: None,
        restored_names: None,
        unfenced: None,
        protected: None,
        cleaned: None,
        undo: None,
        undo_error: None,
    })
}

fn summary(source: &DbInstance, names: &Names, key: &key::Key, options: &Options) -> Vec<String> {
    let id = source.db_instance_identifier().unwrap_or_default();
    let mut lines = vec![
        format!(
            "Source: {} ({} {}, {}, {} GiB), not encrypted. Until the proof it is only read and snapshotted; it is never deleted.",
            source.db_instance_identifier().unwrap_or_default(),
            source.engine().unwrap_or_default(),
            source.engine_version().unwrap_or_default(),
            source.db_instance_class().unwrap_or_default(),
            source.allocated_storage().unwrap_or_default(),
        ),
        format!("1. Snapshot {} (unencrypted)", names.no_encrypted_snapshot_id),
        format!("2. Copy {} under {} ({})", names.encrypted_snapshot_id, key.arn, key.manager),
        format!("3. Restore as DB instance {}, with the settings below", names.encrypted_instance_id),
        "4. Proof: encryption, key and every setting of source and target side by side".to_owned(),
    ];
    if options.approval {
        lines.push("Then the execution waits for an approval".to_owned());
    }
    if options.cutover == Cutover::Rename {
        lines.push(format!("5. Rename {id} to {}: the name answers nobody from here", names.unencrypted_instance_id));
        lines.push(format!("6. Rename {} to {id}: the name answers again, encrypted", names.encrypted_instance_id));
    }
    lines
}
