"""Hostile inputs against a running API: ``python -m benchmarks.hostile --count 10000 --seed 1``.

A real API process on loopback, with a Valkey of its own and no worker, is sent mutated scans,
gzips, forms, JSON, heads of HTTP, records of jobs and models. It is to answer each without an error
of its own (503 and 507 tell of its surroundings), stay alive within its memory, and keep nothing.
Ends with 1 if it does not. The same seed sends the same bytes.
"""

import argparse
import asyncio
import random
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import psutil
from redis.asyncio import Redis

from benchmarks.common.machine import RESULTS, write_json
from benchmarks.common.services import child, temporary_folder
from benchmarks.hostile.bundles import hostile_bundles
from benchmarks.hostile.inputs import RAW, REQUESTS, Hostile, scan
from benchmarks.hostile.records import asks, spoil
from benchmarks.queue import server
from voxelq.local.valkey import free_port

#: Bundles that lie in the models' folder together.
_BUNDLES_AT_ONCE = 50
#: Requests under way at once.
_CLIENTS = 8
#: What the API may take more of memory at its peak, and after all, than before (MiB).
MAX_PEAK_MB, MAX_LEFT_MB = 256.0, 96.0
#: What of the surroundings may be away or full, and is no fault of the API's.
_EXCUSED = frozenset({503, 507})
_TIMEOUT_S = 120.0
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


@dataclass
class Tally:
    """What came of a run; ``statuses`` by kind of input, `closed` where no answer came."""

    seed: int
    inputs: int = 0
    statuses: dict[str, dict[str, int]] = field(default_factory=dict)
    unexcused: list[str] = field(default_factory=list)
    alive: bool = False
    mb_before: float = 0.0
    mb_peak: float = 0.0
    mb_after: float = 0.0
    files_left: int = 0
    jobs_left: int = 0
    seconds: float = 0.0

    @property
    def faults(self) -> list[str]:
        """What should not be, in words."""
        said = [*self.unexcused]
        if not self.alive:
            said.append("The API process ended.")
        if self.mb_peak - self.mb_before > MAX_PEAK_MB:
            said.append(f"Memory rose by {self.mb_peak - self.mb_before:.0f} MiB at its peak.")
        if self.mb_after - self.mb_before > MAX_LEFT_MB:
            said.append(f"{self.mb_after - self.mb_before:.0f} MiB more memory are still taken.")
        if self.files_left or self.jobs_left:
            said.append(f"{self.files_left} files and {self.jobs_left} jobs were left.")
        return said


@dataclass(frozen=True)
class Target:
    """The API that is tried."""

    port: int
    process: psutil.Process
    folder: Path
    redis_url: str
    client: httpx.AsyncClient

    async def send(self, hostile: Hostile) -> int | None:
        """Send one request; return the status, or None where the connection was closed."""
        if hostile.raw is not None:
            return await self._send_raw(hostile.raw)
        pairs = hostile.headers.items()
        headers = [(name.encode(), value.encode("latin-1")) for name, value in pairs]
        try:
            answer = await self.client.request(
                hostile.method,
                hostile.path,
                headers=headers,
                content=hostile.body,
            )
        except httpx.TransportError:
            return None
        if answer.status_code == 500 and "job-unreadable" in answer.text:
            return None  # said in words of a record that this run spoiled itself
        return answer.status_code

    async def _send_raw(self, content: bytes) -> int | None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(content)
            writer.write_eof()
            async with asyncio.timeout(_TIMEOUT_S):
                found = _STATUS.match(await reader.read(64))
            return int(found[1]) if found else None
        except OSError:
            return None
        finally:
            writer.close()

    async def purge(self) -> None:
        """Cancel and purge the jobs that there are, each once: what then is left is a fault."""
        cursor = ""
        while True:
            page = (await self.client.get(f"/jobs?limit=200{cursor}")).json()
            for job_id in [job["id"] for job in page["jobs"]]:
                for _ in range(2):
                    await self.client.delete(f"/jobs/{job_id}")
            if page["next_cursor"] is None:
                return
            cursor = f"&cursor={page['next_cursor']}"

    async def jobs_left(self) -> int:
        """Count the jobs that there are."""
        return len((await self.client.get("/jobs")).json()["jobs"])

    def files_left(self) -> int:
        """Count the files of scans in the store, unpacked copies too; not the store's own."""
        store = self.folder / "store"
        return sum(path.is_file() and path.parent != store for path in store.rglob("*"))

    def mb(self) -> float:
        """What the API takes of memory."""
        return float(self.process.memory_info().rss) / 2**20

    def mb_peak(self) -> float:
        """The most that the API ever took of memory; where only that is known, what it takes."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return self.mb()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else self.mb()


#: Sends so many inputs of one kind, and tells what was answered to each.
Attack = Callable[[Target, random.Random, int], Awaitable[Counter[str]]]


def requests(kind: str) -> Attack:
    """Return the attack that sends requests of this kind."""

    async def attack(target: Target, rng: random.Random, count: int) -> Counter[str]:
        statuses: Counter[str] = Counter()
        coming = islice(REQUESTS[kind](rng), count)

        async def client() -> None:
            for hostile in coming:
                statuses[_named(await target.send(hostile))] += 1

        await asyncio.gather(*(client() for _ in range(_CLIENTS)))
        await target.purge()
        return statuses

    return attack


async def records(target: Target, rng: random.Random, count: int) -> Counter[str]:
    """Spoil the records of jobs, one after the other, and ask for each in every way."""
    statuses: Counter[str] = Counter()
    async with Redis.from_url(target.redis_url) as redis:
        for _ in range(count):
            body, media = scan(rng), {"Content-Type": RAW}
            job_id = (await target.client.post("/jobs", content=body, headers=media)).json()["id"]
            await spoil(redis, rng, job_id)
            for hostile in asks(rng, job_id):
                statuses[_named(await target.send(hostile))] += 1
    return statuses


async def bundles(target: Target, rng: random.Random, count: int) -> Counter[str]:
    """Lay bundles beside the bundled one, some at a time, list them and send each a scan."""
    statuses: Counter[str] = Counter()
    models = target.folder / "models"
    for first in range(0, count, _BUNDLES_AT_ONCE):
        written = hostile_bundles(
            models, rng.randrange(2**32), min(_BUNDLES_AT_ONCE, count - first)
        )
        statuses[_named(await target.send(Hostile("GET", "/models")))] += 1
        for folder in written:
            ask = Hostile(
                path=f"/jobs?model={folder.parent.name}",
                headers={"Content-Type": RAW},
                body=scan(rng),
            )
            statuses[_named(await target.send(ask))] += 1
        await target.purge()
        shutil.rmtree(models, ignore_errors=True)
        models.mkdir(exist_ok=True)
    return statuses


#: Every attack by name, with its share of a run's inputs.
ATTACKS: dict[str, tuple[Attack, float]] = {
    **{kind: (requests(kind), 0.18) for kind in REQUESTS},
    "records": (records, 0.05),
    "bundles": (bundles, 0.05),
}


@contextmanager
def api() -> Iterator[Target]:
    """Run an API of this run's own, without a worker."""
    with temporary_folder() as folder, server() as redis_url:
        port = free_port()
        (folder / "models").mkdir()
        settings = {
            "REDIS_URL": redis_url,
            "VOXELQ_STORE_URL": f"file://{folder}/store",
            "VOXELQ_SCAN_ROOT": str(folder / "models"),
            "VOXELQ_MODELS_DIR": str(folder / "models"),
        }
        with child(["-m", "api", "--port", str(port)], folder / "api.log", settings) as process:
            base = f"http://127.0.0.1:{port}"
            _await_alive(base)
            # tethered: the API is the tether's only child, or the process itself
            one = psutil.Process(process.pid)
            client = httpx.AsyncClient(base_url=base, timeout=_TIMEOUT_S, trust_env=False)
            yield Target(port, next(iter(one.children()), one), folder, redis_url, client)


async def attack(target: Target, count: int, seed: int, kinds: list[str]) -> Tally:
    """Send ``count`` inputs of these kinds, and say what came of them."""
    tally, began_at = Tally(seed), time.monotonic()
    async with target.client:
        for kind in kinds:  # imports, pools and caches that the first calls take
            await ATTACKS[kind][0](target, random.Random(seed - 1), 8)
        tally.mb_before = target.mb()
        shares = sum(ATTACKS[kind][1] for kind in kinds)
        for kind in kinds:
            send, share = ATTACKS[kind]
            sent = max(1, round(count * share / shares))
            statuses = await send(target, random.Random(f"{seed} {kind}"), sent)
            tally.inputs += sent
            tally.statuses[kind] = dict(sorted(statuses.items()))
            tally.unexcused += [
                f"{number} of the {kind} were answered {status}."
                for status, number in statuses.items()
                if status.startswith("5") and int(status) not in _EXCUSED
            ]
        await target.purge()
        tally.jobs_left = await target.jobs_left()
        tally.alive = (await target.client.get("/livez")).status_code == 200
    tally.files_left = target.files_left()
    tally.mb_peak, tally.mb_after = target.mb_peak(), target.mb()
    tally.seconds = time.monotonic() - began_at
    return tally


def table(tally: Tally) -> str:
    """Return the tally as Markdown."""
    rows = [
        f"| {kind} | {sum(statuses.values())} | "
        + ", ".join(f"{status}: {number}" for status, number in statuses.items())
        + " |"
        for kind, statuses in tally.statuses.items()
    ]
    return "\n".join(
        [
            f"# Hostile inputs: {tally.inputs}, seed {tally.seed}",
            "",
            "| kind | answers | by status |",
            "|---|---|---|",
            *rows,
            "",
            f"The API took {tally.mb_before:.0f} MiB before, {tally.mb_peak:.0f} at its peak "
            f"and {tally.mb_after:.0f} after; {tally.files_left} files and "
            f"{tally.jobs_left} jobs were left; {tally.seconds:.0f} s.",
            "",
            *(tally.faults or ["No fault."]),
            "",
        ]
    )


def main() -> None:
    """Run, write the numbers, and end with 1 where something was not borne."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=10_000, help="inputs in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=list(ATTACKS), default=list(ATTACKS))
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    with api() as target:
        tally = asyncio.run(attack(target, options.count, options.seed, options.kinds))
    numbers: dict[str, Any] = {**asdict(tally), "faults": tally.faults}
    write_json("hostile", numbers, options.output)
    (options.output / "hostile.md").write_text(table(tally))
    sys.stdout.write(table(tally))
    sys.exit(bool(tally.faults))


def _named(status: int | None) -> str:
    return "closed" if status is None else str(status)


def _await_alive(base: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{base}/livez", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError("the API did not come up")


if __name__ == "__main__":
    main()
