"""A clinic's traffic: ``locust --host http://127.0.0.1:8080``, with its page or ``--headless``.

Five kinds of users submit scans of five shapes, read the results, fetch the masks and purge the
jobs. Beside the row of each call there are rows of type JOB: time to result, from the first byte of
the scan to the last of the mask; time in queue, as the service reports it; and batch size, in scans
instead of ms. A job counts as a failure, with its reason, if it failed, if its mask is missing or
in another grid, and if it took longer than ``--wait-limit``.
"""

import random
import time
from typing import Any, NamedTuple

from locust import between, events, task
from locust.argument_parser import LocustArgumentParser
from locust.contrib.fasthttp import FastHttpUser
from locust.env import Environment

from benchmarks.common.clinic import (
    GZIP,
    SHAPES,
    TERMINAL,
    Scan,
    clinic_scans,
    job_fault,
    mask_fault,
    refusal,
)

#: Pauses between two polls of a job (seconds): they grow from the first to the last.
FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 2.0
LONG_POLL_S = 20.0
#: How much longer than the wait a response may take before the connection counts as dead.
MARGIN_S = 30.0
SERIES = 3

scans: list[Scan] = []


class SubmittedScan(NamedTuple):
    """A scan that was accepted, its job, and when its submit began."""

    scan: Scan
    job: dict[str, Any]
    began_s: float

    @property
    def path(self) -> str:
        """The path of the job."""
        return f"/jobs/{self.job['id']}"


class JobFault(Exception):
    """A job has no valid result; ``str`` is the reason."""

    def __repr__(self) -> str:
        return str(self)  # locust's tables show the `repr`


def add_options(parser: LocustArgumentParser) -> None:
    """Add the options of this file to locust's."""
    parser.add_argument(
        "--wait-limit", type=float, default=120.0, help="Longest wait for a result in seconds."
    )
    parser.add_argument(
        "--shapes", choices=sorted(SHAPES), default="large", help="Scans of a clinic, or tiny ones."
    )


def load_scans(environment: Environment, **_: object) -> None:
    """Read the scans before the first user starts."""
    scans[:] = clinic_scans(_options(environment).shapes)


events.init_command_line_parser.add_listener(add_options)
events.test_start.add_listener(load_scans)


class ClinicUser(FastHttpUser):
    """What all users do: submit, wait, and read the result."""

    abstract = True
    wait_time = between(0.2, 1.0)

    def __init__(self, environment: Environment) -> None:
        self.wait_limit_s: float = _options(environment).wait_limit
        self.network_timeout = self.wait_limit_s + MARGIN_S
        super().__init__(environment)

    def submit_scan(self, path: str, name: str) -> SubmittedScan | None:
        """Submit a scan drawn at random; return None if it was refused."""
        scan, began_s = random.choice(scans), time.perf_counter()
        response = self.call("POST", path, name, expect=(200, 202), body=scan.content)
        return None if response is None else SubmittedScan(scan, response.json(), began_s)

    def poll(self, submitted: SubmittedScan, wait_s: float = 0) -> SubmittedScan | None:
        """Return it with its job as it is now, or as it is once it ends within ``wait_s``."""
        query, name = (f"?wait={wait_s:.3f}", "/jobs/{id}?wait=") if wait_s else ("", "/jobs/{id}")
        response = self.call("GET", submitted.path + query, name)
        return None if response is None else submitted._replace(job=response.json())

    def read(self, submitted: SubmittedScan) -> None:
        """Check the result of a scan, fetch its mask, write its rows, and purge its job."""
        if submitted.job["status"] not in TERMINAL:
            self.write_rows(submitted, f"no result within {self.wait_limit_s:g} s")
            self.purge(submitted)  # cancels it
            return
        fault, size = job_fault(submitted.job), 0
        if fault is None:
            mask = self.call("GET", f"{submitted.path}/mask", "/jobs/{id}/mask")
            size = len(mask.content) if mask else 0
            fault = mask_fault(mask.content if mask else b"", submitted.scan.shape)
        self.write_rows(submitted, fault, size)
        self.purge(submitted)

    def write_rows(self, submitted: SubmittedScan, fault: str | None, size: int = 0) -> None:
        """Write a job's rows."""
        taken_ms = 1000 * (time.perf_counter() - submitted.began_s)
        self.row("time to result", taken_ms, size, fault)
        if fault is None:
            self.row("time in queue", 1000 * submitted.job["timings_s"]["queue"])
            self.row("batch size (scans)", submitted.job["batch"]["size"])

    def purge(self, submitted: SubmittedScan) -> None:
        """Delete a job with its files, or cancel it if it is not terminal."""
        self.call("DELETE", submitted.path, "/jobs/{id}", expect=(204,))

    def call(
        self,
        method: str,
        path: str,
        name: str,
        *,
        expect: tuple[int, ...] = (200,),
        body: bytes | None = None,
    ) -> Any:
        """Call the service; return the response, or None if its status is not an expected one."""
        with self.client.request(
            method,
            path,
            name=name,
            data=body,  # type: ignore[arg-type]  # bytes are accepted too
            headers=GZIP if body else {},
            catch_response=True,
        ) as response:
            if response.status_code in expect:
                response.success()
                return response
            if response.status_code == 0:
                response.failure("no response: the connection failed or ended early")
            else:
                response.failure(refusal(response.status_code, response.content or b""))
            return None

    def row(self, name: str, value: float, size: int = 0, fault: str | None = None) -> None:
        """Add one value of a job to locust's statistics."""
        self.environment.events.request.fire(
            request_type="JOB",
            name=name,
            response_time=value,
            response_length=size,
            exception=JobFault(fault) if fault else None,
            context={},
        )


class Polls(ClinicUser):
    """A viewer's plug-in: submits, and polls until there is a result."""

    weight = 8

    @task
    def submit_and_poll(self) -> None:
        """Submit one scan and poll its job."""
        submitted, pause_s = self.submit_scan("/jobs", "/jobs"), FIRST_PAUSE_S
        while submitted and submitted.job["status"] not in TERMINAL:
            if time.perf_counter() - submitted.began_s > self.wait_limit_s:
                break
            time.sleep(pause_s)
            pause_s = min(1.5 * pause_s, LAST_PAUSE_S)
            submitted = self.poll(submitted)
        if submitted:
            self.read(submitted)


class Blocks(ClinicUser):
    """A script: one call returns the result."""

    weight = 6

    @task
    def predict(self) -> None:
        """Submit one scan and block for its result."""
        submitted = self.submit_scan(f"/predict?wait={self.wait_limit_s:g}", "/predict")
        if submitted:
            self.read(submitted)


class Research(ClinicUser):
    """A research group: submits series that are not urgent, and collects the masks."""

    weight = 3

    @task
    def submit_series(self) -> None:
        """Submit some scans with priority ``bulk``, then block for each in turn."""
        series = [self.submit_scan("/jobs?priority=bulk", "/jobs (bulk)") for _ in range(SERIES)]
        for submitted in filter(None, series):
            waited = self.wait_for(submitted)
            if waited:
                self.read(waited)

    def wait_for(self, submitted: SubmittedScan) -> SubmittedScan | None:
        """Block on one job until it is terminal or the wait limit is reached."""
        waited: SubmittedScan | None = submitted
        while waited and waited.job["status"] not in TERMINAL:
            left_s = waited.began_s + self.wait_limit_s - time.perf_counter()
            if left_s <= 0:
                break
            waited = self.poll(waited, min(LONG_POLL_S, left_s))
        return waited


class Emergency(ClinicUser):
    """An emergency: the patient is still in the scanner."""

    weight = 2

    @task
    def predict_stat(self) -> None:
        """Submit one scan with the highest priority."""
        path = f"/predict?priority=stat&wait={self.wait_limit_s:g}"
        submitted = self.submit_scan(path, "/predict (stat)")
        if submitted:
            self.read(submitted)


class Withdraws(ClinicUser):
    """The wrong patient: cancels a scan soon after it was submitted."""

    weight = 1
    wait_time = between(3.0, 6.0)

    @task
    def submit_and_cancel(self) -> None:
        """Submit one scan, cancel it, and check that it stays canceled."""
        submitted = self.submit_scan("/jobs", "/jobs")
        if submitted is None:
            return
        time.sleep(random.uniform(0, FIRST_PAUSE_S))
        self.purge(submitted)
        # 404: the job had finished already, so it was purged
        after = self.call("GET", submitted.path, "/jobs/{id}", expect=(200, 404))
        if after is not None and after.status_code == 200:
            status = after.json()["status"]
            self.row("cancelled", 0.0, fault=None if status == "canceled" else f"still {status}")
            self.purge(submitted)


def _options(environment: Environment) -> Any:
    """Return locust's options, including those of `add_options`."""
    return environment.parsed_options
