"""``sieve``: small connected pieces of a class take the class around them."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from app.options import Options

from .cells import Cells, distinct, pieces
from .scene import Scene

UNIT_POINTS = 4


def apply(scene: Scene, options: Options) -> None:
    """Relabel pieces that are smaller than the options ask for."""
    scene.labels = sieved(scene.xyz, scene.labels, options.sieve or 0, options.sieve_m2 or 0.0)


def sieved(xyz: Tensor, labels: Tensor, least_points: int, least_m2: float = 0.0) -> Tensor:
    """``labels`` int64 (P,) of points ``xyz`` float32 (P, 3), small pieces relabelled.

    A piece is what hangs together of one label: points in cubes that touch, of the least edge (a power of two in
    metres) whose columns hold 4 points on average. It is small if it has fewer than ``least_points`` points, or its
    columns cover less than ``least_m2``. It takes the label that most points of pieces that are not small have
    in the cubes that hold it and those beside them, of several with as many the lowest; what touches only small pieces
    waits until one of them has been taken up, and stays as it is if none is. Doing it again changes nothing.
    """
    if not len(xyz):
        return labels
    cells = Cells.holding(xyz, UNIT_POINTS)
    first, last = (int(label) for label in torch.aminmax(labels))
    known, rank_of_point, _ = distinct(labels - first, last - first + 1)
    num_labels, num_cubes = len(known), len(cells.places)
    # a node is what one cube has of one label; nodes are sorted by cube
    keys, node_of_point, counts = distinct(cells.of_point * num_labels + rank_of_point, num_cubes * num_labels)
    cube = keys.div(num_labels, rounding_mode="floor")
    label = keys - cube * num_labels
    offsets = pad(cube.bincount(minlength=num_cubes).cumsum(0), (1, 0))
    around = cells.around()
    piece = pieces(around, offsets, label)
    is_small = torch.zeros_like(counts).index_add_(0, piece, counts) < least_points
    if least_m2:
        is_small |= _is_narrow(cells, cube, piece, least_m2)
    if bool(is_small.any()):
        label = _taken_up(around, cube, offsets, label, num_labels, counts, piece, is_small)
    return (known + first)[label].index_select(0, node_of_point)


def _is_narrow(cells: Cells, cube: Tensor, piece: Tensor, least_m2: float) -> Tensor:
    """bool (M,), at the first node of each piece whether its columns cover less than ``least_m2``."""
    cell_m2 = cells.edge_m**2
    most_m2 = piece.bincount(minlength=len(cube)) * cell_m2  # if no node is above another
    low, high = torch.aminmax(cells.places[:, 2])
    is_open = (most_m2 >= least_m2) & (most_m2 <= least_m2 * (1 + high - low))  # of others the nodes tell
    nodes = is_open[piece].nonzero().flatten()
    column = cells.column_keys()[cube[nodes]].unique(return_inverse=True)[1]
    of_piece = (piece[nodes] * len(cube) + column).unique().div(len(cube), rounding_mode="floor")
    area_m2 = of_piece.bincount(minlength=len(cube)) * cell_m2
    return torch.where(is_open, area_m2, most_m2) < least_m2


def _taken_up(
    around: Tensor,
    cube: Tensor,
    offsets: Tensor,
    label: Tensor,
    num_labels: int,
    counts: Tensor,
    piece: Tensor,
    is_small: Tensor,
) -> Tensor:
    """``label`` (M,) of the nodes, 0 to ``num_labels`` - 1, those of small pieces replaced where a piece that is not
    small is beside them.

    ``is_small`` says it at the first node of each piece.
    """
    touching, touched = _contacts(around, cube, offsets, is_small[piece].nonzero().flatten())
    pairs = (piece[touching] * len(cube) + touched).unique()  # each node once, however many of the piece touch it
    ours, touched = pairs.div(len(cube), rounding_mode="floor"), pairs % len(cube)
    theirs, weight = piece[touched], counts[touched]
    ranks = torch.arange(num_labels, device=label.device)
    label = label.clone()  # from now on read at the first node of a piece
    while True:
        is_open = is_small[ours]
        ours, theirs, weight = ours[is_open], theirs[is_open], weight[is_open]
        is_vote = ~is_small[theirs]
        if not bool(is_vote.any()):
            return label[piece]
        voting, place = ours[is_vote].unique_consecutive(return_inverse=True)
        votes = weight.new_zeros(len(voting) * num_labels)
        votes.index_add_(0, place * num_labels + label[theirs[is_vote]], weight[is_vote])
        winner = (votes.view(-1, num_labels) * num_labels + ranks.flip(0)).amax(1) % num_labels
        label[voting] = num_labels - 1 - winner
        is_small = is_small.index_fill(0, voting, False)


def _contacts(around: Tensor, cube: Tensor, offsets: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Every pair of one of ``nodes`` and a node in its cube or in one beside it."""
    beside_it = around.index_select(1, cube[nodes]).flatten()  # (27 * S)
    found = (beside_it >= 0).nonzero().flatten()
    near = beside_it[found]
    first = offsets[near]
    number = offsets[near + 1] - first
    pair = torch.arange(len(found), device=cube.device).repeat_interleave(number)
    within = torch.arange(len(pair), device=cube.device) - (number.cumsum(0) - number - first)[pair]
    return nodes[found % len(nodes)][pair], within
