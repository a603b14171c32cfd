"""Instances of a labelled cloud."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from .checks import FLOATS, INTEGERS, check_kind
from .functions import ballquery_batch_p, bfs_cluster


class Clustering:
    """Instances of one cloud from class scores: points of one class within reach of each other.

    Args:
        ignored_labels: classes, as ``class_mapping`` names them, that have no instances.
        class_mapping: (C,) the class that each column of the scores stands for.
        thresh: reach between two points, in the unit of the vertices.
        closed_points: taken for compatibility, without effect.
        min_points: the least size of a group of points.
        propose_points: a group becomes an instance if it has more points than this.
        score_func: reduces the scores of an instance's points, (P,), to its confidence.

    Raises:
        ValueError: here and in the methods, a tensor is not as said, or there are fewer classes than columns.
    """

    def __init__(
        self,
        ignored_labels: Iterable[int],
        class_mapping: Tensor,
        thresh: float = 0.03,
        closed_points: int = 300,
        min_points: int = 50,
        propose_points: int = 100,
        score_func: Callable[[Tensor], Tensor] = torch.max,
    ) -> None:
        check_kind("class_mapping", class_mapping, INTEGERS, ("C",))
        self.ignored_labels = ignored_labels
        self.class_mapping = class_mapping
        self.thresh = thresh
        self.closed_points = closed_points
        self.min_points = min_points
        self.propose_points = propose_points
        self.score_func = score_func

    def get_instances(self, vertices: Tensor, scores: Tensor) -> dict[int, dict[str, Any]]:
        """Instances of ``vertices`` (N, 3) with ``scores`` (N, C), by number.

        Each has ``conf`` (a NumPy scalar array), ``label_id`` (a scalar tensor, as ``class_mapping`` names it) and
        ``pred_mask`` (NumPy int32 (N,), 1 for its points).
        """
        masks, labels = self.cluster(vertices, scores)
        classes = self.class_mapping.cpu()
        instances = {}
        for number, (mask, label) in enumerate(zip(masks, labels.tolist(), strict=True)):
            confidence = self.score_func(scores[mask.bool().to(scores.device), label])
            instances[number] = {
                "conf": confidence.cpu().numpy(),
                "label_id": classes[label],
                "pred_mask": mask.numpy(),
            }
        return instances

    def cluster(self, vertices: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Masks, int32 (I, N) on the CPU, and labels (I,), columns of ``scores``, of the instances."""
        self._check_scores(vertices, scores)
        labels = scores.max(1).indices
        rows, offsets = self._groups(vertices, labels)
        number, point = rows.long().unbind(1)
        masks = torch.zeros(len(offsets) - 1, len(vertices), dtype=torch.int32)
        masks[number, point] = 1
        kept = offsets.diff() > self.propose_points
        first = point[offsets[:-1].long()]
        return masks[kept], labels[first[kept].to(labels.device)]

    def cluster_(self, vertices: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Groups of at least ``min_points``: ``bfs_cluster``'s result with indices into ``vertices`` (N, 3).

        ``labels`` (N,) are columns of the scores.
        """
        self._check_labels(vertices, labels)
        return self._groups(vertices, labels)

    def _groups(self, vertices: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        wanted = torch.ones_like(labels, dtype=torch.bool)
        for ignored in self.ignored_labels:
            wanted &= self.class_mapping.to(labels.device)[labels] != ignored
        points = wanted.nonzero().flatten()
        batch_idxs = torch.zeros(len(points), dtype=torch.int32, device=vertices.device)
        batch_offsets = torch.tensor([0, len(points)], dtype=torch.int32, device=vertices.device)
        idxs, start_len = ballquery_batch_p(
            vertices[points].float().contiguous(), batch_idxs, batch_offsets, self.thresh, self.closed_points
        )
        rows, offsets = bfs_cluster(labels[points].int().cpu(), idxs.cpu(), start_len.cpu(), self.min_points)
        rows[:, 1] = points.cpu()[rows[:, 1].long()]
        return rows, offsets

    def _check_scores(self, vertices: Tensor, scores: Tensor) -> None:
        check_kind("vertices", vertices, FLOATS, ("N", 3))
        check_kind("scores", scores, FLOATS, (len(vertices), "C"))
        if not 1 <= scores.shape[1] <= len(self.class_mapping):
            raise ValueError(
                f"scores must have a column for each of the {len(self.class_mapping)} classes of class_mapping, "
                f"got {tuple(scores.shape)}"
            )

    def _check_labels(self, vertices: Tensor, labels: Tensor) -> None:
        check_kind("vertices", vertices, FLOATS, ("N", 3))
        check_kind("labels", labels, INTEGERS, (len(vertices),))
        classes = len(self.class_mapping)
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise ValueError(
                f"labels must be of the {classes} classes of class_mapping, 0 … {classes - 1}, "
                f"got {int(labels.min())} … {int(labels.max())}"
            )
