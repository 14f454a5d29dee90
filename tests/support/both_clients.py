"""`Client` and `AsyncClient` behind one interface, so that each test runs with both."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from voxelq import AsyncClient, Client
from voxelq.async_job import AsyncJob, AsyncPrediction

#: Opens a client of either kind; takes the arguments of `Client`.
OpenClient = Callable[..., AbstractContextManager[Any]]


class _Awaited:
    """Calls an object of the asynchronous client like the blocking one."""

    def __init__(self, portal: BlockingPortal, target: Any) -> None:
        self.portal = portal
        self.target = target

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.target, name)
        if not callable(found):
            return self._wrapped(found)

        def call(*arguments: Any, **named: Any) -> Any:
            plain = [_plain(argument) for argument in arguments]
            result = found(*plain, **named)
            if inspect.isawaitable(result):
                result = self.portal.call(_awaited, result)
            return self._wrapped(result)

        return call

    def _wrapped(self, value: Any) -> Any:
        if isinstance(value, AsyncIterator):
            return self._iterate(value)
        if isinstance(value, AsyncJob | AsyncPrediction):
            return _Awaited(self.portal, value)
        return value

    def _iterate(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        while True:
            try:
                item = self.portal.call(_awaited, anext(items))
            except StopAsyncIteration:
                return
            yield self._wrapped(item)


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _plain(argument: Any) -> Any:
    if isinstance(argument, _Awaited):
        return argument.target
    return [_plain(item) for item in argument] if isinstance(argument, list) else argument


@contextmanager
def _open_async(*arguments: Any, **named: Any) -> Iterator[Any]:
    with start_blocking_portal() as portal:
        client = AsyncClient(*arguments, **named)
        yield _Awaited(portal, client)
        portal.call(client.aclose)


#: By name, for a parametrised fixture.
BOTH: dict[str, OpenClient] = {"Client": Client, "AsyncClient": _open_async}
