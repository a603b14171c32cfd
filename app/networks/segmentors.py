"""Segmentors with a linear head, or none."""

from typing import Any

from torch import Tensor, nn

from .network import Network, Wrapper


class DefaultSegmentor(Wrapper):
    """Pointcept's ``DefaultSegmentor``: the backbone's output is the logits."""

    def __init__(self, backbone: Network):
        super().__init__(backbone)

    @property
    def gives_features(self) -> bool:
        """As the backbone, which has the head."""
        return self.backbone.gives_features

    def forward(self, features: Tensor, plan: Any) -> Tensor:  # (V, C) -> (V, num_classes)
        return self.backbone(features, plan)

    def logits_and_features(self, features: Tensor, plan: Any) -> tuple[Tensor, Tensor]:
        """Logits and features of the backbone."""
        return self.backbone.logits_and_features(features, plan)


class DefaultSegmentorV2(Wrapper):
    """Pointcept's ``DefaultSegmentorV2``: a linear layer on the backbone's features; none for ``num_classes`` 0."""

    def __init__(self, backbone: Network, num_classes: int, backbone_out_channels: int):
        super().__init__(backbone, backbone_out_channels)
        self.seg_head = nn.Linear(backbone_out_channels, num_classes) if num_classes > 0 else nn.Identity()

    def logits_and_features(self, features: Tensor, plan: Any) -> tuple[Tensor, Tensor]:
        """Logits, and the backbone's features."""
        described = self.backbone(features, plan)
        return self.seg_head(described), described


class LoraSegmentor(DefaultSegmentorV2):
    """Pointcept's ``DefaultLORASegmentorV2``: a ``DefaultSegmentorV2`` once ``app.zoo.lora`` has merged the weights.

    Args:
        backbone, num_classes, backbone_out_channels: as for ``DefaultSegmentorV2``.
        use_lora, lora_r, lora_alpha: for merging.
        lora_dropout, backbone_path, keywords, replacements: for training.
    """

    def __init__(
        self,
        backbone: Network,
        num_classes: int,
        backbone_out_channels: int,
        use_lora: bool = False,
        lora_r: int = 8,
        lora_alpha: float = 16,
        lora_dropout: float = 0.1,
        backbone_path: str | None = None,
        keywords: str | None = None,
        replacements: str | None = None,
    ):
        super().__init__(backbone, num_classes, backbone_out_channels)


class Encoder(Wrapper):
    """A backbone without a head: it knows no classes and gives features."""

    def __init__(self, backbone: Network):
        super().__init__(backbone)

    def logits_and_features(self, features: Tensor, plan: Any) -> tuple[Tensor, Tensor]:
        """Logits of no class (V, 0), and the backbone's features."""
        described = self.backbone(features, plan)
        return described[:, :0], described
