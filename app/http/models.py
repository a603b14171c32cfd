"""GET /models: which models are served, and which classes each knows; POST to load and unload them."""

from dataclasses import asdict, dataclass
from typing import Any

from apiflask import APIBlueprint

from app.engine.model_card import ModelCard
from app.engine.model_choice import card_of
from app.http.control import changed
from app.http.openapi import responses
from app.http.state import state

blueprint = APIBlueprint("models", __name__)


@dataclass(frozen=True)
class Models:
    """Every model that was found."""

    models: list[ModelCard]


@blueprint.get("/models")
@blueprint.doc(responses=responses(Models))
def models() -> dict[str, Any]:
    """Every model that was found, also those that cannot be served, with the reason"""
    return asdict(Models(state().service.models()))


@blueprint.get("/models/<path:name>")
@blueprint.doc(responses=responses(ModelCard, 400, 404))
def model(name: str) -> dict[str, Any]:
    """One model, or several as one"""
    cards = state().service.models()
    found = next((card for card in cards if card.name == name), None)
    return asdict(found or card_of(name, cards))


@blueprint.post("/models/<path:name>/load")
@blueprint.doc(responses=responses(ModelCard, 403, 404, 415, 422, 503))
def load(name: str) -> dict[str, Any]:
    """Load a model, or load it again; requests wait meanwhile"""
    return asdict(changed(state().service.load, name))


@blueprint.post("/models/<path:name>/reload")
@blueprint.doc(responses=responses(ModelCard, 403, 404, 415, 422, 503))
def reload(name: str) -> dict[str, Any]:
    """Load a model again; it stays as it was if its new files cannot be served"""
    return asdict(changed(state().service.load, name))


@blueprint.post("/models/<path:name>/unload")
@blueprint.doc(responses=responses(ModelCard, 403, 404, 415, 503))
def unload(name: str) -> dict[str, Any]:
    """Unload a model and free its memory"""
    return asdict(changed(state().service.unload, name))
