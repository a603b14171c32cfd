"""Base classes of all networks: a network, and one that stands around a backbone."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from .instances import Instances
from .voxel_batch import VoxelBatch


class Network(nn.Module):
    """Base of backbones and segmentors: ``plan(batch)`` computes the geometry, ``forward(features, plan)`` the rest.

    A network declares what it offers and needs by class attributes of the names below.

    Attributes:
        reads_context: whether ``forward`` takes a ``context``, float32 (1, C), that a PPT learnt for the dataset.
        finds_instances: whether ``logits_and_offsets`` and ``instances`` may be called.
        out_channels: width of what ``forward`` gives to a head; None if any head fits.
    """

    reads_context: bool = False
    finds_instances: bool = False
    out_channels: int | None = None

    @property
    def plans_positions(self) -> bool:
        """Whether ``plan`` reads ``batch.coord``; if not, batches with equal voxels may share a plan."""
        return True

    @property
    def gives_features(self) -> bool:
        """Whether ``logits_and_features`` may be called."""
        return False

    @property
    def supports_half_precision(self) -> bool:
        """Whether the network runs in fp16 and bf16."""
        return False

    @classmethod
    def arguments_from_weights(cls, weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """Arguments that Pointcept's configs do not state, read from ``weights`` under the network's own names."""
        return {}

    def plan(self, batch: VoxelBatch) -> Any:
        """All that ``forward`` needs of the geometry."""
        raise NotImplementedError

    def logits_and_features(self, features: Tensor, plan: Any) -> tuple[Tensor, Tensor]:
        """Logits (V, num_classes), and the features that the last layer makes them of, (V, C)."""
        raise NotImplementedError

    def logits_and_offsets(self, features: Tensor, plan: Any) -> tuple[Tensor, Tensor]:
        """Logits (V, num_classes), and offsets (V, 3) in metres to the middle of the object."""
        raise NotImplementedError

    def instances(self, probabilities: Tensor, middles: Tensor, counts: Sequence[int]) -> Instances:
        """Objects among the voxels of clouds of ``counts`` voxels, from probabilities and moved positions."""
        raise NotImplementedError


class Wrapper(Network):
    """A network around a backbone: it plans and runs as the backbone does, unless a subclass declares otherwise.

    Args:
        backbone: what gives features, or logits.
        backbone_out_channels: width of its features that the head is made for; None if there is no head.
    """

    def __init__(self, backbone: Network, backbone_out_channels: int | None = None):
        super().__init__()
        if backbone_out_channels is not None and backbone.out_channels not in (None, backbone_out_channels):
            raise ValueError(
                f"backbone_out_channels is {backbone_out_channels}, but the backbone gives {backbone.out_channels}"
            )
        self.backbone = backbone

    @property
    def plans_positions(self) -> bool:
        """As the backbone."""
        return self.backbone.plans_positions

    @property
    def gives_features(self) -> bool:
        """Whether there is a head, below which the features lie."""
        return True

    @property
    def supports_half_precision(self) -> bool:
        """As the backbone."""
        return self.backbone.supports_half_precision

    def plan(self, batch: VoxelBatch) -> Any:
        """The backbone's plan."""
        return self.backbone.plan(batch)

    def forward(self, features: Tensor, plan: Any) -> Tensor:  # (V, C) -> (V, num_classes)
        return self.logits_and_features(features, plan)[0]


def output_widths(weights: Mapping[str, Tensor], *names: str) -> list[int]:
    """The output widths of the linear layers with weights of these names; none if one is missing."""
    found = [weights[name].shape[0] for name in names if name in weights and weights[name].dim() == 2]
    return found if len(found) == len(names) else []
