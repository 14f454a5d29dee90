"""How the workers' counters become Prometheus' text."""

import re
from collections.abc import Iterator
from importlib import resources

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from api.metrics.worker_counters import worker_families
from shared.queue.worker_metrics import FAMILIES, batch_counts, observation_fields, sum_counts
from shared.results import Timings

sizes = st.lists(st.integers(1, 400), max_size=30)


class Counters(Collector):
    """Collects the families of some counters."""

    def __init__(self, fields: dict[str, float]) -> None:
        self._fields = fields

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        yield from worker_families(self._fields, "voxelq_")


def page(fields: dict[str, float]) -> str:
    """Return the Prometheus text for counters with these fields."""
    registry = CollectorRegistry()
    registry.register(Counters(fields))
    return generate_latest(registry).decode()


def samples(fields: dict[str, float]) -> dict[tuple[str, str], float]:
    """Return what a Prometheus server reads: values by name and labels."""
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page(fields))
        for sample in family.samples
    }


@given(sizes)
def test_a_histogram_holds_what_was_observed(seen: list[int]) -> None:
    """Each bucket counts the observations up to its bound, whatever was observed."""
    fields = sum_counts(observation_fields("batch_size", size) for size in seen)
    read = samples(fields)
    for bound in FAMILIES["batch_size"].bounds if seen else ():
        below = sum(size <= bound for size in seen)
        assert read["voxelq_batch_size_bucket", f"{bound:g}"] == below
    if seen:
        assert read["voxelq_batch_size_bucket", "+Inf"] == len(seen)
        assert read["voxelq_batch_size_count", ""] == len(seen)
        assert read["voxelq_batch_size_sum", ""] == sum(seen)


def test_labels_keep_histograms_apart() -> None:
    """Stages are histograms of their own."""
    fields = sum_counts(
        [
            observation_fields("stage_seconds", 0.02, 'stage="load"'),
            observation_fields("stage_seconds", 0.02, 'stage="load"'),
            observation_fields("stage_seconds", 400.0, 'stage="store"'),
        ]
    )
    read = samples(fields)
    assert read["voxelq_stage_seconds_count", "load"] == 2
    assert read["voxelq_stage_seconds_bucket", "0.01,load"] == 0
    assert read["voxelq_stage_seconds_bucket", "0.025,load"] == 2
    assert read["voxelq_stage_seconds_bucket", "300,store"] == 0
    assert read["voxelq_stage_seconds_bucket", "+Inf,store"] == 1
    assert read["voxelq_stage_seconds_sum", "store"] == 400


def test_what_never_happened_is_shown_as_zero() -> None:
    """Counters without labels exist from the start, so that their first increase is recorded."""
    read = samples({})
    assert read["voxelq_leases_lost_total", ""] == 0
    assert read["voxelq_oom_splits_total", ""] == 0
    assert not any(name.startswith("voxelq_job_failures") for name, _ in read)


def test_fields_carry_the_label_of_their_family() -> None:
    """Counts of workers and scripts have the labels of their family, or none."""
    timings = Timings(queue=1, load=1, preprocess=1, inference=1, postprocess=1, store=1, total=6)
    for field in batch_counts(2, [timings]):
        name, _, labels = field.removesuffix("}").partition("{")
        family = FAMILIES[re.sub("_(bucket|sum)$", "", name)]
        assert [part.partition("=")[0] for part in labels.split(",") if part] == [
            *([family.label] if family.label else []),
            *(["le"] if name.endswith("_bucket") else []),
        ]
    lua = resources.files("shared.queue") / "lua"
    text = "".join(path.read_text() for path in lua.iterdir() if path.name.endswith(".lua"))
    counted = re.findall(r"""count\('(\w+)(?:\{(\w+)=)?""", text)
    assert ("jobs_total", "status") in counted
    assert {(name, FAMILIES[name].label) for name, _ in counted} == set(counted)


def test_every_family_is_shown() -> None:
    """Each family has its description and its kind, and a field of no family is not shown."""
    text = page({"seconds_per_scan": 3.0})
    assert "seconds_per_scan" not in text
    for name, family in FAMILIES.items():
        assert f"# HELP voxelq_{name} {family.description}\n" in text
        assert f"# TYPE voxelq_{name} {'histogram' if family.bounds else 'counter'}\n" in text
