"""Height above ground: a raster of the ground, with gaps closed, that is read between its cells.

The surface is linear between the middles of cells, and each cell has the height that makes it fit the mean of the
cell's ground points. Cells without ground get the heights of a membrane that is spanned over the gap (the solution of
Laplace's equation), which goes level beyond the outermost ground. The surface stands for a TIN of all ground points: it
differs by what single points stick out of their surroundings, and needs no triangulation, so it runs on any device.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, pad

from app.clouds.asprs import GROUND
from app.options import HEIGHT_FIELD, Options

from .scene import Scene

GROUND_POINTS = 2  # of a cell, on average
WIDE_EDGE_M = 32.0  # is taken however few points a cell holds
EDGES_M = tuple(2.0**power for power in range(-6, 16))
FAR_M = 100.0
FAR_SQUARES = 4  # beside each other
TICKS = 1e5  # a metre; sums of whole numbers are the same in any order
ROUNDS = 2  # in which cells are fitted once more
SWEEPS = 4  # over the gaps, at each resolution


def apply(scene: Scene, options: Options) -> None:
    """Make the field ``height_above_ground``."""
    scene.fields[HEIGHT_FIELD] = heights_of(scene, options)


def heights_of(scene: Scene, options: Options) -> Tensor:
    """Heights float32 (P,) of the points of ``scene``, with warnings of what has none.

    Raises BadRequest if the file is to say what is ground, and states no classes.
    """
    if HEIGHT_FIELD in scene.fields:
        return scene.fields[HEIGHT_FIELD]
    if options.ground == "file":
        is_ground = scene.file_codes("ground=file") == GROUND
        is_ground = is_ground if scene.places is None else is_ground[scene.places]
    else:
        is_ground = scene.means(GROUND)
    heights = height_above(scene.xyz, is_ground)
    answered = heights if scene.places is None else heights[scene.places < scene.cloud.num_answered]
    missing = int(answered[: scene.cloud.num_answered].isnan().sum())
    if missing:
        scene.warnings.append(
            f"{missing:,} points have no height above ground: no ground is within about {FAR_M:g} m of them."
        )
    return heights


def height_above(xyz: Tensor, is_ground: Tensor) -> Tensor:
    """Heights float32 (P,) in metres of points ``xyz`` float32 (P, 3), z up, above the ground, those of ``is_ground``.

    A point more than about ``FAR_M`` from any ground, seen from above, has NaN.
    """
    ground = xyz[is_ground]
    if not len(ground):
        return torch.full_like(xyz[:, 2], torch.nan)
    surface = Surface.through(ground, len(xyz))
    return (xyz[:, 2] - surface.height_at(xyz)).masked_fill_(surface.is_far(xyz), torch.nan)


@dataclass(frozen=True)
class Surface:
    """The surface of the ground.

    Attributes:
        cells: float32 (X, Y), the heights in the middles of the squares of a raster.
        is_known: bool (X, Y), whether a square holds ground.
        corner: (2,), least x and y of the raster.
        edge_m: of a square.
    """

    cells: Tensor
    is_known: Tensor
    corner: Tensor
    edge_m: float

    @classmethod
    def through(cls, ground: Tensor, most_cells: int) -> "Surface":
        """The surface of the points ``ground`` float32 (G, 3), G > 0.

        Its cells hold ``GROUND_POINTS`` on average, of those that hold any; they are larger if the raster would have
        more than four times ``most_cells``.
        """
        low, high = torch.aminmax(ground[:, :2], dim=0)
        lows, highs = low.tolist(), high.tolist()
        for edge_m in EDGES_M:
            first = [int(least // edge_m) for least in lows]
            columns, rows = (int(last // edge_m) - start + 1 for last, start in zip(highs, first, strict=True))
            if columns * rows > 4 * most_cells + 1:
                continue
            corner = low.new_tensor([edge_m * start for start in first])
            x, y = ((ground[:, :2] - corner) / edge_m).long().unbind(1)
            place = x * rows + y
            counts = place.bincount(minlength=columns * rows)
            if edge_m >= WIDE_EDGE_M or len(ground) >= GROUND_POINTS * int(counts.count_nonzero()):
                break
        is_known = (counts > 0).view(columns, rows)
        surface = cls(low.new_zeros((columns, rows)), is_known, corner, edge_m)
        for _ in range(1 + ROUNDS):
            missing = (ground[:, 2] - surface.height_at(ground)).double().mul_(TICKS).round_().long()
            sums = torch.zeros_like(counts).index_add_(0, place, missing)
            mean = (sums / counts.clamp(min=1) / TICKS).float().view(columns, rows)
            surface = cls(filled(surface.cells + mean, is_known), is_known, corner, edge_m)
        return surface

    def height_at(self, xyz: Tensor) -> Tensor:
        """float32 (P,), the height of the surface at the x and y of ``xyz`` (P, 3); beyond it that of its edge."""
        places, shares = [], []
        for axis, size in enumerate(self.cells.shape):
            at = ((xyz[:, axis] - self.corner[axis]) / self.edge_m - 0.5).clamp_(0, size - 1)
            place = at.floor()
            places.append(place.long())
            shares.append(at - place)
        (x, y), rows = places, self.cells.shape[1]
        beside = (y + 1).clamp_(max=rows - 1)
        cells = self.cells.flatten()
        near = torch.lerp(cells[x * rows + y], cells[x * rows + beside], shares[1])
        x = (x + 1).clamp_(max=self.cells.shape[0] - 1)
        return torch.lerp(near, torch.lerp(cells[x * rows + y], cells[x * rows + beside], shares[1]), shares[0])

    def is_far(self, xyz: Tensor) -> Tensor:
        """bool (P,), whether no ground is within about ``FAR_M`` of the x and y of ``xyz`` (P, 3)."""
        number = max(1, round(FAR_M / FAR_SQUARES / self.edge_m))  # cells along a square
        squares = max_pool2d(self.is_known.float()[None], number, ceil_mode=True)
        is_near = max_pool2d(squares, 2 * FAR_SQUARES + 1, 1, FAR_SQUARES)[0] > 0
        at = (xyz[:, :2] - self.corner) / self.edge_m
        size = at.new_tensor(self.cells.shape)
        inside = at.clamp(min=0).minimum(size)
        x, y = (inside.minimum(size - 1) / number).long().unbind(1)
        return ((at - inside).abs_().amax(1) * self.edge_m > FAR_M) | ~is_near[x, y]


def filled(cells: Tensor, is_known: Tensor) -> Tensor:
    """``cells`` float32 (X, Y) where ``is_known``, a membrane spanned between them elsewhere.

    Gaps are closed at half the resolution first, and so on down, then smoothed at each resolution on the way up.
    """
    if bool(is_known.all()):
        return cells
    known = is_known.float()
    odd = (0, cells.shape[1] % 2, 0, cells.shape[0] % 2)
    share = avg_pool2d(pad(known, odd)[None], 2)[0]
    coarse = avg_pool2d(pad(cells * known, odd)[None], 2)[0] / share.clamp(min=0.25)
    wide = interpolate(filled(coarse, share > 0)[None, None], scale_factor=2.0, mode="bilinear")[0, 0]
    gaps = wide[: cells.shape[0], : cells.shape[1]]
    for _ in range(SWEEPS):
        out = torch.where(is_known, cells, gaps)
        framed = pad(out[None], (1, 1, 1, 1), mode="replicate")[0]
        gaps = (framed[2:, 1:-1] + framed[:-2, 1:-1] + framed[1:-1, 2:] + framed[1:-1, :-2]) / 4
    return torch.where(is_known, cells, gaps)
