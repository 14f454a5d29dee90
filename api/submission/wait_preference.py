"""How long a client is willing to wait: ``?wait=`` and the ``Prefer`` header (RFC 7240)."""

import math
from dataclasses import dataclass

from shared.errors import BadRequest


@dataclass(frozen=True)
class WaitPreference:
    """Seconds that an answer may be held, and the preference that was applied, if any."""

    wait_s: float
    applied: str | None

    @property
    def headers(self) -> dict[str, str]:
        """The ``Preference-Applied`` header, if a preference was applied."""
        return {"Preference-Applied": self.applied} if self.applied else {}


def read_wait_preference(
    wait: float | None, prefer: str | None, *, default_s: float, max_s: float
) -> WaitPreference:
    """Return the first that is given: ``?wait=``, ``Prefer: wait=N``, ``Prefer: respond-async``.

    Without any it is the default.

    Raises:
        BadRequest: A wait is not a number of seconds between 0 and ``max_s``.

    """
    if wait is not None:
        return WaitPreference(_bounded(wait, max_s), None)
    preferences = _preferences(prefer or "")
    if "wait" in preferences:
        return WaitPreference(_bounded(preferences["wait"], max_s), f"wait={preferences['wait']}")
    if "respond-async" in preferences:
        return WaitPreference(0.0, "respond-async")
    return WaitPreference(min(default_s, max_s), None)


def _preferences(header: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in header.split(","):
        name, _, value = item.split(";")[0].partition("=")
        # The first mention of a preference counts (RFC 7240, section 2).
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    return found


def _bounded(wait: str | float, max_s: float) -> float:
    try:
        seconds = float(wait)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= max_s:
        raise BadRequest(f"wait must be a number of seconds from 0 to {max_s:g}.")
    return seconds
