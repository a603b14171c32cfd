"""Connected components in plain torch: right on every device, the measure for compiled ones."""

import torch
from torch import Tensor

from .values import can_be_read


def connected_components(neighbours: Tensor, offsets: Tensor, labels: Tensor) -> Tensor:
    """See sparseops.connected_components.

    In each round every component joins the lowest one beside it, and the chains that this makes are followed to their
    ends, so rounds are few however long a component is.
    """
    num_places, num_nodes = neighbours.shape[1], len(labels)
    if can_be_read(offsets) and not _ascend(offsets, num_nodes):
        raise ValueError(f"offsets must ascend from 0 to {num_nodes}, got {offsets.tolist()[:8]} …")
    lowest = torch.arange(num_nodes, device=labels.device)
    if not num_nodes:
        return lowest
    labels = labels.unique(return_inverse=True)[1]
    place = torch.repeat_interleave(offsets.diff())
    keys = place * num_nodes + labels
    beside = neighbours[:, place].long()  # (K, M)
    wanted = beside * num_nodes + labels
    theirs = torch.searchsorted(keys, wanted).clamp_(max=num_nodes - 1)
    row, ours = ((beside >= 0) & (beside < num_places) & (keys[theirs] == wanted)).nonzero().unbind(1)
    theirs = theirs[row, ours]
    while True:
        one, other = lowest[ours], lowest[theirs]
        is_open = one != other
        ours, theirs, one, other = ours[is_open], theirs[is_open], one[is_open], other[is_open]
        if not len(ours):
            return lowest
        lowest = _followed(lowest.scatter_reduce_(0, torch.maximum(one, other), torch.minimum(one, other), "amin"))


def _ascend(offsets: Tensor, end: int) -> bool:
    return bool((offsets[0] == 0) & (offsets[-1] == end) & (offsets.diff() >= 0).all())


def _followed(lower: Tensor) -> Tensor:
    """int64 (M,), where each node ends that goes on to ``lower`` int64 (M,), to the one of that, and so on."""
    while not torch.equal(further := lower[lower], lower):
        lower = further
    return lower
