"""Redis clients that survive a failover, in which their server becomes a replica.

After a failover the address leads to the new primary, but an open connection still leads to the
old one, which answers READONLY. These clients then close all idle connections and repeat the
command, which changed nothing when it was refused. If there is no primary in time, they raise the
last refusal.
"""

import asyncio
import time
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import MasterDownError, ReadOnlyError

#: A replica's errors for a write, and for a read while it has no connection to its primary.
DEMOTED = (ReadOnlyError, MasterDownError)
#: Pauses before a refused command is repeated (seconds).
PAUSES_S = (0.0, 0.1, 0.2, 0.4)


class FailoverRedis(Redis):
    """The blocking client."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command; repeat it on a new connection if the server has become a replica."""
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
        """Run a command; repeat it on a new connection if the server has become a replica."""
        for pause_s in PAUSES_S:
            try:
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
            except DEMOTED:
                await self.connection_pool.disconnect(inuse_connections=False)
                await asyncio.sleep(pause_s)
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
