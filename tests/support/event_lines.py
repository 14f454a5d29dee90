"""Server-sent events, parsed for tests."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Message:
    """One message: its id, and the job in it."""

    id: int
    job: dict[str, Any]

    @property
    def seen(self) -> tuple[str, str | None, float]:
        """Status, stage and progress."""
        return self.job["status"], self.job["stage"], self.job["progress"]


async def messages(response: httpx.Response) -> AsyncIterator[Message]:
    """Yield the messages of an open answer, after a check of their framing."""
    lines: list[str] = []
    async for line in response.aiter_lines():
        if line:
            lines.append(line)
            continue
        if not lines[0].startswith(":"):
            assert [part.split(": ", 1)[0] for part in lines] == ["event", "id", "data"]
            name, number, data = (part.split(": ", 1)[1] for part in lines)
            assert name == "job"
            yield Message(int(number), json.loads(data))
        lines = []


async def followed(
    client: httpx.AsyncClient, job_id: str, last_id: int | None = None
) -> list[Message]:
    """Follow a job to the end of its events."""
    headers = {} if last_id is None else {"Last-Event-ID": str(last_id)}
    async with client.stream("GET", f"/jobs/{job_id}/events", headers=headers) as response:
        assert response.status_code == 200
        return [message async for message in messages(response)]


async def until(reading: AsyncIterator[Message], **members: Any) -> list[Message]:
    """Return the messages up to the first whose job has these members."""
    found = []
    async for message in reading:
        found.append(message)
        if all(message.job[name] == value for name, value in members.items()):
            return found
    raise AssertionError(f"the stream ended before {members}")
