import json
import os
import signal
import subprocess
import time

import pytest

from app.cli import batch
from app.settings import Settings
from app.survey.manifest import Manifest
from app.survey.row import State
from tests.cli.cli_samples import ROOT, command, environment
from tests.small_disk import small_disk
from tests.survey.survey_files import las
from tests.survey.survey_runs import TILES, digests, rows, write_land

OPTIONS = ("--device", "cpu", "--threads", 1, "--readers", 1, "--buffer", 8)
END_S = 120
SIDE = 5


@pytest.fixture(scope="module")
def survey(tmp_path_factory, pointserve):
    """Tiles, and the digests of their answers from a run without interruption."""
    folder = tmp_path_factory.mktemp("survey")
    source = write_land(folder / "in")
    done = pointserve("batch", source, "-o", folder / "out", *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert "4 of 4 tiles are labelled, 4 of them now" in done.stdout
    return source, digests(folder / "out")


def started(source, out, *options):
    return subprocess.Popen(
        command("batch", source, "-o", out, *OPTIONS, *options),
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def when_half_done(process, out):
    """Wait until an answer is there and others are not; how many there are."""
    end_s = time.monotonic() + END_S
    while process.poll() is None and not (found := len(list(out.glob("t_*")))):
        assert time.monotonic() < end_s
        time.sleep(0.002)
    return found


@pytest.fixture(scope="module")
def large_survey(tmp_path_factory, pointserve):
    """As ``survey``, of more tiles than are done before a signal arrives."""
    folder = tmp_path_factory.mktemp("large")
    source = write_land(folder / "in", SIDE)
    done = pointserve("batch", source, "-o", folder / "out", *OPTIONS)
    assert done.returncode == 0, done.stderr
    return source, digests(folder / "out")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_survey_that_is_ended_goes_on_where_it_stopped(large_survey, tmp_path, pointserve, number):
    source, answers = large_survey
    out = tmp_path / "out"
    process = started(source, out)
    when_half_done(process, out)
    process.send_signal(number)
    _, errors = process.communicate(timeout=END_S)
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in errors
    if number != signal.SIGKILL:
        assert "pending" in (out / "report.html").read_text()
        assert json.loads((out / "survey.vpc").read_text())["features"]
    there = {path: path.stat().st_mtime_ns for path in out.glob("t_*") if rows(out)[path.name].state is State.DONE}
    assert len(there) < SIDE**2
    done = pointserve("batch", source, "-o", out, *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert f"{SIDE**2} of {SIDE**2} tiles are labelled, {SIDE**2 - len(there)} of them now" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert digests(out) == answers
    assert sum(row.attempts for row in rows(out).values()) <= SIDE**2 + 8  # only what was under way was begun again


@pytest.mark.parametrize(
    ("free_kib", "words", "left"),
    [
        (500, "large.las cannot be written: No space left on device. The same command", {"report.html", "survey.vpc"}),
        (100, "report.html cannot be written: No space left on device", set()),
        (20, "survey.db cannot be written: ", set()),
        (0, "survey.lock cannot be written: No space left on device", set()),
    ],
)
def test_a_full_disk_ends_a_survey_with_words(large_tile, tmp_path, pointserve_process, free_kib, words, left):
    out = tmp_path / "out"
    with small_disk(out, free_kib):
        done = pointserve_process("batch", large_tile, "-o", out, *OPTIONS)
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr
        assert {path.name for path in out.iterdir()} >= left
        assert not [path.name for path in out.iterdir() if "partial" in path.name or "large" in path.name]
        if left:
            assert "1 of 2 tiles are labelled" in done.stdout
            assert len(json.loads((out / "survey.vpc").read_text())["features"]) == 1
            assert "pending" in (out / "report.html").read_text()


@pytest.fixture(scope="module")
def large_tile(tmp_path_factory):
    """A folder with a small tile, and one whose answer takes 600 KiB."""
    folder = tmp_path_factory.mktemp("large_tile")
    (folder / "a.las").write_bytes(las(num_points=500))
    (folder / "large.las").write_bytes(las(5, 5, num_points=20_000))
    return folder


def test_a_second_driver_is_refused(survey, tmp_path, pointserve):
    source, _ = survey
    with Manifest.create(tmp_path / "out"):
        done = pointserve("batch", source, "-o", tmp_path / "out", *OPTIONS)
    assert done.returncode == 1
    assert f"process {os.getpid()}" in done.stderr
    assert not list((tmp_path / "out").glob("t_*"))


def test_one_bad_tile_is_named_and_the_exit_code_says_so(survey, tmp_path, pointserve):
    _, answers = survey
    source = write_land(tmp_path / "in")
    (source / "bad.laz").write_bytes(b"no cloud")
    done = pointserve("batch", source, "-o", tmp_path / "out", *OPTIONS)
    assert done.returncode == 1
    assert "4 of 5 tiles are labelled" in done.stdout
    assert "failed: bad.laz:" in done.stdout
    assert digests(tmp_path / "out") == answers


def test_a_dry_run_says_what_would_be_done_and_leaves_nothing(survey, tmp_path, pointserve):
    source, _ = survey
    done = pointserve("batch", source, "-o", tmp_path / "out", *OPTIONS, "--buffer-only", "t_1_*", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 tiles are to be labelled" in done.stdout
    assert "2 give context only" in done.stdout
    assert "context: 8 m, 3.0 neighbours a tile" in done.stdout
    assert "go in pieces" not in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_what_pieces_of_a_file_that_is_larger_than_memory_take_on_the_disk(tmp_path, pointserve):
    (tmp_path / "large.las").write_bytes(las(num_points=25_000))
    done = pointserve("batch", tmp_path, "-o", tmp_path / "out", *OPTIONS, "--memory-mib", 8, "--dry-run")
    assert "disk: 1 of the tiles are larger than memory and go in pieces, which take about 0.0 GB" in done.stdout


def test_a_dry_run_over_a_survey_knows_what_is_done_and_how_fast(survey, pointserve):
    source, _ = survey
    out = source.parent / "out"
    before = (out / "survey.db").read_bytes()
    done = pointserve("batch", source, "-o", out, *OPTIONS, "--force", "--dry-run")
    assert "4 of 4 tiles are to be labelled" in done.stdout
    assert "points/s as in the last run" in done.stdout
    assert "0 of 4" in pointserve("batch", source, "-o", out, *OPTIONS, "--dry-run").stdout
    assert (out / "survey.db").read_bytes() == before


def test_names_and_formats_of_answers_are_chosen(survey, tmp_path, pointserve):
    source, _ = survey
    options = ("--name", "{stem}_classified{suffix}", "--output", "las", "--buffer", 0)
    done = pointserve("batch", source / TILES[0], "-o", tmp_path, "--device", "cpu", *options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t_0_0_classified.las").read_bytes()[:4] == b"LASF"


def test_copc_for_all_answers(survey, tmp_path, pointserve):
    source, _ = survey
    done = pointserve("batch", source / TILES[0], "-o", tmp_path, "--device", "cpu", "--buffer", 0, "--copc")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t_0_0.copc.laz").read_bytes()[377:381] == b"copc"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--name", "all.laz"), "pattern"),
        (("--buffer", -1), "buffer"),
        (("--tile-voxels", 0), "--tile-voxels"),
        (("--nothing",), "nothing"),
        (("--copc", "--output", "las"), "--copc"),
    ],
)
def test_wrong_usage_has_exit_code_2(survey, tmp_path, pointserve, options, word):
    done = pointserve("batch", survey[0], "-o", tmp_path / "out", "--device", "cpu", *options)
    assert done.returncode == 2
    assert word in done.stderr
    assert not (tmp_path / "out").exists()


def test_sources_that_are_not_there_are_refused(tmp_path, pointserve):
    done = pointserve("batch", tmp_path / "nothing", "-o", tmp_path / "out", *OPTIONS)
    assert done.returncode == 1
    assert "does not exist" in done.stderr


@pytest.mark.parametrize(("given", "num_readers"), [({}, 4), ({"readers": 3}, 3)])
def test_a_survey_has_a_reader_for_two_cores_unless_told(monkeypatch, given, num_readers):
    monkeypatch.setattr("app.diagnostics.machine.usable_cores", lambda: 9)
    with batch._workers(Settings(device="cpu", threads=1, **given), "") as workers:
        assert workers.capacity.decodes == num_readers
