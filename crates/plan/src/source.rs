//! Finding the source, however the input names it, and whether a snapshot of it can be taken now.

use aws_sdk_rds::types::{DbInstance, Filter};
use workflow::Error;
use workflow::describe::find_instance;
use workflow::error::invalid;
use workflow::ids::{InstanceId, InstanceReference};
use workflow::look::Look;
use workflow::status::{Class, source_class};

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
            let filter = Filter::builder().name("dbi-resource-id").values(resource_id).build();
            let answer = context.rds.describe_db_instances().filters(filter).send().await;
            let output = answer.map_err(|error| Error::from_call(format!("find DB instance {resource_id}"), error))?;
            let found = output.db_instances.unwrap_or_default().into_iter().next();
            found.ok_or_else(|| not_found(context, &format!("with the resource id {resource_id}")))
        }
    }
}

/// An ARN of another account can name an instance whose identifier exists here, too.
fn in_account(instance: &DbInstance, reference: &InstanceReference) -> bool {
    let InstanceReference::Arn { account, .. } = reference else { return true };
    instance.db_instance_arn().and_then(|arn| arn.split(':').nth(4)) == Some(account)
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

/// Whether CreateDBSnapshot would be accepted now; a status that passes is waited out.
pub(crate) fn look(
    source: &DbInstance,
    id: &InstanceId,
    previous: Option<&Look>,
    max_wait_seconds: u64,
) -> Result<Look, Error> {
    let status = source.db_instance_status().unwrap_or_default();
    let mut look = Look::first(Some(status));
    match source_class(status) {
        Class::Ready => look.ready = true,
        Class::Pending { .. } => {
            let waited = previous.map(|previous| &previous.wait);
            look.wait = workflow::wait::next(waited, None, max_wait_seconds).map_err(|_| {
                Error::WaitTimedOut(format!(
                    "DB instance `{id}` is still `{status}` after {max_wait_seconds} s (max_wait_minutes), and no \
                     snapshot can be taken of it; start again once it is `available`"
                ))
            })?;
        }
        Class::Failed { remedy } => {
            return Err(Error::InstanceNotUsable(format!("DB instance `{id}` is `{status}`: {remedy}")));
        }
    }
    Ok(look)
}
