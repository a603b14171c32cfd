import os

import pytest

from app.errors import BadCloud
from app.survey import remote
from app.survey.files import check_version, open_local
from app.survey.headers import tiles
from app.survey.sources import find
from tests.survey.survey_files import UTM, las
from tests.survey.survey_store import Failing, use

pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")
DATA = las(num_points=20_000)


def test_a_survey_of_a_store(store, monkeypatch):
    for name in ("a.las", "north/b.las", "north/.c.las", "notes.txt"):
        store.pipe_file(f"tiles/{name}", DATA)
    store.pipe_file("tiles/north/list.txt", b"b.las\n../a.las\ngone.las\n")

    def names(text):
        return [source.name for source in find([text])]

    assert names("s3://tiles") == names("s3://tiles/") == ["a.las", "north/b.las"]
    assert names("s3://tiles/*/*.las") == ["north/b.las"]
    assert names("s3://tiles/north/b.las") == ["b.las"]
    found = list(tiles(find(["@s3://tiles/north/list.txt"])))
    assert [each.name for each in found] == ["b.las", "a.las", "gone.las"]
    assert [each.num_points for each in found] == [20_000, 20_000, None]
    assert found[0].crs == UTM
    assert found[2].error == "s3://tiles/north/gone.las does not exist."
    (listed,) = tiles(find(["s3://tiles/*.las"]))
    assert listed.version == found[1].version
    monkeypatch.setattr(remote, "BLOCK_BYTES", 100_000)
    with open_local(listed) as body:
        assert os.pread(body.fd, body.size + 1, 0) == DATA


def test_a_file_that_changed_is_refused(store):
    store.pipe_file("tiles/a.las", DATA)
    (found,) = tiles(find(["s3://tiles/a.las"]))
    check_version(found)
    store.pipe_file("tiles/a.las", DATA[:-1] + b"\1")
    with pytest.raises(BadCloud, match="changed while"):
        check_version(found)
    with pytest.raises(BadCloud, match="changed while"), open_local(found):
        pass


def test_a_bucket_that_is_not_there(store):
    (found,) = tiles(find(["s3://nothing/a.las"]))
    assert "does not exist" in found.error


def test_a_store_that_fails_is_a_tile_with_its_reason(monkeypatch):
    with Failing(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as endpoint:
        use(endpoint, monkeypatch)
        (found,) = tiles(find(["s3://tiles/a.las"]))
    assert found.error.startswith("s3://tiles/a.las cannot be read")
    assert (found.num_bytes, found.version) == (0, "")


def test_a_store_that_is_silent_is_a_tile_with_its_reason(monkeypatch):
    monkeypatch.setattr(s3fs.S3FileSystem, "read_timeout", 0.3)
    with Failing(b"") as endpoint:
        use(endpoint, monkeypatch)
        (found,) = tiles(find(["s3://tiles/a.las"]))
    assert found.error.startswith("s3://tiles/a.las")
