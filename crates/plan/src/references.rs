//! What will still point at the old instance after a cutover, or watch the new one without knowing
//! it: found and reported, with what to do, and never changed.

use aws_sdk_databasemigration::types::{Endpoint, ReplicationTask};
use aws_sdk_rds::types::{DbInstance, Filter, IntegrationStatus};
use workflow::Error;
use workflow::options::{Cutover, Way};

use crate::Context;
use crate::look_ups::advice;

pub(crate) async fn find(context: &Context, source: &DbInstance, way: Way, cutover: Cutover) -> Vec<String> {
    let integrations = async {
        // Of a cutover or a switchover they were looked for already, since they forbid it.
        if way == Way::BlueGreen || cutover == Cutover::Rename {
            return Ok(vec![]);
        }
        let found = integrations(context, source).await?;
        Ok(found.iter().map(|name| forbids_the_rename(name)).collect())
    };
    let (subscriptions, proxies, integrations, alarms, tasks, backups) = tokio::join!(
        advice(context, "RDS event subscriptions", event_subscriptions(context, source)),
        advice(context, "RDS proxies", proxies(context, source, way)),
        advice(context, "zero-ETL integrations", integrations),
        advice(context, "CloudWatch alarms", alarms(context, source)),
        advice(context, "AWS DMS endpoints and tasks", replication_tasks(context, source)),
        advice(context, "AWS Backup's snapshots", aws_backup(context, source)),
    );
    [of_source(source), subscriptions, proxies, integrations, alarms, tasks, backups].concat()
}

/// What the source's own description and tags tell.
fn of_source(source: &DbInstance) -> Vec<String> {
    let id = source.db_instance_identifier().unwrap_or_default();
    let resource_id = source.dbi_resource_id().unwrap_or_default();
    let mut found = vec![];
    if source.iam_database_authentication_enabled() == Some(true) {
        found.push(format!(
            "IAM policies for database logins name the resource id {resource_id} (rds-db:connect on \
             …:dbuser:{resource_id}/…): add the target's resource id to them before the cutover, or these logins fail."
        ));
    }
    let tag = |key: &str| source.tag_list().iter().find(|tag| tag.key() == Some(key)).and_then(|tag| tag.value());
    if let Some(stack) = tag("aws:cloudformation:stack-name") {
        let logical_id = tag("aws:cloudformation:logical-id").unwrap_or("<logical id>");
        found.push(format!(
            "The CloudFormation stack `{stack}` owns the source as `{logical_id}` and will know nothing of the target: \
             set DeletionPolicy: Retain, remove the resource from the stack, then import the target: aws \
             cloudformation create-change-set --stack-name {stack} --change-set-type IMPORT --change-set-name \
             encrypted --resources-to-import \
             '[{{\"ResourceType\":\"AWS::RDS::DBInstance\",\"LogicalResourceId\":\"{logical_id}\",\
             \"ResourceIdentifier\":{{\"DBInstanceIdentifier\":\"{id}\"}}}}]' \
             --template-body file://template-with-StorageEncrypted.yaml"
        ));
    }
    let terraform = source.tag_list().iter().any(|tag| {
        let text = format!("{}={}", tag.key().unwrap_or_default(), tag.value().unwrap_or_default()).to_lowercase();
        ["terraform", "opentofu"].iter().any(|tool| text.contains(tool))
    });
    if terraform {
        // terraform-provider-aws, "Version 5 Upgrade Guide": the id of aws_db_instance is the resource id.
        found.push(format!(
            "Terraform manages the source (by its tags). From version 5 of its AWS provider on it knows an instance by \
             its resource id, so that the next apply after the cutover would give the name `{id}` back to the *old* \
             instance. In this order: before the cutover terraform state rm aws_db_instance.<name>; after it, with \
             storage_encrypted and kms_key_id set in the configuration, terraform import aws_db_instance.<name> {id}; \
             then look at terraform plan before anybody applies."
        ));
    }
    // "Using the Primary Endpoint for Amazon RDS for Oracle": every instance of the Enterprise Edition has one.
    if source.engine().is_some_and(|engine| engine.starts_with("oracle-ee")) {
        found.push(format!(
            "Oracle's Primary Endpoint (PrimaryEndpoint in aws rds describe-db-instances) does not follow a rename: \
             clients that use it stay with the old instance. Point them to the endpoint of `{id}` before the cutover, \
             or to the target's Primary Endpoint after it."
        ));
    }
    found.push(format!(
        "Nobody can look for these: clients that cache the address of `{id}`, and AWS DMS endpoints that take their \
         host name from a secret."
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

async fn proxies(context: &Context, source: &DbInstance, way: Way) -> Result<Vec<String>, Error> {
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
            found.push(match way {
                // [A99]
                Way::BlueGreen => format!(
                    "The RDS proxy `{name}` sends its clients to this instance, and RDS leads them over at the \
                     switchover, since it was registered before the deployment is created. Register no further proxy \
                     until then: its clients would stay with the old instance."
                ),
                Way::Snapshot | Way::Online => format!(
                    "The RDS proxy `{name}` sends its clients to this instance. A target group holds one instance: \
                     after the cutover run aws rds deregister-db-proxy-targets and register-db-proxy-targets for \
                     `{name}`."
                ),
            });
        }
    }
    Ok(found)
}

/// The zero-ETL integrations that read this instance, but for those that are being deleted.
pub(crate) async fn integrations(context: &Context, source: &DbInstance) -> Result<Vec<String>, Error> {
    let arn = source.db_instance_arn().unwrap_or_default();
    let filter = Filter::builder().name("source-arn").values(arn).build();
    let integrations: Result<Vec<_>, _> =
        context.rds.describe_integrations().filters(filter).into_paginator().items().send().collect().await;
    let integrations = integrations.map_err(|error| Error::from_call("read the zero-ETL integrations", error))?;
    let own = integrations.iter().filter(|integration| {
        integration.source_arn() == Some(arn) && integration.status() != Some(&IntegrationStatus::Deleting)
    });
    Ok(own.filter_map(|integration| integration.integration_name()).map(|name| format!("`{name}`")).collect())
}

fn forbids_the_rename(name: &str) -> String {
    format!(
        "The zero-ETL integration {name} reads this instance, and RDS renames no instance that has one: a cutover is \
         refused until it is deleted. Create it anew for the target."
    )
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
         that selects by ARN follows the name to the target, one that selects by tag covers both instances: look at \
         the first backup of the target (aws backup list-recovery-points-by-resource).",
        points.len(),
        if is_continuous { ", continuous" } else { "" }
    )])
}
