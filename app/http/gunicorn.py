"""The server process: gunicorn with one worker, which owns the engines; further web processes are its children."""

import math
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.config import Config

from app import create_app
from app.engine.parts import Parts
from app.engine.service import Service
from app.engine.web_processes import num_processes, readers
from app.http import log
from app.http.front.descriptors import fitted, raise_limit
from app.http.front.refusal import FIELD_BYTES, LINE_BYTES, NUM_FIELDS
from app.http.front.worker import CLOSE_S, Worker
from app.http.fronts import Fronts
from app.http.ready import announce
from app.http.state import KEY, LONG_REQUESTS
from app.settings import Settings
from app.survey.jobs.queue import JobQueue

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

SPARE_THREADS = 8  # beyond the predictions admitted: health, metrics, and refusals
STOP_S = 10  # for the engine after that
MEMORY_FOLDER = Path("/dev/shm")


class Server(BaseApplication):  # type: ignore[misc]
    """One worker, because one process owns the queue; its threads only wait for the engine."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.service: Service | None = None
        self.fronts: Fronts | None = None
        self.jobs: JobQueue | None = None
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn. Nothing is read from files, arguments or gunicorn's own variables."""
        for name, value in self._config().items():
            self.cfg.set(name, value)

    def load(self) -> "WSGIApplication":
        """Called by gunicorn, in the worker."""
        number = num_processes(self.settings)
        num_readers, _ = readers(self.settings, number)
        own = self.settings.model_copy(update={"readers": num_readers})
        self.service = Service(own, Parts.own(self.settings, number))
        self.fronts = Fronts(self.settings, self.service) if number > 1 else None
        app = create_app(own, self.service, self.fronts)
        self.jobs = app.extensions[KEY].jobs
        return app

    def _config(self) -> dict[str, Any]:
        host, port = self.settings.host, self.settings.port
        return {
            "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "workers": 1,
            "worker_class": Worker,
            "worker_tmp_dir": _heartbeat_folder(self.settings.spool_dir),
            "graceful_timeout": math.ceil(max(self.settings.grace_s, self.settings.drain_delay_s) + CLOSE_S + STOP_S),
            "control_socket_disable": True,
            "logger_class": log.GunicornLog,
            "loglevel": self.settings.log_level,
            "proc_name": "pointserve",
            "post_worker_init": self._start,
            "worker_exit": self._stop,
            **_parsing(self.settings),
        }

    def _start(self, worker: Worker) -> None:
        assert self.service is not None
        worker.settings, worker.service, worker.fronts = self.settings, self.service, self.fronts
        self.service.start()
        if self.jobs:
            self.jobs.start()
        announce(self.service, self.settings)

    def _stop(self, server: object, worker: Worker) -> None:
        if self.service is not None:
            self.service.stop(0.0)
        if self.fronts is not None:  # which may have to say so to their clients
            self.fronts.end()


def parser_config(settings: Settings) -> Config:
    """What gunicorn's parser goes by, where there is no gunicorn."""
    config = Config()
    for name, value in _parsing(settings).items():
        config.set(name, value)
    return config


def _parsing(settings: Settings) -> dict[str, Any]:
    return {
        "threads": settings.queue_requests + SPARE_THREADS + LONG_REQUESTS * bool(settings.jobs_dir),
        "limit_request_line": LINE_BYTES,
        "limit_request_fields": NUM_FIELDS,
        "limit_request_field_size": FIELD_BYTES,
        "http_parser": "python",
    }


def _heartbeat_folder(spool_dir: Path | None) -> str | None:
    """The folder for the worker's sign of life: in memory if files can be made there, else ``spool_dir``; None for the
    default."""
    for folder in (MEMORY_FOLDER, spool_dir):
        with suppress(OSError), tempfile.TemporaryFile(dir=folder):
            return None if folder is None else str(folder)
    return None


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; ends the process."""
    log.configure(settings.log_level)
    raise_limit()
    Server(fitted(settings)).run()
