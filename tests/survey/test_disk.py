"""What tiles in pieces take on the disk, and which of them may have it."""

from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from app.clouds import formats
from app.clouds.fields import FIELDS
from app.clouds.las_file import parse
from app.errors import NoRoom, NotReady
from app.options import Options
from app.sample.tile import las_bytes, make_tile
from app.survey import changes, disk, whole
from app.survey.changes import Changes
from app.survey.disk import Disk, needed_bytes
from app.survey.pieces import Pieces, never_cancelled
from tests.clouds.las_samples import segmentation
from tests.survey.test_pieces import cut_file, small_parts, write_file

__all__ = ["small_parts"]

EXTRA = [("height", "f4"), ("plane", "3f8"), ("kind", "u1")]
ASKED = ("confidence", "energy", "features_rgb")


def answer(cut: Pieces, number: int, asked: tuple[str, ...]) -> Changes:
    """What the answer for a piece, with the fields ``asked``, changes."""
    path = Path(cut.pieces[number].path)
    source = memoryview(path.read_bytes())
    cloud = formats.read(source)
    rng = np.random.default_rng(number)
    shapes = {name: (len(cloud), *FIELDS[name].row_shape(3, 0)) for name in asked}
    values = {name: rng.random(shape).astype(FIELDS[name].dtype) for name, shape in shapes.items()}
    written = formats.write("las", cloud, segmentation(len(cloud), **values), source)
    Path(f"{path}.answer").write_bytes(written)
    return changes.taken(str(path), f"{path}.answer")


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def check_estimate(path: Path, folder: Path, output: str, asked: tuple[str, ...]) -> None:
    """What is needed is what the files of a tile in no order of places take in the end, and little more."""
    folder.mkdir()
    cut = cut_file(path, folder, ring_m=0.0)
    answers = [answer(cut, number, asked) for number in range(len(cut.pieces))]
    kept = folder_bytes(folder)
    whole.join(cut, answers, folder / "whole", output)
    taken = kept + (folder / "whole").stat().st_size
    options = Options(output=output, fields=asked)
    with path.open("rb") as file:
        needed = needed_bytes(parse(memoryview(file.read())), options, 0)
    assert taken <= needed <= 1.3 * taken


@pytest.mark.parametrize("point_format", range(11))
def test_what_pieces_take_follows_from_the_records_of_every_point_format(tmp_path, small_parts, point_format):
    path = write_file(tmp_path, False, point_format, num_points=4000)
    check_estimate(path, tmp_path / "w", "las", ())


@pytest.mark.parametrize("asked", [(), ASKED])
@pytest.mark.parametrize("extra", [[], EXTRA])
@pytest.mark.parametrize(("compressed", "output"), [(False, "las"), (True, "laz"), (True, "las")])
def test_extra_dimensions_and_fields_count_in_pieces_and_answer(
    tmp_path, small_parts, compressed, output, extra, asked
):
    path = write_file(tmp_path, compressed, 6, num_points=4000, extra=extra)
    check_estimate(path, tmp_path / "w", output, asked)


def test_a_file_that_is_compressed_for_its_answer_takes_less_than_its_records(tmp_path, small_parts):
    tile = make_tile("village", 3, 60.0, 2.5)
    path = tmp_path / "file.las"
    path.write_bytes(las_bytes(tile, compress=False))
    check_estimate(path, tmp_path / "w", "laz", ("energy",))


def test_pieces_that_are_labelled_at_a_time_have_files_beside_what_stays(tmp_path):
    file = parse(memoryview(las_bytes(make_tile("village", 3, 60.0, 2.5), compress=True)))
    alone, some, all_points = (needed_bytes(file, Options(output="laz"), points) for points in (0, 2000, 10**9))
    assert alone < some < all_points == needed_bytes(file, Options(output="laz"), file.num_points)


def test_what_tiles_may_come_to_take_is_not_given_to_others(tmp_path, free_bytes):
    free_bytes(10_000_000)
    room = Disk(tmp_path / "disk")
    first = room.claim("a", 6_000_000, never_cancelled)
    (first.folder / "piece").write_bytes(bytes(4_000_000))
    second = room.claim("b", 4_000_000, never_cancelled)
    assert first.folder != second.folder
    room.give_back(first)
    room.give_back(first)
    assert not first.folder.exists()
    assert second.folder.exists()
    room.give_back(room.claim("c", 6_000_000, never_cancelled))
    room.give_back(second)
    with pytest.raises(NoRoom, match=r"d goes in pieces, which take about 0.0 GB with its answer; the disk has 0.0 GB"):
        room.claim("d", 10_000_001, never_cancelled)


def test_a_tile_that_nobody_works_on_gives_up_its_files_for_another(tmp_path, free_bytes):
    free_bytes(10_000_000)
    room = Disk(tmp_path / "disk")
    claims = [room.claim(name, 3_000_000, never_cancelled) for name in "abc"]
    for claim in claims[1:]:
        room.rest(claim)
    assert room.use(claims[2])
    fourth = room.claim("d", 3_000_000, never_cancelled)
    assert [claim.folder.exists() for claim in (*claims, fourth)] == [True, False, True, True]
    assert not room.use(claims[1])


def test_room_that_others_use_is_waited_for(tmp_path, free_bytes, monkeypatch):
    free_bytes(10_000_000)
    room, first = Disk(tmp_path / "disk"), None
    looks = []

    def look() -> None:
        looks.append(first.folder.exists())
        if len(looks) == 2:
            Thread(target=room.give_back, args=(first,)).start()

    monkeypatch.setattr(disk, "WAIT_S", 0.01)
    first = room.claim("a", 6_000_000, never_cancelled)
    room.give_back(room.claim("b", 6_000_000, look))
    assert looks[:2] == [True, True]
    assert not first.folder.exists()

    def stop() -> None:
        raise NotReady("stopped")

    room.claim("c", 6_000_000, never_cancelled)
    with pytest.raises(NotReady, match="stopped"):
        room.claim("d", 6_000_000, stop)
