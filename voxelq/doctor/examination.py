"""Runs all checks of `voxelq doctor`, each with a time limit."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from voxelq.doctor.diagnosis import CheckContext, Diagnosis, problem
from voxelq.doctor.machine_checks import (
    check_disk,
    check_models,
    check_settings,
    check_store,
    check_versions,
)
from voxelq.doctor.redis_checks import (
    check_clock,
    check_dead_letters,
    check_redis_server,
    check_workers,
)
from voxelq.doctor.service_checks import check_api
from voxelq.local.settings import local_settings
from voxelq.protocol.http_messages import DEFAULT_URL

#: A check that takes longer is abandoned, so that a hung mount cannot hang the command (seconds).
CHECK_TIMEOUT_S = 5.0

Check = Callable[[CheckContext], Sequence[Diagnosis]]

#: In the order of the report, after Redis.
CHECKS: tuple[tuple[str, Check], ...] = (
    ("clock", check_clock),
    ("store", check_store),
    ("disk", check_disk),
    ("models", check_models),
    ("workers", check_workers),
    ("set aside", check_dead_letters),
    ("API", check_api),
    ("settings", check_settings),
    ("versions", check_versions),
)
#: Checks that need an answer from Redis.
NEED_REDIS = {"clock", "workers", "set aside"}


def examine(url: str | None, data_dir: Path) -> list[Diagnosis]:
    """Run all checks, and return their results in the order of `CHECKS`."""
    try:
        settings = local_settings(data_dir)
    except ValidationError as error:
        return _unreadable(error)
    context = CheckContext(settings, (url or DEFAULT_URL).rstrip("/"))
    diagnoses = _run_check("Redis", check_redis_server, context)
    redis_answers = all(diagnosis.reached for diagnosis in diagnoses)
    for name, check in CHECKS:
        if redis_answers or name not in NEED_REDIS:
            diagnoses += _run_check(name, check, context)
    return diagnoses


def _unreadable(error: ValidationError) -> list[Diagnosis]:
    return [
        problem(
            "settings",
            f"{'.'.join(map(str, fault['loc'])).upper()} cannot be used: {fault['msg']}.",
            "Correct it; nothing of VoxelQ starts with it.",
        )
        for fault in error.errors()
    ]


def _run_check(name: str, check: Check, context: CheckContext) -> list[Diagnosis]:
    """Run one check in a thread, which is left running if it does not end in time."""
    diagnoses: list[Diagnosis] = []
    ended = threading.Event()

    def run() -> None:
        try:
            diagnoses.extend(check(context))
        except Exception as error:  # the other checks must still run
            says = f"It could not be checked ({type(error).__name__})."
            diagnoses.append(problem(name, says, "See the other checks."))
        ended.set()

    threading.Thread(target=run, name=f"doctor: {name}", daemon=True).start()
    if ended.wait(CHECK_TIMEOUT_S):
        return diagnoses
    says = f"It did not answer within {CHECK_TIMEOUT_S:.0f} s."
    todo = "Something that it needs hangs: a network, a mount, or the server."
    return [problem(name, says, todo, reached=False)]
