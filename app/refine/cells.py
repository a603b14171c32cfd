"""Cubes that points lie in, which of them are beside each other, and which hang together."""

import math
from dataclasses import dataclass, replace

import torch
from sparseops import COORD_LIMIT, connected_components, grid_sample, submanifold_map
from torch import Tensor

FINEST_EDGE_M = 2.0**-9
COARSEST_EDGE_M = 128.0
MOST_SQUARES = 32  # of a raster, a point
MOST_DISTINCT = 8  # slots a key
FEW_ALIKE = 0.9  # places a point: files hold a few points twice
LEAST_SLOTS = 1 << 16  # so that few points seldom share one
FACTORS = 6364136223846793005, 2862933555777941757, 3202034522624059733  # odd, of a hash


@dataclass(frozen=True)
class Cells:
    """V cubes of a grid that hold P points; cubes that share a face, an edge or a corner are beside each other.

    Attributes:
        edge_m: of a cube.
        places: int64 (V, 3), where each cube lies on the grid.
        of_point: int64 (P,), the cube of each point.
        counts: int64 (V,), points of each cube.
    """

    edge_m: float
    places: Tensor
    of_point: Tensor
    counts: Tensor

    @classmethod
    def of(cls, xyz: Tensor, edge_m: float) -> "Cells":
        """The cubes of points ``xyz`` float32 (P, 3); they begin at multiples of ``edge_m``."""
        grid = grid_sample(xyz.contiguous(), edge_m, "ravel")
        places = grid.grid_coord.index_select(0, grid.pick(0)) + grid.lowest
        return cls(edge_m, places, grid.inverse, grid.offsets.diff())

    @classmethod
    def holding(cls, xyz: Tensor, num_points: int) -> "Cells":
        """The cubes of the least edge, a power of two in metres, whose columns hold ``num_points`` on average.

        So their edge follows the density of a survey, seen from above: with 4 points it is 0.5 m for 16 to 64 points a
        square metre, and 4 m for a quarter of a point.
        """
        return cls.of(xyz, edge_holding(xyz, num_points))

    def column_keys(self) -> Tensor:
        """int64 (V,), a number of each cube's column."""
        if not len(self.places):
            return self.counts
        x, y = (self.places[:, :2] - self.places[:, :2].amin(0)).unbind(1)
        return x * (1 + y.amax()) + y

    def doubled(self) -> "Cells":
        """The cubes of twice the edge."""
        merged = self.merged(2, 2)
        return replace(merged, edge_m=2 * self.edge_m, of_point=merged.of_point.index_select(0, self.of_point))

    def merged(self, wide: int, high: int) -> "Cells":
        """Blocks of ``wide`` by ``wide`` by ``high`` cubes, as cells in which the cubes are points: ``of_point`` is
        int64 (V,), the block of each cube. ``counts`` are of the points."""
        if not len(self.places):
            return replace(self, of_point=self.counts)
        grid = grid_sample(self.places.double(), [wide, wide, high], "ravel")
        counts = self.counts.new_zeros(len(grid.offsets) - 1).index_add_(0, grid.inverse, self.counts)
        places = grid.grid_coord.index_select(0, grid.pick(0)) + grid.lowest
        return Cells(self.edge_m, places, grid.inverse, counts)

    def columns(self) -> "Cells":
        """The columns of cubes, each as one cube at height 0."""
        keys, of_cube = self.column_keys().unique(return_inverse=True)
        places = self.places.new_zeros((len(keys), 3)).index_copy_(0, of_cube, self.places)
        places[:, 2] = 0
        counts = self.counts.new_zeros(len(keys)).index_add_(0, of_cube, self.counts)
        return Cells(self.edge_m, places, of_cube.index_select(0, self.of_point), counts)

    def around(self) -> Tensor:
        """int32 (27, V), the cubes beside each one, itself at 13; -1 where there is none. Of a grid wider than
        ``COORD_LIMIT``, even without what is empty, what lies beyond meets nothing."""
        coords = self.places.new_zeros((len(self.places), 4))  # of one batch
        for axis, along in enumerate(self.places.unbind(1), 1):
            coords[:, axis] = _fitted(along)
        if not len(coords) or int(coords.amax()) < COORD_LIMIT:
            return submanifold_map(coords, 3).forwards
        around = torch.full((27, len(coords)), -1, dtype=torch.int32, device=coords.device)
        around[13] = torch.arange(len(coords), device=coords.device)
        rows = (coords < COORD_LIMIT).all(1).nonzero().flatten()
        found = submanifold_map(coords[rows], 3).forwards
        around[:, rows] = torch.where(found >= 0, rows[found.long()].int(), -1)
        return around

    def sums_around(self, values: Tensor) -> Tensor:
        """The sums (V,) of ``values`` int64 (V,) over each cube and those beside it."""
        padded = torch.cat([values, values.new_zeros(1)])
        total = torch.zeros_like(values)
        for row in self.around():
            total += padded[row.long()]
        return total


def pieces(around: Tensor, offsets: Tensor, labels: Tensor) -> Tensor:
    """int64 (M,), the lowest of all nodes that hang together with each one, by cubes ``around`` int32 (27, V).

    A node is what one cube has of one label: cube v has the nodes ``offsets[v]`` to ``offsets[v + 1]``, int64 (V + 1,),
    of ``labels`` int64 (M,), ascending in each cube.
    """
    return connected_components(around[:13], offsets, labels)  # the other half says the same the other way round


def piece_sizes(around: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest cube of the piece that each cube belongs to, and the sum of ``counts`` int64 (V,) of that, int64 (V,),
    by cubes ``around`` int32 (27, V)."""
    piece = pieces(around, torch.arange(len(counts) + 1, device=counts.device), torch.zeros_like(counts))
    return piece, torch.zeros_like(counts).index_add_(0, piece, counts).index_select(0, piece)


def distinct(keys: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct ``keys`` int64 (N,) from 0 to ``size`` - 1, ascending, the place of each key among them, int64 (N,),
    and how often each is there: what ``keys.unique`` gives, without sorting if ``size`` is but a few times N."""
    if size > MOST_DISTINCT * len(keys):
        return keys.unique(return_inverse=True, return_counts=True)
    counts = keys.bincount(minlength=size)
    found = counts.nonzero().flatten()
    places = torch.empty_like(counts).index_copy_(0, found, torch.arange(len(found), device=keys.device))
    return found, places.index_select(0, keys), counts.index_select(0, found)


def edge_holding(xyz: Tensor, num_points: float) -> float:
    """The least edge, a power of two in metres, of squares of which those that hold any of the points ``xyz`` float32
    (P, 3), seen from above, hold ``num_points`` on average; points at one place count as one, if they are many."""
    if not len(xyz):
        return COARSEST_EDGE_M
    share = share_of_places(xyz)
    num_points = num_points if share > FEW_ALIKE else num_points / share
    low, high = torch.aminmax(xyz[:, :2].double(), dim=0)
    least_m = math.sqrt(float((high - low).prod()) * num_points / len(xyz))  # if points fill all of their box
    edge_m = 2.0 ** math.floor(math.log2(min(max(least_m, FINEST_EDGE_M), COARSEST_EDGE_M)))
    while edge_m < COARSEST_EDGE_M and _mean_of_squares(xyz, low, high, edge_m) < num_points:
        edge_m *= 2
    while edge_m > FINEST_EDGE_M and _mean_of_squares(xyz, low, high, edge_m / 2) >= num_points:
        edge_m /= 2
    return edge_m


def share_of_places(xyz: Tensor) -> float:
    """About how many places the points ``xyz`` (P, 3), P > 0, have, as a share of P, by how many slots, four times
    as many, they fall into (linear counting: Whang et al., ACM Trans. Database Syst. 15 (1990) 208)."""
    bits = xyz.float().contiguous().view(torch.int32).long()
    keys = (bits * bits.new_tensor(FACTORS)).sum(1)
    keys = (keys ^ keys >> 29) * FACTORS[0]
    slots = 4 * len(xyz) + LEAST_SLOTS
    taken = torch.zeros(slots, dtype=torch.bool, device=xyz.device).index_fill_(0, (keys >> 24) % slots, True)
    return -math.log1p(-float(taken.count_nonzero()) / slots) * slots / len(xyz)


def _mean_of_squares(xyz: Tensor, low: Tensor, high: Tensor, edge_m: float) -> float:
    """How many points a square that holds any holds on average."""
    first, last = (low / edge_m).floor().long(), (high / edge_m).floor().long()
    columns, rows = (1 + last - first).tolist()
    x, y = ((xyz[:, :2] / edge_m).floor().long() - first).unbind(1)
    squares = x * rows + y
    if columns * rows > MOST_SQUARES * len(xyz):
        return len(xyz) / len(squares.unique())
    taken = torch.zeros(columns * rows, dtype=torch.bool, device=xyz.device)
    return len(xyz) / int(taken.index_fill_(0, squares, True).count_nonzero())


def _fitted(places: Tensor) -> Tensor:
    """``places`` (V,) counted from 0; beyond ``COORD_LIMIT``, with runs of places that none is at shortened to one."""
    places = places - places.amin() if len(places) else places
    if not len(places) or int(places.amax()) < COORD_LIMIT:
        return places
    taken, inverse = places.unique(return_inverse=True)
    return taken.diff(prepend=taken[:1]).clamp_(max=2).cumsum(0)[inverse]
