"""Surveys whose answers go to an object store."""

import hashlib

import pytest

from app.errors import NoRoom, NotReady, Problem
from app.options import Options
from app.survey import remote, target
from app.survey.row import State
from app.survey.sources import find
from tests.survey.survey_runs import TILES, digests, land, rows, run, write_land
from tests.survey.survey_store import proxy, use

pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")
MIB = 1 << 20
OUT = "s3://tiles/land/labelled"
MEDIA_TYPES = {
    "t_0_0.laz": "application/vnd.laszip",
    "report.html": "text/html; charset=utf-8",
    "survey.vpc": "application/geo+json",
}


@pytest.fixture(scope="module")
def answers(service, tmp_path_factory):
    """Digests of the answers on this machine."""
    folder = tmp_path_factory.mktemp("here")
    run(service, [write_land(folder / "in")], folder / "out")
    return digests(folder / "out")


@pytest.fixture
def tiles(store):
    for name, data in land().items():
        store.pipe_file(f"tiles/land/{name}", data)
    return store


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(remote, "BLOCK_BYTES", 5 * MIB)


def stored(store, out=OUT):
    """SHA-256 of every answer by its name."""
    found = (path for path in store.find(out) if path.endswith(".laz"))
    return {path.rpartition("/")[2]: hashlib.sha256(store.cat_file(path)).hexdigest() for path in found}


def unfinished(store):
    return store.list_multipart_uploads("tiles")


def test_a_survey_from_a_store_to_a_store(service, tiles, answers, tmp_path):
    done = run(service, ["s3://tiles/land"], OUT, manifest=tmp_path)
    assert (done.num_done, done.num_failed, done.stopped) == (4, 0, "")
    assert stored(tiles) == answers
    found = rows(tmp_path)
    assert {row.output for row in found.values()} == {f"{OUT}/{name}" for name in TILES}
    assert all(row.output_bytes == tiles.size(row.output) for row in found.values())
    for name, media_type in MEDIA_TYPES.items():
        assert tiles.info(f"{OUT}/{name}")["ContentType"] == media_type
    report = tiles.cat_file(f"{OUT}/report.html").decode()
    assert "<h1>labelled</h1>" in report
    assert "t_0_0" in report
    assert [source.path for source in find([f"{OUT}/survey.vpc"])] == [f"{OUT}/{name}" for name in TILES]
    assert b'"./t_0_0.laz"' in tiles.cat_file(f"{OUT}/survey.vpc")
    assert all(path.name.startswith("survey.") for path in tmp_path.iterdir())

    assert run(service, ["s3://tiles/land"], OUT, manifest=tmp_path).num_wanted == 0
    tiles.rm_file(f"{OUT}/t_0_0.laz")
    there = tiles.cat_file(f"{OUT}/t_1_1.laz")
    tiles.pipe_file(f"{OUT}/t_1_1.laz", there[:-1] + bytes([there[-1] ^ 1]))  # of the same size
    assert run(service, ["s3://tiles/land"], OUT, manifest=tmp_path).num_done == 2
    assert stored(tiles) == answers


def test_interrupted_it_goes_on_from_the_same_manifest(service, tiles, answers, tmp_path):
    def end(runner, progress):
        return progress.num_done and runner.stop()

    first = run(service, ["s3://tiles/land"], OUT, end, manifest=tmp_path)
    assert 0 < first.num_done < 4
    assert stored(tiles).items() <= answers.items()
    second = run(service, ["s3://tiles/land"], OUT, manifest=tmp_path)
    assert first.num_done + second.num_done == 4
    assert stored(tiles) == answers
    assert not unfinished(tiles)


def test_an_object_appears_whole_or_not_at_all(store, small_parts):
    path = "s3://tiles/a.bin"
    data = bytes(range(256)) * (13 * MIB // 256)
    written = target.write(path, [data[: 6 * MIB], data[6 * MIB :]])
    assert store.cat_file(path) == data
    assert written.num_bytes == len(data)
    assert written.sha256 == hashlib.sha256(data).hexdigest()
    assert written.version == remote.stat(path).version

    def cut_short():
        yield data
        assert store.info(path)["size"] == len(data)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        target.write(path, cut_short())
    with pytest.raises(Problem, match="refused"):
        target.write(path, [data, b"and more"], check=refuse)
    with pytest.raises(Problem, match="refused"):
        target.write("s3://tiles/small.bin", [b"small"], check=refuse)
    assert remote.stat(path).version == written.version
    assert store.find("tiles") == ["tiles/a.bin"]
    assert not unfinished(store)
    target.write(path, [b"small"])
    assert store.cat_file(path) == b"small"


def refuse():
    raise Problem("refused")


@pytest.mark.parametrize("fault", [503, 500, "silence"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_part_that_fails_leaves_no_half_object(store, endpoint, monkeypatch, small_parts, fault, number):
    data = bytes(12 * MIB)
    monkeypatch.setattr(s3fs.S3FileSystem, "read_timeout", 1.0)
    with proxy(endpoint, lambda method, path: f"partNumber={number}" in path and fault) as server:
        use(server.url, monkeypatch)
        with pytest.raises(NotReady, match=r"s3://tiles/a\.bin cannot be written"):
            target.write("s3://tiles/a.bin", [data[: 6 * MIB], data[6 * MIB :]])
        assert any("partNumber=" in path for _, path in server.asked)
        assert any(method == "DELETE" and "uploadId=" in path for method, path in server.asked)
        assert not store.exists("tiles/a.bin")
        server.fault = lambda method, path: None
        monkeypatch.setattr(s3fs.S3FileSystem, "read_timeout", 60.0)
        use(server.url, monkeypatch)
        assert target.write("s3://tiles/a.bin", [data]).num_bytes == len(data)
    assert store.size("tiles/a.bin") == len(data)
    assert not unfinished(store)


@pytest.mark.parametrize("fault", [503, "silence"])
def test_a_store_that_fails_now_and_then_has_every_answer_in_the_end(
    service, tiles, answers, endpoint, monkeypatch, tmp_path, fault
):
    monkeypatch.setattr("app.survey.retries.RETRY_S", 0.1)
    monkeypatch.setattr(s3fs.S3FileSystem, "read_timeout", 1.0)
    failed = []

    def once(method, path):
        if method == "PUT" and path.endswith(".laz") and path not in failed:
            failed.append(path)
            return fault
        return None

    with proxy(endpoint, once) as server:
        use(server.url, monkeypatch)
        done = run(service, ["s3://tiles/land"], OUT, manifest=tmp_path)
    assert (done.num_done, done.num_failed) == (4, 0)
    assert len(failed) == 4
    assert stored(tiles) == answers


def test_a_bucket_that_is_not_there_ends_the_survey_before_anything_is_labelled(service, store, tmp_path):
    with pytest.raises(NoRoom, match=r"s3://nothing/out/report\.html cannot be written"):
        run(service, [write_land(tmp_path / "in")], "s3://nothing/out", manifest=tmp_path)
    assert {row.state for row in rows(tmp_path).values()} == {State.PENDING}


def test_a_bucket_that_may_not_be_written_ends_the_run(service, store, endpoint, monkeypatch, tmp_path):
    source = write_land(tmp_path / "in")
    with proxy(endpoint, lambda method, path: 403 if method == "PUT" and path.endswith(".laz") else None) as server:
        use(server.url, monkeypatch)
        done = run(service, [source], OUT, manifest=tmp_path)
    assert done.num_done == 0
    assert "cannot be written" in done.stopped


def test_answers_of_other_options_are_not_kept(service, tiles, tmp_path):
    assert run(service, ["s3://tiles/land/t_0_0.laz"], OUT, manifest=tmp_path, buffer_m=0.0).num_done == 1
    fields = Options(fields=("confidence",))
    done = run(service, ["s3://tiles/land/t_0_0.laz"], OUT, manifest=tmp_path, buffer_m=0.0, options=fields)
    assert done.num_done == 1
