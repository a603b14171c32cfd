"""Segmentors trained by low-rank adaptation, whose weights come merged."""

from .heads import DefaultSegmentorV2
from .network import Network


class LoraSegmentor(DefaultSegmentorV2):
    """Pointcept's ``DefaultLORASegmentorV2``: a ``DefaultSegmentorV2`` once ``app.zoo.lora`` has merged the weights.

    Args:
        backbone, num_classes, backbone_out_channels: as of ``DefaultSegmentorV2``.
        use_lora, lora_r, lora_alpha: read by the merging.
        lora_dropout, backbone_path, keywords, replacements: of training.
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
