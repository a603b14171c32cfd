"""What every network of this package offers."""

from typing import Any

from torch import Tensor, nn

from .scene import Scene


class Network(nn.Module):
    """A module with ``plan(scene)`` and ``forward(features, plan)``; backbones and segmentors alike.

    ``plans_positions`` is False where ``plan`` reads the voxels of a scene and not ``coord``, so that scenes with equal
    voxels may share a plan. ``gives_features`` is True where ``describe`` may be called, ``halves`` where the network
    runs in half precision.
    """

    plans_positions: bool = True
    gives_features: bool = False
    halves: bool = False

    def plan(self, scene: Scene) -> Any:
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
