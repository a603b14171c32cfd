"""The quick start does what it says: its commands run in order, against real servers."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import laspy
import numpy as np
from plyfile import PlyData, PlyElement

from tests.http.clouds import FIELDS, LABELS, table
from tests.http.server import MODEL, ROOT, Server

GUIDE = ROOT / "docs/quickstart.md"
STRICT = 'curl() { command curl --silent --show-error --fail-with-body "$@"; }\nset -e\n'


def room() -> PlyData:
    """The golden room, with one column that the model does not read."""
    columns = dict(zip(FIELDS, table().T, strict=True)) | {"amplitude": np.ones(len(LABELS))}
    vertices = np.rec.fromarrays(columns.values(), names=list(columns))
    return PlyData([PlyElement.describe(np.asarray(vertices), "vertex")])


def test_every_command_of_the_quick_start(tmp_path: Path):
    shutil.copytree(MODEL, tmp_path / "exp/scannet/my-experiment")
    room().write(tmp_path / "room.ply")
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 8
    first = Server(tmp_path / "first.log", models="")
    second = Server(tmp_path / "second.log", models=tmp_path / "exp")
    told = {}
    with first, second:
        first.wait_ready()
        second.wait_ready()
        for block in blocks:
            script = block.replace(".venv/bin/pointserve", f"{sys.executable} -m app.cli")
            script = script.replace("http://localhost:5001", first.url).replace("http://localhost:8080", second.url)
            command = ["bash", "-c", STRICT + script]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
            told[block] = done.stdout + done.stderr
            check(block, tmp_path)
    assert any("can be served" in text for text in told.values())
    assert any("IoU" in text for text in told.values())


def check(block: str, folder: Path) -> None:
    """What a block leaves behind is what the text promises."""
    if "classified.laz" in block:
        sent, got = laspy.read(folder / "tile.laz"), laspy.read(folder / "classified.laz")
        np.testing.assert_array_equal(got.xyz, sent.xyz)
        assert set(np.asarray(got.classification)) <= {2, 3, 5, 6, 7, 14}
    if "classified.csv" in block:
        with (folder / "classified.csv").open() as file:
            assert next(csv.reader(file)) == ["x", "y", "z", "label", "class", "confidence"]
    if "classified.ply" in block:
        np.testing.assert_array_equal(PlyData.read(folder / "classified.ply")["vertex"]["label"], LABELS)
