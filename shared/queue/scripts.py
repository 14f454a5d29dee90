"""The queue's Lua scripts: all that must change in one step changes in one script.

A script sees the constants of :mod:`shared.queue.keys`, ``PRIORITIES`` and ``STATUSES`` of
:mod:`shared.jobs`, and the functions of ``lua/job.lua``.
"""

import hashlib
import zlib
from base64 import b64encode
from collections.abc import Iterable
from importlib import resources
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from shared.jobs import JobStatus, Priority
from shared.queue import keys

Argument = str | bytes | int | float

#: The reason stored with a job that was set aside, as RQ's results hold an exception.
_UNREADABLE = b64encode(
    zlib.compress(b"VoxelQ did not submit this job and cannot read it.")
).decode()


def _constants() -> str:
    """Return Lua's declarations of the constants that every script sees."""
    lines = [
        f"local {name} = '{value}'"
        for name, value in vars(keys).items()
        if name.isupper() and isinstance(value, str)
    ]
    lines += [
        f"local PRIORITIES = {_lua_list(Priority)}",
        f"local STATUSES = {_lua_list(JobStatus)}",
        f"local UNREADABLE = '{_UNREADABLE}'",
    ]
    return "\n".join(lines)


def _lua_list(values: Iterable[str]) -> str:
    return "{" + ", ".join(f"'{value}'" for value in values) + "}"


class Script:
    """One file of ``shared/queue/lua``, run on the server by its hash.

    ``parts`` are further files whose functions the script calls. The server checks ``flags``
    before it runs the script: without flags the script is refused while memory is short;
    ``allow-oom`` lets it run in that case; ``no-writes`` lets it run even while Redis refuses
    writes.
    """

    def __init__(self, name: str, *parts: str, flags: str = "") -> None:
        folder = resources.files("shared.queue") / "lua"
        texts = [(folder / f"{part}.lua").read_text("utf-8") for part in ("job", *parts, name)]
        self.source = "\n".join([f"#!lua flags={flags}", _constants(), *texts])
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def run(self, redis: Redis, *arguments: Argument) -> Any:
        """Run the script on a blocking client; one round trip once the server knows it."""
        try:
            return redis.evalsha(self.sha, 0, *arguments)
        except NoScriptError:
            return redis.eval(self.source, 0, *arguments)

    async def arun(self, redis: AsyncRedis, *arguments: Argument) -> Any:
        """Run the script on an asyncio client; one round trip once the server knows it."""
        try:
            return await redis.evalsha(self.sha, 0, *arguments)
        except NoScriptError:
            return await redis.eval(self.source, 0, *arguments)


def is_script_fault(error: RedisError) -> bool:
    """Return whether a script itself failed, so that running it again would fail again."""
    return isinstance(error, ResponseError) and " script: " in str(error)


# Called by API processes.
SUBMIT = Script("submit")
VIEW = Script("view", flags="no-writes")
VIEWS = Script("views", flags="no-writes")
POSITIONS = Script("positions", flags="no-writes")
LIST = Script("list", flags="no-writes")
STATE = Script("state", flags="no-writes")
BUNDLE_STATUSES = Script("bundle_statuses", flags="no-writes")
CANCEL = Script("cancel", flags="allow-oom")
PURGE = Script("purge", "forget", flags="allow-oom")
#: ``run(redis, *ids)`` returns how many terminal or missing jobs it forgot.
PURGE_ALL = Script("purge_all", "forget", flags="allow-oom")

# Called by recovery.
RESTORE = Script("restore")

# Called by workers, in the order of a worker's life.
LEASE_GPU = Script("lease_gpu", flags="allow-oom")
STORE_BUNDLE_STATUS = Script("store_bundle_status", flags="allow-oom")
DRAW = Script("draw", "forget", flags="allow-oom")
REFUSE = Script("refuse", flags="allow-oom")
BEGIN = Script("begin", flags="allow-oom")
EXTEND = Script("extend", flags="allow-oom")
UPDATE_PROGRESS = Script("update_progress", flags="allow-oom")
SETTLE = Script("settle", flags="allow-oom")
GIVE_BACK = Script("give_back", flags="allow-oom")
REAP = Script("reap", "forget", "turn", "strays", flags="allow-oom")
SIGN_OFF = Script("sign_off", flags="allow-oom")

# Called by a worker's watchdog, and by stock RQ workers that run our task.
ABANDON = Script("abandon", flags="allow-oom")
ADOPT = Script("adopt", flags="allow-oom")

# Called by retention.
#: ``run(redis, key, seconds)`` returns 1 to the one caller that may act in this interval.
TAKE_TURN = Script("take_turn", "turn", flags="allow-oom")
#: ``run(redis, limit)`` returns how many terminal jobs it added to the list that EXPIRED reads.
INDEX_ENDED = Script("index_ended", flags="allow-oom")
#: ``run(redis, retention_s, max_kept, limit)`` returns ids of terminal jobs, oldest first.
EXPIRED = Script("expired", flags="no-writes")
