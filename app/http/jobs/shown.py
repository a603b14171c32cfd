"""What GET /jobs/{id}/result/{name} gives of ``output=view``: an answer as the page shows it."""

from pathlib import PurePosixPath

from flask import Response
from werkzeug.datastructures import MultiDict

from app.errors import BadRequest, NotFound, UnsupportedFormat, quoted
from app.http.state import state
from app.survey.jobs.job import Job
from app.survey.jobs.shown import SHOWN, view_of
from app.survey.jobs.store import Store
from app.survey.manifest import Manifest


def shown(store: Store, job: Job, place: str) -> Response:
    """The answer of ``job`` that is at ``place``; raises UnsupportedFormat if it has no points, and as ``view_of``."""
    with Manifest.read(store.answers_of(job)) as manifest:
        try:
            row = manifest.answered(place)
        except NotFound:  # the report
            about = f"{quoted(PurePosixPath(place).name)} holds no points that could be shown."
            raise UnsupportedFormat(about) from None
        model = manifest.get("model", {})
    file = view_of(state().service, state().storage, row, job.options, model)
    response = Response(file.chunks(), mimetype=file.media_type)
    response.call_on_close(file.close)
    response.content_length = file.size
    return response


def is_asked(given: MultiDict[str, str]) -> bool:
    """Whether a request asks for that; raises BadRequest for another ``output``."""
    text = given.get("output", "")
    if text not in ("", SHOWN):
        raise BadRequest(f"output: {quoted(text)} is not accepted; expected {SHOWN}, or none for the answer as it is.")
    return text == SHOWN
