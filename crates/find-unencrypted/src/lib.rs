//! Finds the unencrypted instances that a fleet is to encrypt, each with the execution that does it, and says of every
//! other instance why it is left out. The lists go to the stack's bucket, since 10,000 instances are more than a state
//! can hold.
//!
//! Where the plan of each instance is to be asked first, it is called again with what those said: then it leaves out
//! what they refuse, and chooses the way that they recommend.
//!
//! AWS calls: DescribeDBInstances and DescribeAccountAttributes of RDS; ListExecutions and DescribeExecution of Step
//! Functions; GetObject and PutObject of S3; PutMetricData of CloudWatch.
//!
//! Repeating it is safe: it writes the same two objects again. An instance is not encrypted twice, because the name of
//! its execution follows from its DbiResourceId.

use std::collections::BTreeMap;

use bucket::Bucket;
use bucket::results::{Results, load};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use workflow::Error;

mod ask;
mod attempts;
mod classify;
mod instances;
mod metric;
mod plans;
mod room;
#[cfg(test)]
mod tests;
mod ways;

use crate::ask::Ask;
use crate::attempts::Attempts;
use crate::room::Room;
use crate::ways::Way;
pub use crate::ways::{FOR_EVERY_WAY, WAYS};

/// A mail is read and not scrolled through; the report has all of them.
const LISTED_MAX: usize = 100;
/// What the first look left out, until the plans have been asked.
const PASSED_OVER: &str = "passed-over.json";
const APPROVAL_TIMEOUT_SECONDS: u64 = 7 * 24 * 60 * 60;

/// The clients and the environment, read once at the start.
pub struct Context {
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    pub rds: aws_sdk_rds::Client,
    pub sfn: aws_sdk_sfn::Client,
    pub bucket: Bucket,
    /// The stack's name, by which the metric is told from other stacks'.
    pub stack: String,
    /// By way.
    pub machines: BTreeMap<&'static str, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The execution's input, whatever it is: an event, or what a human wrote.
    pub input: Value,
    /// The fleet's own ARN.
    pub execution: String,
    /// What the plans of all instances came to; null before they were asked.
    pub plans: Option<Results>,
    pub settings: Settings,
}

/// The stack's parameters, as texts, since a definition's substitutions are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub auto_encrypt: String,
    pub accept_interruption: String,
    pub concurrency: String,
}

/// The state of a fleet.
#[derive(Debug, Serialize)]
pub struct Response {
    /// What comes next.
    pub action: Action,
    pub trigger: &'static str,
    pub bucket: String,
    /// Where everything of this fleet is, with a slash at the end.
    pub prefix: String,
    pub items_key: String,
    pub left_out_key: String,
    pub plan_only: bool,
    /// Instances that are to be encrypted.
    pub found: usize,
    /// How many were left out, by reason.
    pub left_out: BTreeMap<&'static str, usize>,
    /// Unencrypted instances that are nobody's twin and not exempt, if all were looked at.
    pub unencrypted: Option<usize>,
    pub max_concurrency: usize,
    pub approval: Approval,
    // Filled in by the steps.
    pub plans: Option<()>,
    pub results: Option<()>,
    pub report: Option<()>,
    pub error: Option<()>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The plan of each instance says whether and how.
    Plan,
    Encrypt,
    /// Clients would be interrupted, and nobody has allowed it.
    Ask,
    /// There is nothing to do, or only a plan was asked for.
    Report,
}

#[derive(Debug, Serialize)]
pub struct Approval {
    /// For the mail that asks.
    pub list: String,
    pub timeout_seconds: u64,
}

/// One execution of the fleet: everything that starts it, and what the report says about its instance.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    pub name: String,
    pub state_machine_arn: String,
    pub input: Map<String, Value>,
    pub way: &'static str,
    /// What the plan says of the way.
    pub detail: String,
    /// Of what is kept, for the report's estimate.
    pub snapshot_gib_at_most: i64,
    /// What the plan is asked.
    pub plan: AskPlan,
    #[serde(flatten)]
    pub about: About,
}

#[derive(Clone, Debug, Serialize)]
pub struct AskPlan {
    pub way: &'static str,
    pub input: Map<String, Value>,
    /// The one that would be started.
    pub execution: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct About {
    pub instance_id: String,
    pub resource_id: String,
    pub engine: String,
    pub class: String,
    pub allocated_gib: i32,
    /// In this Region: a blue/green deployment makes each anew, too.
    #[serde(default)]
    pub read_replicas: usize,
    pub minutes_at_least: i64,
    pub minutes_at_most: i64,
}

/// An instance that is not encrypted now, and why.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LeftOut {
    pub reason: Reason,
    /// In words, for whoever can do something about it.
    pub detail: String,
    #[serde(flatten)]
    pub about: About,
}

/// Public: reports and what reads them count by it.
#[derive(
    Clone,
    Copy,
    Debug,
    Deserialize,
    Eq,
    Ord,
    PartialEq,
    PartialOrd,
    Serialize,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    AlreadyEncrypted,
    ClusterMember,
    ReadReplica,
    NotSupported,
    Exempt,
    FilteredOut,
    HasEncryptedTwin,
    InProgress,
    SweepRunning,
    AlreadyTried,
    GaveUp,
    NotUsable,
    NoQuota,
    Refused,
    NotFound,
}

impl Reason {
    /// Whether somebody still has to encrypt such an instance.
    fn leaves_unencrypted(self) -> bool {
        !matches!(self, Self::AlreadyEncrypted | Self::ClusterMember | Self::Exempt | Self::HasEncryptedTwin)
            && self != Self::NotFound
    }
}

pub async fn handle(context: &Context, request: Request) -> Result<Response, Error> {
    let ask = Ask::parse(&request.input, &request.settings)?;
    let prefix = format!("fleets/{}/", folder(&request.execution));
    let place = |name: &str| format!("{prefix}{name}");
    let mut sorted = match &request.plans {
        None => find(context, &ask, &request.execution).await?,
        Some(plans) => plans::choose(context, &ask, plans, load(&context.bucket, &place(PASSED_OVER)).await?).await?,
    };
    // The largest first: the longest copies decide when the fleet ends.
    sorted.items.sort_by(|one, other| {
        (other.about.allocated_gib, &one.about.instance_id).cmp(&(one.about.allocated_gib, &other.about.instance_id))
    });
    let asks_plans = request.plans.is_none() && ask.wants_plans() && !sorted.items.is_empty();
    // What is refused takes no room.
    if !asks_plans && !sorted.items.is_empty() {
        Room::of(&context.rds, &ask, request.settings.concurrency()?).await?.admit(&mut sorted);
    }
    let items: Vec<Item> = sorted.items.iter().map(|candidate| item(context, &ask, candidate)).collect();

    let names = if asks_plans { ["candidates.json", PASSED_OVER] } else { ["items.json", "left-out.json"] };
    let [items_key, left_out_key] = names.map(place);
    write(&context.bucket, &items_key, &items).await?;
    write(&context.bucket, &left_out_key, &sorted.left_out).await?;
    let mut left_out = BTreeMap::new();
    for entry in &sorted.left_out {
        *left_out.entry(entry.reason.into()).or_default() += 1;
    }
    let still = sorted.left_out.iter().filter(|entry| entry.reason.leaves_unencrypted()).count();
    let unencrypted = ask.is_sweep().then_some(items.len() + still);
    if let (Some(count), None) = (unencrypted, &request.plans) {
        metric::publish(context, count).await;
    }
    let interrupts = sorted.items.iter().any(|candidate| ask.interrupts(candidate.way));
    Ok(Response {
        action: match () {
            () if asks_plans => Action::Plan,
            () if items.is_empty() || ask.plan_only => Action::Report,
            () if interrupts && !ask.accept_interruption => Action::Ask,
            () => Action::Encrypt,
        },
        trigger: ask.trigger.name(),
        bucket: context.bucket.name.clone(),
        items_key,
        left_out_key,
        plan_only: ask.plan_only,
        found: items.len(),
        left_out,
        unencrypted,
        max_concurrency: request.settings.concurrency()?.min(items.len()).max(1),
        approval: Approval { list: list(&ask, &sorted.items), timeout_seconds: APPROVAL_TIMEOUT_SECONDS },
        plans: None,
        results: None,
        report: None,
        error: None,
        prefix,
    })
}

/// By what the instances' descriptions and earlier executions say.
async fn find(context: &Context, ask: &Ask, execution: &str) -> Result<Sorted, Error> {
    let (instances, attempts) = tokio::try_join!(
        Box::pin(instances::all(&context.rds)),
        Box::pin(Attempts::of(&context.sfn, &context.machines)),
    )?;
    let is_beside_another = ask.is_sweep() && attempts::is_sweep_running(&context.sfn, execution).await?;
    Ok(classify::sort(ask, &instances, &attempts, is_beside_another))
}

impl Settings {
    fn concurrency(&self) -> Result<usize, Error> {
        let problem = |_| workflow::error::invalid("concurrency", "is not a number");
        self.concurrency.parse().map_err(problem)
    }
}

/// What becomes of all instances.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    pub(crate) items: Vec<Candidate>,
    pub(crate) left_out: Vec<LeftOut>,
}

/// An instance that is to be encrypted.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// Its execution's.
    pub(crate) name: String,
    pub(crate) way: &'static Way,
    /// What the plan says of the way.
    pub(crate) detail: String,
    pub(crate) about: About,
}

fn item(context: &Context, ask: &Ask, candidate: &Candidate) -> Item {
    let Candidate { name, way, detail, about } = candidate;
    let with = |added: [(&str, Value); 2]| {
        let added = added.into_iter().map(|(name, value)| (name.to_owned(), value));
        ask.defaults_of(way).into_iter().chain(added).collect()
    };
    // By what does not change, whatever the instance is called when its turn comes.
    let instance = || ("instance_id", json!(about.resource_id));
    let machine = &context.machines[way.name];
    let snapshots = if way.makes_snapshots { room::snapshots_kept(ask) } else { 0 };
    Item {
        name: name.clone(),
        state_machine_arn: machine.clone(),
        // The fleet tells of all in one mail.
        input: with([instance(), ("notify", json!(false))]),
        way: way.name,
        detail: detail.clone(),
        snapshot_gib_at_most: snapshots * i64::from(about.allocated_gib),
        plan: AskPlan {
            way: way.name,
            input: with([instance(), ("plan_only", json!(true))]),
            execution: format!("{}:{name}", machine.replacen(":stateMachine:", ":execution:", 1)),
        },
        about: about.clone(),
    }
}

async fn write<T: Serialize>(bucket: &Bucket, key: &str, value: &T) -> Result<(), Error> {
    let text = serde_json::to_vec(value).map_err(|error| workflow::error::invalid(key, error.to_string()))?;
    bucket.put(key, "application/json", text).await
}

/// The execution's name, with nothing in it that a key would have to be encoded for.
fn folder(execution: &str) -> String {
    let name = execution.rsplit(':').next().unwrap_or_default();
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' }).collect()
}

fn list(ask: &Ask, candidates: &[Candidate]) -> String {
    let line = |candidate: &Candidate| {
        let mark = if ask.interrupts(candidate.way) { '*' } else { '-' };
        let Candidate { way, about, .. } = candidate;
        format!("{mark} {} ({}, {} GiB)\n", about.instance_id, way.name, about.allocated_gib)
    };
    let mut list: String = candidates.iter().take(LISTED_MAX).map(line).collect();
    if candidates.len() > LISTED_MAX {
        list += &format!("and {} more\n", candidates.len() - LISTED_MAX);
    }
    list
}
