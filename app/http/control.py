"""Checks of requests that load or unload models: the operator must allow them, and forms of pages never may."""

from collections.abc import Callable

from flask import request

from app.engine.model_card import ModelCard
from app.errors import Forbidden, UnsupportedFormat
from app.http.state import state

# What a page of another site can send without asking first.
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")


def changed(change: Callable[[str], ModelCard], name: str) -> ModelCard:
    """``change`` done to the model ``name``.

    Raises Forbidden if models are not changed over HTTP, UnsupportedFormat for a body such as pages' forms have.
    """
    if not state().settings.model_control:
        raise Forbidden("Models are not changed over HTTP on this server (POINTSERVE_MODEL_CONTROL).")
    if request.mimetype in FORM_TYPES:
        raise UnsupportedFormat(
            f"A model is not changed by a form: Content-Type is {request.mimetype}. Send no body (curl -X POST), or "
            "JSON with Content-Type: application/json."
        )
    return change(name)
