"""Faults, as contexts: on entry something breaks in a running service, on exit it is repaired.

An injector gets the service, the jobs of its clients and the target of a stage. A fault without a
duration, such as a SIGKILL, happens on entry.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

from benchmarks.faults.jobs import Jobs
from benchmarks.faults.service import FaultedService
from benchmarks.faults.stages import Target

Injector = Callable[[FaultedService, Jobs, Target], AbstractContextManager[None]]
