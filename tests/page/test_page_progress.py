"""What one sees between the drop and the last point, over a slow line."""

from pathlib import Path

import pytest

from app.sample.tile import las_bytes, make_tile
from tests.page.driver import Driver

WATCH = """() => {
  window.told = [];
  window.arrived = [];
  const text = document.getElementById("progress-text");
  const status = document.getElementById("status");
  new MutationObserver(() => window.told.push(text.textContent)).observe(text, { childList: true });
  new MutationObserver(() => window.arrived.push(Number(status.dataset.points))).observe(status, { attributes: true });
}"""


@pytest.fixture(scope="module")
def wide_tile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Points for three blocks."""
    path = tmp_path_factory.mktemp("tiles") / "wide.laz"
    path.write_bytes(las_bytes(make_tile("village", size_m=110, density=11)))
    return path


@pytest.fixture
def slow(page: Driver) -> Driver:
    """The page over a line of 400 kB/s up and 1 MB/s down."""
    line = page.tab.context.new_cdp_session(page.tab)
    rates = {"offline": False, "latency": 0, "uploadThroughput": 400e3, "downloadThroughput": 1e6}
    line.send("Network.emulateNetworkConditions", rates)
    page.tab.evaluate(WATCH)
    return page


def test_upload_work_and_points_are_followed_and_points_are_shown_as_they_arrive(slow: Driver, wide_tile: Path):
    slow.tab.select_option("#mode", "exact")  # takes longer than the page waits between two questions
    slow.drop(wide_tile)
    told = slow.tab.evaluate("window.told")
    assert any(text.startswith("Sending · ") and " of " in text for text in told)
    assert any(text.startswith(("Reading the file", "Finding classes", "Writing the answer")) for text in told)
    assert any(text.startswith("Points · ") for text in told)
    arrived = sorted(set(slow.tab.evaluate("window.arrived")) - {0})
    assert len(arrived) >= 2, "all points came at once"
    assert arrived[0] == 65536
    assert arrived[-1] == slow.server.post("/predict", data=wide_tile.read_bytes()).json()["num_points"]


def test_a_prediction_can_be_cancelled(slow: Driver, wide_tile: Path):
    slow.tab.set_input_files("#file", wide_tile)
    slow.tab.wait_for_selector("#progress:not([hidden])")
    slow.tab.click("#cancel")
    slow.tab.wait_for_selector("#progress", state="hidden")
    assert slow.tab.is_hidden("#problem")
    assert slow.tab.is_hidden("#legend-section")
    assert slow.tab.is_visible("#start")
