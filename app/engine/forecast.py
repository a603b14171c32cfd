"""What finished jobs tell of those that wait: how long they will take, and how many voxels they will have."""

import math
import time

from app.engine.job import CloudJob

_DECAY = 0.8  # weight of the past in the recent rate, per finished job
_VOXELS_DECAY = 0.9


class Forecast:
    """Points a second of recent jobs, and voxels a point of the clouds of each model. For one thread at a time."""

    def __init__(self) -> None:
        self._recent_points = 0.0
        self._recent_s = 0.0
        self._voxels_a_point: dict[str, float] = {}

    def finished(self, job: CloudJob) -> None:
        """Learn from ``job``, which is answered now."""
        self._recent_points = _DECAY * self._recent_points + job.num_points
        self._recent_s = _DECAY * self._recent_s + (time.monotonic() - job.started) / job.batch_size
        ratio, before = job.num_voxels / max(1, job.num_points), self._voxels_a_point.get(job.options.model, 0.0)
        self._voxels_a_point[job.options.model] = max(ratio, _VOXELS_DECAY * before)

    def seconds(self, num_points: int) -> float:
        """How long segmenting ``num_points`` will take; 0 before the first job is finished."""
        return num_points * self._recent_s / self._recent_points if self._recent_points else 0.0

    def num_voxels(self, job: CloudJob) -> int:
        """As many as the cloud of ``job`` will have; one a point as long as no cloud of its model was answered."""
        return math.ceil(job.num_points * min(1.0, self._voxels_a_point.get(job.options.model) or 1.0))
