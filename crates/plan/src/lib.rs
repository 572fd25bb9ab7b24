//! Reads everything that decides whether the encryption can work, and refuses before anything is
//! created; otherwise returns the whole state that the later steps work from. Right before a cutover it
//! reads again what could forbid that.
//!
//! AWS calls, all of them reads: DescribeDBInstances, DescribeDBSnapshots, KMS DescribeKey,
//! DescribeAccountAttributes, DescribeOrderableDBInstanceOptions, DescribeDBEngineVersions,
//! DescribeDBMajorEngineVersions, DescribeCertificates, DescribeBlueGreenDeployments,
//! DescribePendingMaintenanceActions, DescribeDBParameters; for security groups that the input names EC2
//! DescribeSecurityGroups; for a cutover or a plan alone DescribeEventSubscriptions, DescribeDBProxies,
//! DescribeDBProxyTargets, DescribeIntegrations, CloudWatch DescribeAlarms, DMS DescribeEndpoints and
//! DescribeReplicationTasks; for `writes_stopped` GetMetricStatistics; for a cutover or a resume Step
//! Functions DescribeExecution and ListExecutions.
//!
//! Repeating it is safe: it changes nothing.

mod blue_green;
mod cutover;
mod deployment;
mod ec2;
mod executions;
mod input;
mod key;
mod look_ups;
mod online;
mod own_accord;
mod references;
mod refusals;
mod resume;
mod rivals;
mod security_groups;
mod settled;
mod source;
#[cfg(test)]
mod tests;
mod warnings;
mod ways;

use std::time::Duration;

use aws_sdk_rds::types::DbInstance;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use settings::member::Member;
use settings::wanted::Wanted;
use settings::{Row, Settings};
use workflow::Error;
use workflow::deployment::Deployed;
use workflow::ids::{DeploymentName, InstanceId, Names};
use workflow::look::Look;
use workflow::options::{Cutover, Options, Way};
use workflow::owner::{Owner, TagPair};
use workflow::writes::{self, Writes};

pub use crate::cutover::Planned;
pub use crate::ec2::Ec2;
use crate::executions::Others;
use crate::input::Input;
pub use crate::look_ups::PATIENCE;
use crate::look_ups::advice;
pub use crate::ways::WayOut;
pub use workflow::estimate::Estimate;

/// The clients and the environment, read once at the start.
pub struct Context {
    pub rds: aws_sdk_rds::Client,
    pub kms: aws_sdk_kms::Client,
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    pub dms: aws_sdk_databasemigration::Client,
    pub sfn: aws_sdk_sfn::Client,
    pub ec2: Ec2,
    pub region: String,
    /// The machine that undoes what executions left.
    pub undo_state_machine_arn: String,
    /// For all look-ups that only advise together.
    pub patience: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Plan {
        /// The machine's.
        way: Way,
        /// The execution's input, whatever it is.
        input: Value,
        /// The execution's ARN.
        execution: String,
        /// RFC 3339, from the execution's context object.
        started_at: String,
        /// For an input that names no key: key id, key ARN, alias name or alias ARN.
        default_kms_key_id: String,
        state: PreviousLook,
    },
    CheckCutover {
        execution: String,
        state: Planned,
    },
}

/// What the plan remembers of its last answer, while the source is busy or the metric late. At the first look
/// the state holds neither.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PreviousLook {
    pub source: Option<Look>,
    pub writes_before: Option<Writes>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Response {
    Plan(Box<State>),
    /// Nothing forbids the cutover.
    CheckCutover {
        ready: bool,
    },
}

/// The state. Every field that a later state reads is there from now on, `null` where it is empty,
/// since a path that leads nowhere ends an execution with States.Runtime, which nothing catches.
#[derive(Debug, Serialize)]
pub struct State {
    pub way: Way,
    /// How far the execution has got, for the undo.
    pub phase: &'static str,
    // The reference's fields, with the reference's meaning.
    pub instance_id: InstanceId,
    pub availability_zone: Option<String>,
    pub db_subnet_group_name: Option<String>,
    /// The first group; `settings` has all of them.
    pub security_group_id: Option<String>,

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

    /// `ready` is false while the source is busy, or the metric of its connections late, and the plan is repeated.
    pub source: Look,
    // Filled in by the steps.
    pub applied: Option<()>,
    pub proof: Option<()>,
    pub protected: Option<()>,
    pub cleaned: Option<()>,
    pub error: Option<()>,
    pub undo: Option<()>,
    pub undo_error: Option<()>,
    #[serde(flatten)]
    pub of_way: OfWay,
}

/// What the steps of one way alone read.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum OfWay {
    Snapshot(Box<OfSnapshot>),
    BlueGreen(Box<OfBlueGreen>),
    Online(Box<OfOnline>),
}

#[derive(Debug, Serialize)]
pub struct OfSnapshot {
    #[serde(flatten)]
    pub names: Names,
    pub writes_before: Option<Writes>,
    pub no_encrypted_snapshot: Look,
    pub encrypted_snapshot: Look,
    pub target: Look,
    pub compared: Option<()>,
    pub writes: Option<()>,
    pub fenced: Option<()>,
    pub source_renamed: Option<()>,
    pub target_renamed: Option<()>,
}

/// The same as of the way by snapshot, which a nested execution goes, and what replication adds.
#[derive(Debug, Serialize)]
pub struct OfOnline {
    #[serde(flatten)]
    pub snapshot: OfSnapshot,
    /// For the nested execution of encrypt-instance.
    pub nested_input: Value,
    pub preflight: Option<()>,
    pub published: Option<()>,
    pub prepared: Option<()>,
    pub created: Option<()>,
    pub replication: Option<()>,
    pub verification: Option<()>,
    pub cut_over: Option<()>,
    pub opened: Option<()>,
    pub replication_cleaned: Option<()>,
}

#[derive(Debug, Serialize)]
pub struct OfBlueGreen {
    pub deployment_name: DeploymentName,
    /// The source first, then its read replicas.
    pub members: Vec<Member>,
    /// Of the source: green would have the engine's default [A44].
    pub parameter_group: Option<String>,
    pub deployment: Deployed,
    /// The same, until its storage is loaded.
    pub loaded: Deployed,
    pub lag: Option<()>,
    pub switched: Option<()>,
    pub verified: Option<()>,
}

/// What a human wants to read before the execution is started for real.
#[derive(Debug, Serialize)]
pub struct Plan {
    pub summary: Vec<String>,
    /// Every way there is, and which to choose.
    pub ways: Vec<WayOut>,
    pub settings: Vec<Row>,
    pub estimate: Estimate,
}

pub async fn handle(context: &Context, request: Request) -> Result<Response, Error> {
    match request {
        Request::Plan { way, input, execution, started_at, default_kms_key_id, state } => {
            let mut input = Input::parse(&input, way)?;
            input.kms_key_id.get_or_insert(default_kms_key_id);
            let state = match way {
                Way::Snapshot | Way::Online => plan(context, &input, way, &execution, &started_at, state).await?,
                Way::BlueGreen => Box::pin(deployment::plan(context, &input, &execution, state)).await?,
            };
            Ok(Response::Plan(Box::new(state)))
        }
        Request::CheckCutover { execution, state } => {
            cutover::check(context, &state, &execution).await?;
            Ok(Response::CheckCutover { ready: true })
        }
    }
}

async fn plan(
    context: &Context,
    input: &Input,
    way: Way,
    execution: &str,
    started_at: &str,
    previous: PreviousLook,
) -> Result<State, Error> {
    let options = &input.options;
    let source = source::find(context, &input.instance).await?;
    let instance_id = source::id(&source)?;
    // A refusal does not wait for advice, and advice not for what can be refused.
    let (checked, groups, advised) = tokio::try_join!(
        Box::pin(check(context, input, execution, &source, &instance_id)),
        Box::pin(security_groups::refuse(context, &source, options)),
        Box::pin(async { Ok(advise(context, &source, options).await) }),
    )?;
    let Checked { key, names, owner, settings, tags, warnings } = checked;
    let (looked_at, writes_before) = look(context, input, &source, &instance_id, started_at, previous).await?;

    let mut warnings = [warnings::of_source(&source, options), warnings, groups, advised].concat();
    warnings.extend(warnings::short_wait(&source, options));
    warnings.extend(warnings::plaintext(
        &source,
        match options.cutover {
            Cutover::None => instance_id.as_str(),
            Cutover::Rename => names.unencrypted_instance_id.as_str(),
        },
    ));
    if options.cutover == Cutover::Rename {
        warnings.extend(warnings::of_cutover(&source, options));
    }

    let plan = match options.plan_only {
        true => Some(Plan {
            summary: summary(&source, &names, &key, options),
            ways: ways::compare(context, &source).await?,
            settings: settings.table(&source),
            estimate: Estimate::of(&source),
        }),
        false => None,
    };
    let snapshot = OfSnapshot {
        names,
        writes_before,
        no_encrypted_snapshot: Look::default(),
        encrypted_snapshot: Look::default(),
        target: Look::default(),
        compared: None,
        writes: None,
        fenced: None,
        source_renamed: None,
        target_renamed: None,
    };
    let of_way = match way {
        Way::Online => OfWay::Online(Box::new(OfOnline {
            snapshot,
            nested_input: online::nested_input(&instance_id, &key, options, execution),
            preflight: None,
            published: None,
            prepared: None,
            created: None,
            replication: None,
            verification: None,
            cut_over: None,
            opened: None,
            replication_cleaned: None,
        })),
        _ => OfWay::Snapshot(Box::new(snapshot)),
    };
    let planned = PlannedState { instance_id, owner, key, tags, settings, warnings, plan, looked_at, of_way };
    Ok(planned.state(&source, options))
}

/// What both ways make their state of.
struct PlannedState {
    instance_id: InstanceId,
    owner: Owner,
    key: key::Key,
    tags: Vec<TagPair>,
    settings: Settings,
    warnings: Vec<String>,
    plan: Option<Plan>,
    looked_at: Look,
    of_way: OfWay,
}

impl PlannedState {
    fn state(self, source: &DbInstance, options: &Options) -> State {
        let Self { instance_id, owner, key, tags, settings, warnings, plan, looked_at, of_way } = self;
        State {
            way: match of_way {
                OfWay::Snapshot(_) => Way::Snapshot,
                OfWay::BlueGreen(_) => Way::BlueGreen,
                OfWay::Online(_) => Way::Online,
            },
            phase: "preparing",
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
            source: looked_at,
            instance_id,
            options: options.clone(),
            kms_key_arn: key.arn,
            tags,
            settings,
            final_settings: Settings::capture(source),
            announcement: warnings.iter().map(|warning| format!("- {warning}\n")).collect(),
            warnings,
            plan,
            applied: None,
            proof: None,
            protected: None,
            cleaned: None,
            error: None,
            undo: None,
            undo_error: None,
            of_way,
        }
    }
}

/// What the plan decided while it looked for what cannot work.
struct Checked {
    key: key::Key,
    names: Names,
    owner: Owner,
    settings: Settings,
    tags: Vec<TagPair>,
    warnings: Vec<String>,
}

/// Refuses what cannot work.
async fn check(
    context: &Context,
    input: &Input,
    execution: &str,
    source: &DbInstance,
    instance_id: &InstanceId,
) -> Result<Checked, Error> {
    let Input { options, resume, .. } = input;
    let is_cutover = options.cutover == Cutover::Rename;
    refusals::instance(source)?;
    if options.is_replicated() {
        online::refuse(source)?;
    }
    online::refuse_login(source, options)?;
    let key = key::usable(context, input.kms_key_id.as_deref().unwrap_or_default()).await?;
    let mut warnings = vec![];
    warnings.extend(blue_green::refuse(context, source, options.cutover, None).await?);
    // A resume adopts what counts against the quotas already.
    if resume.is_none() {
        let needed = refusals::Needed { snapshots: refusals::SNAPSHOTS_NEEDED, ..refusals::Needed::of(&[source]) };
        warnings.extend(refusals::quotas(context, &needed).await?);
    }
    let others = if is_cutover || resume.is_some() { Others::of(context, execution).await? } else { Others::default() };
    let names = Names::derive(instance_id, input.target_instance_id.as_ref());
    let owner = Owner {
        execution: match &options.on_behalf_of {
            Some(parent) => online::running(context, parent).await?,
            None => resume::owner(context, execution, resume.as_deref(), &others).await?,
        },
        source_resource_id: source.dbi_resource_id().unwrap_or_default().to_owned(),
    };
    if is_cutover {
        let old_name = &names.unencrypted_instance_id;
        warnings.extend(cutover::refuse(context, source, options, old_name, &owner, &others).await?);
        if let Some(undo) = rivals::undo(context, source, &others).await? {
            return Err(Error::CutoverInProgress(format!("{undo}: wait for its end, then start again")));
        }
    }
    refusals::names(context, instance_id, &names, &owner, input).await?;
    let backups_wait = options.cutover == Cutover::Rename && !online::needs_log(source, options);
    let backups = if backups_wait { Cutover::Rename } else { Cutover::None };
    let Wanted { mut settings, tags, .. } = Wanted::of(source, backups);
    refusals::tags(&tags)?;
    warnings.extend(settled::refusals(context, source, &mut settings).await?);
    Ok(Checked { key, names, owner, settings, tags, warnings })
}

/// What does not stop the execution, looked for side by side.
async fn advise(context: &Context, source: &DbInstance, options: &Options) -> Vec<String> {
    let references = async {
        if options.cutover == Cutover::Rename || options.plan_only {
            references::find(context, source, Way::Snapshot, options.cutover).await
        } else {
            vec![]
        }
    };
    let (maintenance, itself, references) = tokio::join!(
        advice(context, "pending maintenance", warnings::pending_maintenance(context, source)),
        advice(
            context,
            "what a restored copy does by itself (DB parameters)",
            own_accord::find(context, source, options)
        ),
        references,
    );
    [maintenance, itself, references].concat()
}

/// Whether the execution can go on with the source now, or for how long to wait.
async fn look(
    context: &Context,
    input: &Input,
    source: &DbInstance,
    instance_id: &InstanceId,
    started_at: &str,
    previous: PreviousLook,
) -> Result<(Look, Option<Writes>), Error> {
    let options = &input.options;
    let look = source::look(source, instance_id, options, previous.source.as_ref())?;
    // Nobody has stopped anything for a plan alone.
    if !options.writes_stopped || options.plan_only {
        return Ok((look, None));
    }
    let writes = match previous.writes_before {
        Some(proven) if proven.ready => proven,
        looked => writes::look(&context.cloudwatch, instance_id, started_at, started_at, looked).await?,
    };
    let look = match look.ready && !writes.ready {
        true => Look { ready: false, wait: writes.wait.clone(), ..look },
        false => look,
    };
    Ok((look, Some(writes)))
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
