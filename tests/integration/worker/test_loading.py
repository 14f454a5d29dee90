"""Worker processes that are stopped, or can load no model, before they serve."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from shared.queue import keys
from shared.queue.job_queue import JobQueue
from shared.settings import Settings
from tests.support.bundles import write_empty_weights, write_tiny_bundle
from tests.support.worker_process import environment
from worker.models.trial import survives_loading

#: Far above the time of any step, so that no test fails on a slow machine.
BOUND_S = 60.0

#: A worker whose bundle never finishes loading, partly in native code.
SLOW = """
import time
import worker.models.cache
from pathlib import Path

def load(*_):
    Path({marker!r}).touch()
    time.sleep(1000)

worker.models.cache.load_predictor = load
from worker.__main__ import main
raise SystemExit(main())
"""


@pytest.fixture
def settings(settings: Settings, models_dir: Path) -> Settings:
    """Settings whose default and only model is the tiny bundle."""
    write_tiny_bundle(models_dir)
    return settings.model_copy(update={"default_model": "tiny"})


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    """A client of this test's server."""
    with Redis.from_url(settings.redis_url) as opened:
        yield opened


@contextmanager
def running(
    settings: Settings, log: Path, *code: str, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker that logs to ``log``, and kill it at the end."""
    command = [sys.executable, *(code or ("-m", "worker"))]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment(settings) | more, stderr=file)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(condition: Callable[[], object], what: str) -> None:
    """Return once ``condition`` holds."""
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline, f"it did not come about that {what}"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_stopped_while_it_loads_exits_cleanly(
    settings: Settings, redis: Redis, tmp_path: Path, number: signal.Signals
) -> None:
    """It exits with 0 within seconds, and no death is counted against the bundle."""
    marker = tmp_path / "loading"
    with running(settings, tmp_path / "log", "-c", SLOW.format(marker=str(marker))) as process:
        until(marker.exists, "the worker was loading")
        assert redis.hlen(keys.LOADING) == 1
        process.send_signal(number)
        assert process.wait(10) == 0
    assert redis.keys("voxelq:loading*") == []
    assert "worker_stopped_while_loading" in (tmp_path / "log").read_text()


def test_a_worker_that_is_killed_while_it_loads_is_counted(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    """A load over its time limit ends its worker, and the watchdog counts the death."""
    marker = tmp_path / "loading"
    code = SLOW.format(marker=str(marker))
    with running(settings, tmp_path / "log", "-c", code, VOXELQ_LOAD_TIMEOUT_S="2") as process:
        until(marker.exists, "the worker was loading")
        assert process.wait(BOUND_S) == -signal.SIGKILL
    until(lambda: redis.keys(keys.LOADING_DEATHS + "*"), "the watchdog reported the death")
    assert redis.hlen(keys.LOADING) == 0


async def test_a_worker_that_can_load_nothing_stays_and_says_why(
    settings: Settings, models_dir: Path, tmp_path: Path, queue: JobQueue
) -> None:
    """A worker that can load no model neither serves nor ends; once one is repaired it serves."""
    weights = models_dir / "tiny" / "1.0.0" / "models" / "model.pt"
    whole = weights.read_bytes()
    write_empty_weights(weights.parents[1])
    no_bundled = (
        "import pathlib, shared.settings as s; s.BUNDLED_MODELS = pathlib.Path('/nowhere');"
        "from worker.__main__ import main; raise SystemExit(main())"
    )
    with running(settings, tmp_path / "log", "-c", no_bundled) as process:
        deadline = time.monotonic() + BOUND_S
        while not (paused := [one.paused for one in (await queue.state()).workers]):
            assert time.monotonic() < deadline
            assert process.poll() is None
        assert "tiny@1.0.0" in str(paused[0])
        weights.write_bytes(whole)
        while None not in [one.paused for one in (await queue.state()).workers]:
            assert time.monotonic() < deadline
            assert process.poll() is None
        process.terminate()
        assert process.wait(BOUND_S) == 0


@pytest.mark.parametrize(
    ("program", "survived"),
    [
        ("import os; os.kill(os.getpid(), 11)", False),
        ("import time; time.sleep(1000)", False),
        ("raise SystemExit(1)", True),
    ],
)
def test_a_bundle_that_crashes_its_process_ends_only_its_trial(
    monkeypatch: pytest.MonkeyPatch, program: str, survived: bool
) -> None:
    """A trial distinguishes a crash from an error, and is bounded in time."""
    popen = subprocess.Popen

    def started(_: list[str], **more: Any) -> Any:
        return popen([sys.executable, "-c", program], **more)

    monkeypatch.setattr("worker.models.trial.subprocess.Popen", started)
    assert survives_loading(Path("bundle"), timeout_s=5) is survived


def test_a_bundle_that_loads_survives_its_trial(tmp_path: Path) -> None:
    """A real trial of a complete and of an incomplete bundle ends by itself."""
    folder = write_tiny_bundle(tmp_path)
    assert survives_loading(folder, timeout_s=BOUND_S)
    write_empty_weights(folder)
    assert survives_loading(folder, timeout_s=BOUND_S)
