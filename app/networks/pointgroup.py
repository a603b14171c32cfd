"""PointGroup: instances from voxels that are moved towards the middle of their object."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from pointgroup_ops import ballquery_batch_p, bfs_cluster
from torch import Tensor, nn

from app.errors import TooLarge

from .instances import Instances
from .network import Network, Wrapper

OFFSETS = 3  # columns of the offsets x, y, z


class PointGroup(Wrapper):
    """Pointcept's ``PG-v1m1`` and ``PG-v1m2``: classes, offsets to the middle of an object, and groups of both.

    Args:
        backbone: any.
        backbone_out_channels: C, width of its features.
        semantic_num_classes: classes.
        semantic_ignore_index, instance_ignore_index, cluster_closed_points: of training, or without effect.
        segment_ignore_index: classes that have no instances.
        cluster_thresh: reach between two voxels of an instance once moved, in units of ``voxel_size``.
        cluster_propose_points: an instance has more voxels than this.
        cluster_min_points: the least size of a group.
        voxel_size: in metres.
    """

    finds_instances = True
    supports_half_precision = False

    def __init__(
        self,
        backbone: Network,
        backbone_out_channels: int = 64,
        semantic_num_classes: int = 20,
        semantic_ignore_index: int = -1,
        segment_ignore_index: Sequence[int] = (-1, 0, 1),
        instance_ignore_index: int = -1,
        cluster_thresh: float = 1.5,
        cluster_closed_points: int = 300,
        cluster_propose_points: int = 100,
        cluster_min_points: int = 50,
        voxel_size: float = 0.02,
    ):
        super().__init__(backbone, backbone_out_channels)
        if not voxel_size > 0 or not cluster_thresh > 0:
            raise ValueError(f"voxel_size and cluster_thresh must be positive, got {voxel_size} and {cluster_thresh}")
        self.without_instances = tuple(segment_ignore_index)
        self.reach, self.voxel_size = cluster_thresh, voxel_size
        self.min_points, self.propose_points = cluster_min_points, cluster_propose_points
        channels = backbone_out_channels
        norm = partial(nn.BatchNorm1d, eps=1e-3, momentum=0.01)
        self.bias_head = nn.Sequential(
            nn.Linear(channels, channels), norm(channels), nn.ReLU(), nn.Linear(channels, OFFSETS)
        )
        self.seg_head = nn.Linear(channels, semantic_num_classes)

    def logits_and_features(self, features: Tensor, plan: Any) -> tuple[Tensor, Tensor]:
        """Logits, and the backbone's features."""
        described = self.backbone(features, plan)
        return self.seg_head(described), described

    def logits_and_offsets(self, features: Tensor, plan: Any) -> tuple[Tensor, Tensor]:
        """Logits (V, semantic_num_classes), and offsets (V, 3) in metres to the middle of the object."""
        features = self.backbone(features, plan)
        return self.seg_head(features), self.bias_head(features)

    def instances(self, probabilities: Tensor, middles: Tensor, counts: Sequence[int]) -> Instances:
        """Groups of voxels of one class that are neighbors once they are moved to the middle of their object.

        Args:
            probabilities: float32 (V, semantic_num_classes).
            middles: float32 (V, 3), in metres: positions and their offsets.
            counts: voxels of each cloud.

        Raises:
            TooLarge: more pairs of near voxels than can be counted.
        """
        labels = probabilities.argmax(1)
        wanted = ~torch.isin(labels, labels.new_tensor(self.without_instances))
        points = wanted.nonzero().flatten()
        rows, offsets = self._groups(middles[points] / self.voxel_size, labels[points], _clouds(points, counts))
        number, place = rows.long().unbind(1)
        kept = offsets.diff() > self.propose_points
        renumbered = torch.where(kept, kept.cumsum(0) - 1, -1)[number]  # (S,)
        member, instance = points.cpu()[place][renumbered >= 0], renumbered[renumbered >= 0]
        of_voxel = torch.full((len(labels),), -1, dtype=torch.int32)
        of_voxel[member] = instance.int()
        classes = labels.cpu()[points.cpu()[place[offsets[:-1].long()]]][kept]
        said = probabilities.cpu()[member, classes[instance]].double()
        sums = torch.bincount(instance, said, minlength=len(classes))
        scores = sums / torch.bincount(instance, minlength=len(classes))
        return Instances(of_voxel, classes, scores.float())

    def _groups(self, middles: Tensor, labels: Tensor, clouds: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of group and point, and the begin of each group, as ``bfs_cluster`` gives them."""
        counts = torch.bincount(clouds)
        starts = nn.functional.pad(counts.cumsum(0), (1, 0)).int()
        try:
            near, start_len = ballquery_batch_p(middles.contiguous(), clouds.int(), starts, self.reach)
        except ValueError as error:
            raise TooLarge(f"the instances of this cloud cannot be separated in one piece: {error}") from error
        return bfs_cluster(labels.int().cpu(), near.cpu(), start_len.cpu(), self.min_points)


def _clouds(points: Tensor, counts: Sequence[int]) -> Tensor:
    """The cloud of each of ``points``, counted from 0 without those that have none of them; int64, ascending."""
    ends = torch.tensor(counts, device=points.device).cumsum(0)
    return torch.searchsorted(ends, points, right=True).unique_consecutive(return_inverse=True)[1]
