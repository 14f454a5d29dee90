"""Clients of a Redis that may be demoted to a replica while they are connected to it.

After a failover the address leads to the new primary, but an open connection still leads to the
old one, which answers READONLY. So all idle connections are closed and the call is made again:
what was refused has changed nothing. A call that finds no primary in time raises that refusal.
"""

import asyncio
import time
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import MasterDownError, ReadOnlyError

#: What a replica answers to a write, and to a read when it has lost its primary.
DEMOTED = (ReadOnlyError, MasterDownError)
#: Pauses before a refused call is made again (seconds).
PAUSES_S = (0.0, 0.1, 0.2, 0.4)


class FailoverRedis(Redis):
    """The blocking client."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command, on new connections where the server was demoted."""
        for pause_s in PAUSES_S:
            try:
                return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
            except DEMOTED:
                self.connection_pool.disconnect(inuse_connections=False)
                time.sleep(pause_s)
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]


class AsyncFailoverRedis(AsyncRedis):
    """The asyncio client."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command, on new connections where the server was demoted."""
        for pause_s in PAUSES_S:
            try:
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
            except DEMOTED:
                await self.connection_pool.disconnect(inuse_connections=False)
                await asyncio.sleep(pause_s)
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
