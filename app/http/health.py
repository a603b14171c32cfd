"""GET /health: whether the process lives, whether it can take work, and what its engines do."""

from dataclasses import asdict
from typing import Any

from apiflask import APIBlueprint

from app.errors import NotReady
from app.http.openapi import responses
from app.http.state import state

blueprint = APIBlueprint("health", __name__)


@blueprint.get("/health")
@blueprint.doc(responses=responses("Health", same=(503,)))
def health() -> tuple[dict[str, Any], int]:
    """State of the service, its engines and its queue; 503 unless predictions can be made"""
    status = state().service.status()
    body = {
        "state": status.state,
        "reason": status.reason,
        "engines": [asdict(engine) for engine in status.engines],
        "queue": {"requests": status.num_requests, "points": status.num_points},
        "readers_lost": status.num_readers_lost,
        "refused": status.refusals,
        "quarantined": status.num_quarantined,
    }
    return body, 200 if status.state == "ready" else 503


@blueprint.get("/health/live")
@blueprint.doc(responses=responses("State", 503))
def live() -> dict[str, str]:
    """200 as long as the process answers, 503 if only a restart helps"""
    check_alive()
    return {"state": "live"}


@blueprint.get("/health/ready")
@blueprint.doc(responses=responses("State", 503))
def ready() -> dict[str, str]:
    """200 if predictions can be made, else 503 with the reason"""
    check_ready()
    return {"state": "ready"}


def check_ready() -> None:
    """Raise NotReady unless predictions can be made."""
    status = state().service.status()
    if status.state != "ready":
        raise NotReady(status.reason or f"The service is {status.state}.", retry_after_s=status.retry_after_s)


def check_alive() -> None:
    """Raise NotReady if only a restart helps."""
    if not state().service.is_alive:
        raise NotReady(f"Only a restart helps. {state().service.status().reason}")
