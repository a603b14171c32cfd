"""``pointserve predict --url``, against the service and against servers that misbehave."""

import os
import re
import subprocess
import sys

import laspy
import numpy as np
import pytest
from pointserve_client import NotReady

from app.cli.waits import warn_once
from app.sample.tile import las_bytes, make_tile
from tests.client.scripted import Scripted, problem
from tests.http import clouds
from tests.http.server import MODEL, ROOT, Server, free_port

TABLE = clouds.table()


@pytest.mark.parametrize("words", [["predict", "-o", "out.laz", "--url"], ["bench"]])
def test_commands_say_at_once_that_nobody_is_there(words, tmp_path):
    (tmp_path / "tile.laz").write_bytes(b"cloud")
    url = f"http://127.0.0.1:{free_port()}"
    clouds_given = [tmp_path / "tile.laz"] if "predict" in words else []
    arguments = [sys.executable, "-m", "app.cli", words[0], *map(str, clouds_given), *words[1:], url]
    with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True) as running:
        for line in running.stderr:
            if line.startswith("Warning: "):
                break
        assert running.poll() is None
        running.terminate()
    assert line.startswith(f"Warning: {url}: Nothing answers at {url}: Connection refused.")
    assert re.search(r" It is asked again until \d\d:\d\d:\d\d\.$", line)


def test_an_attempt_that_failed_is_told_once(capsys):
    on_wait = warn_once("http://x", 60.0)
    for _ in range(3):
        on_wait(NotReady("Not there."), 0.2)
    assert capsys.readouterr().err.count("Not there.") == 1


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    words = [sys.executable, "-m", "app.cli", "predict", *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=120)


def test_the_command_asks_a_server(server: Server, tmp_path):
    (tmp_path / "tile.laz").write_bytes(clouds.laz())
    (tmp_path / "scan.ply").write_bytes(clouds.ply())
    done = command(tmp_path / "tile.laz", tmp_path / "scan.ply", "-o", tmp_path / "out", "--url", server.url)
    assert done.returncode == 0, done.stderr
    assert f"{len(TABLE):,} points by {MODEL.name}" in done.stdout
    assert sorted(os.listdir(tmp_path / "out")) == ["scan.ply", "tile.laz"]
    assert len(laspy.read(tmp_path / "out" / "tile.laz")) == len(TABLE)


def test_the_command_sends_a_pointcept_scene_as_one_cloud(server: Server, tmp_path):
    scene = tmp_path / "scene0"
    scene.mkdir()
    xyz = np.random.default_rng(0).uniform(0, 3, (200, 3)).astype(np.float32)
    np.save(scene / "coord.npy", xyz)
    np.save(scene / "color.npy", np.zeros((200, 3), np.uint8))
    done = command(scene, "-o", tmp_path / "out", "--url", server.url)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "out/scene0.npz")["xyz"], xyz)


def test_the_command_sends_the_key_and_tells_what_the_server_said(tmp_path):
    (tmp_path / "tile.laz").write_bytes(b"cloud")
    with Scripted([problem(401, "This server needs a key.")]) as server:
        done = command(tmp_path / "tile.laz", "-o", tmp_path / "out.laz", "--url", server.url, POINTSERVE_KEY="secret")
    assert done.returncode == 1
    assert "needs a key" in done.stderr
    assert "Traceback" not in done.stderr
    assert server.seen[0][1]["Authorization"] == "Bearer secret"


def test_options_for_computing_here_do_not_go_with_a_server(tmp_path):
    (tmp_path / "tile.laz").write_bytes(b"cloud")
    done = command(tmp_path / "tile.laz", "-o", tmp_path / "out.laz", "--url", "http://x", "--device", "cpu")
    assert done.returncode == 2
    words = " ".join(re.findall(r"[\w.:-]+", done.stderr))
    assert "computes as it is set: leave --device out." in words


def test_the_command_goes_on_after_a_bad_file_and_scores_what_a_server_answers(tmp_path):
    folder = tmp_path / "tiles"
    folder.mkdir()
    tile = las_bytes(make_tile("town", size_m=30, density=4))
    (folder / "a.laz").write_bytes(tile)
    (folder / "b.laz").write_bytes(tile[:3000])
    (folder / "c.laz").write_bytes(tile)
    with Server(tmp_path / "log", models="") as server:
        server.wait_ready()
        done = command(folder, "-o", tmp_path / "out", "--url", server.url, "--score")
        alone = command(folder / "a.laz", "--url", server.url, "--score")
    assert done.returncode == 1
    assert "2 of 3 clouds were classified." in done.stdout
    assert f"failed: {folder / 'b.laz'}: " in done.stdout
    assert sorted(os.listdir(tmp_path / "out")) == ["a.laz", "c.laz"]
    assert "2 files, all points pooled" in done.stdout
    assert alone.returncode == 0, alone.stderr
    truth, found = (np.asarray(laspy.read(path).classification) for path in (folder / "a.laz", tmp_path / "out/a.laz"))
    counted = ~np.isin(truth, (0, 1, 7, 9, 12, 18))
    ground = truth[counted] == 2, found[counted] == 2
    iou = (ground[0] & ground[1]).sum() / (ground[0] | ground[1]).sum()
    for printed in (done.stdout, alone.stdout):
        assert re.search(rf"ground +2 +{ground[0].sum():,} +{iou:.3f} ", printed), printed
