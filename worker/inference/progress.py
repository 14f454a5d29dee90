"""How a forward pass reports the progress of one scan."""

from collections.abc import Callable

#: Called with the share of one scan's windows that is done, above 0 and up to 1.
OnProgress = Callable[[float], None]


def ignore_progress(_: float) -> None:
    """Do nothing: the progress callback of scans that no client follows."""
