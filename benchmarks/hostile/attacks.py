"""The attacks: each sends hostile inputs of one kind and counts the responses."""

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import islice

from redis.asyncio import Redis

from benchmarks.hostile.bundles.generate import hostile_bundles
from benchmarks.hostile.inputs import RAW, REQUESTS, Hostile, scan
from benchmarks.hostile.records import damage, requests_for
from benchmarks.hostile.target import Target

#: Bundles that are in the folder of models at the same time.
_BUNDLES_AT_ONCE = 50
#: Requests that are under way at the same time.
_CLIENTS = 8

#: Sends so many inputs of one kind, and returns how many responses had each status.
Attack = Callable[[Target, random.Random, int], Awaitable[Counter[str]]]


def request_attack(kind: str) -> Attack:
    """Return an attack with requests of this kind."""

    async def attack(target: Target, rng: random.Random, count: int) -> Counter[str]:
        statuses: Counter[str] = Counter()
        inputs = islice(REQUESTS[kind](rng), count)

        async def client() -> None:
            for hostile in inputs:
                statuses[_status_name(await target.send(hostile))] += 1

        await asyncio.gather(*(client() for _ in range(_CLIENTS)))
        await target.purge()
        return statuses

    return attack


async def record_attack(target: Target, rng: random.Random, count: int) -> Counter[str]:
    """Damage the records of jobs, one after the other, and request each by several calls."""
    statuses: Counter[str] = Counter()
    async with Redis.from_url(target.redis_url) as redis:
        for _ in range(count):
            body, media = scan(rng), {"Content-Type": RAW}
            job_id = (await target.client.post("/jobs", content=body, headers=media)).json()["id"]
            await damage(redis, rng, job_id)
            for hostile in requests_for(rng, job_id):
                statuses[_status_name(await target.send(hostile))] += 1
    return statuses


async def bundle_attack(target: Target, rng: random.Random, count: int) -> Counter[str]:
    """Add hostile bundles, some at a time, list the models and submit a scan to each."""
    statuses: Counter[str] = Counter()
    models = target.folder / "models"
    for first in range(0, count, _BUNDLES_AT_ONCE):
        written = hostile_bundles(
            models, rng.randrange(2**32), min(_BUNDLES_AT_ONCE, count - first)
        )
        statuses[_status_name(await target.send(Hostile("GET", "/models")))] += 1
        for folder in written:
            submit = Hostile(
                path=f"/jobs?model={folder.parent.name}",
                headers={"Content-Type": RAW},
                body=scan(rng),
            )
            statuses[_status_name(await target.send(submit))] += 1
        await target.purge()
        shutil.rmtree(models, ignore_errors=True)
        models.mkdir(exist_ok=True)
    return statuses


#: Every attack by name, with its share of a run's inputs.
ATTACKS: dict[str, tuple[Attack, float]] = {
    **{kind: (request_attack(kind), 0.18) for kind in REQUESTS},
    "records": (record_attack, 0.05),
    "bundles": (bundle_attack, 0.05),
}


def _status_name(status: int | None) -> str:
    return "closed" if status is None else str(status)
