"""The service behind HTTP: a file in, an answer out."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Literal

from app.clouds import catalog
from app.engine import model_choice
from app.engine.answer import Answer
from app.engine.body import Body
from app.engine.deadline import STOPPING
from app.engine.missing_models import MAX_RETRY_S
from app.engine.model_card import ModelCard
from app.engine.parts import Parts
from app.engine.protocol import LoadModel, UnloadModel
from app.engine.readers import ReaderPool
from app.engine.stages import Stages
from app.engine.status import ServiceState, ServiceStatus, Stage
from app.errors import NotReady
from app.options import Options
from app.settings import Settings

__all__ = ["Answer", "Service"]


class Service:
    """Readers, scheduler and engines. For any number of threads; started and stopped once.

    Attributes:
        admission: admits requests; whoever calls ``predict`` has been admitted.
        memory: the machine's memory that requests share.
        parts: what it is made of.
        stages: of a request, for whoever needs others than ``predict``, or in another order.
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
        self.stages = Stages(settings, parts, self._readers, self._model)
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
        stages = self.stages
        with ExitStack() as stack:
            request = stack.enter_context(stages.request(options, request_id, is_gone=is_gone))
            output = options.output or "json"
            with self._scheduler.arriving():
                begin = time.perf_counter()
                on_stage("decode")
                cloud = stack.enter_context(stages.decode(body, request))
                decode_ms = _elapsed_ms(begin)
                on_stage("segment")
                job = stages.submit(cloud, request)
            source = body if catalog.keeps_source(output, cloud.meta.format) else None
            if source is None:
                body.close()  # here it costs no time that anybody waits for
            segmented = stages.result(job, request)
            segmentation = stack.enter_context(segmented.segmentation)
            timings_ms = {"decode": decode_ms} | segmentation.meta.timings_ms
            segmentation.meta = replace(segmentation.meta, timings_ms=timings_ms)
            begin = time.perf_counter()
            on_stage("encode")
            file = stack.enter_context(stages.encode(output, cloud, segmentation, request, source))
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
