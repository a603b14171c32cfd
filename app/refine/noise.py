"""``noise``: points that hang together with nothing become low (7) or high noise (18).

Distances follow the density of the survey. The unit is the edge of a square that holds four points seen from above,
rounded up to a power of two: 0.5 m for 16 to 64 points a square metre, 4 m for a quarter of one. Points within about
four units hang together. Noise is a piece of at most ``MOST_POINTS`` points that

- hangs: no piece of more points is up to four units below it or beside what is below it, and of all points that hang,
  at most ``MOST_HANGING`` are within about 24 units at its height. What a wire is broken into is among more; or
- lies below the ground: lower than every other point within about eight units, two units at least below those nearby.

Where all pieces are small there is nothing that they could be apart from. Cliffs and steep terrain, which are pieces of
many points, and sparse surveys are left alone.
"""

import torch
from torch import Tensor

from app.clouds.asprs import HIGH_NOISE, LOW_NOISE
from app.options import Options

from .cells import Cells, edge_holding, piece_sizes
from .scene import Scene

UNIT_POINTS = 4
MOST_POINTS = 8
MOST_BURIED_POINTS = 5
MOST_HANGING = 20
SLAB = 4  # how many times as wide as high


def apply(scene: Scene, options: Options) -> None:
    """Label noise."""
    is_low, is_high = find_noise(scene.xyz)
    labels = scene.labels.masked_fill(is_low, scene.classes.id_of(LOW_NOISE))
    scene.labels = labels.masked_fill(is_high, scene.classes.id_of(HIGH_NOISE))


def find_noise(xyz: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the points ``xyz`` float32 (P, 3) in metres, z up, are low noise, and which high noise: bool (P,)."""
    if not len(xyz):
        none = torch.zeros(0, dtype=torch.bool, device=xyz.device)
        return none, none
    near = Cells.of(xyz, 2 * edge_holding(xyz, UNIT_POINTS))
    far = near.doubled()
    z = xyz[:, 2]
    piece, size = piece_sizes(near.around(), near.counts)
    is_loose = (size <= MOST_BURIED_POINTS)[near.of_point]
    lowest_far = _lowest_around(z, far, is_loose)
    top = z.new_full((len(piece),), -torch.inf)
    top = top.scatter_reduce_(0, piece[near.of_point], z, "amax")[piece[near.of_point]]
    lowest = torch.minimum(lowest_far, _lowest_around(z, near, is_loose) - near.edge_m)
    is_buried = is_loose & (top < lowest) & lowest.isfinite()
    is_hanging = _hang(far)
    is_low = is_buried | is_hanging & (z < lowest_far) & lowest_far.isfinite()
    return is_low, is_hanging & ~is_low


def _hang(cells: Cells) -> Tensor:
    """bool (P,), whether each point belongs to a small piece that hangs among few others."""
    around = cells.around()
    _, size = piece_sizes(around, cells.counts)
    is_small = size <= MOST_POINTS
    is_held = torch.cat([~is_small, is_small.new_zeros(1)])
    hangs = torch.ones_like(is_small)
    for below in around.view(9, 3, -1)[:, 0]:
        hangs &= ~is_held[below.long()]
    slabs = cells.merged(SLAB, 1)
    hanging = torch.zeros_like(slabs.counts).index_add_(0, slabs.of_point, cells.counts * hangs)
    is_lonely = (slabs.sums_around(hanging) <= MOST_HANGING)[slabs.of_point]
    return (is_small & hangs & is_lonely & ~is_small.all())[cells.of_point]


def _lowest_around(z: Tensor, cells: Cells, left_out: Tensor) -> Tensor:
    """(P,), the least z, inf for none, in the column of ``cells`` that each point is in and those beside it, of the
    points but those ``left_out``."""
    columns = cells.columns()
    lowest = z.new_full((len(columns.counts) + 1,), torch.inf)
    lowest[:-1].scatter_reduce_(0, columns.of_point, z.masked_fill(left_out, torch.inf), "amin")
    least = lowest[:-1].clone()
    for row in columns.around():
        least = torch.minimum(least, lowest[row.long()])
    return least[columns.of_point]
