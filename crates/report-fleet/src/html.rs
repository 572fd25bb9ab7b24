//! The report for people: one file that needs nothing else, and may load and run nothing else (Content-Security-Policy).

use std::collections::BTreeMap;

use aws_smithy_types::base64;
use sha2::{Digest, Sha256};

use crate::{Line, Outcome};

const STYLE: &str = include_str!("report.css");
const SCRIPT: &str = include_str!("report.js");

pub(crate) fn of(execution: &str, lines: &[Line]) -> String {
    let region = execution.split(':').nth(3).unwrap_or_default();
    let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
    for line in lines {
        *counts.entry(line.outcome).or_default() += 1;
    }
    let counts: String = counts.iter().map(|(outcome, count)| tile(*outcome, *count)).collect();
    let longest = lines.iter().map(|line| line.minutes).fold(1.0, f64::max);
    let rows: String = lines.iter().map(|line| row(line, region, longest)).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '{}'; script-src '{}'; \
         base-uri 'none'; form-action 'none'\">\n\
         <title>rds-encrypt: fleet</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>rds-encrypt: fleet</h1>\n\
         <p>{}</p>\n<div class=\"counts\">{counts}</div>\n\
         <label>Filter <input id=\"filter\" type=\"search\" placeholder=\"any text of a line\"></label>\n\
         <span id=\"shown\"></span>\n<table>\n<thead><tr>{}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n",
        hash(STYLE),
        hash(SCRIPT),
        link(&console(region, "states", &format!("/v2/executions/details/{execution}")), execution),
        HEADINGS.map(|heading| format!("<th><button>{heading}</button></th>")).concat(),
    )
}

const HEADINGS: [&str; 9] =
    ["Outcome", "Instance", "Engine", "GiB", "Way", "Encrypted instance", "Minutes", "Reason", "In words"];

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
        minutes => format!("{minutes} <meter value=\"{minutes}\" max=\"{longest}\"></meter>"),
    };
    let cells = [
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

fn console(region: &str, service: &str, place: &str) -> String {
    format!("https://{region}.console.aws.amazon.com/{service}/home?region={region}#{place}")
}

fn link(address: &str, text: &str) -> String {
    format!("<a href=\"{}\" rel=\"noreferrer\">{}</a>", escaped(address), escaped(text))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
