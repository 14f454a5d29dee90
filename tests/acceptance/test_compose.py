"""A real `docker compose up --scale worker=3`, with a worker that is killed."""

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.scans import nifti, voxels
from voxelq import Client
from voxelq.local.valkey import free_port

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 3
#: Building without a cache takes minutes; no other step takes as long.
BOUND_S = 1200.0
SERVICES = ("redis", "api", "worker")

pytestmark = pytest.mark.timeout(2400)

#: Kills the worker from inside its container; Docker does not restart after `docker kill`.
KILL_WORKER = """
import os, pathlib, signal
for entry in pathlib.Path("/proc").iterdir():
    if entry.name.isdigit() and int(entry.name) not in (1, os.getpid()):
        words = (entry / "cmdline").read_bytes().split(b"\\0")
        if words[1:3] == [b"-m", b"worker"]:
            os.kill(int(entry.name), signal.SIGKILL)
"""


@dataclass(frozen=True)
class Project:
    """One running compose project."""

    name: str
    url: str
    env: dict[str, str]

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Run docker and return its output; a failure shows its standard error."""
        done = subprocess.run(
            ["docker", *arguments],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    def compose(self, *arguments: str) -> str:
        """Run docker compose on this project."""
        return self.docker("compose", "-p", self.name, *arguments)

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's running containers."""
        return self.compose("ps", "-q", service).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """Return Docker's description of a container."""
        facts: dict[str, Any] = json.loads(self.docker("inspect", container))[0]
        return facts

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Return once ``condition`` holds; fail with the services' logs after the timeout."""
        deadline = time.monotonic() + 180.0
        while not condition():
            if time.monotonic() > deadline:
                logs = self.compose("logs", "--tail", "20")
                raise AssertionError(f"it did not come about that {what}\n{logs[-6000:]}")
            time.sleep(0.2)

    def is_ready(self) -> bool:
        """Return whether the service answers and a worker listens."""
        try:
            answer = httpx.get(f"{self.url}/readyz", trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK

    def listening(self) -> set[str]:
        """Return the ids of the live workers."""
        with Client(self.url) as client:
            return {worker.id for worker in client.queue().workers}


def _engine_is_there() -> bool:
    if shutil.which("docker") is None:
        return False
    for question in (["docker", "info"], ["docker", "compose", "version"]):
        if subprocess.run(question, capture_output=True, check=False).returncode != 0:
            return False
    return True


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """The service of compose.yaml with three workers; it and its volumes are removed at the end."""
    if not _engine_is_there():
        words = "there is no container engine with Compose; ../shared/docker/engine brings one"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    name, port = f"voxelq-test-{uuid.uuid4().hex[:8]}", free_port()
    env = {key: value for key, value in os.environ.items() if not key.startswith("VOXELQ_")}
    env |= {
        "VOXELQ_PORT": str(port),
        "VOXELQ_LEASE_S": "3",
        "VOXELQ_API_IMAGE": f"{name}-api",
        "VOXELQ_WORKER_IMAGE": f"{name}-worker",
    }
    running = Project(name, f"http://127.0.0.1:{port}", env)
    try:
        running.compose("build")
        running.compose("up", "-d", "--scale", f"worker={WORKERS}")
        running.until(running.is_ready, "the service was ready")
        running.until(lambda: len(running.listening()) == WORKERS, "three workers listened")
        yield running
    finally:
        running.compose("down", "-v", "--remove-orphans", "--rmi", "local", "--timeout", "20")
        for image in (f"{name}-api", f"{name}-worker"):
            running.docker("image", "rm", "-f", image, check=False)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A small scan."""
    path = tmp_path / "scan.nii"
    path.write_bytes(nifti(voxels((32, 32, 32))))
    return path


def test_a_scan_goes_through_the_containers(project: Project, scan: Path, tmp_path: Path) -> None:
    """A scan submitted at the published port comes back as a mask, through the shared volume."""
    with Client(project.url) as client:
        client.predict(scan).save_mask(tmp_path / "mask.nii.gz")
    assert (tmp_path / "mask.nii.gz").stat().st_size > 0


def test_every_container_becomes_healthy(project: Project) -> None:
    """The health checks of all services pass."""
    for service in SERVICES:
        for container in project.containers(service):
            project.until(
                lambda container=container: (  # type: ignore[misc]
                    project.inspect(container)["State"]["Health"]["Status"] == "healthy"
                ),
                f"{service} was healthy",
            )


@pytest.mark.parametrize("service", SERVICES)
def test_containers_have_only_needed_rights(project: Project, service: str) -> None:
    """No service is root, has a writable root file system, has a capability, or lacks limits."""
    container = project.containers(service)[0]
    assert project.docker("exec", container, "id", "-u").strip() != "0"
    touch = "touch /etc/written /app/written /written 2>&1 && echo was written; true"
    assert "was written" not in project.docker("exec", container, "sh", "-c", touch)
    status = project.docker(
        "exec", container, "sh", "-c", "grep -E 'CapEff|NoNewPrivs' /proc/1/status"
    )
    assert dict(line.split(":\t") for line in status.splitlines()) == {
        "CapEff": "0" * 16,
        "NoNewPrivs": "1",
    }
    host = project.inspect(container)["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["Memory"] > 0
    assert host["NanoCpus"] > 0
    assert host["PidsLimit"] > 0


def test_redis_asks_for_a_password_and_is_on_a_network_of_its_own(project: Project) -> None:
    """Without the password Redis refuses commands, and its only network has no way out."""
    container = project.containers("redis")[0]
    refused = project.docker("exec", "-e", "REDISCLI_AUTH=", container, "redis-cli", "ping")
    assert "NOAUTH" in refused
    (network,) = project.inspect(container)["NetworkSettings"]["Networks"]
    assert json.loads(project.docker("network", "inspect", network))[0]["Internal"]


def test_the_service_finds_nothing_wrong_with_its_redis(project: Project) -> None:
    """The Redis of compose.yaml has all that the queue needs."""
    assert httpx.get(f"{project.url}/readyz", trust_env=False).json()["notes"] == []


def test_images_contain_only_what_they_run(project: Project) -> None:
    """No image holds a compiler or pip in its environment, and the API's holds no torch."""
    for service in ("api", "worker"):
        container = project.containers(service)[0]
        code = "import importlib.util as u; print([bool(u.find_spec(n)) for n in ('torch', 'pip')])"
        torch_there = service == "worker"
        found = project.docker("exec", container, "python", "-c", code).strip()
        assert found == str([torch_there, False])
        assert project.docker("exec", container, "which", "gcc", "cc", check=False) == ""


def test_a_killed_worker_costs_no_job_and_comes_back(project: Project, scan: Path) -> None:
    """A kill -9 of one worker under load: every job finishes, and its container starts again."""
    before = project.listening()
    victim = project.containers("worker")[0]
    with Client(project.url) as client:
        jobs = [client.submit(scan) for _ in range(12)]
        project.docker("exec", victim, "python", "-c", KILL_WORKER)
        assert {job.wait().job.status for job in jobs} == {"finished"}
    project.until(lambda: project.inspect(victim)["RestartCount"] >= 1, "it was started again")
    project.until(
        lambda: (
            len(project.listening() & before) == WORKERS - 1 and len(project.listening()) == WORKERS
        ),
        "a new worker took the place of the killed one",
    )


def test_accepted_jobs_survive_the_queue_server(project: Project, scan: Path) -> None:
    """After a kill -9 of Redis, its append-only file has every job, and all of them finish."""
    container = project.containers("redis")[0]
    with Client(project.url) as client:
        jobs = [client.submit(scan) for _ in range(3)]
        os.kill(project.inspect(container)["State"]["Pid"], 9)
        project.until(lambda: project.inspect(container)["RestartCount"] >= 1, "Redis came back")
        project.until(project.is_ready, "the service was ready again")
        assert {job.wait().job.status for job in jobs} == {"finished"}
