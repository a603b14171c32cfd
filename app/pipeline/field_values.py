"""The fields of an answer from predictions; each field of ``app.clouds.fields`` is made here."""

from collections.abc import Callable, Sequence

import numpy as np

from app.clouds.cloud import InstanceInfo
from app.clouds.fields import FIELDS
from app.clouds.principal import principal_colors
from app.errors import TooLarge

from .predictions import Predictions
from .projection import Projection

MAX_FEATURE_BYTES = 1 << 32  # of the features of all points of a cloud


def _entropy(predictions: Predictions) -> np.ndarray:
    shares = predictions.probabilities
    return -(shares * np.log(np.maximum(shares, 1e-30))).sum(1)


def _instances(predictions: Predictions) -> np.ndarray:
    return np.empty(0, np.int32) if predictions.instances is None else predictions.instances.of_voxel.numpy()


def _features(predictions: Predictions) -> np.ndarray:
    return np.empty((0, 0), np.float32) if predictions.features is None else predictions.features


MADE: dict[str, Callable[[Predictions], np.ndarray]] = {
    "confidence": lambda predictions: predictions.probabilities.max(1),
    "probabilities": lambda predictions: predictions.probabilities,
    "entropy": _entropy,
    "instances": _instances,
    "features": _features,
    "features_rgb": lambda predictions: principal_colors(_features(predictions)),
}
"""The values (R,) or (R, C) of the rows of predictions, by field."""


def of_points(predictions: Predictions, projection: Projection, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The fields ``names`` of every point, by name, in the order of ``FIELDS``.

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
        field.name: projection.project(MADE[field.name](predictions).astype(field.dtype, copy=False), field.unusable)
        for field in fields
    }


def instance_infos(predictions: Predictions, of_point: np.ndarray, class_ids: np.ndarray) -> list[InstanceInfo]:
    """Every instance, counted in ``of_point``, int32 (N,), the field; ``label`` is one of ``class_ids``."""
    found = predictions.instances
    if found is None:
        return []
    counts = np.bincount(of_point[of_point >= 0], minlength=len(found.classes))
    labels = class_ids[found.classes.numpy()]
    rows = zip(labels.tolist(), found.scores.tolist(), counts.tolist(), strict=True)
    return [InstanceInfo(number, *row) for number, row in enumerate(rows)]
