"""The objects that all views of one application share."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from flask import current_app

from app.engine.body import Storage
from app.engine.service import Service
from app.http.measures import Measures
from app.http.report import DiagnosticsReport
from app.settings import MIB, Settings
from app.survey.jobs.queue import JobQueue

if TYPE_CHECKING:
    from app.http.fronts import Fronts
    from app.http.progress import Progress

KEY = "pointserve"
LONG_REQUESTS = 24  # uploads, downloads and watchers of jobs at a time
LEAST_SPOOL_MIB, SPOOL_SHARE = 64, 8  # of a body: so much may be in memory, or one part in so many


@dataclass(frozen=True)
class State:
    """Settings, engine and measures of an app; ``under_way`` is the progress of each prediction by its request id,
    ``jobs`` are those of POST /jobs, and ``fronts`` other processes that answer predictions, if there are any."""

    settings: Settings
    service: Service
    measures: Measures
    report: DiagnosticsReport
    deep_report: DiagnosticsReport
    under_way: dict[str, "Progress"]
    jobs: JobQueue | None = None
    fronts: "Fronts | None" = None

    @cached_property
    def storage(self) -> Storage:
        """The place for files of requests."""
        computed = max(LEAST_SPOOL_MIB * MIB, self.service.memory.total_bytes // SPOOL_SHARE)
        memory_bytes = self.settings.spool_memory_mib * MIB or computed
        return Storage(memory_bytes, self.settings.spool_dir, self.service.memory)


def state() -> State:
    """The state of the app that answers the request at hand."""
    found: State = current_app.extensions[KEY]
    return found
