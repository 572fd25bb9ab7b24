//! The frame around every handler: AWS configuration, decoding, the runtime loop.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, invalid};

/// Reads a variable that the template sets; without it the function cannot start.
pub fn environment(name: &str) -> Result<String, lambda_runtime::Error> {
    std::env::var(name).map_err(|_| format!("the environment variable {name} is not set: see template.yaml").into())
}

/// TLS by ring: aws-lc seeds itself with jitter entropy, which costs the first call some 60 ms.
pub fn tls_provider() -> tls::Provider {
    tls::Provider::Rustls(CryptoMode::Ring)
}

/// The SDK configuration of every function.
///
/// `OPERATION_TIMEOUT_SECONDS` bounds a call with its retries; it is shorter than the function's own
/// timeout, so that a call that hangs ends with a name of ours. Each call has three attempts, the SDK's
/// default, unless AWS_MAX_ATTEMPTS says otherwise.
pub async fn aws_config() -> Result<SdkConfig, lambda_runtime::Error> {
    let seconds: u64 = environment("OPERATION_TIMEOUT_SECONDS")?.parse()?;
    let timeouts = TimeoutConfig::builder()
        .operation_timeout(Duration::from_secs(seconds))
        .operation_attempt_timeout(Duration::from_secs(seconds) / 2)
        .build();
    let http = aws_smithy_http_client::Builder::new().tls_provider(tls_provider()).build_https();
    Ok(aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http).timeout_config(timeouts).load().await)
}

/// Starts logging as the template's LoggingConfig asks: JSON, to standard output, from the level on
/// that Lambda hands over. lambda_runtime's own subscriber would do, but its filter brings a regular
/// expression engine along, a tenth of each function.
pub fn start_tracing() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .json()
        .with_max_level(level.unwrap_or(tracing::Level::INFO))
        .with_target(false)
        .with_ansi(false)
        .flatten_event(true)
        .init();
}

/// Answers invocations until Lambda ends the process.
pub async fn serve<Request, Response>(
    handler: impl AsyncFn(Request) -> Result<Response, Error>,
) -> Result<(), lambda_runtime::Error>
where
    Request: DeserializeOwned,
    Response: Serialize,
{
    let handler = &handler;
    // Boxed, because the nested futures of the SDK's calls exceed the compiler's depth for a layout.
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<Value>| {
        let request = decode(event.payload)?;
        Box::pin(handler(request)).await
    }))
    .await
}

/// Decodes a step's request; what does not fit is `InvalidInput` with the field's path.
pub fn decode<Request: DeserializeOwned>(payload: Value) -> Result<Request, Error> {
    serde_path_to_error::deserialize(payload)
        .map_err(|error| invalid(error.path().to_string(), error.inner().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Request {
        #[expect(dead_code, reason = "only its decoding is looked at")]
        id: crate::ids::InstanceId,
    }

    #[test]
    fn a_field_that_does_not_fit_is_named() {
        let error = decode::<Request>(json!({"id": "Orders"})).expect_err("upper case");
        assert_eq!(error.name(), "InvalidInput");
        assert!(error.to_string().starts_with("`id`: "), "{error}");
        let error = decode::<Request>(json!({"idd": "orders"})).expect_err("unknown field");
        assert!(error.to_string().contains("`idd`"), "{error}");
    }
}
