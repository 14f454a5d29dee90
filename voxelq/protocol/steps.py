"""The steps of a flow, which the clients perform by blocking or by awaiting.

A flow is a generator. It yields steps, is sent the result of each, and returns its own result.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import httpx

from voxelq.records import JobState

T = TypeVar("T")
OnProgress: TypeAlias = Callable[[JobState], object]


@dataclass(frozen=True)
class Send:
    """Send a request; the result is the response, or the error of the connection."""

    request: httpx.Request


@dataclass(frozen=True)
class Pause:
    """Wait for some time."""

    seconds: float


@dataclass(frozen=True)
class ReportProgress:
    """Call the user's progress callback."""

    on_progress: OnProgress
    state: JobState


@dataclass(frozen=True)
class Emit:
    """Yield one item to the user, who iterates."""

    item: Any


Step: TypeAlias = Send | Pause | ReportProgress | Emit
Flow: TypeAlias = Generator[Step, Any, T]
