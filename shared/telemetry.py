"""Structured logs: an action's name and its facts, one JSON object a line.

No file name, header text or intensity of a scan may be passed as a fact.
"""

import logging
import sys

import structlog
from structlog.typing import EventDict, WrappedLogger


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
