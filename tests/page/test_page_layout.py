"""Where things are on the page, and what its colors say."""

from pathlib import Path

import numpy as np

from tests.http.server import MODEL
from tests.page.driver import Driver


def test_the_cloud_begins_in_the_middle(page: Driver, tile: Path):
    page.drop(tile)
    pixels = page.pixels().astype(int)
    drawn = np.abs(pixels - pixels[2, 2]).sum(2) > 60
    rows, columns = np.flatnonzero(drawn[:-60].any(1)), np.flatnonzero(drawn[:-60].any(0))  # without the status line
    height, width = drawn.shape
    assert abs((rows[0] + rows[-1]) / 2 - height / 2) < 0.06 * height
    assert abs((columns[0] + columns[-1]) / 2 - width / 2) < 0.06 * width
    assert max((rows[-1] - rows[0]) / height, (columns[-1] - columns[0]) / width) > 0.75


def test_colors_of_the_differences_are_explained(page: Driver, tile: Path):
    page.drop(tile)
    assert page.tab.is_hidden("#difference-legend")
    page.tab.select_option("#compare", "differences")
    rows = page.tab.locator("#difference-legend li")
    assert [text.split(":")[0] for text in rows.all_inner_texts()] == [
        "model and file agree",
        "they differ",
        "not compared",
    ]
    page.tab.uncheck("#edges")
    told = {
        tuple(int(value) for value in text.removeprefix("rgb(").removesuffix(")").split(", "))
        for text in rows.locator(".swatch").evaluate_all(
            "(all) => all.map((one) => getComputedStyle(one).backgroundColor)"
        )
    }
    seen, counts = np.unique(page.pixels().reshape(-1, 3), axis=0, return_counts=True)
    common = {tuple(map(int, color)) for color in seen[counts > 300]}
    assert len(told & common) >= 2


def test_download_stands_before_the_classes_and_offers_the_format_that_came(page: Driver, tile: Path):
    page.drop(tile)
    headings = page.tab.locator("#panel h2:visible").all_inner_texts()
    assert headings[0] == "Download"
    assert page.tab.locator("#downloads .strong").all_inner_texts() == ["LAZ"]
    assert page.tab.locator("#download-section").bounding_box()["y"] < 200


def test_the_confusion_table_fits_its_panel_and_class_names_two_lines(page: Driver, tile: Path):
    page.drop(tile)
    assert page.tab.locator(".scroll").evaluate("(box) => box.scrollWidth <= box.clientWidth")
    line_px = page.tab.locator("#legend .name >> nth=0").bounding_box()["height"]
    for name in page.tab.locator("#legend .name").all():
        assert name.bounding_box()["height"] < 2.5 * line_px


def test_fields_that_a_model_lacks_cannot_be_ticked(page: Driver):
    assert page.tab.is_disabled("input[value=instances]")
    assert page.tab.is_enabled("input[value=entropy]")
    page.tab.select_option("#model", MODEL.name)
    assert page.tab.is_disabled("input[value=instances]")


def test_the_card_of_a_point_leaves_the_picture_visible_on_a_phone(browser, server, tile: Path):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    phone = Driver(context.new_page(), server).open()
    phone.drop(tile)
    box = phone.tab.locator("#view").bounding_box()
    phone.tab.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert phone.card()["class"]
    card = phone.tab.locator("#picked").bounding_box()
    assert card["height"] < 0.36 * box["height"]
    assert card["y"] > box["y"] + box["height"] / 2
    context.close()
