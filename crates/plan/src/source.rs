//! Finding the source, however the input names it, and whether a snapshot of it can be taken now.

use aws_sdk_rds::types::DbInstance;
use workflow::Error;
use workflow::arn::Arn;
use workflow::describe::{find_by_resource_id, find_instance};
use workflow::error::invalid;
use workflow::ids::{InstanceId, InstanceReference};
use workflow::look::Look;
use workflow::options::Options;
use workflow::status::{Class, source_class};
use workflow::wait;

use crate::Context;

pub(crate) async fn find(context: &Context, reference: &InstanceReference) -> Result<DbInstance, Error> {
    match reference {
        InstanceReference::Id(id) => {
            find_instance(&context.rds, id).await?.ok_or_else(|| not_found(context, &format!("`{id}`")))
        }
        InstanceReference::Arn { region, id, .. } => {
            if *region != context.region {
                let problem = format!(
                    "is in Region {region}, but this stack works in {}; deploy one in {region} and start it there",
                    context.region
                );
                return Err(invalid("instance_id", problem));
            }
            let instance = find_instance(&context.rds, id).await?.filter(|instance| in_account(instance, reference));
            instance.ok_or_else(|| not_found(context, &format!("`{id}`")))
        }
        InstanceReference::ResourceId(resource_id) => {
            let found = find_by_resource_id(&context.rds, resource_id).await?;
            found.ok_or_else(|| not_found(context, &format!("with the resource id {resource_id}")))
        }
    }
}

/// An ARN of another account can name an instance whose identifier exists here, too.
fn in_account(instance: &DbInstance, reference: &InstanceReference) -> bool {
    let InstanceReference::Arn { account, .. } = reference else { return true };
    instance.db_instance_arn().and_then(Arn::parse).is_some_and(|arn| arn.account == account)
}

fn not_found(context: &Context, which: &str) -> Error {
    Error::InstanceNotFound(format!(
        "there is no DB instance {which} in {}; `aws rds describe-db-instances --region {}` lists them",
        context.region, context.region
    ))
}

pub(crate) fn id(source: &DbInstance) -> Result<InstanceId, Error> {
    InstanceId::parse(source.db_instance_identifier().unwrap_or_default())
        .map_err(|problem| invalid("DBInstanceIdentifier", problem))
}

/// Whether the execution can go on with the source now; what passes is waited out.
pub(crate) fn look(
    source: &DbInstance,
    id: &InstanceId,
    options: &Options,
    previous: Option<&Look>,
) -> Result<Look, Error> {
    let mut look = Look::first(source.db_instance_status());
    let Some(why) = busy(source, options)? else { return Ok(Look { ready: true, ..look }) };
    let seconds = options.max_wait_seconds;
    look.wait = wait::next(previous.map(|previous| &previous.wait), None, seconds).map_err(|_| {
        Error::WaitTimedOut(format!(
            "DB instance `{id}` cannot be snapshotted yet after {seconds} s (max_wait_minutes): {why}; start again \
             once it is `available`, or raise max_wait_minutes"
        ))
    })?;
    Ok(look)
}

/// Why no snapshot of the source can be taken at this moment (or no cutover begin), which passes by itself.
pub(crate) fn busy(source: &DbInstance, options: &Options) -> Result<Option<String>, Error> {
    let id = source.db_instance_identifier().unwrap_or_default();
    let status = source.db_instance_status().unwrap_or_default();
    if let Class::Failed { remedy } = source_class(status) {
        return Err(Error::InstanceNotUsable(format!("DB instance `{id}` is `{status}`: {remedy}")));
    }
    if source_class(status) != Class::Ready {
        return Ok(Some(format!("it is `{status}`")));
    }
    let groups = source.vpc_security_groups();
    if options.isolation_security_group_id.is_some() && groups.iter().any(|group| group.status() != Some("active")) {
        // What it is to get back after the fence would not be certain.
        return Ok(Some("its security groups are being changed".to_owned()));
    }
    Ok(None)
}
