from functools import partial

import numpy as np
import pytest
import torch

from app.options import Options
from app.pipeline import tiling
from app.pipeline.segmenter import Segmenter
from app.pipeline.tiling import Tile
from tests.pipeline.pipeline_samples import make_terrain


def made_up_voxels(side, height=1):
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side), np.arange(height), indexing="ij"), -1)
    return grid.reshape(-1, 3)


def cut(voxels, max_voxels, **halo):
    """The tiles as numpy arrays."""
    for tile in tiling.cut(torch.as_tensor(voxels), max_voxels, **halo):
        yield Tile(tile.rows.numpy(), tile.weights.numpy(), tile.origin.numpy())


def written_out(voxels, rows, low, high, max_voxels, halo):
    """Rows, weights and origin of every tile of voxels (V, 3), each halved by the median of its own voxels."""
    xy = voxels[rows, :2]
    in_core = ((xy >= low) & (xy < high)).all(1)
    if not in_core.any():
        return
    if len(rows) > max_voxels or np.ptp(xy, axis=0).max() >= tiling.MAX_EXTENT:
        for axis in np.argsort(low - high, kind="stable"):
            first, last = -(-(low[axis] + halo) // 32), (high[axis] - halo) // 32
            if first > last:
                continue
            at = int(np.clip(round(float(np.median(xy[in_core, axis])) / 32), first, last)) * 32
            for part_low, part_high in (
                (low, np.where([axis == 0, axis == 1], at, high)),
                (np.where([axis == 0, axis == 1], at, low), high),
            ):
                reach = ((xy >= part_low - halo) & (xy < part_high + halo)).all(1)
                yield from written_out(voxels, rows[reach], part_low, part_high, max_voxels, halo)
            return
        if halo > 32:
            reach = ((xy >= low - halo // 2) & (xy < high + halo // 2)).all(1)
            yield from written_out(voxels, rows[reach], low, high, max_voxels, halo // 2)
            return
    outside = np.maximum(np.maximum(low - xy, xy - high + 1), 0).max(1)
    yield rows, np.clip(1 - outside / (halo / 4), 0, 1).astype(np.float32), voxels[rows].min(0) // 32 * 32


@pytest.mark.parametrize("counted", [tiling.MAX_COUNTED, 0])
@pytest.mark.parametrize("seed", range(8))
def test_tiles_are_those_of_the_formula(monkeypatch, seed, counted):
    monkeypatch.setattr(tiling, "MAX_COUNTED", counted)
    rng = np.random.default_rng(seed)
    side = rng.integers(100, 900, 2)
    drawn = np.column_stack([*(rng.integers(0, end, 40_001) for end in side), rng.integers(0, 40, 40_001)])
    dense = rng.integers(0, side.min() // 4, (20_000, 3)) // (1, 1, 8)
    shift = (rng.integers(0, 70), 0, 33)
    voxels = np.unique(np.concatenate([drawn, dense]) + shift, axis=0)
    low, high = voxels[:, :2].min(0), voxels[:, :2].max(0) + 1
    expected = list(written_out(voxels, np.arange(len(voxels)), low, high, 15_000, 64))
    tiles = list(cut(voxels, 15_000))
    assert len(tiles) == len(expected) > 1
    for tile, (rows, weights, origin) in zip(tiles, expected, strict=True):
        np.testing.assert_array_equal(tile.rows, rows)
        np.testing.assert_array_equal(tile.weights, weights)
        np.testing.assert_array_equal(tile.origin, origin)


@pytest.mark.parametrize("count", [2, 3])
def test_a_median_between_two_multiples_is_rounded_as_the_formula_does(count):
    for first, second in [(111, 112), (112, 112), (112, 113), (143, 145), (127, 128), (144, 144), (112, 144)]:
        voxels = np.array([(0, 0, z) for z in range(9)] + [(first, 0, 0)] * 9 + [(second, 0, 0)] * (count * 9 - 9))
        voxels = np.concatenate([voxels, [(400, 0, z) for z in range(9 * (count - 1))]])
        expected = list(written_out(voxels, np.arange(len(voxels)), np.zeros(2, int), np.array([401, 1]), 30, 64))
        tiles = list(cut(voxels, 30))
        assert [tile.rows.tolist() for tile in tiles] == [rows.tolist() for rows, _, _ in expected], (first, second)


def test_a_small_cloud_is_one_tile():
    voxels = made_up_voxels(50)
    (tile,) = cut(voxels, 2500)
    np.testing.assert_array_equal(tile.rows, np.arange(2500))
    assert (tile.weights == 1).all()
    assert (tile.origin == 0).all()


@pytest.mark.parametrize("height", [1, 5])
def test_tiles_cover_every_voxel_are_aligned_and_stay_small(height):
    voxels = made_up_voxels(300, height)
    budget = 48_000
    weight = np.zeros(len(voxels))
    full = np.zeros(len(voxels), int)
    for tile in cut(voxels, budget):
        assert len(tile.rows) <= budget
        assert (tile.origin % tiling.ALIGNMENT == 0).all()
        assert (voxels[tile.rows] >= tile.origin).all()
        weight[tile.rows] += tile.weights
        full[tile.rows] += tile.weights == 1
    assert (weight >= 1).all()
    assert (full >= 1).all()


def test_a_column_too_full_for_the_budget_ends_in_narrow_tiles_not_in_thousands():
    voxels = made_up_voxels(150, 4)
    tiles = list(cut(voxels, 100))
    assert 1 < len(tiles) <= (150 // tiling.ALIGNMENT + 1) ** 2
    assert max(len(tile.rows) for tile in tiles) <= (4 * tiling.ALIGNMENT) ** 2 * 4


def test_weights_fade_to_zero_within_a_quarter_of_the_halo():
    voxels = made_up_voxels(400)
    tile = next(cut(voxels, 150_000, halo=64))
    core = voxels[tile.rows[tile.weights == 1], 0]
    outside = voxels[tile.rows, 0] - core.max()
    assert (tile.weights[outside >= 16] == 0).all()
    by_distance = np.argsort(outside, kind="stable")
    assert (np.diff(tile.weights[by_distance]) <= 0).all()
    assert outside.max() == 64


def test_voxels_far_apart_never_share_a_tile():
    voxels = np.vstack([made_up_voxels(4), made_up_voxels(4) + np.array((1_000_000, 0, 0))])
    tiles = list(cut(voxels, 10_000))
    assert len(tiles) == 2
    assert sorted(np.concatenate([tile.rows for tile in tiles])) == list(range(32))


@pytest.mark.parametrize("first", [0, 31])
def test_coordinates_of_a_wide_tile_fit_the_serialization(first):
    voxels = np.stack([np.arange(first, first + 70_000), np.zeros(70_000, int), np.zeros(70_000, int)], 1)
    tiles = list(cut(voxels, 100_000))
    assert len(tiles) == 2
    assert max((voxels[tile.rows] - tile.origin).max() for tile in tiles) < (1 << 16) - 1
    assert len(list(cut(voxels[: tiling.MAX_EXTENT], 100_000))) == 1


def test_tiled_labels_are_those_of_one_pass(network, procedure):
    cloud = make_terrain(20_000, extent_m=150)
    whole = Segmenter(network, procedure).segment(cloud)
    tiled = Segmenter(network, procedure, tile_voxels=12_000)
    assert len(list(cut(tiled.prepare(cloud).grid_coord, 12_000))) >= 2
    assert (tiled.segment(cloud).labels == whole.labels).mean() >= 0.999


def test_a_halo_beyond_the_receptive_field_gives_the_same_probabilities(network, procedure, monkeypatch):
    cloud = make_terrain(15_000, extent_m=150)
    cloud.xyz[:, 0] *= 2
    whole = Segmenter(network, procedure).segment(cloud, Options(fields=("probabilities",)))
    monkeypatch.setattr(tiling, "cut", partial(tiling.cut, halo=192))
    tiled = Segmenter(network, procedure, tile_voxels=12_500)
    tiles = list(cut(tiled.prepare(cloud).grid_coord, 12_500))
    assert len(tiles) >= 2
    assert max(len(tile.rows) for tile in tiles) < len(cloud)
    np.testing.assert_allclose(
        tiled.segment(cloud, Options(fields=("probabilities",))).fields["probabilities"],
        whole.fields["probabilities"],
        rtol=0,
        atol=1e-5,
    )
