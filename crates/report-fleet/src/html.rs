//! The report for people: one file that needs nothing else, and may load and run nothing else (Content-Security-Policy).

use std::collections::BTreeMap;

use aws_smithy_types::base64;
use sha2::{Digest, Sha256};

use crate::{Line, Outcome, Report};

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

/// In the order in which an execution goes through them; the classes of report.css.
pub(crate) const PHASES: [&str; 13] = [
    "source",
    "snapshot",
    "copy",
    "restore",
    "deployment",
    "settings",
    "proof",
    "storage",
    "lag",
    "switchover",
    "names",
    "protection",
    "clean_up",
];
const BAR_WIDTH: f64 = 200.0;

pub(crate) fn of(report: &Report<'_>) -> String {
    let Report { execution, instances: lines, .. } = report;
    let region = execution.split(':').nth(3).unwrap_or_default();
    let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
    for line in *lines {
        *counts.entry(line.outcome).or_default() += 1;
    }
    let counts: String = counts.iter().map(|(outcome, count)| tile(*outcome, *count)).collect();
    let longest = lines.iter().map(total).fold(1.0, f64::max);
    let estimate = report.estimate.as_ref().map(|estimate| format!("<p>{}</p>\n", escaped(&estimate.in_words())));
    let rows: String = lines.iter().map(|line| row(line, region, longest)).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '{}'; script-src '{}'; \
         base-uri 'none'; form-action 'none'\">\n\
         <title>rds-encrypt: fleet</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>rds-encrypt: fleet</h1>\n\
         <p>{}</p>\n<div class=\"counts\">{counts}</div>\n{}{}\
         <label>Filter <input id=\"filter\" type=\"search\" placeholder=\"any text of a line\"></label>\n\
         <span id=\"shown\"></span>\n<table>\n<thead><tr>{}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n",
        hash(STYLE),
        hash(SCRIPT),
        link(&console(region, "states", &format!("/v2/executions/details/{execution}")), execution),
        estimate.unwrap_or_default(),
        legend(lines),
        HEADINGS.map(|heading| format!("<th><button>{heading}</button></th>")).concat(),
    )
}

const HEADINGS: [&str; 10] =
    ["Order", "Outcome", "Instance", "Engine", "GiB", "Way", "Encrypted instance", "Minutes", "Reason", "In words"];

/// What the policy lets in: this text, and no other.
pub(crate) fn hash(text: &str) -> String {
    format!("sha256-{}", base64::encode(Sha256::digest(text)))
}

fn tile(outcome: Outcome, count: usize) -> String {
    let name: &str = outcome.into();
    format!("<div class=\"{name}\"><b>{count}</b> {}</div>", name.replace('_', " "))
}

fn row(line: &Line, region: &str, longest: f64) -> String {
    let outcome: &str = line.outcome.into();
    let database = |id: &str| match id {
        "" => String::new(),
        id => link(&console(region, "rds", &format!("database:id={id};is-cluster=false")), id),
    };
    let reason = match line.execution.as_str() {
        "" => escaped(&line.reason),
        execution => {
            let text = if line.reason.is_empty() { "execution" } else { &line.reason };
            link(&console(region, "states", &format!("/v2/executions/details/{execution}")), text)
        }
    };
    let minutes = match line.minutes {
        0.0 => String::new(),
        minutes => format!("{minutes} {}", bar(line, longest)),
    };
    let cells = [
        if line.order > 0 { line.order.to_string() } else { String::new() },
        outcome.replace('_', " "),
        database(&line.instance_id),
        escaped(&line.engine),
        line.allocated_gib.to_string(),
        escaped(&line.way),
        database(&line.encrypted_instance_id),
        minutes,
        reason,
        escaped(&line.detail),
    ];
    format!("<tr class=\"{outcome}\">{}</tr>\n", cells.map(|cell| format!("<td>{cell}</td>")).concat())
}

/// Its minutes, of which the waits are a part: unless Waits are scaled, as in the local cloud.
fn total(line: &Line) -> f64 {
    line.minutes.max(line.phases.values().sum())
}

/// As long as its minutes: the phases side by side, the first one first, and the rest.
fn bar(line: &Line, longest: f64) -> String {
    let width = |minutes: f64| minutes / longest * BAR_WIDTH;
    let mut bar = format!("<svg width=\"{BAR_WIDTH}\" height=\"12\"><title>{}</title>", escaped(&phases_of(line)));
    bar += &format!("<rect class=\"rest\" width=\"{:.1}\" height=\"12\"/>", width(total(line)));
    let mut begin = 0.0;
    for (phase, minutes) in PHASES.iter().filter_map(|phase| Some((phase, *line.phases.get(*phase)?))) {
        let (x, width) = (width(begin), width(minutes));
        bar += &format!("<rect class=\"{phase}\" x=\"{x:.1}\" width=\"{width:.1}\" height=\"12\"/>");
        begin += minutes;
    }
    bar + "</svg>"
}

fn phases_of(line: &Line) -> String {
    let phases = PHASES.iter().filter_map(|phase| Some((phase, *line.phases.get(*phase)?)));
    let told: Vec<String> = phases.map(|(phase, minutes)| format!("{} {minutes} min", in_words(phase))).collect();
    told.join(", ")
}

/// Of the phases that there are.
fn legend(lines: &[Line]) -> String {
    let is_there =
        |phase: &&&str| lines.iter().any(|line| line.phases.get(**phase).is_some_and(|minutes| *minutes > 0.0));
    let key = |phase: &str| {
        format!(
            "<svg width=\"12\" height=\"12\"><rect class=\"{phase}\" width=\"12\" height=\"12\"/></svg> {} ",
            in_words(phase)
        )
    };
    let keys: String = PHASES.iter().filter(is_there).map(|phase| key(phase)).collect();
    if keys.is_empty() { keys } else { format!("<p class=\"legend\">{keys}{}</p>\n", key("rest")) }
}

fn in_words(name: &str) -> String {
    name.replace('_', " ")
}

fn console(region: &str, service: &str, place: &str) -> String {
    format!("https://{region}.console.aws.amazon.com/{service}/home?region={region}#{place}")
}

fn link(address: &str, text: &str) -> String {
    format!("<a href=\"{}\" rel=\"noreferrer\">{}</a>", escaped(address), escaped(text))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
