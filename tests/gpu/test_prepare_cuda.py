"""Preparation on a CUDA device: voxels and projection those of the processor to the bit, features but for rounding."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("pydantic", reason="needs the wheels of make gpu-wheels")

from app.clouds.cloud import ClassInfo, Cloud
from app.pipeline import prepare, views
from app.pipeline.features import RETURN_COLUMNS
from app.pipeline.procedure import InferenceProcedure
from app.pipeline.run_context import RunContext

pytestmark = pytest.mark.gpu

TRANSFORMS = [
    {"type": "CenterShift", "apply_z": True},
    {"type": "Support", "cell_m": (8.0, 0.5)},
    {"type": "HeightAboveLowest", "cell_m": 2.0, "radii_m": (10.0, 40.0), "scale_m": 10.0, "clip_m": 50.0},
    {"type": "HeightAboveOpening", "cell_m": 2.0, "radii_m": (3.0, 24.0), "pit_m": 3.0, "least_support": 0.56},
    {"type": "Returns"},
    {"type": "VoxelOffset", "grid_size": 0.5},
    {"type": "NormalizeColor"},
]
FEATURES = ("coord", "color", "strength", "height", "relief", "support", "returns", "offset", "displacement")


def hills(num_points: int, *, has_gaps: bool = True) -> Cloud:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 300, (2, num_points))
    above_m = np.where(rng.random(num_points) < 0.2, rng.uniform(0, 8, num_points), 0)
    xyz = np.column_stack([x, y, 5 * np.sin(x / 20) * np.cos(y / 30) + above_m]) + np.array([5e5, 4.5e6, 100])
    if has_gaps:
        xyz[::1001, 1] = np.nan
    return Cloud(
        xyz=xyz,
        format="npy",
        rgb=rng.integers(0, 256, (num_points, 3)).astype(np.uint8),
        intensity=rng.integers(0, 256, num_points).astype(np.float32),
        intensity_scale=255.0,
        extra={name: rng.integers(0, 5, num_points).astype(np.uint8) for name in RETURN_COLUMNS},
    )


def procedure(*, pre_grid: bool = False, views: tuple = ()) -> InferenceProcedure:
    thinned = [{"type": "GridSample", "grid_size": 0.3, "mode": "train"}] * pre_grid
    return InferenceProcedure(
        name="made-up",
        transform=[*TRANSFORMS[:1], *thinned, *TRANSFORMS[1:]],
        voxelize={"type": "GridSample", "grid_size": 0.5, "mode": "test", "return_displacement": True},
        post_transform=[{"type": "Collect", "keys": ("coord",), "feat_keys": FEATURES}],
        classes=[ClassInfo(0, "all", (0, 0, 0))],
        aug_transform=list(views),
    )


def test_a_cloud_is_prepared_as_on_the_processor():
    cloud, runs = hills(200_000), [RunContext([]), RunContext([])]
    here = prepare.prepare(cloud, procedure(), 0, "cpu", runs[0])
    there = prepare.prepare(cloud, procedure(), 0, "cuda", runs[1])
    assert runs[0].warnings == runs[1].warnings
    for name in ("points", "grid_coord", "coord"):
        assert torch.equal(getattr(there, name).cpu(), getattr(here, name)), name
    assert torch.equal(there.projection.rows.cpu(), here.projection.rows)
    np.testing.assert_allclose(there.feat.cpu(), here.feat, rtol=1e-6, atol=1e-6)


def test_noise_is_left_out_as_on_the_processor():
    cloud = hills(100_000)
    cloud.xyz[::500, 2] -= np.random.default_rng(1).uniform(5, 60, 200)
    cells = {"support_cell_m": (8.0, 0.5), "least_support": 0.45, "cell_m": 2.0}
    drop = {"type": "DropNoiseBelow", **cells, "radius_m": 12.0, "depth_m": 1.1}
    asked = replace(procedure(), transform=[drop, *TRANSFORMS])
    here, there = (prepare.prepare(cloud, asked, 0, device, RunContext([])) for device in ("cpu", "cuda"))
    assert 100 < here.projection.noise.sum() <= 200
    for name in ("points", "grid_coord", "coord"):
        assert torch.equal(getattr(there, name).cpu(), getattr(here, name)), name
    assert torch.equal(there.projection.rows.cpu(), here.projection.rows)
    assert torch.equal(there.projection.noise.cpu(), here.projection.noise)


def test_a_part_of_a_survey_is_prepared_as_on_the_processor():
    low, high = hills(10, has_gaps=False).xyz.min(0) - np.array([1234.5, 99_876.5, 50]), np.array([5.1e5, 4.6e6, 900])
    cloud = replace(hills(100_000), num_context=40_000, frame=(*low.tolist(), *high.tolist()))
    here, there = (prepare.prepare(cloud, procedure(), 0, device, RunContext([])) for device in ("cpu", "cuda"))
    for name in ("points", "grid_coord", "coord"):
        assert torch.equal(getattr(there, name).cpu(), getattr(here, name)), name
    assert torch.equal(there.projection.rows.cpu(), here.projection.rows)
    assert there.projection.num_points == 100_000
    np.testing.assert_allclose(there.feat.cpu(), here.feat, rtol=1e-6, atol=1e-6)


def test_draws_and_views_are_those_of_the_processor():
    turn = {"type": "RandomRotateTargetAngle", "axis": "z", "center": [0, 0, 0], "p": 1}
    changes = [turn | {"angle": [angle]} for angle in (0, 0.5, 1, 1.5)]
    changes += [{"type": "RandomScale", "scale": [0.9, 0.9]}, {"type": "RandomFlip", "p": 1}]
    asked = procedure(pre_grid=True, views=tuple([change] for change in changes))
    cloud = hills(50_000)
    here, there = (
        prepare.apply_transforms(cloud, asked, 3, device, RunContext([]), thin=True) for device in ("cpu", "cuda")
    )
    assert torch.equal(there.projection.rows.cpu(), here.projection.rows)
    assert torch.equal(there.sample["coord"].cpu(), here.sample["coord"])
    found = views.distinct(there.sample, asked)
    assert found == views.distinct(here.sample, asked)
    assert len(found) > 4
    for view in found:
        (_, near), (_, far) = (views.apply_view(each.sample, view.steps, asked) for each in (here, there))
        assert torch.equal(far.grid_coord.cpu(), near.grid_coord)
        assert all(torch.equal(one.cpu(), other) for one, other in zip(far.fragments(), near.fragments(), strict=True))


def test_a_cloud_waits_for_the_device_where_it_must():
    """For its box, bounds of columns, rasters of two features of heights and of support."""
    cloud, asked = hills(20_000, has_gaps=False), procedure()
    asked = replace(asked, post_transform=[asked.post_transform[0] | {"feat_keys": (*FEATURES, "normal")}])
    prepare.prepare(cloud, asked, 0, "cuda", RunContext([]))
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            prepare.prepare(cloud, asked, 0, "cuda", RunContext([]))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(each.message) for each in found if "synchronizing" in str(each.message)]
    assert len(waits) == 5, waits
