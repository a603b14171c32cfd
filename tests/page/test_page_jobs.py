"""Jobs on the page: files become one, it is followed, its files are seen from above and in the picture."""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests

from app.clouds.cloud import Cloud
from app.http.keys import hashed
from app.sample.tile import las_bytes, make_tile
from app.survey import remote
from tests.http.server import Server
from tests.page.axe import AXE, violations
from tests.page.clouds import halves, ply
from tests.page.driver import WAIT_MS, Driver
from tests.survey.survey_store import object_store, use

BROKEN = b"LASF" + bytes(400)
SIZE_M = 120


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with jobs and the model that comes along."""
    folder = tmp_path_factory.mktemp("jobs")
    settings = {
        "jobs_dir": folder / "jobs",
        "models": "",
        "max_body_mib": 2,
        "max_points": 100_000,
        "jobs_disk_mib": 40,
    }
    with Server(folder / "stderr.log", **settings) as started:
        yield started.wait_ready()


@pytest.fixture
def page(service: Server, browser) -> Iterator[Driver]:
    """The page of a server with no jobs yet."""
    for job in service.get("/jobs").json()["jobs"]:
        requests.delete(f"{service.url}/jobs/{job['id']}", timeout=30)
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    driver = Driver(context.new_page(), service)
    driver.tab.on("dialog", lambda dialog: dialog.accept())
    yield driver.open()
    context.close()
    assert not driver.errors


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four tiles of a town: south-west, south-east, north-west, and in place of the last one a file that is damaged."""
    folder = tmp_path_factory.mktemp("survey")
    cloud = make_tile("town", size_m=SIZE_M, density=4)
    middle = cloud.xyz[:, :2].min(axis=0) + SIZE_M / 2
    east, north = (cloud.xyz[:, :2] > middle).T
    tiles: dict[str, Cloud] = {
        "sw.laz": cloud.taken(~east & ~north),
        "se.laz": cloud.taken(east & ~north),
        "nw.laz": cloud.taken(~east & north),
    }
    for name, tile in tiles.items():
        (folder / name).write_bytes(las_bytes(tile))
    (folder / "ne.laz").write_bytes(damaged(las_bytes(cloud.taken(east & north))))
    return [folder / name for name in (*tiles, "ne.laz")]


def damaged(data: bytes) -> bytes:
    """A LAZ whose header is right and whose points are not."""
    half = len(data) // 2
    return data[:half] + bytes(len(data) - half)


def wait_ended(page: Driver, words: str) -> None:
    page.tab.wait_for_selector(f".job .file span:last-child:has-text('{words}')", timeout=WAIT_MS)


def tile(page: Driver, name: str):
    return page.tab.locator(f".tile[aria-label^='{name}:']")


def states(page: Driver) -> dict[str, str]:
    labels = page.tab.locator("#map-figures .tile").evaluate_all("(all) => all.map((one) => one.ariaLabel)")
    return dict(label.split(": ") for label in labels)


def test_several_files_become_a_job_whose_map_and_failures_are_shown(page: Driver, survey: list[Path]):
    assert page.tab.is_hidden("#jobs-section")
    page.tab.set_input_files("#file", survey)
    page.tab.wait_for_selector("#map:not([hidden])")
    assert page.tab.inner_text("#map-title") == "sw.laz and 3 others"
    wait_ended(page, "1 of 4 failed")
    assert not [url for url in page.requested if "/predict" in url]
    page.tab.wait_for_selector(".tile.failed")
    assert states(page) == {"sw.laz": "done", "se.laz": "done", "nw.laz": "done", "ne.laz": "failed"}
    boxes = {name: tile(page, name).locator("rect").bounding_box() for name in states(page)}
    assert boxes["sw.laz"]["x"] < boxes["se.laz"]["x"]
    assert boxes["nw.laz"]["y"] < boxes["sw.laz"]["y"]
    assert boxes["ne.laz"]["x"] == pytest.approx(boxes["se.laz"]["x"], abs=3)
    assert page.tab.locator("#map-legend li").all_inner_texts() == ["3 done", "1 failed"]
    assert "ETRS89" in page.tab.inner_text("figcaption") or "EPSG:25832" in page.tab.inner_text("figcaption")
    assert "bar is 20 m long" in page.tab.inner_text("figcaption")
    told = page.server.get("/jobs").json()["jobs"][0]
    reason = next(f["error"] for f in page.server.get(f"/jobs/{told['id']}").json()["files"] if f["error"])
    assert page.tab.inner_text(".reasons .warning") == reason
    tile(page, "ne.laz").click()
    assert page.tab.inner_text("#tile-words .warning") == reason
    assert page.tab.is_hidden("#tile-open")


def test_long_names_fit_the_panel(page: Driver, survey: list[Path], tmp_path: Path):
    files = [tmp_path / f"survey_2026_district_0123_sheet_45_classified_{path.name}" for path in survey[:2]]
    for path, source in zip(files, survey[:2], strict=True):
        path.write_bytes(source.read_bytes())
    page.tab.set_input_files("#file", files)
    wait_ended(page, "done")
    assert page.tab.locator("#panel").evaluate("(box) => box.scrollWidth <= box.clientWidth")
    assert f"{files[0].name} and 1 other" in page.tab.inner_text(".job .name")


def test_a_finished_file_is_shown_with_the_labels_of_its_answer(page: Driver, survey: list[Path]):
    page.tab.set_input_files("#file", survey[:2])
    wait_ended(page, "done")
    page.tab.wait_for_selector(".tile.done >> nth=1")
    tile(page, "se.laz").click()
    page.wait_classes()
    assert page.tab.is_hidden("#map")
    assert page.tab.inner_text("#name") == "se.laz"
    job = page.server.get("/jobs").json()["jobs"][0]
    file = next(f for f in page.server.get(f"/jobs/{job['id']}").json()["files"] if f["name"] == "se.laz")
    assert page.tab.get_attribute("#status", "data-points") == str(file["points"])
    assert page.tab.is_hidden("#compare-section")
    assert len(page.classes()) > 1
    assert not [url for url in page.requested if "/predict" in url]
    page.tab.keyboard.press("j")
    assert page.tab.is_visible("#map")
    page.tab.keyboard.press("Escape")
    assert page.tab.is_hidden("#map")
    with page.tab.expect_download() as waiting:
        page.tab.click(".job a:has-text('Download')")
    names = zipfile.ZipFile(waiting.value.path()).namelist()
    assert {"sw.laz", "se.laz", "report.html"} <= set(names)


def test_options_of_refinement_go_for_a_job_and_each_file_tells_what_they_changed(page: Driver, survey: list[Path]):
    page.tab.click("#refine summary")
    page.tab.fill("[name=smooth]", "1")
    page.tab.set_input_files("#file", survey[:2])
    page.tab.wait_for_selector(".upload .warning")
    page.errors.clear()  # the browser itself logs answers of 4xx
    assert "expected 2 or more" in page.tab.inner_text("#fault-smooth")
    page.tab.fill("[name=smooth]", "8")
    border = [[548_200 + 4000 * np.cos(angle), 5_803_400 + 4000 * np.sin(angle)] for angle in np.linspace(0, 6, 200)]
    page.tab.fill("[name=within]", json.dumps({"type": "Polygon", "coordinates": [border]}))
    page.tab.set_input_files("#file", survey[:2])
    wait_ended(page, "done")
    tile(page, "sw.laz").click()
    page.wait_classes()
    told = [text.split(":")[0] for text in page.tab.locator("#refined li").all_inner_texts()]
    assert told == ["smooth", "kept"]


def test_keys_reach_every_file_of_the_map(page: Driver, survey: list[Path]):
    page.tab.set_input_files("#file", survey)
    wait_ended(page, "1 of 4 failed")
    page.tab.wait_for_selector(".tile.failed")
    page.tab.focus("#map-close")
    page.tab.keyboard.press("Tab")
    assert page.tab.evaluate("document.activeElement.classList.contains('tiles')")
    seen = [page.tab.inner_text("#tile-name")]
    for key in ("ArrowUp", "ArrowRight", "ArrowDown", "ArrowLeft"):
        page.tab.keyboard.press(key)
        seen.append(page.tab.inner_text("#tile-name"))
        active = page.tab.get_attribute(".tiles", "aria-activedescendant")
        assert page.tab.get_attribute(f"#{active}", "aria-selected") == "true"
    assert seen == ["sw.laz", "nw.laz", "ne.laz", "se.laz", "sw.laz"]
    page.tab.keyboard.press("Enter")
    page.wait_classes()
    assert page.tab.inner_text("#name") == "sw.laz"


def test_what_failed_is_tried_again_and_a_job_is_deleted(page: Driver, survey: list[Path]):
    page.tab.set_input_files("#file", [survey[0], survey[3]])
    wait_ended(page, "1 of 2 failed")
    page.tab.click(".job button:has-text('Retry what failed')")
    page.tab.wait_for_selector(".job progress:not([hidden])")
    wait_ended(page, "1 of 2 failed")
    tile(page, "ne.laz").click()
    page.tab.wait_for_function("() => document.getElementById('tile-state').textContent.includes('tried 2 times')")
    page.tab.click(".job button:has-text('Delete')")
    page.tab.wait_for_selector("#jobs-section", state="hidden")
    assert page.tab.is_hidden("#map")
    assert page.server.get("/jobs").json() == {"jobs": []}


def test_a_job_is_cancelled_and_one_of_before_is_there_when_the_page_is_opened(page: Driver, survey: list[Path]):
    page.tab.set_input_files("#file", survey[:3] * 4)
    page.tab.wait_for_selector(".job progress:not([hidden])")
    page.tab.reload()
    page.tab.click(".job .file")
    page.tab.wait_for_selector(".tile >> nth=11")
    assert re.search(r"\d of 12 files done", page.tab.inner_text(".details .quiet"))
    assert re.search(r"\d+ \w+ \d{4}", page.tab.inner_text(".job .file .quiet"))
    page.tab.click(".job button:has-text('Cancel')")
    page.tab.wait_for_selector("#jobs-section", state="hidden")
    assert page.server.get("/jobs").json() == {"jobs": []}


def test_an_upload_tells_how_far_it_is_and_can_be_given_up(page: Driver, survey: list[Path]):
    line = page.tab.context.new_cdp_session(page.tab)
    line.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "uploadThroughput": 100e3, "downloadThroughput": 1e6},
    )
    page.tab.set_input_files("#file", survey * 4)
    page.tab.wait_for_function("() => / · \\d.* of \\d/.test(document.querySelector('.upload p')?.textContent)")
    page.tab.click(".upload button")
    page.tab.wait_for_selector(".upload", state="detached")
    assert page.server.get("/jobs").json() == {"jobs": []}


def test_a_file_too_large_for_a_request_becomes_a_job_and_files_without_a_place_are_squares(
    page: Driver, tmp_path: Path
):
    path = tmp_path / "floor.ply"
    path.write_bytes(ply(np.tile(halves(), 3)))
    assert path.stat().st_size > 2 << 20
    page.tab.set_input_files("#file", path)
    wait_ended(page, "done")
    assert "state no place" in page.tab.inner_text("figcaption")
    page.tab.locator("#map-figures .tile.done").click()
    page.wait_classes()
    assert page.tab.inner_text("#name") == "floor.ply"


def test_a_cloud_with_too_many_points_for_a_request_can_become_a_job(page: Driver, tmp_path: Path):
    path = tmp_path / "wide.laz"
    path.write_bytes(las_bytes(make_tile("village", size_m=150, density=5)))
    assert path.stat().st_size < 2 << 20
    page.tab.set_input_files("#file", path)
    page.tab.click("#make-job", timeout=WAIT_MS)
    page.errors.clear()  # the browser itself logs answers of 4xx
    page.tab.wait_for_selector(".job")
    assert page.tab.inner_text("#map-title") == "wide.laz"
    assert page.tab.is_hidden("#problem")


def test_a_full_disk_is_told_and_the_page_goes_on(page: Driver, survey: list[Path], tmp_path: Path):
    large = tmp_path / "large.laz"
    large.write_bytes(survey[0].read_bytes() + bytes(50 << 20))
    page.tab.set_input_files("#file", large)
    page.tab.wait_for_selector(".upload .warning")
    assert "POINTSERVE_JOBS_DISK_MIB" in page.tab.inner_text(".upload .warning")
    page.errors.clear()  # the browser itself logs answers of 5xx
    page.tab.click(".upload button")
    page.tab.set_input_files("#file", survey[0])
    page.wait_classes()
    assert page.tab.inner_text("#name") == "sw.laz"


@pytest.mark.skipif(not AXE.exists(), reason="no viewer/node_modules: run npm ci in viewer/")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_jobs(page: Driver, survey: list[Path], scheme: str):
    page.tab.emulate_media(color_scheme=scheme)
    page.tab.set_input_files("#file", survey)
    wait_ended(page, "1 of 4 failed")
    tile(page, "ne.laz").click()
    assert violations(page) == []
    page.tab.set_viewport_size({"width": 390, "height": 844})
    assert violations(page) == []
    assert page.tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_server_without_jobs_is_shown_without_them(browser, server: Server, tile: Path):
    context = browser.new_context()
    plain = Driver(context.new_page(), server).open()
    assert plain.tab.is_hidden("#jobs-section")
    assert plain.tab.is_hidden("#start-jobs")
    plain.tab.keyboard.press("?")
    assert "job" not in plain.tab.inner_text("#keys")
    assert not [url for url in plain.requested if "/jobs" in url]
    context.close()


def is_from(place: str, response: Any) -> bool:
    return response.url.startswith(place)


def test_answers_in_an_object_store_are_seen_and_had_by_links(browser, tmp_path: Path, survey: list[Path], monkeypatch):
    pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    with object_store() as endpoint:
        use(endpoint, monkeypatch)
        remote.filesystem("s3://").mkdir("answers")
        settings = {"jobs_dir": tmp_path / "jobs", "jobs_store": "s3://answers", "models": ""}
        with Server(tmp_path / "stderr.log", **settings) as server:
            context = browser.new_context(accept_downloads=True)
            page = Driver(context.new_page(), server.wait_ready()).open()
            page.tab.set_input_files("#file", survey[:2])
            wait_ended(page, "done")
            page.tab.wait_for_selector(".tile.done >> nth=1")
            tile(page, "se.laz").click()
            page.wait_classes()
            assert page.tab.inner_text("#name") == "se.laz"
            assert len(page.classes()) > 1
            page.tab.click(".job a:has-text('Download')")
            links = page.tab.locator(".job [aria-label=Answers] a")
            links.first.wait_for()
            found = {link.inner_text(): f"/{link.get_attribute('href')}" for link in links.all()}
            assert [*found] == ["sw.laz", "se.laz", "report.html", "survey.vpc"]
            for name in ("sw.laz", "report.html"):
                whole = server.get(found[name]).content
                is_there = partial(is_from, f"{endpoint}/answers/")
                with context.expect_event("response", is_there) as answered:  # the new tab goes to the store itself
                    page.tab.click(f".job [aria-label=Answers] a:has-text('{name}')")
                assert (answered.value.status, answered.value.headers["content-length"]) == (200, str(len(whole)))
            assert {urlsplit(url).netloc for url in page.requested} == {urlsplit(server.url).netloc}  # no CORS needed
            assert not page.errors
            context.close()


def test_with_a_key_the_page_has_jobs_as_with_any_request(browser, tmp_path: Path, survey: list[Path]):
    settings = {"jobs_dir": tmp_path / "jobs", "models": "", "api_keys": f"ann={hashed('a' * 20)}"}
    with Server(tmp_path / "stderr.log", **settings) as locked:
        locked.wait_ready()
        context = browser.new_context(http_credentials={"username": "anyone", "password": "a" * 20})
        page = Driver(context.new_page(), locked).open()
        page.tab.set_input_files("#file", survey[:2])
        wait_ended(page, "done")
        with page.tab.expect_download() as waiting:
            page.tab.click(".job a:has-text('Download')")
        assert zipfile.is_zipfile(io.BytesIO(Path(waiting.value.path()).read_bytes()))
        context.close()
