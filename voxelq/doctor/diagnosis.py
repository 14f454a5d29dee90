"""The result of one check of `voxelq doctor`, and what a check is given."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.settings import Settings

State = Literal["ok", "warning", "problem"]

#: The longest that a call to Redis or to the API may take (seconds); a whole check may take
#: `examination.CHECK_TIMEOUT_S`.
CALL_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Diagnosis:
    """The state of one part of the service: what is wrong with it, and what to do.

    Attributes:
        what: The part that was checked.
        state: Whether it works.
        says: What was found.
        todo: What to do about it; empty where it works.
        reached: False where it gave no answer at all.
    """

    what: str
    state: State
    says: str
    todo: str = ""
    reached: bool = True


@dataclass(frozen=True)
class CheckContext:
    """What the checks need: the settings as the service would read them, and the API's URL."""

    settings: Settings
    url: str

    @property
    def redis_place(self) -> str:
        """Where Redis is, without the password."""
        parts = urlsplit(self.settings.redis_url)
        return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else "REDIS_URL"

    def redis(self) -> Redis:
        """Return a client with short timeouts; the caller closes it."""
        return Redis.from_url(
            self.settings.redis_url,
            socket_timeout=CALL_TIMEOUT_S,
            socket_connect_timeout=CALL_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )


def ok(what: str, says: str) -> Diagnosis:
    """Return that a part works."""
    return Diagnosis(what, "ok", says)


def warning(what: str, says: str, todo: str) -> Diagnosis:
    """Return that a part works, but not as it should."""
    return Diagnosis(what, "warning", says, todo)


def problem(what: str, says: str, todo: str, *, reached: bool = True) -> Diagnosis:
    """Return that a part keeps scans from being served, or may lose them."""
    return Diagnosis(what, "problem", says, todo, reached)
