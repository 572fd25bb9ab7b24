"""What RDS publishes of every instance to CloudWatch, as far as it is read here.

One datapoint a minute of the wall clock, with the minute's start as its time. Statistics start at a whole
minute too: "Start time less than 15 days ago - Round down to the nearest whole minute" (API model,
GetMetricStatistics), which moto does not do. No minute is late here, as it is on AWS [A19].
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from moto.cloudwatch.models import CloudWatchBackend, MetricAggregatedDatum, cloudwatch_backends
from moto.core.base_backend import backend_lock

if TYPE_CHECKING:
    from .cloud import Cloud
    from .records import Instance

# How often the metrics are read: often enough for a run that lasts a second.
SAMPLE_INTERVAL_SECONDS = 0.2
# The instance serves clients in these, so there is something to read.
MEASURED_STATUSES = {"available", "backing-up", "modifying", "storage-full", "storage-optimization"}


def publish(cloud: Cloud) -> None:
    """Starts reading, until the process ends."""
    _round_start_times()
    threading.Thread(target=_sample, args=(cloud,), daemon=True).start()


def _sample(cloud: Cloud) -> None:
    minute: datetime | None = None
    datums: dict[tuple[str, str], MetricAggregatedDatum] = {}
    while True:
        time.sleep(SAMPLE_INTERVAL_SECONDS)
        if not cloud.publish_metrics:
            continue
        now = datetime.now(timezone.utc).replace(second=0, microsecond=0, tzinfo=None)
        published = published_of(cloud)
        # A reset of moto takes the datapoints away, all of them.
        if now != minute or next(iter(datums.values()), None) not in published:
            minute, datums = now, {}
        with cloud.records.lock:
            instances = [
                instance
                for instance in cloud.records.instances.values()
                if instance.status in MEASURED_STATUSES and not instance.hidden
            ]
        for instance in instances:
            for (name, unit), value in _metrics(cloud, instance):
                datum = datums.get((name, instance.identifier))
                if datum is None:
                    dimensions = [{"Name": "DBInstanceIdentifier", "Value": instance.identifier}]
                    datum = datums[name, instance.identifier] = MetricAggregatedDatum(
                        "AWS/RDS", name, value, value, 0, 0, dimensions, minute, unit
                    )
                    published.append(datum)
                datum.min, datum.max = min(datum.min, value), max(datum.max, value)
                datum.sum += value
                datum.sample_count += 1


def published_of(cloud: Cloud) -> list[Any]:
    """CloudWatch's datapoints. A reset of moto between its two look-ups would take away what the first one made."""
    with backend_lock:
        return cloudwatch_backends[cloud.account_id][cloud.region].metric_data


def _metrics(cloud: Cloud, instance: Instance) -> Iterator[tuple[tuple[str, str], float]]:
    """Of "Amazon CloudWatch instance-level metrics for Amazon RDS" (User Guide)."""
    yield ("DatabaseConnections", "Count"), instance.connections + cloud.endpoints.take_peak(instance.identifier)
    yield ("FreeStorageSpace", "Bytes"), instance.free_storage_bytes
    if instance.follows:
        yield ("ReplicaLag", "Seconds"), instance.lag_seconds


def _round_start_times() -> None:
    statistics, data = CloudWatchBackend.get_metric_statistics, CloudWatchBackend.get_metric_data

    def get_metric_statistics(
        self: CloudWatchBackend, namespace: str, metric_name: str, start_time: datetime, *arguments: Any, **options: Any
    ) -> Any:
        return statistics(
            self, namespace, metric_name, start_time.replace(second=0, microsecond=0), *arguments, **options
        )

    def get_metric_data(
        self: CloudWatchBackend, queries: list[Any], start_time: datetime, *arguments: Any, **options: Any
    ) -> Any:
        return data(self, queries, start_time.replace(second=0, microsecond=0), *arguments, **options)

    CloudWatchBackend.get_metric_statistics = get_metric_statistics  # type: ignore[method-assign]
    CloudWatchBackend.get_metric_data = get_metric_data  # type: ignore[method-assign]
