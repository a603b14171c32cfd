"""``mode=fast``: clouds, one or several, in shared passes; each is answered as it would be alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.clouds.cloud import Cloud, Segmentation
from app.clouds.fields import CLASSES, LOGITS, made_from
from app.options import Options
from app.refine.check import check_cloud

from .inference import Inference, energy, joined
from .pipeline import Pipeline, source_of
from .predictions import Predictions
from .prepare import NetworkInput
from .run_context import RunContext

MIN_SHARED_VOXELS = 256  # matrix products of fewer rows round otherwise, so such a cloud always goes alone


@dataclass(frozen=True)
class SegmentationRequest:
    """One cloud and how to answer it; ``check_cancelled`` raises if the answer is no longer wanted."""

    cloud: Cloud
    options: Options
    check_cancelled: Callable[[], None]


@dataclass(frozen=True)
class SegmentationOutcome:
    """The answer to the request at ``index``, or the exception that ended it.

    ``num_voxels`` are those of the cloud; ``batch_size`` is the number of clouds that shared its pass.
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
    prepared: NetworkInput

    @property
    def num_voxels(self) -> int:
        return len(self.prepared)


def segment_batch(
    pipeline: Pipeline, requests: Sequence[SegmentationRequest], max_voxels: int
) -> Iterator[SegmentationOutcome]:
    """The outcome of every request, in the order in which they are done.

    ``pipeline`` is the one for the options of every request (``Segmenter.for_options``), of a mode of a single pass.
    Clouds of ``MIN_SHARED_VOXELS`` or more share passes of at most ``max_voxels``. The others go alone, in tiles if
    they need them, and so do those whose instances or features are wanted. If a shared pass fails, each of its clouds
    goes alone.
    """
    group: list[_Waiting] = []
    for index, request in enumerate(requests):
        waiting = _prepare(pipeline, index, request)
        if isinstance(waiting, SegmentationOutcome):
            yield waiting
        elif not _may_share(waiting, min(max_voxels, pipeline.tile_voxels)):
            yield from _answer(pipeline, [waiting])
        else:
            if sum(each.num_voxels for each in group) + waiting.num_voxels > max_voxels:
                yield from _answer(pipeline, group)
                group = []
            group.append(waiting)
    yield from _answer(pipeline, group)


def answers_alike(pipeline: Pipeline, clouds: Sequence[Cloud]) -> bool:
    """Whether the logits of ``clouds`` are equal, to the bit, alone and in one pass, in either order."""
    prepared = [ready for ready in map(pipeline.prepare, clouds) if ready is not None]

    def logits(group: Sequence[NetworkInput]) -> list[Tensor]:
        run = RunContext([])
        return pipeline.inference.in_range(lambda inference: _logits(inference, group, run), run)

    alone = [logits([one])[0] for one in prepared]
    together = logits(prepared)
    backwards = logits(prepared[::-1])[::-1]
    return all(
        torch.equal(one, first) and torch.equal(one, second)
        for one, first, second in zip(alone, together, backwards, strict=True)
    )


def _prepare(pipeline: Pipeline, index: int, request: SegmentationRequest) -> _Waiting | SegmentationOutcome:
    try:
        warnings = [*request.cloud.warnings, *pipeline.warnings, *request.options.without_effect]
        run = RunContext(warnings, request.check_cancelled, device=pipeline.inference.device)
        check_cloud(request.options, request.cloud)
        prepared = pipeline.prepare(request.cloud, request.options.seed, run)
        if prepared is None:
            nothing = pipeline.answer_of_nothing(request.cloud, request.options, run)
            return SegmentationOutcome(index, nothing)
    except Exception as error:
        return SegmentationOutcome(index, error)
    return _Waiting(index, request, run, prepared)


def _may_share(waiting: _Waiting, max_voxels: int) -> bool:
    of_classes = source_of(waiting.request.options.fields) == CLASSES
    return MIN_SHARED_VOXELS <= waiting.num_voxels <= max_voxels and of_classes


def _answer(pipeline: Pipeline, group: list[_Waiting]) -> Iterator[SegmentationOutcome]:
    """Drop what is no longer wanted, run the others together, and each alone if that fails."""
    wanted: list[_Waiting] = []
    for waiting in group:
        try:
            waiting.request.check_cancelled()
            wanted.append(waiting)
        except Exception as error:
            yield SegmentationOutcome(waiting.index, error)
    together = _together(pipeline, wanted) if len(wanted) > 1 else None
    for place, waiting in enumerate(wanted):
        try:
            options = waiting.request.options
            predictions = together[place] if together else pipeline.predict(waiting.prepared, options, waiting.run)
            result: Segmentation | Exception = pipeline.answer(
                predictions, waiting.prepared.projection, waiting.request.cloud, options, waiting.run
            )
        except Exception as error:
            result = error
        yield SegmentationOutcome(waiting.index, result, waiting.num_voxels, len(wanted) if together else 1)


def _together(pipeline: Pipeline, group: list[_Waiting]) -> list[Predictions] | None:
    """The predictions for each cloud of one pass; every cloud's timings are those of the whole pass.

    None if the pass fails, or half precision overflows in it, which may be another cloud's.
    """
    run = RunContext([], device=pipeline.inference.device)
    try:
        logits = _logits(pipeline.inference, [waiting.prepared for waiting in group], run)
        predictions = [_predictions(each, waiting.request) for each, waiting in zip(logits, group, strict=True)]
        if not run.checks_passed():
            return None
    except Exception:
        return None  # whatever it was, each cloud meets it again alone
    for waiting in group:
        waiting.run.add_stages(run)
    return predictions


def _predictions(logits: Tensor, request: SegmentationRequest) -> Predictions:
    predictions = Predictions.of_probabilities(logits.softmax(1))
    with_energy = made_from(LOGITS, request.options.fields)
    return replace(predictions, energy=energy(logits)) if with_energy else predictions


def _logits(inference: Inference, prepared: Sequence[NetworkInput], run: RunContext) -> list[Tensor]:
    """Logits float32 (V, num_classes) of each cloud, of one pass."""
    plan = inference.plan([(each.grid_coord, each.coord) for each in prepared], run)
    feat = joined([each.feat for each in prepared])
    logits = inference.logits(feat, plan, run)
    return list(logits.split([len(each) for each in prepared]))
