"""Context-aware classifier: prototypes of the classes refined by the cloud's own features."""

from dataclasses import dataclass
from typing import Any

import torch
from sparseops import cloud_extents
from torch import Tensor, nn
from torch.nn.functional import normalize

from .network import Network, Wrapper
from .voxel_batch import VoxelBatch

ROWS_AT_ONCE = 4096  # sums of a cloud are taken in parts of so many rows, whatever the number of threads


@dataclass(frozen=True)
class ContextPlan:
    """The backbone's plan, and the number of voxels of each cloud."""

    backbone: Any
    counts: list[int]


class ClassHead(nn.Linear):
    """A linear layer whose weights (num_classes, C) are also read as prototypes of the classes."""

    def folded(self) -> "ClassHead":
        """Itself, so that the weights can still be read."""
        return self


class ContextAwareClassifier(Wrapper):
    """Pointcept's ``CAC-v1m1``: logits are cosines between features and prototypes of the classes in this cloud.

    Args:
        num_classes: classes.
        backbone_out_channels: C, width of the backbone's features.
        backbone: any.
        cos_temp: factor of the cosines.
        main_weight, pre_weight, pre_self_weight, kl_weight, detach_pre_logits: of training.
        conf_thresh: voxels whose first guess is less probable do not count for the prototypes.
    """

    supports_half_precision = False

    def __init__(
        self,
        num_classes: int,
        backbone_out_channels: int,
        backbone: Network,
        cos_temp: float = 15,
        main_weight: float = 1,
        pre_weight: float = 1,
        pre_self_weight: float = 1,
        kl_weight: float = 1,
        conf_thresh: float = 0,
        detach_pre_logits: bool = False,
    ):
        super().__init__(backbone, backbone_out_channels)
        channels = backbone_out_channels
        self.cos_temp, self.conf_thresh = cos_temp, conf_thresh
        self.seg_head = ClassHead(channels, num_classes)
        self.proj = _refinement(channels)
        self.apd_proj = _refinement(channels)  # of training, but among the weights
        self.feat_proj_layer = nn.Sequential(
            nn.Linear(channels, channels, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
        )

    def plan(self, batch: VoxelBatch) -> ContextPlan:
        """The backbone's plan and the end of each cloud."""
        counts = cloud_extents(batch.voxels).counts
        return ContextPlan(self.backbone.plan(batch), [count for count in counts if count])

    def logits_and_features(self, features: Tensor, plan: ContextPlan) -> tuple[Tensor, Tensor]:
        """Logits, and the backbone's features."""
        features = self.backbone(features, plan.backbone)
        guess = self.seg_head(features).softmax(1)
        if self.conf_thresh > 0:
            guess = guess * (guess.amax(1, keepdim=True) >= self.conf_thresh)
        directions = normalize(self.feat_proj_layer(features))
        clouds = zip(*(values.split(plan.counts) for values in (features, guess, directions)), strict=True)
        return torch.cat([self.cosines(*cloud) for cloud in clouds]) * self.cos_temp, features

    def cosines(self, features: Tensor, guess: Tensor, directions: Tensor) -> Tensor:
        """(V, num_classes) of one cloud."""
        parts = [
            guess_part.t() @ part
            for guess_part, part in zip(guess.split(ROWS_AT_ONCE), features.split(ROWS_AT_ONCE), strict=True)
        ]
        means = torch.stack(parts).sum(0) / (guess.sum(0) + 1e-7)[:, None]  # (num_classes, C)
        prototypes = self.proj(torch.cat([means, self.seg_head.weight], 1))
        return directions @ normalize(prototypes).t()


def _refinement(channels: int) -> nn.Sequential:
    """From a class's mean in the cloud and its weights to its prototype."""
    return nn.Sequential(
        nn.Linear(2 * channels, 2 * channels, bias=False), nn.ReLU(), nn.Linear(2 * channels, channels)
    )
