"""Say that MLflow's server is waited for: its client asks again by itself, with growing pauses, and without a word."""

import logging
import os
import time

from repo.console import say
from repo.uris import public_name

_PAUSE = 60.0
"""Seconds in which an outage is not told again."""


def tell_outages() -> None:
    """Tell the user from now on when a request to the MLflow server is repeated."""
    logger = logging.getLogger("urllib3.connectionpool")
    if not any(isinstance(handler, _Teller) for handler in logger.handlers):
        # Of a server that answers, but not well, only this level hears.
        logger.setLevel(logging.DEBUG)
        logger.addFilter(lambda record: record.levelno >= logging.WARNING or _is_repeated(record))
        logger.addHandler(_Teller())


def _is_repeated(record: logging.LogRecord) -> bool:
    return record.getMessage().startswith("Retry")


class _Teller(logging.Handler):
    """Says once a minute that a request is repeated."""

    def __init__(self) -> None:
        super().__init__()
        self._said = -_PAUSE

    def emit(self, record: logging.LogRecord) -> None:
        """Take what the client of HTTP says about its requests."""
        if not _is_repeated(record) or "/mlflow" not in record.getMessage() or self._waited() < _PAUSE:
            return
        self._said = time.monotonic()
        server = public_name(os.environ.get("MLFLOW_TRACKING_URI", "MLflow"))
        say(f"{server} is away, or not well; it is asked again, at growing intervals, for some minutes")

    def _waited(self) -> float:
        return time.monotonic() - self._said
