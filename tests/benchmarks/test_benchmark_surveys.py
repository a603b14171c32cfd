"""The measurements of surveys, as trials: cut files, pieces of large ones, and the driver."""

import re
import subprocess
import sys

import pytest

from app.sample.tile import las_bytes, make_tile
from tests.http.server import ROOT

pytestmark = pytest.mark.slow


def rows(module, *arguments):
    """Cells of the lines that a measurement prints as a table, without its head."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_survey_cut_compares_with_the_uncut_file(tmp_path):
    path = tmp_path / "tile.laz"
    path.write_bytes(las_bytes(make_tile(size_m=60.0, density=2.0)))
    whole, *cut = rows("survey_cut", path, "--tile-m", 40, "--buffer-m", 0, 100)
    assert whole[2] == "1"
    assert [row[3:5] for row in cut] == [["0", "own"], ["0", "survey"], ["100", "own"], ["100", "survey"]]
    assert {row[2] for row in cut} == {"4"}
    assert float(cut[-1][5]) > 99.9  # all of the file is context


def test_survey_pieces_puts_together_what_it_cut(tmp_path):
    (row,) = rows("survey_pieces", "--points", 50_000, "--piece-points", 20_000, "--folder", tmp_path)
    assert row[0] == "50,000"
    assert int(row[1]) >= 3
    assert not list(tmp_path.iterdir())


def test_billion_labels_one_file_in_pieces_and_knows_what_its_answer_must_be(tmp_path):
    sizes = ("--points", 100_000, "--tile-points", 20_000, "--tiles", 2, "--places", 1, "--memory-mib", 1200)
    (row,) = rows("billion", *sizes, "--folder", tmp_path, "--output", tmp_path)
    points, with_context = (int(cell.replace(",", "")) for cell in row[:2])
    assert 100_000 <= points < with_context < 6 * points
    assert 0.3 < float(row[4]) < 1.2
    notes = (tmp_path / "billion-cpu.md").read_text()
    (share,) = re.findall(r"At 1 places ([\d.]+)% of them", notes)
    assert float(share) > 97
    assert [path.name for path in tmp_path.iterdir()] == ["billion-cpu.md"]


def test_survey_strips_are_less_than_the_rings_that_they_are_cut_from():
    (row,) = rows("survey_strips", "--tile-m", 200, "--buffer-m", 20)
    tile, ring, rings, strips = map(float, row[2:])
    assert 0 < ring < strips < tile < rings


@pytest.mark.parametrize("others", [(), ("--devices", 4, "--tile-s", 0.01)])
def test_survey_driver_ends_every_tile(others):
    found = rows("survey_driver", "--tiles", 200, "--run", 100, *others)
    assert [row[0].split(" of ")[0] for row in found[-2:]] == ["run", "report and virtual point cloud"]
    assert all(float(row[4].replace(",", "")) > 0 for row in found)
