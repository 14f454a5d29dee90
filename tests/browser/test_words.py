"""The page's pure functions, run in the browser: numbers as text, files and their channels."""

from typing import Any

from tests.browser.conftest import Visiting
from tests.support.api_server import ApiServer
from tests.support.browser_pages import Visit


def call(visit: Visit, function: str, module: str, *arguments: Any) -> Any:
    """Call an exported function of one of the page's modules."""
    script = """async ([module, name, values]) => {
        const exported = await import(`/web/${module}.js`);
        return exported[name](...values);
    }"""
    return visit.page.evaluate(script, [module, function, list(arguments)])


def test_numbers_are_formatted_for_people(server: ApiServer, visiting: Visiting) -> None:
    """Units fit the size, estimates are rounded, and only a certainty is shown as 0 % or 100 %."""
    visit = visiting(server.url)
    for function, value, text in (
        ("duration", 0.0042, "4 ms"),
        ("duration", 3.21, "3.2 s"),
        ("duration", 9.96, "10 s"),
        ("duration", 95, "1 min 35 s"),
        ("duration", 7300, "2 h 1 min"),
        ("about", 0.2, "a moment"),
        ("about", 2.04, "about 2 s"),
        ("about", 75, "about 1 min 15 s"),
        ("bytes", 512, "512 B"),
        ("bytes", 7_700_000, "7.7 MB"),
        ("bytes", 1_073_741_824, "1.1 GB"),
        ("percent", 0.973, "97 %"),
        ("percent", 0.999, "> 99 %"),
        ("percent", 1, "100 %"),
        ("percent", 0.001, "< 1 %"),
        ("millilitres", 83.104, "83.1 ml"),
        ("millilitres", 0.2, "0.20 ml"),
        ("count", 12345, "12,345"),
    ):
        assert call(visit, function, "ui/format", value) == text
    assert call(visit, "plural", "ui/format", 1, "scan") == "1 scan"
    assert call(visit, "plural", "ui/format", 3, "scan") == "3 scans"


def test_files_find_their_channels_by_name(server: ApiServer, visiting: Visiting) -> None:
    """A channel gets the one file whose name contains it; if there are two, the user chooses."""
    visit = visiting(server.url)
    inputs = [{"name": name} for name in ("t1c", "t1", "flair")]

    def matched(*names: str) -> dict[str, str]:
        files = [{"name": name} for name in names]
        found = call(visit, "matchChannels", "jobs/scan_files", files, inputs)
        return {channel: file["name"] for channel, file in found.items()}

    assert matched("sub-01_T1.nii.gz", "sub-01_t1c.nii.gz", "flair.nii") == {
        "t1": "sub-01_T1.nii.gz",
        "t1c": "sub-01_t1c.nii.gz",
        "flair": "flair.nii",
    }
    assert matched("a_flair.nii.gz", "b_flair.nii.gz", "xt1.nii.gz") == {}
    files = {"t1": {"name": "sub-01_t1.nii.gz"}, "flair": {"name": "sub-01_flair.nii.gz"}}
    assert call(visit, "scanName", "jobs/scan_files", files) == "sub-01"
