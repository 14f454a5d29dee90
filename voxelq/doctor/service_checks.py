"""What the doctor asks the API."""

from typing import Any

import httpx

from voxelq.cli.http_client import BadUrl, VoxelQClient
from voxelq.doctor.finding import CALL_S, Diagnosis, Surroundings, ok, problem, warning


def look_at_api(here: Surroundings) -> list[Diagnosis]:
    """Ask the API whether it is alive and ready, and take over what it notes."""
    try:
        VoxelQClient(here.url).close()
    except BadUrl as error:
        return [problem("API", str(error), "Look at --url and VOXELQ_URL.", reached=False)]
    try:
        with httpx.Client(base_url=here.url, timeout=CALL_S, trust_env=False) as http:
            alive = http.get("/livez")
            ready = http.get("/readyz")
    except httpx.HTTPError as error:
        says = f"None answers at {here.url} ({type(error).__name__})."
        todo = "Start it (`voxelq up`), or name where it is with --url or VOXELQ_URL."
        return [problem("API", says, todo, reached=False)]
    if not alive.is_success:
        says = f"What answers at {here.url} is not well: {_detail(alive)}"
        return [problem("API", says, "Is it VoxelQ? Look at its log.")]
    if not ready.is_success:
        says = f"{here.url} answers and serves no scans: {_detail(ready)}"
        return [problem("API", says, "See what is said of Redis, store and workers.")]
    notes = _member(ready, "notes")
    found = [ok("API", f"{here.url} answers and serves scans.")]
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
