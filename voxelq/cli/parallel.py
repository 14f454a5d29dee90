"""Several blocking calls at once, whose results come in order."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")

#: Calls that run at once; each holds a connection.
CONCURRENT_CALLS = 8


def run_all(calls: Sequence[Callable[[], T]]) -> Iterator[T]:
    """Run all calls, several at once; yield their results in order, and raise what a call raises.

    The threads are daemons, so that Ctrl-C ends the process without waiting for them.
    """
    todo: SimpleQueue[tuple[Callable[[], T], Future[T]]] = SimpleQueue()
    futures: list[Future[T]] = []
    for call in calls:
        futures.append(Future())
        todo.put((call, futures[-1]))

    def work() -> None:
        while True:
            try:
                call, future = todo.get_nowait()
            except Empty:
                return
            try:
                future.set_result(call())
            except BaseException as error:  # raised again by the iterator below
                future.set_exception(error)

    for _ in range(min(CONCURRENT_CALLS, len(futures))):
        threading.Thread(target=work, daemon=True).start()
    for future in futures:
        yield future.result()
