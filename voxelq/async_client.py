"""The asynchronous client: `voxelq.client` for asyncio and trio, with the same flows."""

import inspect
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import httpx
from anyio import to_thread

from voxelq.async_job import AsyncJob, AsyncPrediction
from voxelq.protocol.flows import Flows
from voxelq.protocol.http_messages import HttpMessages
from voxelq.protocol.steps import Emit, Flow, OnProgress, Pause, ReportProgress, Send, Step
from voxelq.protocol.upload_body import UploadBody
from voxelq.records import JobPage, Model, Models, Queue
from voxelq.scans import Scan

T = TypeVar("T")


class AsyncClient:
    """One VoxelQ service, for asyncio and trio. Close it, or use it as a context manager.

    Arguments, calls, retries and errors are those of `voxelq.Client`; tasks may share it.

    Example:
        >>> from voxelq import AsyncClient
        >>> async with AsyncClient() as client:
        ...     prediction = await client.predict("scan.nii.gz")
        ...     await prediction.save_mask("mask.nii.gz")
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
        self._http = httpx.AsyncClient(trust_env=messages.trust_env)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Jobs go on without them."""
        await self._http.aclose()

    async def predict(
        self,
        scan: Scan,
        *,
        model: str | None = None,
        priority: str | None = None,
        wait_s: float | None = None,
        on_progress: OnProgress | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncPrediction:
        """Submit a scan, wait until its job has ended, and return what was found.

        As `voxelq.Client.predict`; ``on_progress`` may be a coroutine function too.
        """
        job = await self.submit(
            scan, model=model, priority=priority, idempotency_key=idempotency_key
        )
        return await job.wait(wait_s, on_progress)

    async def submit(
        self,
        scan: Scan,
        *,
        model: str | None = None,
        priority: str | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncJob:
        """Submit a scan and return its job at once; as `voxelq.Client.submit`."""
        body = await to_thread.run_sync(UploadBody, scan)
        state = await self._run(self._flows.submit(body, model, priority, idempotency_key))
        return AsyncJob(self, state)

    async def job(self, job_id: str) -> AsyncJob:
        """Return the job with this id; as `voxelq.Client.job`."""
        return AsyncJob(self, await self._run(self._flows.state(job_id)))

    async def jobs(
        self, status: str | None = None, limit: int | None = None
    ) -> AsyncIterator[AsyncJob]:
        """Iterate over the service's jobs, newest first; as `voxelq.Client.jobs`."""
        async for state in self._each(self._flows.jobs(status, limit)):
            yield AsyncJob(self, state)

    async def job_page(
        self, status: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> JobPage:
        """Return one page of the service's jobs; as `voxelq.Client.job_page`."""
        return await self._run(self._flows.job_page(status, limit, cursor))

    def as_completed(
        self, jobs: Iterable[AsyncJob], timeout_s: float | None = None
    ) -> AsyncIterator[AsyncJob]:
        """Yield each job once it has ended; as `voxelq.Client.as_completed`, for ``async for``."""
        return self._each(self._flows.as_completed(jobs, timeout_s))

    async def cancel(self, job_id: str) -> AsyncJob:
        """Cancel a job and return it; as `voxelq.Client.cancel`."""
        job = await self.job(job_id)
        await job.cancel()
        return job

    async def models(self) -> Models:
        """Return the models that are served, and those that are not and why."""
        return await self._run(self._flows.models())

    async def model(self, name: str) -> Model:
        """Return the model with this name; as `voxelq.Client.model`."""
        return await self._run(self._flows.model(name))

    async def queue(self) -> Queue:
        """Return the state of the queue: jobs, workers, seconds per scan, estimated wait."""
        return await self._run(self._flows.queue())

    async def ready(self) -> bool:
        """Return whether a scan submitted now would be served; False if nothing answers."""
        return await self._run(self._flows.ready())

    async def _run(self, flow: Flow[T]) -> T:
        """Run a flow and return its result."""
        answer: Any = None
        while True:
            try:
                step = flow.send(answer)
            except StopIteration as end:
                outcome: T = end.value
                return outcome
            answer = await self._perform(step)

    async def _each(self, flow: Flow[None]) -> AsyncIterator[Any]:
        """Run a flow and yield the items that it emits."""
        answer: Any = None
        while True:
            try:
                step = flow.send(answer)
            except StopIteration:
                return
            if isinstance(step, Emit):
                yield step.item
            answer = await self._perform(step)

    async def _perform(self, step: Step) -> httpx.Response | httpx.HTTPError | None:
        match step:
            case Send(request):
                try:
                    return await self._http.send(request)
                except httpx.HTTPError as error:
                    return error
            case Pause(seconds):
                await anyio.sleep(seconds)
            case ReportProgress(on_progress, state):
                result = on_progress(state)
                if inspect.isawaitable(result):
                    await result
        return None
