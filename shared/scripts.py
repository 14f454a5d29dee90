"""The queue's Lua scripts: what has to happen at once, happens in one script.

A script sees the constants of :mod:`shared.keys` and the functions of ``lua/job.lua``.
"""

import hashlib
from importlib import resources
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import NoScriptError

from shared import keys

Argument = str | bytes | int | float


class Script:
    """One file of ``shared/lua``, run on the server by its hash.

    ``parts`` are files whose functions it calls. The server checks ``flags`` before the script
    begins: without any it is refused while memory is short, with ``allow-oom`` it runs all the
    same, and with ``no-writes`` also while Redis takes no writes.
    """

    def __init__(self, name: str, *parts: str, flags: str = "") -> None:
        folder = resources.files("shared") / "lua"
        constants = "".join(
            f"local {key} = '{value}'\n"
            for key, value in vars(keys).items()
            if key.isupper() and isinstance(value, str)
        )
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


# In the order in which a worker, and then a job, meets them.
LEASE_GPU = Script("lease_gpu")
SUBMIT = Script("submit")
VIEW = Script("view")
VIEWS = Script("views")
PLACES = Script("places")
LIST = Script("list")
STATE = Script("state")
CANCEL = Script("cancel")
PURGE = Script("purge", "forget", flags="allow-oom")
#: ``run(redis, *ids)`` returns how many terminal or missing jobs it forgot.
PURGE_ALL = Script("purge_all", "forget", flags="allow-oom")
#: ``run(redis, retention_s, max_kept, limit)`` returns ids of terminal jobs, oldest first.
EXPIRED = Script("expired", flags="no-writes")
#: ``run(redis, limit)`` returns how many terminal jobs it added to those that EXPIRED looks at.
INDEX_ENDED = Script("index_ended", flags="allow-oom")
DRAW = Script("draw")
BEGIN = Script("begin")
EXTEND = Script("extend")
REPORT = Script("report")
SETTLE = Script("settle")
GIVE_BACK = Script("give_back")
REAP = Script("reap")
ABANDON = Script("abandon")
SIGN_OFF = Script("sign_off")
ADOPT = Script("adopt")
