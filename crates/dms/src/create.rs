//! Makes what replicates: each look does what can be done now. Repeated, it finds what is there.

use aws_sdk_databasemigration::error::ProvideErrorMetadata;
use aws_sdk_databasemigration::types::{
    Connection, DmsSslModeValue, MigrationTypeValue, PluginNameValue, PostgreSqlSettings, ReplicationEndpointTypeValue,
};
use serde::Deserialize;
use workflow::Error;

use crate::{Found, Replication, Side, busy, conflict, found, named, or_absent, settings};

/// Statuses of a replication instance that no waiting mends (API model, ReplicationInstanceStatus).
const FAILED: [&str; 4] =
    ["failed", "incompatible-credentials", "incompatible-network", "inaccessible-encryption-credentials"];

/// How the replication instance is to be; the stack's parameters. What is empty is DMS's own choice.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceSettings {
    pub class: String,
    pub engine_version: String,
    pub subnet_group: String,
    /// With commas between them.
    pub security_group_ids: String,
    /// Of its storage, and of the passwords of its endpoints.
    pub kms_key_arn: String,
}

/// Where a server is now, and who logs in.
pub struct Server<'a> {
    pub host: &'a str,
    pub port: u16,
    pub username: &'a str,
    pub password: &'a str,
    /// What DMS's own tables are kept apart by.
    pub schema: &'a str,
}

pub struct Database<'a> {
    pub name: &'a str,
    pub oid: u32,
}

/// What a look came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Look {
    Ready,
    /// What is waited for, in AWS's word for its state.
    Pending(String),
    /// A connection that did not come about, and why.
    Unreachable(String),
}

impl Replication<'_> {
    pub async fn create(
        &self,
        instance: &InstanceSettings,
        databases: &[Database<'_>],
        source: &Server<'_>,
        target: &Server<'_>,
    ) -> Result<Look, Error> {
        let made = self.ours(self.instance().await?).await?;
        let mut pending = vec![];
        match &made {
            None => {
                self.create_instance(instance).await?;
                pending.push("the replication instance is new".to_owned());
            }
            Some(found) if FAILED.contains(&found.status.as_str()) => {
                return Err(Error::ReplicationFailed(format!(
                    "{} is `{}`: look at the stack's parameters ReplicationSubnetGroup and ReplicationKmsKeyArn, and \
                     whether the role dms-vpc-role exists",
                    found.name, found.status
                )));
            }
            Some(found) if found.status != "available" => {
                pending.push(format!("{} is `{}`", found.name, found.status));
            }
            Some(_) => {}
        }
        let mut pairs = vec![];
        for database in databases {
            let mut endpoints = vec![];
            for (side, server) in [(Side::Source, source), (Side::Target, target)] {
                match self.ours(self.endpoint(database.oid, side).await?).await? {
                    Some(endpoint) => endpoints.push(endpoint),
                    None => {
                        self.create_endpoint(database, side, server, instance).await?;
                        pending.push(format!("an endpoint of database `{}` is new", database.name));
                    }
                }
            }
            pairs.push((database, endpoints));
        }
        let (Some(made), true) = (made, pending.is_empty()) else { return Ok(Look::Pending(pending.join(", "))) };
        for endpoint in pairs.iter().flat_map(|(_, endpoints)| endpoints) {
            match self.connect(&made, endpoint).await? {
                Look::Ready => {}
                Look::Pending(what) => pending.push(what),
                unreachable => return Ok(unreachable),
            }
        }
        if !pending.is_empty() {
            return Ok(Look::Pending(pending.join(", ")));
        }
        for (database, endpoints) in &pairs {
            let task = self.task(database.oid).await?;
            match self.ours(task.as_ref().map(found)).await? {
                Some(task) if task.status != "creating" => {}
                Some(task) => pending.push(format!("{} is `creating`", task.name)),
                None => {
                    self.create_task(database, &made, endpoints, target.schema).await?;
                    pending.push(format!("the task of database `{}` is new", database.name));
                }
            }
        }
        Ok(if pending.is_empty() { Look::Ready } else { Look::Pending(pending.join(", ")) })
    }

    async fn ours(&self, found: Option<Found>) -> Result<Option<Found>, Error> {
        let Some(found) = found else { return Ok(None) };
        if found.status == "deleting" {
            return Err(busy("go on with what is there", &found));
        }
        if self.owns(&found).await? { Ok(Some(found)) } else { Err(conflict(&found)) }
    }

    async fn create_instance(&self, wanted: &InstanceSettings) -> Result<(), Error> {
        let groups = wanted.security_group_ids.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
        let call = self
            .client
            .create_replication_instance()
            .replication_instance_identifier(&self.base)
            .replication_instance_class(&wanted.class)
            .replication_subnet_group_identifier(&wanted.subnet_group)
            .set_vpc_security_group_ids(Some(groups))
            .set_engine_version(given(&wanted.engine_version))
            .set_kms_key_id(given(&wanted.kms_key_arn))
            // By default it has an address of the internet.
            .publicly_accessible(false)
            .auto_minor_version_upgrade(false)
            .set_tags(Some(self.tags()));
        made(format!("create the replication instance `{}`", self.base), call.send().await)
    }

    async fn create_endpoint(
        &self,
        database: &Database<'_>,
        side: Side,
        server: &Server<'_>,
        instance: &InstanceSettings,
    ) -> Result<(), Error> {
        let id = self.endpoint_id(database.oid, side);
        let settings = PostgreSqlSettings::builder()
            .plugin_name(PluginNameValue::TestDecoding)
            // It would make a table and an event trigger at the source, whose schema is frozen.
            .capture_ddls(false)
            .fail_tasks_on_lob_truncation(true)
            // Else they travel as text of five characters.
            .map_boolean_as_boolean(true);
        let call = self
            .client
            .create_endpoint()
            .endpoint_identifier(&id)
            .endpoint_type(match side {
                Side::Source => ReplicationEndpointTypeValue::Source,
                Side::Target => ReplicationEndpointTypeValue::Target,
            })
            .engine_name("postgres")
            .server_name(server.host)
            .port(server.port.into())
            .database_name(database.name)
            .username(server.username)
            .password(server.password)
            .ssl_mode(DmsSslModeValue::Require)
            .postgre_sql_settings(settings.build())
            // Else numbers without a scale are rounded to six digits.
            .extra_connection_attributes("MapUnboundedNumericAsString=true")
            .set_kms_key_id(given(&instance.kms_key_arn))
            .set_tags(Some(self.tags()));
        made(format!("create the DMS endpoint `{id}`"), call.send().await)
    }

    /// A task starts only once both of its connections were tried with success [A101].
    async fn connect(&self, instance: &Found, endpoint: &Found) -> Result<Look, Error> {
        let tried = self.connection(instance, endpoint).await?;
        let status = tried.as_ref().and_then(Connection::status);
        let name = &endpoint.name;
        match (status, &tried) {
            (Some("successful"), _) => Ok(Look::Ready),
            (Some("failed"), Some(tried)) => {
                let why = tried.last_failure_message().unwrap_or("it does not say why");
                self.test(instance, endpoint).await?;
                Ok(Look::Unreachable(format!("{name} cannot be reached: {why}")))
            }
            (Some(status), _) => Ok(Look::Pending(format!("the connection to {name} is `{status}`"))),
            (None, _) => {
                self.test(instance, endpoint).await?;
                Ok(Look::Pending(format!("the connection to {name} is being tested")))
            }
        }
    }

    async fn connection(&self, instance: &Found, endpoint: &Found) -> Result<Option<Connection>, Error> {
        let call = self
            .client
            .describe_connections()
            .filters(named("endpoint-arn", &[&endpoint.arn]))
            .filters(named("replication-instance-arn", &[&instance.arn]));
        let answer = or_absent(format!("read the connection to {}", endpoint.name), call.send().await)?;
        let mut found = answer.and_then(|answer| answer.connections).into_iter().flatten();
        Ok(found.find(|tried| {
            tried.endpoint_arn() == Some(&endpoint.arn) && tried.replication_instance_arn() == Some(&instance.arn)
        }))
    }

    async fn test(&self, instance: &Found, endpoint: &Found) -> Result<(), Error> {
        let call = self.client.test_connection().replication_instance_arn(&instance.arn).endpoint_arn(&endpoint.arn);
        let answer = call.send().await;
        answer.map(drop).map_err(|error| Error::from_call(format!("test the connection to {}", endpoint.name), error))
    }

    async fn create_task(
        &self,
        database: &Database<'_>,
        instance: &Found,
        endpoints: &[Found],
        schema: &str,
    ) -> Result<(), Error> {
        let id = self.task_id(database.oid);
        let call = self
            .client
            .create_replication_task()
            .replication_task_identifier(&id)
            .source_endpoint_arn(&endpoints[0].arn)
            .target_endpoint_arn(&endpoints[1].arn)
            .replication_instance_arn(&instance.arn)
            .migration_type(MigrationTypeValue::FullLoadAndCdc)
            .table_mappings(settings::all_tables())
            .replication_task_settings(settings::task(schema))
            .set_tags(Some(self.tags()));
        made(format!("create the DMS task `{id}`"), call.send().await)
    }
}

fn given(parameter: &str) -> Option<String> {
    Some(parameter.to_owned()).filter(|text| !text.is_empty())
}

/// What an earlier attempt made is found by the next look.
fn made<T, E>(
    operation: String,
    answer: Result<T, aws_sdk_rds::error::SdkError<E, aws_sdk_rds::config::http::HttpResponse>>,
) -> Result<(), Error>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match answer {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("ResourceAlreadyExistsFault") => Ok(()),
        Err(error) => Err(Error::from_call(operation, error)),
    }
}
