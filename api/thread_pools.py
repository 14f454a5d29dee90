"""Threads for calls that block on files, one pool for each kind of work.

A mount that hangs blocks the threads of the pool that uses it, and no other pool. Threads are
daemons, so that a call which never returns does not keep the process from exiting.
"""

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from shared.errors import StoreUnavailable

T = TypeVar("T")

#: The timeout of one call. The largest block of a gzip bomb takes seconds.
CALL_TIMEOUT_S = 60.0

_RETRY_AFTER_S = 10


class ThreadPool:
    """At most ``size`` threads, started when they are needed."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._calls = queue.SimpleQueue()
        self._threads = 0
        self._idle = threading.Semaphore(0)

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return what ``function`` returns.

        Raises:
            StoreUnavailable: It did not return in time; if it had not started, it never will.

        """
        return await _bounded(asyncio.wrap_future(self._submit(function, *arguments)))

    async def run_to_end(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return what ``function`` returns; it runs even if the caller is cancelled.

        Raises:
            StoreUnavailable: It did not return in time.

        """
        call = asyncio.wrap_future(self._submit(function, *arguments))
        return await _bounded(asyncio.shield(call))

    async def pieces(self, source: Iterator[T]) -> AsyncGenerator[T]:
        """Yield what a generator yields, which runs in the threads; raises as `run` does."""
        end: Any = object()
        try:
            while (piece := await self.run(next, source, end)) is not end:
                yield piece
        except BaseException:
            self._submit(_close, source)
            raise

    def close(self) -> None:
        """End the threads after the calls that are queued; does not wait for them."""
        for _ in range(self._threads):
            self._calls.put(None)

    def _submit(self, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        call: Future[T] = Future()
        self._calls.put((call, lambda: function(*arguments)))
        if not self._idle.acquire(blocking=False) and self._threads < self._size:
            self._threads += 1
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return call

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            call, function = item
            if call.set_running_or_notify_cancel():
                try:
                    call.set_result(function())
                except BaseException as error:  # the caller handles it
                    call.set_exception(error)
            del item, call, function
            self._idle.release()


@dataclass(frozen=True)
class ThreadPools:
    """The pools of one API process: for uploads, for files that clients read, for bundles."""

    uploads: ThreadPool = field(default_factory=lambda: ThreadPool("uploads", 16))
    files: ThreadPool = field(default_factory=lambda: ThreadPool("files", 16))
    models: ThreadPool = field(default_factory=lambda: ThreadPool("models", 4))

    @contextmanager
    def running(self) -> Iterator[None]:
        """End the threads of all pools when the block is left."""
        try:
            yield
        finally:
            for pool in (self.uploads, self.files, self.models):
                pool.close()


async def _bounded(call: "asyncio.Future[T]") -> T:
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            return await call
    except TimeoutError as error:  # also that of a network file system
        raise StoreUnavailable(
            "The files that this call needs could not be reached in time.",
            retry_after_s=_RETRY_AFTER_S,
        ) from error


def _close(source: Iterator[Any]) -> None:
    with suppress(OSError, ValueError):  # it may be running, and its file was only read
        source.close()  # type: ignore[attr-defined]
