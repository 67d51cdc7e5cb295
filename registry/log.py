"""The operator's log: JSON lines on standard error. No token, address or number ever reaches it (promise I9)."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import structlog

logger: Any = structlog.get_logger("izinli")
_PROCESSORS: Final[list[Any]] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.JSONRenderer(ensure_ascii=False),
]


def configure(process: str, *, level: int = logging.INFO) -> None:
    """Set up logging for this process; `process` stands in each line."""
    structlog.configure(
        processors=_PROCESSORS,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    library = logging.getLogger("uvicorn")
    library.handlers[:] = [_Unfilled()]
    library.setLevel(logging.WARNING)
    library.propagate = False
    # What is wrong with a form is answered; its parser would write what it read of it beside our lines.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


def for_command() -> None:
    """Set up logging for a command, whose standard output belongs to its answer."""
    structlog.configure(processors=_PROCESSORS, logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


class _Unfilled(logging.Handler):
    """The web server's own warnings, without what it would fill in: that may be an address or a path.

    Of an exception only its class is told; its text could quote a request.
    """

    def emit(self, record: logging.LogRecord) -> None:
        error = type(record.exc_info[1]).__name__ if record.exc_info and record.exc_info[1] else None
        logger.warning("web_server", message=str(record.msg).strip(), **({"error": error} if error else {}))
