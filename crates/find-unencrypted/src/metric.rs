//! How many unencrypted instances are left: the template's alarm and dashboard look at it.

use aws_sdk_cloudwatch::types::{Dimension, MetricDatum};
use workflow::Error;

use crate::Context;

/// The role may write to no other.
const NAMESPACE: &str = "rds-encrypt";
const NAME: &str = "UnencryptedInstances";

/// It only tells: a fleet does not fail for it.
pub(crate) async fn publish(context: &Context, count: usize) {
    let stack = Dimension::builder().name("Stack").value(&context.stack).build();
    let datum = MetricDatum::builder().metric_name(NAME).dimensions(stack).value(count as f64).build();
    let answer = context.cloudwatch.put_metric_data().namespace(NAMESPACE).metric_data(datum).send().await;
    if let Err(error) = answer.map_err(|error| Error::from_call("publish the number of unencrypted instances", error)) {
        tracing::warn!(%error, "the metric is not published");
    }
}
