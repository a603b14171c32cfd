"""The commands of docs/refine.md do what is said there."""

import re
import shutil

import laspy
import numpy as np

from tests.area_samples import round_area
from tests.cli.cli_samples import documented

ONE_PROCESS = ("--device", "cpu", "--threads", 1, "--readers", 1)


def test_commands_of_the_document_work(tmp_path, pointserve):
    said = {}
    for words in documented("docs/refine.md"):
        done = pointserve(*(f"{tmp_path}/{word}" if word.endswith(".laz") else word for word in words))
        assert done.returncode == 0, f"{words}: {done.stderr}"
        said[" ".join(words).partition(".laz -o ")[2].partition(".")[0]] = done.stdout

    def codes(name):
        return np.asarray(laspy.read(tmp_path / f"{name}.laz").classification)

    def changed(name, step):
        (count,) = re.findall(rf"{step} changed ([\d,]+) points", said[name])
        return int(count.replace(",", ""))

    own, refused, plain = codes("tile"), codes("labelled") == 1, codes("beside")
    assert np.count_nonzero(refused) == changed("labelled", "unclassified") > 0
    np.testing.assert_array_equal(plain, own)
    assert changed("smooth", "smooth") > 0
    assert "ground_height" not in said["heights"]
    las = laspy.read(tmp_path / "heights.laz")
    heights, code = np.asarray(las["height_above_ground"]), np.asarray(las.classification)
    assert heights.dtype == np.float32
    assert heights[code == 4].min() >= 0.5 > heights[code == 3].max()
    assert heights[code == 5].min() >= 2 > heights[code == 4].max()
    predicted = np.asarray(laspy.read(tmp_path / "beside.laz")["predicted"])
    clean = codes("clean")
    assert np.count_nonzero(clean != predicted) == changed("clean", "noise") > 0
    assert np.isin(clean[clean != predicted], (7, 18)).all()
    np.testing.assert_array_equal(codes("labelled")[~refused], predicted[~refused])
    np.testing.assert_array_equal(codes("coded"), np.where(predicted == 6, 64, predicted))
    assert changed("coded", "classes") == np.count_nonzero(predicted == 6) > 0
    np.testing.assert_array_equal(codes("kept"), np.where(np.isin(own, (6, 9)), own, predicted))
    np.testing.assert_array_equal(codes("open"), np.where(own == 1, predicted, own))
    x, y, _ = laspy.read(tmp_path / "tile.laz").xyz.T
    is_inside = (x >= 548200) & (x < 548220) & (y >= 5803400) & (y < 5803420)
    assert is_inside.any()
    np.testing.assert_array_equal(codes("part"), np.where(is_inside, predicted, own))
    np.testing.assert_array_equal(codes("unflagged"), predicted)


def test_an_area_comes_from_a_file(tmp_path, pointserve, tile):
    area = tmp_path / "area.geojson"
    area.write_text('{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [0, 1]]]}')
    done = pointserve("predict", tile, "-o", tmp_path / "out.laz", "--within", f"@{area}")
    assert done.returncode == 0, done.stderr
    before, after = (laspy.read(path).classification for path in (tile, tmp_path / "out.laz"))
    np.testing.assert_array_equal(before, after)
    x, y, _ = laspy.read(tile).xyz.T
    area.write_text(round_area(x.mean(), y.mean(), 8), encoding="utf-8-sig")
    (tmp_path / "in").mkdir()
    shutil.copy(tile, tmp_path / "in/out.laz")
    done = pointserve("predict", tile, "-o", tmp_path / "out.laz", "--within", f"@{area}")
    assert done.returncode == 0, done.stderr
    done = pointserve("batch", tmp_path / "in", "-o", tmp_path / "many", *ONE_PROCESS, "--within", f"@{area}")
    assert done.returncode == 0, done.stderr
    is_outside = np.hypot(x - x.mean(), y - y.mean()) > 8
    for path in (tmp_path / "out.laz", tmp_path / "many/out.laz"):
        after = np.asarray(laspy.read(path).classification)
        np.testing.assert_array_equal(after[is_outside], np.asarray(before)[is_outside])
        assert (after != before).any()
    done = pointserve("predict", tile, "-o", tmp_path / "out.laz", "--within", f"@{area}.gone")
    assert done.returncode == 2
    assert "cannot be read" in done.stderr
