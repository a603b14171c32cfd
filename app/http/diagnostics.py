"""GET /diagnostics: versions, devices, operators and the optional stack."""

from apiflask import APIBlueprint
from flask import Response

from app.http.openapi import responses
from app.http.state import state

blueprint = APIBlueprint("diagnostics", __name__)


@blueprint.get("/diagnostics")
@blueprint.doc(responses=responses("Diagnostics", 503))
def diagnostics() -> Response:
    """Versions, devices, operators, optional stack"""
    return Response(state().report.get(), mimetype="application/json")
