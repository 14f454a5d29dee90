"""One folder that is meant to be a model: what it contains, or why it is not served.

A folder may be read while files are still copied into it. Weights that are archives, which is all
that torch writes today, show by their end whether they are complete. Other weights are served once
they have not changed for a while.

`read_bundle` never raises: for any files, the worst result is a `Bundle` with a problem.
"""

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from shared.bundles.archive_end import check_end
from shared.bundles.contents import BundleContents
from shared.bundles.files import METADATA, WEIGHTS, read_bytes
from shared.bundles.model_card import ModelCard
from shared.errors import ModelError

#: A problem of a bundle that changed so lately may go away: it may still be copied (seconds).
ARRIVAL_S = 10.0
#: Weights that are not archives are served once they have not changed for so long (seconds).
STILL_S = 2.0

#: Only files in these folders decide how a model runs; others may change.
_PARTS = ("configs", "models")
#: More files than any bundle has.
MAX_FILES = 2_000
#: Longest reason; longer ones are cut (characters).
MAX_REASON = 500
#: The fingerprint of files that cannot be read.
UNREADABLE = "unreadable"
#: Faults of a disk or a mount, which may pass. Missing and forbidden files are handled apart.
_PASSING_FAULTS = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EMFILE,
     errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
)  # fmt: skip

_ARCHIVE = b"PK"
_SMALLEST_ARCHIVE_BYTES = 22
_MAX_NAME = 100
_LFS_POINTER = b"version https://git-lfs"
#: Names of a submission's form fields, which an input must not have.
_TAKEN_FIELDS = frozenset({"model", "priority", "callback_url"})


@dataclass(frozen=True)
class Bundle:
    """A bundle as it is on disk now.

    ``fingerprint`` is a hash of the sizes and times of its files. ``contents`` is None for a bundle
    that cannot be served, and ``problem`` says why. ``arriving``: its files changed a moment ago,
    so it may still be copied.
    """

    name: str
    version: str
    folder: Path
    fingerprint: str
    contents: BundleContents | None = field(repr=False)
    problem: str = ""
    arriving: bool = False

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def card(self) -> ModelCard | None:
        """The model card; None for a bundle that cannot be served."""
        return self.contents.card if self.contents is not None else None

    @property
    def key(self) -> str:
        """The key of this version with exactly these files."""
        return f"{self.ref}:{self.fingerprint}"


@dataclass(frozen=True)
class FolderState:
    """The files of a bundle's folder: their fingerprint, and the last change as Unix seconds."""

    fingerprint: str
    changed_at: float

    @classmethod
    def of(cls, folder: Path) -> "FolderState":
        """Read sizes and times of the files in ``folder``; no file is opened.

        Raises:
            ModelError: There are too many files.
            OSError: The disk or the mount fails, or a folder may not be read.
        """
        digest, changed_at = hashlib.sha256(), 0.0
        for path in _files(folder):
            try:
                seen = path.stat()
            except OSError as error:
                if error.errno in _PASSING_FAULTS:
                    raise
                continue  # deleted since it was listed; the next reading shows it
            name = path.relative_to(folder).as_posix()
            digest.update(os.fsencode(f"{name} {seen.st_size} {seen.st_mtime_ns}\n"))
            # A copy may keep the times of its source, but never the inode's own time.
            changed_at = max(changed_at, seen.st_ctime)
        return cls(digest.hexdigest()[:16], changed_at)

    def still_for(self, seconds: float) -> bool:
        """Tell whether nothing has changed for ``seconds``."""
        return time.time() - self.changed_at >= seconds


def looks_like_bundle(folder: Path) -> bool:
    """Tell whether ``folder`` is meant to be a bundle, complete or not."""
    try:
        return any((folder / part).is_dir() for part in _PARTS)
    except OSError:
        return True  # unknown; reading it gives the problem


def read_bundle(folder: Path, known: Bundle | None = None) -> Bundle:
    """Return the bundle in ``<models>/<name>/<version>`` as it is now; never raises.

    Args:
        folder: The bundle's folder.
        known: The result of the last reading, which is returned again if no file has changed.
    """
    try:
        state = FolderState.of(folder)
        if known and known.fingerprint == state.fingerprint and not known.arriving:
            return known
        return _read(folder, state)
    except OSError as error:
        if known is not None and error.errno in _PASSING_FAULTS:
            return known
        arriving = error.errno in _PASSING_FAULTS
        return unserved(
            folder, UNREADABLE, f"It cannot be read: {error.strerror}.", arriving=arriving
        )
    except ModelError as error:
        return unserved(folder, UNREADABLE, error.detail)
    except Exception as error:  # users wrote the files, and they may exhaust the memory
        return unserved(folder, UNREADABLE, f"It cannot be read: {type(error).__name__}.")


def _read(folder: Path, state: FolderState) -> Bundle:
    name, version = folder.parent.name, folder.name
    try:
        _check_path(folder)
        contents = BundleContents.read(folder)
        name, version = contents.card.name, contents.card.version
        _check_inputs(contents.card)
        known_complete = _check_weights(contents)
    except ModelError as error:
        cause = error.__cause__
        arriving = not state.still_for(ARRIVAL_S)
        fingerprint = state.fingerprint
        if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
            # That it can be read again changes no file, so no fingerprint would show it.
            fingerprint = UNREADABLE
            arriving = arriving or cause.errno in _PASSING_FAULTS
        return unserved(folder, fingerprint, error.detail, name, version, arriving=arriving)
    if not known_complete and not state.still_for(STILL_S):
        problem = "Its weights changed a moment ago and may not be whole yet."
        return unserved(folder, state.fingerprint, problem, name, version, arriving=True)
    return Bundle(name, version, folder, state.fingerprint, contents)


def unserved(
    folder: Path,
    fingerprint: str,
    problem: str,
    name: str | None = None,
    version: str | None = None,
    *,
    arriving: bool = False,
) -> Bundle:
    """Return a bundle that is not served; its texts are printable and bounded.

    Without a ``name`` and a ``version`` of its own it has those of its folder.
    """
    shown = (
        _printable(folder.parent.name if name is None else name, _MAX_NAME),
        _printable(folder.name if version is None else version, _MAX_NAME),
    )
    words = _printable(problem, MAX_REASON)
    return Bundle(*shown, folder, fingerprint, None, words, arriving)


def _printable(text: str, most: int) -> str:
    """Return at most ``most`` characters of a user's text, unprintable ones replaced."""
    start = text[: most + 1].replace("\n", " ")
    plain = "".join(char if char.isprintable() else "?" for char in start)
    return plain if len(plain) <= most else f"{plain[: most - 3]}..."


def _check_path(folder: Path) -> None:
    try:
        str(folder).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ModelError("The name of its folder is not UTF-8.") from error


def _check_inputs(card: ModelCard) -> None:
    names = [channel.name for channel in card.inputs]
    if len(set(names)) < len(names):
        raise ModelError(f"{METADATA} gives two inputs one name.")
    for name in names:
        # an input's name is a form field, and part of a file name in the store
        plain = name.replace("-", "").replace("_", "")
        if not (plain.isascii() and plain.isalnum()) or name in _TAKEN_FIELDS:
            raise ModelError(
                f"{METADATA} names an input {name!r}; use letters, digits, - and _, "
                f"and none of {', '.join(sorted(_TAKEN_FIELDS))}."
            )


def _check_weights(contents: BundleContents) -> bool:
    """Return whether all weights are archives, which are known to be complete.

    Raises:
        ModelError: There are no weights, or a file is visibly incomplete.
    """
    if not contents.weights:
        raise ModelError(
            f"There are no weights; they belong in one of {', '.join(map(str, WEIGHTS))}."
        )
    are_archives = [_is_archive(contents.folder, path) for path in sorted(contents.weights)]
    return all(are_archives)


def _is_archive(folder: Path, path: Path) -> bool:
    """Return whether a file of weights is an archive.

    Raises:
        ModelError: It is visibly incomplete.
    """
    start = read_bytes(folder / path, len(_LFS_POINTER), str(path))
    if len(start) < _SMALLEST_ARCHIVE_BYTES:
        raise ModelError(f"{path} is empty." if not start else f"{path} is not whole.")
    if start == _LFS_POINTER:
        raise ModelError(f"{path} is a pointer of Git LFS; fetch the file: git lfs pull.")
    if not start.startswith(_ARCHIVE):
        return False
    # An archive ends with its directory, so a copy that is not complete has none.
    check_end(folder / path, str(path))
    return True


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files that decide how a model runs, in one order.

    Raises:
        ModelError: There are too many.
        OSError: A folder cannot be listed.
    """
    left = MAX_FILES
    waiting = [folder / part for part in reversed(_PARTS) if (folder / part).is_dir()]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            listed = sorted(islice(entries, left + 1), key=lambda entry: entry.name)
        left -= len(listed)
        if left < 0:
            raise ModelError(f"It has more than {MAX_FILES} files.")
        for entry in listed:
            if not entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)
        waiting += [
            Path(entry.path) for entry in reversed(listed) if entry.is_dir(follow_symlinks=False)
        ]
