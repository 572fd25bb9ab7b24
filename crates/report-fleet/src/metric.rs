//! How long the phases take: the template's dashboard shows it.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StatisticSet};
use workflow::Error;

use crate::{Context, Line};

/// The role may write to no other.
const NAMESPACE: &str = "rds-encrypt";
const NAME: &str = "PhaseMinutes";

/// It only tells: a report does not fail for it.
pub(crate) async fn publish(context: &Context, lines: &[Line]) {
    let mut phases: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (phase, minutes) in lines.iter().flat_map(|line| &line.phases) {
        phases.entry(phase).or_default().push(*minutes);
    }
    if phases.is_empty() {
        return;
    }
    let data = phases.into_iter().map(|(phase, minutes)| {
        let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
        let statistics = StatisticSet::builder()
            .sample_count(minutes.len() as f64)
            .sum(minutes.iter().sum())
            .minimum(minutes.iter().copied().fold(f64::INFINITY, f64::min))
            .maximum(minutes.iter().copied().fold(0.0, f64::max));
        MetricDatum::builder()
            .metric_name(NAME)
            .dimensions(dimension("Stack", &context.stack))
            .dimensions(dimension("Phase", phase))
            .statistic_values(statistics.build())
            .build()
    });
    let call = context.cloudwatch.put_metric_data().namespace(NAMESPACE).set_metric_data(Some(data.collect()));
    if let Err(error) = call.send().await.map_err(|error| Error::from_call("publish the minutes of the phases", error))
    {
        tracing::warn!(%error, "the metric is not published");
    }
}
