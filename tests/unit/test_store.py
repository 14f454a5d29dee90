"""The store, on a disk and in memory."""

import errno
import time
from pathlib import Path

import pytest
from ulid import ULID

from shared.errors import StoreFull
from shared.store import ScanStore

JOB = "01JD0000000000000000000ABC"


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ScanStore:
    """Open a store of each kind."""
    if request.param == "file":
        return ScanStore(f"file://{tmp_path}/store")
    return ScanStore(f"memory://{tmp_path.name}")


def test_what_is_written_is_read(store: ScanStore) -> None:
    """A file comes back as it went in, whole, in pieces and by its size."""
    key = store.scan_key(JOB, "scan", gzipped=True)
    content = bytes(range(256)) * 5000
    store.write(key, content)
    assert store.read(key) == content
    assert b"".join(store.chunks(key)) == content
    assert store.size(key) == len(content)


def test_deleting_a_job_removes_all_its_files(store: ScanStore) -> None:
    """After a purge no file of the job is left, and deleting again is no error."""
    keys = [store.scan_key(JOB, channel, gzipped=False) for channel in ("t1", "flair")]
    for key in keys:
        store.write(key, b"volume")
    store.delete_job(JOB)
    store.delete_job(JOB)
    for key in keys:
        with pytest.raises(FileNotFoundError):
            store.read(key)


def test_old_jobs_are_found(store: ScanStore) -> None:
    """Folders of jobs are listed for those who look for orphans."""
    store.write(store.scan_key(JOB, "scan", gzipped=False), b"volume")
    assert list(store.jobs_older_than(time.time() + 60)) == [JOB]


def test_young_jobs_and_strangers_are_spared(store: ScanStore) -> None:
    """What was handed in a moment ago is not old, and what is no job's is not listed."""
    for job_id in (str(ULID()), "lost+found"):
        store.write(store.scan_key(job_id, "scan", gzipped=False), b"volume")
    assert list(store.jobs_older_than(time.time() - 60)) == []


def test_a_key_may_not_climb(store: ScanStore) -> None:
    """No key leads out of the store."""
    with pytest.raises(ValueError, match="climb"):
        store.read("../outside")


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    """The system's word for no space becomes StoreFull; other errors pass."""
    store = ScanStore(f"file://{tmp_path}")
    with pytest.raises(StoreFull), store.create("ab/job/scan.nii"):
        raise OSError(errno.ENOSPC, "no space left on device")
    with pytest.raises(PermissionError), store.create("ab/job/scan.nii"):
        raise PermissionError(errno.EACCES, "denied")
