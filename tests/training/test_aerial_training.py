"""The training of the bundled model: a run of a moment as anyone would start it, and the parts it rests on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import average
import limits
import numpy as np
import pytest
import score
import surveys
from augment import graft, ground_height_m, middle_of_buildings, string
from buildings import Footprint, build, roofed
from noise import KINDS, strew
from tiles import BUILDING, IGNORE, NOISE, WIRE, Tile, halves, join

from app.sample.tile import las_bytes, make_tile
from app.zoo import checkpoint
from app.zoo.loading import load_model

ROOT = Path(__file__).parents[2]


def hill(num_points: int, height_m: float, seed: int) -> Tile:
    """60 m of ground that rises, a tenth of it covered by trees."""
    rng = np.random.default_rng(seed)
    xyz = np.column_stack([rng.uniform(0, 60, (num_points, 2)), np.zeros(num_points)])
    xyz[:, 2] = height_m + 0.1 * xyz[:, 0]
    label = np.where(rng.random(num_points) < 0.1, 2, 0)
    xyz[label == 2, 2] += 5
    ones = np.ones(num_points, np.uint8)
    return Tile(f"hill {seed}", xyz, ones, ones, label)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, str]:
    """The folder that a short training wrote, and what it printed."""
    folder = tmp_path_factory.mktemp("training")
    for place, kind, seed in (("train", "town", 1), ("train", "village", 2), ("val", "town", 3)):
        (folder / place).mkdir(exist_ok=True)
        (folder / place / f"{kind}_{seed}.laz").write_bytes(las_bytes(make_tile(kind, seed, 60.0, 4.0), compress=True))
    paths = [ROOT, *(each.parent for each in ROOT.glob("libs/*/pyproject.toml"))]
    arguments = ["--data", folder, "--out", folder / "out", "--minutes", "0.03", "--workers", "0", "--crops", "2"]
    done = subprocess.run(
        [sys.executable, ROOT / "training/aerial/train.py", *arguments, "--points", "3000", "--without", "village"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "out", done.stdout


def test_a_training_ends_in_an_experiment_that_is_served(trained):
    folder, _ = trained
    cloud = make_tile("town", 4, 40.0, 4.0)
    answer = load_model(folder).segmenter("cpu").segment(cloud)
    assert len(answer.labels) == len(cloud)
    assert {info.name for info in answer.meta.classes} >= {"ground", "building"}


def test_a_training_scores_val_and_what_was_held_out(trained):
    folder, printed = trained
    scores = json.loads((folder / "scores.json").read_text())
    assert list(scores["val"]["as is"]["tiles"]) == ["town_3"]
    assert list(scores["held out"]["no returns"]["tiles"]) == ["village_2"]
    assert 0 <= scores["val"]["1 point per m2"]["miou"] <= 1
    assert "step 0" in printed


def test_an_experiment_is_scored_by_itself_as_at_the_end_of_its_training(trained, monkeypatch, capsys):
    folder, _ = trained
    ended = json.loads((folder / "scores.json").read_text())["val"]
    monkeypatch.setattr(sys, "argv", ["score.py", "--data", str(folder.parent), "--model", str(folder)])
    score.main()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    found = {row[1]: row[2:] for row in rows if row[:1] == ["val"]}
    assert {*found} == {*ended}
    for variant, row in found.items():  # of weights in half precision
        assert float(row[0]) == pytest.approx(ended[variant]["merged"][0], abs=0.02)


def test_the_mean_of_one_experiment_is_itself_but_for_what_is_added_to_noise(trained, tmp_path):
    folder, _ = trained
    average.average([folder, folder], tmp_path, noise=-3)
    before, after = (checkpoint.read(each / "model" / "model_best.pth") for each in (folder, tmp_path))
    bias = "backbone.final.bias"
    assert float(after[bias][NOISE]) == pytest.approx(float(before[bias][NOISE]) - 3, abs=0.01)
    assert [name for name in before if not before[name].equal(after[name])] == [bias]
    assert after[bias][:NOISE].equal(before[bias][:NOISE])


def test_surveys_left_out_are_scored_by_those_that_saw_them_too(trained, tmp_path, monkeypatch, capsys):
    data = trained[0].parent
    monkeypatch.setattr(surveys, "SURVEYS", {"Towns": ["town"], "Villages": ["village"]})
    paths = [ROOT, *(each.parent for each in ROOT.glob("libs/*/pyproject.toml"))]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, paths)))
    arguments = ["--data", str(data), "--out", str(tmp_path), "--minutes", "0.01", "--workers", "0"]
    monkeypatch.setattr(sys, "argv", ["surveys.py", *arguments])
    surveys.main()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    rows = [row for row in rows if row[2:3] in (["no"], ["yes"])]
    assert [row[:3] for row in rows] == [
        ["Towns", "1 of val", "no"],
        ["", "", "yes"],
        ["Villages", "1 of train", "no"],
        ["", "", "yes"],
    ]
    assert all(0 <= float(row[3]) <= 1 for row in rows)


def test_a_graft_takes_the_place_of_what_was_there():
    tile, other = hill(4000, 10.0, 1), hill(4000, 300.0, 2)
    other = Tile(other.name, other.xyz, other.return_number * 2, other.number_of_returns * 2, other.label)
    made = graft(tile, other, np.random.default_rng(5))
    is_new = made.return_number == 2
    assert 20 < is_new.sum() < len(made)
    kept = {tuple(point) for point in made.xyz[~is_new]}
    assert kept < {tuple(point) for point in tile.xyz}
    low, high = made.xyz[is_new, :2].min(0), made.xyz[is_new, :2].max(0)
    inside = ((made.xyz[~is_new, :2] > low) & (made.xyz[~is_new, :2] < high)).all(1)
    assert not inside.any()
    gone = tile.take(((tile.xyz[:, :2] >= low) & (tile.xyz[:, :2] <= high)).all(1))
    assert ground_height_m(made.take(is_new)) == pytest.approx(ground_height_m(gone), abs=0.5)


def test_joined_tiles_have_the_points_of_both():
    one, other = hill(30, 0.0, 1), hill(50, 0.0, 2)
    both = join(one, other)
    assert len(both) == 80
    np.testing.assert_array_equal(both.label, np.concatenate([one.label, other.label]))


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_added_and_labelled_where_it_lies_apart(seed):
    tile = hill(4000, 10.0, 1)
    made = strew(tile, 0.05, np.random.default_rng(seed))
    np.testing.assert_array_equal(made.xyz[:4000], tile.xyz)
    np.testing.assert_array_equal(made.label[:4000], tile.label)
    assert 0 < len(made) - 4000 <= 200
    new = made.take(np.arange(4000, len(made)))
    assert set(new.label) <= {-1, NOISE}
    distance_m = np.linalg.norm(new.xyz[:, None] - tile.xyz[None, ::4], axis=2).min(1)
    assert (distance_m[new.label == NOISE] > 0.8).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_noise_gives_points(kind):
    xyz = kind(hill(4000, 10.0, 1), 100, np.random.default_rng(3))
    assert xyz.shape[1] == 3
    assert 10 <= len(xyz) <= 100
    assert np.isfinite(xyz).all()


def test_wires_hang_over_the_ground():
    tile = hill(20_000, 10.0, 1)
    made = string(tile, np.random.default_rng(0))
    wires = made.xyz[made.label == WIRE]
    assert len(wires) > 20
    assert (wires[:, 2] - (10 + 0.1 * wires[:, 0]) > 1).all()


def test_a_short_building_has_one_place_and_all_else_its_own():
    tile = hill(20_000, 10.0, 1)
    inside = (np.abs(tile.xyz[:, :2] - 30) < 6).all(1)
    tile.label[inside] = BUILDING
    plane = middle_of_buildings(tile)
    assert np.ptp(plane[inside], axis=0).max() == 0
    np.testing.assert_allclose(plane[inside][0], [30, 30], atol=0.5)
    np.testing.assert_array_equal(plane[~inside], tile.xyz[~inside, :2])


@pytest.mark.parametrize("seed", range(4))
def test_a_building_stands_on_the_ground_that_it_covers(seed):
    tile = hill(20_000, 10.0, 1)
    footprint = Footprint(np.array([30.0, 25.0]), 0.3, np.array([10.0, 6.0]), np.ones(2))
    made = roofed(tile, footprint, np.random.default_rng(seed))
    inside, before = (footprint.covers(footprint.place(each.xyz[:, :2])) for each in (made, tile))
    assert before.sum() == pytest.approx(20_000 * 20 * 12 / 3600, rel=0.1)
    assert 0.85 * before.sum() < inside.sum() <= before.sum()  # some of the bushes under the roof are gone
    np.testing.assert_array_equal(made.xyz[~inside], tile.xyz[~before])
    np.testing.assert_array_equal(made.label[~inside], tile.label[~before])
    roof = made.xyz[inside & (made.label == BUILDING)]
    assert len(roof) > 0.8 * inside.sum()
    assert (roof[:, 2] - (10 + 0.1 * roof[:, 0]) > 1.5).all()  # eaves: 2.5 m over the upper side of the slope
    assert set(made.label[inside]) <= {BUILDING, IGNORE, 2}  # walls, and trees over the roof


def test_buildings_are_built_in_the_open():
    tile = hill(20_000, 10.0, 1)
    assert (build(tile, np.random.default_rng(0)).label == BUILDING).sum() > 100
    tile.label[tile.label == 0] = np.where(np.arange((tile.label == 0).sum()) % 3, 2, 0)
    assert build(tile, np.random.default_rng(0)) is tile


def test_an_l_shaped_footprint_lacks_a_corner():
    footprint = Footprint(np.zeros(2), 0.0, np.array([10.0, 5.0]), np.array([0.0, 0.2]))
    places = footprint.place(np.array([[-9.0, -4.0], [9.0, -4.0], [9.0, 4.0], [-9.0, 4.0], [11.0, 0.0]]))
    assert footprint.covers(places).tolist() == [True, True, False, True, False]


def test_height_and_voxels_allow_what_they_can():
    tile = hill(20_000, 10.0, 1)
    tile.label[tile.label == 2] = 1
    assert limits.by_height(tile)[0] == 1  # it is 5 m high
    tile.xyz[tile.label == 1, 2] -= 4.8
    best, limit_m = limits.by_height(tile)
    assert best == 1
    assert 0 < limit_m < 0.2
    assert limits.by_voxel(tile).iou[1] < 0.9  # ground lies in the same voxels, and is more


def test_the_end_of_a_tile_lies_apart_from_the_rest():
    rest, end = halves(hill(4000, 10.0, 1), 15)
    assert end.xyz[:, 1].min() - rest.xyz[:, 1].max() >= 19.5
    assert len(rest) + len(end) < 4000
