//! A blue/green deployment on its way: created, its counterparts there and at rest, their storage loaded.
//!
//! While it waits, the source keeps its log for green. So each look asks for the source's free storage, too.

use aws_sdk_rds::types::{BlueGreenDeployment, DbInstance};
use serde::Deserialize;
use settings::member::Member;
use workflow::Error;
use workflow::deployment::{self, Deployed, Target};
use workflow::describe::{find_by_resource_id, has_pending_modifications, is_called};
use workflow::ids::{DeploymentName, InstanceId};
use workflow::metrics::{Follower, refuse_low_storage};
use workflow::owner::Owner;
use workflow::status::{self, Class};

use crate::{Context, UNSEEN_SECONDS_MAX};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub deployment_name: DeploymentName,
    /// The source first.
    pub members: Vec<Member>,
    pub owner: Owner,
    pub previous: Deployed,
    /// It is not ready before the lazy load of its storage is over.
    pub wait_for_initialization: bool,
    /// RFC 3339: when the state was entered.
    pub at: String,
    pub max_wait_seconds: u64,
}

pub(crate) async fn look(context: &Context, request: Request) -> Result<Deployed, Error> {
    let Request { deployment_name, members, owner, previous, at, .. } = &request;
    watch_source(context, members, at).await?;
    let name = deployment::named(deployment_name);
    let Some(found) = deployment::find_own(&context.rds, deployment_name, owner).await? else {
        // What was just created can be missing for a while, and what was seen can be missing once [A39].
        if previous.wait.waited_seconds >= UNSEEN_SECONDS_MAX && previous.status.is_none() {
            return Err(Error::DeploymentNotFound(format!(
                "the {name} was created by this execution and does not exist: somebody deleted it"
            )));
        }
        return request.wait_on(Deployed { status: None, ..previous.clone() }, &name);
    };
    let status = found.status().unwrap_or_default();
    refuse_ended(&name, status, &found)?;
    if previous.was_whole {
        refuse_missing(&name, &found)?;
    }
    let mut seen = Deployed {
        status: Some(status.to_owned()),
        ready: false,
        tasks: found.tasks().iter().map(|task| told(task.name(), task.status())).collect(),
        percent_progress: None,
        ..previous.clone()
    };
    let counterparts = counterparts(context, members, &found).await?;
    let is_whole = status == deployment::AVAILABLE && counterparts.iter().all(Option::is_some);
    if is_whole {
        let counterparts: Vec<DbInstance> = counterparts.into_iter().flatten().collect();
        seen.targets = same_as_before(&name, &seen.targets, targets(members, &counterparts)?)?;
        seen.was_whole = true;
        let at_rest = request.at_rest(&mut seen, &counterparts)?;
        seen.steady_looks.count(at_rest);
    } else {
        seen.steady_looks.count(false);
    }
    if seen.steady_looks.are_enough() {
        return Ok(Deployed { ready: true, ..seen });
    }
    request.wait_on(seen, &name)
}

/// The source under its own name, with room for the log that it keeps.
async fn watch_source(context: &Context, members: &[Member], at: &str) -> Result<(), Error> {
    let Some(Member { wanted, .. }) = members.first() else { return Ok(()) };
    // One that is left out of an answer is there at the next look; one that is gone, the proof names.
    let Some(source) = find_by_resource_id(&context.rds, &wanted.source_resource_id).await? else { return Ok(()) };
    is_called(&source, &wanted.instance_id)?;
    refuse_low_storage(&context.cloudwatch, &source, Follower::Green, at).await
}

/// What stays so until somebody acts.
fn refuse_ended(name: &str, status: &str, found: &BlueGreenDeployment) -> Result<(), Error> {
    let details = deployment::details_of(found);
    let ended = match status {
        deployment::INVALID_CONFIGURATION => details,
        deployment::DELETING => "somebody is deleting it".to_owned(),
        deployment::SWITCHOVER_IN_PROGRESS | deployment::SWITCHOVER_COMPLETED | deployment::SWITCHOVER_FAILED => {
            format!("somebody asked for its switchover before its proof ({details})")
        }
        _ => return Ok(()),
    };
    Err(Error::DeploymentFailed(format!("the {name} is {status}: {ended}")))
}

/// A member that is gone is not replaced, and its counterpart is not switched over (User Guide, "Deleting") [A51].
fn refuse_missing(name: &str, found: &BlueGreenDeployment) -> Result<(), Error> {
    let is_missing = |status: Option<&str>| status.is_some_and(|status| status.starts_with("MISSING_"));
    let Some(missing) = found.switchover_details().iter().find(|detail| is_missing(detail.status())) else {
        return Ok(());
    };
    Err(Error::DeploymentFailed(format!(
        "a member of the {name} is {} ({} or {}): somebody deleted it",
        missing.status().unwrap_or_default(),
        missing.source_member().unwrap_or("no source"),
        missing.target_member().unwrap_or("no target")
    )))
}

async fn counterparts(
    context: &Context,
    members: &[Member],
    found: &BlueGreenDeployment,
) -> Result<Vec<Option<DbInstance>>, Error> {
    let mut counterparts = vec![];
    for member in members {
        counterparts.push(member.counterpart(&context.rds, found).await?);
    }
    Ok(counterparts)
}

fn targets(members: &[Member], counterparts: &[DbInstance]) -> Result<Vec<Target>, Error> {
    let named = |text: &str| InstanceId::parse(text).map_err(|problem| workflow::error::invalid("members", problem));
    let pairs = members.iter().zip(counterparts).map(|(member, counterpart)| {
        Ok(Target {
            source_id: named(&member.wanted.instance_id)?,
            instance_id: named(counterpart.db_instance_identifier().unwrap_or_default())?,
            resource_id: counterpart.dbi_resource_id().unwrap_or_default().to_owned(),
        })
    });
    pairs.collect()
}

/// What was seen before is what counts: others would not be those that were set up and proven.
fn same_as_before(name: &str, before: &[Target], now: Vec<Target>) -> Result<Vec<Target>, Error> {
    let other = before.iter().zip(&now).find(|(before, now)| before.resource_id != now.resource_id);
    match other {
        None => Ok(now),
        Some((before, now)) => Err(Error::InstanceNotFound(format!(
            "`{}` of the {name} is another instance now ({} instead of {}): somebody deleted or renamed ours",
            now.instance_id, now.resource_id, before.resource_id
        ))),
    }
}

fn told(task: Option<&str>, status: Option<&str>) -> String {
    format!("{}: {}", task.unwrap_or_default(), status.unwrap_or_default())
}

impl Request {
    /// Whether every counterpart can be worked with; a deployment is AVAILABLE before (seen in
    /// hashicorp/terraform-provider-aws#36241).
    fn at_rest(&self, seen: &mut Deployed, counterparts: &[DbInstance]) -> Result<bool, Error> {
        let mut at_rest = true;
        for instance in counterparts {
            let id = instance.db_instance_identifier().unwrap_or_default();
            let status = instance.db_instance_status().unwrap_or_default();
            if let Class::Failed { remedy } = status::instance(status) {
                return Err(Error::InstanceFailed(format!("DB instance `{id}` is `{status}`: {remedy}")));
            }
            // `Initializing` while the storage still loads from a snapshot [A7], but for some classes [A8].
            let loads =
                instance.storage_operation_status() == Some("Initializing") || status == "storage-initialization";
            if self.wait_for_initialization && loads {
                at_rest = false;
                let least = [seen.percent_progress, instance.storage_operation_percent_progress()];
                seen.percent_progress = least.into_iter().flatten().min();
            }
            at_rest &= status::can_be_modified(status) && !has_pending_modifications(instance);
        }
        Ok(at_rest)
    }

    fn wait_on(&self, seen: Deployed, name: &str) -> Result<Deployed, Error> {
        let wait = seen.steady_looks.wait(&seen.wait, seen.percent_progress, self.max_wait_seconds);
        let wait = wait.map_err(|_| {
            Error::WaitTimedOut(format!(
                "the {name} is {} ({}) after {} s, the longest that max_wait_minutes allows one wait",
                seen.status.as_deref().unwrap_or("not to be seen"),
                seen.tasks.join(", "),
                self.max_wait_seconds
            ))
        })?;
        Ok(Deployed { wait, ..seen })
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudwatch::operation::get_metric_statistics::GetMetricStatisticsOutput;
    use aws_sdk_cloudwatch::primitives::DateTime;
    use aws_sdk_cloudwatch::types::Datapoint;
    use aws_sdk_rds::Client;
    use aws_sdk_rds::operation::describe_blue_green_deployments::DescribeBlueGreenDeploymentsOutput;
    use aws_sdk_rds::operation::describe_db_instances::DescribeDbInstancesOutput;
    use aws_sdk_rds::types::builders::DbInstanceBuilder;
    use aws_sdk_rds::types::{BlueGreenDeploymentTask, SwitchoverDetail};
    use aws_smithy_mocks::{RuleMode, mock, mock_client};
    use serde_json::json;
    use workflow::serve::decode;
    use workflow::wait::Wait;

    use super::*;

    const GREEN: &str = "orders-green-abc123";

    fn green(status: &str) -> DbInstanceBuilder {
        DbInstance::builder().dbi_resource_id("db-GREEN").db_instance_identifier(GREEN).db_instance_status(status)
    }

    /// A deployment in that status, which has that counterpart and, of the source, so much free storage.
    struct Account {
        status: &'static str,
        member: Option<&'static str>,
        green: Option<DbInstanceBuilder>,
        free_gib: f64,
    }

    impl Default for Account {
        fn default() -> Self {
            Self { status: "AVAILABLE", member: None, green: Some(green("available")), free_gib: 50.0 }
        }
    }

    impl Account {
        async fn look(self, wait_for_initialization: bool, previous: Deployed) -> Result<Deployed, Error> {
            let owner = Owner { execution: "arn:ours".into(), source_resource_id: "db-SOURCE".into() };
            let tags = owner.tags_with(&[]);
            let Self { status, member, green, free_gib } = self;
            let has_green = green.is_some();
            let deployments = mock!(Client::describe_blue_green_deployments).then_output(move || {
                let detail = SwitchoverDetail::builder().source_member("arn:aws:rds:r:1:db:orders");
                let green_arn = has_green.then(|| format!("arn:aws:rds:r:1:db:{GREEN}"));
                let detail = detail.set_target_member(green_arn).set_status(member.map(str::to_owned));
                let task = BlueGreenDeploymentTask::builder().name("CONFIGURE_BACKUPS").status("FAILED");
                let found = aws_sdk_rds::types::BlueGreenDeployment::builder()
                    .blue_green_deployment_name("orders-encrypted")
                    .status(status)
                    .tasks(task.build())
                    .switchover_details(detail.build())
                    .set_tag_list(Some(tags.clone()))
                    .build();
                let found = (!status.is_empty()).then_some(found).into_iter().collect();
                DescribeBlueGreenDeploymentsOutput::builder().set_blue_green_deployments(Some(found)).build()
            });
            let source = DbInstance::builder().dbi_resource_id("db-SOURCE").db_instance_identifier("orders");
            let source = source.allocated_storage(100).build();
            let green = green.map(DbInstanceBuilder::build);
            let instances = mock!(Client::describe_db_instances).then_compute_output(move |input| {
                let found = if input.filters().is_empty() { green.clone() } else { Some(source.clone()) };
                DescribeDbInstancesOutput::builder().set_db_instances(Some(found.into_iter().collect())).build()
            });
            let metrics = mock!(aws_sdk_cloudwatch::Client::get_metric_statistics).then_output(move || {
                let free = Datapoint::builder().timestamp(DateTime::from_secs(0)).minimum(free_gib * 1_073_741_824.0);
                GetMetricStatisticsOutput::builder().datapoints(free.build()).build()
            });
            let context = Context {
                rds: mock_client!(aws_sdk_rds, RuleMode::MatchAny, [&deployments, &instances]),
                cloudwatch: mock_client!(aws_sdk_cloudwatch, RuleMode::MatchAny, [&metrics]),
            };
            let wanted = json!({
                "source_resource_id": "db-SOURCE", "instance_id": "orders", "cutover": "none",
                "quarantine_security_group_id": null, "settings": {}, "tags": [],
            });
            let member = json!({"arn": "arn:aws:rds:r:1:db:orders", "kms_key_arn": "arn:key", "wanted": wanted});
            let request = Request {
                deployment_name: DeploymentName::parse("orders-encrypted").expect("legal"),
                members: vec![decode(member).expect("a member")],
                owner,
                previous,
                wait_for_initialization,
                at: "2026-03-01T10:00:30Z".into(),
                max_wait_seconds: 3_600,
            };
            look(&context, request).await
        }
    }

    fn seen(waited_seconds: u64) -> Deployed {
        let status = Some("AVAILABLE".to_owned());
        Deployed { status, wait: Wait { waited_seconds, ..Wait::default() }, ..Deployed::default() }
    }

    #[tokio::test]
    async fn a_deployment_is_ready_when_two_looks_find_its_counterparts_at_rest() {
        let first = Account::default().look(false, seen(60)).await.expect("a look");
        assert_eq!((first.ready, first.was_whole, first.targets[0].resource_id.as_str()), (false, true, "db-GREEN"));
        assert!(Account::default().look(false, first).await.expect("a look").ready);
    }

    #[tokio::test]
    async fn what_is_on_its_way_is_waited_for_and_named_at_the_deadline() {
        for (account, load) in [
            (Account { status: "PROVISIONING", green: None, ..Account::default() }, false),
            (Account { green: None, ..Account::default() }, false),
            (Account { green: Some(green("backing-up")), ..Account::default() }, false),
            (
                Account {
                    green: Some(green("available").storage_operation_status("Initializing")),
                    ..Account::default()
                },
                true,
            ),
        ] {
            let again = Account { green: account.green.clone(), ..account };
            let look = Account { green: again.green.clone(), ..again }.look(load, seen(60)).await.expect("a look");
            assert!(!look.ready && look.steady_looks.0 == 0 && look.wait.wait_seconds > 0, "{look:?}");
        }
        let late = Account { status: "PROVISIONING", green: None, ..Account::default() };
        let error = late.look(false, seen(3_600)).await.expect_err("too long");
        assert_eq!(error.name(), "WaitTimedOut");
        assert!(error.to_string().contains("CONFIGURE_BACKUPS: FAILED"), "{error}");
    }

    #[tokio::test]
    async fn what_does_not_pass_by_itself_is_named() {
        let whole = Deployed { was_whole: true, ..seen(60) };
        let missing = Account { member: Some("MISSING_TARGET"), green: None, ..Account::default() };
        assert_eq!(missing.look(false, whole).await.expect_err("missing").name(), "DeploymentFailed");
        for status in ["INVALID_CONFIGURATION", "DELETING", "SWITCHOVER_COMPLETED"] {
            let error = Account { status, ..Account::default() }.look(false, seen(60)).await.expect_err(status);
            assert_eq!(error.name(), "DeploymentFailed");
            assert!(error.to_string().contains(status), "{error}");
        }
        let failed = Account { green: Some(green("failed")), ..Account::default() };
        assert_eq!(failed.look(false, seen(60)).await.expect_err("failed").name(), "InstanceFailed");
        let low = Account { free_gib: 4.9, ..Account::default() };
        assert_eq!(low.look(false, seen(60)).await.expect_err("low").name(), "SourceStorageLow");
        let other = Account { green: Some(green("available").dbi_resource_id("db-OTHER")), ..Account::default() };
        let known = Account::default().look(false, seen(60)).await.expect("a look");
        assert_eq!(other.look(false, known).await.expect_err("another").name(), "InstanceNotFound");
    }

    #[tokio::test]
    async fn one_empty_answer_is_no_end_and_two_are() {
        let none = || Account { status: "", green: None, ..Account::default() };
        let look = none().look(false, seen(200)).await.expect("waited for");
        assert_eq!((look.status.as_deref(), look.ready), (None, false));
        assert_eq!(none().look(false, look).await.expect_err("gone").name(), "DeploymentNotFound");
        assert!(none().look(false, Deployed::default()).await.is_ok(), "it was just created");
    }
}
