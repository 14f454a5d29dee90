"""All of VoxelQ on one machine: an embedded Valkey, the API and N workers, as `voxelq up` runs.

Each part is a process in a session of its own, so that Ctrl-C reaches this one alone and the
stack drains in order: the API accepts no more scans, the workers finish their batches, the queue
closes last. No part outlives the stack, even if it is killed with SIGKILL.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from shared.settings import Settings
from voxelq.local.hang_watch import PROBE_S, HangWatch
from voxelq.local.process import Child, ChildSpec
from voxelq.local.valkey import EmbeddedServer

#: The longest that each part may take to drain (seconds); together they are below 30.
API_BOUND_S, WORKER_BOUND_S, SERVER_BOUND_S = 8.0, 16.0, 4.0
#: The time that a worker has to give back unfinished jobs before it is killed (seconds).
GIVE_BACK_S = 4.0
#: A worker that has served hangs once its heartbeat is missing for this many probes: a minute,
#: because an import or a load may delay the heartbeat thread.
MISSED_HEARTBEATS = 12
#: What a worker may need, besides `LOAD_TIMEOUT_S`, until its first heartbeat (seconds).
STARTING_S = 60.0
#: How often a stack that is not ready says why (seconds).
NOT_READY_EVERY_S = 10.0


@dataclass(frozen=True)
class StackPlan:
    """What to run and where; ``data_dir`` is absolute and keeps all state.

    ``settings`` are those that the parts will read.
    """

    host: str
    port: int
    workers: int
    data_dir: Path
    settings: Settings

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the service."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def logs(self) -> Path:
        """The folder of the parts' logs."""
        return self.data_dir / "logs"


class LocalStack:
    """Starts the parts, restarts those that end, and stops all of them.

    ``say`` is called with one line for each event that a user should know; ``on_ready`` is called
    once the service is ready. ``lock_fd`` is inherited by the server, so that the data folder stays
    locked for as long as a process may still write to it.
    """

    def __init__(
        self,
        plan: StackPlan,
        *,
        lock_fd: int,
        say: Callable[[str], None],
        on_ready: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._say = say
        self._on_ready = on_ready
        self._lock_fd = lock_fd
        self._stop = asyncio.Event()
        self._deaths: dict[str, int] = {}
        self._server: EmbeddedServer | None = None
        self._parts: list[list[Child]] = []

    async def run(self) -> None:
        """Run until SIGINT or SIGTERM.

        Parts that end are restarted without limit, because the cause may pass; until the service is
        ready, the cause is reported every `NOT_READY_EVERY_S`.

        Raises:
            OSError: The data folder cannot be written.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_stop_signal)
        server, api, workers = self._make_parts()
        self._parts = [server, api, workers]
        start_up = asyncio.create_task(self._start_up())
        watches = [asyncio.create_task(watch.run()) for watch in self._watches()]
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([start_up, stopping], return_when=asyncio.FIRST_COMPLETED)
            if start_up.done():
                start_up.result()
            await stopping
        finally:
            for task in (start_up, *watches):
                task.cancel()
            await self._drain(server, api, workers)

    def _make_parts(self) -> tuple[list[Child], list[Child], list[Child]]:
        plan = self._plan
        # safe path: Python must not import a folder named worker in the current directory
        env = {"PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"}
        plan.logs.mkdir(parents=True, exist_ok=True)
        if not os.environ.get("VOXELQ_STORE_URL"):
            env["VOXELQ_STORE_URL"] = f"file://{plan.data_dir / 'store'}"
        # a host name to listen on is one that clients will use
        allowed = [os.environ.get("VOXELQ_ALLOWED_HOSTS"), plan.host]
        env["VOXELQ_ALLOWED_HOSTS"] = ",".join(host for host in allowed if host)
        server = []
        if not os.environ.get("REDIS_URL"):
            self._server = EmbeddedServer(plan.data_dir / "redis")
            env["REDIS_URL"] = self._server.url
            command = self._server.prepare()
            server.append(self._child("redis", command, {}, pass_fds=(self._lock_fd,)))
        python = [sys.executable, "-m"]
        api = self._child(
            "api", [*python, "api", "--host", plan.host, "--port", str(plan.port)], env
        )
        threads = str(max(1, available_cores() // plan.workers))
        worker_env = {
            "VOXELQ_THREADS": os.environ.get("VOXELQ_THREADS") or threads,
            "VOXELQ_DRAIN_S": str(min(plan.settings.drain_s, WORKER_BOUND_S - GIVE_BACK_S)),
        }
        workers = [
            self._child(f"worker-{number}", [*python, "worker"], {**env, **worker_env})
            for number in range(1, plan.workers + 1)
        ]
        return server, [api], workers

    def _child(
        self, name: str, command: list[str], env: dict[str, str], pass_fds: tuple[int, ...] = ()
    ) -> Child:
        log = self._plan.logs / f"{name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        return Child(ChildSpec(name, command, log, env, pass_fds), self._on_death)

    def _watches(self) -> list[HangWatch]:
        """Return a hang watch for each part.

        A worker has its own watchdog while it loads and computes; this one finds a worker that
        hangs while it starts or is idle.
        """
        server, api, workers = self._parts
        watches = [HangWatch(child, self._api_answers, self._say) for child in api]
        if self._server is not None:
            watches += [HangWatch(child, self._server.responds, self._say) for child in server]
        loading_probes = round((self._plan.settings.load_timeout_s + STARTING_S) / PROBE_S)
        watches += [
            HangWatch(
                child,
                partial(self._worker_has_heartbeat, child),
                self._say,
                hung_misses=MISSED_HEARTBEATS,
                starting_misses=loading_probes,
            )
            for child in workers
        ]
        return watches

    async def _worker_has_heartbeat(self, child: Child) -> bool | None:
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=PROBE_S / 2) as http:
                answer = await http.get(f"{self._plan.url}/queue")
            # a worker's id is <host>-<process>-<random>
            return any(f"-{child.pid}-" in worker["id"] for worker in answer.json()["workers"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None  # without the API or Redis no heartbeat can be seen

    async def _api_answers(self) -> bool:
        async with httpx.AsyncClient(trust_env=False, timeout=None) as http:  # noqa: S113 - bounded by the probe
            try:
                answer = await http.get(f"{self._plan.url}/livez")
            except httpx.HTTPError:
                return False
        return not answer.is_server_error

    async def _start_up(self) -> None:
        server, api, workers = self._parts
        for child in server:
            child.start()
        if server:
            await self._until(self._why_no_queue)
        for child in [*api, *workers]:
            child.start()
        await self._until(self._why_not_ready)
        self._on_ready()

    async def _until(self, why_not: Callable[[], Awaitable[str | None]]) -> None:
        said_at = time.monotonic()
        while (reason := await why_not()) is not None:
            if time.monotonic() - said_at > NOT_READY_EVERY_S:
                said_at = time.monotonic()
                self._say(f"not ready yet: {' '.join([reason, *self._describe_deaths()])}")
            await asyncio.sleep(0.1)

    def _describe_deaths(self) -> list[str]:
        return [
            f"{name} ended {'once' if count == 1 else f'{count} times'}; "
            f"see {self._plan.logs / name}.log."
            for name, count in self._deaths.items()
        ]

    async def _why_no_queue(self) -> str | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PROBE_S):
                if self._server is None or await self._server.takes_commands():
                    return None
        return "the queue server does not answer, or still loads its data."

    async def _why_not_ready(self) -> str | None:
        """Return ``None`` once the service is ready, and until then the reason it gives."""
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=PROBE_S) as http:
                answer = await http.get(f"{self._plan.url}/readyz")
            if answer.status_code == httpx.codes.OK:
                return None
            return str(answer.json()["detail"])
        except (httpx.HTTPError, ValueError, KeyError):
            return "the API does not answer."

    async def _drain(self, server: list[Child], api: list[Child], workers: list[Child]) -> None:
        for children, bound_s in (
            (api, API_BOUND_S),
            (workers, WORKER_BOUND_S),
            (server, SERVER_BOUND_S),
        ):
            stopped = await asyncio.gather(*(child.stop(bound_s) for child in children))
            for child, in_time in zip(children, stopped, strict=True):
                if not in_time:
                    self._say(f"{child.name} did not end in {bound_s:.0f} s and was killed")

    def _on_stop_signal(self) -> None:
        if self._stop.is_set():
            self._say("stopping at once; started jobs go back to the queue")
            for child in [child for children in self._parts for child in children]:
                child.kill()
            return
        self._say("draining: started scans are finished first (once more: stop at once)")
        self._stop.set()

    def _on_death(self, child: Child, code: int, delay_s: float) -> None:
        ending = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended ({code})"
        self._say(f"{child.name} {ending}; starting it again in {delay_s:.1f} s; see {child.log}")
        self._deaths[child.name] = self._deaths.get(child.name, 0) + 1


def available_cores() -> int:
    """Return how many cores this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
