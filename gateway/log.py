"""The operator's log: JSON lines on standard error. No address, number or body ever reaches it (promise I9).

On the way of a message nothing is logged; what happens to messages is counted (`metrics`) and written down (`journal`).
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from structlog.tracebacks import ExceptionDictTransformer

logger: Any = structlog.get_logger("izinli")


def configure(process: str, *, level: int = logging.INFO) -> None:
    """Set up logging for this process; `process` ("worker-0", "registry") stands in each line."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(
                ExceptionDictTransformer(show_locals=False)
            ),  # locals hold addresses
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
