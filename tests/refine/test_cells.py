"""Cubes of a grid: their edge follows density, and those that touch hang together."""

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from app.refine import cells as module
from app.refine.cells import Cells, distinct, edge_holding, piece_sizes, share_of_places


def scatter(count, size_m, seed=0, height_m=1.0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy((rng.random((count, 3)) * [size_m, size_m, height_m]).astype(np.float32))


@pytest.mark.parametrize(("density", "edge_m"), [(40, 0.5), (5, 1), (0.28, 4), (0.06, 16), (100_000, 1 / 128)])
def test_the_edge_follows_the_density_also_of_plots_far_apart(density, edge_m):
    size_m = (20_000 / density) ** 0.5
    points = scatter(20_000, size_m)
    assert Cells.holding(points, 8 if density < 0.1 else 4).edge_m == edge_m
    apart = torch.cat([points, points + torch.tensor([100 * size_m, 0, 0]), points + torch.tensor([0, 90 * size_m, 0])])
    assert Cells.holding(apart, 8 if density < 0.1 else 4).edge_m == edge_m


@pytest.mark.parametrize("times", [2, 5, 50])
def test_points_at_one_place_count_as_one_for_the_edge(times):
    points = scatter(20_000, 40)
    again = points.repeat(times, 1)[torch.randperm(times * len(points), generator=torch.Generator().manual_seed(0))]
    assert share_of_places(points) == pytest.approx(1, abs=0.01)
    assert share_of_places(again) == pytest.approx(1 / times, rel=0.01)
    assert edge_holding(again, 4) == edge_holding(points, 4)
    some = torch.cat([points, points[::20]])
    assert edge_holding(some, 4) == edge_holding(points, 4)
    assert edge_holding(points[:1].repeat(times, 1), 4) == 128.0


@pytest.mark.parametrize("seed", range(4))
def test_cells_of_twice_the_edge_are_those_of_the_points(seed):
    points = scatter(500, 30, seed, 10) - 15
    doubled, cells = Cells.of(points, 0.5).doubled(), Cells.of(points, 1.0)
    assert doubled.edge_m == cells.edge_m
    for one in (doubled, cells):
        np.testing.assert_array_equal(one.places[one.of_point], points.floor().long())
        np.testing.assert_array_equal(one.counts, one.of_point.bincount())
        columns = one.columns()
        np.testing.assert_array_equal(columns.places[columns.of_point][:, :2], points.floor().long()[:, :2])
        np.testing.assert_array_equal(columns.counts, columns.of_point.bincount())


@pytest.mark.parametrize("seed", range(6))
def test_pieces_are_connected_components(seed):
    cells = Cells.of(scatter(400, 16, seed, 6), 1.0)
    apart = (cells.places[:, None] - cells.places).abs().amax(2)
    count, number = connected_components(coo_matrix((apart <= 1).numpy()), directed=False)
    piece, size = piece_sizes(cells.around(), cells.counts)
    assert len(piece.unique()) == count > 1
    for group in range(count):
        members = np.flatnonzero(number == group)
        np.testing.assert_array_equal(piece[members], members.min())
        np.testing.assert_array_equal(size[members], cells.counts[members].sum())
    np.testing.assert_array_equal(cells.sums_around(cells.counts), ((apart <= 1) * cells.counts).sum(1))


def pieces_at(places):
    """The lowest cube of the piece of each cube at ``places`` int64 (V, 3)."""
    ones = torch.ones(len(places), dtype=torch.int64)
    around = Cells(1.0, places, torch.arange(len(places)), ones).around()
    return piece_sizes(around, ones)[0].tolist()


def test_a_long_chain_is_one_piece():
    places = torch.zeros((5000, 3), dtype=torch.int64)
    places[:, 0] = torch.from_numpy(np.random.default_rng(0).permutation(5000))
    assert pieces_at(places) == [0] * 5000


def test_what_is_wider_than_a_grid_meets_nothing_beyond_it(monkeypatch):
    places = torch.tensor([[0, 0, 0], [1, 0, 0], [10**7, 0, 0], [10**7 + 1, 0, 0]])
    assert pieces_at(places) == [0, 0, 2, 2]
    monkeypatch.setattr(module, "COORD_LIMIT", 3)
    assert pieces_at(places) == [0, 0, 2, 3]


def test_no_points_have_no_cells():
    none = torch.zeros((0, 3))
    assert len(Cells.holding(none, 4).places) == len(Cells.holding(none, 4).columns().places) == 0


@pytest.mark.parametrize("size", [12, 10**12])
def test_distinct_keys_are_those_of_unique(size):
    keys = torch.from_numpy(np.random.default_rng(0).choice([0, 3, 4, 11], 500, p=[0.1, 0.2, 0.3, 0.4]))
    for part in (keys, keys[:1], keys[:0]):
        for found, expected in zip(
            distinct(part, size), part.unique(return_inverse=True, return_counts=True), strict=True
        ):
            assert torch.equal(found, expected)
