"""The numbers of a run of hostile inputs, and what is wrong with them."""

from dataclasses import dataclass, field

#: How much more memory the API may take at its peak, and after the run, than before it (MiB).
MAX_PEAK_MB, MAX_LEFT_MB = 256.0, 96.0


@dataclass
class Tally:
    """The numbers of a run.

    ``statuses`` counts HTTP statuses by kind of input; ``closed`` stands for a connection that was
    closed without a response. ``unexcused`` names the errors of the API itself.
    """

    seed: int
    inputs: int = 0
    statuses: dict[str, dict[str, int]] = field(default_factory=dict)
    unexcused: list[str] = field(default_factory=list)
    alive: bool = False
    mb_before: float = 0.0
    mb_peak: float = 0.0
    mb_after: float = 0.0
    files_left: int = 0
    jobs_left: int = 0
    seconds: float = 0.0

    @property
    def faults(self) -> list[str]:
        """Return what is wrong, in sentences."""
        faults = [*self.unexcused]
        if not self.alive:
            faults.append("The API process ended.")
        if self.mb_peak - self.mb_before > MAX_PEAK_MB:
            faults.append(f"Memory rose by {self.mb_peak - self.mb_before:.0f} MiB at its peak.")
        if self.mb_after - self.mb_before > MAX_LEFT_MB:
            faults.append(f"{self.mb_after - self.mb_before:.0f} MiB more memory are still in use.")
        if self.files_left or self.jobs_left:
            faults.append(f"{self.files_left} files and {self.jobs_left} jobs were left.")
        return faults


def markdown(tally: Tally) -> str:
    """Return the tally as Markdown."""
    rows = [
        f"| {kind} | {sum(statuses.values())} | "
        + ", ".join(f"{status}: {number}" for status, number in statuses.items())
        + " |"
        for kind, statuses in tally.statuses.items()
    ]
    return "\n".join(
        [
            f"# Hostile inputs: {tally.inputs}, seed {tally.seed}",
            "",
            "| kind | responses | by status |",
            "|---|---|---|",
            *rows,
            "",
            f"The API used {tally.mb_before:.0f} MiB before, {tally.mb_peak:.0f} at its peak "
            f"and {tally.mb_after:.0f} after; {tally.files_left} files and "
            f"{tally.jobs_left} jobs were left; {tally.seconds:.0f} s.",
            "",
            *(tally.faults or ["No fault."]),
            "",
        ]
    )
