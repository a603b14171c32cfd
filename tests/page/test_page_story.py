"""Drop a LAZ, wait for the classes, hide one, pick a point, download, reload the link."""

import json
from pathlib import Path

import laspy
import numpy as np
import pytest

from app.clouds.cloud import ClassInfo
from app.clouds.comparison import Comparison
from tests.page.driver import Driver


def test_drop_hide_pick_download_reload(page: Driver, tile: Path):
    page.drop(tile)
    names = ["ground", "low vegetation", "medium and high vegetation", "building", "wire", "noise"]
    assert page.classes() == dict.fromkeys(names, True)
    whole = page.picture()
    page.tab.click("#legend button.class >> text=building")
    assert not page.classes()["building"]
    hidden = page.picture()
    assert hidden != whole

    page.click_at(0.5, 0.5)
    card = page.card()
    assert card["class"] != "building"
    assert card["class"] in page.classes()
    assert 0 <= float(card["confidence"]) <= 1
    index = int(card["point"].split(" of ")[0].replace(",", ""))
    sent = laspy.read(tile)
    np.testing.assert_allclose(page.place(), sent.xyz[index], atol=0.006)
    assert str(sent.classification[index]) in card["in the file"]

    with page.tab.expect_download(timeout=60_000) as waiting:
        page.tab.click("[data-output=laz]")
    assert waiting.value.suggested_filename == "tile_classified.laz"
    got = laspy.read(waiting.value.path())
    np.testing.assert_array_equal(got.xyz, sent.xyz)
    assert set(np.asarray(got.classification)) <= {2, 3, 5, 6, 7, 14}

    assert page.address("point") == str(index)
    num_sent = len([url for url in page.requested if "/predict" in url])
    page.tab.reload()
    page.wait_classes()
    assert not page.classes()["building"]
    assert page.card() == card
    assert page.picture() != whole
    assert len([url for url in page.requested if "/predict" in url]) == num_sent  # this browser kept the answer


@pytest.mark.parametrize("output", ["las", "ply", "csv", "npz", "view"])
def test_other_downloads(page: Driver, tile: Path, output: str):
    page.drop(tile)
    with page.tab.expect_download(timeout=60_000) as waiting:
        page.tab.click(f"[data-output={output}]")
    data = Path(waiting.value.path()).read_bytes()
    marks = {"las": b"LASF", "ply": b"ply\n", "csv": b"x,y,z,", "npz": b"PK", "view": b"PSVIEW"}
    assert data.startswith(marks[output])


def test_an_answer_that_was_kept_is_shown_without_the_server(page: Driver, tile: Path, tmp_path: Path):
    answer = page.server.post("/predict?output=view&fields=confidence", data=tile.read_bytes())
    path = tmp_path / "tile.view"
    path.write_bytes(answer.content)
    page.drop(path)
    assert "/predict" not in "".join(page.requested)
    assert page.tab.is_disabled("[data-output=laz]")


def test_a_link_asks_for_its_file_where_it_is_not_kept(page: Driver, tile: Path, browser):
    page.drop(tile)
    page.tab.click("#legend button.only >> nth=0")
    assert page.address("hide") == "1.2.3.4.5"
    link = page.tab.url
    context = browser.new_context()
    other = Driver(context.new_page(), page.server).open(link.removeprefix(page.server.url))
    other.tab.wait_for_selector("text=Drop tile.laz here")
    other.drop(tile)
    assert list(other.classes().values()) == [True, *[False] * 5]
    assert other.address("camera") == page.address("camera")
    context.close()


def test_agreement_is_that_of_the_score(page: Driver, tile: Path):
    page.drop(tile)
    answer = page.server.post("/predict", data=tile.read_bytes()).json()
    classes = [ClassInfo(c["id"], c["name"], tuple(c["color"]), c["asprs"]) for c in answer["classes"]]
    told = Comparison.of_model(classes).confusion(np.array(laspy.read(tile).classification), np.array(answer["labels"]))
    text = page.tab.inner_text("#mean-iou")
    assert f"Mean IoU {told.mean_iou:.3f}" in text
    scores = page.tab.locator(".confusion tbody td:last-child").all_inner_texts()
    assert scores == ["–" if np.isnan(value) else f"{value:.3f}" for value in told.iou]


def test_a_broken_file_is_told_in_the_words_of_the_server(page: Driver, tmp_path: Path):
    path = tmp_path / "broken.laz"
    path.write_bytes(b"LASF" + bytes(400))
    page.tab.set_input_files("#file", path)
    page.tab.wait_for_selector("#problem:not([hidden])")
    detail = page.server.post("/predict", data=path.read_bytes()).json()["detail"]
    assert page.tab.inner_text("#problem p") == detail
    page.errors.clear()  # the browser itself logs answers of 4xx


def test_warnings_and_timings_are_those_of_the_answer(page: Driver, tmp_path: Path):
    path = tmp_path / "points.csv"
    xyz = np.random.default_rng(0).uniform(0, 30, (2000, 3))
    path.write_text("\n".join(",".join(f"{value:.3f}" for value in row) for row in xyz))
    page.drop(path)
    response = page.server.post("/predict?output=view&filename=points.csv", data=path.read_bytes())
    warnings = json.loads(response.headers["X-Pointserve-Warnings"])
    assert page.tab.locator("#warnings .warning").all_inner_texts() == warnings
    stages = page.tab.locator("#timings th").all_inner_texts()
    assert {"decode", "network", "encode", "to the server"} <= set(stages)
