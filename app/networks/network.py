"""What every network of this package offers."""

from typing import Any

from torch import Tensor, nn


class Network(nn.Module):
    """A module with ``plan(coords)`` and ``forward(features, plan)``; backbones and segmentors alike."""

    def plan(self, coords: Tensor) -> Any:
        """All that ``forward`` needs of the geometry of voxels ``coords``, int (V, 4) of batch, x, y, z."""
        raise NotImplementedError
