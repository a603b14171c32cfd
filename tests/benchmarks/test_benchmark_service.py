"""The tables of the service on clouds that it has not seen before."""

import io

import numpy as np
import pytest

from app.clouds import formats
from benchmarks import checkouts, service
from benchmarks.fresh_clouds import LazClouds, NpyClouds
from benchmarks.fresh_sizes import FreshSizes
from tests.http.server import ROOT

CARD = {"name": "some", "feat_keys": ["color", "normal"], "grid_size_m": 0.02}


def test_clouds_are_files_of_sizes_of_their_own():
    sizes = FreshSizes()
    npy, laz = NpyClouds(500, CARD, sizes), LazClouds(500, CARD, sizes, most=3)
    taken = [npy.take(), npy.take(), laz.take(), laz.take(), laz.take()]
    assert laz.take() is None
    assert len({cloud.num_points for cloud in taken}) == 5
    for cloud in taken[:2]:
        assert np.load(io.BytesIO(b"".join(cloud.parts))).shape == (cloud.num_points, 9)
    for cloud in taken[2:]:
        read = formats.read(memoryview(cloud.parts[0]), filename="cloud.laz")
        assert (len(read), read.normals) == (cloud.num_points, None)
        assert read.rgb.any()


@pytest.mark.slow
def test_a_trial_writes_every_table(tmp_path, monkeypatch, capsys):
    arguments = ["--device", "cpu", "--models", "SpUNet", "--formats", "npy", "--points", "300"]
    arguments += ["--clients", "2", "--seconds", "0.1", "--rooms", "40", "--output", str(tmp_path / "made")]
    monkeypatch.setattr("sys.argv", ["service", *arguments])
    monkeypatch.setattr(service, "ROOM_PASSES", 2)
    service.main()
    text, printed = (tmp_path / "made/service-gpu.md").read_text(), capsys.readouterr().out
    assert text in printed
    for row in ("npy | 300 | 1", "npy | 300 | 2"):
        assert f"| SpUNet | {row} | " in text
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| SpUNet | ")]
    assert [row[6] for row in rows[:2]] == ["0", "0"]  # wrong
    assert sum(row[2].startswith("2/") for row in rows) == 2  # passes of mode=exact
    assert "### In short" in printed.removeprefix(text)


@pytest.mark.slow
def test_two_checkouts_are_asked_in_turns(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["checkouts", str(ROOT), "--points", "300", "--count", "2"])
    checkouts.main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row[:2] for row in rows if row[1] == "2"] == [["| this", "2"], [f"| {ROOT}", "2"]]
    assert sum("voxelize" in row for row in rows) == 1
