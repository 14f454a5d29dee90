"""What the errors of a file system or an object store mean to a caller of the store."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import StoreFull, StoreUnavailable, VoxelQError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

#: Packages below fsspec whose own errors pass through it: no answer, no credentials, a bad bucket.
_BELOW_FSSPEC = frozenset({"aiobotocore", "aiohttp", "botocore", "s3fs", "gcsfs", "adlfs"})


@contextmanager
def store_faults() -> Iterator[None]:
    """Turn what a store raises into the errors of VoxelQ.

    Raises:
        FileNotFoundError: There is no such file. This one passes, for it is an answer.
        StoreFull: The device or the quota has no room left.
        StoreUnavailable: The store cannot be read or written just now.

    """
    try:
        yield
    except (VoxelQError, FileNotFoundError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            raise store_full() from error
        if _is_of_store(error):
            raise StoreUnavailable(
                f"The store cannot be read or written just now ({_name(error)}).", retry_after_s=5
            ) from error
        raise


def store_full() -> StoreFull:
    """Return what is said when there is no room for a file."""
    return StoreFull(
        "The store has no room for this scan; purge finished jobs or enlarge it.",
        retry_after_s=60,
    )


def _is_of_store(error: Exception) -> bool:
    """Tell whether ``error`` is the store's: a damaged gzip is an OSError too, without a number."""
    if isinstance(error, (TimeoutError, ConnectionError)):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return True
    return type(error).__module__.partition(".")[0] in _BELOW_FSSPEC


def _name(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return errno.errorcode.get(number or 0, type(error).__name__)
