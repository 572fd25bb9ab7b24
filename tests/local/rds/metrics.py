"""The CloudWatch metric DatabaseConnections, as RDS publishes it for every instance.

One datapoint a minute of the wall clock, with the minute's start as its time. Statistics start at a whole
minute too: "Start time less than 15 days ago - Round down to the nearest whole minute" (API model,
GetMetricStatistics), which moto does not do. No minute is late here, as it is on AWS [A19].
"""

import threading
import time
from datetime import datetime, timezone

from moto.cloudwatch.models import CloudWatchBackend, MetricAggregatedDatum, cloudwatch_backends

# How often the connections are counted: often enough for a run that lasts a second.
SAMPLE_INTERVAL_SECONDS = 0.2
# The instance serves clients in these, so there is something to count.
COUNTED_STATUSES = {"available", "backing-up", "modifying", "storage-full", "storage-optimization"}


def publish(cloud):
    """Starts counting, until the process ends."""
    _round_start_times()
    threading.Thread(target=_sample, args=(cloud,), daemon=True).start()


def _sample(cloud):
    minute, datums = None, {}
    while True:
        time.sleep(SAMPLE_INTERVAL_SECONDS)
        if not cloud.publish_metrics:
            continue
        now = datetime.now(timezone.utc).replace(second=0, microsecond=0, tzinfo=None)
        if now != minute:
            minute, datums = now, {}
        published = cloudwatch_backends[cloud.account_id][cloud.region].metric_data
        with cloud.records.lock:
            instances = [instance for instance in cloud.records.instances.values() if instance.status in COUNTED_STATUSES and not instance.hidden]
        for instance in instances:
            count = instance.connections + cloud.endpoints.take_peak(instance.identifier)
            datum = datums.get(instance.identifier)
            # A reset of moto takes the datapoints away.
            if datum is None or datum not in published:
                dimensions = [{"Name": "DBInstanceIdentifier", "Value": instance.identifier}]
                datum = datums[instance.identifier] = MetricAggregatedDatum("AWS/RDS", "DatabaseConnections", count, count, 0, 0, dimensions, minute, "Count")
                published.append(datum)
            datum.min, datum.max = min(datum.min, count), max(datum.max, count)
            datum.sum += count
            datum.sample_count += 1


def _round_start_times():
    statistics, data = CloudWatchBackend.get_metric_statistics, CloudWatchBackend.get_metric_data

    def get_metric_statistics(self, namespace, metric_name, start_time, *arguments, **options):
        return statistics(self, namespace, metric_name, start_time.replace(second=0, microsecond=0), *arguments, **options)

    def get_metric_data(self, queries, start_time, *arguments, **options):
        return data(self, queries, start_time.replace(second=0, microsecond=0), *arguments, **options)

    CloudWatchBackend.get_metric_statistics = get_metric_statistics
    CloudWatchBackend.get_metric_data = get_metric_data
