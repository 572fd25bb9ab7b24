//! What the target has to be like when it is proven: like the source is at that time, and not as it
//! was hours ago, when the plan read it.
//!
//! But for its storage. A source that grew meanwhile is not followed: RDS takes up to a day or more to
//! optimize the storage of an instance that was just restored, and allows no second change for hours
//! ("Working with storage for Amazon RDS DB instances"). It is told instead. The limit of storage autoscaling is
//! followed, so that the target can grow after the source.
//!
//! And but for its security groups, while the target is in quarantine: nobody is to reach what a copy does by
//! itself, such as a subscription that asks the original publisher for its changes.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbInstance, Tag};
use serde::{Deserialize, Serialize};

use crate::{BACKUPS, Settings};
use workflow::Error;
use workflow::describe::{find_by_resource_id, find_instance, is_called};
use workflow::ids::InstanceId;
use workflow::options::Cutover;
use workflow::owner::{TagPair, user_tags};
use workflow::status::is_being_deleted;

/// DescribeDBInstances can leave an instance out of an answer [A39]. One that is not seen for longer is gone.
const UNSEEN_SECONDS_MAX: u64 = 300;

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    pub source_resource_id: String,
    /// What the source is called until a cutover.
    pub instance_id: String,
    pub cutover: Cutover,
    /// The only group of the target, while this is set.
    pub quarantine_security_group_id: Option<String>,
    pub settings: Settings,
    pub tags: Vec<TagPair>,
    /// RDS itself gives the target the source's tags, at a switchover: until then they are nobody's to compare or set.
    #[serde(default)]
    pub tags_come_with_switchover: bool,
}

impl Wanted {
    /// What the source asks of its target.
    pub fn of(source: &DbInstance, cutover: Cutover) -> Self {
        let settings = Settings::capture(source);
        Self {
            source_resource_id: source.dbi_resource_id().unwrap_or_default().to_owned(),
            instance_id: source.db_instance_identifier().unwrap_or_default().to_owned(),
            cutover,
            quarantine_security_group_id: None,
            settings: match cutover {
                Cutover::None => settings,
                Cutover::Rename => settings.without_backups(),
            },
            tags: user_tags(source.tag_list()),
            tags_come_with_switchover: false,
        }
    }

    /// The same as the source is now, and what has changed. If that is gone, or on its way out, as the plan saw it:
    /// the target may be the last copy of the data, and is not to be thrown away for want of something to compare
    /// it with. A source that somebody renamed is theirs now.
    fn beside(self, source: Option<DbInstance>) -> Result<(Self, Vec<String>), Error> {
        if let Some(source) = &source {
            is_called(source, &self.instance_id)?;
        }
        let is_going = |source: &DbInstance| source.db_instance_status().is_some_and(is_being_deleted);
        let Some(source) = source.filter(|source| !is_going(source)) else {
            let told = "the source is gone, so the target is as the plan saw it".to_owned();
            return Ok((self.quarantined(), vec![told]));
        };
        let mut now = Self::of(&source, if self.backups_wait() { Cutover::Rename } else { Cutover::None });
        let mut changes = now.settings.changed_since(&self.settings);
        changes.extend(now.tags.iter().filter(|tag| !self.tags.contains(tag)).map(|tag| format!("tag {tag}")));
        now.settings = now.settings.as_far_as_followed(&self.settings);
        Ok((Self { settings: now.settings, tags: now.tags, ..self }.quarantined(), changes))
    }

    /// Whether the plan had the target's backups wait for the cutover.
    pub fn backups_wait(&self) -> bool {
        self.cutover == Cutover::Rename && self.settings.number(BACKUPS) == Some(0)
    }

    fn quarantined(mut self) -> Self {
        self.settings = self.settings.quarantined(self.quarantine_security_group_id.as_deref());
        self
    }

    /// The same guarded as the source is now, too ([`Settings::protection`]), and never less than the plan
    /// saw: the old instance, whatever it is called after the cutover, may be on its way out already.
    pub async fn guarded(mut self, client: &Client) -> Result<Self, Error> {
        if let Some(source) = find_by_resource_id(client, &self.source_resource_id).await? {
            self.settings = self.settings.guarded_as(&Settings::capture(&source));
        }
        Ok(self)
    }

    /// The wanted tags that are not on an instance with these.
    pub fn missing_tags(&self, tags: &[Tag]) -> Vec<&TagPair> {
        if self.tags_come_with_switchover {
            return vec![];
        }
        let present = user_tags(tags);
        self.tags.iter().filter(|tag| !present.contains(tag)).collect()
    }

    /// The tags of an instance with these whose keys are not wanted: others put them there, or took them off
    /// the source.
    pub fn foreign_tags(&self, tags: &[Tag]) -> Vec<TagPair> {
        if self.tags_come_with_switchover {
            return vec![];
        }
        let is_foreign = |tag: &TagPair| self.tags.iter().all(|wanted| wanted.key != tag.key);
        user_tags(tags).into_iter().filter(is_foreign).collect()
    }
}

/// Up to which time waited a loop has seen the two instances.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Seen {
    pub source_at_seconds: u64,
    pub target_at_seconds: u64,
}

/// The two instances side by side.
#[derive(Debug)]
pub struct Sight {
    pub target: DbInstance,
    /// As the source is now.
    pub wanted: Wanted,
    /// What has changed at the source since the plan.
    pub changes: Vec<String>,
}

impl Seen {
    /// Looks at both; `None` while one of them may only have been left out of an answer. The target must be the
    /// instance that this execution restored.
    pub async fn look(
        &mut self,
        client: &Client,
        waited_seconds: u64,
        wanted: Wanted,
        target_id: &InstanceId,
        target_resource_id: Option<&str>,
    ) -> Result<Option<Sight>, Error> {
        let source = find_by_resource_id(client, &wanted.source_resource_id).await?;
        let target = find_instance(client, target_id).await?;
        let stands = |is_seen: bool, seen_at_seconds: &mut u64| {
            if is_seen {
                *seen_at_seconds = waited_seconds;
            }
            is_seen || waited_seconds.saturating_sub(*seen_at_seconds) >= UNSEEN_SECONDS_MAX
        };
        let source_stands = stands(source.is_some(), &mut self.source_at_seconds);
        let target_stands = stands(target.is_some(), &mut self.target_at_seconds);
        let (wanted, changes) = wanted.beside(source)?;
        if !source_stands || !target_stands {
            return Ok(None);
        }
        let target = target.ok_or_else(|| {
            Error::InstanceNotFound(format!(
                "DB instance `{target_id}` was restored by this execution and is gone: somebody deleted or renamed it"
            ))
        })?;
        if target_resource_id.is_some() && target.dbi_resource_id() != target_resource_id {
            return Err(Error::InstanceNotFound(format!(
                "DB instance `{target_id}` is another instance now ({} instead of {}): somebody deleted or renamed ours",
                target.dbi_resource_id().unwrap_or("without a resource id"),
                target_resource_id.unwrap_or_default()
            )));
        }
        Ok(Some(Sight { target, wanted, changes }))
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
            .db_instance_identifier("orders")
            .dbi_resource_id("db-SOURCE")
            .preferred_maintenance_window(window)
            .backup_retention_period(7)
            .tag_list(tag("team", team))
            .tag_list(tag("aws:cloudformation:stack-name", "s"))
            .build()
    }

    fn now(wanted: Wanted, source: Option<DbInstance>) -> (Wanted, Vec<String>) {
        wanted.beside(source).expect("it has its name")
    }

    /// What the loop sees when it has waited for so long, and of which target.
    async fn look(
        seen: &mut Seen,
        waited_seconds: u64,
        (source, target): (Option<DbInstance>, Option<DbInstance>),
    ) -> Result<Option<Sight>, Error> {
        let describe = mock!(Client::describe_db_instances).then_compute_output(move |input| {
            let found = if input.filters().is_empty() { &target } else { &source };
            DescribeDbInstancesOutput::builder().set_db_instances(Some(found.iter().cloned().collect())).build()
        });
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe]);
        let wanted = Wanted::of(&self::source("", "a"), Cutover::None);
        let id = InstanceId::parse("orders-encrypted").expect("legal");
        seen.look(&client, waited_seconds, wanted, &id, Some("db-TARGET")).await
    }

    fn target(resource_id: &str) -> DbInstance {
        DbInstance::builder().db_instance_identifier("orders-encrypted").dbi_resource_id(resource_id).build()
    }

    #[tokio::test]
    async fn an_instance_that_is_left_out_of_an_answer_is_gone_only_after_a_while() {
        let source = || Some(source("", "b"));
        let target = || Some(target("db-TARGET"));
        let mut seen = Seen::default();
        let sight = look(&mut seen, 100, (source(), target())).await.expect("a look").expect("both");
        assert_eq!((sight.target.dbi_resource_id(), sight.changes.len()), (Some("db-TARGET"), 1));
        assert_eq!(seen, Seen { source_at_seconds: 100, target_at_seconds: 100 });

        assert!(look(&mut seen, 399, (None, target())).await.expect("a look").is_none());
        assert_eq!(seen, Seen { source_at_seconds: 100, target_at_seconds: 399 });
        let sight = look(&mut seen, 400, (None, target())).await.expect("a look").expect("the source is gone");
        assert!(sight.changes[0].starts_with("the source is gone"), "{sight:?}");

        assert!(look(&mut seen, 699, (source(), None)).await.expect("a look").is_none());
        let error = look(&mut seen, 700, (source(), None)).await.expect_err("the target is gone");
        assert_eq!(error.name(), "InstanceNotFound");
        assert!(error.to_string().contains("is gone: somebody deleted or renamed it"), "{error}");
    }

    #[tokio::test]
    async fn the_target_must_be_ours() {
        let other = (Some(source("", "a")), Some(target("db-ANOTHER")));
        let error = look(&mut Seen::default(), 0, other).await.expect_err("another");
        assert_eq!(error.name(), "InstanceNotFound");
        assert!(error.to_string().contains("(db-ANOTHER instead of db-TARGET)"), "{error}");
    }

    #[test]
    fn what_changed_at_the_source_since_the_plan_is_wanted() {
        let planned = Wanted::of(&source("sun:01:00-sun:02:00", "a"), Cutover::None);
        let (wanted, changes) = now(planned, Some(source("mon:01:00-mon:02:00", "b")));
        let window = "PreferredMaintenanceWindow: \"mon:01:00-mon:02:00\", was \"sun:01:00-sun:02:00\"";
        assert_eq!(changes, [window, "tag team=b"]);
        assert_eq!(wanted, Wanted::of(&source("mon:01:00-mon:02:00", "b"), Cutover::None));
        assert_eq!(wanted.settings.text("PreferredMaintenanceWindow").as_deref(), Some("mon:01:00-mon:02:00"));
        assert_eq!(wanted.tags, [TagPair { key: "team".into(), value: "b".into() }]);
    }

    #[test]
    fn what_the_plan_saw_is_wanted_once_the_source_is_gone_or_going() {
        let planned = Wanted::of(&source("sun:01:00-sun:02:00", "a"), Cutover::Rename);
        let mut going = source("mon:01:00-mon:02:00", "b");
        going.db_instance_status = Some("deleting".into());
        for gone in [None, Some(going)] {
            let (wanted, changes) = now(planned.clone(), gone);
            assert_eq!(wanted, planned);
            assert!(changes[0].starts_with("the source is gone"), "{changes:?}");
        }
    }

    #[tokio::test]
    async fn a_source_under_another_name_is_somebody_elses() {
        let planned = Wanted::of(&source("", "a"), Cutover::Rename);
        let mut renamed = source("", "a");
        renamed.db_instance_identifier = Some("orders-old1".into());
        let error = planned.clone().beside(Some(renamed.clone())).expect_err("another name");
        assert_eq!(error.name(), "SourceRenamed");
        assert!(error.to_string().contains("is called `orders-old1` now and not `orders`"), "{error}");
        // After a cutover it is called otherwise rightly.
        let describe = mock!(Client::describe_db_instances)
            .then_output(move || DescribeDbInstancesOutput::builder().db_instances(renamed.clone()).build());
        let client = mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&describe]);
        assert_eq!(planned.guarded(&client).await.expect("found").settings.number(BACKUPS), Some(7));
    }

    #[test]
    fn a_target_in_quarantine_has_that_group_alone_whatever_becomes_of_the_source() {
        let group = |id| aws_sdk_rds::types::VpcSecurityGroupMembership::builder().vpc_security_group_id(id).build();
        let mut source = source("", "a");
        source.vpc_security_groups = Some(vec![group("sg-1"), group("sg-2")]);
        let planned = Wanted::of(&source, Cutover::None);
        let quarantined = Wanted { quarantine_security_group_id: Some("sg-quarantine".into()), ..planned.clone() };
        for source in [Some(source.clone()), None] {
            let (wanted, _) = now(quarantined.clone(), source);
            assert_eq!(wanted.settings.texts("VpcSecurityGroupIds").expect("groups"), ["sg-quarantine"]);
        }
        let (_, changes) = now(quarantined.clone(), Some(source.clone()));
        assert_eq!(changes, Vec::<String>::new(), "the source has not changed");
        let (wanted, _) = now(planned, Some(source));
        assert_eq!(wanted.settings.texts("VpcSecurityGroupIds").expect("groups"), ["sg-1", "sg-2"]);
    }

    /// What the plan had wait waits, and what it had not does not.
    #[test]
    fn backups_wait_as_the_plan_had_it() {
        let sql_server = |multi_az| {
            let source = DbInstance::builder().engine("sqlserver-se").db_instance_identifier("orders");
            source.dbi_resource_id("db-SOURCE").backup_retention_period(7).multi_az(multi_az).build()
        };
        for (planned, days) in [(true, 7), (false, 0)] {
            let planned = Wanted::of(&sql_server(planned), Cutover::Rename);
            assert_eq!((planned.settings.number(BACKUPS), planned.backups_wait()), (Some(days), days == 0));
            let (wanted, _) = now(planned, Some(sql_server(false)));
            assert_eq!((wanted.settings.number(BACKUPS), wanted.cutover), (Some(days), Cutover::Rename));
        }
    }

    #[test]
    fn storage_that_grew_is_told_and_not_followed() {
        let of = |gib, kind: &str| {
            let source = DbInstance::builder().engine("mysql").db_instance_identifier("orders");
            let source = source.dbi_resource_id("db-SOURCE");
            source.allocated_storage(gib).storage_type(kind).build()
        };
        let planned = Wanted::of(&of(100, "gp2"), Cutover::None);
        let (wanted, changes) = now(planned.clone(), Some(of(120, "gp3")));
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
        let mut state = json!({
            "source_resource_id": "db-SOURCE",
            "instance_id": "orders",
            "cutover": "none",
            "quarantine_security_group_id": null,
            "settings": {},
            "tags": [],
        });
        assert!(serde_json::from_value::<Wanted>(state.clone()).is_ok());
        state["x"] = 1.into();
        assert!(serde_json::from_value::<Wanted>(state).is_err());
    }
}
