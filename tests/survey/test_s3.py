import pytest

from app.errors import BadCloud
from app.survey.files import check_version, open_local
from app.survey.headers import tiles
from app.survey.sources import find
from tests.survey.survey_files import las
from tests.survey.survey_store import Failing, check_found_and_read, use

pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")
DATA = las(num_points=20_000)


def test_files_of_a_store_are_found_and_read(store, monkeypatch):
    check_found_and_read(store, "s3", monkeypatch)


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
