"""Hooks that MkDocs calls while it builds the site: fill in generated blocks, copy pictures.

A page may link to a picture anywhere in the repository, as ``../benchmarks/results/queue.png``:
the link works where the page is read as a file, and the site gets a copy.
"""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.generate.blocks import ROOT, expand

#: Where the site keeps copies of what is outside ``docs/``.
COPIES = "pictures"
_LINK = re.compile(r"(?<=\]\()(\.\./[^)#\s]+\.(?:png|svg))(?=\))")


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in the generated blocks of a page, and point its pictures to their copies."""
    source = page.file.abs_src_path
    if source is None:
        return markdown
    folder, docs = Path(source).parent, Path(config.docs_dir)

    def copied(link: re.Match[str]) -> str:
        picture = (folder / link[1]).resolve()
        if picture.is_relative_to(docs) or not picture.is_relative_to(ROOT):
            return link[1]
        uri = f"{COPIES}/{'-'.join(picture.relative_to(ROOT).parts)}"
        if files.get_file_from_path(uri) is None:
            files.append(File.generated(config, uri, abs_src_path=str(picture)))
        return os.path.relpath(docs / uri, folder)

    return _LINK.sub(copied, expand(markdown))
