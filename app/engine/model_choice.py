"""Which of the models that there are answers a request, and what is said if none does."""

from app.engine.deadline import STOPPING
from app.engine.missing_models import MAX_RETRY_S
from app.engine.model_card import ModelCard
from app.engine.status import ServiceStatus
from app.errors import BadModel, NotFound, NotReady, Problem, quoted
from app.options import models_in


def check(status: ServiceStatus, name: str, cards: list[ModelCard]) -> None:
    """Raise NotReady or BadModel if a service of this ``status`` has no answer to a request for the model ``name``,
    empty for whichever there is."""
    served = [card for card in cards if card.served]
    is_back_soon = status.state == "starting" and cards  # a lost engine is being replaced
    if status.state == "stopped" or (status.state == "stopping" and not served):
        raise NotReady(STOPPING)
    is_empty = status.state == "empty"
    if is_empty and not name and not served and cards and all(card.is_refused for card in cards):
        raise BadModel(status.reason)
    is_named = is_empty and (name or served)  # card_of says what is wrong with that one
    if status.state not in ("ready", "stopping") and not is_back_soon and not is_named:
        raise NotReady(status.reason or "The models are being loaded.", retry_after_s=status.retry_after_s)


def card_of(name: str, cards: list[ModelCard]) -> ModelCard:
    """The card of the model ``name``, or of those that it joins, as one.

    Raises what ``absence`` gives for one that is not served, BadRequest if models cannot be joined.
    """
    served = {card.name: card for card in cards if card.served}
    names = models_in(name, [card.name for card in cards])
    for each in names:
        if each not in served:
            raise absence(each, cards)
    return ModelCard.of_several([served[each] for each in names])


def absence(name: str, cards: list[ModelCard]) -> Problem:
    """The error of a request for the model ``name``, which is not served."""
    served = ", ".join(card.name for card in cards if card.served) or "none"
    card = next((card for card in cards if card.name == name), None)
    why = f"is not served: {card.reason.rstrip('.')}" if card else "does not exist"
    detail = f"Model {quoted(name)} {why}. Served are: {served}."
    if card and card.is_refused:
        return BadModel(detail)
    if card and not card.is_unloaded:
        return NotReady(detail, retry_after_s=MAX_RETRY_S)  # it is tried again that often
    return NotFound(detail)


def nothing_served(cards: list[ModelCard]) -> str:
    """What to do if none of ``cards`` is served: load what was unloaded, or repair what is broken."""
    unloaded = [card.name for card in cards if card.is_unloaded]
    if unloaded:
        return f"No model is loaded. POST /models/NAME/load loads one; NAME can be: {', '.join(unloaded)}."
    return "No model is served. " + "; ".join(f"{card.name}: {card.reason.rstrip('.')}" for card in cards) + "."


def lacking(default_model: str, cards: list[ModelCard]) -> str:
    """Why a request that names no model finds none; empty if it does."""
    served = [card.name for card in cards if card.served]
    if not served:
        return nothing_served(cards)
    absent = [name for name in models_in(default_model, served) if name not in served] if default_model else []
    if not absent:
        return ""
    return f"The model of POINTSERVE_DEFAULT_MODEL is not there. {absence(absent[0], cards).detail}"
