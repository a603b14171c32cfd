"""The feature ``Support``: how many points lie around each one at its height, which tells terrain from noise below."""

from collections.abc import Sequence

import torch

from .cells import MAX_RASTER_CELLS, Cells
from .raster import windowed_sum
from .sample import Sample, box

LAYERS = 256
MAX_CELLS = MAX_RASTER_CELLS // 64  # 2.9 km a side in cells of 8 m


def support(sample: Sample, cell_m: Sequence[float]) -> Sample:
    """``Support``: adds ``support`` float32 (N, 1), above 0, at most 1: how many points lie at the height of each.

    Space is cut into boxes of ``cell_m``: edge and height. The points in the 3 by 3 boxes around and in those above
    and below them are counted, and divided by the largest such count there at any height; of that the fourth root is
    taken, so that small shares differ. Where the points of a box are 100, ground under a dense wood has 0.5 and more,
    a point far from all others 0.3. Heights repeat after 256 layers of boxes.
    """
    edge_m, layer_m = cell_m
    coord = sample["coord"].double()
    corner = box(sample)[0].double()
    cells = Cells.of(coord, edge_m, edge_m, corner, MAX_CELLS)
    height = coord.new_full((), layer_m)  # a GPU would multiply by 1 / a Python number
    layers = ((coord[:, 2] - corner[2]) / height).floor_().long()
    low, high = layers.aminmax()
    num_layers = min(int(high - low) + 2, LAYERS)  # with an empty one between the highest and the lowest
    places = cells.places * num_layers + layers.remainder_(num_layers)
    counts = torch.zeros(cells.shape[0] * cells.shape[1] * num_layers, dtype=torch.int32, device=coord.device)
    counts.scatter_add_(0, places, torch.ones_like(counts[:1]).expand(len(places)))
    counts = counts.view(*cells.shape, num_layers)
    slabs = windowed_sum(counts, 3, 2)
    slabs[..., 0] += counts[..., -1]
    slabs[..., -1] += counts[..., 0]
    around = windowed_sum(windowed_sum(slabs, 3, 0), 3, 1)
    near = around.flatten().index_select(0, places)
    most = around.amax(2).flatten().index_select(0, cells.places)
    return sample | {"support": (near / most).sqrt_().sqrt_()[:, None]}


def support_reach_m(cell_m: Sequence[float]) -> float:
    """How far around a point ``Support`` looks: the point's box and the one beside it."""
    return 2 * cell_m[0]
