"""The examples of the client's README run in order, as they stand, against a server."""

import re
from pathlib import Path

import laspy
import numpy as np
import pytest

from app.sample.tile import las_bytes, make_tile
from tests.http.server import Server

README = Path(__file__).parents[2] / "libs/pointserve_client/README.md"


@pytest.mark.filterwarnings("ignore::pointserve_client.PredictionWarning")
def test_every_example(server: Server, tmp_path, monkeypatch, capsys):
    (tmp_path / "tile.laz").write_bytes(las_bytes(make_tile("town", size_m=20, density=4)))
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(examples) == 8
    names: dict[str, object] = {"__name__": "readme"}
    for example in examples:
        code = example.replace("http://localhost:5001", server.url).replace('key="…"', 'key="a key"')
        exec(compile(code, str(README), "exec"), names)
    names["patient"].close()
    sent, got = laspy.read("tile.laz"), laspy.read("out.laz")
    np.testing.assert_array_equal(got.xyz, sent.xyz)
    assert len(np.load("labels.npz")["labels"]) == len(sent.xyz)
    printed = capsys.readouterr().out
    assert "422 Unreadable point cloud" in printed
    assert "sent 100%" in printed
    assert "ready" in printed
