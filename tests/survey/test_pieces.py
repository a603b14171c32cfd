"""A file that is cut into pieces, and answers that are put together in its order."""

from dataclasses import replace
from pathlib import Path

import laspy
import numpy as np
import pytest

from app.clouds import formats, laz, laz_chunks
from app.clouds.las_file import parse
from app.errors import BadCloud, UnsupportedFormat
from app.survey import cuts, pieces
from app.survey.headers import tile_of
from app.survey.pieces import Pieces
from app.survey.tile import Source
from tests.clouds.las_samples import las_data, to_bytes

BUFFER_M, RING_M = 9.0, 4.0


def write_file(
    folder: Path, compressed: bool, point_format: int = 7, num_points: int = 12_000, **parts: object
) -> Path:
    """A file of points in no order, most of them in one corner of 100 by 60 m."""
    las = las_data(point_format, num_points, **parts)
    rng = np.random.default_rng(5)
    las.x = 600_000 + 100 * rng.random(num_points) ** 2
    las.y = 6_800_000 + 60 * rng.random(num_points) ** 3
    las.z = rng.random(num_points) * 10
    path = folder / f"file.{'laz' if compressed else 'las'}"
    path.write_bytes(to_bytes(las, compressed))
    return path


@pytest.fixture
def small_parts(monkeypatch):
    """Files are read a few points at a time."""
    monkeypatch.setattr(pieces, "PART_POINTS", 700)


def cut_file(path: Path, folder: Path, max_points: int = 2500, **widths: float) -> Pieces:
    tile = tile_of(Source(path.name, str(path)))
    assert tile.error == ""
    return pieces.cut(tile, str(path), folder, max_points, **{"buffer_m": BUFFER_M, "ring_m": RING_M} | widths)


def xyz_of(path: str) -> np.ndarray:
    return formats.read(memoryview(Path(path).read_bytes())).xyz


def rows(xyz: np.ndarray) -> set[tuple[float, ...]]:
    return {tuple(row) for row in xyz.tolist()}


@pytest.mark.parametrize("compressed", [False, True])
def test_pieces_hold_every_point_once_and_what_lies_around_them(tmp_path, small_parts, compressed):
    path = write_file(tmp_path, compressed)
    whole = xyz_of(str(path))
    cut = cut_file(path, tmp_path)
    assert 5 <= len(cut.pieces) <= 12
    assert sum(piece.tile.num_points for piece in cut.pieces) == len(whole)
    owners = np.fromfile(cut.owners, np.uint16)
    for number, piece in enumerate(cut.pieces):
        own = xyz_of(piece.tile.path)
        np.testing.assert_array_equal(own, whole[owners == number])
        assert 0 < len(own) == piece.tile.num_points <= 2500
        low, high = np.array(piece.tile.bounds).reshape(2, 3)[:, :2]
        assert ((own[:, :2] >= low - 0.01) & (own[:, :2] <= high + 0.01)).all()
        near = ((whole[:, :2] >= low - BUFFER_M) & (whole[:, :2] <= high + BUFFER_M)).all(1) & (owners != number)
        np.testing.assert_array_equal(xyz_of(piece.context.path), whole[near])
        assert piece.context.num_points == near.sum() > 0
    low, high = np.array(cut.tile.bounds).reshape(2, 3)[:, :2]
    inner = ((whole[:, :2] > low + RING_M) & (whole[:, :2] < high - RING_M)).all(1)
    assert rows(xyz_of(cut.ring.path)) == rows(whole[~inner])


@pytest.mark.parametrize(
    ("point_format", "compressed", "extra"),
    [(7, True, [("height", "f4")]), (7, False, [("height", "f4")]), (1, True, []), (3, False, []), (8, True, [])],
)
def test_answers_come_in_the_order_of_the_file_with_all_that_it_holds(
    tmp_path, small_parts, point_format, compressed, extra
):
    path = write_file(tmp_path, compressed, point_format, extra=extra)
    cut = cut_file(path, tmp_path)
    target = tmp_path / "whole"
    pieces.join(cut, [piece.tile.path for piece in cut.pieces], target, "laz" if compressed else "las")
    before, after = laspy.read(path), laspy.read(target)
    np.testing.assert_array_equal(after.points.array, before.points.array)
    assert after.header.are_points_compressed == compressed
    assert [(vlr.user_id, vlr.record_id) for vlr in after.header.vlrs] == [
        (vlr.user_id, vlr.record_id) for vlr in before.header.vlrs
    ]
    np.testing.assert_array_equal(after.header.mins, before.header.mins)
    np.testing.assert_array_equal(after.header.number_of_points_by_return, before.header.number_of_points_by_return)
    assert (
        formats.read(memoryview(target.read_bytes())).warnings == formats.read(memoryview(path.read_bytes())).warnings
    )


def test_a_file_with_records_behind_its_points_keeps_them(tmp_path, small_parts):
    las = las_data(6, 5000)
    las.evlrs = laspy.vlrs.vlrlist.VLRList(
        [laspy.VLR("someone", 9, "small", b"kept"), laspy.VLR("someone", 10, "large", b"x" * 70_000)]
    )
    path = tmp_path / "file.laz"
    path.write_bytes(to_bytes(las, compressed=True))
    cut = cut_file(path, tmp_path, 1200)
    assert len(cut.pieces) > 4
    pieces.join(cut, [piece.tile.path for piece in cut.pieces], tmp_path / "whole", "laz")
    after = laspy.read(tmp_path / "whole")
    np.testing.assert_array_equal(after.points.array, las.points.array)
    found = {each.record_id: each.record_data_bytes() for each in [*after.header.vlrs, *after.evlrs]}
    assert (found[9], found[10]) == (b"kept", b"x" * 70_000)


def test_without_neighbours_there_is_no_ring_and_without_a_buffer_no_context(tmp_path, small_parts):
    cut = cut_file(write_file(tmp_path, True), tmp_path, ring_m=0.0, buffer_m=0.0)
    assert cut.ring is None
    assert not list(tmp_path.glob("ring*"))


def test_points_of_one_place_stay_together(tmp_path, small_parts):
    las = las_data(6, 3000)
    las.X[:2900], las.Y[:2900] = 5, 7
    path = tmp_path / "file.las"
    path.write_bytes(to_bytes(las))
    cut = cut_file(path, tmp_path, 50)
    assert max(piece.tile.num_points for piece in cut.pieces) >= 2900


def test_answers_of_different_dimensions_are_refused_and_waveforms_not_compressed(tmp_path, small_parts):
    path = write_file(tmp_path, False)
    cut = cut_file(path, tmp_path)
    other = las_data(7, 10, extra=[("more", "u1")])
    (tmp_path / "other.las").write_bytes(to_bytes(other))
    answers = [piece.tile.path for piece in cut.pieces]
    with pytest.raises(BadCloud, match="other dimensions"):
        pieces.join(cut, [*answers[:-1], str(tmp_path / "other.las")], tmp_path / "whole", "laz")
    folder = tmp_path / "waveforms"
    folder.mkdir()
    path = write_file(folder, False, 9)
    cut = cut_file(path, folder)
    answers = [piece.tile.path for piece in cut.pieces]
    with pytest.raises(UnsupportedFormat, match="output=las"):
        pieces.join(cut, answers, folder / "whole", "laz")
    pieces.join(cut, answers, folder / "whole", "las")
    np.testing.assert_array_equal(laspy.read(folder / "whole").points.array, laspy.read(path).points.array)


def test_points_are_given_to_those_around_in_blocks_that_are_bounded(tmp_path, small_parts):
    """Small pieces lie in the context of many others, so a point counts many times."""
    x, y = 600_000 + 100 * np.random.default_rng(3).random((2, 5000))
    raster = cuts.Raster((600_000.0, 600_000.0, 0.0, 600_100.0, 600_100.0, 1.0))
    cells = raster.cells(x, y)
    found = cuts.cut(raster, np.bincount(cells, minlength=raster.num_cells), 300, 30.0)
    blocks = list(found.blocks(cells, 4000))
    assert len(blocks) > 5
    assert np.concatenate([np.arange(5000)[block] for block in blocks]).tolist() == list(range(5000))
    parts = [found.context(x[block], y[block], cells[block]) for block in blocks]
    assert 2000 < max(len(rows) for _, rows in parts) <= 4000
    numbers, rows = found.context(x, y, cells)
    np.testing.assert_array_equal(np.concatenate([each for each, _ in parts]), numbers)
    starts = [block.start for block in blocks]
    np.testing.assert_array_equal(
        np.concatenate([start + each for start, (_, each) in zip(starts, parts, strict=True)]), rows
    )


@pytest.mark.parametrize("compressed", [False, True])
def test_pages_of_a_file_are_given_back_while_it_is_checked_and_read(compressed, monkeypatch):
    monkeypatch.setattr(laz_chunks, "CHECKED_CHUNKS", 1)
    calls = []
    data = to_bytes(las_data(7, 120_000), compressed)
    file = replace(parse(memoryview(data)), give_back=lambda: calls.append(1))
    read = list(laz.parts(file, 50_000))
    assert sum(map(len, read)) == 120_000
    assert len(calls) == len(read) + (3 if compressed else 0)


def test_an_answer_of_fewer_points_than_its_piece_is_told(tmp_path, small_parts):
    cut = cut_file(write_file(tmp_path, True), tmp_path)
    tiles = sorted((piece.tile for piece in cut.pieces), key=lambda tile: tile.num_points)
    assert tiles[0].num_points < tiles[-1].num_points
    answers = [tiles[0].path if piece.tile is tiles[-1] else piece.tile.path for piece in cut.pieces]
    with pytest.raises(BadCloud, match="fewer points"):
        pieces.join(cut, answers, tmp_path / "whole.laz", "laz")
