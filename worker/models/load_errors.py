"""What an error means that was raised while a bundle was loaded."""

from collections.abc import Iterator

from shared.bundles.bundle import Bundle
from shared.errors import BadScan, MissingRequirement, ModelError, ModelNotReady, VoxelQError
from shared.telemetry import log_unexpected_error
from worker.inference.oom import is_out_of_memory


def not_ready(bundle: Bundle, reason: str) -> ModelNotReady:
    """Return the error for a bundle that this worker cannot load now."""
    return ModelNotReady(f"This worker cannot load {bundle.ref} just now: {reason}")


def is_caused_by_files(error: Exception) -> bool:
    """Tell whether a bundle's files are at fault, so that every worker would fail in the same way.

    Only what VoxelQ's own checks refuse is. Running out of memory, a failing disk and unknown
    errors may be problems of this worker alone.
    """
    if not isinstance(error, (ModelError, BadScan)) or isinstance(error, MissingRequirement):
        return False
    return not any(
        isinstance(cause, (OSError, MissingRequirement)) or is_out_of_memory(cause)
        for cause in _causes(error)
    )


def describe(error: Exception) -> str:
    """Return the reason that users are shown."""
    if isinstance(error, VoxelQError):
        return error.detail
    if is_out_of_memory(error):
        return "There is no memory for it just now."
    # The message of any other error may quote anything, at any length; its class is safe to show.
    log_unexpected_error("model_loading_failed", error)
    return f"{type(error).__name__} was raised while it was loaded; the worker's log says where."


def _causes(error: BaseException) -> Iterator[Exception]:
    cause: BaseException | None = error
    while isinstance(cause, Exception):
        yield cause
        cause = cause.__cause__
