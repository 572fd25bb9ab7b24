//! Tells what became of every instance that a fleet looked at: as JSON and CSV for programs, as one HTML file for
//! people, and in a few words for the mail.
//!
//! AWS calls: GetObject and PutObject of S3; PutMetricData of CloudWatch.
//!
//! Repeating it is safe: it reads what the fleet left in the bucket, and writes the same three objects again. A metric
//! that is published twice has the same average.

use std::collections::BTreeMap;

use bucket::Bucket;
use bucket::results::Results;
use serde::{Deserialize, Serialize};
use workflow::Error;

mod csv;
mod estimate;
mod html;
mod lines;
mod metric;
#[cfg(test)]
mod tests;

pub use crate::estimate::Estimate;
pub use crate::lines::{Line, Outcome};

/// A mail is read and not scrolled through; the report has all of them.
const FAILURES_TOLD_MAX: usize = 20;
/// SNS refuses a longer subject ("Publish", Amazon SNS API Reference).
const SUBJECT_CHARACTERS_MAX: usize = 100;

/// The clients and the environment, read once at the start.
pub struct Context {
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    pub bucket: Bucket,
    /// The stack's name, by which the metric is told from other stacks'.
    pub stack: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The fleet's own ARN.
    pub execution: String,
    pub trigger: String,
    /// Where everything of this fleet is, with a slash at the end.
    pub prefix: String,
    pub items_key: String,
    pub left_out_key: String,
    pub plan_only: bool,
    /// How many would be encrypted side by side.
    pub max_concurrency: usize,
    /// What the Map state answered; null if nothing was started.
    pub results: Option<Results>,
}

#[derive(Debug, Serialize)]
pub struct Response {
    pub counts: BTreeMap<&'static str, usize>,
    /// s3://…/report.html
    pub report: String,
    pub subject: String,
    pub message: String,
    /// Whether somebody wants to read it: an event or a sweep that found nothing to do tells nobody.
    pub worth_a_mail: bool,
}

pub async fn handle(context: &Context, request: Request) -> Result<Response, Error> {
    let bucket = &context.bucket;
    let lines = lines::read(bucket, &request).await?;
    metric::publish(context, &lines).await;
    let mut counts = BTreeMap::new();
    for line in &lines {
        *counts.entry(line.outcome.into()).or_default() += 1;
    }
    let report = Report {
        execution: &request.execution,
        counts: &counts,
        estimate: Estimate::of(&lines, request.max_concurrency),
        instances: &lines,
    };
    let json = serde_json::to_vec(&report)
        .map_err(|error| workflow::error::invalid("report", format!("cannot be written: {error}")))?;
    let place = |name: &str| format!("{}{name}", request.prefix);
    bucket.put(&place("report.json"), "application/json", json).await?;
    bucket.put(&place("report.csv"), "text/csv; charset=utf-8", csv::of(&lines).into_bytes()).await?;
    bucket.put(&place("report.html"), "text/html; charset=utf-8", html::of(&report).into_bytes()).await?;

    let address = format!("s3://{}/{}", bucket.name, place("report.html"));
    let happened = lines.iter().any(|line| line.outcome != Outcome::LeftOut);
    Ok(Response {
        subject: subject(&counts),
        message: message(&report, &address),
        worth_a_mail: happened || request.trigger == "direct",
        report: address,
        counts,
    })
}

#[derive(Serialize)]
pub(crate) struct Report<'a> {
    execution: &'a str,
    counts: &'a BTreeMap<&'static str, usize>,
    /// Of a plan.
    estimate: Option<Estimate>,
    instances: &'a [Line],
}

fn told(counts: &BTreeMap<&'static str, usize>) -> String {
    let told: Vec<String> =
        counts.iter().map(|(outcome, count)| format!("{count} {}", outcome.replace('_', " "))).collect();
    if told.is_empty() { "no instance".to_owned() } else { told.join(", ") }
}

fn subject(counts: &BTreeMap<&'static str, usize>) -> String {
    format!("rds-encrypt: fleet: {}", told(counts)).chars().take(SUBJECT_CHARACTERS_MAX).collect()
}

fn message(report: &Report<'_>, address: &str) -> String {
    let Report { execution, counts, estimate, instances: lines } = report;
    let mut message = format!("Instances: {}.\n", told(counts));
    if let Some(estimate) = estimate {
        message += &format!("{}\n", estimate.in_words());
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.outcome == Outcome::LeftOut) {
        *reasons.entry(&line.reason).or_default() += 1;
    }
    if !reasons.is_empty() {
        let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        message += &format!("Left out: {}.\n", reasons.join(", "));
    }
    let failed: Vec<&Line> = lines.iter().filter(|line| line.outcome == Outcome::Failed).collect();
    for line in failed.iter().take(FAILURES_TOLD_MAX) {
        message += &format!("\n{}: {}", line.instance_id, line.reason);
    }
    if failed.len() > FAILURES_TOLD_MAX {
        message += &format!("\nand {} more", failed.len() - FAILURES_TOLD_MAX);
    }
    message + &format!("\nReport: aws s3 cp {address} .\nExecution: {execution}\n")
}
