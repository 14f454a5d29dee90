"""Drain the request body after an early error, so that the client receives the answer.

If a server closes while its client still sends, the client's system discards the answer (RFC 9112,
section 9.6). The answer is sent first, and then the rest of the body is read for a while.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: How long a refused body is drained, in all and between two of its chunks.
DRAIN_S = 10.0
IDLE_S = 2.0


class DrainBody:
    """ASGI middleware that ends an answer only when the request's body has ended too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one call."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        body_ended = False

        async def counting_receive() -> Message:
            nonlocal body_ended
            message = await receive()
            body_ended = body_ended or not message.get("more_body", False)
            return message

        async def draining_send(message: Message) -> None:
            if not body_ended and message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            if body_ended or message["type"] != "http.response.body" or message.get("more_body"):
                await send(message)
                return
            await send({**message, "more_body": True})
            await drain()
            await send({"type": "http.response.body", "body": b""})

        async def drain() -> None:
            try:
                async with asyncio.timeout(DRAIN_S):
                    while not body_ended:
                        await asyncio.wait_for(counting_receive(), IDLE_S)
            except TimeoutError:
                pass

        await self._app(scope, counting_receive, draining_send)


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
