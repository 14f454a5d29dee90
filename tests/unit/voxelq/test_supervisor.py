"""The settings that the local stack passes to its parts."""

from pathlib import Path

import pytest

from shared.settings import Settings
from voxelq.local import supervisor
from voxelq.local.supervisor import LocalStack, StackPlan


def worker_environment(tmp_path: Path, drain_s: float, host: str = "127.0.0.1") -> dict[str, str]:
    """Return the environment variables of a worker of this plan."""
    plan = StackPlan(host, 8080, 2, tmp_path, Settings(drain_s=drain_s))
    stack = LocalStack(plan, lock_fd=0, say=lambda _: None, on_ready=lambda: None)
    _, _, workers = stack._make_parts()
    return workers[0]._spec.env


@pytest.mark.parametrize(("asked", "given"), [(5.0, 5.0), (600.0, 12.0)])
def test_workers_give_their_jobs_back_before_they_are_killed(
    tmp_path: Path, asked: float, given: float
) -> None:
    """With any drain time in the settings, the whole stack ends within 30 seconds."""
    assert float(worker_environment(tmp_path, asked)["VOXELQ_DRAIN_S"]) == given
    bounds = (supervisor.API_BOUND_S, supervisor.WORKER_BOUND_S, supervisor.SERVER_BOUND_S)
    assert sum(bounds) < 30


def test_a_name_that_the_service_listens_on_is_one_it_answers_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host name given with --host is allowed, besides those of the user's own setting."""
    monkeypatch.setenv("VOXELQ_ALLOWED_HOSTS", "scans.example")
    environment = worker_environment(tmp_path, 12.0, "reading-room.local")
    assert environment["VOXELQ_ALLOWED_HOSTS"] == "scans.example,reading-room.local"
