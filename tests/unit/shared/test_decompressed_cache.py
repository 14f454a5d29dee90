"""Decompressed copies of scans: when there is one, and when it is deleted."""

import errno
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from ulid import ULID

from shared.errors import StoreFull
from shared.storage.decompressed_cache import KEPT_S
from shared.storage.store import ScanStore

COMPRESSED, DECOMPRESSED = b"as uploaded", b"as decompressed by the API"


@pytest.fixture
def store(tmp_path: Path) -> ScanStore:
    """A store with space for two and a half copies."""
    return ScanStore(f"file://{tmp_path}/store", decompressed_bytes=5 * len(DECOMPRESSED) // 2)


def submitted(store: ScanStore, job_id: str = "", channel: str = "scan") -> str:
    """Store a scan and return its key."""
    key = store.scan_key(job_id or str(ULID()), channel, gzipped=True)
    store.write(key, COMPRESSED)
    return key


def decompressed(store: ScanStore, key: str) -> bool:
    """Write a complete copy of the scan if there is space; return whether there was."""
    copy = store.begin_decompressed(key, len(DECOMPRESSED))
    if copy:
        for at in range(0, len(DECOMPRESSED), 10):
            copy.write(DECOMPRESSED[at : at + 10])
        copy.finish()
    return copy is not None


def read(store: ScanStore, key: str) -> bytes:
    """Read the scan as a worker does."""
    with store.open_scan(key) as file:
        return file.read()


def leftovers(store: ScanStore, tmp_path: Path) -> list[Path]:
    """Return what exists in the folder of the copies."""
    return list((tmp_path / "store" / "unpacked").glob("*"))


def test_a_copy_is_read_once(store: ScanStore, tmp_path: Path) -> None:
    """The first reader gets the copy, which is then deleted; the next gets the scan itself."""
    key = submitted(store)
    assert decompressed(store, key)
    assert read(store, key) == DECOMPRESSED
    assert leftovers(store, tmp_path) == []
    assert read(store, key) == COMPRESSED


def test_channels_have_copies_of_their_own(store: ScanStore, tmp_path: Path) -> None:
    """Reading one channel leaves the copy of another."""
    job_id = str(ULID())
    first, second = (submitted(store, job_id, channel) for channel in ("t1", "flair"))
    assert decompressed(store, first)
    assert decompressed(store, second)
    assert read(store, first) == read(store, second) == DECOMPRESSED
    assert leftovers(store, tmp_path) == []


def test_an_unfinished_copy_is_not_read(store: ScanStore) -> None:
    """A copy that its API process never finished is not read by a worker."""
    key = submitted(store)
    copy = store.begin_decompressed(key, len(DECOMPRESSED))
    assert copy is not None
    copy.write(DECOMPRESSED[:10])
    assert read(store, key) == COMPRESSED
    copy.abandon()


def test_a_copy_from_before_a_crash_is_not_read(
    store: ScanStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart of the machine a copy may lack bytes, so that the scan itself is read."""
    key = submitted(store)
    assert decompressed(store, key)
    monkeypatch.setattr("shared.storage.store.read_boot_id", lambda: "another")
    assert read(ScanStore(f"file://{tmp_path}/store"), key) == COMPRESSED


def test_copies_stay_within_their_budget(store: ScanStore) -> None:
    """A third copy has no space until another is read or abandoned; a too large one never has."""
    keys = [submitted(store) for _ in range(4)]
    assert [decompressed(store, key) for key in keys[:3]] == [True, True, False]
    assert read(store, keys[0]) == DECOMPRESSED
    begun = store.begin_decompressed(keys[2], len(DECOMPRESSED))
    assert begun is not None
    assert not decompressed(store, keys[3])  # an unfinished copy counts with its final size
    begun.abandon()
    assert decompressed(store, keys[3])
    assert not ScanStore("file:///nowhere", decompressed_bytes=10).begin_decompressed(keys[0], 11)


def test_other_stores_keep_no_copies() -> None:
    """If a store is not on a disk, or has no budget for copies, the scan itself is read."""
    store = ScanStore("memory://copies", decompressed_bytes=1 << 20)
    key = submitted(store)
    assert not decompressed(store, key)
    assert read(store, key) == COMPRESSED


def test_a_deleted_job_leaves_no_copy(store: ScanStore, tmp_path: Path) -> None:
    """Deleting a job deletes its copies, finished or not."""
    job_id = str(ULID())
    assert decompressed(store, submitted(store, job_id, "t1"))
    begun = store.begin_decompressed(submitted(store, job_id, "flair"), len(DECOMPRESSED))
    assert begun is not None
    store.delete_job(job_id)
    assert leftovers(store, tmp_path) == []
    begun.write(DECOMPRESSED)
    begun.finish()
    assert leftovers(store, tmp_path) == []


def test_old_copies_are_deleted(store: ScanStore, tmp_path: Path) -> None:
    """Copies of jobs that were submitted long ago are deleted, those of recent jobs are kept."""
    old = str(ULID.from_timestamp(time.time() - KEPT_S - 5))
    key = submitted(store)
    assert decompressed(store, submitted(store, old))
    assert decompressed(store, key)
    store.sweep_decompressed()
    assert [folder.name for folder in leftovers(store, tmp_path)] == [key.split("/")[1]]


def test_other_files_are_left_alone(store: ScanStore, tmp_path: Path) -> None:
    """A file or folder that belongs to no job prevents no copy, and is kept."""
    folder = tmp_path / "store" / "unpacked"
    (folder / "lost+found").mkdir(parents=True)
    (folder / ".hidden").touch()
    key = submitted(store)
    assert decompressed(store, key)
    assert read(store, key) == DECOMPRESSED
    assert {path.name for path in leftovers(store, tmp_path)} == {"lost+found", ".hidden"}


@contextmanager
def files_at_most(size_bytes: int) -> Iterator[None]:
    """Make the system refuse larger files, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_costs_the_copy_only(store: ScanStore, tmp_path: Path) -> None:
    """A copy for which there is no space, at its start or later, is abandoned without an error."""
    first, second = submitted(store), submitted(store)
    with files_at_most(15):
        assert not decompressed(store, first)
    begun = store.begin_decompressed(second, len(DECOMPRESSED))
    assert begun is not None
    with files_at_most(15):
        begun.write(DECOMPRESSED)
    begun.finish()
    assert [read(store, key) for key in (first, second)] == [COMPRESSED, COMPRESSED]
    assert list((tmp_path / "store" / "unpacked").glob("*/*")) == []


def test_copies_are_deleted_first_when_the_disk_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies are deleted for an upload that would not fit, and no new ones are written."""
    free = [1 << 40]
    usage = SimpleNamespace(total=1 << 40)

    def disk_usage(_: object) -> SimpleNamespace:
        held = sum(path.stat().st_size for path in tmp_path.rglob("unpacked/*/*"))
        return SimpleNamespace(free=free[0] - held, total=usage.total)

    monkeypatch.setattr("shutil.disk_usage", disk_usage)
    store = ScanStore(f"file://{tmp_path}/store", decompressed_bytes=1 << 20, reserve_bytes=1000)
    key = submitted(store)
    assert decompressed(store, key)
    free[0] = 1000 + len(COMPRESSED)
    assert not decompressed(store, submitted(store))
    store.check_room(len(COMPRESSED))
    assert read(store, key) == COMPRESSED
    with pytest.raises(StoreFull):
        store.check_room(len(COMPRESSED) + 1)


def test_a_mask_gets_the_space_of_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that does not fit is written again after the copies were deleted."""
    store = ScanStore(f"file://{tmp_path}/store", decompressed_bytes=1 << 20)
    key = submitted(store)
    assert decompressed(store, key)
    open_file = type(store._fs)._open

    def full(self: object, path: str, mode: str, **options: object) -> object:
        if mode == "wb" and list(tmp_path.rglob("unpacked/*/*")):
            raise OSError(errno.ENOSPC, "no space left on device")
        return open_file(self, path, mode, **options)

    monkeypatch.setattr(type(store._fs), "_open", full)
    store.write("ab/job/mask.nii.gz", b"mask")
    assert store.read("ab/job/mask.nii.gz") == b"mask"
    assert read(store, key) == COMPRESSED


def test_a_copy_that_cannot_be_closed_costs_the_copy_only(
    store: ScanStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that the system reports when a file is closed ends the copy and not the upload."""
    key = submitted(store)
    copy = store.begin_decompressed(key, len(DECOMPRESSED))
    assert copy is not None
    real = copy._file
    assert real is not None

    def close() -> None:
        real.close()
        raise OSError(errno.EIO, "input/output error")

    copy._file = SimpleNamespace(write=real.write, close=close)  # type: ignore[assignment]
    copy.write(DECOMPRESSED)
    copy.finish()
    copy.abandon()
    assert read(store, key) == COMPRESSED
