//! A bucket that tests look into.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_sdk_rds::config::Credentials;
use aws_sdk_rds::config::http::HttpRequest;
use aws_smithy_runtime_api::client::http::HttpConnectorFuture;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::body::SdkBody;

use super::*;

const URL: &str = "https://reports.s3.eu-west-1.amazonaws.com";

/// Keeps what is written, and refuses what is not signed.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    objects: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    /// The status and body of every answer, if it is to be the same.
    refusal: Option<(u16, &'static str)>,
}

impl Memory {
    pub fn refusing(status: u16, body: &'static str) -> Self {
        Self { refusal: Some((status, body)), ..Self::default() }
    }

    pub fn bucket(&self) -> Bucket {
        Bucket {
            connector: SharedHttpConnector::new(self.clone()),
            credentials: Some(SharedCredentialsProvider::new(Credentials::new("id", "secret", None, None, "tests"))),
            name: "reports".to_owned(),
            url: URL.to_owned(),
            region: "eu-west-1".to_owned(),
            user_agent: "app/rds-encrypt.tests".to_owned(),
        }
    }

    pub fn put(&self, key: &str, text: &str) {
        self.lock().insert(key.to_owned(), text.as_bytes().to_vec());
    }

    /// Empty if there is no such object.
    pub fn text(&self, key: &str) -> String {
        self.lock().get(key).map(|object| String::from_utf8_lossy(object).into_owned()).unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.objects.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn answer(&self, request: &HttpRequest) -> (u16, Vec<u8>) {
        if let Some((status, body)) = self.refusal {
            return (status, body.as_bytes().to_vec());
        }
        let key = request.uri().strip_prefix(URL).and_then(|path| path.strip_prefix('/'));
        let is_signed =
            ["authorization", "x-amz-content-sha256"].iter().all(|name| request.headers().contains_key(*name));
        let (Some(key), true) = (key, is_signed) else {
            return (403, b"<Error><Code>AccessDenied</Code></Error>".to_vec());
        };
        if request.method() == "PUT" {
            self.lock().insert(key.to_owned(), request.body().bytes().unwrap_or_default().to_vec());
            return (200, vec![]);
        }
        let found = self.lock().get(key).cloned();
        found.map_or_else(|| (404, b"<Error><Code>NoSuchKey</Code></Error>".to_vec()), |object| (200, object))
    }
}

impl HttpConnector for Memory {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (status, body) = self.answer(&request);
        let status = status.try_into().unwrap_or_else(|_| unreachable!("a status of HTTP"));
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
    }
}
