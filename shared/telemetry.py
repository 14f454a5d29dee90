"""Structured logs: an event's name and its fields, one JSON object a line.

No file name, header text or intensity of a scan may be passed as a field.
"""

import logging
import sys
import traceback
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

log = structlog.get_logger()

#: How many of an error's innermost frames are logged.
_FRAMES = 3


def configure_logging(component: str, *, level: int = logging.INFO) -> None:
    """Write this process's logs as JSON lines to standard error, marked with ``component``."""

    def name_component(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {"component": component, **event}

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    structlog.configure(
        processors=[
            name_component,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def log_unexpected_error(
    event: str, error: BaseException, *, level: int = logging.ERROR, **fields: Any
) -> None:
    """Log an error by its kind and innermost frames, never by its message, which may quote a scan.

    Args:
        event: The event's name in the log.
        error: The error, once it was raised.
        level: The severity, as `logging` numbers it.
        **fields: Further fields of the event.

    """
    frames = [
        f"{frame.filename}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    ]
    log.log(level, event, **fields, error=type(error).__name__, frames=frames)
