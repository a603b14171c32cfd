"""Segmentors: what stands between a backbone and the logits."""

from typing import Any

from torch import Tensor, nn

from .network import Network, check_width
from .scene import Scene


class DefaultSegmentor(Network):
    """Pointcept's ``DefaultSegmentor``: the backbone's output is the logits."""

    def __init__(self, backbone: Network):
        super().__init__()
        self.backbone = backbone
        self.plans_positions = backbone.plans_positions

    def plan(self, scene: Scene) -> Any:
        """The backbone's plan."""
        return self.backbone.plan(scene)

    def forward(self, features: Tensor, plan: Any) -> Tensor:  # (V, C) -> (V, num_classes)
        return self.backbone(features, plan)


class DefaultSegmentorV2(Network):
    """Pointcept's ``DefaultSegmentorV2``: a linear layer on the backbone's features; none for ``num_classes`` 0."""

    def __init__(self, backbone: Network, num_classes: int, backbone_out_channels: int):
        super().__init__()
        check_width(backbone, backbone_out_channels)
        self.seg_head = nn.Linear(backbone_out_channels, num_classes) if num_classes > 0 else nn.Identity()
        self.backbone = backbone
        self.plans_positions = backbone.plans_positions

    def plan(self, scene: Scene) -> Any:
        """The backbone's plan."""
        return self.backbone.plan(scene)

    def forward(self, features: Tensor, plan: Any) -> Tensor:  # (V, C) -> (V, num_classes)
        return self.seg_head(self.backbone(features, plan))
