"""What `voxelq doctor` looks at, and what it says of each thing."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.settings import Settings

State = Literal["ok", "warning", "problem"]

#: What a call to Redis or to the API may take (seconds); a whole check has `doctor.BOUND_S`.
CALL_S = 3.0


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at: how it is, what that means, and what to do about it.

    ``reached`` is False where it gave no answer at all.
    """

    what: str
    state: State
    says: str
    todo: str = ""
    reached: bool = True


@dataclass(frozen=True)
class Surroundings:
    """Where the doctor looks. ``settings`` are those that the service would read here."""

    settings: Settings
    url: str

    @property
    def redis_place(self) -> str:
        """Where Redis is, without the password."""
        parts = urlsplit(self.settings.redis_url)
        return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else "REDIS_URL"

    def redis(self) -> Redis:
        """Return a client that gives up soon; to be closed."""
        return Redis.from_url(
            self.settings.redis_url,
            socket_timeout=CALL_S,
            socket_connect_timeout=CALL_S,
            retry=Retry(NoBackoff(), 0),
        )


def ok(what: str, says: str) -> Diagnosis:
    """Return that something is well."""
    return Diagnosis(what, "ok", says)


def warning(what: str, says: str, todo: str) -> Diagnosis:
    """Return that something serves, and not as it should."""
    return Diagnosis(what, "warning", says, todo)


def problem(what: str, says: str, todo: str, *, reached: bool = True) -> Diagnosis:
    """Return that something keeps scans from being served, or from being safe."""
    return Diagnosis(what, "problem", says, todo, reached)
