//! What the plan of each instance said: by which way, or why not at all.

use bucket::results::{Child, Results, parse};
use serde::Deserialize;
use serde_json::Value;
use workflow::Error;

use crate::ask::Ask;
use crate::ways::{SNAPSHOT, WAYS};
use crate::{About, Candidate, Context, LeftOut, Reason, Sorted};

/// Of an item of the first look.
#[derive(Deserialize)]
struct Found {
    name: String,
    #[serde(flatten)]
    about: About,
}

/// What the item's execution in the Map came to: the plan's ways, or its error.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Planned {
    ways: Vec<PlannedWay>,
    #[serde(rename = "Error")]
    error: Option<String>,
    #[serde(rename = "Cause")]
    cause: String,
}

/// As the plan compares them.
#[derive(Deserialize)]
struct PlannedWay {
    way: String,
    usable: bool,
    why_not: Vec<String>,
    outage: String,
    writes_lost: String,
    recommended: bool,
}

/// `left_out`: those of the first look.
pub(crate) async fn choose(
    context: &Context,
    ask: &Ask,
    plans: &Results,
    left_out: Vec<LeftOut>,
) -> Result<Sorted, Error> {
    let mut sorted = Sorted { left_out, ..Sorted::default() };
    for chosen in plans.read(&context.bucket, |child| of_child(ask, child)).await? {
        match chosen {
            Ok(candidate) => sorted.items.push(candidate),
            Err(refused) => sorted.left_out.push(refused),
        }
    }
    Ok(sorted)
}

fn of_child(ask: &Ask, child: Child) -> Result<Result<Candidate, LeftOut>, Error> {
    let Found { name, about } = parse("the plan's item", child.input.as_bytes())?;
    let planned = match &child.output {
        Some(output) => parse("the plan", output.as_bytes())?,
        None => Planned {
            error: Some(child.error.unwrap_or_else(|| "NotPlanned".to_owned())),
            cause: child.cause.unwrap_or_default(),
            ..Planned::default()
        },
    };
    if let Some(error) = planned.error {
        let reason = if error == "QuotaExceeded" { Reason::NoQuota } else { Reason::Refused };
        return Ok(Err(LeftOut { reason, detail: format!("{error}: {}", in_words(planned.cause)), about }));
    }
    // The way online wants a login for each, so that a fleet goes none by it.
    let recommended = || {
        let name = planned.ways.iter().find(|way| way.recommended).map(|way| way.way.as_str());
        WAYS.into_iter().find(|way| Some(way.name) == name)
    };
    let way = ask.way.or_else(recommended).unwrap_or(&SNAPSHOT);
    Ok(Ok(Candidate { name, way, detail: told(way.name, &planned.ways), about }))
}

/// Lambda's failures are JSON in a text.
fn in_words(cause: String) -> String {
    let parsed: Value = serde_json::from_str(&cause).unwrap_or_default();
    parsed["errorMessage"].as_str().map_or(cause, str::to_owned)
}

/// What clients notice of the way, and why another one is closed.
fn told(chosen: &str, ways: &[PlannedWay]) -> String {
    let of_chosen = ways
        .iter()
        .filter(|way| way.way == chosen)
        .map(|way| format!("outage: {}; writes lost: {}", way.outage, way.writes_lost));
    let closed = ways.iter().filter(|way| !way.usable && WAYS.iter().any(|known| known.name == way.way));
    let closed = closed.map(|way| format!("not by {}: {}", way.way, way.why_not.join("; ")));
    of_chosen.chain(closed).collect::<Vec<_>>().join("\n")
}
