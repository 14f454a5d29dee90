"""The settings that compose.yaml passes on, and its limits, which must fit each other."""

import re
from pathlib import Path

import pytest

from shared.settings import Settings

COMPOSE = (Path(__file__).resolve().parents[2] / "compose.yaml").read_text(encoding="utf-8")
#: Settings that compose.yaml does not pass on, and why.
NOT_PASSED = {
    "scan_root": "names a folder of the machine, which no container sees unless it is mounted",
}


def section(name: str) -> str:
    """Return the lines of a service or of another block, by its name."""
    found = re.search(rf"^( *){name}:.*\n((?:\1 +.*\n|\n| *#.*\n)*)", COMPOSE, re.MULTILINE)
    assert found is not None
    return found.group(2)


def passed(block: str) -> set[str]:
    """Return the settings that a block passes to its container."""
    names = re.findall(r"^ +(?:VOXELQ_(\w+)|(REDIS_URL)):", block, re.MULTILINE)
    return {(own or redis).lower() for own, redis in names}


def test_every_setting_is_passed_on() -> None:
    """A setting that a user puts into .env reaches the containers."""
    reached = passed(section("x-settings")) | passed(section("worker"))
    assert set(Settings.model_fields) - reached == set(NOT_PASSED)
    assert reached <= set(Settings.model_fields)


def test_redis_is_bounded_under_its_container() -> None:
    """Redis refuses jobs before its container is killed, and evicts none."""
    redis = section("redis")
    bound = re.search(r"--maxmemory (\d+)mb", redis)
    limit = re.search(r"memory: (\d+)m", redis)
    assert bound is not None
    assert limit is not None
    assert int(bound.group(1)) * 2 <= int(limit.group(1))
    assert "--maxmemory-policy noeviction" in redis
    assert "--appendonly yes" in redis


def test_redis_is_reached_by_its_own_services_alone() -> None:
    """Redis has a password, no published port, and a network without a way out."""
    redis = section("redis")
    assert "ports:" not in redis
    assert "--requirepass" in redis
    assert "networks: [queue]" in redis
    assert re.search(r"^networks:\n  queue:\n    internal:.*true", COMPOSE, re.MULTILINE)
    assert "networks: [queue]" in section("worker")


@pytest.mark.parametrize(("service", "least_s"), [("worker", Settings().drain_s + 10), ("api", 20)])
def test_containers_may_drain_before_they_are_killed(service: str, least_s: float) -> None:
    """A stop period is longer than the process takes to give its active jobs back."""
    period = re.search(r"stop_grace_period: (?:\$\{\w+:-)?(\d+)s", section(service))
    assert period is not None
    assert int(period.group(1)) > least_s
