"""The workers' counters in Redis as Prometheus metric families."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from shared.queue.worker_metrics import FAMILIES, INFINITY, Family, bucket_bound

_LABEL = re.compile(r'(\w+)="([^"]*)"')

#: The fields of one name: their labels and their amounts.
_Fields = list[tuple[dict[str, str], float]]


def worker_families(counters: Mapping[str, float], prefix: str) -> Iterator[Metric]:
    """Yield every family; a counter without a label starts at zero."""
    by_name: defaultdict[str, _Fields] = defaultdict(list)
    for field, amount in sorted(counters.items()):
        name, _, labels = field.partition("{")
        by_name[name].append((dict(_LABEL.findall(labels)), amount))
    for name, family in FAMILIES.items():
        if family.bounds:
            buckets, sums = by_name[f"{name}_bucket"], by_name[f"{name}_sum"]
            yield _histogram(prefix + name, family, buckets, sums)
        else:
            yield _counter(prefix + name, family, by_name[name])


def _counter(name: str, family: Family, fields: _Fields) -> Metric:
    if not family.label:
        value = sum(amount for _, amount in fields)
        return CounterMetricFamily(name, family.description, value=value)
    counter = CounterMetricFamily(name, family.description, labels=[family.label])
    for labels, amount in fields:
        counter.add_metric([labels.get(family.label, "")], amount)
    return counter


def _histogram(name: str, family: Family, buckets: _Fields, sums: _Fields) -> Metric:
    label_names = [family.label] if family.label else []
    histogram = HistogramMetricFamily(name, family.description, labels=label_names)
    counts: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for labels, amount in buckets:
        counts[labels.get(family.label, "")][labels["le"]] = amount
    totals = {labels.get(family.label, ""): amount for labels, amount in sums}
    for label, own_counts in counts.items():
        cumulative, total = [], 0.0
        for bound in (*map(bucket_bound, family.bounds), INFINITY):
            total += own_counts.get(bound, 0.0)
            cumulative.append((bound, total))
        values = [label] if family.label else []
        histogram.add_metric(values, cumulative, totals.get(label, 0.0))
    return histogram
