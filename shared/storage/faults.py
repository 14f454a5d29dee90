"""Translates errors of a file system or an object store into those of VoxelQ."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import StoreFull, StoreUnavailable, VoxelQError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

#: Packages below fsspec, whose errors it passes on: no answer, no credentials, a wrong bucket.
_BELOW_FSSPEC = frozenset({"aiobotocore", "aiohttp", "botocore", "s3fs", "gcsfs", "adlfs"})


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate errors that are raised in the block.

    Raises:
        FileNotFoundError: There is no such file; this error is passed on unchanged.
        StoreFull: The device or the quota has no room left.
        StoreUnavailable: The store cannot be read or written at the moment.

    """
    try:
        yield
    except (VoxelQError, FileNotFoundError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            raise store_full() from error
        if _is_store_error(error):
            raise StoreUnavailable(
                f"The store cannot be read or written just now ({_error_name(error)}).",
                retry_after_s=5,
            ) from error
        raise


def store_full() -> StoreFull:
    """Return the error for a file that does not fit into the store."""
    return StoreFull(
        "The store has no room for this scan; purge finished jobs or enlarge it.",
        retry_after_s=60,
    )


def _is_store_error(error: Exception) -> bool:
    """Return whether the store raised ``error``; a damaged gzip raises an OSError without errno."""
    if isinstance(error, (TimeoutError, ConnectionError)):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return True
    return type(error).__module__.partition(".")[0] in _BELOW_FSSPEC


def _error_name(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return errno.errorcode.get(number or 0, type(error).__name__)
