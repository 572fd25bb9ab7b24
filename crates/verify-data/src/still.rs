//! Two servers to which nobody writes, from the input of an execution: of all databases every row, once.

use std::time::{Duration, Instant};

use aws_sdk_rds::types::DbInstance;
use databases::still::{Place, Preflight};
use databases::{Access, Compared, Product, Server, Servers};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use workflow::Error;
use workflow::describe::{find_by_resource_id, find_instance};
use workflow::error::invalid;
use workflow::ids::InstanceReference;
use workflow::online::Login;

/// Of the function's 300 seconds; the last statement comes on top.
const LOOK: Duration = Duration::from_secs(80);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Of the execution, as a human or a pipeline wrote it.
    pub input: Value,
    pub extra_roots: String,
    /// `None` at the first look.
    pub previous: Option<Response>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    source_instance_id: String,
    target_instance_id: String,
    database_secret_arn: Option<String>,
    database_iam_user: Option<String>,
    /// Step Functions adds it where another execution starts this one.
    #[serde(rename = "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID", default)]
    _started_by: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    pub outcome: Outcome,
    /// By the server's own estimate.
    pub percent_progress: Option<i64>,
    pub compared: Compared,
    pub rows_estimated: i64,
    pub place: Place,
    pub failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    #[default]
    Unfinished,
    /// Every row of every table.
    Equal,
    Failed,
}

/// An answer, too, since Lambda would wrap the sentence in JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    pub error: String,
    pub cause: String,
}

/// What passes by itself is the machine's to retry.
pub async fn handle(servers: &Servers, request: Request) -> Result<Response, Error> {
    match compare(servers, request).await {
        Err(error) if !error.is_passing() => {
            let failure = Failure { error: error.name().to_owned(), cause: error.to_string() };
            Ok(Response { outcome: Outcome::Failed, failure: Some(failure), ..Response::default() })
        }
        outcome => outcome,
    }
}

async fn compare(servers: &Servers, request: Request) -> Result<Response, Error> {
    let until = Instant::now() + LOOK;
    let input: Input =
        serde_json::from_value(request.input).map_err(|problem| invalid("input", problem.to_string()))?;
    let login = Login::parse(input.database_secret_arn.as_deref(), input.database_iam_user.as_deref())?;
    let access = Access { login, extra_roots: request.extra_roots };
    let source = find(servers, "source_instance_id", &input.source_instance_id).await?;
    let target = find(servers, "target_instance_id", &input.target_instance_id).await?;
    if source.dbi_resource_id() == target.dbi_resource_id() {
        return Err(invalid("target_instance_id", "is the source itself; name the other instance"));
    }
    if source.engine() != target.engine() {
        return Err(invalid("target_instance_id", "is of another engine than the source"));
    }
    let (source, target) = (servers.reach(&source, &access).await?, servers.reach(&target, &access).await?);
    let mut response = match request.previous {
        Some(previous) => previous,
        None => {
            let (found, _) = tokio::try_join!(preflight(&source), preflight(&target))?;
            let response = Response { rows_estimated: found.rows_estimated, ..Response::default() };
            if Instant::now() >= until {
                return Ok(response);
            }
            response
        }
    };
    let place = &mut response.place;
    let is_whole = match source.product {
        Product::PostgreSql => postgres::still::compare(&source, &target, place, until).await?,
        Product::MariaDb => mariadb::still::compare(&source, &target, place, until).await?,
    };
    response.outcome = if is_whole { Outcome::Equal } else { Outcome::Unfinished };
    response.compared = response.place.compared.clone();
    // The estimate is no promise.
    let percent = (100 * response.compared.rows).checked_div(response.rows_estimated).map(|percent| percent.min(99));
    response.percent_progress = if is_whole { Some(100) } else { percent };
    Ok(response)
}

async fn find(servers: &Servers, field: &'static str, text: &str) -> Result<DbInstance, Error> {
    let found = match InstanceReference::parse(text).map_err(|problem| invalid(field, problem))? {
        InstanceReference::Id(id) => find_instance(&servers.rds, &id).await?,
        InstanceReference::ResourceId(id) => find_by_resource_id(&servers.rds, &id).await?,
        InstanceReference::Arn { .. } => {
            return Err(invalid(field, "is an ARN; give the identifier or the resource id"));
        }
    };
    found.ok_or_else(|| Error::InstanceNotFound(format!("there is no DB instance `{text}` ({field})")))
}

async fn preflight(server: &Server) -> Result<Preflight, Error> {
    match server.product {
        Product::PostgreSql => postgres::still::preflight(server).await,
        Product::MariaDb => mariadb::still::preflight(server).await,
    }
}
