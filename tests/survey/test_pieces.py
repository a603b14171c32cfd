"""A file that is cut into pieces, and answers that are put together in its order."""

import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import laspy
import lazrs
import numpy as np
import pytest

from app.clouds import formats, laz, laz_chunks
from app.clouds.las_file import parse
from app.errors import BadCloud, NotReady, UnsupportedFormat
from app.survey import changes, cuts, pieces, whole
from app.survey.changes import Changes
from app.survey.headers import tile_of
from app.survey.piece_file import head_of
from app.survey.pieces import Pieces, write_context
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
    monkeypatch.setattr(whole, "PART_POINTS", 900)
    monkeypatch.setattr(laz_chunks, "laszip_of", chunks_of(300, laz_chunks.laszip_of))


def chunks_of(num_points, laszip_of):
    """A record like that of ``laszip_of``, for chunks of ``num_points``."""

    def small(*about: int) -> bytes:
        usual = laszip_of(*about)
        return usual[:12] + struct.pack("<I", num_points) + usual[16:]

    return small


def cut_file(path: Path, folder: Path, max_points: int = 2500, **widths: float) -> Pieces:
    tile = tile_of(Source(path.name, str(path)))
    assert tile.error == ""
    return pieces.cut(tile, str(path), folder, max_points, **{"buffer_m": BUFFER_M, "ring_m": RING_M} | widths)


def xyz_of(path: str) -> np.ndarray:
    return formats.read(memoryview(Path(path).read_bytes())).xyz


def answers_of(cut: Pieces, folder: Path) -> list[Changes]:
    """Changes of copies of the files of pieces, which stand for answers."""
    paths = [str(folder / f"{Path(piece.path).name}.answer") for piece in cut.pieces]
    for piece, path in zip(cut.pieces, paths, strict=True):
        shutil.copy(piece.path, path)
    return [changes.taken(piece.path, path) for piece, path in zip(cut.pieces, paths, strict=True)]


def rows(xyz: np.ndarray) -> set[tuple[float, ...]]:
    return {tuple(row) for row in xyz.tolist()}


@pytest.mark.parametrize("compressed", [False, True])
def test_pieces_hold_every_point_once_and_what_lies_around_them(tmp_path, small_parts, compressed):
    path = write_file(tmp_path, compressed)
    whole_xyz = xyz_of(str(path))
    cut = cut_file(path, tmp_path, 6000)
    assert 5 <= len(cut.pieces) <= 20
    assert sum(piece.num_points for piece in cut.pieces) == len(whole_xyz)
    blocks = np.fromfile(cut.block_of, np.uint16)
    assert len(np.unique(blocks)) > 3 * len(cut.pieces)
    owners = cut.cuts.owners[blocks]
    in_blocks = np.argsort(blocks, kind="stable")
    for number, piece in enumerate(cut.pieces):
        own = xyz_of(piece.path)
        np.testing.assert_array_equal(own, whole_xyz[in_blocks][owners[in_blocks] == number])
        assert 0 < len(own) == piece.num_points <= 6000
        low, high = np.array(piece.bounds).reshape(2, 3)[:, :2]
        assert ((own[:, :2] >= low - 0.01) & (own[:, :2] <= high + 0.01)).all()
        near = ((whole_xyz[:, :2] >= low - BUFFER_M) & (whole_xyz[:, :2] <= high + BUFFER_M)).all(1) & (
            owners != number
        )
        context = write_context(cut, number, tmp_path / "context.las")
        np.testing.assert_array_equal(xyz_of(context.path), whole_xyz[in_blocks][near[in_blocks]])
        assert context.num_points == near.sum() > 0
        assert len(own) + near.sum() <= 6000 or len(own) <= 1500
        Path(context.path).unlink()
    low, high = np.array(cut.tile.bounds).reshape(2, 3)[:, :2]
    inner = ((whole_xyz[:, :2] > low + RING_M) & (whole_xyz[:, :2] < high - RING_M)).all(1)
    assert rows(xyz_of(cut.ring.path)) == rows(whole_xyz[~inner])


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
    whole.join(cut, answers_of(cut, tmp_path), target, "laz" if compressed else "las")
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
    whole.join(cut, answers_of(cut, tmp_path), tmp_path / "whole", "laz")
    after = laspy.read(tmp_path / "whole")
    np.testing.assert_array_equal(after.points.array, las.points.array)
    found = {each.record_id: each.record_data_bytes() for each in [*after.header.vlrs, *after.evlrs]}
    assert (found[9], found[10]) == (b"kept", b"x" * 70_000)


def test_without_neighbours_there_is_no_ring_and_without_a_buffer_no_context(tmp_path, small_parts):
    cut = cut_file(write_file(tmp_path, True), tmp_path, ring_m=0.0, buffer_m=0.0)
    assert cut.ring is None
    assert [write_context(cut, number, tmp_path / "context.las") for number in (0, 1)] == [None, None]
    assert not (tmp_path / "context.las").exists()
    assert len(cut.cuts.blocks) == len(cut.pieces)
    assert not list(tmp_path.glob("ring*"))


def test_files_are_removed_once_all_points_of_a_piece_are_taken(tmp_path, small_parts):
    path = write_file(tmp_path, True)
    cut = cut_file(path, tmp_path)
    answers = answers_of(cut, tmp_path)
    files = [Path(each.path) for each in (*answers, *cut.pieces)]
    with pytest.raises(NotReady):
        whole.join(cut, answers, tmp_path / "whole", "laz", check_cancelled=stop)
    assert all(file.exists() for file in files)
    whole.join(cut, answers, tmp_path / "whole", "laz")
    assert not any(file.exists() for file in files)


def stop() -> None:
    raise NotReady("It was stopped.")


def test_a_file_of_more_blocks_than_two_bytes_number(tmp_path, small_parts, monkeypatch):
    path = write_file(tmp_path, False)
    monkeypatch.setattr(cuts, "NARROW", 1000)
    cut = cut_file(path, tmp_path, 100, buffer_m=2.0)
    assert len(cut.pieces) > 200
    assert Path(cut.block_of).stat().st_size == 4 * cut.tile.num_points
    whole.join(cut, answers_of(cut, tmp_path), tmp_path / "whole", "las")
    np.testing.assert_array_equal(laspy.read(tmp_path / "whole").points.array, laspy.read(path).points.array)


def test_points_of_one_place_stay_together(tmp_path, small_parts):
    las = las_data(6, 3000)
    las.X[:2900], las.Y[:2900] = 5, 7
    path = tmp_path / "file.las"
    path.write_bytes(to_bytes(las))
    cut = cut_file(path, tmp_path, 50)
    assert max(piece.num_points for piece in cut.pieces) >= 2900


def test_answers_of_different_dimensions_are_refused_and_waveforms_not_compressed(tmp_path, small_parts):
    path = write_file(tmp_path, False)
    cut = cut_file(path, tmp_path)
    other = las_data(7, 10, extra=[("more", "u1")])
    (tmp_path / "other.las").write_bytes(to_bytes(other))
    answers = answers_of(cut, tmp_path)
    with pytest.raises(BadCloud, match="other dimensions"):
        whole.join(
            cut,
            [*answers[:-1], replace(answers[-1], head=head_of(str(tmp_path / "other.las")))],
            tmp_path / "whole",
            "laz",
        )
    folder = tmp_path / "waveforms"
    folder.mkdir()
    path = write_file(folder, False, 9)
    cut = cut_file(path, folder)
    answers = answers_of(cut, folder)
    with pytest.raises(UnsupportedFormat, match="output=las"):
        whole.join(cut, answers, folder / "whole", "laz")
    whole.join(cut, answers, folder / "whole", "las")
    np.testing.assert_array_equal(laspy.read(folder / "whole").points.array, laspy.read(path).points.array)


def test_blocks_cover_their_rectangles_and_the_middle_is_out_of_reach_of_others():
    x, y = 600_000 + 100 * np.random.default_rng(3).random((2, 5000))
    raster = cuts.Raster((600_000.0, 600_000.0, 0.0, 600_100.0, 600_100.0, 1.0))
    counts = np.bincount(raster.cells(x, y), minlength=raster.num_cells)
    found = cuts.cut(raster, counts, 2000, 4.0)
    reach = raster.reach(4.0)
    sizes = np.prod(found.blocks[:, 1] - found.blocks[:, 0], axis=1)
    whole_sizes = np.prod(found.corners[:, 1] - found.corners[:, 0], axis=1)
    np.testing.assert_array_equal(np.bincount(found.owners, sizes), whole_sizes)
    assert np.bincount(found.owners).tolist() == [9] * len(found)
    for number, (low, high) in enumerate(found.corners):
        inner = found.blocks[(found.owners == number)][4]
        np.testing.assert_array_equal(inner, [low + reach, high - reach])
        middles = np.flatnonzero(found.owners == number)[4]
        assert all(middles not in found.around(other) for other in range(len(found)))


@pytest.mark.parametrize("compressed", [False, True])
def test_pages_of_a_file_are_given_back_while_it_is_checked_and_read(compressed, monkeypatch):
    monkeypatch.setattr(laz_chunks, "CHECKED_CHUNKS", 1)
    calls = []
    data = to_bytes(las_data(7, 120_000), compressed)
    file = replace(parse(memoryview(data)), give_back=lambda: calls.append(1))
    read = [part.unpack(lazrs.SELECTIVE_DECOMPRESS_ALL) for part in laz.parts(file, 50_000)]
    assert sum(map(len, read)) == 120_000
    assert len(calls) == len(read) + (3 if compressed else 0)


def test_an_answer_of_other_points_than_its_piece_is_told(tmp_path, small_parts):
    cut = cut_file(write_file(tmp_path, True), tmp_path)
    first, second, *_ = (piece.path for piece in sorted(cut.pieces, key=lambda piece: piece.num_points))
    with pytest.raises(BadCloud, match="The answer for a piece of"):
        changes.taken(second, first)
    answers = answers_of(cut, tmp_path)
    lacking = [replace(answers[0], places=np.array([16])), *answers[1:]]
    with pytest.raises(BadCloud, match="fewer points"):
        whole.join(cut, lacking, tmp_path / "whole.laz", "laz")
    os.truncate(second, Path(second).stat().st_size - 1)
    with pytest.raises(BadCloud, match="cut off"):
        whole.join(cut, answers, tmp_path / "whole.laz", "laz")


@pytest.mark.parametrize("compressed", [False, True])
def test_what_answers_change_and_add_is_in_the_whole_file(tmp_path, small_parts, compressed):
    """In one piece nothing is changed, so that pieces differ in that."""
    path = write_file(tmp_path, compressed)
    cut = cut_file(path, tmp_path)
    answers = []
    for number, piece in enumerate(cut.pieces):
        las = laspy.read(piece.path)
        las.add_extra_dim(laspy.ExtraBytesParams("score", "<u2"))
        if number:
            las.classification = las.X % 30 + 100
            las.user_data = las.Y % 50 + 200
        las["score"] = las.Y % 60_000
        las.write(f"{piece.path}.answer")
        found = changes.taken(piece.path, f"{piece.path}.answer")
        vlrs = answers[0].head.vlrs if answers else found.head.vlrs  # laspy writes a piece's own least value into them
        answers.append(replace(found, head=replace(found.head, vlrs=vlrs)))
        assert not Path(f"{piece.path}.answer").exists()
        assert Path(answers[-1].path).stat().st_size == piece.num_points * (2 if number == 0 else 4)
    first = laspy.read(cut.pieces[0].path)
    whole.join(cut, answers, tmp_path / "whole", "laz" if compressed else "las")
    before, after = laspy.read(path), laspy.read(tmp_path / "whole")
    for name in before.point_format.standard_dimension_names:
        if name not in ("classification", "user_data"):
            np.testing.assert_array_equal(after[name], before[name])
    is_first = np.isin(before.gps_time, first.gps_time)
    np.testing.assert_array_equal(after.classification, np.where(is_first, before.classification, before.X % 30 + 100))
    np.testing.assert_array_equal(after.user_data, np.where(is_first, before.user_data, before.Y % 50 + 200))
    np.testing.assert_array_equal(after["score"], before.Y % 60_000)
