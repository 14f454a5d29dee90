"""``python -m docs.generate.check_site FOLDER``: check the links of the built site.

Every linked page and anchor must exist. Nothing may be loaded from another host, because the site
must work without a network.
"""

import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: Attributes that make a page load a file, and not only link to it.
_LOADS = {
    ("script", "src"),
    ("img", "src"),
    ("source", "src"),
    ("iframe", "src"),
    ("image", "href"),
    ("link", "href"),
}
#: Kinds of ``<link>`` that load nothing.
_RELATIONS = {"canonical", "next", "prev", "edit"}


@dataclass
class _Page(HTMLParser):
    """The anchors of one page, what it links to and what it loads."""

    anchors: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    loads: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors.update(values[name] for name in ("id", "name") if name in values)
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        related = set(values.get("rel", "").split())
        for name, value in values.items():
            if (tag, name) in _LOADS and not related & _RELATIONS:
                self.loads.add(value)


def faults(site: Path) -> list[str]:
    """Return descriptions of the broken links of a built site."""
    pages: dict[Path, _Page] = {}
    for path in sorted(site.rglob("*.html")):
        pages[path] = _Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    broken = []
    for path, page in pages.items():
        name = path.relative_to(site)
        broken += [f"{name} loads {load}" for load in sorted(page.loads) if _is_foreign(load)]
        local = {link for link in page.links | page.loads if not _is_foreign(link)}
        broken += [
            f"{name} links to {link}, which does not exist"
            for link in sorted(local)
            if not _exists(link, path, site, pages)
        ]
    return broken


def _is_foreign(link: str) -> bool:
    parts = urlsplit(link)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def _exists(link: str, path: Path, site: Path, pages: dict[Path, _Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme:
        return True
    place = unquote(parts.path)
    target = path
    if place:
        base = site if place.startswith("/") else path.parent
        target = (base / place.lstrip("/")).resolve()
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(site) or not target.exists():
        return False
    anchor = unquote(parts.fragment)
    return not anchor or target not in pages or anchor in pages[target].anchors


def main() -> None:
    """Print the faults, and exit with 1 if there are any."""
    broken = faults(Path(sys.argv[1]).resolve())
    sys.stdout.write("".join(f"{fault}\n" for fault in broken))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
