"""Which model bundles lie on disk, found afresh at every look.

A look stats the bundles' files; it opens them only where something has changed.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from shared.bundles import Bundle, FolderState, looks_like_bundle, read_bundle
from shared.models import METADATA


class ModelCatalog:
    """The bundles ``<root>/<name>/<version>/`` under some folders.

    Of two bundles with the same name and version the one in the earlier folder counts, usable or
    not. Names that begin with a dot are passed over, so that a bundle can be copied under one and
    renamed once it is whole.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = [root.resolve() for root in roots]
        self._known: dict[Path, Bundle] = {}
        self._last: tuple[float, object, list[Bundle]] = (-math.inf, None, [])

    def bundles(self, *, max_age_s: float = 0.0) -> list[Bundle]:
        """Return every bundle as it lies there now, by name, in no order of versions.

        With ``max_age_s`` a look that is no older will do, unless a folder has come or gone since.
        """
        looked_at, then, bundles = self._last
        folders = self._folder_times()
        if time.monotonic() - looked_at < max_age_s and folders == then:
            return bundles
        bundles = self._look_at_all()
        self._last = (time.monotonic(), folders, bundles)
        return bundles

    def find(self, ref: str) -> Bundle | None:
        """Return the bundle ``name@version`` as it lies there now."""
        return next((bundle for bundle in self.bundles() if bundle.ref == ref), None)

    def _folder_times(self) -> list[tuple[Path, int]]:
        """Return when something last came to, or went from, the folders that hold bundles."""
        folders = [folder for root in self._roots for folder in (root, *_subfolders(root))]
        times = []
        for folder in folders:
            with suppress(OSError):
                times.append((folder, folder.stat().st_mtime_ns))
        return times

    def _look_at_all(self) -> list[Bundle]:
        found: dict[Path, Bundle] = {}
        by_ref: dict[str, Bundle] = {}
        for root in self._roots:
            here: dict[str, Bundle] = {}
            for folder in _version_folders(root):
                bundle = found[folder] = self._look(folder)
                twin = here.get(bundle.ref)
                if twin is not None:
                    bundle = _refuse_twin(bundle, twin)
                here[bundle.ref] = bundle
            by_ref = {**here, **by_ref}
        self._known = found
        return sorted(by_ref.values(), key=lambda bundle: bundle.name)

    def _look(self, folder: Path) -> Bundle:
        state = FolderState.of(folder)
        known = self._known.get(folder)
        if known and known.fingerprint == state.fingerprint and not known.arriving:
            return known
        if folder.parent in self._roots:
            words = f"Its version has no folder: {METADATA} belongs in <name>/<version>/."
            return Bundle(folder.name, "", folder, state.fingerprint, None, words)
        return read_bundle(folder, state)


def _version_folders(root: Path) -> Iterator[Path]:
    for name in _subfolders(root):
        if (name / METADATA).is_file():
            yield name  # which has no version, and is to hear of it
        for version in _subfolders(name):
            if looks_like_bundle(version):
                yield version


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(
            path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
    except OSError:
        return []  # it may be mounted later


def _refuse_twin(bundle: Bundle, twin: Bundle) -> Bundle:
    """Report the second of two folders that say they are the same model and version."""
    words = f"Its {METADATA} says {bundle.ref}, as that in the folder {twin.folder.name} does."
    name = bundle.folder.parent.name
    return replace(bundle, name=name, version=bundle.folder.name, card=None, problem=words)
