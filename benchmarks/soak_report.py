"""What a soak showed, in words and as a plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.soak_memory import LIMIT_PERCENT, Sample, Slope


def throughput(done_s: Sequence[float], window_s: float, buckets: int) -> list[float]:
    """Return the scans a second in equal parts of the window; ``done_s`` counts from its start."""
    width_s, counts = window_s / buckets, [0] * buckets
    for at_s in done_s:
        if at_s < window_s:
            counts[int(at_s / width_s)] += 1
    return [count / width_s for count in counts]


def sentences(
    slopes: Mapping[str, Slope], passing: Sequence[str], errors: Mapping[str, int], scans: int
) -> list[str]:
    """Return what leaks, what came or went, and what failed."""
    return [*_leaks(slopes), *_passing(passing), *_errors(errors, scans)]


def _leaks(slopes: Mapping[str, Slope]) -> list[str]:
    said = []
    for name, one in slopes.items():
        if one.verdict == "grows":
            said.append(
                f"{name} leaks, or had not settled after the warm-up: it grows by "
                f"{in_words(one)}, {one.mb_per_hour:.1f} MB of {one.mean_mb:.0f}."
            )
    unclear = [
        f"{name} ({in_words(one)})" for name, one in slopes.items() if one.verdict == "unclear"
    ]
    if unclear:
        said.append(f"Too short to tell of {', '.join(unclear)}: a longer soak will.")
    if not said:
        said.append(
            f"Nothing leaks: none of {len(slopes)} processes grows by {LIMIT_PERCENT:g} % an hour."
        )
    return said


def _passing(passing: Sequence[str]) -> list[str]:
    if not passing:
        return []
    return [f"Came or went meanwhile, and have no slope: {', '.join(passing)}."]


def _errors(errors: Mapping[str, int], scans: int) -> list[str]:
    if not errors:
        return [f"No error in {scans} scans."]
    reasons = "; ".join(f"{count} x {reason}" for reason, count in sorted(errors.items()))
    return [f"{sum(errors.values())} errors beside {scans} scans that were done: {reasons}."]


def in_words(one: Slope) -> str:
    """Return a slope with its uncertainty."""
    return f"{one.percent_per_hour:.2f} ± {one.uncertainty:.2f} % an hour"


def plot(
    samples: Sequence[Sample], rates: Sequence[float], window_s: float, warm_s: float, path: Path
) -> None:
    """Draw throughput, and the memory of every process in per cent of its mean after warm-up."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(10, 6.5), sharex=True, layout="constrained", height_ratios=(1, 2)
    )
    width = window_s / len(rates) / 60
    middles = [(number + 0.5) * width for number in range(len(rates))]
    upper.bar(middles, rates, 0.9 * width, color="#4878a8")
    upper.set(title="throughput", ylabel="scans/s")
    names = sorted({name for sample in samples for name in sample.mb})
    shown = [80.0, 110.0]  # a warm-up may leave the picture, what comes after it may not
    for name in names:
        seen = [(sample.at_s, sample.mb[name]) for sample in samples if name in sample.mb]
        settled = [mb for at_s, mb in seen if at_s >= warm_s] or [mb for _, mb in seen]
        mean_mb = sum(settled) / len(settled)
        shown += [100 * min(settled) / mean_mb, 100 * max(settled) / mean_mb]
        lower.plot(
            [at_s / 60 for at_s, _ in seen],
            [100 * mb / mean_mb for _, mb in seen],
            label=f"{name} ({mean_mb:.0f} MB)",
            linewidth=1,
        )
    lower.axvline(warm_s / 60, color="grey", linestyle=":")
    lower.set(
        title="resident memory, % of the mean after warm-up (dotted)",
        xlabel="minutes",
        ylabel="%",
        ylim=(min(shown), max(shown)),
    )
    lower.legend(ncols=2, fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)
