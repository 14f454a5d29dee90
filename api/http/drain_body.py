"""An early answer that arrives: the rest of a refused body is read and dropped for a while.

A server that closes while its client still sends makes the client's machine throw the answer
away (RFC 9112, section 9.6). Clients that look see the answer at once, for it is sent before.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: How long a refused body is read on, in all and between two pieces of it.
LINGER_S = 10.0
IDLE_S = 2.0


class LingeringClose:
    """ASGI middleware that ends an answer only once the request's body has ended too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one call."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        body_ended = False

        async def noted_receive() -> Message:
            nonlocal body_ended
            message = await receive()
            body_ended = body_ended or not message.get("more_body", False)
            return message

        async def lingering_send(message: Message) -> None:
            if not body_ended and message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            if body_ended or message["type"] != "http.response.body" or message.get("more_body"):
                await send(message)
                return
            await send({**message, "more_body": True})
            await linger()
            await send({"type": "http.response.body", "body": b""})

        async def linger() -> None:
            try:
                async with asyncio.timeout(LINGER_S):
                    while not body_ended:
                        await asyncio.wait_for(noted_receive(), IDLE_S)
            except TimeoutError:
                pass

        await self._app(scope, noted_receive, lingering_send)


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
