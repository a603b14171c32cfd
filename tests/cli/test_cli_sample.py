import laspy
import numpy as np
import pytest

from app.clouds import formats
from app.sample.tile import las_bytes, make_tile


def read(path):
    return formats.read(memoryview(path.read_bytes()), filename=path.name)


def test_a_tile_is_a_believable_survey(tile):
    las = laspy.read(tile)
    assert len(las.points) == pytest.approx(30 * 30 * 4, rel=0.35)
    assert las.header.version == "1.4"
    assert "UTM zone 32N" in las.header.vlrs.get("WktCoordinateSystemVlr")[0].string
    assert 500_000 < las.x.min() < las.x.max() < 600_000
    assert (las.return_number >= 1).all()
    assert (np.asarray(las.return_number) <= np.asarray(las.number_of_returns)).all()
    assert (np.diff(las.gps_time) >= 0).all()
    assert las.intensity.max() > las.intensity.min()
    assert np.abs(las.scan_angle * 0.006).max() < 30


@pytest.mark.parametrize("kind", ["town", "village", "forest"])
def test_every_kind_has_what_its_name_says(kind):
    tile = make_tile(kind, seed=3, size_m=160, density=2)
    codes = tile.extra["classification"]
    assert {2, 3, 4, 5, 6, 9} <= set(codes.tolist()) <= {1, 2, 3, 4, 5, 6, 7, 9, 18}
    ground, trees, roofs = (tile.xyz[codes == code, 2] for code in (2, 5, 6))
    assert np.median(trees) > np.median(ground)
    assert np.median(roofs) > np.median(ground)
    assert (codes == 5).mean() > (0.3 if kind == "forest" else 0.02)
    assert (tile.extra["number_of_returns"] > 1).mean() > 0.05
    water = tile.xyz[codes == 9, 2]
    assert np.ptp(water) < 0.3


def test_same_seed_same_file_other_seed_other_tile():
    first, again = (las_bytes(make_tile(size_m=25, density=4, seed=1)) for _ in range(2))
    assert first == again
    assert las_bytes(make_tile(size_m=25, density=4, seed=2)) != first


@pytest.mark.parametrize("suffix", ["las", "ply", "pcd", "npz", "csv"])
def test_other_formats_hold_the_same_points(pointserve, tile, tmp_path, suffix):
    out = tmp_path / f"tile.{suffix}"
    assert pointserve("sample", out, "--size-m", 30, "--density", 4).returncode == 0
    np.testing.assert_allclose(read(out).xyz, read(tile).xyz, atol=0.001)


def test_unlabelled(pointserve, tmp_path):
    out = tmp_path / "deep/er/tile.laz"
    assert pointserve("sample", out, "--size-m", 25, "--density", 2, "--unlabelled").returncode == 0
    assert not np.asarray(laspy.read(out).classification).any()


def test_formats_that_hold_no_coordinates_are_refused(pointserve, tmp_path):
    for name in ("tile.npy", "tile.json", "tile.docx"):
        done = pointserve("sample", tmp_path / name)
        assert done.returncode == 2
        assert ".laz, .las, .ply, .pcd, .npz, .csv." in " ".join(done.stderr.replace("│", " ").split())
        assert not list(tmp_path.iterdir())


def test_sizes_that_make_no_tile_are_refused(pointserve, tmp_path):
    for option in (("--size-m", 1), ("--density", 0), ("--density", "nan"), ("--size-m", 1e6)):
        done = pointserve("sample", tmp_path / "tile.laz", *option)
        assert done.returncode == 1
        assert "cannot be made" in done.stderr
