"""The facts of the README and the documentation, compared with the code."""

import re
from pathlib import Path
from types import ModuleType

import pytest

from api.http.static_page import WEB
from api.main import create_app
from docs.generate.blocks import BLOCKS, MARK, expand
from docs.generate.check_site import faults
from docs.generate.markdown import table
from docs.generate.python_page import module_reference
from shared import errors
from shared.settings import Settings
from shared.version import VERSION
from tests.support import documents
from tests.support.documents import PAGES, README, ROOT, name_of
from voxelq.cli.app import app

#: Figurative words that a newcomer would have to learn, each with the plain words to use instead.
PRIVATE = {
    r"hand(s|ed|ing)?( a scan| scans| it| one| them)? in": "submit",
    r"hand(s|ed|ing)? out": "return, send",
    "front desk": "API, HTTP service",
    "reading room": "worker",
    r"shel(f|ves)": "model cache",
    "verdicts?": "bundle status, result",
    "on offer": "available",
    "in hand": "active",
    r"abreast|company": "concurrent",
    r"claim(s|ed|ing)?": "lease, lock",
    "janitor": "retention",
    r"unpack(s|ed|ing)?": "decompress",
    r"hears? of|heard of": "receive",
    r"(come|comes|came) right": "recover",
    "to be had": "available",
    r"lets? go": "release",
    "anew": "again",
    r"whoever|somebody|nobody|everybody": "name the person or the component",
}
_PRIVATE = re.compile(rf"\b({'|'.join(PRIVATE)})\b", re.IGNORECASE)

#: The page's own files, with their comments.
PAGE_FILES = sorted(
    path
    for path in WEB.rglob("*")
    if path.suffix in {".css", ".html", ".js"} and WEB / "vendor" not in path.parents
)
#: Generated references whose texts users read.
REFERENCES = (
    "cli", "http-calls", "http-objects", "metrics", "packages", "problems", "python", "settings",
)  # fmt: skip


#: Folders whose files the pages may name; those of the code, not those that a user makes.
SOURCE_FOLDERS = (
    *("api", "worker", "shared", "voxelq", "planning", "training"),
    *("benchmarks", "deploy", "docs", "examples", "tests"),
)


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    """Return every generated block by its name."""
    return {name: generate() for name, generate in BLOCKS.items()}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    """No link of a page to a file leads nowhere."""
    targets = re.findall(r"\]\((?!https?:)([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def private_words(text: str) -> list[str]:
    """Return the private words in a text, each with what is around it."""
    return [text[max(0, hit.start() - 30) : hit.end() + 30] for hit in _PRIVATE.finditer(text)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_are_written_in_plain_words(page: Path) -> None:
    """No page uses a private word outside of code blocks."""
    prose = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    assert private_words(prose) == []


@pytest.mark.parametrize("file", PAGE_FILES, ids=name_of)
def test_the_web_page_is_written_in_plain_words(file: Path) -> None:
    """No text or comment of the web page uses a private word."""
    assert private_words(file.read_text("utf-8")) == []


@pytest.mark.parametrize("block", REFERENCES)
def test_references_are_written_in_plain_words(shown: dict[str, str], block: str) -> None:
    """No help of a command, and no description of a setting or a problem, uses a private word."""
    assert private_words(shown[block]) == []


def test_the_readme_can_be_read_in_one_go() -> None:
    """The README has about 150 lines."""
    assert len(README.read_text("utf-8").splitlines()) <= 160


def test_every_generated_block_is_on_a_page() -> None:
    """Pages name the blocks that there are, and no others."""
    named = [name for page in PAGES for name in MARK.findall(page.read_text("utf-8"))]
    assert sorted(named) == sorted(BLOCKS)


def test_an_unknown_block_ends_the_build() -> None:
    """A block that nothing generates is an error, and not an empty place."""
    with pytest.raises(KeyError, match="weather"):
        expand("before\n\n<!-- generated: weather -->\n")


def test_the_settings_are_those_of_the_code(shown: dict[str, str]) -> None:
    """Each setting has a row with its name, default and description, and an anchor to link to."""
    for name, field in Settings.model_fields.items():
        row = next(line for line in shown["settings"].splitlines() if f'id="{name}"' in line)
        assert row.replace("<wbr>", "").count(name.upper()) >= 1
        assert field.description is not None
        assert field.description.replace("|", "\\|") in row
        assert field.default in (None, "") or f"`{field.default}`" in row


def test_the_calls_are_those_of_the_service(shown: dict[str, str]) -> None:
    """Each route has a section, and each type of problem that it may answer with is named."""
    for path, methods in create_app(Settings()).openapi()["paths"].items():
        for method in methods:
            assert f"### {method.upper()} {path}\n" in shown["http-calls"]
    assert "`queue-full`" in shown["http-calls"]
    assert "### JobView\n" in shown["http-objects"]


def test_the_problems_are_those_of_the_code(shown: dict[str, str]) -> None:
    """Each kind of error has a row."""
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.VoxelQError):
            assert error is errors.VoxelQError or f"`{error.slug}`" in shown["problems"]


def test_the_metrics_have_names_kinds_and_labels(shown: dict[str, str]) -> None:
    """Metrics of this process, of the queue and of the workers are in one table."""
    text = shown["metrics"].replace("<wbr>", "")
    for row in (
        "voxelq_http_requests_total</code> | counter | `method`, `route`, `status`",
        "voxelq_waiting_jobs</code> | gauge | `priority`",
        "voxelq_stage_seconds</code> | histogram | `stage`",
    ):
        assert row in text


def test_every_command_has_a_section(shown: dict[str, str]) -> None:
    """The reference of the command line has each command, nested ones too."""
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__
        assert f"## voxelq {name}\n" in shown["cli"]
    assert "## voxelq models check\n" in shown["cli"]
    assert "--priority <stat\\|routine\\|bulk>" in shown["cli"]


def test_measurements_are_read_from_the_committed_results(shown: dict[str, str]) -> None:
    """Tables of measurements name their machine."""
    for name in (name for name in BLOCKS if name.endswith("-results")):
        assert "cores" in shown[name]
        assert shown[name].count("\n|") >= 3


def test_a_package_is_described_by_its_docstrings() -> None:
    """Public names have sections with signatures, in plain Markdown."""
    module = ModuleType("some_package")
    module.__dict__.update(__all__=["blocks"], blocks=documents.blocks)
    text = module_reference(module)
    assert "## blocks\n\n```python\nblocks(page: Path, language: str) -> list[str]\n```" in text
    assert "Those in `sh` can be run." in text


def test_a_bar_does_not_end_a_cell() -> None:
    """Values that contain a bar stay in their cell."""
    assert table(("a", "b"), [("x|y", "z")]) == "| a | b |\n|---|---|\n| x\\|y | z |\n"


def test_faults_of_the_built_site_are_found(tmp_path: Path) -> None:
    """Links and anchors that lead nowhere and files of other hosts are found; good ones are not."""
    (tmp_path / "other.html").write_text('<h1 id="here">x</h1><a href="https://example.org">y</a>')
    (tmp_path / "index.html").write_text(
        '<a href="other.html#here">1</a><a href="other.html#there">2</a><a href="none.html">3</a>'
        '<img src="none.png"><script src="https://example.org/x.js"></script>'
        '<link rel="canonical" href="https://example.org/">'
    )
    assert sorted(faults(tmp_path)) == [
        "index.html links to none.html, which does not exist",
        "index.html links to none.png, which does not exist",
        "index.html links to other.html#there, which does not exist",
        "index.html loads https://example.org/x.js",
    ]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_of_the_code_that_a_page_names_exist(page: Path) -> None:
    """No page names a file or folder of the code that does not exist."""
    text = page.read_text("utf-8").partition("\n## 0.1.0")[0]  # files of old versions may be gone
    paths = set(re.findall(rf"`((?:{'|'.join(SOURCE_FOLDERS)})/[\w./-]*)`", text))
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def test_the_map_of_the_code_is_complete(shown: dict[str, str]) -> None:
    """Every package has a description, and the page leads to at least 15 places to change."""
    packages = shown["packages"].replace("<wbr>", "")
    assert "| |" not in packages
    assert "worker/models/safe_load/</code> |" in packages
    page = (ROOT / "docs" / "design" / "source-files.md").read_text("utf-8")
    changes = re.findall(r"^\| .+ \| `([\w./-]+)` \|$", page, re.MULTILINE)
    assert len(changes) >= 15
    assert [path for path in changes if not (ROOT / path).exists()] == []


def test_the_version_is_the_same_everywhere() -> None:
    """Package, API, changelog and citation name one version."""
    released = re.findall(
        r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    cited = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert (create_app(Settings()).version, released[0], cited) == (VERSION, VERSION, [VERSION])
