"""Which model bundles are on disk, found afresh at every look.

A look stats the bundles' files; it opens them only where something has changed. A folder of models
that cannot be listed just now says nothing about its bundles: they stay known as last seen.
"""

import math
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from shared.bundles.bundle import Bundle, look_at, looks_like_bundle, unserved
from shared.bundles.model_card import METADATA

#: More models, and more versions of them all, than one folder of models has; others are passed
#: over, for each look takes its time.
MAX_NAMES, MAX_BUNDLES = 5_000, 2_000


class ModelCatalog:
    """The bundles ``<root>/<name>/<version>/`` under some folders.

    Of two bundles with the same name and version the one in the earlier folder counts, usable or
    not. Names that begin with a dot are passed over, so that a bundle can be copied under one and
    renamed once it is whole.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = [root.resolve() for root in roots]
        self._known: dict[Path, Bundle] = {}
        self._unreadable: frozenset[Path] = frozenset()
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

    @property
    def is_readable(self) -> bool:
        """Whether the last look could list every folder of models."""
        return not self._unreadable.intersection(self._roots)

    def could_see(self, folder: Path) -> bool:
        """Tell whether the last look could have seen a bundle in ``folder``."""
        return self._unreadable.isdisjoint(folder.parents)

    def _folder_times(self) -> list[tuple[Path, int]]:
        """Return when something last came to, or went from, the folders that hold bundles."""
        times = []
        for root in self._roots:
            for folder in (root, *(_subfolders(root, MAX_NAMES) or ())):
                with suppress(OSError):
                    times.append((folder, folder.stat().st_mtime_ns))
        return times

    def _look_at_all(self) -> list[Bundle]:
        unreadable: set[Path] = set()
        found: dict[Path, Bundle] = {}
        by_ref: dict[str, Bundle] = {}
        for root in self._roots:
            here: dict[str, Bundle] = {}
            bundles = self._look_into(root, unreadable)
            # A folder that is named as its bundle says is no copy of another.
            for bundle in sorted(bundles, key=_is_named_otherwise):
                found[bundle.folder] = bundle
                twin = here.get(bundle.ref)
                shown = bundle if twin is None else _refuse_twin(bundle, twin)
                here[shown.ref] = shown
            by_ref = {**here, **by_ref}
        self._known, self._unreadable = found, frozenset(unreadable)
        return sorted(by_ref.values(), key=lambda bundle: bundle.name)

    def _look_into(self, root: Path, unreadable: set[Path]) -> list[Bundle]:
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
                seen = [known for path, known in self._known.items() if path.parent == name]
                bundles += seen or [unserved(name, "", "It cannot be read.", name.name, "")]
                continue
            if _is_file(name / METADATA):
                words = f"Its version has no folder: {METADATA} belongs in <name>/<version>/."
                bundles.append(unserved(name, "", words, name.name, ""))
            for version in versions:
                if len(bundles) >= MAX_BUNDLES:
                    return bundles
                if looks_like_bundle(version):
                    bundles.append(look_at(version, self._known.get(version)))
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
        return False  # a link to itself, say


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _is_named_otherwise(bundle: Bundle) -> bool:
    return (bundle.name, bundle.version) != (bundle.folder.parent.name, bundle.folder.name)


def _refuse_twin(bundle: Bundle, twin: Bundle) -> Bundle:
    """Report the second of two folders that say they are the same model and version."""
    words = f"Its {METADATA} says {bundle.ref}, as that in the folder {twin.folder.name} does."
    return unserved(bundle.folder, bundle.fingerprint, words)
