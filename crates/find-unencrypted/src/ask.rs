//! What a fleet is asked for: by an event, by the schedule, or by a human.

use serde_json::{Map, Value};
use workflow::Error;
use workflow::error::invalid;

use crate::Settings;
use crate::ways::{FOR_EVERY_WAY, SNAPSHOT, WAYS, Way, any_takes};

/// Fields of the fleet itself.
const OWN: &[&str] = &["instances", "include", "exclude", "way", "plan_only", "accept_interruption"];
/// What the template's schedule passes.
const SCHEDULE: &str = "schedule";
/// The way that the plan of each instance recommends.
const AUTO: &str = "auto";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trigger {
    RdsEvent,
    CloudTrail,
    Config,
    SecurityHub,
    Schedule,
    Direct,
}

impl Trigger {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RdsEvent => "rds_event",
            Self::CloudTrail => "cloudtrail",
            Self::Config => "config",
            Self::SecurityHub => "security_hub",
            Self::Schedule => "schedule",
            Self::Direct => "direct",
        }
    }

    /// Whether an instance that was tried before is tried again: an event may be delivered often.
    pub(crate) fn tries_again(self) -> bool {
        matches!(self, Self::Schedule | Self::Direct)
    }
}

#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) trigger: Trigger,
    /// Identifiers, ARNs or resource ids; `None`: all.
    pub(crate) instances: Option<Vec<String>>,
    pub(crate) include: Tags,
    pub(crate) exclude: Tags,
    /// `None`: what the plan of each instance recommends.
    pub(crate) way: Option<&'static Way>,
    pub(crate) plan_only: bool,
    pub(crate) accept_interruption: bool,
    /// What each execution is started with.
    pub(crate) defaults: Map<String, Value>,
}

/// Tag keys, each with the values that count; none: any value.
#[derive(Debug, Default)]
pub(crate) struct Tags(Vec<(String, Vec<String>)>);

impl Tags {
    fn matches(&self, (key, values): &(String, Vec<String>), tags: &[(String, String)]) -> bool {
        tags.iter().any(|(name, value)| name == key && (values.is_empty() || values.contains(value)))
    }

    pub(crate) fn all_match(&self, tags: &[(String, String)]) -> bool {
        self.0.iter().all(|wanted| self.matches(wanted, tags))
    }

    pub(crate) fn any_matches(&self, tags: &[(String, String)]) -> bool {
        self.0.iter().any(|wanted| self.matches(wanted, tags))
    }
}

impl Ask {
    pub(crate) fn parse(input: &Value, settings: &Settings) -> Result<Self, Error> {
        let Value::Object(fields) = input else {
            return Err(invalid("input", "is no object such as {} (all instances) or {\"instances\": [\"orders\"]}"));
        };
        let mut ask = match event(fields) {
            Some((trigger, instances)) => Self::of(trigger, Some(instances)),
            None if fields.get("trigger").and_then(Value::as_str) == Some(SCHEDULE) => {
                Self::of(Trigger::Schedule, None)
            }
            None => Self::direct(fields)?,
        };
        if ask.trigger != Trigger::Direct {
            ask.plan_only = settings.auto_encrypt != "encrypt";
        }
        ask.accept_interruption |= settings.accept_interruption == "true";
        // What starts by itself waits for nobody's approval.
        if ask.trigger != Trigger::Direct && !ask.accept_interruption {
            ask.way = Some(&SNAPSHOT);
        }
        Ok(ask)
    }

    fn of(trigger: Trigger, instances: Option<Vec<String>>) -> Self {
        Self {
            trigger,
            instances,
            include: Tags::default(),
            exclude: Tags::default(),
            way: None,
            plan_only: false,
            accept_interruption: false,
            defaults: Map::new(),
        }
    }

    fn direct(fields: &Map<String, Value>) -> Result<Self, Error> {
        let of_executions = || WAYS.iter().flat_map(|way| way.fields).chain(FOR_EVERY_WAY).copied();
        let known = |name: &&String| OWN.iter().copied().chain(of_executions()).any(|known| known == name.as_str());
        if let Some(unknown) = fields.keys().find(|name| !known(name)) {
            let known: Vec<_> = OWN.iter().copied().chain(of_executions()).collect();
            return Err(invalid(
                unknown,
                format!("is not a field of a fleet's input; these are: {}", known.join(", ")),
            ));
        }
        let mut ask = Self::of(Trigger::Direct, None);
        // `null` is what many templating tools write for "not given".
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            match name.as_str() {
                "instances" => ask.instances = Some(texts(name, value)?),
                "include" => ask.include = tags(name, value)?,
                "exclude" => ask.exclude = tags(name, value)?,
                "way" => ask.way = way(value)?,
                "plan_only" => ask.plan_only = flag(name, value)?,
                "accept_interruption" => ask.accept_interruption = flag(name, value)?,
                _ => _ = ask.defaults.insert(name.clone(), value.clone()),
            }
        }
        let is_taken = |name: &str| ask.way.map_or_else(|| any_takes(name), |way| way.takes(name));
        match ask.defaults.keys().find(|name| !is_taken(name)) {
            Some(name) => {
                let way = ask.way.map_or(AUTO, |way| way.name);
                Err(invalid(name, format!("is not for the way {way}; leave it out, or choose another")))
            }
            None => Ok(ask),
        }
    }

    /// Whether all instances are looked at.
    pub(crate) fn is_sweep(&self) -> bool {
        self.instances.is_none()
    }

    /// Whether the plan of each instance is asked before anything starts.
    pub(crate) fn wants_plans(&self) -> bool {
        self.plan_only || self.way.is_none()
    }

    /// What an execution is started with.
    pub(crate) fn defaults_of(&self, way: &Way) -> Map<String, Value> {
        let taken = self.defaults.iter().filter(|(name, _)| way.takes(name));
        taken.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Whether clients would notice.
    pub(crate) fn interrupts(&self, way: &Way) -> bool {
        way.interrupts || self.defaults_of(way).get("cutover").is_some_and(|cutover| cutover != "none")
    }

    /// Whether the input is one of a sweep, as far as another fleet wants to know.
    pub(crate) fn is_sweep_input(input: &Value) -> bool {
        input
            .as_object()
            .is_some_and(|fields| event(fields).is_none() && fields.get("instances").is_none_or(Value::is_null))
    }
}

/// Which instances an event of AWS's is about; none if it is about none after all.
fn event(fields: &Map<String, Value>) -> Option<(Trigger, Vec<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let detail = fields.get("detail")?;
    let first =
        |paths: &[&str]| paths.iter().find_map(|path| detail.pointer(path).and_then(text)).into_iter().collect();
    let kind = [fields.get("source")?.as_str()?, fields.get("detail-type")?.as_str()?];
    Some(match kind {
        ["aws.rds", "RDS DB Instance Event"] => (Trigger::RdsEvent, first(&["/SourceArn", "/SourceIdentifier"])),
        ["aws.rds", "AWS API Call via CloudTrail"] => {
            let paths = ["/responseElements/dbiResourceId", "/responseElements/dBInstanceIdentifier"];
            (Trigger::CloudTrail, first(&paths))
        }
        ["aws.config", _] => (Trigger::Config, first(&["/resourceId"])),
        ["aws.securityhub", _] => {
            let findings = detail.get("findings").and_then(Value::as_array).into_iter().flatten();
            let resources = findings.filter_map(|finding| finding.get("Resources")?.as_array()).flatten();
            let instances = resources.filter(|resource| resource["Type"] == "AwsRdsDbInstance");
            (Trigger::SecurityHub, instances.filter_map(|resource| text(&resource["Id"])).collect())
        }
        _ => return None,
    })
}

fn texts(name: &str, value: &Value) -> Result<Vec<String>, Error> {
    let texts = value.as_array().map(|values| values.iter().map(|value| value.as_str().map(str::to_owned)).collect());
    texts.flatten().ok_or_else(|| invalid(name, "is no list of strings such as [\"orders\", \"db-…\"]"))
}

fn tags(name: &str, value: &Value) -> Result<Tags, Error> {
    let problem =
        || invalid(name, "is no object of tags such as {\"stage\": \"test\"} or {\"stage\": [\"test\", \"dev\"]}");
    let values = |value: &Value| match value {
        Value::String(any) if any == "*" => Some(vec![]),
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(_) => texts(name, value).ok().filter(|values| !values.is_empty()),
        _ => None,
    };
    let tags = value.as_object().ok_or_else(problem)?.iter();
    let tags: Option<_> = tags.map(|(key, value)| Some((key.clone(), values(value)?))).collect();
    tags.map(Tags).ok_or_else(problem)
}

fn way(value: &Value) -> Result<Option<&'static Way>, Error> {
    let asked = value.as_str();
    if asked == Some(AUTO) {
        return Ok(None);
    }
    WAYS.iter().find(|way| asked == Some(way.name)).copied().map(Some).ok_or_else(|| {
        let names: Vec<_> = WAYS.iter().map(|way| way.name).collect();
        invalid("way", format!("must be {AUTO}, or one of {}", names.join(", ")))
    })
}

fn flag(name: &str, value: &Value) -> Result<bool, Error> {
    value.as_bool().ok_or_else(|| invalid(name, "must be true or false"))
}
