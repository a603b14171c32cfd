"""The service behind HTTP: a file in, an answer out."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Literal

from app.clouds import catalog
from app.clouds.cloud import Bounds, SegmentationMeta
from app.engine import model_choice
from app.engine.answer import Answer, EncodedFile
from app.engine.body import Body
from app.engine.deadline import STOPPING, Deadline
from app.engine.job import CloudJob, SegmentedCloud
from app.engine.missing_models import MAX_RETRY_S
from app.engine.model_card import ModelCard
from app.engine.packed import Packed, PackedRing
from app.engine.parts import Parts
from app.engine.protocol import Border, CloudMeta, LoadModel, UnloadModel
from app.engine.reader_request import MAX_RINGS, DecodeRequest, EncodeRequest, JoinRequest
from app.engine.readers import ReaderPool
from app.engine.request import Request
from app.engine.request_memory import RequestMemory, point_bytes
from app.engine.status import ServiceState, ServiceStatus, Stage
from app.errors import BadRequest, NotReady
from app.options import MAX_TIMEOUT_S, Mode, Options
from app.refine.steps import wanted
from app.settings import Settings

__all__ = ["Answer", "Service"]


class Service:
    """Readers, scheduler and engines. For any number of threads; started and stopped once.

    Attributes:
        admission: admits requests; whoever calls ``predict`` has been admitted.
        memory: the machine's memory that requests share.
        parts: what it is made of.
    """

    def __init__(self, settings: Settings, parts: Parts | None = None):
        """``parts`` are made from ``settings`` if they are not given."""
        parts = parts or Parts.own(settings)
        self.parts = parts
        self.memory = parts.memory
        self.admission = parts.admission
        self._settings = settings
        self._readers = ReaderPool(settings, parts.reader_mib, parts.counts)
        self._scheduler = parts.scheduler
        self._supervisor = parts.supervisor
        self._phase: Literal["stopped", "started", "stopping"] = "stopped"

    def start(self) -> None:
        """Start readers and engines; returns before they are ready."""
        self._phase = "started"
        self._readers.start()
        self._supervisor.start()

    def wait_ready(self, timeout_s: float) -> None:
        """Return once predictions can be made; raises NotReady, with the reason, if they cannot be by then."""
        self._supervisor.wait(timeout_s)
        status = self.status()
        if status.state != "ready":
            raise NotReady(status.reason or f"The models are still loading after {timeout_s:g} s.")

    def drain(self, grace_s: float) -> None:
        """Be not ready and admit no request from now on; returns once those admitted are done, or after ``grace_s``."""
        self._phase = "stopping"
        self.admission.close(grace_s)

    def stop(self, grace_s: float = 10.0) -> None:
        """Drain, then end every process; what still waits ends in NotReady."""
        self.drain(grace_s)
        self._scheduler.stop()
        self._supervisor.stop()
        self._readers.stop()
        self._phase = "stopped"

    def models(self) -> list[ModelCard]:
        """Every model found, also those that cannot be served; empty until an engine has looked at them."""
        return self._supervisor.models

    def load(self, name: str) -> ModelCard:
        """Load the model of the folder ``name``, again if it is loaded already; requests wait meanwhile.

        Raises NotFound if there is no such folder, BadModel if it cannot be served, NotReady if no engine is
        ready. A model that is served stays so if its new files cannot be.
        """
        return self._change(LoadModel(name))

    def unload(self, name: str) -> ModelCard:
        """Free the memory of a model; requests for it are answered 404 from then on.

        Raises NotFound if it is not loaded, NotReady if no engine is ready.
        """
        return self._change(UnloadModel(name))

    def _change(self, message: LoadModel | UnloadModel) -> ModelCard:
        if self._phase != "started":
            raise NotReady(STOPPING)
        self._supervisor.change(message)
        cards = [card for card in self.models() if card.name == message.name]
        return next((card for card in cards if card.served), cards[0])

    def status(self) -> ServiceStatus:
        """The state of everything, at this moment."""
        engines = self._supervisor.engines
        state: ServiceState = self._supervisor.state if self._phase == "started" else self._phase
        reason = "" if state == "ready" else next((status.reason for status in engines if status.reason), "")
        cards = self.models()
        if state == "ready" and (lacking := model_choice.lacking(self._settings.default_model, cards)):
            state, reason = "empty", lacking
        return ServiceStatus(
            state,
            reason,
            engines,
            num_requests=self.admission.num_requests,
            num_points=self.admission.num_points,
            num_waiting=self._scheduler.num_waiting,
            num_readers_lost=self._readers.num_lost,
            retry_after_s=self._retry_after_s(state, cards),
            refusals=dict(self.admission.refusals + self.memory.refusals),
            request_memory_bytes={"total": self.memory.total_bytes, "used": self.memory.used_bytes},
            num_quarantined=self._scheduler.num_quarantined,
        )

    @property
    def is_alive(self) -> bool:
        """Whether this process can still serve, now or when its engines are back; else only a restart helps."""
        return self._phase != "started" or self._supervisor.is_alive

    def _retry_after_s(self, state: ServiceState, cards: list[ModelCard]) -> float | None:
        if state == "empty":
            return None if all(card.is_unloaded or card.is_refused for card in cards) else MAX_RETRY_S
        return self._supervisor.resumes_in_s

    def predict(
        self,
        body: Body,
        options: Options,
        request_id: str = "",
        on_stage: Callable[[Stage], None] = lambda stage: None,
        *,
        is_gone: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """Read ``body``, label every point of it and write the answer, as ``options`` say.

        The body is closed once nothing needs it, by the caller at the latest; the answer is the caller's to close.
        ``on_stage`` is called with decode, segment and encode as each begins. ``is_gone`` is asked now and then whether
        the client has hung up.

        Raises:
            NotFound: no such model; before any work.
            BadRequest: more passes than the server makes, before any work; what the file or the model does not have.
            BadCloud, UnsupportedFormat, TooLarge: the file; TooLarge also if it takes more memory than there is.
            NoRoom: the disk is full.
            Busy: too many points are here already, or memory did not become free for some time.
            Quarantined: engines were lost over this cloud.
            BadModel: the model's files are whole and cannot be served.
            NotReady: no engine can take work, the model's files cannot be read at the moment, or the device's memory
                does not suffice.
            ClientGone: nobody waits any more.
            DeadlineExceeded: after ``options.timeout_s``, at most ``request_timeout_s``.
        """
        with ExitStack() as stack:
            request = stack.enter_context(self.request(options, request_id, is_gone=is_gone))
            output = options.output or "json"
            with self._scheduler.arriving():
                begin = time.perf_counter()
                on_stage("decode")
                cloud = stack.enter_context(self.decode(body, request))
                decode_ms = _elapsed_ms(begin)
                on_stage("segment")
                job = self.submit(cloud, request)
            source = body if catalog.keeps_source(output, cloud.meta.format) else None
            if source is None:
                body.close()  # here it costs no time that anybody waits for
            segmented = self.result(job, request)
            segmentation = stack.enter_context(segmented.segmentation)
            timings_ms = {"decode": decode_ms} | segmentation.meta.timings_ms
            segmentation.meta = replace(segmentation.meta, timings_ms=timings_ms)
            begin = time.perf_counter()
            on_stage("encode")
            file = stack.enter_context(self.encode(output, cloud, segmentation, request, source))
            return Answer(
                file.detach(),
                file.size,
                file.media_type,
                file.extension,
                file.warnings,
                num_points=segmentation.num_points,
                model=request.options.model,
                timings_ms=timings_ms | {"encode": _elapsed_ms(begin)},
                passes=segmentation.meta.passes,
                passes_wanted=segmentation.meta.passes_wanted,
                num_voxels=segmented.num_voxels,
                batch_size=segmented.batch_size,
                refined=segmentation.meta.refined,
                reservation=request.memory.kept(file.size, "The answer"),
            )

    @contextmanager
    def request(
        self,
        options: Options,
        request_id: str = "",
        *,
        is_gone: Callable[[], bool] = lambda: False,
        is_background: bool = False,
    ) -> Iterator[Request]:
        """A request for the steps below, whose memory is given back at its end; raises what ``predict`` does before
        any work.

        One in the background waits for readers and engines as long as others ask for them; its time counts once an
        engine has it.
        """
        limit_s = min(options.timeout_s or math.inf, self._settings.request_timeout_s)
        deadline = Deadline.after(MAX_TIMEOUT_S if is_background else limit_s, is_gone)
        max_passes = self._settings.max_passes
        if options.max_passes and options.max_passes > max_passes:
            raise BadRequest(f"max_passes {options.max_passes} is not accepted; accepted are 1 to {max_passes}.")
        card = self._model(options.model)
        most = None if options.mode.is_single_pass else max_passes
        options = replace(options, model=card.name, max_passes=options.max_passes or most)
        with self.memory.reservation() as reservation:
            memory = RequestMemory(reservation, card, options, deadline)
            yield Request(options, card, deadline, memory, request_id, limit_s if is_background else 0.0)

    def decode(self, body: Body, request: Request, *, all_columns: bool = False) -> Packed[CloudMeta]:
        """The cloud in ``body``, the caller's to close: what is needed of it for ``request.options.output``, or all.

        Raises what ``predict`` says of the file.
        """
        return self._decode(body, request, all_columns=all_columns)[0]

    def decode_with_ring(
        self, body: Body, request: Request, bounds: Bounds, width_m: float
    ) -> tuple[Packed[CloudMeta], PackedRing | None]:
        """As ``decode``, and the ring of ``width_m`` along ``bounds`` (``strips.ring``), the caller's to close, too."""
        read_by_steps = [name for step in wanted(request.options) for name in step.context_columns]
        return self._decode(body, request, Border(bounds, width_m, (*request.card.columns, *read_by_steps)))

    def _decode(
        self, body: Body, request: Request, border: Border | None = None, *, all_columns: bool = False
    ) -> tuple[Packed[CloudMeta], PackedRing | None]:
        keep = None if all_columns else (*request.card.columns, *request.options.columns_read)
        decode = DecodeRequest(body, request.options, self._settings.max_points, keep, border)
        grant = request.memory.decoding(body)
        return self._readers.run(decode, request.deadline, grant, is_background=request.is_background)

    def join(
        self,
        cloud: Packed[CloudMeta],
        rings: Sequence[PackedRing],
        request: Request,
        bounds: Bounds,
        buffer_m: float,
        frame: Bounds | None,
    ) -> Packed[CloudMeta]:
        """The tile ``cloud`` with the points of ``rings`` around it (``strips.joined``), the caller's to close."""
        with ExitStack() as stack:
            whole = cloud.share()
            for start in range(0, len(rings), MAX_RINGS):
                stack.push(whole)
                some = rings[start : start + MAX_RINGS]
                join = JoinRequest(whole, some, bounds, buffer_m, tuple(request.card.columns), frame)
                whole = self._readers.run(join, request.deadline, is_background=request.is_background)
            return whole

    def submit(self, cloud: Packed[CloudMeta], request: Request) -> CloudJob:
        """Queue ``cloud``, which stays the caller's, for an engine; ``result`` waits for it.

        Raises Busy, Quarantined, NotReady, and what ``Reservation.resize`` raises.
        """
        options, card = request.options, request.card
        request.memory.segmenting(cloud)
        passes = (options.max_passes or self._settings.max_passes) if options.mode is Mode.EXACT else 1
        voxels = min(cloud.num_points * passes, card.tile_voxels)
        return self._scheduler.submit(
            cloud,
            options,
            request.deadline.at_s,
            shares=card.shares_passes and options.mode.is_single_pass,
            need_bytes=card.bytes_per_voxel * voxels + point_bytes(options) * cloud.num_points,
            background_s=request.background_s,
        )

    def result(self, job: CloudJob, request: Request) -> SegmentedCloud:
        """What an engine made of ``job``, with the time that it waited; the segmentation is the caller's to close.

        Raises what ``Scheduler.result`` raises.
        """
        segmented = self._scheduler.result(job, request.deadline)
        segmentation = segmented.segmentation
        waited = {"queue": 1e3 * (job.started_s - job.submitted_s)}
        segmentation.meta = replace(
            segmentation.meta,
            model=request.options.model,
            request_id=request.id,
            timings_ms=waited | segmentation.meta.timings_ms,
        )
        return segmented

    def encode(
        self,
        output: str,
        cloud: Packed[CloudMeta],
        segmentation: Packed[SegmentationMeta],
        request: Request,
        source: Body | None = None,
        target: int | None = None,
        *,
        sums_up: bool = False,
    ) -> EncodedFile:
        """The answer in the format ``output``, the caller's to close.

        ``source`` is the file that came in, if the answer keeps what it holds. It goes into the file ``target``, a
        descriptor, if there is one. With ``sums_up`` it comes with its summary and SHA-256.
        Raises TooLarge, Busy, DeadlineExceeded, ClientGone, NotReady, and OSError if ``target`` cannot be written.
        """
        encode = EncodeRequest(output, cloud, segmentation, source, target, sums_up)
        grant = request.memory.encoding(cloud, segmentation)
        return self._readers.run(encode, request.deadline, grant, is_background=request.is_background)

    def _model(self, name: str) -> ModelCard:
        """The model to use; raises NotReady, NotFound or BadModel if there is none."""
        cards = self.models()
        served = {card.name: card for card in cards if card.served}
        wanted = name or self._settings.default_model or next(iter(served), "")
        if self._phase == "started" and self._supervisor.state == "ready" and wanted in served:
            return served[wanted]
        model_choice.check(self.status(), name, cards)
        return model_choice.card_of(wanted, cards)


def _elapsed_ms(begin: float) -> float:
    return 1e3 * (time.perf_counter() - begin)
