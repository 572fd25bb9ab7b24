//! From a server to a session in one of its databases.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use databases::Server;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;
use workflow::Error;

/// Told to pg_stat_activity and the server's log.
const APPLICATION_NAME: &str = "rds-encrypt";
const CONNECT_SECONDS: u64 = 8;
/// The text of rows must not depend on what a role or a database was given, since two servers are compared by it;
/// no statement of ours may wait for ever, and a policy that hides rows has to be an error.
const SETTINGS: &str = "-c statement_timeout=40s -c lock_timeout=5s -c idle_in_transaction_session_timeout=60s \
                        -c default_transaction_read_only=off -c TimeZone=UTC -c DateStyle=ISO,YMD \
                        -c IntervalStyle=postgres -c extra_float_digits=3 -c bytea_output=hex -c search_path=pg_catalog \
                        -c row_security=off";

/// A connection that ends with it.
pub struct Session {
    client: tokio_postgres::Client,
    connection: tokio::task::JoinHandle<()>,
}

/// `server.open(…)`, of those that speak PostgreSQL's SQL.
pub trait Open {
    fn open(&self, database: &str) -> impl Future<Output = Result<Session, Error>> + Send;
}

impl Open for Server {
    async fn open(&self, database: &str) -> Result<Session, Error> {
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
        let connecting = config.connect(verified_by(&self.roots)?);
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

fn verified_by(roots: &[Vec<u8>]) -> Result<MakeRustlsConnect, Error> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().map(|root| CertificateDer::from(root.as_slice())));
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::DatabaseUnavailable(format!("TLS cannot begin: {error}")))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
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
