"""The blocking client: submit a scan, wait for it, read its result, fetch its mask."""

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from voxelq.job import Job, Prediction
from voxelq.protocol.flows import Flows
from voxelq.protocol.http_messages import HttpMessages
from voxelq.protocol.steps import Emit, Flow, OnProgress, Pause, ReportProgress, Send, Step
from voxelq.protocol.upload_body import UploadBody
from voxelq.records import JobPage, Model, Models, Queue
from voxelq.scans import Scan

T = TypeVar("T")


class Client:
    """One VoxelQ service. Close it, or use it as a context manager; threads may share it.

    A call that meets a broken connection, a full queue or a service that is away for a moment is
    retried, after as long as the service asks for (30 s at most). A retried submit makes no second
    job, because each submit has an idempotency key.

    Args:
        url: The service's address; by default ``VOXELQ_URL`` of the environment, and else
            ``http://127.0.0.1:8080``.
        key: Sent as ``X-API-Key``, for a proxy that asks for one; VoxelQ itself has no keys yet.
        timeout_s: How long the service may take to answer, besides the time it is asked to wait.
        retries: How often one call is retried before its error is raised.

    Every method raises errors of the tree in `voxelq.errors`: `ServiceUnreachable` without an
    answer, `RequestRefused` and its kinds when the service refuses the call.

    Example:
        >>> from voxelq import Client
        >>> with Client() as client:
        ...     prediction = client.predict("scan.nii.gz")
        ...     prediction.save_mask("mask.nii.gz")
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 5,
    ) -> None:
        messages = HttpMessages(url, key, timeout_s)
        self.url = messages.url
        self._flows = Flows(messages, retries)
        self._http = httpx.Client(trust_env=messages.trust_env)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Jobs go on without them."""
        self._http.close()

    def predict(
        self,
        scan: Scan,
        *,
        model: str | None = None,
        priority: str | None = None,
        wait_s: float | None = None,
        on_progress: OnProgress | None = None,
        idempotency_key: str | None = None,
    ) -> Prediction:
        """Submit a scan, block until its job has ended, and return what was found.

        Args:
            scan: A path to a NIfTI file (``.nii``, ``.nii.gz``), its bytes, a binary file open
                for reading, a nibabel image, or ``(array, affine)``: an array of shape (X, Y, Z)
                and the 4 x 4 affine from its indices to RAS+ millimetres. For a model of several
                channels a dict of these by the names of its inputs, which `model` returns.
            model: ``name`` or ``name@version``; by default the service's default model.
            priority: ``stat``, ``routine`` (the default) or ``bulk``.
            wait_s: How long to wait at most once the scan is submitted; None waits without end.
            on_progress: Called with a `JobState` on every change; see `Job.wait`.
            idempotency_key: A key of your own for this scan, so that another run of your program
                that submits it again gets the same job.

        Raises:
            BadScan: The scan cannot be used.
            BadRequest: A parameter is invalid.
            NotFound: There is no such model.
            JobFailed: The job failed.
            JobCanceled: The job was canceled.
            WaitTimeout: The wait is over; the job goes on, and the error has its id.
            OSError: A file cannot be read.
            PackageMissing: The scan is an array or image, and nibabel is not installed.
        """
        job = self.submit(scan, model=model, priority=priority, idempotency_key=idempotency_key)
        return job.wait(wait_s, on_progress)

    def submit(
        self,
        scan: Scan,
        *,
        model: str | None = None,
        priority: str | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Submit a scan and return its job at once; takes and raises what `predict` does."""
        body = UploadBody(scan)
        return Job(self, self._run(self._flows.submit(body, model, priority, idempotency_key)))

    def job(self, job_id: str) -> Job:
        """Return the job with this id.

        Raises:
            NotFound: There is none, or it was purged.
        """
        return Job(self, self._run(self._flows.state(job_id)))

    def jobs(self, status: str | None = None, limit: int | None = None) -> Iterator[Job]:
        """Iterate over the service's jobs, newest first; pages are fetched as you go.

        Args:
            status: Only jobs with this status.
            limit: How many at most; None for all.

        Raises:
            BadRequest: There is no such status.
        """
        for state in self._each(self._flows.jobs(status, limit)):
            yield Job(self, state)

    def job_page(
        self, status: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> JobPage:
        """Return one page of the service's jobs, newest first, for a program that shows pages.

        Args:
            status: Only jobs with this status.
            limit: How many at most; by default as many as the service puts on a page.
            cursor: ``next_cursor`` of the page before; None for the first page.

        Raises:
            BadRequest: A parameter is invalid.
        """
        return self._run(self._flows.job_page(status, limit, cursor))

    def as_completed(self, jobs: Iterable[Job], timeout_s: float | None = None) -> Iterator[Job]:
        """Yield each job once it has ended, over one connection however many there are.

        The jobs are of this client. A job that failed is yielded too; its `Job.wait` returns or
        raises at once.

        Raises:
            WaitTimeout: The time is over, and not all jobs have ended.
            NotFound: A job was purged.

        Example:
            >>> jobs = [client.submit(path) for path in paths]
            >>> for job in client.as_completed(jobs):
            ...     print(job.id, job.wait().present)
        """
        return self._each(self._flows.as_completed(jobs, timeout_s))

    def cancel(self, job_id: str) -> Job:
        """Cancel a job and return it; one that has ended already is left as it is.

        Raises:
            NotFound: There is no such job.
        """
        job = self.job(job_id)
        job.cancel()
        return job

    def models(self) -> Models:
        """Return the models that are served, and those that are not and why."""
        return self._run(self._flows.models())

    def model(self, name: str) -> Model:
        """Return the model with this ``name`` or ``name@version``.

        Raises:
            NotFound: There is no such model, or it is not served.
        """
        return self._run(self._flows.model(name))

    def queue(self) -> Queue:
        """Return the state of the queue: jobs, workers, seconds per scan, estimated wait."""
        return self._run(self._flows.queue())

    def ready(self) -> bool:
        """Return whether a scan submitted now would be served; False if nothing answers."""
        return self._run(self._flows.ready())

    def _run(self, flow: Flow[T]) -> T:
        """Run a flow and return its result."""
        answer: Any = None
        while True:
            try:
                step = flow.send(answer)
            except StopIteration as end:
                outcome: T = end.value
                return outcome
            answer = self._perform(step)

    def _each(self, flow: Flow[None]) -> Iterator[Any]:
        """Run a flow and yield the items that it emits."""
        answer: Any = None
        while True:
            try:
                step = flow.send(answer)
            except StopIteration:
                return
            if isinstance(step, Emit):
                yield step.item
            answer = self._perform(step)

    def _perform(self, step: Step) -> httpx.Response | httpx.HTTPError | None:
        match step:
            case Send(request):
                try:
                    return self._http.send(request)
                except httpx.HTTPError as error:
                    return error
            case Pause(seconds):
                time.sleep(seconds)
            case ReportProgress(on_progress, state):
                on_progress(state)
        return None


def as_completed(jobs: Iterable[Job], timeout_s: float | None = None) -> Iterator[Job]:
    """Yield each job once it has ended; as `Client.as_completed`, for the client of the jobs.

    Raises:
        ValueError: The jobs are of several clients.
        TypeError: They are of an `AsyncClient`, which has an ``as_completed`` of its own.
        WaitTimeout: The time is over, and not all jobs have ended.
    """
    listed = list(jobs)
    if not all(isinstance(job, Job) for job in listed):
        raise TypeError("These are not jobs of a Client; use AsyncClient.as_completed for its own.")
    clients = {job.client for job in listed}
    if len(clients) > 1:
        raise ValueError("The jobs are of several clients; wait for those of each apart.")
    return iter(()) if not clients else clients.pop().as_completed(listed, timeout_s)
