"""Runs batches of jobs in an engine process."""

import copy
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from app.clouds.cloud import Segmentation
from app.engine.deadline import LATE
from app.engine.device_memory import is_device_lost, release
from app.engine.heartbeat import Heartbeat
from app.engine.missing_models import MAX_RETRY_S
from app.engine.model_set import ModelSet
from app.engine.packed import Packed, pack_segmentation, unpack_cloud
from app.engine.protocol import Batch, Failure, Segment, Segmented
from app.errors import ClientGone, DeadlineExceeded, NotFound, NotReady, Problem
from app.options import Options
from app.pipeline.batch import SegmentationOutcome, SegmentationRequest, segment_batch
from app.pipeline.out_of_memory import is_out_of_memory
from app.pipeline.segmenter import Segmenter

SMALLEST_TILE_VOXELS = 1000
RETRIES = 4

Answer = tuple[Segmented | Failure, list[int]]

log = logging.getLogger(__name__)


class DeviceLost(Exception):
    """The device cannot be used any more by this process."""


class Runner:
    """Runs batches with the models of ``models``; ``heartbeat`` says which jobs are cancelled."""

    def __init__(self, models: ModelSet, heartbeat: Heartbeat, device: str, batch_voxels: int):
        self._models = models
        self._heartbeat = heartbeat
        self._device = device
        self._batch_voxels = batch_voxels

    def run(self, batch: Batch, fds: Sequence[int]) -> Iterator[Answer]:
        """The message that ends each job, as soon as it is known, and the descriptors to send with it.

        Raises DeviceLost if this process is of no further use.
        """
        shared: list[tuple[Segment, SegmentationRequest]] = []
        for index, (job, fd) in enumerate(zip(batch.jobs, fds, strict=True)):
            check_cancelled = self._check_cancelled(job, index)
            try:
                check_cancelled()
                cloud = unpack_cloud(Packed(fd, job.layout, job.meta))
                options, first = job.options, batch.jobs[0].options
                segmenter = self._segmenter(options)
                if options.mode.is_single_pass and options.network == first.network:
                    shared.append((job, SegmentationRequest(cloud, options, check_cancelled)))
                else:
                    yield self._answer(
                        job, SegmentationOutcome(index, segmenter.segment(cloud, options, check_cancelled))
                    )
            except DeviceLost:
                raise
            except Exception as error:
                yield self._answer(job, SegmentationOutcome(index, error))
        if not shared:
            return
        segmenter = self._segmenter(shared[0][0].options)
        for outcome in segment_batch(segmenter, [request for _, request in shared], self._batch_voxels):
            job, request = shared[outcome.index]
            if isinstance(outcome.result, Exception) and is_out_of_memory(outcome.result):
                outcome = self._in_smaller_tiles(segmenter, request, outcome)
            yield self._answer(job, outcome)

    def _check_cancelled(self, job: Segment, index: int) -> Callable[[], None]:
        def check_cancelled() -> None:
            if self._heartbeat.is_cancelled(index):
                raise ClientGone("Nobody waits for this answer any more.")
            if time.time() >= job.deadline_unix_s:
                raise DeadlineExceeded(LATE)

        return check_cancelled

    def _segmenter(self, options: Options) -> Segmenter:
        if options.model in self._models.segmenters:
            return self._models.segmenters[options.model].for_options(options)
        reasons = [card.reason for card in self._models.cards if card.name == options.model and not card.is_unloaded]
        if reasons:  # it was served by the process before this one
            why = f"Model {options.model!r} is not served: {reasons[0].rstrip('.')}. It is tried again."
            raise NotReady(why, retry_after_s=MAX_RETRY_S)
        raise NotFound(f"Model {options.model!r} was unloaded.")

    def _in_smaller_tiles(
        self, segmenter: Segmenter, request: SegmentationRequest, outcome: SegmentationOutcome
    ) -> SegmentationOutcome:
        """The outcome of running again in tiles of half the size, and half of that, while memory does not suffice."""
        smaller = copy.copy(segmenter)
        smaller.tile_voxels = min(segmenter.tile_voxels, max(outcome.num_voxels, 1))
        for _ in range(RETRIES):
            smaller.tile_voxels //= 2
            if smaller.tile_voxels < SMALLEST_TILE_VOXELS:
                break
            if isinstance(outcome.result, Exception):
                outcome.result.__traceback__ = None  # it holds what the failed pass had
            release(self._device)
            log.warning("out of memory; the cloud goes again in tiles of %d voxels", smaller.tile_voxels)
            (outcome,) = segment_batch(smaller, [request], smaller.tile_voxels)
            if isinstance(outcome.result, Segmentation):
                outcome.result.meta.warnings.append(
                    f"The memory of the device did not suffice for one pass: tiles of {smaller.tile_voxels:,} voxels "
                    "were taken."
                )
            elif is_out_of_memory(outcome.result):
                continue
            break
        return outcome

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
            return Failure(result.status, result.detail, job.job_id, retry_after_s=result.retry_after_s), []
        log.error("job %s failed", job.job_id, exc_info=result)
        if is_out_of_memory(result):
            result.__traceback__ = None
            release(self._device)
            detail = "The memory of the server did not suffice for this cloud; a lower POINTSERVE_TILE_VOXELS may help."
            return Failure(NotReady.status, detail, job.job_id), []
        if is_device_lost(result):
            raise DeviceLost(str(result)) from result
        detail = f"Segmenting the cloud failed; the server's log says why, under job {job.job_id}."
        return Failure(Problem.status, detail, job.job_id), []
