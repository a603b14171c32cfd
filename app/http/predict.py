"""POST /predict: a point cloud in, a class for every point out."""

from urllib.parse import quote

from apiflask import APIBlueprint
from flask import Response, request

from app.engine.service import Answer
from app.errors import BadCloud, UnsupportedFormat
from app.http import negotiation, query, upload
from app.http.admission import admitted, check_early
from app.http.connection import hung_up
from app.http.openapi import predict_responses
from app.http.progress import Progress
from app.http.state import state
from app.http.trace import answered, request_id
from app.options import Options

CURL_D = "If curl -d sent this file, it took line ends and zero bytes out: use --data-binary @FILE or -F file=@FILE."

blueprint = APIBlueprint("predict", __name__)


@blueprint.post("/predict")
@blueprint.doc(responses=predict_responses())
def predict() -> Response:
    """Classify every point of a cloud"""
    asked = query.parse(request.args)
    return admitted(lambda progress: _answer(asked, progress))


def _answer(asked: Options, progress: Progress) -> Response:
    """``asked`` is what the query asks for, without the fields of a form."""
    if request.mimetype != "multipart/form-data":
        check_early(asked)
    received = upload.receive(request, state().settings, state().storage, progress.received)
    with received.body as body:
        options = (query.parse(request.args, received.form) if received.form else asked).or_else(
            filename=lambda: received.filename,
            output=lambda: negotiation.output_for(request.accept_mimetypes),
            timeout_s=lambda: query.timeout_s(request.headers),
        )
        try:
            answer = state().service.predict(
                body, options, request_id(), progress.enter, is_gone=hung_up(request.environ)
            )
        except (BadCloud, UnsupportedFormat) as problem:
            if request.mimetype == "application/x-www-form-urlencoded":
                problem.detail += f" {CURL_D}"
            raise
    try:
        return _response(answer, options.filename)
    except BaseException:
        answer.close()
        raise


def _response(answer: Answer, filename: str) -> Response:
    """The answer, streamed from its descriptor and closed once it is sent or the client is gone."""
    answered(answer)
    response = Response(answer.chunks(), mimetype=answer.media_type)
    response.call_on_close(answer.close)
    response.content_length = answer.size
    response.headers["X-Pointserve-Model"] = quote(answer.model)
    response.headers["X-Pointserve-Points"] = str(answer.num_points)
    response.headers["X-Pointserve-Passes"] = f"{answer.passes}/{answer.passes_wanted}"
    response.headers["X-Pointserve-Warnings"] = negotiation.warnings_header(answer.warnings)
    if answer.refined:
        response.headers["X-Pointserve-Refined"] = negotiation.refined_header(answer.refined)
    response.headers["Server-Timing"] = negotiation.server_timing(answer.timings_ms)
    if response.mimetype != "application/json":
        response.headers["Content-Disposition"] = negotiation.attachment(filename, answer.extension)
    return response
