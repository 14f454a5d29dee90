"""`voxelq doctor`: looks at all that the service leans on, each look bounded in time."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from voxelq.cli.http_client import DEFAULT_URL
from voxelq.doctor.finding import Diagnosis, Surroundings, problem
from voxelq.doctor.machine_checks import (
    look_at_disk,
    look_at_models,
    look_at_settings,
    look_at_store,
    look_at_versions,
)
from voxelq.doctor.redis_checks import (
    look_at_clock,
    look_at_dead_letters,
    look_at_redis,
    look_at_workers,
)
from voxelq.doctor.service_checks import look_at_api
from voxelq.local.settings import local_settings

#: A look that takes longer is given up, so that a hung mount cannot hang the doctor (seconds).
BOUND_S = 5.0

Look = Callable[[Surroundings], Sequence[Diagnosis]]

#: In the order of the report, after Redis.
LOOKS: tuple[tuple[str, Look], ...] = (
    ("clock", look_at_clock),
    ("store", look_at_store),
    ("disk", look_at_disk),
    ("models", look_at_models),
    ("workers", look_at_workers),
    ("set aside", look_at_dead_letters),
    ("API", look_at_api),
    ("settings", look_at_settings),
    ("versions", look_at_versions),
)
#: These have nothing to say where Redis does not answer.
NEED_REDIS = {"clock", "workers", "set aside"}


def examine(url: str | None, data_dir: Path) -> list[Diagnosis]:
    """Look at everything, and return what was found in the order of `LOOKS`."""
    try:
        settings = local_settings(data_dir)
    except ValidationError as error:
        return _unreadable(error)
    here = Surroundings(settings, (url or DEFAULT_URL).rstrip("/"))
    redis = _bounded("Redis", look_at_redis, here)
    answers = all(diagnosis.reached for diagnosis in redis)
    found = list(redis)
    for name, look in LOOKS:
        if answers or name not in NEED_REDIS:
            found += _bounded(name, look, here)
    return found


def _unreadable(error: ValidationError) -> list[Diagnosis]:
    return [
        problem(
            "settings",
            f"{'.'.join(map(str, fault['loc'])).upper()} cannot be used: {fault['msg']}.",
            "Correct it; nothing of VoxelQ starts with it.",
        )
        for fault in error.errors()
    ]


def _bounded(name: str, look: Look, here: Surroundings) -> list[Diagnosis]:
    """Run one look in a thread that is left behind if it does not end in time."""
    found: list[Diagnosis] = []
    ended = threading.Event()

    def run() -> None:
        try:
            found.extend(look(here))
        except Exception as error:  # whatever a look meets, the others are still made
            kind = type(error).__name__
            found.append(problem(name, f"It could not be looked at ({kind}).", "See what else is."))
        ended.set()

    threading.Thread(target=run, name=f"doctor: {name}", daemon=True).start()
    if ended.wait(BOUND_S):
        return found
    says = f"It did not answer within {BOUND_S:.0f} s."
    return [
        problem(
            name,
            says,
            "Something below it hangs: a network, a mount, or the server.",
            reached=False,
        )
    ]
