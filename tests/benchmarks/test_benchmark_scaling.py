"""How the service and surveys scale with devices: shares of time, clouds of many clients, and a trial."""

import subprocess
import sys

import pytest

from benchmarks.busy import Busy, Moment
from benchmarks.fresh_sizes import FreshSizes
from benchmarks.scaling import counts
from tests.http.server import ROOT


def test_counts_are_powers_of_two_and_all():
    assert [counts(number) for number in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_clients_in_several_processes_share_no_size():
    given = [[sizes.around(100) for _ in range(50)] for sizes in (FreshSizes(place, 3) for place in range(3))]
    assert len({size for each in given for size in each}) == 150


def test_shares_are_those_between_two_moments():
    busy = Busy(1)
    for second, percent, core, disk in ((0, 90, 0, 0), (1, 10, 50, 100), (2, 30, 125, 600), (3, 90, 125, 600)):
        busy.moments.append(Moment(second, [percent], [(core, 100 * second)], {"sda": (disk, 2 * disk)}))
    shares = busy.shares(0.5, 2.5)
    assert (shares.gpus, shares.cores, shares.disk, shares.disk_bytes_s) == ([0.2], [0.75], 0.5, 512_000)


def test_the_machine_is_watched():
    busy = Busy(0)
    with busy.watching():
        sum(range(1_000_000))
    assert busy.moments
    assert all(0 <= share <= 1 for share in busy.shares(0, 0).cores)


@pytest.mark.slow
def test_a_trial_writes_a_row_for_each_count_of_devices(tmp_path):
    arguments = ["--devices", "cpu", "--counts", "1", "2", "--models", "bundled", "--formats", "npy", "--points", "300"]
    arguments += ["--clients", "2", "--client-processes", "1", "--seconds", "0.5", "--warm-s", "0.1", "--without-ray"]
    arguments += ["--tiles", "3", "--made", "2", "--tile-points", "4000", "--output", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "scaling.md").read_text()
    assert text in done.stdout
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| bundled")]
    service, surveys = [row for row in rows if row[1] == "npy"], [row for row in rows if row[1] == "local"]
    assert [row[3:5] for row in service] == [["1", "2"], ["2", "4"]]
    assert [row[2:4] for row in surveys] == [["1", "3"], ["2", "3"]]
    assert all(float(row[5]) > 0 for row in service)
    assert all(row[9] == "0" for row in service)  # bad
