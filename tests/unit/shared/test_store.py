"""The store, on a disk and in memory."""

import errno
import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from ulid import ULID

from shared.errors import BadScan, StoreFull, StoreUnavailable
from shared.storage.store import ScanStore

JOB = "01JD0000000000000000000ABC"


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ScanStore:
    """Open a store of each kind."""
    if request.param == "file":
        return ScanStore(f"file://{tmp_path}/store")
    return ScanStore(f"memory://{tmp_path.name}")


def test_what_is_written_is_read(store: ScanStore) -> None:
    """A file is read as it was written, whole, in pieces and by its size."""
    key = store.scan_key(JOB, "scan", gzipped=True)
    content = bytes(range(256)) * 5000
    store.write(key, content)
    assert store.read(key) == content
    assert b"".join(store.chunks(key)) == content
    assert store.size(key) == len(content)


def test_deleting_a_job_removes_all_its_files(store: ScanStore) -> None:
    """After a purge no file of the job is left, and deleting it again is not an error."""
    keys = [store.scan_key(JOB, channel, gzipped=False) for channel in ("t1", "flair")]
    for key in keys:
        store.write(key, b"volume")
    store.delete_job(JOB)
    store.delete_job(JOB)
    for key in keys:
        with pytest.raises(FileNotFoundError):
            store.read(key)


def test_jobs_are_found_by_their_folders(store: ScanStore) -> None:
    """Folders of jobs are listed, other files and folders are not."""
    assert list(store.job_ids()) == []
    for job_id in (JOB, "lost+found"):
        store.write(store.scan_key(job_id, "scan", gzipped=False), b"volume")
    store.write(f"xy/{JOB}/scan.nii", b"in a folder that no job has")
    store.write("a file", b"that is no job's")
    assert list(store.job_ids()) == [JOB]
    assert store.file_names(JOB) == ["scan.nii"]
    assert store.file_names(str(ULID())) == []


def test_replacing_leaves_the_new_content_alone(store: ScanStore, tmp_path: Path) -> None:
    """A replaced file has its last content, and no other file is left."""
    store.replace("one", b"old")
    store.replace("one", b"new")
    assert store.read("one") == b"new"
    assert [path.name for path in (tmp_path / "store").glob("*")] in ([], ["one"])


def test_a_key_stays_in_the_store(store: ScanStore) -> None:
    """No key leads out of the store."""
    with pytest.raises(ValueError, match="may not contain"):
        store.read("../outside")


FAULTS = (
    errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EACCES, errno.ETIMEDOUT, errno.EROFS,
    errno.EHOSTDOWN, errno.EMFILE,
)  # fmt: skip


@pytest.mark.parametrize("number", FAULTS, ids=errno.errorcode.get)
def test_errors_of_the_system_are_translated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Every error of the system for a store that cannot be used becomes StoreUnavailable."""
    store = ScanStore(f"file://{tmp_path}")
    store.write("ab/job/scan.nii", b"volume")

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    for name in ("_open", "cat_file", "size", "info", "rm_file", "rm", "ls"):
        monkeypatch.setattr(type(store._fs), name, fail)
    for use in (
        lambda: store.write("ab/job/mask.nii.gz", b"mask"),
        lambda: store.read("ab/job/scan.nii"),
        lambda: store.size("ab/job/scan.nii"),
        lambda: next(store.chunks("ab/job/scan.nii")),
        lambda: store.delete("ab/job/scan.nii"),
        lambda: store.delete_job(JOB),
        lambda: list(store.job_ids()),
    ):
        with pytest.raises(StoreUnavailable, match=errno.errorcode[number]):
            use()


def test_a_missing_file_is_no_fault_of_the_store(store: ScanStore) -> None:
    """A missing file is a FileNotFoundError, not a StoreUnavailable."""
    for use in (store.read, store.size, lambda key: next(store.chunks(key))):
        with pytest.raises(FileNotFoundError):
            use("ab/job/scan.nii")


def test_errors_of_object_stores_are_translated(tmp_path: Path) -> None:
    """An object store that is away or slow is unavailable; errors of our own code are unchanged."""
    store = ScanStore(f"file://{tmp_path}")
    endpoint = type("EndpointConnectionError", (Exception,), {"__module__": "botocore.exceptions"})
    for error in (endpoint("no endpoint"), TimeoutError(), ConnectionResetError("reset")):
        with pytest.raises(StoreUnavailable), store.create("a"):
            raise error
    for own in (BadScan("damaged"), ValueError("ours"), OSError("not a gzip")):
        with pytest.raises(type(own)), store.create("a"):
            raise own


def test_a_part_that_cannot_be_listed_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with a fault of its own is left out of the list of jobs."""
    store = ScanStore(f"file://{tmp_path}")
    others = [str(ULID())[:-2] + end for end in ("01", "02", "03")]
    for job_id in others:
        store.write(store.scan_key(job_id, "scan", gzipped=False), b"volume")
    ls = type(store._fs).ls

    def fail(self: object, path: str, **options: object) -> object:
        if path.endswith("/02"):
            raise OSError(errno.EIO, "bad sector")
        return ls(self, path, **options)

    monkeypatch.setattr(type(store._fs), "ls", fail)
    assert sorted(store.job_ids()) == sorted([others[0], others[2]])


def test_a_full_disk_is_store_full(tmp_path: Path) -> None:
    """The system's error for a full disk becomes StoreFull."""
    store = ScanStore(f"file://{tmp_path}")
    for number in (errno.ENOSPC, errno.EDQUOT):
        with pytest.raises(StoreFull), store.create("ab/job/scan.nii"):
            raise OSError(number, "no space left on device")


GIB = 1 << 30


@pytest.mark.parametrize(
    ("free", "total", "size", "fits"),
    [
        (3 * GIB, 100 * GIB, GIB, True),
        (3 * GIB, 100 * GIB, 2 * GIB + 1, False),
        (GIB - 1, 100 * GIB, 0, False),
        (GIB // 10 - 1, 2 * GIB, 0, False),  # a twentieth of a small disk
        (GIB // 10 + GIB // 20, 2 * GIB, GIB // 20, True),
    ],
)
def test_uploads_leave_the_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, total: int, size: int, fits: bool
) -> None:
    """An upload is refused if the disk would have less than its reserve left."""
    store = ScanStore(f"file://{tmp_path}", reserve_bytes=GIB)
    usage = SimpleNamespace(free=free, total=total)
    monkeypatch.setattr("shared.storage.store.shutil.disk_usage", lambda _: usage)
    with nullcontext() if fits else pytest.raises(StoreFull):
        store.check_room(size)


def test_only_disks_have_a_reserve(tmp_path: Path) -> None:
    """An object store, and a folder that does not exist yet, count as having free space."""
    ScanStore("memory://reserve", reserve_bytes=1 << 60).check_room(1 << 60)
    ScanStore(f"file://{tmp_path}/none", reserve_bytes=1 << 60).check_room(1 << 60)


def test_a_relative_url_is_recognised(tmp_path: Path) -> None:
    """A URL relative to the working directory is recognised, and is shown in full."""
    assert ScanStore("file://./store").is_relative
    assert ScanStore("file://./store").url == f"file://{Path.cwd()}/store"
    assert not ScanStore(f"file://{tmp_path}").is_relative
    assert not ScanStore("memory://store").is_relative
