"""What every network of this package offers."""

from typing import Any

from torch import nn

from .scene import Scene


class Network(nn.Module):
    """A module with ``plan(scene)`` and ``forward(features, plan)``; backbones and segmentors alike."""

    def plan(self, scene: Scene) -> Any:
        """All that ``forward`` needs of the geometry."""
        raise NotImplementedError
