//! All DB instances of the account in this Region, of each what decides.
//!
//! A description takes some 10 kB of memory, and 10,000 of them more than the function has.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::DbInstance;
use settings::refusals;
use workflow::Error;
use workflow::encryption::EncryptionClass;
use workflow::estimate::Estimate;
use workflow::owner::{execution_of, source_of};
use workflow::status::{Class, source_class};

use crate::{About, Reason};

#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) about: About,
    pub(crate) arn: String,
    pub(crate) is_encrypted: bool,
    /// What the instance's own description forbids.
    pub(crate) refusal: Option<(Reason, String)>,
    pub(crate) tags: Vec<(String, String)>,
    /// The DbiResourceId of the instance that this one was made from.
    pub(crate) twin_of: Option<String>,
    /// Whether the execution that makes it still owns it.
    pub(crate) is_owned: bool,
}

pub(crate) async fn all(client: &Client) -> Result<Vec<Instance>, Error> {
    let mut pages = client.describe_db_instances().into_paginator().page_size(100).send();
    let mut instances = vec![];
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| Error::from_call("list the DB instances", error))?;
        instances.extend(page.db_instances().iter().map(Instance::of));
    }
    Ok(instances)
}

impl Instance {
    pub(crate) fn of(instance: &DbInstance) -> Self {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let estimate = Estimate::of(instance);
        let tags = instance.tag_list();
        Self {
            arn: text(instance.db_instance_arn()),
            is_encrypted: EncryptionClass::of(instance) != EncryptionClass::None,
            refusal: refusal(instance),
            twin_of: source_of(tags).map(str::to_owned),
            is_owned: execution_of(tags).is_some(),
            tags: tags.iter().map(|tag| (text(tag.key()), text(tag.value()))).collect(),
            about: About {
                instance_id: text(instance.db_instance_identifier()),
                resource_id: text(instance.dbi_resource_id()),
                engine: text(instance.engine()),
                class: text(instance.db_instance_class()),
                allocated_gib: instance.allocated_storage().unwrap_or_default(),
                read_replicas: instance.read_replica_db_instance_identifiers().len(),
                minutes_at_least: estimate.minutes_at_least,
                minutes_at_most: estimate.minutes_at_most,
            },
        }
    }

    pub(crate) fn is_called(&self, reference: &str) -> bool {
        [&self.about.instance_id, &self.about.resource_id, &self.arn].into_iter().any(|name| name == reference)
    }
}

/// What the plan would refuse by the description alone, too, in the same words.
fn refusal(instance: &DbInstance) -> Option<(Reason, String)> {
    if let Err(error) = refusals::instance(instance) {
        let reason = match error {
            Error::AlreadyEncrypted(_) => Reason::AlreadyEncrypted,
            Error::ClusterMember(_) => Reason::ClusterMember,
            Error::ReadReplica(_) => Reason::ReadReplica,
            _ => Reason::NotSupported,
        };
        return Some((reason, error.to_string()));
    }
    let status = instance.db_instance_status().unwrap_or_default();
    match source_class(status) {
        Class::Failed { remedy } => Some((Reason::NotUsable, format!("it is `{status}`: {remedy}"))),
        // Its execution waits until a snapshot can be taken.
        Class::Pending { .. } | Class::Ready => None,
    }
}
