"""Faults: contexts in which something is wrong with a running service, and after which it is not.

An injector is given the service, the jobs of its clients and the target that a stage of life
yielded. What has no end, such as a SIGKILL, is over as soon as it has happened.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

from benchmarks.faults.jobs import Jobs
from benchmarks.faults.service import FaultedService
from benchmarks.faults.stages import Target

Injector = Callable[[FaultedService, Jobs, Target], AbstractContextManager[None]]
