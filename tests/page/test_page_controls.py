"""Navigation, colors, comparison, measuring, keys, phone."""

import math
from pathlib import Path

from tests.http import clouds
from tests.http.server import MODEL
from tests.page.driver import Driver

CHANNELS = {"class", "confidence", "height", "intensity", "entropy", "features"}


def test_every_way_of_coloring_gives_another_picture(page: Driver, tile: Path):
    for field in ("entropy", "probabilities"):
        page.tab.check(f"input[value={field}]")
    page.drop(tile)
    ways = page.tab.locator("#color-mode option").evaluate_all("(all) => all.map((option) => option.value)")
    assert set(ways) == CHANNELS
    pictures = set()
    for way in ways:
        page.tab.select_option("#color-mode", way)
        pictures.add(page.picture())
    assert len(pictures) == len(ways)
    page.tab.wait_for_function("(way) => location.hash.includes(`color=${way}`)", arg=ways[-1])


def test_comparisons_give_other_pictures_and_list_both_sides(page: Driver, tile: Path):
    page.drop(tile)
    pictures = {page.picture()}
    for way in ("file", "split", "differences"):
        page.tab.select_option("#compare", way)
        pictures.add(page.picture())
    assert len(pictures) == 4
    assert "water (9)" in page.classes()
    page.tab.select_option("#compare", "split")
    page.tab.focus("#divider")
    before = page.picture()
    page.tab.keyboard.press("PageUp")
    assert page.picture() != before
    assert float(page.address("divider")) > 0.5
    page.tab.select_option("#compare", "flicker")
    page.tab.wait_for_selector("#sides[data-turn=file]")
    page.tab.wait_for_selector("#sides[data-turn=model]")


def test_orbit_and_walk_by_mouse_and_keys(page: Driver, tile: Path):
    page.drop(tile)
    begin = page.address("camera")
    seen = {page.picture()}
    box = page.tab.locator("#view").bounding_box()
    page.tab.mouse.move(box["x"] + 300, box["y"] + 300)
    page.tab.mouse.down()
    page.tab.mouse.move(box["x"] + 420, box["y"] + 330, steps=4)
    page.tab.mouse.up()
    seen.add(page.picture())
    page.tab.focus("#view")
    for key in ("ArrowLeft", "ArrowUp", "+"):
        page.tab.keyboard.press(key)
        seen.add(page.picture())
    assert len(seen) == 5
    page.tab.keyboard.press("Home")
    page.tab.wait_for_function("(camera) => location.hash.includes(camera)", arg=begin)
    page.tab.click("[data-navigation=walk]")
    page.tab.focus("#view")
    before = page.picture()
    page.tab.keyboard.down("w")
    page.tab.wait_for_timeout(500)
    page.tab.keyboard.up("w")
    ahead = page.picture()
    assert ahead != before
    assert page.address("walk") == "true"
    page.tab.reload()
    page.wait_classes()
    assert page.tab.get_attribute("[data-navigation=walk]", "aria-pressed") == "true"
    assert page.address("camera")


def test_measured_distance_is_that_of_the_points(page: Driver, tile: Path):
    page.drop(tile)
    places = measured(page)
    card = page.card()
    assert abs(metres(card["distance"]) - math.dist(*places)) < 0.02
    assert abs(metres(card["level"]) - math.dist(places[0][:2], places[1][:2])) < 0.02
    assert page.tab.text_content("#marks text").endswith(" m")
    assert page.tab.locator("#marks line").count() == 1
    page.tab.keyboard.press("Escape")
    assert page.tab.locator("#marks line").count() == 0


def test_distances_are_metres_also_in_a_file_in_feet(page: Driver, tile: Path):
    page.tab.click("#reading summary")
    page.tab.fill("#units", "ft,ft,us-ft")
    page.drop(tile)
    places = measured(page)
    level_m = 0.3048 * math.dist(places[0][:2], places[1][:2])
    assert abs(metres(page.card()["level"]) - level_m) < 0.02
    assert "unit" not in page.card()
    assert page.address("units") == "ft%2Cft%2Cus-ft"


def measured(page: Driver) -> list[list[float]]:
    """Measure between two points; their coordinates in the file."""
    places = []
    for spot in ((0.4, 0.5), (0.6, 0.6)):
        page.click_at(*spot)
        places.append(page.place())
    page.tab.click("#measure")
    for spot in ((0.4, 0.5), (0.6, 0.6)):
        page.click_at(*spot)
    page.tab.wait_for_selector("#picked dt >> text=distance")
    return places


def metres(text: str) -> float:
    value, unit = text.split(" ")
    assert unit == "m"
    return float(value)


def test_keys(page: Driver, tile: Path):
    page.drop(tile)
    page.tab.keyboard.press("1")
    assert list(page.classes().values()) == [False, *[True] * 5]
    page.tab.keyboard.press("0")
    assert all(page.classes().values())
    page.tab.keyboard.press("c")
    assert page.tab.input_value("#color-mode") == "confidence"
    page.tab.keyboard.press("v")
    assert page.tab.input_value("#compare") == "file"
    page.tab.keyboard.press("p")
    assert page.card()["class"]
    page.tab.keyboard.press("?")
    assert page.tab.is_visible("#keys")
    page.tab.keyboard.press("Escape")
    assert not page.tab.is_visible("#keys")


def test_only_one_class_and_all_again(page: Driver, tile: Path):
    page.drop(tile)
    page.tab.click("#legend button.only >> nth=3")
    assert list(page.classes().values()) == [False, False, False, True, False, False]
    page.click_at(0.5, 0.5)
    page.tab.click("#show-all")
    assert all(page.classes().values())


def test_another_run_with_other_options(page: Driver, tile: Path):
    page.drop(tile)
    assert "entropy" not in page.tab.inner_text("#color-mode")
    page.tab.check("input[value=entropy]")
    page.tab.click("#again")
    page.tab.wait_for_selector("#color-mode option[value=entropy]", state="attached")
    page.wait_classes()
    assert "fields=confidence.entropy" in page.tab.url or page.address("fields") == "confidence.entropy"


def test_another_model_and_mode(page: Driver, tmp_path: Path):
    path = tmp_path / "room.ply"
    path.write_bytes(clouds.ply())
    page.tab.select_option("#model", MODEL.name)
    assert "20 classes" in page.tab.inner_text("#card")
    page.drop(path)
    assert {"wall", "floor", "chair"} <= set(page.classes())
    assert page.tab.is_hidden("#passes-label")
    page.tab.select_option("#mode", "exact")
    page.tab.fill("#max-passes", "2")
    with page.tab.expect_response(lambda response: "/predict" in response.url) as waiting:
        page.tab.click("#again")
    assert waiting.value.headers["x-pointserve-passes"].startswith("2/")
    page.wait_classes()
    assert any("passes" in text for text in page.tab.locator("#warnings li").all_inner_texts())
    assert page.address("passes") == "2"
    assert page.address("mode") == "exact"
    page.tab.click("#reading summary")
    assert "not read by this model" not in page.tab.inner_text("#channels p >> text=Color")
    assert "not read by this model" in page.tab.inner_text("#channels p >> text=Strength")


def test_by_the_keyboard_alone(page: Driver, tile: Path):
    page.tab.on("filechooser", lambda chooser: None)  # choosers are caught from here on
    page.tab.reload()
    page.tab.wait_for_selector("[data-sample=town]", state="attached")
    with page.tab.expect_file_chooser() as waiting:
        page.tab.keyboard.press("o")
    waiting.value.set_files(tile)
    page.wait_classes()
    for _ in range(40):
        page.tab.keyboard.press("Tab")
        if page.tab.evaluate("document.activeElement.matches('#legend button.class')"):
            break
    page.tab.keyboard.press("Space")
    assert list(page.classes().values()) == [False, *[True] * 5]
    page.tab.keyboard.press("Tab")
    page.tab.keyboard.press("Enter")
    assert list(page.classes().values()) == [True, *[False] * 5]
    page.tab.keyboard.press("0")
    page.tab.keyboard.press("m")
    page.tab.keyboard.press("p")
    page.tab.focus("#view")
    page.tab.keyboard.press("ArrowLeft")
    page.wait_drawn()
    page.tab.keyboard.press("p")
    page.tab.wait_for_selector("#picked dt >> text=distance")


def test_sample_by_its_link(page: Driver):
    page.open("/#sample=village&color=height&hide=0")
    page.wait_classes()
    assert page.tab.inner_text("#name") == "village.laz"
    assert page.tab.input_value("#color-mode") == "height"
    assert not page.classes()["ground"]


def test_on_a_phone(browser, server, tile: Path):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    phone = Driver(context.new_page(), server).open()
    phone.drop(tile)
    assert phone.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = phone.tab.locator("#view").bounding_box()
    phone.tab.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert phone.card()["class"]
    phone.tab.locator("#link").scroll_into_view_if_needed()
    assert phone.tab.is_visible("#link")
    context.close()
    assert not phone.errors
