"""Logs: JSON, one object a line, on standard error, from structlog and the standard library."""

import logging
import sys

import structlog
from gunicorn import glogging

from app.errors import shortened

VALUE_CHARS = 8000  # of one value of a line: a client's words, or a traceback
LEVELS = {500: logging.ERROR, 507: logging.WARNING}  # of requests that ended so: the operator has something to mend

log = structlog.get_logger()


def configure(level: str) -> None:
    """Send every log of this process to standard error as JSON, from ``level`` on."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _shorten,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def request_line(status: int, **fields: object) -> None:
    """Write the line of a request that was answered with ``status``."""
    log.log(LEVELS.get(status, logging.INFO), "request", status=status, **fields)


def _shorten(logger: object, method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A processor of structlog: no value is longer than ``VALUE_CHARS``."""
    return {name: shortened(value, VALUE_CHARS) if isinstance(value, str) else value for name, value in line.items()}


class GunicornLog(glogging.Logger):  # type: ignore[misc]
    """Gunicorn's own messages, in this format. Its access log stays off, because ``app.http.trace`` writes those
    lines."""

    def setup(self, cfg: object) -> None:
        """Drop gunicorn's handlers so that its messages reach the handler of ``configure``."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
