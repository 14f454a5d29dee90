"""One call to the service, with retries."""

import random
import time
from collections.abc import Mapping

import httpx

from voxelq.errors import QueueFull, ServiceUnavailable, ServiceUnreachable, VoxelQError
from voxelq.protocol.http_messages import HttpMessages
from voxelq.protocol.steps import Flow, Pause, Send
from voxelq.protocol.upload_body import UploadBody

FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_RETRY_AFTER_S = 0.25, 8.0, 30.0


class Sender:
    """Sends calls to one service.

    Args:
        messages: Makes its requests and reads its answers.
        retries: How often one call is sent again.
    """

    def __init__(self, messages: HttpMessages, retries: int) -> None:
        if retries < 0:
            raise ValueError("retries must not be below 0.")
        self.messages = messages
        self.retries = retries

    def send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | float | None] | None = None,
        headers: Mapping[str, str] | None = None,
        body: UploadBody | None = None,
        *,
        deadline: float | None = None,
        hold_s: float = 0.0,
    ) -> Flow[httpx.Response]:
        """Send a call, with retries if it may succeed later, and return its response.

        Raises:
            VoxelQError: The service refused it or could not be reached.
        """
        for tried in range(self.retries + 1):
            request = self.messages.request(method, path, params, headers, body, hold_s=hold_s)
            answer = self.messages.answer((yield Send(request)))
            if not isinstance(answer, VoxelQError):
                return answer
            pause_s = pause_for(tried, answer)
            if tried == self.retries or not transient(answer) or pause_s > left_s(deadline):
                raise answer
            yield Pause(pause_s)
        raise AssertionError("unreachable: the last round returns or raises")

    def send_once(self, method: str, path: str) -> Flow[httpx.Response | VoxelQError]:
        """Send a call without retries, and return its response or error."""
        return self.messages.answer((yield Send(self.messages.request(method, path))))


def transient(error: VoxelQError) -> bool:
    """Return whether a call that failed with ``error`` may succeed a little later."""
    return isinstance(error, QueueFull | ServiceUnavailable) or (
        isinstance(error, ServiceUnreachable) and error.transient
    )


def pause_for(tried: int, error: VoxelQError) -> float:
    """Return the seconds to wait before the next retry: longer each time, and as asked for."""
    asked_s = getattr(error, "retry_after_s", None) or 0.0
    backoff_s = min(FIRST_PAUSE_S * 2.0**tried, LONGEST_PAUSE_S)
    # Random, so that clients that were disconnected together do not return together.
    return max(min(float(asked_s), LONGEST_RETRY_AFTER_S), backoff_s) * random.uniform(1, 1.25)


def left_s(deadline: float | None) -> float:
    """Return the seconds until ``deadline``, a time of the monotonic clock; None is never."""
    return float("inf") if deadline is None else deadline - time.monotonic()
