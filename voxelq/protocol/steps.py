"""The steps that a flow may ask for; the clients perform them, by blocking or by awaiting.

A flow is a generator. It yields steps, is sent what came of each, and returns its outcome.
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
    """Send a request; answered with the response, or with the error that came instead."""

    request: httpx.Request


@dataclass(frozen=True)
class Pause:
    """Let some time pass."""

    seconds: float


@dataclass(frozen=True)
class Tell:
    """Call the user's function."""

    on_progress: OnProgress
    state: JobState


@dataclass(frozen=True)
class Give:
    """Hand one item to the user, who iterates."""

    item: Any


Step: TypeAlias = Send | Pause | Tell | Give
Flow: TypeAlias = Generator[Step, Any, T]
