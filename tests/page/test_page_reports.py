"""Reports of evaluations and surveys on screens of any width, in both color schemes."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.evaluate.evaluation import evaluation
from app.evaluate.page import page
from app.evaluate.scheme import Scheme
from app.evaluate.tally import Tally
from app.evaluate.tile import Tile
from app.sample.tile import make_tile
from app.survey import report
from app.survey.manifest import Manifest
from tests.survey.survey_samples import result_of, tile_of

STAGES = ("decode", "context", "queue", "features", "voxelize", "plan", "network", "project", "encode", "write")
BEYOND = """() => [...document.querySelectorAll("body *")].filter(each => !each.closest(".scroll") &&
  each.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(each => each.textContent)"""
SMALLEST = """() => Math.min(99, ...[...document.querySelectorAll("svg")].map(each =>
  12 * each.getBoundingClientRect().width / each.viewBox.baseVal.width))"""


def of_evaluation(folder: Path) -> Path:
    """Two tiles of which one has a long name, and every plot."""
    cloud = make_tile("town", 1, 40.0, 4.0)
    truth = cloud.extra["classification"]
    tile = Tile("a" * 60 + ".laz", truth, truth[::-1], cloud.xyz, confidence=cloud.xyz[:, 0] % 1)
    scheme = Scheme()
    tallies = [Tally.of(each, scheme, 1.0) for each in (tile, replace(tile, name="b.laz"))]
    path = folder / "evaluation.html"
    path.write_text(page(evaluation(tallies, scheme, 1.0, failures={"c" * 99: "is damaged " * 20})), encoding="utf-8")
    return path


def of_survey(folder: Path) -> Path:
    tile = tile_of("a" * 60 + ".laz", bounds=(0.0, 0.0, 0.0, 100.0, 100.0, 9.0), crs="EPSG:25832")
    with Manifest.create(folder / "hills") as manifest:
        classes = [{"id": 0, "name": "ground", "color": [150, 100, 50], "asprs": 2}]
        manifest.set(model={"name": "aerial", "classes": classes})
        manifest.plan([tile])
        result = result_of(
            tile,
            agreement=[(2, 0, 3)],
            reference="classification",
            timings_ms=dict.fromkeys(STAGES, 250.0),
            worker="cuda:0",
        )
        manifest.finish(1, result, "basis", 2.0)
        report.write(manifest, str(folder / report.FILE))
    return folder / report.FILE


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("made", [of_evaluation, of_survey])
def test_a_report_fits_the_screen(browser, tmp_path, made, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab = context.new_page()
    tab.goto(made(tmp_path).as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.evaluate(BEYOND) == []
    back, text = (tab.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
    assert {"light": ("rgb(255, 255, 255)", "rgb(22, 32, 43)"), "dark": ("rgb(16, 22, 29)", "rgb(232, 237, 242)")}[
        scheme
    ] == (back, text)
    if made is of_evaluation:
        assert tab.locator("svg").count() == 5
        assert tab.evaluate(SMALLEST) >= 9
    context.close()
