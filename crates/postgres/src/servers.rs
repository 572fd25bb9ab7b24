//! From an instance's DbiResourceId and a secret to a session.

use std::ops::Deref;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_rds::auth_token::{self, AuthTokenGenerator};
use aws_sdk_rds::types::DbInstance;
use serde::Deserialize;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;
use workflow::Error;
use workflow::describe::find_by_resource_id;
use workflow::error::invalid;
use workflow::online::Login;
use workflow::owner::Owner;

use crate::names::Database;
use crate::tls;

/// Told to pg_stat_activity and the server's log.
const APPLICATION_NAME: &str = "rds-encrypt";
const CONNECT_SECONDS: u64 = 8;
/// The text of rows must not depend on what a role or a database was given, since two servers are compared by it;
/// no statement of ours may wait for ever, and a policy that hides rows has to be an error.
const SETTINGS: &str = "-c statement_timeout=40s -c lock_timeout=5s -c idle_in_transaction_session_timeout=60s \
                        -c default_transaction_read_only=off -c TimeZone=UTC -c DateStyle=ISO,YMD \
                        -c IntervalStyle=postgres -c extra_float_digits=3 -c bytea_output=hex -c search_path=pg_catalog \
                        -c row_security=off";

/// The clients, made once at the start.
pub struct Servers {
    pub rds: aws_sdk_rds::Client,
    pub secrets: aws_sdk_secretsmanager::Client,
    /// Who signs, and for which Region.
    pub config: SdkConfig,
}

/// How the databases are logged in to, as a request has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    pub login: Login,
    /// Certificates of authorities besides RDS's own, as PEM: the stack's parameter `ExtraDatabaseRoots`.
    pub extra_roots: String,
}

/// What the step of a loop is asked that logs in to both sides.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request<Previous> {
    pub owner: Owner,
    pub target_resource_id: String,
    pub access: Access,
    pub databases: Vec<Database>,
    /// `None` at the first look.
    pub previous: Option<Previous>,
    pub max_wait_seconds: u64,
}

/// Who logs in. It has no Debug: it must not reach a log.
#[derive(Deserialize)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

/// One DB instance, as it is reached now.
pub struct Server {
    pub host: String,
    pub port: u16,
    pub credentials: Credentials,
    /// `DB instance ‹id›`
    pub what: String,
    tls: MakeRustlsConnect,
}

/// A connection that ends with it.
pub struct Session {
    client: tokio_postgres::Client,
    connection: tokio::task::JoinHandle<()>,
}

impl Servers {
    pub async fn from_environment() -> Result<Self, lambda_runtime::Error> {
        Ok(Self::new(&workflow::serve::aws_config().await?))
    }

    pub fn new(config: &SdkConfig) -> Self {
        Self {
            rds: aws_sdk_rds::Client::new(config),
            secrets: aws_sdk_secretsmanager::Client::new(config),
            config: config.clone(),
        }
    }

    /// `None` if there is no such instance, or a rename hides it.
    pub async fn find(&self, resource_id: &str, access: &Access) -> Result<Option<Server>, Error> {
        let Some(instance) = find_by_resource_id(&self.rds, resource_id).await? else { return Ok(None) };
        Ok(Some(self.reach(&instance, access).await?))
    }

    /// As `access` logs in to it.
    pub async fn reach(&self, instance: &DbInstance, access: &Access) -> Result<Server, Error> {
        let id = instance.db_instance_identifier().unwrap_or_default();
        let what = format!("DB instance `{id}`");
        let endpoint = instance.endpoint();
        let (Some(host), Some(port)) = (
            endpoint.and_then(|endpoint| endpoint.address()),
            endpoint.and_then(|endpoint| endpoint.port()).and_then(|port| u16::try_from(port).ok()),
        ) else {
            return Err(Error::DatabaseUnavailable(format!("{what} has no endpoint yet")));
        };
        let tls = tls::connector(&access.extra_roots)
            .map_err(|error| invalid("ExtraDatabaseRoots", format!("the stack's parameter is no PEM: {error}")))?;
        let credentials = match &access.login {
            Login::SecretArn(arn) => self.secret(arn).await?,
            Login::IamUser(user) => self.token(host, port, user).await?,
        };
        Ok(Server { host: host.to_owned(), port, credentials, what, tls })
    }

    /// Where no rename of ours hides it.
    pub async fn get(&self, resource_id: &str, access: &Access) -> Result<Server, Error> {
        let found = self.find(resource_id, access).await?;
        found.ok_or_else(|| {
            Error::InstanceNotFound(format!(
                "there is no DB instance {resource_id}: somebody deleted it, or renames it"
            ))
        })
    }

    async fn secret(&self, secret_arn: &str) -> Result<Credentials, Error> {
        const FIELD: &str = "database_secret_arn";
        let answer = self.secrets.get_secret_value().secret_id(secret_arn).send().await;
        let secret = answer.map_err(|error| Error::from_call(format!("read the secret {secret_arn}"), error))?;
        let text = secret.secret_string().ok_or_else(|| invalid(FIELD, "the secret is binary, not JSON"))?;
        // The parser's message could quote the secret.
        serde_json::from_str(text)
            .map_err(|_| invalid(FIELD, "the secret is not JSON with \"username\" and \"password\""))
    }

    /// It is signed here, and good for 15 minutes, for which nobody need ask AWS [A109].
    async fn token(&self, host: &str, port: u16, user: &str) -> Result<Credentials, Error> {
        let failed = |problem: &dyn std::fmt::Display| {
            Error::DatabaseUnavailable(format!("make a token for the user {user} of {host}: {problem}"))
        };
        let config = auth_token::Config::builder().hostname(host).port(u64::from(port)).username(user).build();
        let generator = AuthTokenGenerator::new(config.map_err(|problem| failed(&problem))?);
        let token = generator.auth_token(&self.config).await.map_err(|problem| failed(&problem))?;
        Ok(Credentials { username: user.to_owned(), password: token.to_string() })
    }
}

impl Server {
    pub async fn open(&self, database: &str) -> Result<Session, Error> {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .user(&self.credentials.username)
            .password(&self.credentials.password)
            .dbname(database)
            .application_name(APPLICATION_NAME)
            .ssl_mode(SslMode::Require)
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS))
            .options(SETTINGS);
        let what = format!("log in to database `{database}` of {} ({}:{})", self.what, self.host, self.port);
        let connecting = config.connect(self.tls.clone());
        let (client, connection) = tokio::time::timeout(Duration::from_secs(CONNECT_SECONDS * 2), connecting)
            .await
            .map_err(|_| {
                Error::DatabaseUnavailable(format!(
                    "{what}: no answer; the functions must reach it (stack parameters SubnetIds and SecurityGroupIds)"
                ))
            })?
            .map_err(failed(&what))?;
        let connection = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::info!(%error, "a database connection ended");
            }
        });
        Ok(Session { client, connection })
    }
}

impl Deref for Session {
    type Target = tokio_postgres::Client;
    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The socket closes with it; the server ends the session then.
        self.connection.abort();
    }
}

/// Names what PostgreSQL, or the way to it, refused. `what` is what was being done, in words.
pub fn failed(what: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Error {
    let what = what.into();
    move |error| {
        let Some(said) = error.as_db_error() else {
            // Source of the text: rustls, or the socket.
            let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
            let text: String = causes.map(|cause| format!(": {cause}")).collect();
            return Error::DatabaseUnavailable(format!("{what}: {error}{text}"));
        };
        let text = format!("{what}: {} ({})", said.message(), said.code().code());
        if may_pass(said.code()) { Error::DatabaseUnavailable(text) } else { Error::DatabaseRefused(text) }
    }
}

/// Classes of PostgreSQL's error codes (its manual, appendix "PostgreSQL Error Codes"): connections, resources,
/// interventions of an operator, and a lock or an object that is in use.
fn may_pass(code: &SqlState) -> bool {
    let class = &code.code()[..2];
    matches!(class, "08" | "53" | "57" | "40")
        || [&SqlState::LOCK_NOT_AVAILABLE, &SqlState::OBJECT_IN_USE].contains(&code)
}
