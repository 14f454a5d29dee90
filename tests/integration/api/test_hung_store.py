"""A store whose mount hangs: calls that need it are a 503 in time, and others are not delayed."""

import asyncio
import threading
from collections.abc import Iterator

import httpx
import pytest

from shared.storage.store import ScanStore
from tests.support.api_server import RAW, SCAN, ApiServer, assert_problem, finished
from tests.support.scripted_worker import ScriptedWorker

#: More calls than any pool has threads.
CALLS = 40


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Make every call of the store hang until the event is set."""
    monkeypatch.setattr("api.thread_pools.CALL_TIMEOUT_S", 1.0)
    back = threading.Event()

    def hang(name: str) -> None:
        method = getattr(ScanStore, name)

        def waiting(*arguments: object, **named: object) -> object:
            back.wait(60)
            return method(*arguments, **named)

        monkeypatch.setattr(ScanStore, name, waiting)

    for name in ("create", "open", "size", "chunks", "delete_job"):
        hang(name)
    yield back
    back.set()


async def test_a_hung_store_stops_only_what_needs_it(
    server: ApiServer,
    client: httpx.AsyncClient,
    scripted_worker: ScriptedWorker,
    request: pytest.FixtureRequest,
) -> None:
    """Uploads, files and deletes are a 503 in time, others answer, and later all work again."""
    job_id = await finished(client, scripted_worker)
    other_id = await finished(client, scripted_worker)
    back: threading.Event = request.getfixturevalue("hanging")
    stuck = [
        *(client.post("/jobs", content=SCAN, headers=RAW) for _ in range(CALLS)),
        *(client.get(f"/jobs/{job_id}/scan") for _ in range(CALLS)),
        client.delete(f"/jobs/{other_id}"),
    ]
    calls = [asyncio.create_task(call) for call in stuck]
    await asyncio.sleep(0.3)
    for path in ("/livez", "/queue", "/models", "/jobs", f"/jobs/{job_id}", "/sample.nii.gz"):
        async with asyncio.timeout(20):
            assert (await client.get(path)).status_code == 200
    for call in calls:
        assert_problem(await call, 503)
    back.set()
    finished_ids = {job_id, other_id}
    await server.until(
        lambda: {path.parent.name for path in server.lasting_files()} <= finished_ids
    )
    assert (await client.get(f"/jobs/{job_id}/scan")).content == SCAN
    assert (await client.post("/jobs", content=SCAN, headers=RAW)).status_code == 202


async def test_a_hung_models_folder_stops_no_file(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the folder of models hung, jobs and their files are still served."""
    job_id = await finished(client, scripted_worker)
    back = threading.Event()
    monkeypatch.setattr("api.thread_pools.CALL_TIMEOUT_S", 1.0)
    monkeypatch.setattr(
        "shared.bundles.catalog.ModelCatalog.bundles", lambda *_, **__: back.wait(60)
    )
    calls = [asyncio.create_task(client.get("/models")) for _ in range(CALLS)]
    await asyncio.sleep(0.2)
    assert (await client.get(f"/jobs/{job_id}/scan")).content == SCAN
    assert (await client.get("/livez")).status_code == 200
    for call in calls:
        assert_problem(await call, 503)
    back.set()
