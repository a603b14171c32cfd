"""GET /health: whether the process lives, whether it can take work, and what its engines do."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from apiflask import APIBlueprint
from pydantic import Field

from app.engine.status import EngineStatus, ServiceState
from app.errors import NotReady
from app.http.openapi import responses
from app.http.state import state

blueprint = APIBlueprint("health", __name__)


@dataclass(frozen=True)
class QueueLoad:
    """What waits or runs: requests admitted and not yet answered, and points of their clouds."""

    requests: int
    points: int


@dataclass(frozen=True)
class Health:
    """State of the service, its engines and its queue."""

    state: ServiceState
    reason: Annotated[str, Field(description="The last trouble, if the service is not ready.")]
    engines: list[EngineStatus]
    queue: QueueLoad
    readers_lost: Annotated[int, Field(description="Reader processes that had to be replaced.")]
    refused: Annotated[dict[str, int], Field(description="Requests answered 429, by what was full.")]
    quarantined: Annotated[int, Field(description="Inputs that are not run any more.")]


@dataclass(frozen=True)
class ProbeAnswer:
    """The answer to a probe that asks for nothing else."""

    state: str


@blueprint.get("/health")
@blueprint.doc(responses=responses(Health, same=(503,)))
def health() -> tuple[dict[str, Any], int]:
    """State of the service, its engines and its queue; 503 unless predictions can be made"""
    status = state().service.status()
    answer = Health(
        status.state,
        status.reason,
        status.engines,
        QueueLoad(status.num_requests, status.num_points),
        status.num_readers_lost,
        status.refusals,
        status.num_quarantined,
    )
    return asdict(answer), 200 if status.state == "ready" else 503


@blueprint.get("/health/live")
@blueprint.doc(responses=responses(ProbeAnswer, 503))
def live() -> dict[str, Any]:
    """200 as long as the process answers, 503 if only a restart helps"""
    check_alive()
    return asdict(ProbeAnswer("live"))


@blueprint.get("/health/ready")
@blueprint.doc(responses=responses(ProbeAnswer, 503))
def ready() -> dict[str, Any]:
    """200 if predictions can be made, else 503 with the reason"""
    check_ready()
    return asdict(ProbeAnswer("ready"))


def check_ready() -> None:
    """Raise NotReady unless predictions can be made."""
    status = state().service.status()
    if status.state != "ready":
        raise NotReady(status.reason or f"The service is {status.state}.", retry_after_s=status.retry_after_s)


def check_alive() -> None:
    """Raise NotReady if only a restart helps."""
    if not state().service.is_alive:
        raise NotReady(f"Only a restart helps. {state().service.status().reason}")
