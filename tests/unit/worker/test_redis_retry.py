"""Calls to Redis that are repeated until it answers."""

import time

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from worker.queueing.redis_retry import retry_until_answered
from worker.queueing.stop_flag import StopFlag


class Away:
    """A call that fails ``times`` times, and then answers."""

    def __init__(self, times: int, error: Exception) -> None:
        self.calls = 0
        self._times = times
        self._error = error

    def __call__(self) -> str:
        """Fail or answer."""
        self.calls += 1
        if self.calls <= self._times:
            raise self._error
        return "answer"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have calls repeated at once."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


def test_a_call_is_repeated_until_redis_answers() -> None:
    """The call is repeated for as long as Redis is away."""
    call = Away(100, RedisConnectionError("away"))
    assert retry_until_answered(call, StopFlag()) == "answer"
    assert call.calls == 101


def test_a_worker_that_stops_gives_up_after_some_time() -> None:
    """Once the worker is to stop, the retries end after some time."""
    stop = StopFlag()
    stop.request()
    call = Away(100, RedisConnectionError("away"))
    with pytest.raises(RedisConnectionError):
        retry_until_answered(call, stop)
    assert 1 < call.calls < 100


def test_a_fault_of_a_script_is_not_repeated() -> None:
    """A script's error, which every retry would meet, is raised at once."""
    call = Away(1, ResponseError("a bug script: settle, on line 1"))
    with pytest.raises(ResponseError):
        retry_until_answered(call, StopFlag())
    assert call.calls == 1
