//! The stack's bucket, as the steps of a fleet read and write it: GetObject and PutObject, no more. What a
//! Distributed Map leaves there is read by `results`.
//!
//! By hand, with the signer and the HTTP client that every SDK brings along, because the SDK's crate for S3 is among
//! the largest of all to compile and to start, for two calls.

#[cfg(any(test, feature = "test-util"))]
pub mod memory;
pub mod results;

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_rds::config::http::HttpRequest;
use aws_sdk_rds::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_types::byte_stream::ByteStream;
use tokio::time::timeout;
use workflow::Error;
use workflow::error::CallFailure;
use workflow::serve::{environment, tls_provider};

/// One call: shorter than the function's own time limit, so that a call that hangs ends with a name of ours.
const PATIENCE: Duration = Duration::from_secs(20);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub struct Bucket {
    pub connector: SharedHttpConnector,
    pub credentials: Option<SharedCredentialsProvider>,
    pub name: String,
    /// What comes before `/<key>`.
    pub url: String,
    pub region: String,
    /// As the SDKs put the step's name into theirs.
    pub user_agent: String,
}

impl Bucket {
    /// The bucket that the template names.
    pub fn from_environment(config: &SdkConfig) -> Result<Self, BoxError> {
        let name = environment("BUCKET")?;
        // Where every SDK looks first, too; such an endpoint has no host name for each bucket.
        let local = environment("AWS_ENDPOINT_URL_S3").or_else(|_| environment("AWS_ENDPOINT_URL"));
        let url = match local {
            Ok(endpoint) => format!("{endpoint}/{name}"),
            Err(_) => environment("BUCKET_URL")?,
        };
        Ok(Self {
            connector: SharedHttpConnector::new(Connector::builder().tls_provider(tls_provider()).build()),
            credentials: config.credentials_provider(),
            name,
            url,
            region: environment("AWS_REGION")?,
            user_agent: format!("app/{}", config.app_name().map_or("", |name| name.as_ref())),
        })
    }

    pub async fn get(&self, key: &str) -> Result<Vec<u8>, Error> {
        self.call("GET", key, &[], vec![]).await
    }

    /// Encrypted as the bucket is. The same object again replaces itself, as another version.
    pub async fn put(&self, key: &str, content_type: &str, body: Vec<u8>) -> Result<(), Error> {
        self.call("PUT", key, &[("content-type", content_type)], body).await.map(drop)
    }

    async fn call(&self, method: &str, key: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Vec<u8>, Error> {
        let failure = |code: &str, message: String, source| CallFailure {
            operation: format!("{} s3://{}/{key}", method.to_lowercase(), self.name),
            code: code.to_owned(),
            message,
            source,
        };
        let unanswered = |error: BoxError| Error::from_failure(failure("", error.to_string(), Some(error)), true);
        let answer = timeout(PATIENCE, self.send(method, key, headers, body));
        let answer = answer.await.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs()).into()));
        let (status, body) = answer.map_err(unanswered)?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(&body);
        let [code, message] = ["Code", "Message"].map(|name| element(&text, name).unwrap_or_default());
        Err(Error::from_failure(failure(code, format!("{message} (status {status})"), None), status >= 500))
    }

    async fn send(
        &self,
        method: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<(u16, Vec<u8>), BoxError> {
        let credentials = self.credentials.as_ref().ok_or("there are no credentials")?;
        let identity = credentials.provide_credentials().await?.into();
        let url = format!("{}/{key}", self.url);
        let headers = [headers, &[("user-agent", &self.user_agent)]].concat();
        let signed = signature(&identity, &self.region, SystemTime::now(), (method, &url), &headers, &body)?;
        let mut request = HttpRequest::new(body.into());
        request.set_method(method)?;
        request.set_uri(url.as_str())?;
        for (name, value) in headers {
            request.headers_mut().try_insert(name.to_owned(), value.to_owned())?;
        }
        for (name, value) in signed {
            request.headers_mut().try_insert(name, value)?;
        }
        let response = self.connector.call(request).await?;
        let status = response.status().as_u16();
        Ok((status, ByteStream::new(response.into_body()).collect().await?.to_vec()))
    }
}

/// The headers that S3 wants besides ("Authenticating Requests (AWS Signature Version 4)", S3 API Reference): it takes
/// a path as it is, and the payload's hash as a header.
fn signature(
    identity: &Identity,
    region: &str,
    time: SystemTime,
    (method, url): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Vec<(String, String)>, BoxError> {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let parameters = SigningParams::builder().identity(identity).region(region).name("s3").time(time);
    let parameters = parameters.settings(settings).build()?.into();
    let request = SignableRequest::new(method, url, headers.iter().copied(), SignableBody::Bytes(body))?;
    let (instructions, _) = sign(request, &parameters)?.into_parts();
    let headers = instructions.into_parts().0;
    Ok(headers.iter().map(|header| (header.name().to_owned(), header.value().to_owned())).collect())
}

/// The text of the first element of this name.
fn element<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use aws_sdk_rds::config::Credentials;

    #[tokio::test]
    async fn an_object_is_written_and_read_with_a_signature() {
        let memory = Memory::default();
        let bucket = memory.bucket();
        bucket.put("fleets/one/items.json", "application/json", b"[]".to_vec()).await.expect("written");
        assert_eq!(bucket.get("fleets/one/items.json").await.expect("read"), b"[]");
        assert_eq!(memory.text("fleets/one/items.json"), "[]");
    }

    #[tokio::test]
    async fn a_refusal_has_the_name_that_every_refusal_of_aws_has() {
        let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
        for (status, body, name) in [
            (403, denied, "AccessDenied"),
            (404, "<Error><Code>NoSuchKey</Code></Error>", "RequestRejected"),
            (503, "<Error><Code>SlowDown</Code></Error>", "ServiceUnavailable"),
            (500, "", "ServiceUnavailable"),
        ] {
            let error = Memory::refusing(status, body).bucket().get("key").await.expect_err("refused");
            assert_eq!(error.name(), name, "{error}");
            assert!(error.to_string().starts_with("get s3://reports/key: "), "{error}");
        }
        let error = Memory::refusing(403, denied).bucket().get("key").await.expect_err("refused");
        assert_eq!(error.to_string(), "get s3://reports/key: AccessDenied: Access Denied (status 403)");
    }

    /// "Example: GET Object" of "Signature Calculations for the Authorization Header" (S3 API Reference).
    #[test]
    fn the_signature_is_the_one_that_s3_documents() {
        let credentials =
            Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None, None, "test");
        // 2013-05-24T00:00:00Z
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let request = ("GET", "https://examplebucket.s3.amazonaws.com/test.txt");
        let headers = [("range", "bytes=0-9")];
        let signed = signature(&credentials.into(), "us-east-1", time, request, &headers, b"").expect("signed");
        let authorization = signed.iter().find(|(name, _)| name == "authorization").expect("a signature");
        let documented = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        assert!(authorization.1.ends_with(&format!("Signature={documented}")), "{authorization:?}");
    }
}
