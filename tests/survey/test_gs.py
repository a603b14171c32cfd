"""Surveys on a store of Google, against an emulator that speaks its JSON API."""

import hashlib
import logging
import os

import pytest

from app.errors import BadCloud, NotOffered
from app.survey import remote, target
from app.survey.files import check_version
from app.survey.headers import tiles
from app.survey.sources import find
from tests.http.server import free_port
from tests.survey.survey_files import las
from tests.survey.survey_runs import digests, land, rows, run, write_land
from tests.survey.survey_store import bucket_type, check_found_and_read

emulator = pytest.importorskip("gcp_storage_emulator.server")
gcsfs = pytest.importorskip("gcsfs.extended_gcsfs")
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body")  # aiohttp says so of what gcsfs does
DATA = las(num_points=20_000)
OUT = "gs://tiles/labelled"


@pytest.fixture
def store(monkeypatch):
    """The filesystem of a store with a bucket ``tiles``."""
    from fsspec.config import conf

    logging.getLogger("gcp_storage_emulator").setLevel(logging.ERROR)
    port = free_port()
    server = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="tiles")
    server.start()
    try:
        monkeypatch.setitem(conf, "gs", {"token": "anon", "endpoint_url": f"http://127.0.0.1:{port}"})
        monkeypatch.setattr(gcsfs.ExtendedGcsFileSystem, "_get_bucket_type", bucket_type)
        gcsfs.ExtendedGcsFileSystem.clear_instance_cache()
        yield remote.filesystem("gs://")
    finally:
        server.stop()
        server.wipe()


def test_files_of_a_store_are_found_and_read(store, monkeypatch):
    check_found_and_read(store, "gs", monkeypatch)
    assert [source.name for source in find(["gcs://tiles"])] == ["a.las", "north/b.las"]


def test_a_file_that_changed_is_refused(store):
    store.pipe_file("tiles/a.las", DATA)
    (listed,) = tiles(find(["gs://tiles/*.las"]))
    store.pipe_file("tiles/a.las", DATA[:-1] + b"\1")
    with pytest.raises(BadCloud, match="changed while"):
        check_version(listed)
    (found,) = tiles(find(["gs://nothing/a.las"]))
    assert "does not exist" in found.error


def test_an_object_in_several_parts_is_what_was_written(store, monkeypatch):
    monkeypatch.setattr(remote, "BLOCK_BYTES", 1 << 20)
    data = os.urandom((3 << 20) + 7)
    written = target.write(f"{OUT}/a.laz", [data[: 1 << 20], data[1 << 20 :]])
    assert (written.num_bytes, written.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert written.version == remote.stat(f"{OUT}/a.laz").version
    assert store.cat_file(f"{OUT}/a.laz") == data


def test_links_need_credentials_that_can_sign(store):
    store.pipe_file("tiles/a.laz", b"a")
    with pytest.raises(NotOffered, match=r"gs://tiles/, and no links .*POINTSERVE_JOBS_STORE"):
        remote.link("gs://tiles/a.laz", 60)


def test_a_survey_from_a_store_to_a_store(service, store, tmp_path):
    run(service, [write_land(tmp_path / "in")], tmp_path / "here")
    for name, data in land().items():
        store.pipe_file(f"tiles/land/{name}", data)
    done = run(service, ["gs://tiles/land"], OUT, manifest=tmp_path / "manifest")
    assert (done.num_done, done.num_failed, done.stopped) == (4, 0, "")
    stored = {name: hashlib.sha256(store.cat_file(f"{OUT}/{name}")).hexdigest() for name in land()}
    assert stored == digests(tmp_path / "here")
    assert {row.output for row in rows(tmp_path / "manifest").values()} == {f"{OUT}/{name}" for name in land()}
    assert "t_0_0" in store.cat_file(f"{OUT}/report.html").decode()
    assert run(service, ["gs://tiles/land"], OUT, manifest=tmp_path / "manifest").num_wanted == 0
