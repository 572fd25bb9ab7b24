//! From an instance's DbiResourceId and a secret to what a session needs.

use aws_config::SdkConfig;
use aws_sdk_rds::auth_token::{self, AuthTokenGenerator};
use aws_sdk_rds::types::DbInstance;
use serde::Deserialize;
use workflow::Error;
use workflow::describe::find_by_resource_id;
use workflow::error::invalid;
use workflow::online::Login;
use workflow::owner::Owner;

use crate::{Replicated, tls};

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
    pub databases: Replicated,
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

/// Whose SQL a server speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Product {
    PostgreSql,
    MariaDb,
}

impl Product {
    /// By RDS's word for it.
    pub fn of(engine: &str) -> Option<Self> {
        match engine {
            "postgres" => Some(Self::PostgreSql),
            "mariadb" => Some(Self::MariaDb),
            _ => None,
        }
    }
}

/// One DB instance, as it is reached now.
pub struct Server {
    pub host: String,
    pub port: u16,
    pub credentials: Credentials,
    /// `DB instance ‹id›`
    pub what: String,
    pub product: Product,
    /// By which its certificate is verified: DER, each.
    pub roots: Vec<Vec<u8>>,
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
        let (host, port) = address(instance)?;
        access.login.suits(instance.engine().unwrap_or_default())?;
        let credentials = match &access.login {
            Login::SecretArn(arn) => self.secret(arn).await?,
            Login::IamUser(user) => self.token(host, port, user).await?,
        };
        Server::of(instance, &access.extra_roots, credentials)
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
    /// `extra_roots`: as [`Access`] has them.
    pub fn of(instance: &DbInstance, extra_roots: &str, credentials: Credentials) -> Result<Self, Error> {
        let what = told(instance);
        let (host, port) = address(instance)?;
        let engine = instance.engine().unwrap_or_default();
        let product = Product::of(engine).ok_or_else(|| {
            Error::DatabaseNotUsable(format!(
                "{what} is of the engine {engine}, and only PostgreSQL and MariaDB are logged in to"
            ))
        })?;
        let roots = tls::roots(extra_roots)
            .map_err(|error| invalid("ExtraDatabaseRoots", format!("the stack's parameter is no PEM: {error}")))?;
        Ok(Self { host: host.to_owned(), port, credentials, what, product, roots })
    }
}

fn told(instance: &DbInstance) -> String {
    format!("DB instance `{}`", instance.db_instance_identifier().unwrap_or_default())
}

fn address(instance: &DbInstance) -> Result<(&str, u16), Error> {
    let endpoint = instance.endpoint();
    let host = endpoint.and_then(|endpoint| endpoint.address());
    let port = endpoint.and_then(|endpoint| endpoint.port()).and_then(|port| u16::try_from(port).ok());
    host.zip(port).ok_or_else(|| Error::DatabaseUnavailable(format!("{} has no endpoint yet", told(instance))))
}
