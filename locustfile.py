"""A clinic's traffic: ``locust --host http://127.0.0.1:8080``, with its page or ``--headless``.

Five kinds of users hand in scans of five shapes, read the answers, fetch the masks and purge what
they have read. Beside each call's own row there are rows of type JOB: time to result, from the
first byte sent to the mask in hand; time in queue, as the service tells it; and batch size, which
is in scans and not in ms. A job counts as a failure, with its reason, when it failed, when its mask
is missing or in another grid, and when it took longer than ``--wait-limit``.
"""

import random
import time
from typing import Any, NamedTuple

from locust import between, events, task
from locust.argument_parser import LocustArgumentParser
from locust.contrib.fasthttp import FastHttpUser
from locust.env import Environment

from benchmarks.common.clinic import SHAPES, Scan, clinic_scans, job_fault, mask_fault, refusal

TERMINAL = {"finished", "failed", "canceled"}
#: Pauses between two looks at a job (seconds): they grow from the first to the last.
FIRST_LOOK_S, LAST_LOOK_S = 0.1, 2.0
LONG_POLL_S = 20.0
#: How much later than promised an answer may come before the connection counts as dead.
MARGIN_S = 30.0
SERIES = 3

scans: list[Scan] = []


class Visit(NamedTuple):
    """A scan that was accepted: its job, and when it was begun to be handed in."""

    scan: Scan
    job: dict[str, Any]
    began_s: float

    @property
    def path(self) -> str:
        """Where the job is."""
        return f"/jobs/{self.job['id']}"


class JobFault(Exception):
    """A job did not come to what the clinic wanted of it; ``str`` is the reason."""

    def __repr__(self) -> str:
        return str(self)  # as locust's tables show it


def add_options(parser: LocustArgumentParser) -> None:
    """Add a clinic's own options to locust's."""
    parser.add_argument(
        "--wait-limit", type=float, default=120.0, help="Longest wait for a result in seconds."
    )
    parser.add_argument(
        "--shapes", choices=sorted(SHAPES), default="large", help="Scans of a clinic, or tiny ones."
    )


def load_scans(environment: Environment, **_: object) -> None:
    """Have the scans at hand before the first user comes."""
    scans[:] = clinic_scans(_options(environment).shapes)


events.init_command_line_parser.add_listener(add_options)
events.test_start.add_listener(load_scans)


class ClinicUser(FastHttpUser):
    """What all of them do: hand in, wait in their own way, and read what comes."""

    abstract = True
    wait_time = between(0.2, 1.0)

    def __init__(self, environment: Environment) -> None:
        self.wait_limit_s: float = _options(environment).wait_limit
        self.network_timeout = self.wait_limit_s + MARGIN_S
        super().__init__(environment)

    def submit_scan(self, path: str, name: str) -> Visit | None:
        """Send a scan drawn at random; return None if it was refused."""
        scan, began_s = random.choice(scans), time.perf_counter()
        answer = self.ask("POST", path, name, expect=(200, 202), body=scan.content)
        return None if answer is None else Visit(scan, answer.json(), began_s)

    def look(self, visit: Visit, wait_s: float = 0) -> Visit | None:
        """Return the visit with its job as it is now, or when it ends within ``wait_s``."""
        query, name = (f"?wait={wait_s:.3f}", "/jobs/{id}?wait=") if wait_s else ("", "/jobs/{id}")
        answer = self.ask("GET", visit.path + query, name)
        return None if answer is None else visit._replace(job=answer.json())

    def read(self, visit: Visit) -> None:
        """Take the result of a visit, fetch its mask, write its rows, and purge it."""
        if visit.job["status"] not in TERMINAL:
            self.settle(visit, f"no result within {self.wait_limit_s:g} s")
            self.purge(visit)  # cancels it: nobody waits for it any more
            return
        fault, size = job_fault(visit.job), 0
        if fault is None:
            mask = self.ask("GET", f"{visit.path}/mask", "/jobs/{id}/mask")
            size = len(mask.content) if mask else 0
            fault = mask_fault(mask.content if mask else b"", visit.scan.shape)
        self.settle(visit, fault, size)
        self.purge(visit)

    def settle(self, visit: Visit, fault: str | None, size: int = 0) -> None:
        """Write a job's rows."""
        taken_ms = 1000 * (time.perf_counter() - visit.began_s)
        self.row("time to result", taken_ms, size, fault)
        if fault is None:
            self.row("time in queue", 1000 * visit.job["timings_s"]["queue"])
            self.row("batch size (scans)", visit.job["batch"]["size"])

    def purge(self, visit: Visit) -> None:
        """Delete a job with its files, or cancel it if it is not terminal."""
        self.ask("DELETE", visit.path, "/jobs/{id}", expect=(204,))

    def ask(
        self,
        method: str,
        path: str,
        name: str,
        *,
        expect: tuple[int, ...] = (200,),
        body: bytes | None = None,
    ) -> Any:
        """Call the service; return its answer, or None if it is not an expected one."""
        with self.client.request(
            method,
            path,
            name=name,
            data=body,  # type: ignore[arg-type]  # it takes bytes as well
            headers={"Content-Type": "application/gzip"} if body else {},
            catch_response=True,
        ) as answer:
            if answer.status_code in expect:
                answer.success()
                return answer
            if answer.status_code == 0:
                answer.failure("no answer: the connection failed or was cut")
            else:
                answer.failure(refusal(answer.status_code, answer.content or b""))
            return None

    def row(self, name: str, value: float, size: int = 0, fault: str | None = None) -> None:
        """Write one observation of a job into locust's statistics."""
        self.environment.events.request.fire(
            request_type="JOB",
            name=name,
            response_time=value,
            response_length=size,
            exception=JobFault(fault) if fault else None,
            context={},
        )


class Polls(ClinicUser):
    """A viewer's plug-in: submits, and looks again and again until there is a result."""

    weight = 8

    @task
    def submit_and_poll(self) -> None:
        """Hand in one scan and poll its job."""
        visit, pause_s = self.submit_scan("/jobs", "/jobs"), FIRST_LOOK_S
        while visit and visit.job["status"] not in TERMINAL:
            if time.perf_counter() - visit.began_s > self.wait_limit_s:
                break
            time.sleep(pause_s)
            pause_s = min(1.5 * pause_s, LAST_LOOK_S)
            visit = self.look(visit)
        if visit:
            self.read(visit)


class Blocks(ClinicUser):
    """A script: one call, and the result is there."""

    weight = 6

    @task
    def predict(self) -> None:
        """Hand in one scan and block for its answer."""
        visit = self.submit_scan(f"/predict?wait={self.wait_limit_s:g}", "/predict")
        if visit:
            self.read(visit)


class Research(ClinicUser):
    """A research group: hands in series that may wait, and collects the masks."""

    weight = 3

    @task
    def submit_series(self) -> None:
        """Hand in some scans in bulk, then block for each in turn."""
        series = [self.submit_scan("/jobs?priority=bulk", "/jobs (bulk)") for _ in range(SERIES)]
        for visit in filter(None, series):
            waited = self.hold(visit)
            if waited:
                self.read(waited)

    def hold(self, visit: Visit) -> Visit | None:
        """Block on one job until it is terminal or the wait is over."""
        waited: Visit | None = visit
        while waited and waited.job["status"] not in TERMINAL:
            left_s = waited.began_s + self.wait_limit_s - time.perf_counter()
            if left_s <= 0:
                break
            waited = self.look(waited, min(LONG_POLL_S, left_s))
        return waited


class Emergency(ClinicUser):
    """Somebody waits at the scanner."""

    weight = 2

    @task
    def predict_stat(self) -> None:
        """Hand in one scan that goes before all others."""
        path = f"/predict?priority=stat&wait={self.wait_limit_s:g}"
        visit = self.submit_scan(path, "/predict (stat)")
        if visit:
            self.read(visit)


class Withdraws(ClinicUser):
    """The wrong patient: withdraws a scan soon after it was handed in."""

    weight = 1
    wait_time = between(3.0, 6.0)

    @task
    def submit_and_cancel(self) -> None:
        """Hand in one scan, cancel it, and see that it stays so."""
        visit = self.submit_scan("/jobs", "/jobs")
        if visit is None:
            return
        time.sleep(random.uniform(0, FIRST_LOOK_S))
        self.purge(visit)
        # gone altogether if it was finished by then
        after = self.ask("GET", visit.path, "/jobs/{id}", expect=(200, 404))
        if after is not None and after.status_code == 200:
            status = after.json()["status"]
            self.row("cancelled", 0.0, fault=None if status == "canceled" else f"still {status}")
            self.purge(visit)


def _options(environment: Environment) -> Any:
    """Return locust's options, which hold those of `add_options` too."""
    return environment.parsed_options
