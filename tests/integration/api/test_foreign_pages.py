"""The hosts and origins that the service accepts, and the headers of every answer."""

import httpx
import pytest

from api.http.security_headers import DEFAULTS
from shared.settings import Settings
from tests.support.api_server import RAW, SCAN, ApiServer, assert_problem
from tests.support.raw_http import raw_connection
from tests.support.scripted_worker import ScriptedWorker


async def test_a_foreign_host_gets_nothing(client: httpx.AsyncClient, server: ApiServer) -> None:
    """A page whose name points to this machine by DNS rebinding reads and submits no jobs."""
    evil = {"Host": f"evil.example:{server.port}"}
    for path in ("/jobs", "/", "/livez", "/nope"):
        assert_problem(await client.get(path, headers=evil), 421, "VOXELQ_ALLOWED_HOSTS")
    assert_problem(await client.post("/jobs", content=SCAN, headers=RAW | evil), 421)
    assert server.stored_files() == []
    metrics = (await client.get("/metrics")).text
    assert 'http_requests_total{method="GET",route="unknown",status="421"} 4.0' in metrics


@pytest.mark.parametrize("name", ["localhost", "voxelq.localhost", "127.0.0.1", "10.1.2.3"])
async def test_loopback_and_addresses_are_answered(
    client: httpx.AsyncClient, server: ApiServer, name: str
) -> None:
    """The names of this machine, and any address, need no setting."""
    answer = await client.get("/livez", headers={"Host": f"{name}:{server.port}"})
    assert answer.status_code == 200


async def test_allowed_hosts(settings: Settings) -> None:
    """A name of ALLOWED_HOSTS is answered, and its own page may write."""
    allowed = "voxelq.example.org,*.hospital.example"
    server = ApiServer(settings.model_copy(update={"allowed_hosts": allowed}))
    server.start()
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
            for name in ("voxelq.example.org", "mri.hospital.example:8443"):
                headers = RAW | {"Host": name, "Origin": f"https://{name}"}
                answer = await client.post("/jobs", content=SCAN, headers=headers)
                assert answer.status_code == 202
            assert_problem(await client.get("/jobs", headers={"Host": "hospital.example"}), 421)
    finally:
        server.stop()


async def test_a_request_names_its_host_once(server: ApiServer) -> None:
    """No host, or two, are a 400; without one, only HTTP/1.0 is answered."""
    for head in (["GET /livez HTTP/1.1"], ["GET /livez HTTP/1.1", *["Host: localhost"] * 2]):
        async with raw_connection(server.port) as connection:
            connection.send(*head)
            await connection.assert_problem(400)
    async with raw_connection(server.port) as connection:
        connection.send("GET /livez HTTP/1.0")
        assert (await connection.head())[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "https://localhost"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "null"},
        {"Origin": "file://"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"},
    ],
)
async def test_writes_from_other_sites_are_refused(
    client: httpx.AsyncClient, server: ApiServer, headers: dict[str, str]
) -> None:
    """A page of another site, of another port or of none submits nothing and deletes nothing."""
    for path in ("/jobs", "/predict"):
        assert_problem(await client.post(path, content=SCAN, headers=RAW | headers), 403, "page")
    for method in ("DELETE", "PUT", "PATCH"):
        assert_problem(await client.request(method, "/jobs/x", headers=headers), 403)
    assert (await client.get("/livez", headers=headers)).status_code == 200
    assert server.stored_files() == []


async def test_its_own_page_and_other_clients_write(
    client: httpx.AsyncClient, server: ApiServer
) -> None:
    """The service's own page may write, by any of its names; so may a client without an origin."""
    for name in ("127.0.0.1", "localhost", "[::1]"):
        place = f"{name}:{server.port}"
        own = {"Host": place, "Origin": f"http://{place}", "Sec-Fetch-Site": "same-origin"}
        assert (await client.post("/jobs", content=SCAN, headers=RAW | own)).status_code == 202
    assert (await client.post("/jobs", content=SCAN, headers=RAW)).status_code == 202


async def test_a_refused_write_is_answered_before_its_body(server: ApiServer) -> None:
    """A foreign page's upload is refused by its headers alone."""
    async with raw_connection(server.port) as connection:
        connection.send(
            "POST /jobs HTTP/1.1",
            "Host: localhost",
            "Origin: http://evil.example",
            "Content-Length: 1000000",
        )
        await connection.assert_problem(403)


async def test_every_answer_has_the_security_headers(
    client: httpx.AsyncClient, scripted_worker: ScriptedWorker
) -> None:
    """Pages, files and problems have the headers that keep browsers from misusing them."""
    job_id = (await client.post("/jobs", content=SCAN, headers=RAW)).json()["id"]
    scripted_worker.settle(scripted_worker.start())
    paths = ("/", "/docs", "/docs/start.js", "/docs/assets/swagger-ui.css", "/openapi.json",
             "/jobs", f"/jobs/{job_id}/scan", f"/jobs/{job_id}/mask", "/sample.nii.gz", "/livez",
             "/metrics", "/nope", "/web/none.js", "/docs/assets/none.js")  # fmt: skip
    for path in paths:
        headers = (await client.get(path)).headers
        for name, value in DEFAULTS:
            if name == b"content-security-policy" and path in ("/", "/docs"):
                assert "frame-ancestors 'none'" in headers[name.decode()]
                assert "unsafe" not in headers[name.decode()]
            else:
                assert headers.get_list(name.decode()) == [value.decode()], path
