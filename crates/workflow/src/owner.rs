//! Names derive, tags own: a resource belongs to an execution only if it bears that execution's tag.

use aws_sdk_rds::types::Tag;
use serde::{Deserialize, Serialize};

/// The ARN of the execution that made the resource. It leaves the target once that is proven.
pub const EXECUTION_TAG: &str = "rds-encrypt:execution";
/// The DbiResourceId of the instance whose data the resource holds. It stays.
pub const SOURCE_TAG: &str = "rds-encrypt:source";

/// A condition on a tag counts what the tag was some minutes ago, so that an answer of "denied" about a
/// resource of ours passes [A12], [A25].
pub const DENIED_SECONDS: u64 = 900;

/// RDS allows this many tags on a resource ("Tagging Amazon RDS resources", limits).
pub const TAGS_MAX: usize = 50;

/// Who made a resource, and from which instance.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    pub execution: String,
    pub source_resource_id: String,
}

impl Owner {
    /// The user's tags and the two of ours, as a creating call takes them. CopyTagsToSnapshot may bring
    /// the same keys [A14].
    pub fn tags_with(&self, user_tags: &[TagPair]) -> Vec<Tag> {
        let ours = [(EXECUTION_TAG, &self.execution), (SOURCE_TAG, &self.source_resource_id)];
        user_tags
            .iter()
            .map(TagPair::to_aws)
            .chain(ours.map(|(key, value)| Tag::builder().key(key).value(value).build()))
            .collect()
    }

    /// By the tags that the description of a resource brings along [A13].
    pub fn owns(&self, tags: &[Tag]) -> bool {
        execution_of(tags) == Some(&self.execution) && source_of(tags) == Some(&self.source_resource_id)
    }
}

/// The execution whose tag is on a resource.
pub fn execution_of(tags: &[Tag]) -> Option<&str> {
    value_of(tags, EXECUTION_TAG)
}

/// The DbiResourceId of the instance that a resource of ours was made from.
pub fn source_of(tags: &[Tag]) -> Option<&str> {
    value_of(tags, SOURCE_TAG)
}

fn value_of<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value)
}

/// A tag of the user's, as the state carries it.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TagPair {
    pub key: String,
    pub value: String,
}

/// `team=planets`
impl std::fmt::Display for TagPair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(formatter, "{}={}", self.key, self.value)
    }
}

impl TagPair {
    pub fn to_aws(&self) -> Tag {
        Tag::builder().key(&self.key).value(&self.value).build()
    }
}

/// The tags that travel: all but AWS's own, which no caller may set, and ours.
pub fn user_tags(tags: &[Tag]) -> Vec<TagPair> {
    let mut pairs: Vec<TagPair> = tags
        .iter()
        .filter_map(|tag| Some((tag.key()?, tag.value().unwrap_or_default())))
        .filter(|(key, _)| !key.starts_with("aws:") && *key != EXECUTION_TAG && *key != SOURCE_TAG)
        .map(|(key, value)| TagPair { key: key.to_owned(), value: value.to_owned() })
        .collect();
    pairs.sort();
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(execution: &str) -> Owner {
        Owner { execution: execution.to_owned(), source_resource_id: "db-SOURCE".to_owned() }
    }

    #[test]
    fn a_resource_belongs_to_the_execution_in_its_tag_and_to_no_other() {
        let tags = owner("arn:one").tags_with(&[]);
        assert!(owner("arn:one").owns(&tags));
        assert!(!owner("arn:two").owns(&tags));
        assert!(!owner("arn:one").owns(&[]));
    }

    #[test]
    fn awss_and_our_own_tags_do_not_travel() {
        let mut tags = owner("arn:one").tags_with(&[TagPair { key: "team".into(), value: "a".into() }]);
        tags.push(Tag::builder().key("aws:cloudformation:stack-name").value("s").build());
        tags.push(Tag::builder().key("rds-encrypt").value("exempt").build());
        let keys: Vec<String> = user_tags(&tags).into_iter().map(|tag| tag.key).collect();
        assert_eq!(keys, ["rds-encrypt", "team"]);
    }
}
