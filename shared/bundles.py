"""One folder that means to be a model: what it is, and what keeps it from being served.

A folder may be looked at while somebody still copies into it. Weights that are archives, as all
that torch writes today are, tell by their end whether they are whole; others count once they have
been left alone for a while.
"""

import hashlib
import os
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared.configuration import Configuration
from shared.errors import ModelError
from shared.models import METADATA, ModelCard

#: Where a bundle's weights may lie: a state dict, TorchScript, or an exported program.
WEIGHTS = tuple(Path("models") / name for name in ("model.pt", "model.ts", "model.pt2"))

#: What is wrong with a bundle that changed this lately may come right by itself (seconds).
ARRIVAL_S = 10.0
#: Weights that cannot tell whether they are whole count once they have been still for so long.
STILL_S = 2.0

#: Only these decide how a model runs; whatever else lies beside them may change.
_PARTS = ("configs", "models")
_ARCHIVE = b"PK"
_SMALLEST_ARCHIVE_BYTES = 22
_LFS_POINTER = b"version https://git-lfs"
#: Form fields of a submit that an input must not be named like.
_TAKEN_FIELDS = frozenset({"model", "priority", "callback_url"})


@dataclass(frozen=True)
class Bundle:
    """A bundle as it lies on disk just now.

    ``fingerprint`` stands for the sizes and times of its files. ``card`` is None for a bundle
    that is not to be served, and ``problem`` says why; ``arriving`` tells that its files changed
    a moment ago, so that it may only be on its way.
    """

    name: str
    version: str
    folder: Path
    fingerprint: str
    card: ModelCard | None
    problem: str = ""
    arriving: bool = False

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def key(self) -> str:
        """What a verdict on these very files is kept under."""
        return f"{self.ref}:{self.fingerprint}"


@dataclass(frozen=True)
class FolderState:
    """The files of a bundle's folder: their fingerprint, and the last change as Unix seconds."""

    fingerprint: str
    changed_at: float

    @classmethod
    def of(cls, folder: Path) -> "FolderState":
        """Look at sizes and times of the files in ``folder``, and into none of them."""
        digest, changed_at = hashlib.sha256(), 0.0
        for path in _files(folder):
            try:
                seen = path.stat()
            except OSError:
                continue  # it went as we looked, and the next look tells
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name} {seen.st_size} {seen.st_mtime_ns}\n".encode())
            # A copy may keep the times of its source; only the inode's own tells when it came.
            changed_at = max(changed_at, seen.st_ctime)
        return cls(digest.hexdigest()[:16], changed_at)

    def still_for(self, seconds: float) -> bool:
        """Tell whether nothing has changed for so long."""
        return time.time() - self.changed_at >= seconds


def looks_like_bundle(folder: Path) -> bool:
    """Tell whether somebody means ``folder`` to be a bundle, whole or not."""
    return any((folder / part).is_dir() for part in _PARTS)


def read_bundle(folder: Path, state: FolderState) -> Bundle:
    """Read the bundle in ``<models>/<name>/<version>``; what is wrong becomes its problem."""
    name, version = folder.parent.name, folder.name
    try:
        card = ModelCard.read(folder)
        name, version = card.name, card.version
        Configuration.read(folder)
        _check_inputs(card)
        whole_by_form = _check_weights(folder)
    except ModelError as error:
        arriving = not state.still_for(ARRIVAL_S)
        return Bundle(name, version, folder, state.fingerprint, None, error.detail, arriving)
    if not whole_by_form and not state.still_for(STILL_S):
        problem = "Its weights changed a moment ago and may not be whole yet."
        return Bundle(name, version, folder, state.fingerprint, None, problem, arriving=True)
    return Bundle(name, version, folder, state.fingerprint, card)


def _check_inputs(card: ModelCard) -> None:
    names = [channel.name for channel in card.inputs]
    if len(set(names)) < len(names):
        raise ModelError(f"{METADATA} gives two inputs one name.")
    for name in names:
        # an input is a form field and part of a file's name in the store
        plain = name.replace("-", "").replace("_", "")
        if not (plain.isascii() and plain.isalnum()) or name in _TAKEN_FIELDS:
            raise ModelError(
                f"{METADATA} names an input {name!r}; use letters, digits, - and _, "
                f"and none of {', '.join(sorted(_TAKEN_FIELDS))}."
            )


def _check_weights(folder: Path) -> bool:
    """Return whether all weights tell by their form that they are whole.

    Raises:
        ModelError: There are no weights, or some are visibly not whole.

    """
    present = [path for path in WEIGHTS if (folder / path).is_file()]
    if not present:
        raise ModelError(
            f"There are no weights; they belong in one of {', '.join(map(str, WEIGHTS))}."
        )
    forms = [_is_whole_archive(folder, path) for path in present]  # each is looked at
    return all(forms)


def _is_whole_archive(folder: Path, path: Path) -> bool:
    try:
        with (folder / path).open("rb") as file:
            start = file.read(len(_LFS_POINTER))
        if len(start) < _SMALLEST_ARCHIVE_BYTES:
            raise ModelError(f"{path} is empty." if not start else f"{path} is not whole.")
        if start == _LFS_POINTER:
            raise ModelError(f"{path} is a pointer of Git LFS; fetch the file: git lfs pull.")
        if not start.startswith(_ARCHIVE):
            return False
        # The directory of an archive is its last part.
        with zipfile.ZipFile(folder / path):
            return True
    except OSError as error:
        raise ModelError(f"{path} cannot be read.") from error
    except zipfile.BadZipFile as error:
        raise ModelError(f"{path} is not whole: its end is missing.") from error


def _files(folder: Path) -> Iterator[Path]:
    for part in _PARTS:
        for root, folders, files in os.walk(folder / part):
            folders.sort()
            for name in sorted(files):
                yield Path(root) / name
