"""What the workers count in Redis, as Prometheus reads it."""

import re
from collections.abc import Iterator, Mapping

from shared.queue.worker_metrics import FAMILIES, INFINITY, Family, bucket_bound

_FIELD = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>.*)\})?")
_BUCKET = re.compile(r'(?P<labels>.*?),?le="(?P<bound>[^"]+)"')

#: Amounts by labels, as ``stage="load"``; "" for none.
Samples = dict[str, float]


def worker_lines(counters: Mapping[str, float], prefix: str) -> Iterator[str]:
    """Yield every family; a counter without a label begins at zero."""
    by_name: dict[str, Samples] = {}
    for field, amount in sorted(counters.items()):
        parts = _FIELD.fullmatch(field)
        if parts:
            by_name.setdefault(parts["name"], {})[parts["labels"] or ""] = amount
    for name, family in FAMILIES.items():
        kind = "histogram" if family.bounds else "counter"
        yield f"# HELP {prefix}{name} {family.description}\n# TYPE {prefix}{name} {kind}\n"
        if family.bounds:
            buckets, sums = by_name.get(f"{name}_bucket", {}), by_name.get(f"{name}_sum", {})
            yield from _histogram_lines(prefix + name, family, buckets, sums)
        else:
            unseen = {} if family.label else {"": 0.0}
            for labels, amount in by_name.get(name, unseen).items():
                yield _line(prefix + name, labels, amount)


def _histogram_lines(name: str, family: Family, buckets: Samples, sums: Samples) -> Iterator[str]:
    counts: dict[str, dict[str, float]] = {}
    for labels, amount in buckets.items():
        parts = _BUCKET.fullmatch(labels)
        if parts:
            counts.setdefault(parts["labels"], {})[parts["bound"]] = amount
    for labels, own in counts.items():
        total = 0.0
        for bound in (*map(bucket_bound, family.bounds), INFINITY):
            total += own.get(bound, 0.0)
            bucket = f'{labels},le="{bound}"' if labels else f'le="{bound}"'
            yield _line(f"{name}_bucket", bucket, total)
        yield _line(f"{name}_sum", labels, sums.get(labels, 0.0))
        yield _line(f"{name}_count", labels, total)


def _line(name: str, labels: str, amount: float) -> str:
    return f"{name}{{{labels}}} {amount!r}\n" if labels else f"{name} {amount!r}\n"
