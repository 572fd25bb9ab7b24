//! What forbids a cutover: asked by the plan, and again right before the source is touched, since hours or
//! days lie between.

use aws_sdk_rds::types::DbInstance;
use serde::Deserialize;
use workflow::Error;
use workflow::describe::{find_by_resource_id, find_instance, has_pending_modifications, is_called};
use workflow::error::{CallFailure, invalid};
use workflow::ids::InstanceId;
use workflow::options::Options;
use workflow::owner::Owner;
use workflow::status::{Class, source_class};

use crate::Context;
use crate::executions::Others;
use crate::look_ups::said_unless_passing;
use crate::{blue_green, references, refusals, rivals, security_groups, source};

/// What the plan put into the state, of which this is the part that a cutover rests on.
#[derive(Debug, Deserialize)]
pub struct Planned {
    pub instance_id: InstanceId,
    pub unencrypted_instance_id: InstanceId,
    pub owner: Owner,
    pub options: Options,
}

/// Refuses by the plan's names what has come up since the plan. What passes by itself is
/// `InvalidInstanceState`, for which the state machine waits.
pub(crate) async fn check(context: &Context, planned: &Planned, execution: &str) -> Result<(), Error> {
    let source = planned_source(context, planned).await?;
    let others = Others::of(context, execution).await?;
    blue_green::refuse(context, &source, planned.options.cutover, None).await?;
    refuse(context, &source, &planned.options, &planned.unencrypted_instance_id, &planned.owner, &others).await?;
    security_groups::refuse(context, &source, &planned.options).await?;
    let passing = match source::busy(&source, &planned.options)? {
        Some(why) => Some(("InvalidDBInstanceState", why)),
        None => rivals::undo(context, &source, &others).await?.map(|why| ("CutoverInProgress", why)),
    };
    passing.map_or(Ok(()), |(code, why)| {
        let operation = format!("cut DB instance `{}` over", planned.instance_id);
        Err(Error::InvalidInstanceState(CallFailure::refused(operation, code, format!("{why}; this passes by itself"))))
    })
}

/// The source by what does not change, which must still have the planned name.
async fn planned_source(context: &Context, planned: &Planned) -> Result<DbInstance, Error> {
    let Planned { instance_id, owner, .. } = planned;
    let resource_id = &owner.source_resource_id;
    let mut found = find_by_resource_id(&context.rds, resource_id).await?;
    if found.is_none() {
        // One empty answer does not prove that it is gone.
        let named = find_instance(&context.rds, instance_id).await?;
        found = named.filter(|instance| instance.dbi_resource_id() == Some(resource_id));
    }
    let source = found.ok_or_else(|| {
        Error::InstanceNotFound(format!(
            "the source `{instance_id}` ({resource_id}) is gone, so it can give nobody its name: somebody deleted it \
             after the plan, or is renaming it at this moment; find out who, and start again"
        ))
    })?;
    is_called(&source, instance_id.as_str())?;
    Ok(source)
}

/// Refuses a cutover of this source; returns what could not be looked for.
pub(crate) async fn refuse(
    context: &Context,
    source: &DbInstance,
    options: &Options,
    old_name: &InstanceId,
    owner: &Owner,
    others: &Others,
) -> Result<Option<String>, Error> {
    undecided(source, options)?;
    rivals::refuse_beside_another(source, others)?;
    refusals::free_instance_name(context, old_name, owner).await?;
    // What is being applied at this moment is waited for.
    let id = source.db_instance_identifier().unwrap_or_default();
    let rests = source_class(source.db_instance_status().unwrap_or_default()) == Class::Ready;
    if rests && has_pending_modifications(source) {
        return Err(Error::InstanceNotUsable(format!(
            "modifications of `{id}` are pending, and its rename, which takes effect at once, would apply them in the \
             middle of the outage (ModifyDBInstance, ApplyImmediately): apply or withdraw them first"
        )));
    }
    integrations(context, source).await
}

/// A cutover takes a decision about the writes since the snapshot, about the replicas, and about who is to be
/// kept out.
fn undecided(source: &DbInstance, options: &Options) -> Result<(), Error> {
    let id = source.db_instance_identifier().unwrap_or_default();
    if !options.writes_stopped && !options.accept_lost_writes && !options.is_replicated() {
        return Err(Error::LostWritesNotAccepted(format!(
            "the target holds the data of `{id}` as of the snapshot, so what is written between the snapshot and the \
             cutover is lost: stop all clients and say \"writes_stopped\": true (it is checked), or say \
             \"accept_lost_writes\": true"
        )));
    }
    let replicas = refusals::replicas(source);
    if !replicas.is_empty() && !options.accept_stale_replicas {
        return Err(Error::StaleReplicasNotAccepted(format!(
            "the read replicas {} stay with the old instance under its new name and get no further writes: plan new \
             ones of the target and say \"accept_stale_replicas\": true, or delete them first",
            replicas.join(", ")
        )));
    }
    if options.isolation_security_group_id.is_some() && source.vpc_security_groups().is_empty() {
        return Err(invalid(
            "isolation_security_group_id",
            "cannot be used: the source has no security groups that could be put back",
        ));
    }
    Ok(())
}

/// RDS renames no instance that has one (RDS User Guide, "Amazon RDS zero-ETL integrations", limitations) [A42]:
/// without this the run would fail at its first rename, after hours.
async fn integrations(context: &Context, source: &DbInstance) -> Result<Option<String>, Error> {
    let integrations = match references::integrations(context, source).await {
        Ok(integrations) => integrations,
        // Safe to go on: RDS itself refuses the rename, and what was made is undone.
        Err(error) => return said_unless_passing("zero-ETL integrations", error).map(Some),
    };
    if integrations.is_empty() {
        return Ok(None);
    }
    Err(Error::InstanceNotUsable(format!(
        "RDS does not rename `{}` while a zero-ETL integration reads it ({}): delete it first (aws rds \
         delete-integration), and create it anew for the target after the cutover",
        source.db_instance_identifier().unwrap_or_default(),
        integrations.join(", ")
    )))
}
