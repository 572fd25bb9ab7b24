//! The one question to EC2: which VPC a security group belongs to.
//!
//! By hand, with the signer and the HTTP client that every SDK brings along, because the SDK's crate for EC2 is by
//! far the largest of all to compile, for hundreds of questions that nobody asks here.

use std::collections::BTreeMap;
use std::time::SystemTime;

use aws_config::SdkConfig;
use aws_sdk_rds::config::http::HttpRequest;
use aws_sdk_rds::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_xml::decode::{Document, ScopedDecoder, XmlDecodeError, try_data};
use workflow::error::CallFailure;
use workflow::serve::tls_provider;

/// DescribeSecurityGroups of this version of the API answers in XML.
const API_VERSION: &str = "2016-11-15";
type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub struct Ec2 {
    pub(crate) connector: SharedHttpConnector,
    pub(crate) credentials: Option<SharedCredentialsProvider>,
    pub(crate) endpoint: String,
    pub(crate) region: String,
    /// As the SDKs put the step's name into theirs.
    pub(crate) user_agent: String,
}

impl Ec2 {
    pub fn new(config: &SdkConfig, endpoint: String, region: String) -> Self {
        Self {
            connector: SharedHttpConnector::new(Connector::builder().tls_provider(tls_provider()).build()),
            credentials: config.credentials_provider(),
            endpoint,
            region,
            user_agent: format!("app/{}", config.app_name().map_or("", |name| name.as_ref())),
        }
    }

    /// The VPC of each of these groups that exists.
    pub(crate) async fn vpcs_of(&self, groups: &[&str]) -> Result<BTreeMap<String, String>, CallFailure> {
        let failure = |code: &str, message: String, source| CallFailure {
            operation: format!("describe the security groups {}", groups.join(", ")),
            code: code.to_owned(),
            message,
            source,
        };
        let failed = |error: BoxError| failure("", error.to_string(), Some(error));
        // A filter, since an id that does not exist is an error about all of them.
        let values = groups.iter().enumerate().map(|(index, group)| format!("&Filter.1.Value.{}={group}", index + 1));
        let values: String = values.collect();
        let query = format!("Action=DescribeSecurityGroups&Version={API_VERSION}&Filter.1.Name=group-id{values}");
        let request = self.signed(query).await.map_err(failed)?;
        let response = self.connector.call(request).await.map_err(|error| failed(error.into()))?;
        let status = response.status();
        let body = ByteStream::new(response.into_body()).collect().await.map_err(|error| failed(error.into()))?;
        let body = String::from_utf8(body.to_vec()).map_err(|error| failed(error.into()))?;
        if !status.is_success() {
            let [code, message] = ["Code", "Message"].map(|name| element(&body, name).unwrap_or_default());
            return Err(failure(&code, format!("{message} (status {})", status.as_u16()), None));
        }
        read(&body).map_err(|error| failed(error.into()))
    }

    async fn signed(&self, query: String) -> Result<HttpRequest, BoxError> {
        let credentials = self.credentials.as_ref().ok_or("there are no credentials")?;
        let identity = credentials.provide_credentials().await?.into();
        let settings = SigningSettings::default();
        let parameters = SigningParams::builder().identity(&identity).region(&self.region).name("ec2");
        let parameters = parameters.time(SystemTime::now()).settings(settings).build()?.into();
        let mut headers = vec![
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
            ("user-agent", self.user_agent.clone()),
        ];
        let signed = headers.iter().map(|(name, value)| (*name, value.as_str()));
        let request = SignableRequest::new("POST", &self.endpoint, signed, SignableBody::Bytes(query.as_bytes()))?;
        let (instructions, _) = sign(request, &parameters)?.into_parts();
        headers.extend(instructions.into_parts().0.iter().map(|header| (header.name(), header.value().to_owned())));
        let mut request = HttpRequest::new(query.into());
        request.set_method("POST")?;
        request.set_uri(self.endpoint.as_str())?;
        for (name, value) in headers {
            request.headers_mut().try_insert(name, value)?;
        }
        Ok(request)
    }
}

/// `groupId` and `vpcId` of each item of `securityGroupInfo`; those of the rules within an item are others'.
fn read(body: &str) -> Result<BTreeMap<String, String>, XmlDecodeError> {
    let mut document = Document::new(body);
    let mut root = document.root_element()?;
    let mut vpcs = BTreeMap::new();
    while let Some(mut list) = root.next_tag() {
        if !list.start_el().matches("securityGroupInfo") {
            continue;
        }
        while let Some(mut item) = list.next_tag() {
            let (mut group, mut vpc) = (String::new(), String::new());
            while let Some(mut field) = item.next_tag() {
                match field.start_el().local() {
                    "groupId" => group = text(&mut field)?,
                    "vpcId" => vpc = text(&mut field)?,
                    _ => {}
                }
            }
            vpcs.insert(group, vpc);
        }
    }
    Ok(vpcs)
}

fn text(field: &mut ScopedDecoder) -> Result<String, XmlDecodeError> {
    try_data(field).map(|text| text.into_owned())
}

/// The text of the first element of this name.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(text, _)| text.to_owned())
}
