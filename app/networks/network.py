"""What every network of this package offers."""

from typing import Any

from torch import Tensor, nn

from .voxel_batch import VoxelBatch


class Network(nn.Module):
    """A module with ``plan(batch)`` and ``forward(features, plan)``; backbones and segmentors alike.

    Attributes:
        plans_positions: whether ``plan`` reads ``batch.coord``; if not, batches with equal voxels may share a plan.
        gives_features: whether ``describe`` may be called.
        supports_half_precision: whether the network runs in fp16 and bf16.
    """

    plans_positions: bool = True
    gives_features: bool = False
    supports_half_precision: bool = False

    def plan(self, batch: VoxelBatch) -> Any:
        """All that ``forward`` needs of the geometry."""
        raise NotImplementedError

    def describe(self, features: Tensor, plan: Any) -> tuple[Tensor, Tensor]:
        """Logits (V, num_classes), and what the last layer makes them of, (V, C)."""
        raise NotImplementedError


def check_width(backbone: nn.Module, backbone_out_channels: int) -> None:
    """Raise ValueError unless ``backbone`` gives features as wide as a head is told."""
    width = getattr(backbone, "out_channels", backbone_out_channels)
    if width != backbone_out_channels:
        raise ValueError(f"backbone_out_channels is {backbone_out_channels}, but the backbone gives {width}")
