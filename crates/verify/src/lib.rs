//! The commit point: reads source and target side by side. Only a target that is encrypted under the
//! asked key, steadily available and equal in every setting that was not announced to differ passes.
//!
//! AWS calls: DescribeDBInstances.
//!
//! Repeating it is safe: it only reads.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbInstance, DbParameterGroupStatus};
use serde::{Deserialize, Serialize};
use workflow::Error;
use workflow::describe::{find_target, has_pending_modifications};
use workflow::encryption::EncryptionClass;
use workflow::ids::InstanceId;
use workflow::owner::{Owner, TagPair, user_tags};
use workflow::settings::{Settings, TABLE, Travels};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub target_instance_id: InstanceId,
    pub target_resource_id: Option<String>,
    pub kms_key_arn: String,
    /// The source's, as the plan captured them.
    pub settings: Settings,
    pub tags: Vec<TagPair>,
    pub owner: Owner,
}

/// The short proof that the execution's output holds.
#[derive(Debug, Deserialize, Serialize)]
pub struct Proof {
    pub encryption: String,
    pub kms_key_arn: String,
    pub target_resource_id: String,
    pub endpoint: Option<String>,
    /// Settings that are equal on both sides, tags and roles included.
    pub compared: Vec<String>,
    pub differs_on_purpose: Vec<String>,
}

pub async fn handle(client: &Client, request: Request) -> Result<Proof, Error> {
    let target = find_target(client, &request.target_instance_id, request.target_resource_id.as_deref()).await?;
    let mut problems = encryption_problems(&target, &request.kms_key_arn);
    if target.dbi_resource_id() == Some(request.owner.source_resource_id.as_str()) {
        problems.push("the target is the source itself".to_owned());
    }
    let status = target.db_instance_status().unwrap_or_default();
    if !workflow::status::serves_clients(status) {
        problems.push(format!("its status is `{status}`, not `available`"));
    }
    if has_pending_modifications(&target) {
        problems.push("modifications of it are pending".to_owned());
    }
    problems.extend(parameter_group_problems(&target));
    let settings = Settings::capture(&target);
    problems.extend(request.settings.differences(&settings).iter().map(ToString::to_string));
    problems.extend(tag_problems(&request.tags, &user_tags(target.tag_list())));
    if !problems.is_empty() {
        return Err(Error::NotProven(format!(
            "DB instance `{}` is not what was planned: {}",
            request.target_instance_id,
            problems.join("; ")
        )));
    }
    Ok(proof(&target, &request))
}

/// The class and the key, read back from the instance itself.
fn encryption_problems(target: &DbInstance, kms_key_arn: &str) -> Vec<String> {
    let class = EncryptionClass::of(target);
    let mut problems = vec![];
    if class != EncryptionClass::KmsKey {
        problems.push(format!("it is {class}"));
    }
    if target.kms_key_id() != Some(kms_key_arn) {
        problems.push(format!("its key is {}, not {kms_key_arn}", target.kms_key_id().unwrap_or("none")));
    }
    problems
}

/// A group that is the right one says nothing about the parameters that are in force.
fn parameter_group_problems(target: &DbInstance) -> Vec<String> {
    let groups = target.db_parameter_groups().iter();
    let problem = |group: &DbParameterGroupStatus| {
        let status = group.parameter_apply_status().unwrap_or("of unknown status");
        let name = group.db_parameter_group_name().unwrap_or_default();
        (status != "in-sync").then(|| format!("its parameter group `{name}` is {status}, not in-sync"))
    };
    groups.filter_map(problem).collect()
}

fn tag_problems(source: &[TagPair], target: &[TagPair]) -> Vec<String> {
    let missing = source.iter().filter(|tag| !target.contains(tag)).map(|tag| ("is missing on the target", tag));
    let added = target.iter().filter(|tag| !source.contains(tag)).map(|tag| ("is only on the target", tag));
    missing.chain(added).map(|(what, tag)| format!("tag {}={} {what}", tag.key, tag.value)).collect()
}

fn proof(target: &DbInstance, request: &Request) -> Proof {
    let fields = |travels: &[Travels]| -> Vec<String> {
        TABLE.iter().filter(|field| travels.contains(&field.travels)).map(|field| field.name.to_owned()).collect()
    };
    // What comes last, after this proof, is read back when it is set.
    let compared = TABLE
        .iter()
        .filter(|field| field.travels != Travels::Last)
        .filter_map(|field| field.setting)
        .filter(|setting| request.settings.get(setting).is_some());
    Proof {
        encryption: EncryptionClass::of(target).to_string(),
        kms_key_arn: request.kms_key_arn.clone(),
        target_resource_id: target.dbi_resource_id().unwrap_or_default().to_owned(),
        endpoint: target.endpoint().and_then(|endpoint| endpoint.address()).map(str::to_owned),
        compared: compared.map(str::to_owned).chain(["Tags".to_owned()]).collect(),
        differs_on_purpose: fields(&[Travels::DiffersOnPurpose]),
    }
}
