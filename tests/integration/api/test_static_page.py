"""The page's files as the API serves them, and as the package contains them."""

import hashlib
import json
import re
import tomllib
from pathlib import Path

import httpx

from api.http.static_page import WEB
from tests.support.api_server import assert_problem

VENDORED = WEB / "vendor" / "niivue-0.69.0"
OWN = sorted(
    path
    for path in WEB.rglob("*")
    if path.suffix in {".js", ".css", ".html"} and WEB / "vendor" not in path.parents
)


async def test_the_page_comes_under_a_strict_policy(client: httpx.AsyncClient) -> None:
    """Nothing inline, nothing evaluated, nothing from other hosts, and no guessing of types."""
    for path in ("/", "/web/main.js", "/web/style/base.css"):
        headers = (await client.get(path)).raise_for_status().headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


async def test_every_file_has_its_type_and_is_sent_once(
    client: httpx.AsyncClient,
) -> None:
    """Each file has its type, and an ETag that gives a 304; versioned files are kept for a year."""
    types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for path in (file for file in WEB.rglob("*") if file.is_file()):
        answer = await client.get(f"/web/{path.relative_to(WEB).as_posix()}")
        assert answer.content == path.read_bytes()
        assert answer.headers["content-type"].startswith(types.get(path.suffix, ""))
        immutable = "immutable" in answer.headers["cache-control"]
        assert immutable == (VENDORED in path.parents)
        again = await client.get(answer.url, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
        assert again.content == b""


async def test_the_viewer_is_sent_gzipped(client: httpx.AsyncClient) -> None:
    """The largest file is sent at half its size, or unchanged to a client that refuses gzip."""
    url = "/web/vendor/niivue-0.69.0/index.js"
    async with client.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        sent = sum([len(piece) async for piece in answer.aiter_raw()])
    assert sent < (VENDORED / "index.js").stat().st_size / 2
    plain = await client.get(url, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers


async def test_nothing_else_is_served(client: httpx.AsyncClient) -> None:
    """Paths outside the page's folder, and paths of no file, give problems."""
    for path in ("none.js", "", "style", "../pages.py", "%2e%2e/pages.py", "..%2fpages.py"):
        assert_problem(await client.get(f"/web/{path}"), 404)
    head = await client.head("/")
    assert head.status_code == 200
    assert head.content == b""


def test_the_viewer_is_the_one_that_was_vendored() -> None:
    """NiiVue is byte for byte what its version file says, and its licence is beside it."""
    version = json.loads((VENDORED / "VERSION.json").read_text())
    content = (VENDORED / "index.js").read_bytes()
    assert hashlib.sha256(content).hexdigest() == version["sha256"]
    assert version["version"] in VENDORED.name
    assert "BSD 2-Clause" in (VENDORED / "LICENSE").read_text()


def test_the_page_names_no_other_host_and_writes_no_markup() -> None:
    """Our own files call no other host, and set text as text only."""
    assert OWN
    for path in OWN:
        text = path.read_text()
        hosts = re.findall(r"https?://[^\s\"')]+", text)
        assert [host for host in hosts if "www.w3.org" not in host] == [], path
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert way not in text, path
        assert not re.search(r"<[^>]+\s(on\w+|style)=", text), path


def test_every_module_is_loaded_at_once() -> None:
    """The page preloads all its modules, so that none waits for another one."""
    page = (WEB / "index.html").read_text()
    named = re.findall(r'(?:rel="modulepreload" href|type="module" src)="/web/([^"]+)"', page)
    modules = [path.relative_to(WEB).as_posix() for path in OWN if path.suffix == ".js"]
    assert sorted([*named, "ui/early_theme.js"]) == sorted(modules)


def test_the_folders_of_the_page_import_one_way() -> None:
    """`result/` may import `jobs/`, both may import the calls and building blocks, never back."""
    allowed = {
        "ui": {"ui"},
        "net": {"net"},
        "jobs": {"jobs", "net", "ui"},
        "result": {"result", "jobs", "net", "ui"},
    }
    for room, rooms in allowed.items():
        for module in (WEB / room).glob("*.js"):
            imported = re.findall(r'from "([./]+[\w/]+\.js)"', module.read_text())
            targets = [(module.parent / path).resolve() for path in imported]
            assert [target for target in targets if not target.exists()] == [], module
            assert {target.parent.name for target in targets} <= rooms, module


def test_the_page_is_part_of_the_package() -> None:
    """The wheel contains every file of the page, the vendored ones too."""
    project = tomllib.loads((WEB.parents[1] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["api"]
    packaged = {path for pattern in patterns for path in WEB.parent.glob(pattern) if path.is_file()}
    assert {path for path in WEB.rglob("*") if Path(path).is_file()} <= packaged
