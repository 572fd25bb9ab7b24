//! What will still point at the old instance after a cutover, or watch the new one without knowing
//! it: found and reported, with what to do, and never changed.

use aws_sdk_rds::types::{DbInstance, Filter};
use workflow::Error;

use crate::Context;

pub(crate) async fn find(context: &Context, source: &DbInstance) -> Result<Vec<String>, Error> {
    let mut found = of_source(source);
    found.extend(event_subscriptions(context, source).await?);
    found.extend(proxies(context, source).await?);
    found.extend(integrations(context, source).await?);
    found.extend(alarms(context, source).await?);
    Ok(found)
}

/// What the source's own description and tags tell.
fn of_source(source: &DbInstance) -> Vec<String> {
    let id = source.db_instance_identifier().unwrap_or_default();
    let resource_id = source.dbi_resource_id().unwrap_or_default();
    let mut found = vec![];
    if source.iam_database_authentication_enabled() == Some(true) {
        found.push(format!(
            "IAM policies for database logins name the resource id {resource_id} (rds-db:connect on …:dbuser:{resource_id}/…): \
             add the target's resource id to them before the cutover, or these logins fail."
        ));
    }
    let tag = |key: &str| source.tag_list().iter().find(|tag| tag.key() == Some(key)).and_then(|tag| tag.value());
    if let Some(stack) = tag("aws:cloudformation:stack-name") {
        let logical_id = tag("aws:cloudformation:logical-id").unwrap_or("<logical id>");
        found.push(format!(
            "The CloudFormation stack `{stack}` owns the source as `{logical_id}` and will know nothing of the target: \
             set DeletionPolicy: Retain, remove the resource from the stack, then import the target: aws \
             cloudformation create-change-set --stack-name {stack} --change-set-type IMPORT --change-set-name encrypted \
             --resources-to-import '[{{\"ResourceType\":\"AWS::RDS::DBInstance\",\"LogicalResourceId\":\"{logical_id}\",\
             \"ResourceIdentifier\":{{\"DBInstanceIdentifier\":\"{id}\"}}}}]' --template-body file://template-with-StorageEncrypted.yaml"
        ));
    }
    let terraform = source.tag_list().iter().any(|tag| {
        let text = format!("{}={}", tag.key().unwrap_or_default(), tag.value().unwrap_or_default()).to_lowercase();
        text.contains("terraform")
    });
    if terraform {
        found.push(format!(
            "Terraform manages the source (by its tags). After the cutover, with storage_encrypted and kms_key_id set in \
             the configuration: terraform state rm aws_db_instance.<name> && terraform import aws_db_instance.<name> {id}"
        ));
    }
    found.push(format!(
        "Not looked for, since they are known only to their own services: AWS DMS endpoints with this host name (aws dms \
         describe-endpoints), AWS Backup plans that select the instance by ARN (aws backup list-protected-resources), \
         and clients that cache the address of `{id}`."
    ));
    found
}

async fn event_subscriptions(context: &Context, source: &DbInstance) -> Result<Vec<String>, Error> {
    let id = source.db_instance_identifier().unwrap_or_default();
    let subscriptions: Result<Vec<_>, _> =
        context.rds.describe_event_subscriptions().into_paginator().items().send().collect().await;
    let subscriptions = subscriptions.map_err(|error| Error::from_call("read the RDS event subscriptions", error))?;
    let names = subscriptions
        .iter()
        .filter(|subscription| subscription.source_ids_list().iter().any(|source| source == id))
        .filter_map(|subscription| subscription.cust_subscription_id());
    Ok(names
        .map(|name| format!("The RDS event subscription `{name}` names `{id}`: it follows the name to the target."))
        .collect())
}

async fn proxies(context: &Context, source: &DbInstance) -> Result<Vec<String>, Error> {
    let id = source.db_instance_identifier().unwrap_or_default();
    let proxies: Result<Vec<_>, _> = context.rds.describe_db_proxies().into_paginator().items().send().collect().await;
    let proxies = proxies.map_err(|error| Error::from_call("read the RDS proxies", error))?;
    let mut found = vec![];
    for name in proxies.iter().filter_map(|proxy| proxy.db_proxy_name()) {
        let targets: Result<Vec<_>, _> =
            context.rds.describe_db_proxy_targets().db_proxy_name(name).into_paginator().items().send().collect().await;
        let targets =
            targets.map_err(|error| Error::from_call(format!("read the targets of RDS proxy `{name}`"), error))?;
        if targets.iter().any(|target| target.rds_resource_id() == Some(id)) {
            found.push(format!(
                "The RDS proxy `{name}` sends its clients to this instance. A target group holds one instance: after the \
                 cutover run aws rds deregister-db-proxy-targets and register-db-proxy-targets for `{name}`."
            ));
        }
    }
    Ok(found)
}

/// Zero-ETL integrations replicate from the instance itself, not from its name.
async fn integrations(context: &Context, source: &DbInstance) -> Result<Vec<String>, Error> {
    let arn = source.db_instance_arn().unwrap_or_default();
    let filter = Filter::builder().name("source-arn").values(arn).build();
    let integrations: Result<Vec<_>, _> =
        context.rds.describe_integrations().filters(filter).into_paginator().items().send().collect().await;
    let integrations = integrations.map_err(|error| Error::from_call("read the zero-ETL integrations", error))?;
    let own = integrations.iter().filter(|integration| integration.source_arn() == Some(arn));
    Ok(own
        .map(|integration| {
            let name = integration.integration_name().unwrap_or_default();
            format!(
                "The zero-ETL integration `{name}` goes on reading the old instance: create it anew for the target."
            )
        })
        .collect())
}

async fn alarms(context: &Context, source: &DbInstance) -> Result<Vec<String>, Error> {
    let id = source.db_instance_identifier().unwrap_or_default();
    let alarms: Result<Vec<_>, _> = context.cloudwatch.describe_alarms().into_paginator().send().collect().await;
    let pages: Vec<_> = alarms.map_err(|error| Error::from_call("read the CloudWatch alarms", error))?;
    let names: Vec<&str> = pages
        .iter()
        .flat_map(|page| page.metric_alarms())
        .filter(|alarm| {
            alarm
                .dimensions()
                .iter()
                .any(|dimension| dimension.name() == Some("DBInstanceIdentifier") && dimension.value() == Some(id))
        })
        .filter_map(|alarm| alarm.alarm_name())
        .collect();
    if names.is_empty() {
        return Ok(vec![]);
    }
    Ok(vec![format!(
        "CloudWatch alarms on `{id}` follow the name to the target and can fire during the cutover: {}.",
        names.join(", ")
    )])
}
