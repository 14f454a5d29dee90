"""Faults of a Redis that are found in its ``INFO``."""

from typing import Any

import pytest

from shared.queue.redis_check import check_redis, memory_share, server_words

#: The facts of a server that has all that the queue needs.
GOOD: dict[str, Any] = {
    "redis_version": "7.4.1",
    "maxmemory": 805306368,
    "maxmemory_policy": "noeviction",
    "used_memory": 1048576,
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "role": "master",
    "loading": 0,
    "cluster_enabled": 0,
}


def test_a_server_as_it_should_be_has_no_findings() -> None:
    """There is no finding for a server that has everything the queue needs."""
    assert check_redis(GOOD) == []


@pytest.mark.parametrize(
    ("facts", "code", "severity"),
    [
        ({"redis_version": "6.2.14"}, "redis-too-old", "error"),
        ({"cluster_enabled": 1}, "redis-cluster", "error"),
        ({"role": "slave"}, "redis-replica", "error"),
        ({"role": "replica"}, "redis-replica", "error"),
        ({"loading": 1}, "redis-loading", "error"),
        ({"maxmemory_policy": "allkeys-lru"}, "redis-evicts", "error"),
        ({"maxmemory_policy": "volatile-ttl"}, "redis-evicts", "error"),
        ({"maxmemory": 0}, "redis-unbounded", "warning"),
        ({"used_memory": 800000000}, "redis-nearly-full", "warning"),
        ({"used_memory": 805306368}, "redis-full", "error"),
        ({"aof_enabled": 0}, "redis-forgets", "warning"),
        ({"aof_last_write_status": "err"}, "redis-aof-fails", "error"),
        ({"aof_last_bgrewrite_status": "err"}, "redis-aof-grows", "warning"),
        ({"rdb_last_bgsave_status": "err"}, "redis-snapshot-fails", "warning"),
    ],
)
def test_each_fault_has_a_finding_of_its_own(
    facts: dict[str, Any], code: str, severity: str
) -> None:
    """One fault gives one finding, which says what is wrong and what to do."""
    (finding,) = check_redis({**GOOD, **facts})
    assert (finding.code, finding.severity) == (code, severity)
    assert finding.wrong.endswith(".")
    assert finding.todo.endswith(".")
    unusable = {"redis-too-old", "redis-cluster"}
    assert finding.unusable == (code in unusable)
    refusing = {"redis-replica", "redis-loading", "redis-full", "redis-aof-fails"}
    assert finding.refuses == (code in unusable | refusing)


def test_valkey_is_recognised_by_its_own_version() -> None:
    """Valkey reports an old version of Redis for compatibility, which is not a finding."""
    facts = {**GOOD, "redis_version": "6.0.0", "valkey_version": "9.1.2"}
    assert check_redis(facts) == []
    assert server_words(facts) == "Valkey 9.1.2"


def test_missing_facts_are_no_findings() -> None:
    """Facts that a managed server leaves out are not errors."""
    findings = check_redis({})
    assert {finding.severity for finding in findings} == {"warning"}
    assert (
        check_redis({**GOOD, "redis_version": "unstable", "maxmemory_policy": "noeviction"}) == []
    )
    assert memory_share({"maxmemory": "odd"}) is None


def test_the_worst_findings_come_first() -> None:
    """Findings that make the server unusable come first, then errors, then warnings."""
    facts = {**GOOD, "aof_enabled": 0, "maxmemory_policy": "allkeys-lru", "cluster_enabled": 1}
    codes = [finding.code for finding in check_redis(facts)]
    assert codes == ["redis-cluster", "redis-evicts", "redis-forgets"]
