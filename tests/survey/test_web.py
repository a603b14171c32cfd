import os

import pytest

from app.engine.body import Storage
from app.errors import BadCloud, Forbidden, NotFound, NotReady, Problem
from app.survey import remote
from app.survey.files import check_version, open_local
from app.survey.headers import tile_of, tiles
from app.survey.sources import find
from app.survey.tile import Source
from tests.survey.survey_files import UTM, las

BIG = las(num_points=20_000)


def tile(web, name="a.las"):
    return tile_of(Source(name, web.url + name))


def loaded(tile, **options):
    with open_local(tile, **options) as body:
        data = os.pread(body.fd, body.size + 1, 0)
        assert len(data) == body.size
    return data


def test_a_tile_is_one_small_request(web):
    (web.folder / "a.las").write_bytes(BIG)
    found = tile(web)
    assert (found.error, found.num_points, found.num_bytes, found.crs) == ("", 20_000, len(BIG), UTM)
    assert web.asked == [("/a.las", "bytes=0-65535")]


def test_the_whole_file_by_pieces(web, monkeypatch):
    (web.folder / "a.las").write_bytes(BIG)
    monkeypatch.setattr(remote, "BLOCK_BYTES", 100_000)
    found = tile(web)
    assert loaded(found) == BIG
    assert loaded(found, storage=Storage(memory_bytes=1 << 30)) == BIG
    assert len(web.asked) == 1 + 2 * -(-len(BIG) // 100_000)


@pytest.mark.parametrize("fault", [500, 503, 429, "cut"])
def test_what_passes_is_tried_again(web, monkeypatch, fault):
    (web.folder / "a.las").write_bytes(BIG)
    monkeypatch.setattr(remote, "BLOCK_BYTES", 300_000)
    web.plan["/a.las"] = [fault, fault]
    found = tile(web)
    assert found.num_points == 20_000
    web.plan["/a.las"] = [None, fault, None, fault, fault]
    assert loaded(found) == BIG


def test_what_lasts_is_said(web):
    (web.folder / "a.las").write_bytes(BIG)
    web.plan["/a.las"] = [503] * 9
    assert tile(web).error.startswith(f"{web.url}a.las cannot be read: ClientResponseError: 503")
    assert len(web.asked) == 3
    web.plan["/a.las"] = [403]
    with pytest.raises(Forbidden, match="403"):
        remote.piece(f"{web.url}a.las", 0, 10)
    assert len(web.asked) == 4
    with pytest.raises(NotFound, match="does not exist"):
        remote.piece(f"{web.url}b.las", 0, 10)


def test_a_silent_server_ends_in_time(web, monkeypatch):
    monkeypatch.setattr("app.survey.web.SILENCE_S", 0.2)
    (web.folder / "a.las").write_bytes(BIG)
    web.plan["/a.las"] = ["silence"] * 3
    assert "no answer in time" in tile(web).error


def test_a_server_that_is_not_there(web):
    assert "cannot be read" in tile_of(Source("a.las", "http://127.0.0.1:1/a.las")).error


def test_keys_in_a_query_are_sent_and_not_shown(web):
    (web.folder / "a.las").write_bytes(BIG)
    url = f"{web.url}a.las?X-Signature=secret"
    (source,) = find([url])
    assert source.name == "a.las"
    assert tile_of(source).num_points == 20_000
    assert web.asked[-1][0] == "/a.las?X-Signature=secret"
    web.plan["/a.las"] = [403]
    assert "403" in tile_of(source).error
    (web.folder / "get").write_bytes(BIG)
    (source,) = find([f"{web.url}get?file=[1]*"])
    assert tile_of(source).format == "las"
    assert "secret" not in tile_of(Source("b.las", url.replace("a.las", "b.las"))).error


def test_a_server_without_ranges(web, monkeypatch):
    web.knows_ranges = False
    (web.folder / "a.las").write_bytes(BIG)
    monkeypatch.setattr(remote, "BLOCK_BYTES", 200_000)
    found = tile(web)
    assert (found.num_points, found.num_bytes) == (20_000, len(BIG))
    assert loaded(found) == BIG
    monkeypatch.setattr("app.survey.web.MAX_SKIPPED", 300_000)
    with pytest.raises(NotReady, match="knows no ranges"):
        loaded(found)


def test_a_file_that_changed_is_refused(web):
    (web.folder / "a.las").write_bytes(BIG)
    found = tile(web)
    check_version(found)
    (web.folder / "a.las").write_bytes(BIG[:-1] + b"\1")
    for use in (check_version, loaded):
        with pytest.raises(BadCloud, match="changed while"):
            use(found)


def test_an_empty_file(web):
    (web.folder / "a.las").write_bytes(b"")
    assert "empty" in tile(web).error


def test_folders_lists_and_globs_of_a_server(web):
    for name in ("a.laz", "north/b.laz", "north/deep/c d.laz", "north/.hidden.laz", "notes.txt"):
        (web.folder / name).parent.mkdir(exist_ok=True, parents=True)
        (web.folder / name).write_bytes(las())
    (web.folder / "north" / "tiles.txt").write_text("b.laz\n../a.laz\nfile:///etc/passwd\n")

    def names(text):
        return [source.name for source in find([text])]

    assert names(web.url) == ["a.laz", "north/b.laz", "north/deep/c d.laz"]
    assert names(f"{web.url}north/") == ["b.laz", "deep/c d.laz"]
    assert names(f"{web.url}*/*.laz") == ["north/b.laz"]
    assert names(f"{web.url}**/*.laz")[-2:] == ["north/b.laz", "north/deep/c d.laz"]
    found = list(tiles(find([f"@{web.url}north/tiles.txt"])))
    assert [each.name for each in found[:2]] == ["b.laz", "a.laz"]
    assert [each.num_points for each in found] == [50, 50, None]
    assert "cannot name files of this machine" in found[2].error
    assert [each.error for each in tiles(find([web.url]))] == [""] * 3


def test_local_files_are_opened_where_they_are(tmp_path):
    path = tmp_path / "a.las"
    path.write_bytes(BIG)
    found = tile_of(Source("a.las", str(path)))
    with open_local(found) as body:
        assert os.path.samestat(os.fstat(body.fd), path.stat())
        assert body.size == len(BIG)
    assert body.fd == -1
    os.utime(path, ns=(1, 1))
    with pytest.raises(BadCloud, match="changed while"):
        loaded(found)
    path.unlink()
    with pytest.raises(Problem, match="does not exist"):
        loaded(found)


def test_no_redirect_is_followed_where_that_is_refused(web, monkeypatch):
    (web.folder / "a.las").write_bytes(BIG)
    (web.folder / "folder").mkdir()
    monkeypatch.setattr(remote, "_WEB_OPTIONS", {})
    found = Source("folder", f"{web.url}folder")  # without a slash, to which the server sends on
    assert "elsewhere" not in tile_of(found).error
    remote.refuse_redirects()
    assert "the server sends elsewhere" in tile_of(found).error
    assert tile(web).num_points == 20_000
