"""Builds the Flask application from settings and service."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from apiflask import APIFlask

from app.engine.service import Service
from app.http import (
    diagnostics,
    docs,
    errors,
    health,
    metrics,
    models,
    openapi,
    page,
    predict,
    progress,
    samples,
    trace,
)
from app.http.environ import Environ
from app.http.fronts import Fronts
from app.http.guard import Guard
from app.http.jobs import views
from app.http.measures import Measures
from app.http.rate import Rate, RateLimit
from app.http.report import DiagnosticsReport
from app.http.state import KEY, State
from app.http.telemetry import Telemetry
from app.http.v2 import infer, repository
from app.http.v2 import models as v2
from app.settings import Settings
from app.survey.jobs.queue import JobQueue

DESCRIPTION = "Takes a point cloud and gives back a class for every point, with networks trained in Pointcept."


def build(
    settings: Settings | None, service: Service | None, fronts: Fronts | None = None, rate: Rate | None = None
) -> APIFlask:
    """The application over ``service``; both are made from the environment if they are not given.

    ``fronts`` are other processes that answer predictions, if there are any. ``rate`` is where requests are counted, if
    another process does it.
    """
    settings = settings or Settings()
    service = service or Service(settings)
    static: Any = None
    app = APIFlask("app", "pointserve", _version(), docs_path=None, json_errors=False, static_folder=static)
    app.config.update(AUTO_SERVERS=False, AUTO_404_RESPONSE=False, DESCRIPTION=DESCRIPTION)
    app.url_map.merge_slashes = False
    jobs = JobQueue(service, settings, settings.jobs_dir) if settings.jobs_dir else None
    measures = Measures(service, jobs, fronts)
    reports = DiagnosticsReport(settings), DiagnosticsReport(settings, deep=True)
    app.extensions[KEY] = State(settings, service, measures, *reports, {}, jobs, fronts)
    trace.register(app, Telemetry(settings.traces))
    errors.register(app)
    rate = rate or (fronts.rate if fronts else RateLimit(settings.rate_limit))
    Guard(settings, measures, rate).register(app)
    app.wsgi_app = Environ(app.wsgi_app, settings)  # type: ignore[method-assign]
    measures.register(app)
    app.spec_processor(openapi.complete)
    parts = (predict, views, progress, health, models, samples, diagnostics, metrics, docs, page, v2, infer, repository)
    for part in parts:
        app.register_blueprint(part.blueprint)
    return app


def _version() -> str:
    try:
        return version("pointserve")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0+checkout"
