"""GET /diagnostics: versions, devices, operators and the optional stack."""

from apiflask import APIBlueprint
from flask import Response, request

from app.errors import BadRequest, quoted
from app.http.openapi import Responses, problems
from app.http.state import state

JSON: Responses = {200: {"description": "The report", "content": {"application/json": {"schema": {"type": "object"}}}}}

blueprint = APIBlueprint("diagnostics", __name__)


@blueprint.get("/diagnostics")
@blueprint.doc(responses=JSON | problems(400, 503))
def diagnostics() -> Response:
    """Versions, devices, operators, optional stack; what is wrong with them and what to do"""
    deep = request.args.get("deep", "0")
    if deep not in ("0", "1"):
        raise BadRequest(f"deep must be 0 or 1, got {quoted(deep)}.")
    report = state().deep_report if deep == "1" else state().report
    return Response(report.get(), mimetype="application/json")
