"""GET /progress: how far a prediction under way has come, for the page that waits for it."""

import time
from dataclasses import dataclass, field
from typing import Any

from apiflask import APIBlueprint

from app.http.openapi import responses
from app.http.state import state

blueprint = APIBlueprint("progress", __name__)


@dataclass
class Progress:
    """One prediction: its stage (upload, decode, segment, encode) and how much of the body has arrived."""

    total_bytes: int | None
    stage: str = "upload"
    received_bytes: int = 0
    begin_s: float = field(default_factory=time.monotonic)

    def received(self, num_bytes: int) -> None:
        """So much of the body is here, in all."""
        self.received_bytes = num_bytes

    def enter(self, stage: str) -> None:
        """The next stage begins."""
        self.stage = stage


@blueprint.get("/progress/<request_id>")
@blueprint.doc(responses={**responses("Progress"), 204: {"description": "No such prediction is under way"}})
def progress(request_id: str) -> dict[str, Any] | tuple[str, int]:
    """How far the prediction that was sent with this X-Request-Id has come; 204 before and after"""
    found = state().under_way.get(request_id)
    if found is None:
        return "", 204
    return {
        "stage": found.stage,
        "received_bytes": found.received_bytes,
        "total_bytes": found.total_bytes,
        "elapsed_ms": round(1000 * (time.monotonic() - found.begin_s)),
    }
