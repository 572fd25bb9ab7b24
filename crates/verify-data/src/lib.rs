//! Compares every row of two servers: while one follows the other, or where nobody writes to either.
//!
//! AWS calls: DescribeDBInstances, Secrets Manager GetSecretValue. Repeating it is safe: it goes on where it was.

pub mod following;
pub mod still;

use databases::Servers;
use serde::{Deserialize, Serialize};
use workflow::Error;

#[derive(Debug, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Following(following::Request),
    Still(still::Request),
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Response {
    Following(following::Response),
    Still(still::Response),
}

pub async fn handle(servers: &Servers, request: Request) -> Result<Response, Error> {
    Ok(match request {
        Request::Following(request) => Response::Following(following::handle(servers, request).await?),
        Request::Still(request) => Response::Still(still::handle(servers, request).await?),
    })
}
