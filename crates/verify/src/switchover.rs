//! What a switchover came to, member by member, whatever RDS says of the whole: a deployment was seen completed with a
//! replica whose switchover had failed.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::BlueGreenDeployment;
use serde::{Deserialize, Serialize};
use settings::member::Member;
use workflow::Error;
use workflow::deployment::{self, Target};
use workflow::describe::find_by_resource_id;
use workflow::encryption::EncryptionClass;
use workflow::error::invalid;
use workflow::finish::OldInstance;
use workflow::ids::{DeploymentName, InstanceId};
use workflow::owner::Owner;
use workflow::status;
use workflow::turn::HIDDEN_SECONDS_MAX;
use workflow::wait::{self, Wait};

use crate::encryption_problems;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub deployment_name: DeploymentName,
    pub owner: Owner,
    /// The source first.
    pub members: Vec<Member>,
    /// What was proven, in the same order.
    pub targets: Vec<Target>,
    pub previous: Option<Response>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Response {
    pub ready: bool,
    /// As all are called now.
    pub targets: Vec<Target>,
    /// What the switchover left of blue.
    pub old_instances: Vec<OldInstance>,
    /// What is waited for.
    pub pending: Vec<String>,
    pub wait: Wait,
}

enum Found {
    Switched(Target),
    Pending(String),
}

pub(crate) async fn look(client: &Client, request: Request) -> Result<Response, Error> {
    let previous = request.previous.clone().filter(|previous| !previous.ready).unwrap_or_default();
    let found = deployment::find_own(client, &request.deployment_name, &request.owner).await?;
    let mut response = Response { wait: previous.wait.clone(), ..Response::default() };
    for (member, target) in request.members.iter().zip(&request.targets) {
        refuse_failed(&request.deployment_name, found.as_ref(), member)?;
        match look_at(client, member, target).await? {
            Found::Switched(target) => {
                response.old_instances.push(OldInstance::new(&target.source_id));
                response.targets.push(target);
            }
            Found::Pending(what) => response.pending.push(what),
        }
    }
    if response.pending.is_empty() {
        return Ok(Response { ready: true, ..response });
    }
    response.wait = wait::next(Some(&previous.wait), None, HIDDEN_SECONDS_MAX).map_err(|_| {
        Error::NotProven(format!(
            "after the switchover of the {}: {}",
            deployment::named(&request.deployment_name),
            response.pending.join("; ")
        ))
    })?;
    Ok(response)
}

/// A replica that was left behind goes on under its name, unencrypted and cut off from all that is written.
fn refuse_failed(name: &DeploymentName, found: Option<&BlueGreenDeployment>, member: &Member) -> Result<(), Error> {
    let detail = found.and_then(|found| member.details(found));
    let Some(status) = detail.and_then(|detail| detail.status()) else { return Ok(()) };
    if status != deployment::SWITCHOVER_FAILED && !status.starts_with("MISSING_") {
        return Ok(());
    }
    Err(Error::SwitchoverFailed(format!(
        "the {} was switched over without its member `{}`, which is {status}: that instance stays unencrypted, and \
         gets no further writes. Point its clients elsewhere, delete it, and create a replica of the encrypted instance",
        deployment::named(name),
        member.wanted.instance_id
    )))
}

async fn look_at(client: &Client, member: &Member, target: &Target) -> Result<Found, Error> {
    let name = &member.wanted.instance_id;
    let Some(green) = find_by_resource_id(client, &target.resource_id).await? else {
        return Ok(Found::Pending(format!("the proven instance {} cannot be seen", target.resource_id)));
    };
    let blue = find_by_resource_id(client, &member.wanted.source_resource_id).await?;
    let id = green.db_instance_identifier().unwrap_or_default();
    if id != name {
        return Ok(Found::Pending(format!("`{name}` does not lead to the proven instance, which is called `{id}`")));
    }
    let problems = encryption_problems(&green, &member.kms_key_arn);
    if !problems.is_empty() {
        return Err(Error::NotProven(format!("DB instance `{id}` is not proven: {}", problems.join("; "))));
    }
    let status = green.db_instance_status().unwrap_or_default();
    if !status::serves_clients(status) {
        return Ok(Found::Pending(format!("`{id}` is `{status}`")));
    }
    let Some(blue) = blue else {
        return Ok(Found::Pending(format!("the old instance {} cannot be seen", member.wanted.source_resource_id)));
    };
    if EncryptionClass::of(&blue) != EncryptionClass::None {
        return Err(Error::NotProven("the old instance is encrypted: it is not the source of the plan".to_owned()));
    }
    let source_id = InstanceId::parse(blue.db_instance_identifier().unwrap_or_default());
    Ok(Found::Switched(Target {
        source_id: source_id.map_err(|problem| invalid("source_id", problem))?,
        instance_id: InstanceId::parse(id).map_err(|problem| invalid("instance_id", problem))?,
        resource_id: target.resource_id.clone(),
    }))
}

#[cfg(test)]
mod tests {
    use aws_sdk_rds::operation::describe_blue_green_deployments::DescribeBlueGreenDeploymentsOutput;
    use aws_sdk_rds::operation::describe_db_instances::DescribeDbInstancesOutput;
    use aws_sdk_rds::types::{DbInstance, SwitchoverDetail};
    use aws_smithy_mocks::{RuleMode, mock, mock_client};
    use serde_json::json;
    use workflow::serve::decode;

    use super::*;

    const KEY: &str = "arn:key";

    fn instance(resource_id: &str, id: &str, status: &str, key: Option<&str>) -> DbInstance {
        DbInstance::builder()
            .dbi_resource_id(resource_id)
            .db_instance_identifier(id)
            .db_instance_status(status)
            .storage_encrypted(key.is_some())
            .set_kms_key_id(key.map(str::to_owned))
            .build()
    }

    fn green(id: &str, status: &str) -> DbInstance {
        instance("db-GREEN", id, status, Some(KEY))
    }

    fn blue() -> DbInstance {
        instance("db-SOURCE", "orders-old1", "available", None)
    }

    /// One look, where the deployment says that of its member and these instances are there.
    async fn look_at(
        member: &'static str,
        instances: Vec<DbInstance>,
        previous: Option<Response>,
    ) -> Result<Response, Error> {
        let owner = Owner { execution: "arn:ours".into(), source_resource_id: "db-SOURCE".into() };
        let tags = owner.tags_with(&[]);
        let deployments = mock!(Client::describe_blue_green_deployments).then_output(move || {
            let detail = SwitchoverDetail::builder().target_member("arn:aws:rds:r:1:db:orders").status(member).build();
            let found = BlueGreenDeployment::builder()
                .blue_green_deployment_name("orders-encrypted")
                .status("SWITCHOVER_COMPLETED")
                .switchover_details(detail)
                .set_tag_list(Some(tags.clone()));
            DescribeBlueGreenDeploymentsOutput::builder().blue_green_deployments(found.build()).build()
        });
        let described = mock!(Client::describe_db_instances).then_output(move || {
            DescribeDbInstancesOutput::builder().set_db_instances(Some(instances.clone())).build()
        });
        let wanted = json!({
            "source_resource_id": "db-SOURCE", "instance_id": "orders", "cutover": "none",
            "quarantine_security_group_id": null, "settings": {}, "tags": [],
        });
        let member = json!({"arn": "arn:aws:rds:r:1:db:orders", "kms_key_arn": KEY, "wanted": wanted});
        let target = json!({"source_id": "orders", "instance_id": "orders-green-abc123", "resource_id": "db-GREEN"});
        let request = Request {
            deployment_name: DeploymentName::parse("orders-encrypted").expect("legal"),
            owner,
            members: vec![decode(member).expect("a member")],
            targets: vec![decode(target).expect("a target")],
            previous,
        };
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&deployments, &described]);
        look(&client, request).await
    }

    #[tokio::test]
    async fn a_name_that_leads_to_what_was_proven_is_verified_and_the_old_instance_told() {
        let seen = look_at("SWITCHOVER_COMPLETED", vec![green("orders", "available"), blue()], None).await;
        let seen = seen.expect("verified");
        assert!(seen.ready, "{seen:?}");
        let target = &seen.targets[0];
        let names = (target.source_id.as_str(), target.instance_id.as_str(), target.resource_id.as_str());
        assert_eq!(names, ("orders-old1", "orders", "db-GREEN"));
        assert_eq!(seen.old_instances[0].id.as_str(), "orders-old1");
    }

    #[tokio::test]
    async fn what_passes_is_waited_for_and_named_in_the_end() {
        for (instances, what) in [
            (vec![green("orders-green-abc123", "available"), blue()], "does not lead to the proven instance"),
            (vec![green("orders", "rebooting"), blue()], "`orders` is `rebooting`"),
            (vec![blue()], "db-GREEN cannot be seen"),
            (vec![green("orders", "available")], "db-SOURCE cannot be seen"),
        ] {
            let seen = look_at("SWITCHOVER_COMPLETED", instances.clone(), None).await.expect(what);
            assert!(!seen.ready && seen.wait.wait_seconds > 0 && seen.pending.join("; ").contains(what), "{seen:?}");
            let wait = Wait { waited_seconds: HIDDEN_SECONDS_MAX, ..Wait::default() };
            let late = Response { wait, ..Response::default() };
            let error = look_at("SWITCHOVER_COMPLETED", instances, Some(late)).await.expect_err(what);
            assert_eq!(error.name(), "NotProven");
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    #[tokio::test]
    async fn a_member_that_was_left_out_is_named_whatever_rds_says_of_the_whole() {
        for status in ["SWITCHOVER_FAILED", "MISSING_TARGET"] {
            let error = look_at(status, vec![green("orders", "available"), blue()], None).await.expect_err(status);
            assert_eq!(error.name(), "SwitchoverFailed");
            assert!(error.to_string().contains(&format!("`orders`, which is {status}")), "{error}");
        }
    }

    #[tokio::test]
    async fn what_is_not_encrypted_as_planned_or_not_the_source_is_no_proof() {
        let plain = instance("db-GREEN", "orders", "available", None);
        let other_key = instance("db-GREEN", "orders", "available", Some("arn:other"));
        let encrypted = instance("db-SOURCE", "orders-old1", "available", Some(KEY));
        for instances in [vec![plain, blue()], vec![other_key, blue()], vec![green("orders", "available"), encrypted]] {
            let error = look_at("SWITCHOVER_COMPLETED", instances, None).await.expect_err("no proof");
            assert_eq!(error.name(), "NotProven");
        }
    }
}
