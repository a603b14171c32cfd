"""``mode=fast`` for several clouds in one pass, each answered as it would be alone."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count

import numpy as np
import torch
from torch import Tensor

from app.clouds.cloud import Cloud, Segmentation
from app.clouds.fields import CLASSES, FIELDS
from app.options import Options

from . import single_pass
from .prepare import Prepared
from .run_context import RunContext
from .segmenter import Segmenter

MAX_PREPARING_THREADS = 8  # more would wait for Python's lock
MIN_PREPARING_POINTS = 10_000  # of a cloud that is worth a thread: smaller ones wait for that lock
MIN_SHARED_VOXELS = 256  # matrix products of fewer rows round otherwise, so such a cloud always goes alone


@dataclass(frozen=True)
class SegmentationRequest:
    """One cloud and how to answer it; ``check_cancelled`` raises where the answer is no longer wanted."""

    cloud: Cloud
    options: Options
    check_cancelled: Callable[[], None]


@dataclass(frozen=True)
class SegmentationOutcome:
    """What became of the request at ``index``: its answer, or the exception that ended it.

    ``num_voxels`` are those of the cloud, ``batch_size`` the clouds that shared its pass.
    """

    index: int
    result: Segmentation | Exception
    num_voxels: int = 0
    batch_size: int = 1


@dataclass(frozen=True)
class _Waiting:
    index: int
    request: SegmentationRequest
    run: RunContext
    prepared: Prepared

    @property
    def num_voxels(self) -> int:
        return len(self.prepared.voxels)


def segment_batch(
    segmenter: Segmenter, requests: Sequence[SegmentationRequest], max_voxels: int
) -> Iterator[SegmentationOutcome]:
    """The outcome of every request, in the order in which they are done.

    ``segmenter`` is the one for the options of every request (``Segmenter.for_options``), of a mode of a single pass.
    Clouds of ``MIN_SHARED_VOXELS`` or more share passes of at most ``max_voxels``; the others go alone, in tiles where
    they need them, and so do those of which instances or features are wanted. Where a shared pass fails, each of its
    clouds goes alone.
    """
    group: list[_Waiting] = []
    for waiting in _prepared(segmenter, requests):
        if isinstance(waiting, SegmentationOutcome):
            yield waiting
        elif not _may_share(waiting, min(max_voxels, segmenter.tile_voxels)):
            yield from _answer(segmenter, [waiting])
        else:
            if sum(each.num_voxels for each in group) + waiting.num_voxels > max_voxels:
                yield from _answer(segmenter, group)
                group = []
            group.append(waiting)
    yield from _answer(segmenter, group)


def answers_alike(segmenter: Segmenter, clouds: Sequence[Cloud]) -> bool:
    """Whether the logits of ``clouds`` are the same, to the bit, alone and in one pass, in either order."""
    prepared = [ready for ready in map(segmenter.prepare, clouds) if ready is not None]
    alone = [_logits(segmenter, [one], RunContext([]))[0] for one in prepared]
    together = _logits(segmenter, prepared, RunContext([]))
    backwards = _logits(segmenter, prepared[::-1], RunContext([]))[::-1]
    return all(
        torch.equal(one, first) and torch.equal(one, second)
        for one, first, second in zip(alone, together, backwards, strict=True)
    )


def _prepared(
    segmenter: Segmenter, requests: Sequence[SegmentationRequest]
) -> Iterator[_Waiting | SegmentationOutcome]:
    """Every request made ready, in their order; while a GPU runs the network, the processor goes on with the next."""
    prepare = partial(_prepare, segmenter)
    num_large = sum(len(request.cloud) >= MIN_PREPARING_POINTS for request in requests)
    num_threads = min(MAX_PREPARING_THREADS, torch.get_num_threads() // 2, num_large)
    if segmenter.inference.device.type == "cpu" or num_threads < 2:
        yield from map(prepare, count(), requests)
        return
    with ThreadPoolExecutor(num_threads, "prepare") as pool:
        yield from pool.map(prepare, count(), requests)


def _prepare(segmenter: Segmenter, index: int, request: SegmentationRequest) -> _Waiting | SegmentationOutcome:
    try:
        run = RunContext([*request.cloud.warnings, *segmenter.warnings], request.check_cancelled)
        prepared = segmenter.prepare(request.cloud, request.options.seed, run)
        if prepared is None:
            return SegmentationOutcome(index, segmenter.answer(len(request.cloud), None, request.options.fields, run))
    except Exception as error:
        return SegmentationOutcome(index, error)
    return _Waiting(index, request, run, prepared)


def _may_share(waiting: _Waiting, max_voxels: int) -> bool:
    goes_alone = any(FIELDS[name].source != CLASSES for name in waiting.request.options.fields)
    return MIN_SHARED_VOXELS <= waiting.num_voxels <= max_voxels and not goes_alone


def _answer(segmenter: Segmenter, group: list[_Waiting]) -> Iterator[SegmentationOutcome]:
    """Drop what is no longer wanted, run the others together, and alone where that fails."""
    wanted: list[_Waiting] = []
    for waiting in group:
        try:
            waiting.request.check_cancelled()
            wanted.append(waiting)
        except Exception as error:
            yield SegmentationOutcome(waiting.index, error)
    together = _together(segmenter, wanted) if len(wanted) > 1 else None
    for place, waiting in enumerate(wanted):
        try:
            result: Segmentation | Exception = _finish(segmenter, waiting, together[place] if together else None)
        except Exception as error:
            result = error
        yield SegmentationOutcome(waiting.index, result, waiting.num_voxels, len(wanted) if together else 1)


def _together(segmenter: Segmenter, group: list[_Waiting]) -> list[np.ndarray] | None:
    """float32 (V, num_classes) of each cloud; each is told the time of the whole pass.

    None if the pass fails or warns, as of an overflow, which may be another cloud's.
    """
    run = RunContext([])
    try:
        logits = _logits(segmenter, [waiting.prepared for waiting in group], run)
        probabilities = [each.softmax(1).cpu().numpy() for each in logits]
    except Exception:
        return None  # whatever it was, each cloud meets it again alone
    if run.warnings:
        return None
    for waiting in group:
        waiting.run.timings_ms.update(run.timings_ms)
    return probabilities


def _finish(segmenter: Segmenter, waiting: _Waiting, probabilities: np.ndarray | None) -> Segmentation:
    request = waiting.request
    if probabilities is None:
        predictions = segmenter.predictions(waiting.prepared, request.options.fields, waiting.run)
    else:
        predictions = single_pass.predictions(waiting.prepared, probabilities)
    return segmenter.answer(len(request.cloud), predictions, request.options.fields, waiting.run)


def _logits(segmenter: Segmenter, prepared: Sequence[Prepared], run: RunContext) -> list[Tensor]:
    """Logits float32 (V, num_classes) of each cloud, of one pass."""
    plan = segmenter.inference.plan([(each.grid_coord, each.coord) for each in prepared], run)
    feat = np.concatenate([each.feat for each in prepared])
    logits = segmenter.inference.logits(feat, plan, run)
    return list(logits.split([len(each.grid_coord) for each in prepared]))
