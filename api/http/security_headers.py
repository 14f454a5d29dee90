"""Headers that every answer carries, so that no browser makes more of it than it is."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Nothing is guessed, framed, or used by another site's page; what is shown runs and loads nothing;
#: and no link tells where it led from, which may be the id of a job.
DEFAULTS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)


class SecurityHeaders:
    """ASGI middleware that adds what an answer does not say itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one call."""

        async def completed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                said = {name.lower() for name, _ in headers}
                headers += [default for default in DEFAULTS if default[0] not in said]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, completed_send)
