"""GET /metrics: the measures in Prometheus' text format, or as OpenMetrics if that is accepted."""

from apiflask import APIBlueprint
from flask import Response, request
from prometheus_client.exposition import choose_encoder

from app.http.openapi import Responses
from app.http.state import state

PLAIN, OPEN_METRICS = "text/plain", "application/openmetrics-text"
TEXT: Responses = {200: {"description": "Measures", "content": {"text/plain": {}}}}

blueprint = APIBlueprint("metrics", __name__)


@blueprint.get("/metrics")
@blueprint.doc(responses=TEXT)
def metrics() -> Response:
    """Measures for Prometheus"""
    liked = (media_type.partition(";")[0] for media_type in request.accept_mimetypes.values())
    encode, content_type = choose_encoder(next((name for name in liked if name in (PLAIN, OPEN_METRICS)), PLAIN))
    return Response(encode(state().measures.registry), content_type=content_type)
