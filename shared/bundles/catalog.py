"""Which model bundles are on disk now.

A scan of the folders reads sizes and times of the bundles' files, and opens only what has changed.
If a folder of models cannot be listed, its bundles stay known as they were last read.
"""

import math
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from shared.bundles.bundle import Bundle, looks_like_bundle, read_bundle, unserved
from shared.bundles.files import METADATA

#: More models, and more versions of all models, than one folder has. What exceeds them is ignored,
#: because each takes time to scan.
MAX_NAMES, MAX_BUNDLES = 5_000, 2_000


class ModelCatalog:
    """The bundles ``<root>/<name>/<version>/`` under some folders.

    Of two bundles with the same name and version, the one in the earlier folder is used, even if it
    is broken. Names that begin with a dot are ignored, so that a bundle can be copied under such a
    name and renamed once it is complete.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = [root.resolve() for root in roots]
        self._known: dict[Path, Bundle] = {}
        self._unreadable: frozenset[Path] = frozenset()
        self._last: tuple[float, object, list[Bundle]] = (-math.inf, None, [])

    def bundles(self, *, max_age_s: float = 0.0) -> list[Bundle]:
        """Return every bundle as it is on disk now, by name, in no order of versions.

        A scan that is at most ``max_age_s`` old is reused, unless a folder was added or removed.
        """
        scanned_at, last_folders, bundles = self._last
        folders = self._folder_times()
        if time.monotonic() - scanned_at < max_age_s and folders == last_folders:
            return bundles
        bundles = self._scan()
        self._last = (time.monotonic(), folders, bundles)
        return bundles

    def find(self, ref: str) -> Bundle | None:
        """Return the bundle ``name@version`` as it is on disk now."""
        return next((bundle for bundle in self.bundles() if bundle.ref == ref), None)

    @property
    def is_readable(self) -> bool:
        """Whether the last scan could list every folder of models."""
        return not self._unreadable.intersection(self._roots)

    def could_see(self, folder: Path) -> bool:
        """Tell whether the last scan could have seen a bundle in ``folder``."""
        return self._unreadable.isdisjoint(folder.parents)

    def _folder_times(self) -> list[tuple[Path, int]]:
        """Return when an entry was last added to, or removed from, each folder of bundles."""
        times = []
        for root in self._roots:
            for folder in (root, *(_subfolders(root, MAX_NAMES) or ())):
                with suppress(OSError):
                    times.append((folder, folder.stat().st_mtime_ns))
        return times

    def _scan(self) -> list[Bundle]:
        unreadable: set[Path] = set()
        by_folder: dict[Path, Bundle] = {}
        by_ref: dict[str, Bundle] = {}
        for root in self._roots:
            in_root: dict[str, Bundle] = {}
            bundles = self._scan_root(root, unreadable)
            # Of two with one name, the one whose folder is named so is the original.
            for bundle in sorted(bundles, key=_is_named_otherwise):
                by_folder[bundle.folder] = bundle
                original = in_root.get(bundle.ref)
                shown = bundle if original is None else _duplicate(bundle, original)
                in_root[shown.ref] = shown
            by_ref = {**in_root, **by_ref}
        self._known, self._unreadable = by_folder, frozenset(unreadable)
        return sorted(by_ref.values(), key=lambda bundle: bundle.name)

    def _scan_root(self, root: Path, unreadable: set[Path]) -> list[Bundle]:
        """Return the bundles under ``root``; what cannot be listed is added to ``unreadable``."""
        bundles: list[Bundle] = []
        names = _subfolders(root, MAX_NAMES)
        if names is None:
            unreadable.add(root)
            return [bundle for folder, bundle in self._known.items() if root in folder.parents]
        for name in names:
            versions = _subfolders(name, MAX_BUNDLES)
            if versions is None:
                unreadable.add(name)
                known = [bundle for path, bundle in self._known.items() if path.parent == name]
                bundles += known or [unserved(name, "", "It cannot be read.", name.name, "")]
                continue
            if _is_file(name / METADATA):
                problem = f"Its version has no folder: {METADATA} belongs in <name>/<version>/."
                bundles.append(unserved(name, "", problem, name.name, ""))
            for version in versions:
                if len(bundles) >= MAX_BUNDLES:
                    return bundles
                if looks_like_bundle(version):
                    bundles.append(read_bundle(version, self._known.get(version)))
        return bundles


def _subfolders(folder: Path, most: int) -> list[Path] | None:
    """Return the first of the folders in ``folder``, by name; None if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name for entry in entries if not entry.name.startswith(".") and _is_dir(entry)
            ]
    except OSError:
        return None  # it may be mounted later
    return [folder / name for name in sorted(names)[:most]]


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # for example a link to itself


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _is_named_otherwise(bundle: Bundle) -> bool:
    return (bundle.name, bundle.version) != (bundle.folder.parent.name, bundle.folder.name)


def _duplicate(bundle: Bundle, original: Bundle) -> Bundle:
    """Return the second of two folders with one model and version, as a bundle with a problem."""
    problem = (
        f"Its {METADATA} says {bundle.ref}, as that in the folder {original.folder.name} does."
    )
    return unserved(bundle.folder, bundle.fingerprint, problem)
