"""Checks that Redis is configured as the queue needs it.

Only ``INFO`` is read, because a managed Redis often refuses ``CONFIG``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import structlog

log = structlog.get_logger()

#: The oldest Redis whose scripts can do what the queue's scripts do.
LEAST_VERSION = (7, 0)
#: The time between two checks of a server that the queue cannot use (seconds).
CHECK_AGAIN_S = 10.0
#: From this share of ``maxmemory`` on, the memory counts as nearly full.
NEARLY_FULL = 0.85

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One problem: what is wrong, what it means, and what to do about it.

    ``refuses`` means that Redis may refuse jobs meanwhile, ``unusable`` that the queue cannot work.
    """

    code: str
    severity: Severity
    wrong: str
    todo: str
    refuses: bool = False
    unusable: bool = False

    @property
    def words(self) -> str:
        """The whole finding in one paragraph."""
        return f"{self.wrong} {self.todo}"


#: The finding if the server does not let this user read ``INFO``.
UNKNOWN = Finding(
    "redis-unchecked",
    "warning",
    "This user may not call INFO, so it is unknown whether Redis keeps what it accepts.",
    "Allow it: ACL SETUSER <user> +info.",
)


def check_redis(info: Mapping[str, Any]) -> list[Finding]:
    """Return what is wrong with the server of this ``INFO``, the worst first."""
    found = [*_kind(info), *_role(info), *_memory(info), *_persistence(info)]
    return sorted(found, key=lambda finding: (not finding.unusable, finding.severity))


def server_words(info: Mapping[str, Any]) -> str:
    """Return the server's name and version."""
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info.get('redis_version', 'of unknown version')}"


def memory_share(info: Mapping[str, Any]) -> float | None:
    """Return which share of ``maxmemory`` is used; None without such a limit."""
    limit = _number(info, "maxmemory")
    return _number(info, "used_memory") / limit if limit else None


def log_findings(findings: Sequence[Finding]) -> None:
    """Log that the server was checked, and each finding."""
    log.info("redis_checked", codes=[finding.code for finding in findings])
    for finding in findings:
        write = log.error if finding.severity == "error" else log.warning
        write("redis_unfit", code=finding.code, wrong=finding.wrong, todo=finding.todo)


def _kind(info: Mapping[str, Any]) -> list[Finding]:
    found = []
    version = _version(str(info.get("redis_version", "")))
    if "valkey_version" not in info and version is not None and version < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        found.append(
            Finding(
                "redis-too-old",
                "error",
                f"{server_words(info)} is too old: the queue's scripts need {least}.",
                f"Install Redis {least} or later, or Valkey.",
                refuses=True,
                unusable=True,
            )
        )
    if _number(info, "cluster_enabled"):
        found.append(
            Finding(
                "redis-cluster",
                "error",
                "Redis runs in cluster mode, and the queue's scripts use keys of all slots.",
                "Use a single server, with replicas if you like (cluster-enabled no).",
                refuses=True,
                unusable=True,
            )
        )
    return found


def _role(info: Mapping[str, Any]) -> list[Finding]:
    found = []
    if info.get("role") in ("slave", "replica"):
        found.append(
            Finding(
                "redis-replica",
                "error",
                "This Redis is a replica, so nothing can be written to it.",
                "Set REDIS_URL to the primary, or to an address that always leads to the primary.",
                refuses=True,
            )
        )
    if _number(info, "loading"):
        found.append(
            Finding(
                "redis-loading",
                "error",
                "Redis is still loading its data and takes no commands yet.",
                "Wait until it has done so.",
                refuses=True,
            )
        )
    return found


def _memory(info: Mapping[str, Any]) -> list[Finding]:
    found = []
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        found.append(
            Finding(
                "redis-evicts",
                "error",
                f"The eviction policy is {policy}: when memory runs short, Redis deletes jobs.",
                "Set maxmemory-policy noeviction.",
            )
        )
    share = memory_share(info)
    if share is None:
        found.append(
            Finding(
                "redis-unbounded",
                "warning",
                "Redis has no maxmemory: it grows until the system kills it.",
                "Set maxmemory to no more than three quarters of the memory that it may use.",
            )
        )
    elif share >= NEARLY_FULL:
        full = share >= 1
        means = "no scan is accepted" if full else "when it is full, no scan is accepted"
        found.append(
            Finding(
                "redis-full" if full else "redis-nearly-full",
                "error" if full else "warning",
                f"Redis uses {share:.0%} of its maxmemory; {means}.",
                "Raise maxmemory, or lower VOXELQ_RETENTION_S, VOXELQ_MAX_KEPT_JOBS or "
                "VOXELQ_MAX_QUEUED.",
                refuses=full,
            )
        )
    return found


def _persistence(info: Mapping[str, Any]) -> list[Finding]:
    if not _number(info, "aof_enabled"):
        found = [
            Finding(
                "redis-forgets",
                "warning",
                "The append-only file is off: accepted jobs are lost when Redis dies.",
                "Set appendonly yes.",
            )
        ]
    elif info.get("aof_last_write_status", "ok") != "ok":
        found = [
            Finding(
                "redis-aof-fails",
                "error",
                "Redis cannot write its append-only file, and refuses to accept jobs.",
                "Check the free space and the permissions of its data folder.",
                refuses=True,
            )
        ]
    elif info.get("aof_last_bgrewrite_status", "ok") != "ok":
        found = [
            Finding(
                "redis-aof-grows",
                "warning",
                "Redis could not rewrite its append-only file, which grows without bound.",
                "Check the free space of its data folder, and vm.overcommit_memory (1).",
            )
        ]
    else:
        found = []
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        found.append(
            Finding(
                "redis-snapshot-fails",
                "warning",
                "The last snapshot of Redis failed; it may refuse to accept jobs for that reason.",
                'Check its data folder, or turn snapshots off (save ""): '
                "the append-only file is enough.",
            )
        )
    return found


def _version(text: str) -> tuple[int, int] | None:
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0]
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None


def _number(info: Mapping[str, Any], name: str) -> float:
    try:
        return float(info.get(name, 0))
    except (TypeError, ValueError):
        return 0.0
