"""Segmentors: what stands between a backbone and the logits."""

from typing import Any

from torch import Tensor, nn

from .network import Network, check_width
from .voxel_batch import VoxelBatch


class DefaultSegmentor(Network):
    """Pointcept's ``DefaultSegmentor``: the backbone's output is the logits."""

    def __init__(self, backbone: Network):
        super().__init__()
        self.backbone = backbone
        self.plans_positions = backbone.plans_positions
        self.supports_half_precision = backbone.supports_half_precision
        self.gives_features = backbone.gives_features

    def plan(self, batch: VoxelBatch) -> Any:
        """The backbone's plan."""
        return self.backbone.plan(batch)

    def forward(self, features: Tensor, plan: Any) -> Tensor:  # (V, C) -> (V, num_classes)
        return self.backbone(features, plan)

    def describe(self, features: Tensor, plan: Any) -> tuple[Tensor, Tensor]:
        """As the backbone's."""
        return self.backbone.describe(features, plan)


class DefaultSegmentorV2(Network):
    """Pointcept's ``DefaultSegmentorV2``: a linear layer on the backbone's features; none for ``num_classes`` 0."""

    gives_features = True

    def __init__(self, backbone: Network, num_classes: int, backbone_out_channels: int):
        super().__init__()
        check_width(backbone, backbone_out_channels)
        self.seg_head = nn.Linear(backbone_out_channels, num_classes) if num_classes > 0 else nn.Identity()
        self.backbone = backbone
        self.plans_positions = backbone.plans_positions
        self.supports_half_precision = backbone.supports_half_precision

    def plan(self, batch: VoxelBatch) -> Any:
        """The backbone's plan."""
        return self.backbone.plan(batch)

    def forward(self, features: Tensor, plan: Any) -> Tensor:  # (V, C) -> (V, num_classes)
        return self.seg_head(self.backbone(features, plan))

    def describe(self, features: Tensor, plan: Any) -> tuple[Tensor, Tensor]:
        """Logits, and the backbone's features."""
        described = self.backbone(features, plan)
        return self.seg_head(described), described


class Encoder(Network):
    """A backbone without a head: it knows no classes and gives features."""

    gives_features = True

    def __init__(self, backbone: Network):
        super().__init__()
        self.backbone = backbone
        self.plans_positions = backbone.plans_positions
        self.supports_half_precision = backbone.supports_half_precision

    def plan(self, batch: VoxelBatch) -> Any:
        """The backbone's plan."""
        return self.backbone.plan(batch)

    def forward(self, features: Tensor, plan: Any) -> Tensor:  # (V, C) -> (V, 0)
        return self.describe(features, plan)[0]

    def describe(self, features: Tensor, plan: Any) -> tuple[Tensor, Tensor]:
        """No logits, and the backbone's features."""
        described = self.backbone(features, plan)
        return described[:, :0], described
