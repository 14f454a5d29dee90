"""What a soak showed, in words and as a plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.soak.memory import LIMIT_PERCENT, Sample, Slope, Stretch


def sentences(
    slopes: Mapping[str, Slope], passing: Sequence[str], errors: Mapping[str, int], scans: int
) -> list[str]:
    """Return what leaks, what came or went, and what failed."""
    return [*_leaks(slopes), *_passing(passing), *_errors(errors, scans)]


def _leaks(slopes: Mapping[str, Slope]) -> list[str]:
    said = []
    for name, one in slopes.items():
        if one.conclusion == "grows":
            said.append(
                f"{name} leaks, or had not settled after the warm-up: it grows by "
                f"{in_words(one)}, {one.mb_per_hour:.1f} MB of {one.mean_mb:.0f}."
            )
    unclear = [
        f"{name} ({in_words(one)})" for name, one in slopes.items() if one.conclusion == "unclear"
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
    stretches: Sequence[Stretch],
    samples: Sequence[Sample],
    slopes: Mapping[str, Slope],
    warm_s: float,
    path: Path,
) -> None:
    """Draw throughput, memory over time, and what is held at rest, in MB since the warm-up."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (rates, held, kept) = plt.subplots(
        3, 1, figsize=(10, 9), sharex=True, layout="constrained", height_ratios=(1, 2, 2)
    )
    for one in stretches:
        rate, middle = one.scans / one.seconds, (one.began_s + one.ended_s) / 120
        rates.bar(middle, rate, one.seconds / 60, color="#4878a8")
    rates.set(title="throughput between rests", ylabel="scans/s")
    after = [one for one in stretches if one.began_s >= warm_s]
    for name, one_slope in slopes.items():
        at_rest_mb = after[0].at_rest_mb[name]
        held.plot(
            [sample.at_s / 60 for sample in samples],
            [sample.mb.get(name, float("nan")) for sample in samples],
            label=f"{name}: {one_slope.mean_mb:.0f} MB under load, {at_rest_mb:.0f} at rest",
            linewidth=1,
        )
        kept.plot(
            [one.ended_s / 60 for one in after],
            [one.at_rest_mb[name] - at_rest_mb for one in after],
            marker="o",
            markersize=3,
        )
    held.set(title="resident memory", ylabel="MB", yscale="log")
    kept.set(title="held at rest, since the warm-up (dotted)", xlabel="minutes", ylabel="MB more")
    for panel in (rates, held):
        panel.axvline(warm_s / 60, color="grey", linestyle=":")
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)
