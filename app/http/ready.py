"""Logs once that the service is ready and at which address; before that, which models are missing."""

import threading
import time

import structlog

from app.engine.service import Service
from app.settings import Settings

LOOK_S = 0.2
ANY_ADDRESS = ("0.0.0.0", "::", "")

log = structlog.get_logger(__name__)


def announce(service: Service, settings: Settings) -> None:
    """Begin to watch ``service`` in a thread that ends with its one line, or when the service stops."""
    threading.Thread(target=_watch, args=(service, settings), name="ready", daemon=True).start()


def _watch(service: Service, settings: Settings) -> None:
    last_reason = ""
    while (status := service.status()).state != "ready":
        if status.state in ("stopping", "stopped"):
            return
        if status.state == "empty" and status.reason != last_reason:
            last_reason = status.reason
            log.error(f"not ready: {last_reason}")
        time.sleep(LOOK_S)
    host = "localhost" if settings.host in ANY_ADDRESS else settings.host
    address = f"[{host}]" if ":" in host else host
    url = f"http://{address}:{settings.port}{settings.path_prefix}"
    log.info(f"ready, open {url}", models=[card.name for card in service.models() if card.served])
