"""Segmentors: what stands between a backbone and the logits."""

from typing import Any

from torch import Tensor

from .network import Network
from .scene import Scene


class DefaultSegmentor(Network):
    """Pointcept's ``DefaultSegmentor``: the backbone's output is the logits."""

    def __init__(self, backbone: Network):
        super().__init__()
        self.backbone = backbone

    def plan(self, scene: Scene) -> Any:
        """The backbone's plan."""
        return self.backbone.plan(scene)

    def forward(self, features: Tensor, plan: Any) -> Tensor:  # (V, C) -> (V, num_classes)
        return self.backbone(features, plan)
