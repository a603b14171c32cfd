"""Tensors against numpy: coordinates and voxels to the bit, features but for rounding."""

import numpy as np
import pytest
import torch

from app.pipeline import raster, transforms
from app.pipeline.voxelize import voxelize
from tests.pipeline import numpy_transforms as reference
from tests.pipeline.pipeline_samples import make_terrain


@pytest.fixture(scope="module", params=[0, 1])
def cloud(request):
    return make_terrain(20_000, 150.0, seed=request.param)


@pytest.fixture(scope="module")
def coord(cloud):
    return (cloud.xyz - [30, 70, 0]).astype(np.float32)


def run(coord, columns=None, **transform):
    sample = {"coord": torch.from_numpy(coord)}
    sample |= {name: torch.from_numpy(values) for name, values in (columns or {}).items()}
    return transforms.apply([transform], sample)


@pytest.mark.parametrize("apply_z", [False, True])
def test_shifts(coord, apply_z):
    out = run(coord, type="CenterShift", apply_z=apply_z)["coord"]
    assert out.dtype == torch.float32
    np.testing.assert_array_equal(out, reference.center_shift(coord, apply_z).astype(np.float32))
    np.testing.assert_array_equal(run(coord, type="PositiveShift")["coord"], coord - coord.min(0))


def test_normalized_coordinates(coord):
    np.testing.assert_array_equal(run(coord, type="NormalizeCoord")["coord"], reference.normalize_coord(coord))


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("angle", [0.0, 0.5, 1.0, 1.5, 1 / 24])
def test_rotations_put_every_point_into_the_same_voxel(coord, cloud, axis, angle):
    turn = {"type": "RandomRotate", "angle": [angle, angle], "axis": axis, "p": 1}
    out = run(coord, {"normal": cloud.normals}, **turn)
    middle = (coord.min(0) + coord.max(0)) / 2
    expected = reference.rotated(coord - middle, angle * np.pi, axis) + middle
    np.testing.assert_allclose(out["coord"], expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(out["normal"], reference.rotated(cloud.normals, angle * np.pi, axis), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(voxelize(out["coord"], 0.1).grid_coord, reference.voxels(expected, 0.1)[0])


@pytest.mark.parametrize("grid_size", [0.02, 0.5, (0.1, 0.3, 2.0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_voxels(coord, grid_size, dtype):
    found = voxelize(torch.from_numpy(coord.astype(dtype)), grid_size)
    grid_coord, inverse, first = reference.voxels(coord.astype(dtype), grid_size)
    np.testing.assert_array_equal(found.grid_coord, grid_coord)
    np.testing.assert_array_equal(found.inverse, inverse)
    np.testing.assert_array_equal(found.first_points(), first)
    draws = np.random.RandomState(5).randint(0, np.bincount(inverse).max(), len(first))
    picked = found.random_points(np.random.RandomState(5)).numpy()
    for voxel in (0, 7, len(first) - 1):
        members = np.flatnonzero(inverse == voxel)
        assert picked[voxel] == members[draws[voxel] % len(members)]


@pytest.mark.parametrize("cell_m", [1.0, 2.0, 0.7])
def test_heights(coord, cell_m):
    lowest = {"cell_m": cell_m, "radii_m": (3.0, 10.0, 40.0), "scale_m": 10.0, "clip_m": 4.0}
    opening = {"cell_m": cell_m, "radii_m": (3.0, 24.0), "pit_m": 1.0}
    heights = run(coord, type="HeightAboveLowest", **lowest)["height"]
    np.testing.assert_allclose(heights, reference.height_above_lowest(coord, **lowest), rtol=0, atol=1e-7)
    relief = run(coord, type="HeightAboveOpening", **opening)["relief"]
    np.testing.assert_allclose(relief, reference.height_above_opening(coord, **opening), rtol=0, atol=1e-6)
    assert relief.abs().max() > 1


@pytest.mark.parametrize("cell_m", [(8.0, 0.5), (3.0, 0.25)])
def test_support_and_heights_over_what_has_it(coord, cell_m):
    found = run(coord, type="Support", cell_m=cell_m)["support"].numpy()
    np.testing.assert_allclose(found, reference.support(coord, cell_m), rtol=0, atol=1e-6)
    least = float(np.quantile(found, 0.3)) + 1e-5
    lowest = {"cell_m": 2.0, "radii_m": (3.0, 10.0), "scale_m": 10.0, "clip_m": 4.0}
    opening = {"cell_m": 2.0, "radii_m": (3.0, 24.0), "pit_m": 1.0}
    is_terrain = found[:, 0] >= least
    heights = run(coord, {"support": found}, type="HeightAboveLowest", least_support=least, **lowest)["height"]
    relief = run(coord, {"support": found}, type="HeightAboveOpening", least_support=least, **opening)["relief"]
    np.testing.assert_allclose(
        heights, reference.height_above_lowest(coord, **lowest, is_terrain=is_terrain), atol=1e-7
    )
    np.testing.assert_allclose(
        relief, reference.height_above_opening(coord, **opening, is_terrain=is_terrain), atol=1e-6
    )
    assert (relief.numpy() != reference.height_above_opening(coord, **opening)).any()


def test_noise_below_is_left_out_and_takes_the_row_of_the_nearest():
    terrain = make_terrain(20_000, 100.0).xyz
    rng = np.random.RandomState(3)
    strewn = np.column_stack([rng.uniform(0, 100, (300, 2)), rng.uniform(-40, 40, 300)])
    coord = rng.permutation(np.vstack([terrain, strewn])).astype(np.float32)
    drop = {"support_cell_m": (8.0, 0.5), "least_support": 0.45, "cell_m": 2.0, "radius_m": 12.0, "depth_m": 1.1}
    is_noise, nearest = reference.noise_below(coord, **drop)
    assert 60 < is_noise.sum() < 200
    out = run(coord, type="DropNoiseBelow", **drop)
    np.testing.assert_array_equal(out["noise"], is_noise)
    np.testing.assert_array_equal(out["coord"], coord[~is_noise])
    of_all = np.arange(len(coord))
    of_all[is_noise] = nearest
    np.testing.assert_array_equal(out["coord"][out["inverse"]], coord[of_all])


def test_returns(coord):
    rng = np.random.RandomState(0)
    number, total = rng.randint(0, 6, (2, len(coord), 1)).astype(np.float32)
    out = run(coord, {"return_number": number, "number_of_returns": total}, type="Returns")["returns"]
    np.testing.assert_allclose(out, reference.returns(number[:, 0], total[:, 0]), rtol=0, atol=1e-7)
    assert (run(coord, type="Returns")["returns"] == 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (4, 3), (40, 70)])
@pytest.mark.parametrize("width", [3, 5, 9, 41])
def test_filters_of_rasters(shape, width):
    rng = np.random.RandomState(1)
    for values in (rng.normal(size=shape), rng.randint(0, 4, shape).astype(float)):
        values[rng.rand(*shape) < 0.5] = np.inf
        for name in ("second_lowest", "eroded", "dilated"):
            found = getattr(raster, name)(torch.from_numpy(values), width)
            np.testing.assert_array_equal(found, getattr(reference, name)(values, width))
