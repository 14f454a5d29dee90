"""Services that rows of the table share, and the table of results."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.faults.assembly import faulted_service
from benchmarks.faults.clock import FaketimeMissing
from benchmarks.faults.disks import MountNotPermitted
from benchmarks.faults.report import markdown
from benchmarks.faults.rows import Trial
from benchmarks.faults.service import FaultedService, Kind

#: The environment variable with the file that the results of the rows are written to.
OUTPUT = "VOXELQ_FAULTS_JSON"
_TRIALS: list[Trial] = []


class SharedService:
    """One service at a time, used while rows of its kind come and the invariants hold."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._stack = ExitStack()
        self._service: FaultedService | None = None

    def of(self, kind: Kind) -> FaultedService:
        """Return a service of this kind; skip the test if this machine cannot run one."""
        if self._service is None or self._service.kind != kind:
            self.end()
            folder = self._folders.mktemp("faults")
            try:
                self._service = self._stack.enter_context(faulted_service(folder, kind))
            except (MountNotPermitted, FaketimeMissing) as error:
                if os.environ.get("CI") == "true":
                    raise
                pytest.skip(str(error))
        return self._service

    def end(self) -> None:
        """Stop the service; raises if one of its processes is still running."""
        self._service = None
        stack, self._stack = self._stack, ExitStack()
        stack.close()


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedService]:
    """The service that rows share."""
    shared = SharedService(tmp_path_factory)
    yield shared
    shared.end()


@pytest.fixture(scope="session")
def trials() -> list[Trial]:
    """The results of the rows, for the table at the end."""
    return _TRIALS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of faults, and write it where the environment says."""
    if not _TRIALS:
        return
    facts = [trial.facts() for trial in _TRIALS]
    terminalreporter.section("seconds until ready again")
    terminalreporter.write_line(markdown(facts))
    if path := os.environ.get(OUTPUT):
        Path(path).write_text(json.dumps({"rows": facts}, indent=2) + "\n")
