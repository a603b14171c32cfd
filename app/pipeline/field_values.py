"""The fields of an answer from predictions; each field of ``app.clouds.fields`` is made here."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from app.clouds.cloud import InstanceInfo
from app.clouds.fields import CLASSES, FIELDS, FLOAT32, INT32, REFINED, UINT8, VOTES, OutputField
from app.errors import TooLarge
from app.refine.unclassified import entropy

from .predictions import Predictions
from .principal import principal_colors
from .projection import Projection

DTYPES = {INT32: torch.int32, FLOAT32: torch.float32, UINT8: torch.uint8}
MAX_FEATURE_BYTES = 1 << 32  # of the features of all points of a cloud
MAX_DEVICE_BYTES = 1 << 28  # of a column that a GPU projects; a larger one is projected once its rows have come down


def _instances(predictions: Predictions) -> Tensor:
    none = predictions.best.new_empty(0)
    return none if predictions.instances is None else predictions.instances.of_voxel.to(none.device)


def _features(predictions: Predictions) -> Tensor:
    return predictions.probabilities.new_empty((0, 0)) if predictions.features is None else predictions.features


def _energy(predictions: Predictions) -> Tensor:
    return predictions.probabilities.new_empty(0) if predictions.energy is None else predictions.energy


def _agreement(predictions: Predictions) -> Tensor:
    if predictions.votes is None:
        return predictions.probabilities.new_empty(0)
    ours = predictions.votes.gather(1, predictions.best[:, None])[:, 0]
    return ours.float() / predictions.votes.sum(1)  # a pass that could not use a point has no vote on it


COMPUTED: dict[str, Callable[[Predictions], Tensor]] = {
    "confidence": lambda predictions: predictions.probabilities.amax(1),
    "probabilities": lambda predictions: predictions.probabilities,
    "entropy": lambda predictions: entropy(predictions.probabilities),
    "energy": _energy,
    "agreement": _agreement,
    "instances": _instances,
    "features": _features,
    "features_rgb": lambda predictions: principal_colors(_features(predictions)),
}
"""The values (R,) or (R, C) of the rows of predictions, by field."""


def of_points(
    predictions: Predictions,
    of_classes: Projection,
    projection: Projection,
    names: Sequence[str],
    refined: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """The fields ``names`` of every point, by name, in the order of ``FIELDS``, in their dtypes, on the device but for
    those of more than ``MAX_DEVICE_BYTES``. ``of_classes`` projects what is made from classes, ``projection`` all else;
    ``refined`` has the values of every point of those that steps made.

    Raises TooLarge if the features of all points would be.
    """
    width = _features(predictions).shape[1]
    num_bytes = projection.num_points * FIELDS["features"].row_bytes(0, width)
    if "features" in names and num_bytes > MAX_FEATURE_BYTES:
        raise TooLarge(
            f"{width} features for each of {projection.num_points:,} points are {num_bytes:,} bytes, more than "
            f"{MAX_FEATURE_BYTES:,}: ask for features_rgb instead, or cut the cloud into parts."
        )
    fields = [field for field in FIELDS.values() if field.name in names]
    return {
        field.name: refined[field.name]
        if field.source == REFINED
        else _of_points(predictions, of_classes if field.source in (CLASSES, VOTES) else projection, field)
        for field in fields
    }


def _of_points(predictions: Predictions, projection: Projection, field: OutputField) -> Tensor:
    values = COMPUTED[field.name](predictions).to(DTYPES[field.dtype])
    row_bytes = values.element_size() * values.shape[1:].numel()
    if values.is_cuda and projection.num_points * row_bytes > MAX_DEVICE_BYTES:
        values, projection = values.cpu(), projection.cpu()
    return projection.project(values, field.unusable)


def instance_infos(
    predictions: Predictions, of_point: np.ndarray, class_ids: Sequence[int]
) -> tuple[np.ndarray, list[InstanceInfo]]:
    """The field ``of_point``, int32 (N,), and every instance in it; ``label`` is one of ``class_ids``.

    Instances without a point, as of context alone, are left out, and the others numbered anew in their order.
    """
    found = predictions.instances
    if found is None:
        return of_point, []
    counts = np.bincount(of_point[of_point >= 0], minlength=len(found.classes))
    labels = [class_ids[column] for column in found.classes.tolist()]
    rows = [row for row in zip(labels, found.scores.tolist(), counts.tolist(), strict=True) if row[-1]]
    if len(rows) < len(counts):
        numbers = np.append((counts > 0).cumsum() - 1, -1).astype(of_point.dtype)  # the last for -1, of no instance
        of_point = numbers[of_point]
    return of_point, [InstanceInfo(number, *row) for number, row in enumerate(rows)]
