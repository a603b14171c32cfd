"""What HTTP and the command line ask: a file in, an answer out."""

import time
from dataclasses import dataclass, replace
from typing import Any

from app.clouds import formats
from app.clouds.cloud import FIELDS
from app.engine.answer import Answer
from app.engine.body import Body
from app.engine.engine import EngineStatus
from app.engine.packed import Packed
from app.engine.protocol import MODES, CloudMeta, ModelCard, ReadOptions, SegmentationMeta, SegmentOptions
from app.engine.readers import ReaderPool
from app.engine.scheduler import STOPPING, Scheduler
from app.engine.supervisor import Supervisor
from app.errors import BadRequest, NotFound, NotReady, TooLarge
from app.settings import Settings

EXTENSIONS = [extension.removeprefix(".") for reader in formats.READERS.values() for extension in reader.extensions]
FORMATS = tuple(dict.fromkeys([*formats.READERS, *EXTENSIONS]))

__all__ = ["Answer", "Service", "ServiceStatus"]


@dataclass(frozen=True)
class ServiceStatus:
    """State of the service: stopped, starting, ready, failed or stopping; ``reason`` of the last trouble.

    ``num_requests`` counts those admitted and not yet answered, ``num_points`` the points queued or being segmented,
    ``num_readers_lost`` the reader processes that had to be replaced.
    """

    state: str
    reason: str
    engines: list[EngineStatus]
    num_requests: int
    num_points: int
    num_readers_lost: int


class Service:
    """Readers, queue and engines under one roof. For any number of threads; started and stopped once."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._readers = ReaderPool(settings)
        self._scheduler = Scheduler(settings.queue_requests, settings.queue_points)
        self._supervisor = Supervisor(settings, self._scheduler)
        self._phase = "stopped"

    def start(self) -> None:
        """Start readers and engines; returns before they are ready."""
        self._phase = "started"
        self._readers.start()
        self._supervisor.start()

    def wait_ready(self, timeout_s: float) -> None:
        """Return once predictions can be made; raises NotReady, with the reason, if they cannot be by then."""
        if self._supervisor.wait(timeout_s) != "ready":
            raise NotReady(self.status().reason or f"The models are still loading after {timeout_s:g} s.")

    def stop(self, grace_s: float = 10.0) -> None:
        """Refuse new requests, let those under way finish for ``grace_s``, then end every process."""
        self._phase = "stopping"
        self._scheduler.close(grace_s)
        self._supervisor.stop()
        self._readers.stop()
        self._phase = "stopped"

    def models(self) -> list[ModelCard]:
        """Every model found, also those that cannot be served; empty until an engine has looked at them."""
        return self._supervisor.models

    def status(self) -> ServiceStatus:
        """The state of everything, at this moment."""
        engines = self._supervisor.engines
        state = self._supervisor.state if self._phase == "started" else self._phase
        reason = "" if state == "ready" else next((status.reason for status in engines if status.reason), "")
        return ServiceStatus(state, reason, engines, *self._scheduler.load, self._readers.num_lost)

    def predict(
        self, body: Body, read: ReadOptions, segment: SegmentOptions, output: str, request_id: str = ""
    ) -> Answer:
        """Read ``body``, label every point of it and write the answer in format ``output``.

        The body stays the caller's to close, the answer becomes so.

        Raises:
            BadRequest, NotFound: an option that is not one of those accepted; before any work.
            BadCloud, UnsupportedFormat, TooLarge: the file.
            Busy: too many requests or points are here already.
            NotReady: no engine can take work, or the one that had this cloud was lost.
            DeadlineExceeded: after ``request_timeout_s``.
        """
        deadline = time.monotonic() + self._settings.request_timeout_s
        check_options(read, segment, output, self._settings.max_passes)
        max_passes = segment.max_passes or self._settings.max_passes
        options = replace(segment, model=self._model(segment.model), max_passes=max_passes)
        with self._scheduler.admitted():
            begin = time.perf_counter()
            with self._readers.decode(body, read, deadline) as cloud:
                decode_ms = _elapsed_ms(begin)
                if cloud.num_points > self._settings.max_points:
                    raise TooLarge(f"The cloud has {cloud.num_points} points, at most {self._settings.max_points} fit.")
                job, segmentation = self._scheduler.run(cloud, options, deadline)
                with segmentation:
                    timings_ms = {"decode": decode_ms, "queue": 1e3 * (job.started - job.submitted)}
                    segmentation.meta = replace(
                        segmentation.meta,
                        model=options.model,
                        request_id=request_id,
                        timings_ms={**timings_ms, **segmentation.meta.timings_ms},
                    )
                    return self._encode(output, cloud, segmentation, body, deadline)

    def _encode(
        self,
        output: str,
        cloud: Packed[CloudMeta],
        segmentation: Packed[SegmentationMeta],
        body: Body,
        deadline: float,
    ) -> Answer:
        begin = time.perf_counter()
        source = body if formats.keeps_source(output, cloud.meta.format) else None
        file = self._readers.encode(output, cloud, segmentation, source, deadline)
        meta = segmentation.meta
        return Answer(
            fd=file.fd,
            size=file.size,
            media_type=file.media_type,
            extension=file.extension,
            num_points=cloud.num_points,
            model=meta.model,
            warnings=file.warnings,
            timings_ms={**meta.timings_ms, "encode": _elapsed_ms(begin)},
            passes=meta.passes,
            passes_wanted=meta.passes_wanted,
        )

    def _model(self, name: str) -> str:
        """The name of the model to use; raises NotReady or NotFound where there is none."""
        status = self.status()
        if status.state in ("stopping", "stopped"):
            raise NotReady(STOPPING)
        if status.state != "ready":
            retry_after_s = None if status.state == "failed" else 5.0
            raise NotReady(status.reason or "The models are being loaded.", retry_after_s=retry_after_s)
        served = [card.name for card in self.models() if card.served]
        name = name or self._settings.default_model or served[0]
        if name not in served:
            reasons = {card.name: card.reason for card in self.models()}
            why = f"is not served: {reasons[name]}" if name in reasons else "does not exist"
            raise NotFound(f"Model {name!r} {why.rstrip('.')}. Served are: {', '.join(served)}.")
        return name


def check_options(read: ReadOptions, segment: SegmentOptions, output: str, max_passes: int) -> None:
    """Raise BadRequest unless every option is one of those accepted."""
    _check("output", [output], formats.WRITERS)
    _check("format", [read.format] if read.format else [], FORMATS)
    _check("mode", [segment.mode], MODES)
    _check("fields", segment.fields, FIELDS)
    if segment.max_passes is not None and not 0 < segment.max_passes <= max_passes:
        raise BadRequest(f"max_passes {segment.max_passes} is not accepted; accepted are 1 to {max_passes}.")


def _check(option: str, given: Any, accepted: Any) -> None:
    for value in given:
        if value not in accepted:
            raise BadRequest(f"{option} {value!r} is not known; accepted are: {', '.join(accepted)}.")


def _elapsed_ms(begin: float) -> float:
    return 1e3 * (time.perf_counter() - begin)
