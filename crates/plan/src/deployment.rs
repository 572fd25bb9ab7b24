//! The way by a blue/green deployment: what it asks of an instance, and the state that its steps work from.

use aws_sdk_rds::types::{BlueGreenDeployment, DbInstance};
use settings::member::Member;
use settings::wanted::Wanted;
use workflow::Error;
use workflow::deployment::{Deployed, find_own};
use workflow::describe::find_instance;
use workflow::ids::{DeploymentName, InstanceId};
use workflow::look::Look;
use workflow::options::{Cutover, OnFailure, Options, Way};
use workflow::owner::Owner;

use crate::executions::Others;
use crate::input::Input;
use crate::look_ups::{advice, said_unless_passing};
use crate::{
    Context, OfBlueGreen, OfWay, Plan, PlannedState, PreviousLook, State, blue_green, key, own_accord, references,
    refusals, resume, rivals, source, warnings, ways,
};
use workflow::estimate::Estimate;

/// "Supported Regions and DB engines for blue/green deployments" (RDS User Guide): the oldest version of each.
const OLDEST_VERSIONS: &[(&str, (u32, u32))] = &[("mariadb", (10, 2)), ("mysql", (5, 7)), ("postgres", (11, 1))];
/// TargetResourceConfigurations has at most 20 entries (API model).
const MEMBERS_MAX: usize = 20;

pub(crate) async fn plan(
    context: &Context,
    input: &Input,
    execution: &str,
    previous: PreviousLook,
) -> Result<State, Error> {
    let options = &input.options;
    let source = source::find(context, &input.instance).await?;
    let instance_id = source::id(&source)?;
    refusals::instance(&source)?;
    let key = key::usable(context, input.kms_key_id.as_deref().unwrap_or_default()).await?;
    let others = Others::of(context, execution).await?;
    let owner = Owner {
        execution: resume::owner(context, execution, input.resume.as_deref(), &others).await?,
        source_resource_id: source.dbi_resource_id().unwrap_or_default().to_owned(),
    };
    if let Some(undo) = rivals::undo(context, &source, &others).await? {
        return Err(Error::CutoverInProgress(format!("{undo}: wait for its end, then start again")));
    }
    let deployment_name = DeploymentName::derive(&instance_id);
    // Nobody may swap these names beside this execution, so it must be able to look.
    blue_green::refuse(context, &source, Cutover::Rename, Some((&deployment_name, &owner))).await?;
    let own = find_own(&context.rds, &deployment_name, &owner).await?;
    let replicas = without_green(replicas(context, &source).await?, own.as_ref());
    let Obstacles { closed, mut told } = obstacles(context, &source, &replicas, input.accept_stack_drift).await?;
    if !closed.is_empty() {
        return Err(Error::BlueGreenNotSupported(format!(
            "`{instance_id}` cannot be encrypted by a blue/green deployment: {}. The state machine encrypt-instance can \
             do it by snapshot, with another outage (\"cutover\": \"rename\")",
            closed.join("; ")
        )));
    }
    let instances: Vec<&DbInstance> = std::iter::once(&source).chain(&replicas).collect();
    // A resume adopts what counts against the quotas already.
    if input.resume.is_none() {
        told.extend(refusals::quotas(context, &refusals::Needed::of(&instances)).await?);
    }
    let members: Vec<Member> = instances.iter().map(|instance| member(instance, &key)).collect();
    for member in &members {
        refusals::tags(&member.wanted.tags)?;
    }
    let Wanted { settings, tags, .. } = Wanted::of(&source, Cutover::None);
    let looked_at = look(&instances, options, previous)?;
    let warnings = [of_blue_green(&source, &members, options), told, advise(context, &source).await].concat();
    let plan = match options.plan_only {
        true => Some(Plan {
            summary: summary(&source, &members, &deployment_name, &key, options),
            ways: ways::compare(context, &source).await?,
            settings: settings.table(&source),
            estimate: Estimate::of(&source),
        }),
        false => None,
    };
    let of_way = OfWay::BlueGreen(Box::new(OfBlueGreen {
        deployment_name,
        members,
        parameter_group: source
            .db_parameter_groups()
            .first()
            .and_then(|group| group.db_parameter_group_name())
            .map(str::to_owned),
        deployment: Deployed::default(),
        loaded: Deployed::default(),
        lag: None,
        switched: None,
        verified: None,
    }));
    let planned = PlannedState { instance_id, owner, key, tags, settings, warnings, plan, looked_at, of_way };
    Ok(planned.state(&source, options))
}

fn member(instance: &DbInstance, key: &key::Key) -> Member {
    Member {
        arn: instance.db_instance_arn().unwrap_or_default().to_owned(),
        kms_key_arn: key.arn.clone(),
        wanted: Wanted { tags_come_with_switchover: true, ..Wanted::of(instance, Cutover::None) },
    }
}

/// The read replicas of an instance in its own Region.
pub(crate) async fn replicas(context: &Context, source: &DbInstance) -> Result<Vec<DbInstance>, Error> {
    let mut replicas = vec![];
    for id in source.read_replica_db_instance_identifiers() {
        // One of another Region is named by its ARN.
        let Ok(id) = InstanceId::parse(id) else { continue };
        replicas.extend(find_instance(&context.rds, &id).await?);
    }
    Ok(replicas)
}

/// What a resumed execution made can be shown among the source's replicas [A47].
fn without_green(replicas: Vec<DbInstance>, own: Option<&BlueGreenDeployment>) -> Vec<DbInstance> {
    let is_green = |replica: &DbInstance| {
        let mut details = own.into_iter().flat_map(|own| own.switchover_details());
        details.any(|detail| detail.target_member() == replica.db_instance_arn())
    };
    replicas.into_iter().filter(|replica| !is_green(replica)).collect()
}

/// What stands in this way, and what could not be looked for.
#[derive(Default)]
pub(crate) struct Obstacles {
    pub(crate) closed: Vec<String>,
    pub(crate) told: Vec<String>,
}

/// "Limitations and considerations for Amazon RDS blue/green deployments" (RDS User Guide).
pub(crate) async fn obstacles(
    context: &Context,
    source: &DbInstance,
    replicas: &[DbInstance],
    accept_stack_drift: bool,
) -> Result<Obstacles, Error> {
    let mut closed = of_description(source, replicas);
    let mut told = vec![];
    let stack = source.tag_list().iter().find(|tag| tag.key() == Some("aws:cloudformation:stack-name"));
    if let Some(stack) = stack.and_then(|tag| tag.value()).filter(|_| !accept_stack_drift) {
        closed.push(format!(
            "the CloudFormation stack `{stack}` owns it and would go on to describe the old instance: say \
             \"accept_stack_drift\": true, and import the new one into the stack afterwards"
        ));
    }
    match references::integrations(context, source).await {
        Ok(integrations) if integrations.is_empty() => {}
        Ok(integrations) => closed.push(format!(
            "zero-ETL integrations read it ({}): delete them first, and create them anew afterwards",
            integrations.join(", ")
        )),
        // Safe to go on: RDS itself refuses the switchover.
        Err(error) => told.push(said_unless_passing("zero-ETL integrations", error)?),
    }
    match own_accord::runs_events(context, source).await {
        Ok(false) => {}
        Ok(true) => closed.push(
            "its events are on, and would run on both sides: set event_scheduler to OFF in its parameter group until \
             the switchover"
                .to_owned(),
        ),
        Err(error) => told.push(said_unless_passing("event_scheduler in its DB parameters", error)?),
    }
    Ok(Obstacles { closed, told })
}

pub(crate) fn of_description(source: &DbInstance, replicas: &[DbInstance]) -> Vec<String> {
    let engine = source.engine().unwrap_or_default();
    let version = source.engine_version().unwrap_or_default();
    let oldest = OLDEST_VERSIONS.iter().find(|(supported, _)| *supported == engine).map(|(_, oldest)| *oldest);
    let mut closed = vec![];
    match oldest {
        None => closed.push(format!("RDS has no blue/green deployments for the engine {engine}")),
        Some((major, minor)) if is_older(version, (major, minor)) => {
            closed.push(format!("RDS has them for {engine} from {major}.{minor} on, and this is {version}"));
        }
        Some(_) => {}
    }
    if source.backup_retention_period().unwrap_or_default() == 0 {
        closed.push("its automated backups are off: switch them on (backup retention period)".to_owned());
    }
    if source.master_user_secret().is_some() {
        closed.push(
            "its master password is managed in Secrets Manager: give it a password of your own until the switchover \
             (--no-manage-master-user-password)"
                .to_owned(),
        );
    }
    let ids = source.read_replica_db_instance_identifiers();
    if ids.iter().any(|id| id.starts_with("arn:")) {
        closed.push("it has read replicas in other Regions: delete them, and create them anew afterwards".to_owned());
    }
    if !source.read_replica_db_cluster_identifiers().is_empty() {
        closed.push("it has DB clusters as read replicas: delete them first".to_owned());
    }
    for replica in replicas.iter().filter(|replica| !refusals::replicas(replica).is_empty()) {
        closed.push(format!(
            "its read replica `{}` has replicas of its own: delete those, and create them anew afterwards",
            replica.db_instance_identifier().unwrap_or_default()
        ));
    }
    let has_log_volume = |instance: &DbInstance| instance.dedicated_log_volume() == Some(true);
    if replicas.iter().any(|replica| has_log_volume(replica) != has_log_volume(source)) {
        closed.push(
            "some of its members have a dedicated log volume and some not: give it to all, or to none".to_owned(),
        );
    }
    if replicas.len() + 1 > MEMBERS_MAX {
        closed.push(format!("it has {} members, and a request names at most {MEMBERS_MAX}", replicas.len() + 1));
    }
    closed
}

/// Whether `8.0.35` or `10.2` comes before a version. What cannot be read is RDS's to judge.
pub(crate) fn is_older(version: &str, (major, minor): (u32, u32)) -> bool {
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    parts.next().is_some_and(|first| (first, parts.next().unwrap_or_default()) < (major, minor))
}

/// All members must be at rest: RDS begins with no other.
fn look(instances: &[&DbInstance], options: &Options, previous: PreviousLook) -> Result<Look, Error> {
    let busy = instances.iter().find(|instance| instance.db_instance_status() != Some("available"));
    let instance = busy.unwrap_or(&instances[0]);
    source::look(instance, &source::id(instance)?, options, previous.source.as_ref())
}

fn of_blue_green(source: &DbInstance, members: &[Member], options: &Options) -> Vec<String> {
    let id = source.db_instance_identifier().unwrap_or_default();
    let mut warnings = vec![
        format!(
            "The switchover is an outage: RDS stops writes and drops all connections of `{id}`, waits until green has \
             every write, and gives it the name. Usually that takes less than a minute; after {} s RDS takes it back. \
             Clients must connect anew.",
            options.switchover_timeout_seconds
        ),
        format!(
            "While the deployment exists, `{id}` keeps its log until green has taken it. If its free storage falls \
             below a twentieth (at least 1 GiB, at most 50 GiB), the execution fails and is undone."
        ),
        "The old instances stay, under the names that RDS gives them (…-old1), read-only, unencrypted and billed. \
         Writes do not go back to them: after the switchover there is no way back."
            .to_owned(),
        "A KMS key cannot be changed later: another key means another copy and restore. Losing it means losing the \
         data."
            .to_owned(),
        "Tags that somebody gives the source's counterpart (green) are lost at the switchover, which puts the source's \
         in their place."
            .to_owned(),
        "A service control policy that forbids unencrypted or untagged instances can forbid the deployment: its \
         creation restores a snapshot of the source."
            .to_owned(),
    ];
    if options.on_failure == OnFailure::Keep {
        warnings.push(format!(
            "on_failure is \"keep\": a deployment that is kept goes on to hold the log of `{id}` back, until that runs \
             out of storage. Resume or delete it soon."
        ));
    }
    if members.len() > 1 {
        let names: Vec<&str> = members[1..].iter().map(|member| member.wanted.instance_id.as_str()).collect();
        warnings.push(format!("Its read replicas are encrypted with it: {}.", names.join(", ")));
    }
    warnings
}

async fn advise(context: &Context, source: &DbInstance) -> Vec<String> {
    let logical = async {
        let found = own_accord::replicates_logically(context, source).await?;
        Ok(found
            .then(|| {
                "rds.logical_replication is on: if the source publishes or subscribes, RDS refuses the deployment; drop \
                 its logical slots and subscriptions first."
                    .to_owned()
            })
            .into_iter()
            .collect())
    };
    let (maintenance, logical, references) = tokio::join!(
        advice(context, "pending maintenance", warnings::pending_maintenance(context, source)),
        advice(context, "logical replication (DB parameters)", logical),
        references::find(context, source, Way::BlueGreen, Cutover::None),
    );
    // What the first switchover usually calls it.
    let plaintext =
        warnings::plaintext(source, &format!("{}-old1", source.db_instance_identifier().unwrap_or_default()));
    [maintenance, logical, references, plaintext].concat()
}

fn summary(
    source: &DbInstance,
    members: &[Member],
    name: &DeploymentName,
    key: &key::Key,
    options: &Options,
) -> Vec<String> {
    let id = source.db_instance_identifier().unwrap_or_default();
    let all: Vec<&str> = members.iter().map(|member| member.wanted.instance_id.as_str()).collect();
    let mut lines = vec![
        format!(
            "Source: {id} ({} {}, {}, {} GiB), not encrypted. It serves its clients until the switchover, and is never \
             deleted.",
            source.engine().unwrap_or_default(),
            source.engine_version().unwrap_or_default(),
            source.db_instance_class().unwrap_or_default(),
            source.allocated_storage().unwrap_or_default(),
        ),
        format!("1. Blue/green deployment {name} of {}, green under {} ({})", all.join(", "), key.arn, key.manager),
        "2. Settings that RDS does not give green, then the proof of every member: encryption, key, settings, tags"
            .to_owned(),
        "3. Wait until green's storage is loaded".to_owned(),
    ];
    if options.approval {
        lines.push("Then the execution waits for an approval, and proves again".to_owned());
    }
    lines.push(format!("4. Switchover: `{id}` answers nobody for seconds, then leads to the encrypted instance"));
    lines.push("5. The deployment is deleted; the old instances stay".to_owned());
    lines
}
