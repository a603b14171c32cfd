"""Forecasts from finished jobs: how long waiting clouds will take, and how many voxels they will have."""

import math

_RATE_DECAY = 0.8  # weight of all earlier jobs beside the last one
_VOXELS_DECAY = 0.9


class Throughput:
    """Points a second of recent jobs. For one thread at a time."""

    def __init__(self) -> None:
        self._recent_points = 0.0
        self._recent_s = 0.0

    def add(self, num_points: int, seconds: float) -> None:
        """Learn from one finished job."""
        self._recent_points = _RATE_DECAY * self._recent_points + num_points
        self._recent_s = _RATE_DECAY * self._recent_s + seconds

    def seconds(self, num_points: int) -> float:
        """How long segmenting ``num_points`` will take; 0 before the first job is finished."""
        return num_points * self._recent_s / self._recent_points if self._recent_points else 0.0


class VoxelDensity:
    """Voxels a point in recent clouds of each model. For one thread at a time."""

    def __init__(self) -> None:
        self._voxels_a_point: dict[str, float] = {}

    def add(self, model: str, num_points: int, num_voxels: int) -> None:
        """Learn from one segmented cloud."""
        before = self._voxels_a_point.get(model, 0.0)
        self._voxels_a_point[model] = max(num_voxels / max(1, num_points), _VOXELS_DECAY * before)

    def num_voxels(self, model: str, num_points: int) -> int:
        """Estimated voxels of a cloud; one a point before a cloud of ``model`` was segmented."""
        return math.ceil(num_points * min(1.0, self._voxels_a_point.get(model) or 1.0))
