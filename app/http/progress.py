"""GET /progress: the stage of a running prediction, for the page that waits for it."""

import time
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from apiflask import APIBlueprint
from pydantic import Field

from app.engine.status import Stage
from app.http.openapi import responses
from app.http.state import state

blueprint = APIBlueprint("progress", __name__)


@dataclass(frozen=True)
class ProgressReport:
    """How far a prediction has come."""

    stage: Stage
    received_bytes: int
    total_bytes: Annotated[int | None, Field(description="As Content-Length states it.")]
    elapsed_ms: int


@dataclass
class Progress:
    """One prediction: its stage and how much of the body has arrived."""

    total_bytes: int | None
    stage: Stage = "upload"
    received_bytes: int = 0
    begin_s: float = field(default_factory=time.monotonic)

    def received(self, num_bytes: int) -> None:
        """So much of the body is here, in all."""
        self.received_bytes = num_bytes

    def enter(self, stage: Stage) -> None:
        """The next stage begins."""
        self.stage = stage

    def report(self) -> ProgressReport:
        """How far it has come by now."""
        elapsed_ms = round(1000 * (time.monotonic() - self.begin_s))
        return ProgressReport(self.stage, self.received_bytes, self.total_bytes, elapsed_ms)


@blueprint.get("/progress/<request_id>")
@blueprint.doc(responses={**responses(ProgressReport), 204: {"description": "No such prediction is under way"}})
def progress(request_id: str) -> dict[str, Any] | tuple[str, int]:
    """How far the prediction that was sent with this X-Request-Id has come; 204 before and after"""
    found = state().under_way.get(request_id)
    if found is not None:
        return asdict(found.report())
    fronts = state().fronts
    return (fronts and fronts.progress(request_id)) or ("", 204)
