"""``pointserve batch`` with answers on an object store."""

import hashlib
import signal
import subprocess
import time
from pathlib import Path

import pytest

from app.survey import remote
from app.survey.row import State
from tests.cli.cli_samples import ROOT, command, environment
from tests.survey.survey_runs import digests, rows, write_land
from tests.survey.survey_store import object_store, use

pytest.importorskip("moto.server")
pytest.importorskip("s3fs")
OPTIONS = ("--device", "cpu", "--threads", 1, "--readers", 1, "--buffer", 8)
OUT = "s3://tiles/out put"
SIDE = 4
END_S = 120


@pytest.fixture
def store(monkeypatch):
    with object_store() as url:
        use(url, monkeypatch)
        found = remote.filesystem("s3://")
        found.mkdir("tiles")
        yield found


def stored(store):
    return {path: store.cat_file(path) for path in store.find(OUT) if path.endswith(".laz")}


def test_a_survey_that_is_killed_goes_on_and_no_object_is_half(store, tmp_path, pointserve):
    source = write_land(tmp_path / "in", SIDE)
    done = pointserve("batch", source, "-o", tmp_path / "here", *OPTIONS)
    assert done.returncode == 0, done.stderr
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    process = subprocess.Popen(
        command("batch", source, "-o", OUT, *OPTIONS), env=environment(**state), cwd=ROOT, stderr=subprocess.PIPE
    )
    end_s = time.monotonic() + END_S
    while process.poll() is None and not stored(store):
        assert time.monotonic() < end_s
    process.send_signal(signal.SIGKILL)
    assert b"The manifest of s3://tiles/out put is in" in process.communicate(timeout=END_S)[1]
    found = stored(store)
    assert 0 < len(found) < SIDE**2
    answers = digests(tmp_path / "here")
    assert {hashlib.sha256(data).hexdigest() for data in found.values()} <= {*answers.values()}

    (folder,) = Path(tmp_path / "state/pointserve/surveys").iterdir()
    num_done = sum(row.state is State.DONE for row in rows(folder).values())
    dry = pointserve("batch", source, "-o", OUT, *OPTIONS, "--dry-run", **state)
    assert f"{SIDE**2 - num_done} of {SIDE**2} tiles are to be labelled" in dry.stdout
    done = pointserve("batch", source, "-o", f"{OUT}/", *OPTIONS, **state)
    assert done.returncode == 0, done.stderr
    assert f"{SIDE**2} of {SIDE**2} tiles are labelled, {SIDE**2 - num_done} of them now" in done.stdout
    names = {path.rpartition("/")[2]: hashlib.sha256(data).hexdigest() for path, data in stored(store).items()}
    assert names == answers
    assert store.exists(f"{OUT}/survey.vpc")
    assert store.exists(f"{OUT}/report.html")


def test_the_manifest_lies_where_it_is_asked_for(store, tmp_path, pointserve):
    source = write_land(tmp_path / "in")
    options = ("-o", "s3://tiles", "--manifest", tmp_path / "manifest", *OPTIONS)
    done = pointserve("batch", source / "t_0_0.laz", *options)
    assert done.returncode == 0, done.stderr
    assert store.exists("tiles/t_0_0.laz")
    assert [row.output for row in rows(tmp_path / "manifest").values()] == ["s3://tiles/t_0_0.laz"]
    assert "0 of them now" not in done.stdout
    assert pointserve("batch", source / "t_0_0.laz", *options).stdout.startswith("1 of 1 tiles are labelled.")


def test_a_store_that_is_not_there_ends_the_command_with_its_reason(store, tmp_path, pointserve):
    done = pointserve(
        "batch", write_land(tmp_path / "in"), "-o", "s3://nothing/out", "--manifest", tmp_path / "manifest", *OPTIONS
    )
    assert done.returncode == 1
    assert "s3://nothing/out/report.html cannot be written" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-o", "https://host/out"), "not to a web server"),
        (("-o", "ftp://host/out"), "ftp://host/out"),
        (("-o", "s3://"), "bucket"),
        (("-o", "out", "--manifest", "folder"), "--manifest"),
    ],
)
def test_targets_that_cannot_be_written_are_wrong_usage(tmp_path, pointserve, options, words):
    done = pointserve("batch", tmp_path, *options)
    assert done.returncode == 2
    assert words in done.stderr
