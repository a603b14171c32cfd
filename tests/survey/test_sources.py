import os
import sys
from subprocess import run

import orjson
import pytest

from app.errors import BadCloud, BadRequest, NotFound
from app.survey.sources import find


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def names(*given, **options):
    return [source.name for source in find([str(each) for each in given], **options)]


def test_a_folder_at_any_depth_in_the_order_of_names(tmp_path):
    root = put(tmp_path / "in", "b.laz", "a.LAS", "north/c.copc.laz", "north/deep/d.ply", "east/e.e57")
    assert names(root) == ["a.LAS", "b.laz", "east/e.e57", "north/c.copc.laz", "north/deep/d.ply"]
    assert {source.path for source in find([str(root)])} == {str(path.resolve()) for path in root.rglob("*.*")}


def test_what_is_no_data_is_left_out_of_folders(tmp_path):
    root = put(tmp_path / "in", "a.laz", ".hidden.laz", ".git/b.laz", "~$c.laz", "d.laz~", "README.txt", "meta.json")
    assert names(root) == ["a.laz"]
    assert names(root / "*.txt") == ["README.txt"]
    assert names(root / "*") == ["a.laz"]
    assert names(root / "README.txt", root) == ["README.txt", "a.laz"]


def test_answers_are_no_sources(tmp_path):
    root = put(tmp_path / "in", "a.laz", "out/a_classified.laz", "out/.partial/b.laz", "old/survey.db", "old/a.laz")
    assert names(root, out=str(root / "out")) == ["a.laz"]
    assert names(root) == ["a.laz", "out/a_classified.laz"]
    assert names(root / "**/*.laz", out=str(root / "out")) == ["a.laz"]
    assert names(root / "old") == ["a.laz"]  # named, so it is meant
    with pytest.raises(BadRequest, match="those in OUT"):
        names(root / "out", out=str(root / "out"))


def test_globs(tmp_path):
    root = put(tmp_path / "in", "a1.laz", "a2.laz", "b.laz", "x/a3.laz", "x/y/a4.laz")
    assert names(root / "a*.laz") == ["a1.laz", "a2.laz"]
    assert names(root / "**" / "a*.laz") == ["a1.laz", "a2.laz", "x/a3.laz", "x/y/a4.laz"]
    assert names(root / "[ab].laz") == ["b.laz"]
    with pytest.raises(BadRequest, match="no cloud"):
        names(root / "c*.laz")
    strange = put(tmp_path / "in", "a[1].laz")
    assert names(strange / "a[1].laz") == ["a[1].laz"]


def test_each_file_once_and_each_name_once(tmp_path):
    put(tmp_path, "one/a.copc.laz", "two/a.copc.laz", "three/a.copc.laz")
    os.symlink(tmp_path / "one", tmp_path / "four")
    os.symlink(tmp_path / "one" / "a.copc.laz", tmp_path / "three" / "again.laz")
    given = [tmp_path / each for each in ("one", "two", "three", "four")]
    found = list(find([*map(str, given), str(given[0] / "a.copc.laz")]))
    assert [source.name for source in found] == ["a.copc.laz", "a-2.copc.laz", "a-3.copc.laz"]
    assert len({source.path for source in found}) == 3


def test_names_that_are_numbered_take_no_other_name(tmp_path):
    put(tmp_path, "one/a.laz", "one/a-2.laz", "two/a.laz", "two/a-2.laz")
    assert names(tmp_path / "one", tmp_path / "two") == ["a-2.laz", "a.laz", "a-2-2.laz", "a-3.laz"]


def test_loops_of_links_end(tmp_path):
    root = put(tmp_path / "in", "a.laz")
    os.symlink(root, root / "again")
    assert names(root) == ["a.laz"]


def test_a_list_is_seen_from_its_folder(tmp_path, monkeypatch):
    root = put(tmp_path / "in", "north/a.laz", "south/b.laz", "south/c.laz")
    put(tmp_path, "other/d.laz")
    lines = ["# comment", "", "north/a.laz", "  south  ", f"{tmp_path}/other/d.laz", "gone.laz", "@more.txt"]
    (root / "tiles.txt").write_text("\ufeff" + "\r\n".join(lines))
    monkeypatch.chdir(tmp_path)
    found = list(find(["@in/tiles.txt"]))
    assert [s.name for s in found] == ["north/a.laz", "south/b.laz", "south/c.laz", "d.laz", "gone.laz", "@more.txt"]
    assert [bool(source.error) for source in found] == [False] * 4 + [True] * 2
    assert "gone.laz does not exist" in found[4].error
    assert "cannot name further lists" in found[5].error
    with pytest.raises(NotFound):
        names(f"@{root}/nothing.txt")


def test_a_virtual_point_cloud_names_its_files(tmp_path):
    root = put(tmp_path / "in", "a.copc.laz", "sub/b c.laz", "overview.laz")
    items = [
        {
            "assets": {
                "overview": {"href": "./overview.laz", "roles": ["overview"]},
                "d": {"href": "./a.copc.laz", "roles": ["data"]},
            }
        },
        {"assets": {"data": {"href": "sub/b c.laz"}}},
        {"assets": {"data": {"href": "https://example.org/c.laz?key=secret"}}},
    ]
    (root / "survey.vpc").write_bytes(orjson.dumps({"type": "FeatureCollection", "features": items}))
    found = list(find([str(root / "survey.vpc")]))
    assert [source.name for source in found] == ["a.copc.laz", "sub/b c.laz", "c.laz"]
    assert found[2].path == "https://example.org/c.laz?key=secret"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"features": [1]}', '{"features": [{"assets": {}}]}', '{"features": 3}']
)
def test_what_is_no_virtual_point_cloud_is_said_so(tmp_path, text):
    (tmp_path / "a.vpc").write_text(text)
    with pytest.raises(BadCloud, match="no virtual point cloud"):
        names(tmp_path / "a.vpc")


def test_names_stay_below_the_folder_they_are_appended_to(tmp_path):
    items = [{"assets": {"data": {"href": href}}} for href in ("../../up.laz", "https://a.org/x/..%2F..%2Fetc%2Fb.laz")]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.vpc").write_bytes(orjson.dumps({"features": items}))
    for source in find([str(tmp_path / "in" / "a.vpc")]):
        assert ".." not in source.name.split("/")
        assert not source.name.startswith("/")


def test_buffer_only_gives_context(tmp_path):
    root = put(tmp_path / "in", "a.laz", "rim/b.laz", "rim/c.laz")
    found = {source.name: source.is_context for source in find([str(root)], buffer_only=["rim/"])}
    assert found == {"a.laz": False, "rim/b.laz": True, "rim/c.laz": True}
    found = {source.name: source.is_context for source in find([str(root)], buffer_only=["b.*", "*/in/a.laz"])}
    assert found == {"a.laz": True, "rim/b.laz": True, "rim/c.laz": False}
    with pytest.raises(BadRequest, match="'nothing' matches no file"):
        names(root, buffer_only=["nothing"])


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadRequest, match=r"gone\.laz does not exist"):
        names(tmp_path / "gone.laz")
    with pytest.raises(BadRequest, match="there is no cloud"):
        names(tmp_path)
    with pytest.raises(BadRequest, match="ftp://"):
        names("ftp://host/a.laz")


def test_a_scene_as_a_folder_is_one_row_with_its_reason(tmp_path):
    root = put(tmp_path / "in", "a.laz", "scene/coord.npy", "scene/color.npy")
    found = list(find([str(root)]))
    assert [source.name for source in found] == ["a.laz", "scene"]
    assert "zip" in found[1].error


def test_a_name_that_is_not_utf8_is_one_row_with_its_reason(tmp_path):
    put(tmp_path, "a.laz")
    os.rename(tmp_path / "a.laz", os.fsencode(tmp_path) + b"/\xe4.laz")
    (found,) = find([str(tmp_path)])
    assert "not UTF-8" in found.error
    (found.name + found.path).encode()


def test_planning_imports_no_torch_and_nothing_of_stores_before_there_is_one():
    code = (
        "import sys; import app.survey.files, app.survey.headers, app.survey.index, app.survey.sources, app.survey.vpc;"
        "assert not {'torch', 'fsspec', 'aiohttp', 's3fs'} & set(sys.modules)"
    )
    run([sys.executable, "-c", code], check=True)
