"""Segmentors: what stands between a backbone and the logits."""

from typing import Any

from torch import Tensor

from .network import Network


class DefaultSegmentor(Network):
    """Pointcept's ``DefaultSegmentor``: the backbone's output is the logits."""

    def __init__(self, backbone: Network):
        super().__init__()
        self.backbone = backbone

    def plan(self, coords: Tensor) -> Any:
        """The backbone's plan for voxels int (V, 4) of batch, x, y, z."""
        return self.backbone.plan(coords)

    def forward(self, features: Tensor, plan: Any) -> Tensor:  # (V, C) -> (V, num_classes)
        return self.backbone(features, plan)
