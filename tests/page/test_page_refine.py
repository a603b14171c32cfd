"""Options without controls of their own, refinement above all: from their declaration to the answer."""

import json
from pathlib import Path

import laspy
import numpy as np
import pytest

from tests.page.axe import AXE, violations
from tests.page.driver import WAIT_MS, Driver

SAID_BY_THE_PAGE = {"output", "filename", "seed", "timeout_s"}
NOISE_AND_HEIGHTS = {"smooth": "8", "vegetation_heights": "0.5,2"}


def declared(page: Driver) -> dict[str, dict]:
    parameters = page.server.get("/openapi.json").json()["paths"]["/predict"]["post"]["parameters"]
    return {each["name"]: each for each in parameters}


def refine(page: Driver, **values: str) -> None:
    """Open the section and fill in ``values``."""
    if page.tab.get_attribute("#refine", "open") is None:
        page.tab.click("#refine summary")
    for name, value in values.items():
        page.tab.fill(f"#refine [name={name}]", value)


def again(page: Driver):
    """Classify again; the response."""
    with page.tab.expect_response(lambda response: "/predict" in response.url, timeout=WAIT_MS) as waiting:
        page.tab.click("#again")
    response = waiting.value
    if response.ok:
        page.wait_classes()
    else:
        page.tab.wait_for_selector(".fault")
        page.errors.clear()  # the browser itself logs answers of 4xx
    return response


def told(page: Driver) -> list[str]:
    """What refined the classes, without what each step does."""
    return page.tab.locator("#refined summary").all_inner_texts()


def words(refined: list[dict], num_points: int) -> list[str]:
    out = []
    for each in refined:
        percent = 100 * each["changed"] / num_points
        share = "<0.1 %" if 0 < percent < 0.1 else f"{percent:.1f} %"
        points = f"{each['changed']:,} point{'' if each['changed'] == 1 else 's'}"
        what = f"{points} got another class ({share})" if each["changed"] else "no point got another class"
        out.append(f"{each['step'].replace('_', ' ')}: {what}")
    return out


def test_every_option_has_a_control_that_says_what_it_does_and_is_off(page: Driver, tile: Path):
    options = declared(page)
    form = "(name) => document.getElementById('options').elements.namedItem(name) !== null"
    assert {name for name in options if not page.tab.evaluate(form, name)} == SAID_BY_THE_PAGE
    assert page.tab.is_hidden("#refine-options")
    page.tab.click("#refine summary")
    shown = page.tab.inner_text("#refine-options")
    for name in ("smooth", "sieve_m2", "noise", "ground", "preserve_flags", "within", "classification_to"):
        assert options[name]["description"] in shown
    smooth = page.tab.locator("[name=smooth]")
    assert [smooth.get_attribute(name) for name in ("type", "min", "max", "step")] == ["number", "2", "64", "1"]
    assert "Accepted: 2 or more, 64 or less." in shown
    assert page.tab.locator("[name=ground] option").all_inner_texts() == ["model", "file"]
    flags = page.tab.locator("[name=preserve_flags] input").evaluate_all("(all) => all.map(({ value }) => value)")
    assert flags == options["preserve_flags"]["schema"]["items"]["enum"]
    with page.tab.expect_request(lambda request: "/predict" in request.url) as waiting:
        page.drop(tile)
    assert set(waiting.value.url.partition("?")[2].replace("=", "&").split("&")[::2]) == {
        "model",
        "mode",
        "fields",
        "output",
        "filename",
    }
    assert page.tab.is_hidden("#refined")


def test_an_option_that_the_service_declares_anew_has_a_control(page: Driver, tile: Path):
    spec = page.server.get("/openapi.json").json()
    spec["paths"]["/predict"]["post"]["parameters"].append(
        {
            "name": "sharpness_m2",
            "description": "How sharp it is.",
            "schema": {"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 1}, {"type": "null"}]},
        }
    )
    page.tab.route("**/openapi.json", lambda route: route.fulfill(json=spec))
    page.open()
    page.tab.click("#refine summary")
    assert "How sharp it is. Accepted: more than 0, 1 or less." in page.tab.inner_text("#refine-options")
    assert "sharpness, m²" in page.tab.inner_text("#refine label:has([name=sharpness_m2])")
    page.tab.fill("[name=sharpness_m2]", "0.5")
    with page.tab.expect_request(lambda request: "/predict" in request.url) as waiting:
        page.tab.set_input_files("#file", tile)
    assert "sharpness_m2=0.5" in waiting.value.url
    page.tab.wait_for_selector("#problem:not([hidden])")
    page.errors.clear()  # the browser itself logs answers of 4xx


def test_what_each_step_changed_is_told_beside_the_classes_and_kept_in_the_address(page: Driver, tile: Path):
    refine(page, **NOISE_AND_HEIGHTS)
    page.tab.check("#refine [name=noise]")
    page.tab.check("input[value=height_above_ground]")
    assert page.tab.inner_text("#refine summary") == "Refine: smooth, noise, vegetation heights"
    with page.tab.expect_response(lambda response: "/predict" in response.url) as waiting:
        page.drop(tile)
    query = "/predict?smooth=8&noise=true&vegetation_heights=0.5,2&fields=height_above_ground"
    answer = page.server.post(query, data=tile.read_bytes()).json()
    assert json.loads(waiting.value.headers["x-pointserve-refined"]) == answer["refined"]
    assert told(page) == words(answer["refined"], answer["num_points"])
    assert [each["step"] for each in answer["refined"]] == ["smooth", "noise", "vegetation"]
    steps = page.server.get("/openapi.json").json()["components"]["schemas"]["StepCount"]["properties"]["step"]
    page.tab.click("#refined summary >> text=noise")
    assert steps["x-enumDescriptions"]["noise"] in page.tab.inner_text("#refined")
    assert set(page.classes()) == {each["name"] for each in answer["classes"]}

    page.tab.select_option("#color-mode", "height_above_ground")
    page.tab.focus("#view")
    page.tab.keyboard.press("p")
    card = page.card()
    height = answer["height_above_ground"][int(card["point"].split(" ")[0].replace(",", ""))]
    assert float(card["height above ground"].removesuffix(" m")) == pytest.approx(height, abs=0.02)

    assert page.address("option.smooth") == "8"
    num_sent = len([url for url in page.requested if "/predict" in url])
    page.tab.reload()
    page.wait_classes()
    assert page.tab.input_value("[name=smooth]") == "8"
    assert page.tab.is_checked("[name=noise]")
    assert told(page) == words(answer["refined"], answer["num_points"])
    assert len([url for url in page.requested if "/predict" in url]) == num_sent  # this browser kept the answer
    page.tab.click("#refine summary")
    page.tab.click("#refine-none")
    assert page.tab.inner_text("#refine summary") == "Refine"
    assert "x-pointserve-refined" not in again(page).headers
    assert page.tab.is_hidden("#refined")


def test_a_sample_is_refined_by_its_link(page: Driver):
    page.open("/#sample=village&option.sieve=20&option.preserve_flags=withheld,overlap")
    page.wait_classes()
    assert [text.split(":")[0] for text in told(page)] == ["sieve", "kept"]
    assert page.tab.input_value("[name=sieve]") == "20"
    assert page.tab.locator("[name=preserve_flags] input:checked").count() == 2


@pytest.mark.parametrize("mode", ["fast", "vote"])
def test_every_field_of_numbers_can_be_asked_for_and_colors_the_points(page: Driver, tile: Path, mode: str):
    words = declared(page)["fields"]["schema"]["items"]["x-enumDescriptions"]
    models = page.server.get("/models").json()["models"]
    model = next(each for each in models if "height_above_ground" in each["fields"])
    only = {"fast": {"energy", "features", "features_rgb", "instances"}, "vote": {"agreement"}}
    others = set.union(*(fields for of_mode, fields in only.items() if of_mode != mode))
    fields = [name for name in model["fields"] if name not in others]
    page.tab.select_option("#model", model["name"])
    page.tab.select_option("#mode", mode)
    for name in fields:
        assert words[name]
        if name != "features":
            page.tab.check(f"#fields input[value={name}]")
            assert page.tab.get_attribute(f"#fields label:has([value={name}])", "title") == words[name]
    page.drop(tile)
    ways = set(page.tab.locator("#color-mode option").evaluate_all("(all) => all.map(({ value }) => value)"))
    answer = page.server.post(f"/predict?mode={mode}&fields={','.join(fields)}", data=tile.read_bytes()).json()
    numbers = {name for name in fields if isinstance(answer.get(name, [[]])[0], float)}
    assert {"confidence", "entropy", "height_above_ground"} | only[mode] - {
        "features",
        "features_rgb",
        "instances",
    } <= numbers
    assert numbers <= ways


def test_what_the_service_refuses_is_told_at_the_control(page: Driver, tile: Path):
    page.drop(tile)
    refine(page, smooth="1", within="1,2,3", preserve="2,x")
    page.tab.click("#refine summary")
    problems = again(page).json()["options"]
    assert set(problems) == {"smooth", "within", "preserve"}
    for name, problem in problems.items():
        control = page.tab.locator(f"#refine [name={name}]")
        assert control.get_attribute("aria-invalid") == "true"
        help, fault = [page.tab.inner_text(f"#{each}") for each in control.get_attribute("aria-describedby").split(" ")]
        assert help.startswith(declared(page)[name]["description"])
        assert fault == problem
        assert control.is_visible()
    assert all(name in page.tab.inner_text("#problem") for name in problems)
    page.tab.fill("[name=smooth]", "4")
    assert page.tab.get_attribute("[name=smooth]", "aria-invalid") is None
    assert page.tab.locator(".fault").count() == 2
    page.tab.fill("[name=within]", "")
    page.tab.fill("[name=preserve]", "")
    assert again(page).ok
    assert page.tab.locator(".fault").count() == 0


def test_a_box_is_drawn_in_the_picture_by_clicks_or_keys(page: Driver, tile: Path):
    page.tab.click("#refine summary")
    assert page.tab.is_disabled("text=Draw a box")
    page.drop(tile)
    places = []
    for spot in ((0.4, 0.45), (0.5, 0.5)):
        page.click_at(*spot)
        places.append(page.place()[:2])
    page.tab.click("text=Draw a box")
    page.click_at(0.4, 0.45)
    page.tab.wait_for_selector("#picked dd >> text=Now the opposite corner.")
    page.tab.focus("#view")
    page.tab.keyboard.press("p")  # the point in the middle
    box = [float(value) for value in page.tab.input_value("[name=within]").split(",")]
    np.testing.assert_allclose(box, [*np.min(places, axis=0), *np.max(places, axis=0)], atol=0.02)
    assert page.tab.locator("#marks path.area").count() == 1
    assert page.tab.is_hidden("#picked")
    area = page.tab.input_value("[name=within]")
    assert again(page).ok
    answer = page.server.post("/predict", params={"within": area}, data=tile.read_bytes()).json()
    assert told(page) == words(answer["refined"], answer["num_points"])
    assert page.tab.locator("#marks path.area").count() == 1
    page.tab.fill("[name=within]", "")
    assert page.tab.locator("#marks path.area").count() == 0
    page.tab.click("text=Draw a box")
    page.tab.keyboard.press("Escape")
    page.click_at(0.5, 0.5)
    assert page.card()["class"]
    assert page.tab.input_value("[name=within]") == ""


def ring(tile: Path, corners: int) -> list[list[float]]:
    """A circle of 20 m around the middle of a tile."""
    middle = laspy.read(tile).xyz[:, :2].mean(axis=0)
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return (middle + 20 * np.stack([np.cos(angles), np.sin(angles)], 1)).tolist()


@pytest.mark.parametrize("corners", [5, 300])
def test_an_area_from_a_file_however_long(page: Driver, tile: Path, tmp_path: Path, corners: int):
    border = ring(tile, corners)
    geometry = {"type": "Polygon", "coordinates": [[*border, border[0]]]}
    shape = {"type": "Feature", "properties": {}, "geometry": geometry}
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps(shape, indent=2))
    page.drop(tile)
    page.tab.click("#refine summary")
    with page.tab.expect_file_chooser() as waiting:
        page.tab.click("text=From a GeoJSON file")
    waiting.value.set_files(path)
    page.tab.wait_for_selector("#marks path.area", state="attached")
    assert json.loads(page.tab.input_value("[name=within]")) == shape
    response = again(page)
    assert ("within=" in response.url) == (corners == 5)
    files = {"file": ("tile.laz", tile.read_bytes())}
    answer = page.server.post("/predict", files=files, data={"within": json.dumps(shape)}).json()
    assert json.loads(response.headers["x-pointserve-refined"]) == answer["refined"]
    assert answer["refined"][0]["changed"] > 0
    with page.tab.expect_download(timeout=WAIT_MS) as download:
        page.tab.click("[data-output=laz]")
    assert download.value.suggested_filename == "tile_classified.laz"
    page.tab.wait_for_function("() => location.hash.includes('option.within=')")
    page.tab.reload()
    page.wait_classes()
    assert json.loads(page.tab.input_value("[name=within]")) == shape


@pytest.mark.skipif(not AXE.exists(), reason="no viewer/node_modules: run npm ci in viewer/")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_refinement(page: Driver, tile: Path, scheme: str):
    page.tab.emulate_media(color_scheme=scheme)
    refine(page, sieve="20", min_confidence="0.6")
    page.drop(tile)
    assert told(page)
    assert violations(page) == []
    refine(page, sieve="0")
    page.tab.check("[name=preserve_flags] input >> nth=0")
    assert not again(page).ok
    assert violations(page) == []
    page.tab.set_viewport_size({"width": 390, "height": 844})
    assert violations(page) == []
    assert page.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.tab.locator("#panel").evaluate("(box) => box.scrollWidth <= box.clientWidth")


def test_by_the_keyboard_alone(page: Driver, tile: Path):
    page.drop(tile)
    page.tab.focus("#refine summary")
    page.tab.keyboard.press("Enter")
    page.tab.keyboard.press("Tab")
    page.tab.keyboard.type("8")
    assert page.tab.inner_text("#refine summary") == "Refine: smooth"
    with page.tab.expect_response(lambda response: "/predict" in response.url, timeout=WAIT_MS) as waiting:
        page.tab.keyboard.press("Enter")
    assert "smooth=8" in waiting.value.url
    page.tab.wait_for_selector("#refined li")
