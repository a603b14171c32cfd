"""Runs batches of jobs in an engine process."""

import copy
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from app.clouds.cloud import Segmentation
from app.engine.company import Company
from app.engine.deadline import LATE
from app.engine.device_memory import is_device_lost, release
from app.engine.heartbeat import Lane
from app.engine.missing_models import MAX_RETRY_S
from app.engine.model_set import ModelSet
from app.engine.packed import Packed, pack_segmentation, unpack_cloud
from app.engine.protocol import Batch, Failure, Segment, Segmented
from app.errors import ClientGone, DeadlineExceeded, NotFound, NotReady, Problem
from app.options import Options, models_in
from app.pipeline.batch import SegmentationOutcome, SegmentationRequest, segment_batch
from app.pipeline.ensemble import together
from app.pipeline.out_of_memory import is_out_of_memory
from app.pipeline.segmenter import Segmenter

SMALLEST_TILE_VOXELS = 1000
RETRIES = 4

Answer = tuple[Segmented | Failure, list[int]]

log = logging.getLogger(__name__)


class DeviceLost(Exception):
    """The device cannot be used any more by this process."""


class Runner:
    """Runs batches of one lane with the models of ``models``; ``lane`` says which jobs are cancelled, ``company`` what
    runs beside them."""

    def __init__(self, models: ModelSet, lane: Lane, company: Company, device: str, batch_voxels: int):
        self._models = models
        self._lane = lane
        self._company = company
        self._device = device
        self._batch_voxels = batch_voxels

    def run(self, batch: Batch, fds: Sequence[int]) -> Iterator[Answer]:
        """The message that ends each job, as soon as it is known, and the descriptors to send with it.

        Raises DeviceLost if this process is of no further use.
        """
        with self._company.together():
            yield from self._run(batch, fds)

    def _run(self, batch: Batch, fds: Sequence[int]) -> Iterator[Answer]:
        shared: list[tuple[Segment, SegmentationRequest]] = []
        for index, (job, fd) in enumerate(zip(batch.jobs, fds, strict=True)):
            check_cancelled = self._check_cancelled(job, index)
            try:
                check_cancelled()
                cloud = unpack_cloud(Packed(fd, job.layout, job.meta))
                options, first = job.options, batch.jobs[0].options
                segmenter = self._segmenter(options)
                request = SegmentationRequest(cloud, options, check_cancelled)
                is_alike = options.mode.is_single_pass and options.network == first.network
                if is_alike and segmenter.shares_passes:
                    shared.append((job, request))
                    continue
                outcome = self._with_memory(segmenter, request, _segment(segmenter, request))
            except Exception as error:
                outcome = SegmentationOutcome(index, error)
            yield self._answer(job, outcome)
        if not shared:
            return
        segmenter = self._segmenter(shared[0][0].options)
        for outcome in segment_batch(segmenter, [request for _, request in shared], self._batch_voxels):
            job, request = shared[outcome.index]
            yield self._answer(job, self._with_memory(segmenter, request, outcome))

    def _check_cancelled(self, job: Segment, index: int) -> Callable[[], None]:
        def check_cancelled() -> None:
            if self._lane.is_cancelled(index):
                raise ClientGone("Nobody waits for this answer any more.")
            if time.time() >= job.deadline_unix_s:
                raise DeadlineExceeded(LATE)

        return check_cancelled

    def _segmenter(self, options: Options) -> Segmenter:
        names = models_in(options.model, [card.name for card in self._models.cards])
        return together([self._member(name) for name in names]).for_options(options)

    def _member(self, name: str) -> Segmenter:
        if name in self._models.segmenters:
            return self._models.segmenters[name]
        reasons = [card.reason for card in self._models.cards if card.name == name and not card.is_unloaded]
        if reasons:  # it was served by the process before this one
            why = f"Model {name!r} is not served: {reasons[0].rstrip('.')}. It is tried again."
            raise NotReady(why, retry_after_s=MAX_RETRY_S)
        raise NotFound(f"Model {name!r} was unloaded.")

    def _with_memory(
        self, segmenter: Segmenter, request: SegmentationRequest, outcome: SegmentationOutcome
    ) -> SegmentationOutcome:
        """The outcome; if memory did not suffice, that of running again without company, and then in smaller tiles."""
        if not _lacks_memory(outcome):
            return outcome
        with self._company.alone():
            if self._company.max_batches > 1:
                log.warning("out of memory; the cloud goes again when nothing runs beside it")
                outcome = self._again(segmenter, request, outcome)
            return self._in_smaller_tiles(segmenter, request, outcome)

    def _in_smaller_tiles(
        self, segmenter: Segmenter, request: SegmentationRequest, outcome: SegmentationOutcome
    ) -> SegmentationOutcome:
        """The outcome of running again in tiles of half the size, and half of that, while memory does not suffice."""
        smaller = copy.copy(segmenter)
        smaller.tile_voxels = min(segmenter.tile_voxels, outcome.num_voxels or max(1, len(request.cloud)))
        for _ in range(RETRIES):
            smaller.tile_voxels //= 2
            if not _lacks_memory(outcome) or smaller.tile_voxels < SMALLEST_TILE_VOXELS:
                break
            log.warning("out of memory; the cloud goes again in tiles of %d voxels", smaller.tile_voxels)
            outcome = self._again(smaller, request, outcome)
            if isinstance(outcome.result, Segmentation):
                outcome.result.meta.warnings.append(
                    f"The memory of the device did not suffice for one pass: tiles of {smaller.tile_voxels:,} voxels "
                    "were taken."
                )
        return outcome

    def _again(
        self, segmenter: Segmenter, request: SegmentationRequest, outcome: SegmentationOutcome
    ) -> SegmentationOutcome:
        if isinstance(outcome.result, Exception):
            outcome.result.__traceback__ = None  # it holds what the failed pass had
        release(self._device)
        return _segment(segmenter, request)

    def _answer(self, job: Segment, outcome: SegmentationOutcome) -> Answer:
        result = outcome.result
        if isinstance(result, Segmentation):
            try:
                packed = pack_segmentation(result)
            except Exception as error:  # most likely there is no memory for the answer
                return self._answer(job, replace(outcome, result=error))
            message = Segmented(job.job_id, packed.layout, packed.meta, outcome.num_voxels, outcome.batch_size)
            return message, [packed.fd]
        if isinstance(result, Problem):
            return Failure.of(result, job.job_id), []
        log.error("job %s failed", job.job_id, exc_info=result)
        if is_out_of_memory(result):
            result.__traceback__ = None
            release(self._device)
            detail = "The memory of the server did not suffice for this cloud; a lower POINTSERVE_TILE_VOXELS may help."
            return Failure.of(NotReady(detail), job.job_id), []
        if is_device_lost(result):
            raise DeviceLost(str(result)) from result
        detail = f"Segmenting the cloud failed; the server's log says why, under job {job.job_id}."
        return Failure.of(Problem(detail), job.job_id), []


def _segment(segmenter: Segmenter, request: SegmentationRequest) -> SegmentationOutcome:
    """What becomes of one request alone."""
    if request.options.mode.is_single_pass and segmenter.shares_passes:
        (outcome,) = segment_batch(segmenter, [request], segmenter.tile_voxels)
        return outcome
    try:
        return SegmentationOutcome(0, segmenter.segment(request.cloud, request.options, request.check_cancelled))
    except Exception as error:
        return SegmentationOutcome(0, error)


def _lacks_memory(outcome: SegmentationOutcome) -> bool:
    return isinstance(outcome.result, Exception) and is_out_of_memory(outcome.result)
