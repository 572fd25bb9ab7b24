//! Creates the blue/green deployment whose green side is encrypted.
//!
//! AWS calls: CreateBlueGreenDeployment; DescribeBlueGreenDeployments when the name is taken.
//!
//! Repeating it is safe: the name derives from the input, and a deployment of that name that carries this
//! execution's tag is the one an earlier attempt made [A57]. Any other is a `NameConflict`.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{BlueGreenDeployment, TargetResourceConfiguration};
use serde::Deserialize;
use settings::member::Member;
use workflow::Error;
use workflow::deployment::{self, Deployed};
use workflow::error::invalid;
use workflow::ids::DeploymentName;
use workflow::owner::{Owner, TagPair};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub deployment_name: DeploymentName,
    /// The source first.
    pub members: Vec<Member>,
    /// Of the source: without it green would have the engine's default [A44].
    pub parameter_group: Option<String>,
    pub owner: Owner,
    pub tags: Vec<TagPair>,
}

pub async fn handle(client: &Client, request: Request) -> Result<Deployed, Error> {
    let Request { deployment_name, members, parameter_group, owner, tags } = request;
    let source = members.first().ok_or_else(|| invalid("members", "is empty; the source is its first entry"))?;
    // One without an entry would stay as blue is: unencrypted (API model, TargetResourceConfigurations).
    let keys = members.iter().map(|member| {
        let entry = TargetResourceConfiguration::builder().source_arn(&member.arn);
        entry.target_kms_key_id(&member.kms_key_arn).build()
    });
    let keys: Result<Vec<_>, _> = keys.collect();
    let keys = keys.map_err(|error| invalid("members", error.to_string()))?;
    let answer = client
        .create_blue_green_deployment()
        .blue_green_deployment_name(deployment_name.as_str())
        .source(&source.arn)
        .set_target_resource_configurations(Some(keys))
        .set_target_db_parameter_group_name(parameter_group)
        .set_tags(Some(owner.tags_with(&tags)))
        .send()
        .await;
    let made = match answer {
        Ok(output) => output.blue_green_deployment.unwrap_or_else(|| BlueGreenDeployment::builder().build()),
        Err(error)
            if error.as_service_error().is_some_and(|error| error.is_blue_green_deployment_already_exists_fault()) =>
        {
            adopt(client, &deployment_name, &owner).await?
        }
        Err(error) => {
            let operation = format!("create {} of {}", deployment::named(&deployment_name), source.arn);
            return Err(Error::from_call(operation, error));
        }
    };
    Ok(Deployed { status: made.status().map(str::to_owned), ..Deployed::default() })
}

async fn adopt(client: &Client, name: &DeploymentName, owner: &Owner) -> Result<BlueGreenDeployment, Error> {
    let shown = deployment::named(name);
    let found = deployment::find(client, name).await?.ok_or_else(|| {
        Error::DeploymentNotFound(format!("{shown} was there a moment ago and is gone: something deletes it"))
    })?;
    if owner.owns(found.tag_list()) {
        return Ok(found);
    }
    Err(deployment::conflict(name, &found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_rds::error::ErrorMetadata;
    use aws_sdk_rds::operation::create_blue_green_deployment::{
        CreateBlueGreenDeploymentError, CreateBlueGreenDeploymentOutput,
    };
    use aws_sdk_rds::operation::describe_blue_green_deployments::DescribeBlueGreenDeploymentsOutput;
    use aws_sdk_rds::types::error::BlueGreenDeploymentAlreadyExistsFault;
    use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
    use serde_json::json;
    use workflow::serve::decode;

    fn owner(execution: &str) -> Owner {
        Owner { execution: execution.into(), source_resource_id: "db-SOURCE".into() }
    }

    fn member(id: &str) -> Member {
        let wanted = json!({
            "source_resource_id": format!("db-{id}"), "instance_id": id, "cutover": "none",
            "quarantine_security_group_id": null, "settings": {}, "tags": [],
        });
        decode(json!({"arn": format!("arn:aws:rds:r:1:db:{id}"), "kms_key_arn": "arn:key", "wanted": wanted}))
            .expect("a member")
    }

    fn request() -> Request {
        Request {
            deployment_name: DeploymentName::parse("orders-encrypted").expect("legal"),
            members: vec![member("orders"), member("orders-replica")],
            parameter_group: Some("tuned".into()),
            owner: owner("arn:ours"),
            tags: vec![TagPair { key: "team".into(), value: "a".into() }],
        }
    }

    fn taken() -> Rule {
        mock!(Client::create_blue_green_deployment).then_error(|| {
            let fault = BlueGreenDeploymentAlreadyExistsFault::builder().build();
            CreateBlueGreenDeploymentError::BlueGreenDeploymentAlreadyExistsFault(fault)
        })
    }

    fn deployment_of(execution: &'static str) -> Rule {
        mock!(Client::describe_blue_green_deployments).then_output(move || {
            let deployment = BlueGreenDeployment::builder()
                .blue_green_deployment_name("orders-encrypted")
                .status("AVAILABLE")
                .set_tag_list(Some(owner(execution).tags_with(&[])))
                .build();
            DescribeBlueGreenDeploymentsOutput::builder().blue_green_deployments(deployment).build()
        })
    }

    #[tokio::test]
    async fn every_member_gets_its_key_and_the_deployment_our_tags() {
        let create = mock!(Client::create_blue_green_deployment)
            .match_requests(|input| {
                let keys: Vec<_> = input
                    .target_resource_configurations()
                    .iter()
                    .map(|entry| (entry.source_arn(), entry.target_kms_key_id()))
                    .collect();
                let key = Some("arn:key");
                keys == [("arn:aws:rds:r:1:db:orders", key), ("arn:aws:rds:r:1:db:orders-replica", key)]
                    && input.source() == Some("arn:aws:rds:r:1:db:orders")
                    && input.target_db_parameter_group_name() == Some("tuned")
                    && owner("arn:ours").owns(input.tags())
            })
            .then_output(|| {
                let made = BlueGreenDeployment::builder().status("PROVISIONING").build();
                CreateBlueGreenDeploymentOutput::builder().blue_green_deployment(made).build()
            });
        let made = handle(&mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&create]), request()).await.expect("made");
        assert_eq!((made.status.as_deref(), made.ready), (Some("PROVISIONING"), false));
    }

    #[tokio::test]
    async fn a_deployment_made_by_this_execution_is_adopted_and_another_ones_is_a_name_conflict() {
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&taken(), &deployment_of("arn:ours")]);
        assert_eq!(handle(&client, request()).await.expect("adopted").status.as_deref(), Some("AVAILABLE"));
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&taken(), &deployment_of("arn:theirs")]);
        let error = handle(&client, request()).await.expect_err("conflict");
        assert_eq!(error.name(), "NameConflict");
        assert!(error.to_string().contains("arn:theirs"), "{error}");
    }

    #[tokio::test]
    async fn what_rds_refuses_is_named() {
        for (code, name) in [
            ("SourceDatabaseNotSupportedFault", "BlueGreenNotSupported"),
            ("InvalidDBInstanceState", "InvalidInstanceState"),
            ("InstanceQuotaExceeded", "QuotaExceeded"),
            ("KMSKeyNotAccessibleFault", "KeyNotUsable"),
            ("Throttling", "Throttled"),
        ] {
            let create = mock!(Client::create_blue_green_deployment).then_error(move || {
                CreateBlueGreenDeploymentError::generic(ErrorMetadata::builder().code(code).build())
            });
            let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&create]);
            assert_eq!(handle(&client, request()).await.expect_err(code).name(), name);
        }
    }
}
