//! What goes wrong, goes wrong here first: every fault at every call, and at random.
//!
//! `EVERY=n` plays every n-th pair (1: all) instead of a small sample, `FAULT=name` those whose name contains it.
//! `CLOUDS` local clouds work side by side. `SOAK_SECONDS` bounds the random rounds; `SOAK_SEED` chooses
//! them, and with `SOAK_ROUND` plays one of them again.

mod matrix;
mod pair;
mod site;
mod soak;
mod stops;
mod witness;
mod world;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::runtime::Handle;
use workflow::options::Way;

use self::pair::{FAULTS, Pair, SCENARIOS, Scenario, Wish};
use self::site::Site;

const PAIRS_BETWEEN_NEWS: usize = 100;

/// Of so many pairs, one belongs to the sample; no multiple of the number of faults, so that they take turns.
const SAMPLED_PAIRS: usize = 3 * FAULTS.len() + 1;

/// AWS DMS is asked much, and each of its runs takes long: of these the sample has so many times fewer.
const RARER_BY_DMS: usize = 8;

/// More than fit into any time that somebody would give them.
const ROUNDS_MAX: u64 = 1_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_at_every_call_ends_as_it_must() {
    let sites = open("files");
    let pairs = chosen(all_pairs(&sites));
    play(&sites, &pairs);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_around_the_data_leaves_the_rows_as_they_were() {
    let sites = open("postgres");
    let touches_data = |pair: &Pair| pair.call.touches_data() || pair.call.logs_in();
    let pairs = all_pairs(&sites).into_iter().filter(touches_data).collect();
    play(&sites, &chosen(pairs));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_that_is_stopped_in_any_state_leaves_one_whole_world() {
    let sites = open("files");
    let mut stops = stops::all();
    if let Some(name) = variable("FAULT") {
        stops.retain(|stop| stop.to_string().contains(&name));
    }
    let endings = for_each(&sites, &stops, async |site, stop| {
        let ending = stops::play(site, stop).await;
        say(&format!("stopped in {stop}: {ending:?}"));
        ending
    });
    let problems = endings.iter().filter(|ending| ending.is_err()).count();
    assert_eq!(problems, 0, "of {} states were not left whole", stops.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn random_faults_leave_every_instance_in_the_old_world_or_the_new_one() {
    let number = |name: &str| variable(name).map(|text| text.parse::<u64>().expect(name));
    let seconds = number("SOAK_SECONDS").unwrap_or(10);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let seed = number("SOAK_SEED").unwrap_or(now);
    let rounds: Vec<u64> = match number("SOAK_ROUND") {
        Some(round) => vec![round],
        None => (0..ROUNDS_MAX).collect(),
    };
    say(&format!("SOAK_SEED={seed}"));
    let sites = open("files");
    let started = Instant::now();
    let played = for_each(&sites, &rounds, async |site, round| {
        if started.elapsed().as_secs() >= seconds {
            return Ok(vec![]);
        }
        let ending = soak::play(site, seed.wrapping_add(*round)).await;
        ending.inspect_err(|problem| say(&format!("SOAK_SEED={seed} SOAK_ROUND={round}: {problem}")))
    });
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for ending in played.iter().flatten().flatten() {
        *counts.entry(ending).or_default() += 1;
    }
    say(&format!("executions ended: {counts:#?}"));
    let problems = played.iter().filter(|played| played.is_err()).count();
    assert_eq!(problems, 0, "rounds left an instance between the worlds");
}

/// Plays the pairs, prints how many ended how, and fails with those that did not end as they must.
#[track_caller]
fn play(sites: &[Site], pairs: &[Pair]) {
    let started = Instant::now();
    assert!(!pairs.is_empty(), "no pair has that name");
    say(&format!("{} pairs on {} clouds", pairs.len(), sites.len()));
    let done = AtomicUsize::new(0);
    let endings = for_each(sites, pairs, async |site, pair| {
        let started = Instant::now();
        let ending = matrix::play(site, pair).await;
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(PAIRS_BETWEEN_NEWS) {
            say(&format!("{done} of {} pairs", pairs.len()));
        }
        if variable("FAULT").is_some() || ending.is_err() {
            say(&format!("{pair}: {ending:?} in {:.1} s", started.elapsed().as_secs_f32()));
        }
        ending
    });
    let mut counts: BTreeMap<(String, &String), usize> = BTreeMap::new();
    let mut problems = vec![];
    for (pair, ending) in pairs.iter().zip(&endings) {
        match ending {
            Ok(ending) => *counts.entry((format!("{:?}{:?}", pair.extent, pair.kind), ending)).or_default() += 1,
            Err(problem) => problems.push(format!("{pair}: {problem}")),
        }
    }
    for ((fault, ending), count) in counts {
        say(&format!("{count:5}  {fault:18} {ending}"));
    }
    say(&format!("{} pairs, {} problems, {} s", pairs.len(), problems.len(), started.elapsed().as_secs()));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Clouds side by side, as many as asked for.
fn open(storage: &'static str) -> Vec<Site> {
    let count = variable("CLOUDS").map_or(3, |count| count.parse().expect("CLOUDS is a number"));
    let runtime = Handle::current();
    thread::scope(|scope| {
        let openings: Vec<_> = (0..count).map(|_| scope.spawn(|| runtime.block_on(Site::open(storage)))).collect();
        openings.into_iter().map(|opening| opening.join().expect("a cloud")).collect()
    })
}

fn all_pairs(sites: &[Site]) -> Vec<Pair> {
    let asked = variable("FAULT").and_then(|name| Some(name.split_once('/')?.0.to_owned()));
    let is_asked = |scenario: &&Scenario| {
        asked.as_deref().is_none_or(|name| name == scenario.name)
            && (scenario.way != Way::Online || sites.iter().all(Site::has_servers))
    };
    let scenarios: Vec<&'static Scenario> = SCENARIOS.iter().filter(is_asked).collect();
    let pairs = for_each(sites, &scenarios, async |site, scenario| matrix::pairs(site, scenario).await);
    pairs.into_iter().flat_map(|pairs| pairs.expect("a scenario")).collect()
}

/// Those that are asked for by name, or all, and of them every n-th: in the sample, every fault meets calls of every
/// scenario.
fn chosen(pairs: Vec<Pair>) -> Vec<Pair> {
    let name = variable("FAULT");
    let every: Option<usize> = variable("EVERY").map(|step| step.parse().expect("EVERY is a number from 1 on"));
    let step = |sampled| every.unwrap_or(if name.is_some() { 1 } else { sampled });
    let is_asked = |pair: &Pair| name.as_ref().is_none_or(|name| pair.to_string().contains(name));
    let asked = pairs.into_iter().filter(is_asked);
    let (by_dms, others): (Vec<_>, Vec<_>) = asked.partition(|pair| pair.scenario.wish == Wish::ByDms);
    let by_dms = by_dms.into_iter().step_by(step(SAMPLED_PAIRS * RARER_BY_DMS));
    others.into_iter().step_by(step(SAMPLED_PAIRS)).chain(by_dms).collect()
}

/// Lets each site work on the next item until there is none; the results in the items' order.
fn for_each<Item: Sync, Answer: Send>(
    sites: &[Site],
    items: &[Item],
    work: impl AsyncFn(&Site, &Item) -> Answer + Sync,
) -> Vec<Answer> {
    let next = AtomicUsize::new(0);
    let answers: Mutex<BTreeMap<usize, Answer>> = Mutex::default();
    let runtime = Handle::current();
    // A thread each, since the control API is called without yielding.
    thread::scope(|scope| {
        for site in sites {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    let answer = runtime.block_on(work(site, item));
                    answers.lock().expect("no worker panics").insert(index, answer);
                }
            });
        }
    });
    answers.into_inner().expect("no worker panics").into_values().collect()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// To the terminal, also from a test that passes.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("stderr");
}
