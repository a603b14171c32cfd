import numpy as np
import pytest
import torch
from sparseops.reference_grid import grid_keys

from app.errors import BadCloud, BadModel, BadRequest
from app.pipeline import transforms
from app.pipeline.voxelize import voxelize
from tests.pipeline.pipeline_samples import GOLDEN, tensors


@pytest.fixture(scope="module")
def given():
    with np.load(GOLDEN / "transforms" / "input.npz") as archive:
        return tensors(archive)


@pytest.fixture(scope="module")
def expected():
    with np.load(GOLDEN / "transforms" / "output.npz") as archive:
        return dict(archive)


def run(sample, **transform):
    return transforms.apply([transform], sample)


@pytest.mark.parametrize(("tag", "grid_size"), [("g05", 0.05), ("g02", 0.02)])
def test_voxels_are_those_of_the_golden(given, expected, tag, grid_size):
    voxels = voxelize(given["coord"], grid_size)
    first = voxels.first_points()
    np.testing.assert_array_equal(voxels.inverse, expected[f"{tag}_inverse"])
    np.testing.assert_array_equal(voxels.grid_coord[first], expected[f"{tag}_grid_coord"])
    np.testing.assert_array_equal((voxels.lowest * voxels.grid_size)[None], expected[f"{tag}_min_coord"])
    picked = expected[f"{tag}_train_idx"]
    np.testing.assert_array_equal(voxels.inverse[picked], np.arange(len(voxels)))
    np.testing.assert_allclose(
        voxels.displacement(given["coord"], torch.from_numpy(picked)),
        expected[f"{tag}_displacement"],
        atol=1e-6,
    )


@pytest.mark.parametrize(("tag", "grid_size"), [("g05", 0.05), ("g02", 0.02)])
def test_fragments_cover_the_points_of_every_voxel_as_the_golden_does(given, expected, tag, grid_size):
    voxels = voxelize(given["coord"], grid_size)
    fragments = np.stack(list(voxels.fragments()))
    assert len(fragments) == expected[f"{tag}_n_fragments"]
    # the golden's sort was unstable: which point of a voxel comes first is open, which points it has is not
    for ours, theirs in zip(fragments.T, expected[f"{tag}_fragments"].T, strict=True):
        assert set(ours) == set(theirs)


def test_picks_of_train_mode_are_the_goldens_up_to_the_order_within_a_voxel(given, expected):
    sample = given | {"row": torch.arange(len(given["coord"]))}
    grid = {"type": "GridSample", "grid_size": 0.05, "mode": "train", "return_inverse": True, "return_grid_coord": True}
    out = transforms.apply([grid], sample, np.random.RandomState(900))
    voxels = voxelize(given["coord"], 0.05)
    alone = voxels.counts == 1
    np.testing.assert_array_equal(out["row"][alone], expected["g05_train_idx"][alone])
    np.testing.assert_array_equal(out["inverse"], expected["g05_inverse"])
    np.testing.assert_array_equal(out["grid_coord"], expected["g05_grid_coord"])
    np.testing.assert_array_equal(out["color"], given["color"][out["row"]])


def test_keys_are_those_of_the_golden(given, expected):
    grid_coord = np.floor(given["coord"][:500].numpy() / np.float64(0.05)).astype(np.int64)
    grid_coord -= grid_coord.min(0)
    for hash_type in ("fnv", "ravel"):
        keys = grid_keys(torch.from_numpy(grid_coord), hash_type).numpy().view(np.uint64)
        np.testing.assert_array_equal(keys, expected[f"{hash_type}_keys"])
    raveled = voxelize(given["coord"], 0.05, "ravel")
    np.testing.assert_array_equal(raveled.grid_coord[raveled.first_points()], expected["ravel_grid_coord"])
    np.testing.assert_array_equal(raveled.inverse, expected["ravel_inverse"])


def test_voxels_of_strided_points_are_those_of_a_copy(given):
    strided = given["coord"].T.contiguous().T
    assert torch.equal(voxelize(strided, 0.05).inverse, voxelize(given["coord"], 0.05).inverse)


def test_points_without_a_voxel_are_told(given):
    coord = given["coord"].clone()
    coord[7, 1] = np.inf
    with pytest.raises(BadCloud, match=r"cannot be put into voxels of 0.05"):
        voxelize(coord, 0.05)


@pytest.mark.parametrize(
    ("transform", "key", "output"),
    [
        ({"type": "CenterShift", "apply_z": True}, "coord", "center_shift_True"),
        ({"type": "CenterShift", "apply_z": False}, "coord", "center_shift_False"),
        ({"type": "PositiveShift"}, "coord", "positive_shift"),
        ({"type": "NormalizeCoord"}, "coord", "normalize_coord"),
        ({"type": "NormalizeColor"}, "color", "normalize_color"),
        ({"type": "PointClip", "point_cloud_range": (-0.5, -0.5, 0, 1, 1, 1)}, "coord", "point_clip"),
    ],
)
def test_shift_and_color_equal_the_golden(given, expected, transform, key, output):
    out = run(given, **transform)[key]
    assert out.numpy().dtype == expected[output].dtype
    np.testing.assert_array_equal(out, expected[output])


@pytest.mark.parametrize("angle", ["0", "0.5", "1", "1.5"])
def test_rotation_equals_the_golden_and_makes_float64(given, expected, angle):
    few = {key: value[:500] for key, value in given.items()}
    out = run(few, type="RandomRotateTargetAngle", angle=[float(angle)], axis="z", center=[0, 0, 0], p=1)
    assert out["coord"].dtype == torch.float64
    np.testing.assert_allclose(out["coord"], expected[f"rotate_z_{angle}_coord"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(out["normal"], expected[f"rotate_z_{angle}_normal"], rtol=0, atol=1e-12)


def test_scale_flip_and_crop_equal_the_golden(given, expected):
    few = {key: value[:500] for key, value in given.items()}
    np.testing.assert_array_equal(run(few, type="RandomScale", scale=[0.95, 0.95])["coord"], expected["scale_095"])
    flipped = run(few, type="RandomFlip", p=1)
    np.testing.assert_array_equal(flipped["coord"], expected["flip_coord"])
    np.testing.assert_array_equal(flipped["normal"], expected["flip_normal"])
    sample = given | {"row": torch.arange(len(given["coord"]))}
    cropped = run(sample, type="SphereCrop", mode="center", point_max=2000)
    np.testing.assert_array_equal(cropped["row"], expected["sphere_crop_center_idx"])


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_rotation_by_a_quarter_is_right_handed(axis):
    turns = {"x": ([0, 1, 0], [0, 0, 1]), "y": ([0, 0, 1], [1, 0, 0]), "z": ([1, 0, 0], [0, 1, 0])}
    start, end = turns[axis]
    sample = {"coord": torch.tensor([start], dtype=torch.float32)}
    out = run(sample, type="RandomRotate", angle=[0.5, 0.5], axis=axis, center=[0, 0, 0], p=1)
    np.testing.assert_allclose(out["coord"], [end], atol=1e-12)


def test_transforms_leave_their_input_as_it_was(given):
    before = given["coord"].clone()
    for name in ("CenterShift", "PositiveShift", "NormalizeCoord", "PointClip"):
        run(given, type=name)
    np.testing.assert_array_equal(given["coord"], before)


@pytest.mark.parametrize(
    "transform",
    [
        {"type": "ShufflePoint"},
        {"type": "RandomDropout", "dropout_ratio": 0.2},
        {"type": "RandomScale", "scale": [0.9, 1.1]},
        {"type": "RandomFlip", "p": 0.5},
        {"type": "RandomRotate", "angle": [-1, 1], "p": 1},
        {"type": "SphereCrop", "point_max": 2, "mode": "random"},
        {"type": "CenterShift", "apply_x": True},
        {"type": "GridSample", "grid_size": 0.05, "mode": "test"},
        {"type": "GridSample", "grid_size": 0, "mode": "train"},
        {"type": "GridSample", "rng": 1},
        {"type": "Roughness", "neighbours": (8,), "rng": 1},
    ],
)
def test_what_trains_or_is_unknown_is_refused_by_name(given, transform):
    with pytest.raises(BadModel, match=transform["type"]):
        run(given, **transform)


def test_collect_joins_features_in_the_order_given(given):
    out = run(given, type="Collect", keys=("coord", "segment"), feat_keys=("normal", "coord"))
    np.testing.assert_array_equal(out["feat"], np.hstack([given["normal"], given["coord"]]))
    assert set(out) == {"coord", "segment", "feat"}


def test_collect_names_the_column_that_the_cloud_lacks(given):
    with pytest.raises(BadRequest, match=r"reflectance.*columns="):
        run(given, type="Collect", keys=("coord",), feat_keys=("coord", "reflectance"))


def test_copy_tolerates_absent_labels_only():
    sample = {"coord": torch.zeros(2, 3)}
    assert "origin_segment" not in run(sample, type="Copy", keys_dict={"segment": "origin_segment"})
    with pytest.raises(BadModel, match="color"):
        run(sample, type="Copy", keys_dict={"color": "other"})
