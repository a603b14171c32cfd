"""Which column of the file feeds which channel."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np

from tests.page.clouds import halves, ply
from tests.page.driver import Driver


def asked(page: Driver) -> str:
    """columns= of the last prediction."""
    query = parse_qs(urlsplit([url for url in page.requested if "/predict" in url][-1]).query)
    return query.get("columns", [""])[0]


def choose(page: Driver, channel: str, column: str) -> None:
    page.tab.select_option(f"[data-channel={channel}]", column)


def offered(page: Driver, channel: str) -> list[str]:
    return page.tab.locator(f"[data-channel={channel}] option").all_inner_texts()


def again(page: Driver) -> None:
    """Classify again and wait for the answer."""
    with page.tab.expect_response(lambda response: "/predict" in response.url):
        page.tab.click("#again")
    page.wait_classes()


def test_another_column_feeds_the_strength_and_a_link_keeps_it(page: Driver, tmp_path: Path):
    path = tmp_path / "floor.ply"
    path.write_bytes(ply(halves()))
    page.drop(path)
    assert page.tab.locator("#color-mode option[value=intensity]").count() == 0
    page.tab.click("#reading summary")
    assert offered(page, "x") == ["by its name: x", *halves().dtype.names]
    assert offered(page, "intensity") == ["by its name: none", *halves().dtype.names, "nothing"]
    choose(page, "intensity", "amplitude")
    choose(page, "red", "_")
    again(page)
    assert asked(page) == "red:_,intensity:amplitude"
    ways = page.tab.locator("#color-mode option").evaluate_all("(all) => all.map((option) => option.value)")
    assert "intensity" in ways
    assert "rgb" not in ways
    page.click_at(0.7, 0.5)
    assert page.card()["intensity"] in ("10", "200")
    assert page.address("point")
    assert page.address("columns") == "red%3A_%2Cintensity%3Aamplitude"
    page.tab.reload()
    page.wait_classes()
    assert page.tab.input_value("[data-channel=intensity]") == "amplitude"
    assert page.tab.input_value("[data-channel=red]") == "_"
    assert page.card()["intensity"] in ("10", "200")


def test_dimensions_of_las_can_be_chosen(page: Driver, tile: Path):
    page.drop(tile)
    page.tab.click("#reading summary")
    assert "return_number" in offered(page, "intensity")
    assert "by its name: classification" in offered(page, "classification")
    assert "not read by this model" in page.tab.inner_text("#channels p >> text=Normal")
    assert "not read by this model" not in page.tab.inner_text("#channels p >> text=Returns")
    choose(page, "classification", "_")
    again(page)
    assert page.tab.is_hidden("#compare-section")


def test_a_file_that_does_not_name_its_places_is_asked_about(page: Driver, tmp_path: Path):
    path = tmp_path / "survey.ply"
    table = halves(("east", "north", "up"))
    path.write_bytes(ply(table))
    page.tab.set_input_files("#file", path)
    page.tab.wait_for_selector("#problem:not([hidden])")
    assert "east, north, up" in page.tab.inner_text("#problem p")
    assert "How to read the file" in page.tab.inner_text("#problem p")
    assert offered(page, "y") == ["by its name", *table.dtype.names]
    for channel, column in (("x", "east"), ("y", "north"), ("z", "up")):
        assert page.tab.is_visible(f"[data-channel={channel}]")
        choose(page, channel, column)
    again(page)
    assert page.tab.is_hidden("#problem")
    page.click_at(0.5, 0.5)
    index = int(page.card()["point"].split(" of ")[0].replace(",", ""))
    assert np.allclose(page.place(), [table.east[index], table.north[index], 0], atol=0.01)
    page.errors.clear()  # the browser itself logs answers of 4xx


def test_columns_without_names_are_numbered(page: Driver, tmp_path: Path):
    path = tmp_path / "table.txt"
    east, north = np.mgrid[0:20:0.5, 0:20:0.5].reshape(2, -1)
    np.savetxt(path, np.stack([np.arange(len(east)), east, north, 0 * east, 0 * east + 7], axis=1), "%.2f")
    page.tab.set_input_files("#file", path)
    page.tab.wait_for_selector("#problem:not([hidden])")
    for channel, column in (("x", "2"), ("y", "3"), ("z", "4"), ("intensity", "5")):
        choose(page, channel, column)
    again(page)
    page.click_at(0.5, 0.5)
    assert page.card()["intensity"] == "7"
    page.errors.clear()  # the browser itself logs answers of 4xx


def test_a_choice_is_not_kept_for_the_next_file(page: Driver, tile: Path, tmp_path: Path):
    page.drop(tile)
    page.tab.click("#reading summary")
    choose(page, "intensity", "gps_time")
    path = tmp_path / "floor.ply"
    path.write_bytes(ply(halves()))
    page.tab.set_input_files("#file", path)
    page.tab.wait_for_function("() => document.getElementById('name').textContent === 'floor.ply'")
    page.wait_classes()
    assert asked(page) == ""
    assert page.tab.is_hidden("#problem")


def test_a_list_of_names_still_reads_a_raw_table(page: Driver, tmp_path: Path):
    path = tmp_path / "sweep.bin"
    points = np.random.default_rng(0).uniform(0, 20, (2000, 4)).astype("<f4")
    path.write_bytes(points.tobytes())
    page.tab.click("#reading summary")
    page.tab.fill("#columns", "z,y,x,_")
    page.drop(path)
    assert asked(page) == "z,y,x,_"
    assert page.tab.is_hidden("#channels")
