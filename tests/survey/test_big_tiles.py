"""Tiles that are larger than memory are labelled in pieces."""

import re
import struct
from contextlib import suppress
from dataclasses import replace

import laspy
import numpy as np
import pytest

from app.clouds import formats, octree
from app.clouds.area import NONE_WITHIN
from app.clouds.las_file import parse
from app.options import Options
from app.sample.tile import las_bytes, make_tile
from app.survey import big_tiles, changes, disk, piece_file, pieces
from app.survey import whole as joined_whole
from app.survey.answers import PARTIAL
from app.survey.big_tiles import BigTiles
from app.survey.disk import needed_bytes
from app.survey.row import State
from app.survey.workers import WorkerLost
from tests.fuzz.seeds import labelled
from tests.small_disk import small_disk
from tests.survey.survey_runs import digests, rows, run

EXTENT_M = 60.0


@pytest.fixture(scope="module")
def whole():
    """A cloud of about ten thousand points in no order."""
    cloud = make_tile("village", 3, EXTENT_M, 2.5)
    return cloud.taken(np.random.default_rng(0).permutation(len(cloud)))


@pytest.fixture
def small_memory(monkeypatch):
    monkeypatch.setattr(big_tiles, "LEAST_POINTS", 500)
    monkeypatch.setattr(BigTiles, "_points_at_once", 6000)
    monkeypatch.setattr(pieces, "PART_POINTS", 2000)


def classes(path):
    return np.asarray(laspy.read(path).classification)


@pytest.mark.parametrize("suffix", ["las", "laz"])
def test_a_file_in_pieces_has_the_labels_that_it_has_at_once(service, whole, tmp_path, request, suffix):
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / f"a.{suffix}"
    file.write_bytes(las_bytes(whole, compress=suffix == "laz"))
    options = Options(fields=("confidence",))
    run(service, [file], tmp_path / "at_once", options=options, buffer_m=50.0)
    request.getfixturevalue("small_memory")
    done = run(service, [file], tmp_path / "out", options=options, buffer_m=50.0)
    assert (done.num_done, done.num_failed, done.points_done) == (1, 0, len(whole))
    expected, found = (laspy.read(tmp_path / out / file.name) for out in ("at_once", "out"))
    np.testing.assert_array_equal(found.xyz, expected.xyz)
    np.testing.assert_array_equal(found.gps_time, expected.gps_time)
    np.testing.assert_array_equal(found.return_number, expected.return_number)
    assert np.mean(found.classification == expected.classification) > 0.995
    assert np.mean(np.abs(found.confidence - expected.confidence) < 0.02) > 0.99
    row = rows(tmp_path / "out")[file.name]
    assert row.state is State.DONE
    assert sum(row.counts.values()) == len(whole)
    assert not (tmp_path / "out" / PARTIAL).exists()


def test_pieces_outside_an_area_are_no_warning_of_a_file_that_is_partly_inside(service, whole, tmp_path, small_memory):
    file = tmp_path / "a.laz"
    file.write_bytes(las_bytes(whole, compress=True))
    x, y, _ = whole.xyz.min(axis=0).tolist()
    for name, low in (("corner", 0), ("elsewhere", 1000)):
        box = f"{x + low},{y + low},{x + low + 3},{y + low + 3}"
        assert run(service, [file], tmp_path / name, options=Options(within=box), buffer_m=10.0).num_done == 1
        assert (NONE_WITHIN in rows(tmp_path / name)[file.name].warnings) == (name == "elsewhere")


def test_copc_in_pieces_stays_copc(service, whole, tmp_path, monkeypatch, request):
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "a.copc.laz"
    monkeypatch.setattr(octree, "LEAF_POINTS", 300)
    source = memoryview(las_bytes(whole, compress=True))
    cloud = formats.read(source)
    file.write_bytes(formats.write("copc", cloud, labelled(len(cloud)), source))
    run(service, [file], tmp_path / "at_once", buffer_m=40.0)
    request.getfixturevalue("small_memory")
    assert run(service, [file], tmp_path / "out", buffer_m=40.0).num_done == 1
    came, expected, found = (path / "a.copc.laz" for path in (file.parent, tmp_path / "at_once", tmp_path / "out"))
    assert np.array_equal(laspy.read(came).xyz, laspy.read(found).xyz)
    assert np.mean(classes(found) == classes(expected)) > 0.995
    with laspy.CopcReader.open(str(found)) as reader, laspy.CopcReader.open(str(came)) as before:
        assert len(reader.query()) == len(whole)
        assert len(reader.query(level=range(2))) == len(before.query(level=range(2))) < len(whole)
        assert (reader.copc_info.halfsize, reader.copc_info.spacing) == (
            before.copc_info.halfsize,
            before.copc_info.spacing,
        )
    assert found.read_bytes()[485:501] == came.read_bytes()[485:501]  # least and greatest GPS time
    assert not [each for each in rows(tmp_path / "out")["a.copc.laz"].warnings if "order" in each]


def test_what_is_too_large_becomes_copc_only_if_it_is(service, whole, tmp_path, small_memory):
    file = tmp_path / "a.laz"
    file.write_bytes(las_bytes(whole, compress=True))
    run(service, [file], tmp_path / "out", options=Options(output="copc"))
    assert "becomes COPC only if it is COPC" in rows(tmp_path / "out")["a.laz"].error


def test_a_file_in_pieces_and_its_neighbours_give_each_other_context(service, whole, tmp_path, request):
    (tmp_path / "in").mkdir()
    x = whole.xyz[:, 0] - whole.xyz[:, 0].min()
    for name, rows_of in {"a.laz": x < 12, "b.laz": x >= 12}.items():
        (tmp_path / "in" / name).write_bytes(las_bytes(whole.taken(np.flatnonzero(rows_of)), compress=True))
    run(service, [tmp_path / "in"], tmp_path / "at_once", buffer_m=40.0)
    request.getfixturevalue("small_memory")
    assert run(service, [tmp_path / "in"], tmp_path / "out", buffer_m=40.0).num_done == 2
    found = rows(tmp_path / "out")
    assert found["a.laz"].tile.num_points < 3000 < found["b.laz"].tile.num_points
    np.testing.assert_array_equal(classes(tmp_path / "out" / "a.laz"), classes(tmp_path / "at_once" / "a.laz"))
    b_found, b_expected = classes(tmp_path / "out" / "b.laz"), classes(tmp_path / "at_once" / "b.laz")
    assert np.mean(b_found == b_expected) > 0.995


def test_a_piece_that_fails_is_the_failure_of_its_file(service, whole, tmp_path, small_memory):
    file = tmp_path / "a.laz"
    file.write_bytes(las_bytes(whole, compress=True))
    done = run(service, [file], tmp_path / "out", options=Options(output="npz"))
    assert (done.num_done, done.num_failed) == (0, 1)
    assert "in pieces, and its answer is one of las, laz, copc" in rows(tmp_path / "out")["a.laz"].error
    file.write_bytes(file.read_bytes()[:-3000])
    run(service, [file], tmp_path / "other")
    row = rows(tmp_path / "other")["a.laz"]
    assert (row.state, "cut off" in row.error) == (State.FAILED, True)


def test_a_disk_without_room_for_the_pieces_ends_the_run(service, whole, tmp_path, small_memory, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    file = tmp_path / "a.laz"
    file.write_bytes(las_bytes(whole, compress=True))
    monkeypatch.setattr(piece_file, "_write_all", fail)
    done = run(service, [file], tmp_path / "out")
    assert "No space left on device" in done.stopped
    assert rows(tmp_path / "out")["a.laz"].state is State.PENDING
    assert not (tmp_path / "out" / PARTIAL).exists()


def test_of_answers_only_changes_are_kept_and_nothing_once_they_are_joined(
    service, whole, tmp_path, small_memory, monkeypatch
):
    file = tmp_path / "a.laz"
    file.write_bytes(las_bytes(whole, compress=True))
    seen = []

    def look(cut, answers, target, *others):
        seen.append({path.name for path in target.parent.iterdir()})
        join(cut, answers, target, *others)
        seen.append({path.name for path in target.parent.iterdir()})

    join = joined_whole.join
    monkeypatch.setattr(joined_whole, "join", look)
    assert run(service, [file], tmp_path / "out", buffer_m=10.0).num_done == 1
    before, after = seen
    assert len(before) > 4
    names = [f"{number}.las" for number in range(len(before) // 2)]
    assert before == {*names, *(f"{name}.answer.changes" for name in names), "blocks"}
    assert after == {"blocks", "whole"}
    timings_ms = rows(tmp_path / "out")["a.laz"].timings_ms
    assert all(timings_ms[stage] > 0 for stage in ("cut", "pieces", "join"))


def test_how_far_a_file_in_pieces_is_can_be_seen(service, whole, tmp_path, small_memory, monkeypatch):
    file, stages = tmp_path / "a.laz", set()
    monkeypatch.setattr("app.survey.runner.LOOK_S", 0.001)
    file.write_bytes(las_bytes(whole, compress=True))

    def look(runner, progress):
        stages.update(re.sub(r"\d+", "N", stage) for stage in runner._workers.stages)

    assert run(service, [file], tmp_path / "out", look, buffer_m=10.0).num_done == 1
    assert "a.laz: N of N pieces are labelled" in stages


def test_a_file_whose_pieces_have_no_room_on_the_disk_is_not_begun(service, whole, tmp_path, small_memory, monkeypatch):
    file = tmp_path / "a.laz"
    file.write_bytes(las_bytes(whole, compress=True))
    monkeypatch.setattr(disk, "BLOCK_BYTES", 10**12)
    done = run(service, [file], tmp_path / "out")
    assert re.match(r"a.laz goes in pieces, .* about [\d.]+ GB .* the disk has [\d.]+ GB left", done.stopped)
    assert rows(tmp_path / "out")["a.laz"].state is State.PENDING


def test_neighbours_in_pieces_take_turns_if_the_disk_has_room_for_one(
    service, whole, tmp_path, small_memory, free_bytes
):
    (tmp_path / "in").mkdir()
    x = whole.xyz[:, 0] - whole.xyz[:, 0].min()
    for name, rows_of in {"a.laz": x < EXTENT_M / 2, "b.laz": x >= EXTENT_M / 2}.items():
        (tmp_path / "in" / name).write_bytes(las_bytes(whole.taken(np.flatnonzero(rows_of)), compress=True))
    run(service, [tmp_path / "in"], tmp_path / "expected", buffer_m=10.0)
    files = [parse(memoryview(path.read_bytes())) for path in (tmp_path / "in").iterdir()]
    assert min(file.num_points for file in files) > 3000
    free_bytes(int(1.5 * max(needed_bytes(file, Options(output="laz"), 6000) for file in files)))
    done = run(service, [tmp_path / "in"], tmp_path / "out", buffer_m=10.0)
    assert (done.num_done, done.stopped) == (2, "")
    assert digests(tmp_path / "out") == digests(tmp_path / "expected")


@pytest.mark.parametrize(
    ("module", "name"),
    [(pieces, "cut"), (pieces, "write_context"), (changes, "taken"), (joined_whole, "join")],
)
def test_a_disk_that_fills_up_is_told_leaves_nothing_and_the_survey_goes_on(
    service, whole, tmp_path, small_memory, monkeypatch, module, name
):
    file, out = tmp_path / "a.las", tmp_path / "out"
    file.write_bytes(las_bytes(whole, compress=False))
    works = getattr(module, name)
    monkeypatch.setattr(joined_whole, "PART_POINTS", 2000)

    def works_without_room(*about):
        with suppress(OSError), filler.open("ab", 0) as more:
            while True:
                more.write(bytes(4096))
        return works(*about)

    with small_disk(out, 4000, 4096) as filler:
        monkeypatch.setattr(module, name, works_without_room)
        done = run(service, [file], out, buffer_m=10.0)
        told = rf"a.las goes in pieces: {out}/{PARTIAL}/\S+ cannot be written: No space left on device\."
        assert re.fullmatch(told, done.stopped)
        assert not [path for path in out.iterdir() if path != filler and not path.name.startswith("survey.")]
        filler.unlink()
        monkeypatch.setattr(module, name, works)
        assert run(service, [file], out, buffer_m=10.0).num_done == 1


def test_what_the_header_of_a_large_file_gets_wrong_is_told_as_of_a_small_one(service, whole, tmp_path, small_memory):
    file, data = tmp_path / "a.las", bytearray(las_bytes(whole, compress=False))
    struct.pack_into("<Q", data, 247, 0)
    struct.pack_into("<I", data, 107, 0)
    file.write_bytes(data)
    assert run(service, [file], tmp_path / "out", buffer_m=10.0).num_done == 1
    row = rows(tmp_path / "out")["a.las"]
    assert row.labelled_points == len(whole)
    assert f"The LAS header states 0 points; the {len(whole):,} that follow it were read." in row.warnings


def test_the_context_of_pieces_is_as_wide_in_units_that_only_the_request_states(service, whole, tmp_path, small_memory):
    file = tmp_path / "a.laz"
    file.write_bytes(las_bytes(replace(whole, xyz=whole.xyz / 0.3048, units=None), compress=True))
    found = {}
    for units in ("", "ft"):
        run(service, [file], tmp_path / f"out{units}", options=Options(units=units), buffer_m=10.0)
        found[units] = rows(tmp_path / f"out{units}")["a.laz"]
    assert found["ft"].context_points > 1.5 * found[""].context_points


@pytest.mark.parametrize(("num_lost", "state"), [(1, State.DONE), (10, State.QUARANTINED)])
def test_a_piece_whose_worker_is_lost_is_labelled_by_another(
    service, whole, tmp_path, small_memory, monkeypatch, num_lost, state
):
    file, lost = tmp_path / "a.laz", []
    file.write_bytes(las_bytes(whole, compress=True))
    labelled_once = BigTiles._labelled

    def lose(self, tile, *others):
        if tile.name == "a.laz (1)" and len(lost) < num_lost:
            lost.append(tile.name)
            raise WorkerLost("A worker ended.", retry_after_s=0.01)
        return labelled_once(self, tile, *others)

    monkeypatch.setattr(BigTiles, "_labelled", lose)
    run(service, [file], tmp_path / "out", buffer_m=10.0)
    assert rows(tmp_path / "out")["a.laz"].state is state
    assert len(lost) == {State.DONE: 1, State.QUARANTINED: 4}[state]  # twice for each time that the file is begun
