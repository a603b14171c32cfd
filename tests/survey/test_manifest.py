import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from app.errors import BadRequest, NotFound
from app.survey.lock import InUse
from app.survey.manifest import FILE, Manifest
from app.survey.row import State
from tests.survey.survey_samples import result_of, tile_of

PLACED = tile_of("b/2.laz", bounds=(0.0, 1.0, 2.0, 3.0, 4.0, 5.0), crs="EPSG:25832", metres_per_unit=(1.0, 0.3048))
UNPLACED = tile_of("a.ply", format="ply", num_points=None)
CONTEXT = tile_of("c.laz", is_context=True, error="cut off")


def names(manifest: Manifest, *states: State) -> list[str]:
    return [row.tile.name for row in manifest.rows(*states)]


def test_tiles_come_back_as_they_were_planned(tmp_path):
    with Manifest.create(tmp_path) as manifest:
        assert manifest.plan([PLACED, UNPLACED, CONTEXT]) == len(manifest) == 3
        assert [row.tile for row in manifest.rows()] == [PLACED, UNPLACED, CONTEXT]
        assert [row.state for row in manifest.rows()] == [State.PENDING, State.PENDING, State.CONTEXT]
        assert list(manifest.columns("name", "min_x")) == [("b/2.laz", 0.0), ("a.ply", None), ("c.laz", None)]


def test_a_result_comes_back(tmp_path):
    result = result_of(
        PLACED,
        reference="classification",
        agreement=[(2, 0, 3), (6, 2, 4)],
        warnings=["No colors."],
        timings_ms={"decode": 1.5},
        worker="cuda:0",
        num_context=5,
    )
    with Manifest.create(tmp_path) as manifest:
        manifest.plan([PLACED, UNPLACED])
        number = next(manifest.rows()).id
        manifest.start(number)
        assert manifest.row(number).state is State.RUNNING
        manifest.finish(number, result, "basis", 2.5, ["a.ply"])
        row = manifest.row(number)
        assert (row.state, row.attempts, row.basis, row.lacking) == (State.DONE, 1, "basis", ["a.ply"])
        assert (row.labelled_points, row.context_points, row.seconds, row.worker) == (7, 5, 2.5, "cuda:0")
        assert (row.counts, row.reference, row.agreement) == (result.counts, result.reference, result.agreement)
        assert (row.warnings, row.timings_ms, row.output_sha256) == (result.warnings, result.timings_ms, "ab")
        assert manifest.counts()[State.DONE] == 1


def test_a_failure_keeps_its_reason_until_the_tile_is_done(tmp_path):
    with Manifest.create(tmp_path) as manifest:
        manifest.plan([PLACED])
        number = next(manifest.rows()).id
        manifest.start(number)
        manifest.fail(number, "It is damaged.", 0.5, State.QUARANTINED)
        assert (manifest.row(number).state, manifest.row(number).error) == (State.QUARANTINED, "It is damaged.")
        manifest.reset([number])
        manifest.start(number)
        manifest.finish(number, result_of(PLACED), "basis", 1.0)
        assert (manifest.row(number).attempts, manifest.row(number).error) == (2, "")


def test_a_new_plan_keeps_what_is_known(tmp_path):
    with Manifest.create(tmp_path) as manifest:
        manifest.plan([PLACED, UNPLACED])
        done, running = (row.id for row in manifest.rows())
        manifest.finish(done, result_of(PLACED), "basis", 1.0)
        manifest.start(running)
    changed = tile_of("a.ply", version="200-2", num_bytes=200)
    with Manifest.create(tmp_path) as manifest:
        manifest.plan([CONTEXT, changed])
        assert names(manifest) == ["a.ply", "c.laz"]
        row = manifest.row(running)
        assert (row.state, row.tile, row.attempts) == (State.PENDING, changed, 1)
        manifest.plan([PLACED, UNPLACED])
        assert names(manifest, State.DONE) == ["b/2.laz"]


def test_a_tile_becomes_context_and_one_with_an_answer_again(tmp_path):
    with Manifest.create(tmp_path) as manifest:
        for is_context, state in [(False, State.PENDING), (True, State.CONTEXT), (False, State.PENDING)]:
            manifest.plan([tile_of("a.laz", is_context=is_context)])
            assert [row.state for row in manifest.rows()] == [state]


def test_values_of_the_survey_are_kept(tmp_path):
    with Manifest.create(tmp_path) as manifest:
        manifest.set(options={"mode": "fast"}, buffer_m=32.0)
    with Manifest.read(tmp_path) as manifest:
        assert manifest.get("options") == {"mode": "fast"}
        assert manifest.get("buffer_m") == 32.0
        assert manifest.get("nothing", 3) == 3


def test_others_read_while_a_driver_works(tmp_path):
    with Manifest.create(tmp_path) as manifest:
        manifest.plan([PLACED])
        with Manifest.read(tmp_path) as reader:
            manifest.start(1)
            assert reader.counts()[State.RUNNING] == 1
            manifest.finish(1, result_of(PLACED), "basis", 1.0)
            assert names(reader, State.DONE) == ["b/2.laz"]


def test_a_second_driver_is_refused_and_told_who_works(tmp_path):
    with Manifest.create(tmp_path), pytest.raises(InUse, match=f"process {os.getpid()}"):
        Manifest.create(tmp_path)
    Manifest.create(tmp_path).close()


def test_the_lock_and_half_the_work_of_a_killed_driver_are_free(tmp_path):
    killed = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from app.survey.manifest import Manifest
        from tests.survey.survey_samples import result_of, tile_of

        manifest = Manifest.create(Path(sys.argv[1]))
        manifest.plan([tile_of("a"), tile_of("b")])
        manifest.finish(1, result_of(tile_of("a")), "basis", 1.0)
        manifest.start(2)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    subprocess.run([sys.executable, "-c", killed, str(tmp_path)], cwd=Path(__file__).parents[2], check=False)
    with Manifest.create(tmp_path) as manifest:
        manifest.plan([tile_of("a"), tile_of("b")])
        assert [row.state for row in manifest.rows()] == [State.DONE, State.PENDING]


def test_a_folder_without_a_manifest_or_with_another_file_is_refused(tmp_path):
    with pytest.raises(NotFound, match=FILE):
        Manifest.read(tmp_path)
    for content in (b"something else" * 1000, b""):
        (tmp_path / FILE).write_bytes(content)
        with pytest.raises(BadRequest, match="no manifest"):
            Manifest.read(tmp_path)
    (tmp_path / FILE).write_bytes(b"something else" * 1000)
    with pytest.raises(BadRequest, match="no manifest"):
        Manifest.create(tmp_path)


def test_a_plan_that_breaks_off_changes_nothing(tmp_path):
    def tiles():
        yield UNPLACED
        raise NotFound("It is gone.")

    with Manifest.create(tmp_path) as manifest:
        manifest.plan([PLACED])
        with pytest.raises(NotFound):
            manifest.plan(tiles())
        assert names(manifest) == ["b/2.laz"]
        manifest.plan([CONTEXT])
        assert names(manifest) == ["c.laz"]
