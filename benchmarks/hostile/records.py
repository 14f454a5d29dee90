"""Hostile records: the record of a job in Redis, damaged, and the calls that read it."""

import random
from collections.abc import Callable, Iterator

from redis.asyncio import Redis

from benchmarks.hostile.inputs import Hostile
from shared.queue import keys

_GARBAGE: tuple[Callable[[random.Random], bytes], ...] = (
    lambda rng: rng.randbytes(rng.randint(0, 200)),
    lambda rng: b"[" * rng.choice((10, 3000)),
    lambda rng: b'{"id": null}',
    lambda rng: b"nan",
    lambda rng: b"-1e400",
    lambda rng: b"hovering",
    lambda rng: b"\xff\xfe",
    lambda rng: b"9" * 400,
    lambda rng: b"",
)


async def damage(redis: Redis, rng: random.Random, job_id: str) -> None:
    """Overwrite, add or remove some fields of the job's hash."""
    key = keys.RQ_JOB + job_id
    fields = list(await redis.hkeys(key)) or [b"status"]
    for _ in range(rng.randint(1, 4)):
        name = rng.choice((*fields, b"voxelq_submission", b"status", b"voxelq_of_another_version"))
        if rng.random() < 0.2:
            await redis.hdel(key, name)
        else:
            await redis.hset(key, name, rng.choice(_GARBAGE)(rng))


def requests_for(rng: random.Random, job_id: str) -> Iterator[Hostile]:
    """Yield requests that read the record, and at the end two that purge it."""
    paths = ("/jobs", f"/jobs/{job_id}", f"/jobs/{job_id}?wait=0.01", f"/jobs/{job_id}/scan",
             f"/jobs/{job_id}/mask", "/queue", "/metrics", "/livez")  # fmt: skip
    for path in rng.sample(paths, 4):
        yield Hostile("GET", path)
    for _ in range(2):
        yield Hostile("DELETE", f"/jobs/{job_id}")
