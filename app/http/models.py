"""GET /models: which models are served, and what they tell apart."""

from dataclasses import asdict
from typing import Any

from apiflask import APIBlueprint

from app.errors import NotFound
from app.http.openapi import responses
from app.http.state import state

blueprint = APIBlueprint("models", __name__)


@blueprint.get("/models")
@blueprint.doc(responses=responses("Models"))
def models() -> dict[str, Any]:
    """Every model that was found, also those that cannot be served, with the reason"""
    return {"models": [asdict(card) for card in state().service.models()]}


@blueprint.get("/models/<path:name>")
@blueprint.doc(responses=responses("ModelCard", 404))
def model(name: str) -> dict[str, Any]:
    """One model"""
    cards = state().service.models()
    for card in cards:
        if card.name == name:
            return asdict(card)
    raise NotFound(f"There is no model {name!r}. Models are: {', '.join(card.name for card in cards) or 'none'}.")
