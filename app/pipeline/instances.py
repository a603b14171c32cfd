"""From the instances among voxels to those among the points of a cloud."""

import numpy as np

from app.clouds.cloud import InstanceInfo

from .predictions import Predictions


def project(predictions: Predictions, num_points: int, class_ids: np.ndarray) -> tuple[np.ndarray, list[InstanceInfo]]:
    """Instance of each point, int32 (num_points,), -1 for none; and all of them, ``label`` out of ``class_ids``."""
    of_point = np.full(num_points, -1, np.int32)
    found = predictions.instances
    if found is None:
        return of_point, []
    known = predictions.of_point >= 0
    of_point[predictions.rows[known]] = found.of_voxel.numpy()[predictions.of_point[known]]
    counts = np.bincount(of_point[of_point >= 0], minlength=len(found.classes))
    labels = class_ids[found.classes.numpy()]
    told = zip(labels.tolist(), found.scores.tolist(), counts.tolist(), strict=True)
    return of_point, [InstanceInfo(number, *each) for number, each in enumerate(told)]
