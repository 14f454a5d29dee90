"""The queue's Lua scripts: what has to happen at once, happens in one script.

A script sees the constants of :mod:`shared.queue.keys` and the functions of ``lua/job.lua``.
"""

import hashlib
import zlib
from base64 import b64encode
from importlib import resources
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from shared.queue import keys

Argument = str | bytes | int | float

#: Why a job was set aside, as RQ's results hold an exception.
_UNREADABLE = b64encode(
    zlib.compress(b"VoxelQ did not submit this job and cannot read it.")
).decode()


class Script:
    """One file of ``shared/lua``, run on the server by its hash.

    ``parts`` are files whose functions it calls. The server checks ``flags`` before the script
    begins: without any it is refused while memory is short, with ``allow-oom`` it runs all the
    same, and with ``no-writes`` also while Redis takes no writes.
    """

    def __init__(self, name: str, *parts: str, flags: str = "") -> None:
        folder = resources.files("shared.queue") / "lua"
        constants = "".join(
            f"local {key} = '{value}'\n"
            for key, value in vars(keys).items()
            if key.isupper() and isinstance(value, str)
        )
        constants += f"local UNREADABLE = '{_UNREADABLE}'\n"
        self.name = name
        texts = [(folder / f"{part}.lua").read_text("utf-8") for part in ("job", *parts, name)]
        self.source = "\n".join([f"#!lua flags={flags}", constants, *texts])
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
    """Tell whether a script itself failed, so that to run it again would fail again."""
    return isinstance(error, ResponseError) and " script: " in str(error)


# In the order in which a worker, and then a job, meets them.
LEASE_GPU = Script("lease_gpu", flags="allow-oom")
SUBMIT = Script("submit")
VIEW = Script("view", flags="no-writes")
VIEWS = Script("views", flags="no-writes")
PLACES = Script("places", flags="no-writes")
LIST = Script("list", flags="no-writes")
STATE = Script("state", flags="no-writes")
CANCEL = Script("cancel", flags="allow-oom")
RESTORE = Script("restore")
PURGE = Script("purge", "forget", flags="allow-oom")
#: ``run(redis, *ids)`` returns how many terminal or missing jobs it forgot.
PURGE_ALL = Script("purge_all", "forget", flags="allow-oom")
#: ``run(redis, retention_s, max_kept, limit)`` returns ids of terminal jobs, oldest first.
EXPIRED = Script("expired", flags="no-writes")
#: ``run(redis, limit)`` returns how many terminal jobs it added to those that EXPIRED looks at.
INDEX_ENDED = Script("index_ended", flags="allow-oom")
#: ``run(redis, key, seconds)`` returns 1 for whoever may do what is due every so many seconds.
TAKE_TURN = Script("take_turn", "turn", flags="allow-oom")
DRAW = Script("draw", "forget", flags="allow-oom")
REFUSE = Script("refuse", flags="allow-oom")
BEGIN = Script("begin", flags="allow-oom")
EXTEND = Script("extend", flags="allow-oom")
REPORT = Script("report", flags="allow-oom")
SETTLE = Script("settle", flags="allow-oom")
GIVE_BACK = Script("give_back", flags="allow-oom")
REAP = Script("reap", "forget", "turn", "strays", flags="allow-oom")
TELL_BUNDLE_STATUS = Script("tell_bundle_status", flags="allow-oom")
BUNDLE_STATUSES = Script("bundle_statuses", flags="no-writes")
ABANDON = Script("abandon", flags="allow-oom")
SIGN_OFF = Script("sign_off", flags="allow-oom")
ADOPT = Script("adopt", flags="allow-oom")
