"""Features of airborne LiDAR that hold for any survey: shape and echoes, no absolute value, no density.

Each function adds one feature to a sample (see ``app.pipeline.transforms``) and is named in a config by its type.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .cells import Cells
from .raster import dilated, eroded, second_lowest
from .sample import Sample, box


def occupancy(sample: Sample) -> Sample:
    """``Occupancy``: adds ``occupancy`` float32 (N, 1), all ones: the voxel is there."""
    coord = sample["coord"]
    return sample | {"occupancy": coord.new_ones((len(coord), 1), dtype=torch.float32)}


def voxel_offset(sample: Sample, grid_size: float) -> Sample:
    """``VoxelOffset``: adds ``offset`` float32 (N, 3), the place of ``coord`` in its voxel, -0.5 to 0.5 voxels.

    ``grid_size`` is the voxel's edge in metres, the same as in GridSample.
    """
    position = sample["coord"].double()
    position = position / position.new_full((), grid_size)  # a GPU would multiply by 1 / a Python number
    return sample | {"offset": (position - position.floor() - 0.5).float()}


def returns(sample: Sample) -> Sample:
    """``Returns``: adds ``returns`` float32 (N, 2), what place an echo has among those of its pulse.

    They are 1 - return_number / number_of_returns and 1 - 1 / number_of_returns. A single echo, and a point whose
    numbers are missing or contradict each other, has (0, 0).
    """
    coord = sample["coord"]
    features = coord.new_zeros((len(coord), 2), dtype=torch.float32)
    if "return_number" in sample and "number_of_returns" in sample:
        number = sample["return_number"].float().reshape(-1)
        total = sample["number_of_returns"].float().reshape(-1)
        is_known = (number >= 1) & (number <= total)
        for column, place in enumerate((number, 1)):
            features[:, column] = torch.where(is_known, 1 - place / total, 0)
    return sample | {"returns": features}


def height_above_lowest(
    sample: Sample,
    cell_m: float,
    radii_m: Sequence[float],
    scale_m: float,
    clip_m: float,
    least_support: float | None = None,
) -> Sample:
    """``HeightAboveLowest``: adds ``height`` float32 (N, len(radii_m)), height over the lowest ground around.

    The lowest z of each cell of ``cell_m`` by ``cell_m`` is kept unless it stands alone (the second lowest of the 3 by
    3 cells around replaces it, against points below the ground); the lowest of the cells within each radius is
    subtracted from z; the result is clipped to -clip_m .. clip_m and divided by ``scale_m``. With ``least_support``,
    points of less ``support`` do not count as ground.
    """
    coord = sample["coord"].double()
    cells = Cells.of(coord, cell_m, max(radii_m), box(sample)[0])
    ground = second_lowest(cells.lowest(_terrain(sample, least_support)), 3)
    height = coord.new_empty((len(coord), len(radii_m)), dtype=torch.float32)
    for column, radius_m in enumerate(radii_m):
        over = cells.height_over(eroded(ground, cells.window(radius_m)), coord[:, 2])
        height[:, column] = over.clamp_(-clip_m, clip_m).div_(scale_m)
    return sample | {"height": height}


def lowest_reach_m(cell_m: float, radii_m: Sequence[float], **others: float | None) -> float:
    """How far around a point ``HeightAboveLowest`` looks: a radius, the point's cell, one beside the last."""
    return max(radii_m) + 2 * cell_m


def height_above_opening(
    sample: Sample, cell_m: float, radii_m: Sequence[float], pit_m: float, least_support: float | None = None
) -> Sample:
    """``HeightAboveOpening``: adds ``relief`` float32 (N, len(radii_m)), height over the terrain, finest near it.

    The terrain at each radius is the morphological opening of the lowest z of each cell of ``cell_m`` by ``cell_m``,
    which follows a slope and cuts off what is narrower than the radius (Zhang et al. 2003, the progressive
    morphological filter). A cell ``pit_m`` below the second lowest of the 5 by 5 around it is raised to that. A height
    h becomes sign(h) ln(1 + |h| / 0.2 m) / 2. With ``least_support``, points of less ``support`` do not count as
    terrain.
    """
    coord = sample["coord"].double()
    cells = Cells.of(coord, cell_m, max(radii_m), box(sample)[0])
    ground = cells.lowest(_terrain(sample, least_support))
    second = second_lowest(ground, 5)
    is_pit = second.isfinite() & (ground < second - pit_m)
    ground = torch.where(is_pit, second, ground)
    relief = coord.new_empty((len(coord), len(radii_m)), dtype=torch.float32)
    for column, radius_m in enumerate(radii_m):
        width = cells.window(radius_m)
        lowest = eroded(ground, width)
        opened = dilated(lowest.masked_fill_(lowest.isinf(), -torch.inf), width)
        height = cells.height_over(opened, coord[:, 2])
        sign = height.sign()
        relief[:, column] = height.abs_().div_(0.2).log1p_().mul_(sign).div_(2)
    return sample | {"relief": relief}


def opening_reach_m(cell_m: float, radii_m: Sequence[float], **others: float | None) -> float:
    """How far around a point ``HeightAboveOpening`` looks: two radii, the point's cell, two beside the last."""
    return 2 * max(radii_m) + 3 * cell_m


def _terrain(sample: Sample, least_support: float | None) -> Tensor:
    """Heights float64 (N,) of the points that may be terrain, inf for those of less ``support``."""
    z = sample["coord"][:, 2].double()
    if least_support is None:
        return z
    return z.masked_fill(sample["support"][:, 0] < least_support, torch.inf)
