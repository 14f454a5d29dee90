"""`voxelq doctor` with each fault injected: its report and its exit codes."""

import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from shared.queue import keys
from shared.settings import Settings
from shared.storage.identity import FILE_NAME
from tests.conftest import Valkey
from tests.support.api_server import ApiServer
from tests.support.command_line import Run
from tests.support.scripted_worker import ScriptedWorker
from tests.support.tiny_service import problem as refusal
from tests.support.tiny_service import serving
from voxelq.doctor import examination
from voxelq.doctor.diagnosis import CheckContext, Diagnosis
from voxelq.doctor.examination import examine
from voxelq.local.valkey import free_port
from worker.queueing.connection import connect
from worker.queueing.leases import Leases, WorkerFacts


@pytest.fixture(autouse=True)
def environment(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """Set the environment of this test's service, in a working directory of its own."""
    for name in [name for name in os.environ if name.startswith("VOXELQ_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("REDIS_URL", settings.redis_url)
    monkeypatch.setenv("VOXELQ_STORE_URL", settings.store_url)
    monkeypatch.setenv("VOXELQ_MODELS_DIR", str(settings.models_dir))
    monkeypatch.setenv("VOXELQ_DEFAULT_MODEL", settings.default_model)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").mkdir(exist_ok=True)
    return monkeypatch


@pytest.fixture
def nowhere() -> str:
    """A URL without an API."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def doctor(nowhere: str) -> "Examined":
    """Run the doctor while only the API is away."""
    return Examined(nowhere)


class Examined:
    """Runs the doctor and selects its diagnoses of one part."""

    def __init__(self, url: str) -> None:
        self._url = url

    def at(self, what: str) -> list[Diagnosis]:
        """Return the diagnoses of one part."""
        return [found for found in examine(self._url, Path("voxelq-data")) if found.what == what]

    def trouble(self, what: str) -> Diagnosis:
        """Return the one diagnosis that reports a fault of ``what``."""
        (found,) = [found for found in self.at(what) if found.state != "ok"]
        assert found.todo
        return found


@pytest.fixture
def weak_server(valkey: Valkey) -> Iterator[redis.Redis]:
    """A client that may change the server's settings, which are restored at the end."""
    with redis.Redis.from_url(valkey.url) as server:
        before = server.config_get("*")
        yield server
        for name in ("maxmemory", "maxmemory-policy"):
            server.config_set(name, before[name])


def test_a_healthy_service(
    server: ApiServer, scripted_worker: ScriptedWorker, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every check runs and passes, and the exit code is 0; --json says the same."""
    scripted_worker.sign_on()
    assert run("doctor", "--url", server.url) == 0
    words = capsys.readouterr().out
    assert "problem" not in words
    assert "warning" not in words
    assert run("doctor", "--url", server.url, "--json") == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    expected = {"Redis", "clock", "store", "disk", "models", "workers", "set aside", "API"}
    assert {check["what"] for check in checks} == expected | {"settings", "versions"}
    assert {check["state"] for check in checks} == {"ok"}


def test_exit_codes(
    server: ApiServer, nowhere: str, run: Run, environment: pytest.MonkeyPatch
) -> None:
    """A problem is 1; without Redis and the API it is 3; without one of them it is 1."""
    assert run("doctor", "--url", server.url) == 1  # no worker
    assert run("doctor", "--url", nowhere) == 1
    environment.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    assert run("doctor", "--url", server.url) == 1
    assert run("doctor", "--url", nowhere) == 3


def test_the_password_is_never_shown(
    valkey: Valkey, nowhere: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report can be sent to others: it names where Redis is and not its password."""
    run("doctor", "--url", nowhere, "--json")
    output = capsys.readouterr().out
    assert valkey.url.rpartition("@")[2].partition("/")[0] in output
    assert valkey.url.partition("@")[0].rpartition(":")[2] not in output


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://127.0.0.1:1/0", "does not answer"),
        ("http://127.0.0.1/", "not an address"),
        ("redis://127.0.0.1:notaport/0", "not an address"),
    ],
)
def test_no_redis(doctor: Examined, environment: pytest.MonkeyPatch, url: str, words: str) -> None:
    """A Redis that is away and a malformed address are reported; the other checks still run."""
    environment.setenv("REDIS_URL", url)
    assert words in doctor.trouble("Redis").says
    assert doctor.at("workers") == []
    assert doctor.at("models")[0].state == "ok"


def test_a_wrong_password(
    doctor: Examined, environment: pytest.MonkeyPatch, valkey: Valkey
) -> None:
    """A Redis that refuses the password is not reported as away."""
    environment.setenv("REDIS_URL", "redis://:wrong@" + valkey.url.rpartition("@")[2])
    assert "password" in doctor.trouble("Redis").says


@pytest.mark.parametrize(
    ("setting", "value", "state", "words"),
    [
        ("maxmemory-policy", "allkeys-lru", "problem", "deletes jobs"),
        ("maxmemory", "0", "warning", "no maxmemory"),
        ("maxmemory", "100mb", "ok", ""),
    ],
)
def test_wrong_settings_of_redis(
    doctor: Examined, weak_server: redis.Redis, setting: str, value: str, state: str, words: str
) -> None:
    """Settings of Redis that the queue cannot use are reported."""
    weak_server.config_set(setting, value)
    if state == "ok":
        assert "of its maxmemory" in doctor.at("Redis")[0].says
    else:
        found = doctor.trouble("Redis")
        assert found.state == state
        assert words in found.says


def test_a_clock_that_differs(doctor: Examined, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clocks more than a second apart are reported with the direction and the difference."""
    behind = time.time
    monkeypatch.setattr("voxelq.doctor.redis_checks.time.time", lambda: behind() - 90)
    assert "90.0 s behind" in doctor.trouble("clock").says


def test_no_worker(doctor: Examined) -> None:
    """A queue without a worker computes nothing."""
    assert doctor.trouble("workers").state == "problem"


def test_paused_and_silent_workers(doctor: Examined, settings: Settings, valkey: Valkey) -> None:
    """A paused worker is reported with its reason, and a silent one by its name."""
    facts = WorkerFacts("w1", "cpu", "test-model@1.0.0")
    with connect(settings) as client:
        Leases(client, "w1", settings).extend([], replace(facts, paused="The store is away."))
        (all_paused, paused) = doctor.at("workers")
        assert (all_paused.state, paused.state) == ("problem", "warning")
        assert "The store is away." in paused.says
        Leases(client, "w2", settings).extend([], replace(facts, id="w2"))
        client.zadd("voxelq:workers", {"w3": time.time() - 60})
    serving_, paused, silent = doctor.at("workers")
    assert [serving_.state, paused.state, silent.state] == ["ok", "warning", "warning"]
    assert "w3" in silent.says


def test_workers_of_another_version(doctor: Examined, settings: Settings) -> None:
    """A worker of another version is reported, as during a rolling upgrade."""
    with connect(settings) as client:
        facts = WorkerFacts("w1", "cpu", "test-model@1.0.0")
        Leases(client, "w1", settings).extend([], facts)
        assert [diagnosis.state for diagnosis in doctor.at("workers")] == ["ok"]
        Leases(client, "w1", settings).extend([], replace(facts, version="0.0.9"))
    assert "0.0.9" in doctor.trouble("workers").says


def test_jobs_set_aside(doctor: Examined, valkey: Valkey) -> None:
    """Jobs that no worker could read are counted."""
    assert doctor.at("set aside")[0].state == "ok"
    with redis.Redis.from_url(valkey.url) as server:
        server.zadd(keys.DEAD_LETTERS, {"01J": 1.0, "01K": 2.0})
    assert ": 2." in doctor.trouble("set aside").says


def test_a_store_that_is_not_there(doctor: Examined, tmp_path: Path, valkey: Valkey) -> None:
    """A store that is not mounted is a problem, and the doctor does not create it."""
    (tmp_path / "store").rmdir()
    assert doctor.at("store")[0].state == "ok"  # no scan has come to this queue yet
    with redis.Redis.from_url(valkey.url) as server:
        server.zadd("voxelq:jobs", {"01J": 1.0})
    assert "no folder" in doctor.trouble("store").says
    assert not (tmp_path / "store").exists()


def test_a_store_that_cannot_be_written(doctor: Examined, environment: pytest.MonkeyPatch) -> None:
    """A store that takes no file is a problem."""
    environment.setenv("VOXELQ_STORE_URL", "file:///proc/self")
    assert "cannot be written" in doctor.trouble("store").says


def test_a_store_given_by_a_relative_path(
    doctor: Examined, environment: pytest.MonkeyPatch
) -> None:
    """A relative path means another folder in each part's working directory."""
    environment.setenv("VOXELQ_STORE_URL", "file://./store")
    assert "relative" in doctor.trouble("store").says


def test_the_store_of_another_queue(doctor: Examined, valkey: Valkey, tmp_path: Path) -> None:
    """A store whose id is not the one in Redis is another queue's; the doctor leaves no file."""
    id_file = tmp_path / "store" / FILE_NAME
    id_file.write_text('{"store": "one"}')
    with redis.Redis.from_url(valkey.url) as server:
        server.set(keys.STORE, "one")
        assert doctor.at("store")[0].state == "ok"
        server.set(keys.STORE, "two")
    assert "another queue" in doctor.trouble("store").says
    assert list((tmp_path / "store").rglob("*.*")) == [id_file]


@pytest.mark.parametrize(("used", "state"), [(0.95, "warning"), (0.99, "problem"), (0.1, "ok")])
def test_a_disk_that_fills_up(
    doctor: Examined, monkeypatch: pytest.MonkeyPatch, used: float, state: str
) -> None:
    """Free space below the reserve is a problem, and near it a warning."""
    total = 20 << 30
    taken = type("Usage", (), {"total": total, "free": int(total * (1 - used))})
    monkeypatch.setattr("voxelq.doctor.machine_checks.shutil.disk_usage", lambda _: taken)
    (found,) = doctor.at("disk")
    assert found.state == state


def test_models_that_are_broken_or_gone(
    doctor: Examined, environment: pytest.MonkeyPatch, models_dir: Path
) -> None:
    """A broken bundle is a warning with its reason, and no default model a problem."""
    metadata = models_dir / "other" / "1.0.0" / "configs" / "metadata.json"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("{")
    assert "other" in doctor.trouble("models").says
    environment.setenv("VOXELQ_DEFAULT_MODEL", "no-such-model")
    assert [found.state for found in doctor.at("models")] == ["problem", "warning"]


def test_variables_that_are_no_settings(doctor: Examined, environment: pytest.MonkeyPatch) -> None:
    """A mistyped variable is found, with what may be meant."""
    environment.setenv("VOXELQ_URL", "http://127.0.0.1:1")
    assert doctor.at("settings")[0].state == "ok"
    environment.setenv("VOXELQ_MAX_QUEUE", "3")
    assert "VOXELQ_MAX_QUEUED" in doctor.trouble("settings").todo
    environment.delenv("VOXELQ_MAX_QUEUE")
    environment.setenv("VOXELQ_REDIS_URL", "redis://elsewhere")
    assert "no prefix" in doctor.trouble("settings").todo


def test_a_setting_that_cannot_be_read(doctor: Examined, environment: pytest.MonkeyPatch) -> None:
    """A setting that keeps every part from starting is named, and nothing else is checked."""
    environment.setenv("VOXELQ_MAX_QUEUED", "many")
    assert "MAX_QUEUED" in doctor.trouble("settings").says


def test_problems_and_notes_of_the_api(
    nowhere: str, server: ApiServer, settings: Settings, weak_server: redis.Redis
) -> None:
    """An API that is away, not ready, or ready with notes is reported in its own words."""
    assert "Nothing answers" in Examined(nowhere).trouble("API").says
    assert "No worker is listening" in Examined(server.url).trouble("API").says
    with connect(settings) as client_:
        facts = WorkerFacts("w1", "cpu", "test-model@1.0.0")
        Leases(client_, "w1", settings).extend([], facts)
    weak_server.config_set("maxmemory", 0)
    assert "no maxmemory" in Examined(server.url).trouble("API").says
    assert Examined("ftp://x").trouble("API").state == "problem"
    with serving() as other:
        other.on("GET", "/livez", 421, refusal(421, "This is another host."))
        other.on("GET", "/readyz", 421, refusal(421, "This is another host."))
        assert "This is another host." in Examined(other.url).trouble("API").says


def test_a_check_that_hangs_is_abandoned(doctor: Examined, environment: pytest.MonkeyPatch) -> None:
    """A Redis that accepts connections and never responds does not block the doctor."""
    environment.setattr(examination, "CHECK_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment.setenv("REDIS_URL", f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        assert "did not answer within" in doctor.trouble("Redis").says


def test_a_check_that_fails_leaves_the_others(
    doctor: Examined, environment: pytest.MonkeyPatch
) -> None:
    """An unexpected error is reported for its own check, by its kind."""

    def broken(_: CheckContext) -> Any:
        raise RuntimeError("Jane Doe")

    environment.setattr(examination, "CHECKS", (("disk", broken), *examination.CHECKS))
    assert "RuntimeError" in doctor.trouble("disk").says
    assert doctor.at("versions")[0].says.startswith("Python")


def test_the_data_folder_of_a_local_stack_is_found(
    doctor: Examined, environment: pytest.MonkeyPatch, valkey: Valkey, tmp_path: Path
) -> None:
    """Without REDIS_URL the queue server of a `voxelq up` in this directory is checked."""
    environment.delenv("REDIS_URL")
    environment.delenv("VOXELQ_STORE_URL")
    (tmp_path / "voxelq-data" / "redis").mkdir(parents=True)
    (tmp_path / "voxelq-data" / "store").mkdir()
    (tmp_path / "voxelq-data" / "redis" / "url").write_text(valkey.url + "\n")
    assert doctor.at("Redis")[0].state == "ok"
    assert doctor.at("store")[0].state == "ok"
