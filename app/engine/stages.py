"""The stages of a request, from a file that came in to the file of its answer."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from app.clouds.cloud import Bounds, SegmentationMeta
from app.engine.answer import EncodedFile
from app.engine.body import Body
from app.engine.deadline import Deadline
from app.engine.job import CloudJob, SegmentedCloud
from app.engine.model_card import ModelCard
from app.engine.packed import Packed, PackedRing
from app.engine.parts import Parts
from app.engine.protocol import Border, CloudMeta
from app.engine.reader_request import MAX_RINGS, DecodeRequest, EncodeRequest, JoinRequest
from app.engine.readers import ReaderPool
from app.engine.request import Request
from app.engine.request_memory import RequestMemory, point_bytes
from app.errors import BadRequest
from app.options import MAX_TIMEOUT_S, Mode, Options
from app.refine.steps import wanted
from app.settings import Settings


class Stages:
    """What readers and engines do for a request, one call a stage, in the order below. For any number of threads."""

    def __init__(self, settings: Settings, parts: Parts, readers: ReaderPool, choose: Callable[[str], ModelCard]):
        """``choose`` gives the model of a name; it raises NotReady, NotFound or BadModel if there is none."""
        self._settings = settings
        self._memory = parts.memory
        self._scheduler = parts.scheduler
        self._readers = readers
        self._choose = choose

    @contextmanager
    def request(
        self,
        options: Options,
        request_id: str = "",
        *,
        is_gone: Callable[[], bool] = lambda: False,
        is_background: bool = False,
    ) -> Iterator[Request]:
        """A request for the stages below, whose memory is given back at its end; raises what ``Service.predict``
        does before any work.

        One in the background waits for readers and engines as long as others ask for them; its time counts once an
        engine has it.
        """
        limit_s = min(options.timeout_s or math.inf, self._settings.request_timeout_s)
        deadline = Deadline.after(MAX_TIMEOUT_S if is_background else limit_s, is_gone)
        max_passes = self._settings.max_passes
        if options.max_passes and options.max_passes > max_passes:
            raise BadRequest(f"max_passes {options.max_passes} is not accepted; accepted are 1 to {max_passes}.")
        card = self._choose(options.model)
        most = None if options.mode.is_single_pass else max_passes
        options = replace(options, model=card.name, max_passes=options.max_passes or most)
        with self._memory.reservation() as reservation:
            memory = RequestMemory(reservation, card, options, deadline)
            yield Request(options, card, deadline, memory, request_id, limit_s if is_background else 0.0)

    def decode(self, body: Body, request: Request, *, all_columns: bool = False) -> Packed[CloudMeta]:
        """The cloud in ``body``, the caller's to close: what is needed of it for ``request.options.output``, or all.

        Raises what ``Service.predict`` says of the file.
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
