"""Several waits at once, whose answers come in order."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")

#: Waits under way at once; each holds a connection.
AT_ONCE = 8


def all_of(waits: Sequence[Callable[[], T]]) -> Iterator[T]:
    """Do all waits, several at once; yield what they return in their order, or raise what one does.

    They end with the process, so that whoever presses Ctrl-C need not wait for them.
    """
    todo: SimpleQueue[tuple[Callable[[], T], Future[T]]] = SimpleQueue()
    answers: list[Future[T]] = []
    for wait in waits:
        answers.append(Future())
        todo.put((wait, answers[-1]))

    def work() -> None:
        while True:
            try:
                wait, answer = todo.get_nowait()
            except Empty:
                return
            try:
                answer.set_result(wait())
            except BaseException as error:  # raised again where the answer is taken
                answer.set_exception(error)

    for _ in range(min(AT_ONCE, len(answers))):
        threading.Thread(target=work, daemon=True).start()
    for answer in answers:
        yield answer.result()
