"""One folder that means to be a model: what it is, and what keeps it from being served.

A folder may be looked at while files are still copied into it. Weights that are archives, as all
that torch writes today are, tell by their end whether they are whole; others count once they have
been left alone for a while.

`look_at` is the boundary round one bundle: whatever its files are, the worst that comes of them is
a `Bundle` with a problem.
"""

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from shared.bundles.archive_end import check_end
from shared.bundles.files import read_bytes
from shared.bundles.model_card import METADATA, ModelCard
from shared.errors import ModelError

#: Where a bundle's weights may lie: a state dict, TorchScript, or an exported program.
WEIGHTS = tuple(Path("models") / name for name in ("model.pt", "model.ts", "model.pt2"))

#: What is wrong with a bundle that changed this lately may come right by itself (seconds).
ARRIVAL_S = 10.0
#: Weights that cannot tell whether they are whole count once they have been still for so long.
STILL_S = 2.0

#: Only these decide how a model runs; whatever else lies beside them may change.
_PARTS = ("configs", "models")
#: More files than any bundle has.
MAX_FILES = 2_000
#: A reason is cut to so many characters.
MAX_REASON = 500
#: What the fingerprint is of files that cannot be looked at.
UNREADABLE = "unreadable"
#: A fault of a disk or of a mount, which may pass; a file that is gone or forbidden is told apart.
_PASSING_FAULTS = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EMFILE,
     errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
)  # fmt: skip

_ARCHIVE = b"PK"
_SMALLEST_ARCHIVE_BYTES = 22
_MAX_NAME = 100
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
        """Look at sizes and times of the files in ``folder``, and into none of them.

        Raises:
            ModelError: There are too many.
            OSError: Its disk or its mount fails, or a folder may not be read.
        """
        digest, changed_at = hashlib.sha256(), 0.0
        for path in _files(folder):
            try:
                seen = path.stat()
            except OSError as error:
                if error.errno in _PASSING_FAULTS:
                    raise
                continue  # it went while this looked, and the next look tells
            name = path.relative_to(folder).as_posix()
            digest.update(os.fsencode(f"{name} {seen.st_size} {seen.st_mtime_ns}\n"))
            # A copy may keep the times of its source; only the inode's own tells when it came.
            changed_at = max(changed_at, seen.st_ctime)
        return cls(digest.hexdigest()[:16], changed_at)

    def still_for(self, seconds: float) -> bool:
        """Tell whether nothing has changed for so long."""
        return time.time() - self.changed_at >= seconds


def looks_like_bundle(folder: Path) -> bool:
    """Tell whether ``folder`` is meant to be a bundle, whole or not."""
    try:
        return any((folder / part).is_dir() for part in _PARTS)
    except OSError:
        return True  # which it is cannot be seen, and its problem tells


def look_at(folder: Path, known: Bundle | None = None) -> Bundle:
    """Return the bundle in ``<models>/<name>/<version>`` as it is now; never raises.

    Args:
        folder: The bundle's.
        known: What the last look found, which stands while no file has changed.
    """
    try:
        state = FolderState.of(folder)
        if known and known.fingerprint == state.fingerprint and not known.arriving:
            return known
        return read_bundle(folder, state)
    except OSError as error:
        if known is not None and error.errno in _PASSING_FAULTS:
            return known
        arriving = error.errno in _PASSING_FAULTS
        return unserved(
            folder, UNREADABLE, f"It cannot be read: {error.strerror}.", arriving=arriving
        )
    except ModelError as error:
        return unserved(folder, UNREADABLE, error.detail)
    except Exception as error:  # a user's own files, and memory may run out over them
        return unserved(folder, UNREADABLE, f"It cannot be read: {type(error).__name__}.")


def read_bundle(folder: Path, state: FolderState) -> Bundle:
    """Read the bundle in ``<models>/<name>/<version>``; what is wrong becomes its problem."""
    name, version = folder.parent.name, folder.name
    try:
        _check_path(folder)
        card = ModelCard.read(folder)
        name, version = card.name, card.version
        _check_inputs(card)
        whole_by_form = _check_weights(folder)
    except ModelError as error:
        cause = error.__cause__
        arriving = not state.still_for(ARRIVAL_S)
        fingerprint = state.fingerprint
        if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
            # No file tells when it can be read again.
            fingerprint = UNREADABLE
            arriving = arriving or cause.errno in _PASSING_FAULTS
        return unserved(folder, fingerprint, error.detail, name, version, arriving=arriving)
    if not whole_by_form and not state.still_for(STILL_S):
        problem = "Its weights changed a moment ago and may not be whole yet."
        return unserved(folder, state.fingerprint, problem, name, version, arriving=True)
    return Bundle(name, version, folder, state.fingerprint, card)


def unserved(
    folder: Path,
    fingerprint: str,
    problem: str,
    name: str | None = None,
    version: str | None = None,
    *,
    arriving: bool = False,
) -> Bundle:
    """Return a bundle that is not to be served, in words that any answer can hold.

    Without a ``name`` and a ``version`` of its own it is called what its folder is.
    """
    shown = (
        _printable(folder.parent.name if name is None else name, _MAX_NAME),
        _printable(folder.name if version is None else version, _MAX_NAME),
    )
    words = _printable(problem, MAX_REASON)
    return Bundle(*shown, folder, fingerprint, None, words, arriving)


def _printable(text: str, most: int) -> str:
    """Return a text of a user's own files without what a terminal or an answer cannot show."""
    start = text[: most + 1].replace("\n", " ")
    plain = "".join(one if one.isprintable() else "?" for one in start)
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
    present = [path for path in WEIGHTS if os.path.lexists(folder / path)]
    if not present:
        raise ModelError(
            f"There are no weights; they belong in one of {', '.join(map(str, WEIGHTS))}."
        )
    forms = [_is_whole_archive(folder, path) for path in present]  # each is looked at
    return all(forms)


def _is_whole_archive(folder: Path, path: Path) -> bool:
    start = read_bytes(folder / path, len(_LFS_POINTER), str(path))
    if len(start) < _SMALLEST_ARCHIVE_BYTES:
        raise ModelError(f"{path} is empty." if not start else f"{path} is not whole.")
    if start == _LFS_POINTER:
        raise ModelError(f"{path} is a pointer of Git LFS; fetch the file: git lfs pull.")
    if not start.startswith(_ARCHIVE):
        return False
    # The directory of an archive is its last part.
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
