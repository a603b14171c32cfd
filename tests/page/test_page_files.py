"""Several files at a time: each is classified in turn, and a broken one holds up no other."""

from pathlib import Path

from app.sample.tile import las_bytes, make_tile
from tests.page.driver import Driver

ALL_ENDED = """(wanted) => {
  const states = [...document.querySelectorAll("#files .file span:last-child")].map((span) => span.textContent);
  return states.join() === wanted;
}"""


def wait_states(page: Driver, *states: str) -> None:
    page.tab.wait_for_function(ALL_ENDED, arg=",".join(states), timeout=120_000)


def test_several_files_with_a_broken_one_among_them(page: Driver, tile: Path, tmp_path: Path):
    broken = tmp_path / "broken.laz"
    broken.write_bytes(b"LASF" + bytes(400))
    village = tmp_path / "village.laz"
    village.write_bytes(las_bytes(make_tile("village", size_m=40, density=8)))
    page.tab.set_input_files("#file", [tile, broken, village])
    wait_states(page, "done", "failed", "done")
    page.wait_drawn()
    page.errors.clear()  # the browser itself logs answers of 4xx
    assert page.tab.inner_text("#name") == "village.laz"
    detail = page.server.post("/predict", data=broken.read_bytes()).json()["detail"]
    assert page.tab.inner_text("#files .warning >> nth=1") == detail
    assert page.tab.is_hidden("#problem")

    num_sent = len([url for url in page.requested if "/predict" in url])
    num_points = page.tab.get_attribute("#status", "data-points")
    page.tab.click("#files .file >> nth=0")
    page.tab.wait_for_function("(old) => document.getElementById('status').dataset.points !== old", arg=num_points)
    assert page.tab.inner_text("#name") == "tile.laz"
    assert page.tab.get_attribute("#files .file >> nth=0", "aria-pressed") == "true"
    assert len([url for url in page.requested if "/predict" in url]) == num_sent  # its answer was kept
    with page.tab.expect_download(timeout=60_000) as waiting:
        page.tab.click("[data-output=laz]")
    assert waiting.value.suggested_filename == "tile_classified.laz"


def test_a_single_file_has_no_list(page: Driver, tile: Path):
    page.drop(tile)
    assert page.tab.is_hidden("#files-section")


def test_columns_chosen_for_one_file_are_not_asked_of_the_next(page: Driver, tile: Path, tmp_path: Path):
    page.drop(tile)
    page.tab.click("#reading summary")
    page.tab.fill("#columns", "intensity:user_data")
    village = tmp_path / "village.laz"
    village.write_bytes(las_bytes(make_tile("village", size_m=40, density=8)))
    with page.tab.expect_request(lambda request: "/predict" in request.url) as waiting:
        page.tab.set_input_files("#file", village)
    assert "columns=" not in waiting.value.url
    assert page.tab.input_value("#columns") == ""


def test_other_units_show_the_whole_cloud_again(page: Driver, tile: Path):
    page.drop(tile)
    begin = page.address("camera")
    page.tab.click("#reading summary")
    page.tab.fill("#units", "km")
    with page.tab.expect_response(lambda response: "/predict" in response.url):
        page.tab.click("#again")
    page.tab.wait_for_function("(old) => !location.hash.includes(old)", arg=begin)
    far, near = (max(abs(float(part)) for part in text.split("_")) for text in (page.address("camera"), begin))
    assert far > 100 * near
