//! What the target has to be like when it is proven: like the source is at that time, and not as it
//! was hours ago, when the plan read it.
//!
//! But for its storage. A source that grew meanwhile is not followed: RDS takes up to a day or more to
//! optimize the storage of an instance that was just restored, and allows no second change for hours
//! ("Working with storage for Amazon RDS DB instances"). It is told instead.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbInstance, Tag};
use serde::{Deserialize, Serialize};

use crate::describe::find_by_resource_id;
use crate::error::Error;
use crate::options::Cutover;
use crate::owner::{TagPair, user_tags};
use crate::settings::Settings;

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    pub source_resource_id: String,
    pub cutover: Cutover,
    pub settings: Settings,
    pub tags: Vec<TagPair>,
}

impl Wanted {
    /// What the source asks of its target.
    pub fn of(source: &DbInstance, cutover: Cutover) -> Self {
        let settings = Settings::capture(source);
        Self {
            source_resource_id: source.dbi_resource_id().unwrap_or_default().to_owned(),
            cutover,
            settings: match cutover {
                Cutover::None => settings,
                Cutover::Rename => settings.without_backups(),
            },
            tags: user_tags(source.tag_list()),
        }
    }

    /// The same as of now, and what has changed. If the source is gone, as the plan saw it: the target may
    /// be the last copy of the data, and is not to be thrown away for want of something to compare it with.
    pub async fn now(self, client: &Client) -> Result<(Self, Vec<String>), Error> {
        let Some(source) = find_by_resource_id(client, &self.source_resource_id).await? else {
            return Ok((self, vec!["the source is gone, so the target is as the plan saw it".to_owned()]));
        };
        let mut now = Self::of(&source, self.cutover);
        let mut changes = now.settings.changed_since(&self.settings);
        now.settings = now.settings.with_storage_of(&self.settings);
        changes.extend(now.tags.iter().filter(|tag| !self.tags.contains(tag)).map(|tag| format!("tag {tag}")));
        Ok((now, changes))
    }

    /// The same guarded as the source is now, too ([`Settings::protection`]), and never less than the plan
    /// saw: the old instance may be on its way out already.
    pub async fn guarded(mut self, client: &Client) -> Result<Self, Error> {
        if let Some(source) = find_by_resource_id(client, &self.source_resource_id).await? {
            self.settings = self.settings.guarded_as(&Settings::capture(&source));
        }
        Ok(self)
    }

    /// The wanted tags that are not on an instance with these.
    pub fn missing_tags(&self, tags: &[Tag]) -> Vec<&TagPair> {
        let present = user_tags(tags);
        self.tags.iter().filter(|tag| !present.contains(tag)).collect()
    }

    /// The tags of an instance with these whose keys are not wanted: others put them there, or took them off
    /// the source.
    pub fn foreign_tags(&self, tags: &[Tag]) -> Vec<TagPair> {
        let is_foreign = |tag: &TagPair| self.tags.iter().all(|wanted| wanted.key != tag.key);
        user_tags(tags).into_iter().filter(is_foreign).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_rds::operation::describe_db_instances::DescribeDbInstancesOutput;
    use aws_smithy_mocks::{RuleMode, mock, mock_client};
    use serde_json::json;

    fn tag(key: &str, value: &str) -> Tag {
        Tag::builder().key(key).value(value).build()
    }

    fn source(window: &str, team: &str) -> DbInstance {
        DbInstance::builder()
            .dbi_resource_id("db-SOURCE")
            .preferred_maintenance_window(window)
            .backup_retention_period(7)
            .tag_list(tag("team", team))
            .tag_list(tag("aws:cloudformation:stack-name", "s"))
            .build()
    }

    async fn now(wanted: Wanted, source: Option<DbInstance>) -> (Wanted, Vec<String>) {
        let describe = mock!(Client::describe_db_instances)
            .match_requests(|input| input.filters()[0].values() == ["db-SOURCE"])
            .then_output(move || {
                DescribeDbInstancesOutput::builder().set_db_instances(Some(source.iter().cloned().collect())).build()
            });
        wanted.now(&mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe])).await.expect("answered")
    }

    #[tokio::test]
    async fn what_changed_at_the_source_since_the_plan_is_wanted() {
        let planned = Wanted::of(&source("sun:01:00-sun:02:00", "a"), Cutover::None);
        let (wanted, changes) = now(planned, Some(source("mon:01:00-mon:02:00", "b"))).await;
        let window = "PreferredMaintenanceWindow: \"mon:01:00-mon:02:00\", was \"sun:01:00-sun:02:00\"";
        assert_eq!(changes, [window, "tag team=b"]);
        assert_eq!(wanted, Wanted::of(&source("mon:01:00-mon:02:00", "b"), Cutover::None));
        assert_eq!(wanted.settings.text("PreferredMaintenanceWindow").as_deref(), Some("mon:01:00-mon:02:00"));
        assert_eq!(wanted.tags, [TagPair { key: "team".into(), value: "b".into() }]);
    }

    #[tokio::test]
    async fn what_the_plan_saw_is_wanted_once_the_source_is_gone() {
        let planned = Wanted::of(&source("sun:01:00-sun:02:00", "a"), Cutover::Rename);
        let (wanted, changes) = now(planned.clone(), None).await;
        assert_eq!(wanted, planned);
        assert!(changes[0].starts_with("the source is gone"), "{changes:?}");
    }

    #[tokio::test]
    async fn storage_that_grew_is_told_and_not_followed() {
        let of = |gib, kind: &str| {
            let source = DbInstance::builder().engine("mysql").dbi_resource_id("db-SOURCE");
            source.allocated_storage(gib).storage_type(kind).build()
        };
        let planned = Wanted::of(&of(100, "gp2"), Cutover::None);
        let (wanted, changes) = now(planned.clone(), Some(of(120, "gp3"))).await;
        assert_eq!(wanted, planned);
        let told = ["AllocatedStorage: 120, was 100", "StorageType: \"gp3\", was \"gp2\""];
        assert_eq!(changes, told.map(|change| format!("{change}, which the target does not follow")));
    }

    #[test]
    fn backups_wait_for_a_cutover() {
        let days = |cutover| Wanted::of(&source("", "a"), cutover).settings.number("BackupRetentionPeriod");
        assert_eq!((days(Cutover::None), days(Cutover::Rename)), (Some(7), Some(0)));
    }

    #[test]
    fn a_tag_with_another_value_is_missing_and_one_with_another_key_is_foreign() {
        let wanted = Wanted::of(&source("", "a"), Cutover::None);
        let tags = [tag("team", "b"), tag("created-by", "robot"), tag("rds-encrypt:execution", "arn:ours")];
        assert_eq!(wanted.missing_tags(&tags), wanted.tags.iter().collect::<Vec<_>>());
        assert_eq!(wanted.foreign_tags(&tags), [TagPair { key: "created-by".into(), value: "robot".into() }]);
        assert!(wanted.missing_tags(&[tag("team", "a")]).is_empty());
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let state = json!({"source_resource_id": "db-SOURCE", "cutover": "none", "settings": {}, "tags": [], "x": 1});
        assert!(serde_json::from_value::<Wanted>(state).is_err());
    }
}
