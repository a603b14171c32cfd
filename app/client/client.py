"""A client of the service for Python programs.

from app.client.client import Client

client = Client("http://localhost:5001")
client.predict(Path("tile.laz"), output="laz", to=Path("out.laz"))
labels = client.segment(xyz)["labels"]
"""

import io
import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode
from uuid import uuid4

import numpy as np

from app.client.transport import OnSent, OnWait, Source, Transport
from app.errors import NotReady

PATIENCE_S = 120.0


@dataclass(frozen=True)
class Prediction:
    """What the server answered to one cloud.

    Attributes:
        content: the file in the format asked for, empty where it was saved.
        media_type: of the file.
        model: name of the model that answered.
        num_points: of the cloud.
        passes, passes_wanted: of the network, made, and those that the mode asks for.
        warnings: one sentence each.
        timings_ms: milliseconds by stage, in the order in which they ran.
        request_id: under which the server's log has it.
    """

    content: bytes
    media_type: str
    model: str
    num_points: int
    passes: int
    passes_wanted: int
    warnings: list[str] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)
    request_id: str = ""

    def json(self) -> Any:
        """The content of an answer in JSON."""
        return json.loads(self.content)


class Segmented(dict[str, np.ndarray]):
    """Arrays of N rows by name; ``warnings`` of the answer, and the ``prediction`` that they came in."""

    def __init__(self, arrays: Mapping[str, np.ndarray], prediction: Prediction):
        super().__init__(arrays)
        self.prediction = prediction

    @property
    def warnings(self) -> list[str]:
        """One sentence each."""
        return self.prediction.warnings


class Client:
    """Asks one server. For any number of threads.

    Every method raises a ``Problem`` of ``app.errors`` with the server's own words; NotReady if it is not reached.
    """

    def __init__(
        self,
        url: str,
        key: str = "",
        *,
        timeout_s: float = 600.0,
        patience_s: float = PATIENCE_S,
        on_wait: OnWait = lambda problem, wait_s: None,
    ):
        """``key`` where the server needs one. ``timeout_s`` is for silence of the server; ``patience_s`` for all waits
        together after it said 429 or 503 or was no longer reached (a few seconds where it never was): as long as
        Retry-After says, else longer and longer.
        ``on_wait`` is told why it waits and how many seconds."""
        self._transport = Transport(url, key, timeout_s, patience_s, on_wait)
        self._at_once = Transport(url, key, timeout_s, 0.0, on_wait)

    def predict(
        self,
        cloud: Source,
        *,
        output: str = "json",
        to: Path | None = None,
        on_sent: OnSent = lambda sent, total: None,
        **options: Any,
    ) -> Prediction:
        """Classify the points of a file, given as its path or its bytes.

        ``output`` and ``options`` are those of POST /predict; None leaves an option out. The answer goes to the file
        ``to`` where that is given. ``on_sent`` is told how many bytes of how many are sent.
        """
        given = {name: value for name, value in options.items() if value is not None}
        if isinstance(cloud, Path):
            given.setdefault("filename", cloud.name)
        query = urlencode({**given, "output": output})
        headers = {"Content-Type": "application/octet-stream", "X-Request-Id": str(uuid4())}
        reply = self._transport.ask("POST", f"/predict?{query}", cloud, headers, to=to, on_sent=on_sent)
        told = reply.headers
        passes, _, passes_wanted = told["x-pointserve-passes"].partition("/")
        return Prediction(
            content=reply.content,
            media_type=told["content-type"].partition(";")[0],
            model=unquote(told["x-pointserve-model"]),
            num_points=int(told["x-pointserve-points"]),
            passes=int(passes),
            passes_wanted=int(passes_wanted),
            warnings=json.loads(told["x-pointserve-warnings"]),
            timings_ms=_timings_ms(told.get("server-timing", "")),
            request_id=told["x-request-id"],
        )

    def segment(
        self,
        cloud: np.ndarray | Mapping[str, np.ndarray],
        fields: tuple[str, ...] = (),
        **options: Any,
    ) -> "Segmented":
        """``labels`` (N,) and ``fields`` of points in memory, arrays by name; each warning of the answer becomes one of
        Python's too (UserWarning).

        ``cloud`` is (N, 3 or more), whose columns the option ``columns`` names where they are more than x, y, z; or
        arrays of N rows by name: coord, color, normal, strength.
        """
        from safetensors.numpy import load

        file = io.BytesIO()
        if isinstance(cloud, np.ndarray):
            np.save(file, cloud, allow_pickle=False)
        else:
            arrays: dict[str, Any] = dict(cloud)
            np.savez(file, **arrays)
        answer = self.predict(file.getvalue(), output="safetensors", fields=",".join(fields), **options)
        for text in answer.warnings:
            warnings.warn(text, stacklevel=2)
        return Segmented(load(answer.content), answer)

    def models(self) -> list[dict[str, Any]]:
        """Every model that the server found, as GET /models tells it."""
        found: list[dict[str, Any]] = self._json("GET", "/models")["models"]
        return found

    def load(self, model: str) -> dict[str, Any]:
        """Load a model, anew where it is loaded."""
        return self._json("POST", f"/models/{quote(model, safe='')}/load")

    def unload(self, model: str) -> dict[str, Any]:
        """Give the memory of a model back."""
        return self._json("POST", f"/models/{quote(model, safe='')}/unload")

    def wait_ready(self, timeout_s: float = 300.0) -> None:
        """Return once predictions can be made; raises NotReady, with the server's reason, if not by then."""
        end_s = time.monotonic() + timeout_s
        while True:
            try:
                self._at_once.ask("GET", "/health/ready")
                return
            except NotReady:
                if time.monotonic() > end_s:
                    raise
                time.sleep(0.5)

    def _json(self, method: str, path: str) -> dict[str, Any]:
        reply = self._transport.ask(method, path, b"" if method == "POST" else None)
        answer: dict[str, Any] = json.loads(reply.content)
        return answer


def _timings_ms(header: str) -> dict[str, float]:
    parts = [part.strip().split(";dur=") for part in header.split(",") if ";dur=" in part]
    return {stage: float(ms) for stage, ms in parts}
