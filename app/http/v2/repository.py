"""POST /v2/repository…: list, load and unload models."""

from typing import Any, Literal

import orjson
from apiflask import APIBlueprint
from flask import request
from typing_extensions import TypedDict

from app.errors import BadRequest
from app.http.control import changed
from app.http.openapi import responses
from app.http.state import state
from app.http.upload import body_stream
from app.http.v2.models import VERSION

SMALL_BYTES = 1 << 20

blueprint = APIBlueprint("v2_repository", __name__, url_prefix="/v2/repository")


class IndexedModel(TypedDict):
    """A model that was found."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class ChangedModel(TypedDict):
    """The model that was loaded or unloaded."""

    name: str


@blueprint.post("/index")
@blueprint.doc(responses=responses(list[IndexedModel], 400, 401))
def index() -> list[IndexedModel]:
    """Every model that was found, with its state"""
    only_ready = _small_json().get("ready") is True
    listed: list[IndexedModel] = [
        {
            "name": card.name,
            "version": VERSION if card.served else "",
            "state": "READY" if card.served else "UNAVAILABLE",
            "reason": card.reason,
        }
        for card in state().service.models()
    ]
    return [model for model in listed if model["state"] == "READY" or not only_ready]


@blueprint.post("/models/<name>/load")
@blueprint.doc(responses=responses(ChangedModel, 400, 401, 403, 404, 415, 422, 503))
def load(name: str) -> ChangedModel:
    """Load a model, or load it again"""
    if _small_json().get("parameters"):
        raise BadRequest("A model is loaded as its folder says: config and files in the request are not taken.")
    return {"name": changed(state().service.load, name).name}


@blueprint.post("/models/<name>/unload")
@blueprint.doc(responses=responses(ChangedModel, 400, 401, 403, 404, 415, 503))
def unload(name: str) -> ChangedModel:
    """Unload a model and free its memory"""
    _small_json()
    return {"name": changed(state().service.unload, name).name}


def _small_json() -> dict[str, Any]:
    """The object in the body, whatever Content-Type says; empty if there is no body."""
    with body_stream(request, SMALL_BYTES) as stream:
        data = b""
        while chunk := stream.read(SMALL_BYTES):
            data += chunk
    try:
        found = orjson.loads(data or b"{}")
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not valid JSON at line {error.lineno}, column {error.colno}.") from None
    if not isinstance(found, dict):
        raise BadRequest("The body is not a JSON object.")
    return found
