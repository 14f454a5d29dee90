"""The table of metrics, from the service's own response to Prometheus."""

import re

from api.metrics.registry import PREFIX, Metrics
from docs.generate.markdown import code, name, table
from shared.queue.state import QueueState, WorkerInfo
from shared.queue.worker_metrics import FAMILIES, observation_fields

_HELP = re.compile(rf"# HELP {PREFIX}(\w+) (.*)")
_TYPE = re.compile(rf"# TYPE {PREFIX}(\w+) (\w+)")
_SAMPLE = re.compile(rf"{PREFIX}(\w+?)(?:_bucket|_sum|_count)?\{{(.*)\}}")


def metrics_table() -> str:
    """Return a row for each metric: name, kind, labels and meaning."""
    text = _exposition()
    kinds = dict(_TYPE.findall(text))
    labels: dict[str, list[str]] = {}
    for line in text.splitlines():
        sample = _SAMPLE.match(line)
        if sample:
            known = labels.setdefault(sample[1], [])
            for label in re.findall(r'(\w+)="', sample[2]):
                if label != "le" and label not in known:
                    known.append(label)
    rows = [
        (
            name(PREFIX + metric),
            kinds[metric],
            ", ".join(map(code, labels.get(metric, []))),
            description,
        )
        for metric, description in sorted(_HELP.findall(text))
    ]
    return table(("name", "kind", "labels", "meaning"), rows)


def _exposition() -> str:
    """Return the text of a service in which every metric has a value."""
    metrics = Metrics()
    metrics.requests.labels("GET", "/", "200").inc()
    metrics.duration_s.labels("GET", "/").observe(1)
    return metrics.render(_state()).decode()


def _state() -> QueueState:
    counters: dict[str, float] = {}
    for metric, family in FAMILIES.items():
        labels = f'{family.label}="x"' if family.label else ""
        if family.bounds:
            counters.update(observation_fields(metric, 1.0, labels))
        else:
            counters[f"{metric}{{{labels}}}" if labels else metric] = 1.0
    worker = WorkerInfo(
        id="w",
        model=None,
        device="cpu",
        batch=(),
        precision="fp32",
        memory_format="contiguous",
        compiled=False,
        peak_memory_bytes=1,
    )
    return QueueState(
        queued=0,
        started=0,
        workers=(worker,),
        seconds_per_scan=1.0,
        eta_s=1.0,
        scans_per_batch=1.0,
        scans_per_hour=1.0,
        oldest_queued_s=0.0,
        waiting={"routine": 0},
        metrics=counters,
    )
