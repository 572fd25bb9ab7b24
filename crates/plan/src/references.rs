//! What will still point at the old instance after a cutover, or watch the new one without knowing
//! it: found and reported, with what to do, and never changed.

use aws_sdk_databasemigration::types::{Endpoint, ReplicationTask};
use aws_sdk_rds::types::{DbInstance, Filter};
use workflow::Error;

use crate::Context;

pub(crate) async fn find(context: &Context, source: &DbInstance) -> Result<Vec<String>, Error> {
    let mut found = of_source(source);
    for (what, looked_up) in [
        ("RDS event subscriptions", event_subscriptions(context, source).await),
        ("RDS proxies", proxies(context, source).await),
        ("zero-ETL integrations", integrations(context, source).await),
        ("CloudWatch alarms", alarms(context, source).await),
        ("AWS DMS endpoints and tasks", replication_tasks(context, source).await),
        ("AWS Backup's snapshots", aws_backup(context, source).await),
    ] {
        match looked_up {
            Ok(warnings) => found.extend(warnings),
            // A policy above the role may forbid a service altogether, which is no reason not to encrypt.
            Err(Error::AccessDenied(failure)) => {
                found.push(format!("NOT looked for, since it is not allowed: {what} ({failure}). Look yourself."));
            }
            Err(error) => return Err(error),
        }
    }
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
        "Nobody can look for these: clients that cache the address of `{id}`, and AWS DMS endpoints that take their host \
         name from a secret."
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

/// DMS connects by host name, so its endpoints follow the name; where their tasks had got to does not.
async fn replication_tasks(context: &Context, source: &DbInstance) -> Result<Vec<String>, Error> {
    let Some(host) = source.endpoint().and_then(|endpoint| endpoint.address()) else { return Ok(vec![]) };
    let pages: Result<Vec<_>, _> = context.dms.describe_endpoints().into_paginator().send().collect().await;
    let pages = match pages {
        Ok(pages) => pages,
        // The answer about an account that has none [A29].
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_fault()) => vec![],
        Err(error) => return Err(Error::from_call("read the AWS DMS endpoints", error)),
    };
    let leads_here = |endpoint: &&Endpoint| endpoint.server_name().is_some_and(|name| name.eq_ignore_ascii_case(host));
    let endpoints: Vec<&Endpoint> = pages.iter().flat_map(|page| page.endpoints()).filter(leads_here).collect();
    if endpoints.is_empty() {
        return Ok(vec![]);
    }
    let pages = context.dms.describe_replication_tasks().without_settings(true).into_paginator().send();
    let pages: Vec<_> = match pages.collect::<Result<_, _>>().await {
        Ok(pages) => pages,
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_fault()) => vec![],
        Err(error) => return Err(Error::from_call("read the AWS DMS replication tasks", error)),
    };
    let tasks: Vec<&ReplicationTask> = pages.iter().flat_map(|page| page.replication_tasks()).collect();
    let users_of = |endpoint: &Endpoint| -> Vec<String> {
        let arn = endpoint.endpoint_arn();
        let users = tasks.iter().filter(|task| task.source_endpoint_arn() == arn || task.target_endpoint_arn() == arn);
        let named = users.map(|task| {
            let name = task.replication_task_identifier().unwrap_or_default();
            format!("`{name}` ({})", task.status().unwrap_or("of unknown status"))
        });
        named.collect()
    };
    let found = endpoints.into_iter().map(|endpoint| {
        let users = users_of(endpoint);
        let name = endpoint.endpoint_identifier().unwrap_or_default();
        let advice = if users.is_empty() {
            "no task uses it".to_owned()
        } else {
            format!(
                "stop its tasks {} before the cutover and look afterwards whether they go on where they were, since \
                 positions and replication slots were the old instance's; if in doubt, load anew",
                users.join(", ")
            )
        };
        format!("The AWS DMS endpoint `{name}` has the source's host name and follows it to the target: {advice}.")
    });
    Ok(found.collect())
}

/// AWS Backup's recovery points of an instance are snapshots of a type of their own.
async fn aws_backup(context: &Context, source: &DbInstance) -> Result<Vec<String>, Error> {
    let id = source.db_instance_identifier().unwrap_or_default();
    let points: Result<Vec<_>, _> = context
        .rds
        .describe_db_snapshots()
        .db_instance_identifier(id)
        .snapshot_type("awsbackup")
        .into_paginator()
        .items()
        .send()
        .collect()
        .await;
    let points = points.map_err(|error| Error::from_call(format!("read the AWS Backup snapshots of `{id}`"), error))?;
    let is_continuous = source.aws_backup_recovery_point_arn().is_some();
    if points.is_empty() && !is_continuous {
        return Ok(vec![]);
    }
    Ok(vec![format!(
        "AWS Backup protects the source ({} recovery points{}). They stay in plain text in their vaults. A backup plan \
         that selects by ARN follows the name to the target, one that selects by tag covers both instances: look at the \
         first backup of the target (aws backup list-recovery-points-by-resource).",
        points.len(),
        if is_continuous { ", continuous" } else { "" }
    )])
}
