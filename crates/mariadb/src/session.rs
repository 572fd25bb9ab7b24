//! From a server to a session of it.

use std::time::Duration;

use databases::Server;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, OptsBuilder, SslOpts};
use workflow::Error;

const CONNECT: Duration = Duration::from_secs(16);
/// The text of rows must not depend on what a server was given, since two are compared by it; no statement of ours may
/// wait for ever, and a session that nobody uses any more ends.
const SETTINGS: &str =
    "SET NAMES utf8mb4, SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_BACKSLASH_ESCAPES',
    time_zone = '+00:00', lock_wait_timeout = 5, innodb_lock_wait_timeout = 5, max_statement_time = 40,
    wait_timeout = 600, autocommit = 1, foreign_key_checks = 1, unique_checks = 1, sql_safe_updates = 0,
    sql_select_limit = 18446744073709551615";
/// MariaDB's error codes of what passes: connections, resources, locks, interventions of an operator.
pub(crate) const PASSING: [u16; 14] =
    [1040, 1053, 1129, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1226, 1317, 1927, 1969];

/// A connection that ends with it.
pub struct Session {
    connection: Conn,
    /// `DB instance ‹id›`
    pub what: String,
}

pub async fn open(server: &Server) -> Result<Session, Error> {
    let roots = server.roots.iter().map(|root| root.clone().into()).collect();
    let tls = SslOpts::default().with_disable_built_in_roots(true).with_root_certs(roots);
    let options = OptsBuilder::default()
        .ip_or_hostname(&server.host)
        .tcp_port(server.port)
        .user(Some(&server.credentials.username))
        .pass(Some(&server.credentials.password))
        .prefer_socket(false)
        .stmt_cache_size(0)
        // As long as an event of a binary log can be.
        .max_allowed_packet(Some(1 << 30))
        .init(vec![SETTINGS])
        .ssl_opts(tls);
    let what = format!("log in to {} ({}:{})", server.what, server.host, server.port);
    let connection = tokio::time::timeout(CONNECT, Conn::new(options))
        .await
        .map_err(|_| {
            Error::DatabaseUnavailable(format!(
                "{what}: no answer; the functions must reach it (stack parameters SubnetIds and SecurityGroupIds)"
            ))
        })?
        .map_err(failed(&what))?;
    Ok(Session { connection, what: server.what.clone() })
}

impl Session {
    /// `what` is what is being done, in words.
    pub async fn rows<Row: FromRow + Send + 'static>(
        &mut self,
        what: &str,
        statement: impl AsRef<str>,
    ) -> Result<Vec<Row>, Error> {
        self.connection.query(statement.as_ref()).await.map_err(failed(what))
    }

    /// The first row, if there is one.
    pub async fn row<Row: FromRow + Send + 'static>(
        &mut self,
        what: &str,
        statement: impl AsRef<str>,
    ) -> Result<Option<Row>, Error> {
        self.connection.query_first(statement.as_ref()).await.map_err(failed(what))
    }

    /// Of a statement that always has a row.
    pub async fn one<Row: FromRow + Send + 'static>(
        &mut self,
        what: &str,
        statement: impl AsRef<str>,
    ) -> Result<Row, Error> {
        let row = self.row(what, statement).await?;
        row.ok_or_else(|| Error::DatabaseRefused(format!("{what}: {} answered nothing", self.what)))
    }

    pub async fn run(&mut self, what: &str, statement: impl AsRef<str>) -> Result<(), Error> {
        self.connection.query_drop(statement.as_ref()).await.map_err(failed(what))
    }

    /// By which the server knows it.
    pub fn id(&self) -> u32 {
        self.connection.id()
    }

    pub(crate) fn into_connection(self) -> Conn {
        self.connection
    }
}

/// Names what MariaDB, or the way to it, refused.
pub fn failed(what: impl Into<String>) -> impl FnOnce(mysql_async::Error) -> Error {
    let what = what.into();
    move |error| match error {
        mysql_async::Error::Server(said) => {
            let text = format!("{what}: {} ({})", said.message, said.code);
            if PASSING.contains(&said.code) { Error::DatabaseUnavailable(text) } else { Error::DatabaseRefused(text) }
        }
        other => Error::DatabaseUnavailable(format!("{what}: {other}")),
    }
}
