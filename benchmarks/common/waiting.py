"""Waiting for a condition of another process, which sends no event."""

import time
from collections.abc import Callable


def wait_until(
    condition: Callable[[], bool], failure: str, *, bound_s: float, tick_s: float = 0.05
) -> float:
    """Return the seconds until ``condition`` was true.

    Args:
        condition: It is called every ``tick_s``.
        failure: What the error says, such as "the service did not become ready".
        bound_s: The longest wait.
        tick_s: The pause between two calls.

    Raises:
        TimeoutError: It was not true within ``bound_s``.
    """
    began_s = time.monotonic()
    while not condition():
        if time.monotonic() - began_s > bound_s:
            raise TimeoutError(failure)
        time.sleep(tick_s)
    return time.monotonic() - began_s
