"""Connected components of nodes that lie at places beside each other."""

import torch
from torch import Tensor

from . import reference_components as reference
from .extension import compiled_for


def connected_components(neighbours: Tensor, offsets: Tensor, labels: Tensor) -> Tensor:
    """The lowest of all nodes that hang together with each one, int64 (M,).

    Nodes hang together if they have one label and lie at places beside each other, or if a chain of such nodes leads
    from one to the other. Nodes of one place have different labels.

    Args:
        neighbours: int32 (K, V), contiguous, places beside each of V places, such as half of the rows of a
            ``submanifold_map``; what is none of them, such as -1, is left out. Each pair is needed in one direction.
        offsets: int64 (V + 1,), contiguous, ascending from 0 to M: place v has the nodes ``offsets[v]`` to
            ``offsets[v + 1]``. The compiled operator on a GPU does not read them back: it moves what is outside
            [0, M] to its ends.
        labels: int64 (M,), contiguous, of the nodes, ascending at each place.

    Raises:
        ValueError: wrong shape, dtype, layout or device; where the offsets are read also those that do not ascend from
            0 to M.
    """
    if neighbours.ndim != 2 or neighbours.dtype != torch.int32 or not neighbours.is_contiguous():
        raise ValueError(f"neighbours must be contiguous int32 (K, V), got {_told(neighbours)}")
    if labels.ndim != 1 or labels.dtype != torch.int64 or not labels.is_contiguous():
        raise ValueError(f"labels must be contiguous int64 (M,), got {_told(labels)}")
    if offsets.shape != (neighbours.shape[1] + 1,) or offsets.dtype != torch.int64 or not offsets.is_contiguous():
        raise ValueError(f"offsets must be contiguous int64 ({neighbours.shape[1] + 1},), got {_told(offsets)}")
    if not neighbours.device == offsets.device == labels.device:
        raise ValueError(f"all must be on one device, got {neighbours.device}, {offsets.device} and {labels.device}")
    operators = torch.ops.sparseops if compiled_for(labels) else reference
    found: Tensor = operators.connected_components(neighbours, offsets, labels)
    return found


def _told(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}, strides {tensor.stride()}"
