"""The check of the API."""

from typing import Any

import httpx

from voxelq.client import Client
from voxelq.doctor.diagnosis import CALL_TIMEOUT_S, CheckContext, Diagnosis, ok, problem, warning


def check_api(context: CheckContext) -> list[Diagnosis]:
    """Check that the API is alive and ready, and report its own notes."""
    try:
        Client(context.url).close()
    except ValueError as error:
        return [problem("API", str(error), "Check --url and VOXELQ_URL.", reached=False)]
    try:
        with httpx.Client(base_url=context.url, timeout=CALL_TIMEOUT_S, trust_env=False) as http:
            alive = http.get("/livez")
            ready = http.get("/readyz")
    except httpx.HTTPError as error:
        says = f"Nothing answers at {context.url} ({type(error).__name__})."
        todo = "Start it (`voxelq up`), or give its address with --url or VOXELQ_URL."
        return [problem("API", says, todo, reached=False)]
    if not alive.is_success:
        says = f"The API at {context.url} does not work: {_detail(alive)}"
        return [problem("API", says, "Is it VoxelQ? See its log.")]
    if not ready.is_success:
        says = f"{context.url} answers and serves no scans: {_detail(ready)}"
        return [problem("API", says, "See the results for Redis, store and workers.")]
    notes = _member(ready, "notes")
    found = [ok("API", f"{context.url} answers and serves scans.")]
    if isinstance(notes, list):
        found += [warning("API", f"It notes: {note}", "See there.") for note in notes]
    return found


def _detail(answer: httpx.Response) -> str:
    return str(_member(answer, "detail") or f"HTTP {answer.status_code}.")


def _member(answer: httpx.Response, name: str) -> Any:
    try:
        body = answer.json()
    except ValueError:
        return None
    return body.get(name) if isinstance(body, dict) else None
