"""Accessibility, colors for color-blind eyes, policy, and that the built files are those of the sources."""

import filecmp
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.http.server import ROOT
from tests.page.axe import AXE, VIEWER, violations
from tests.page.driver import Driver

BUILT = ROOT / "app/page"
# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
BLINDNESS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


@pytest.mark.skipif(not AXE.exists(), reason="no viewer/node_modules: run npm ci in viewer/")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Driver, tile: Path, scheme: str):
    page.tab.emulate_media(color_scheme=scheme)
    assert violations(page) == []
    page.drop(tile)
    page.tab.select_option("#compare", "split")
    page.tab.click("#legend button.class >> nth=0")
    page.click_at(0.5, 0.5)
    assert violations(page) == []
    page.tab.click("#reading summary")
    assert page.tab.is_visible("#channels")
    assert violations(page) == []
    page.tab.keyboard.press("?")
    assert violations(page) == []


@pytest.mark.skipif(not AXE.exists(), reason="no viewer/node_modules: run npm ci in viewer/")
def test_axe_finds_nothing_serious_in_a_problem_on_a_phone_and_in_the_docs(page: Driver, tile: Path, tmp_path: Path):
    page.tab.set_viewport_size({"width": 390, "height": 844})
    path = tmp_path / "table.txt"
    path.write_text("1 2 3 4 5\n2 3 4 5 6\n")
    page.tab.set_input_files("#file", path)
    page.tab.wait_for_selector("#problem:not([hidden])")
    assert violations(page) == []
    page.errors.clear()  # the browser itself logs answers of 4xx
    page.drop(tile)
    assert violations(page) == []
    page.tab.goto(f"{page.server.url}/docs")
    assert violations(page) == []


def test_light_and_dark(page: Driver):
    ground = "getComputedStyle(document.body).backgroundColor"
    page.tab.emulate_media(color_scheme="light")
    light = page.tab.evaluate(ground)
    page.tab.emulate_media(color_scheme="dark")
    dark = page.tab.evaluate(ground)
    assert light != dark
    page.tab.click("#theme")
    assert page.tab.evaluate(ground) == light
    page.tab.reload()
    assert page.tab.evaluate(ground) == light


def lab(linear: np.ndarray) -> np.ndarray:
    xyz = XYZ @ linear / (XYZ @ np.ones(3))
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("blindness", ["none", *BLINDNESS])
def test_classes_are_told_apart_by_color_blind_eyes(page: Driver, tile: Path, blindness: str):
    page.drop(tile)
    told = page.tab.locator("#legend .swatch").evaluate_all(
        "(all) => all.map((swatch) => getComputedStyle(swatch).backgroundColor)"
    )
    colors = [np.array(re.findall(r"\d+", color)[:3], float) / 255 for color in told]
    linear = [np.where(color > 0.04045, ((color + 0.055) / 1.055) ** 2.4, color / 12.92) for color in colors]
    seen = np.array(BLINDNESS.get(blindness, np.eye(3)))
    labs = [lab(np.clip(seen @ color, 0, 1)) for color in linear]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(labs, 2)) > 15


def test_the_policy_stops_requests_to_others(page: Driver):
    blocked = page.tab.evaluate("fetch('https://example.com/').then(() => false, () => true)")
    assert blocked
    assert any("Content Security Policy" in error for error in page.errors)
    page.errors.clear()
    page.requested.clear()


@pytest.mark.skipif(shutil.which("npm") is None or not AXE.exists(), reason="no node, or no viewer/node_modules")
def test_built_files_are_those_of_the_sources(tmp_path: Path):
    command = ["npm", "run", "build", "--", "--outDir", str(tmp_path / "page")]
    done = subprocess.run(command, cwd=VIEWER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    fresh = sorted(path.name for path in (tmp_path / "page").iterdir())
    assert fresh == sorted(path.name for path in BUILT.iterdir())
    _, different, unreadable = filecmp.cmpfiles(BUILT, tmp_path / "page", fresh, shallow=False)
    assert not different, f"run `make page`: {different}"
    assert not unreadable


def test_no_version_of_the_viewer_is_left_open():
    wanted = json.loads((VIEWER / "package.json").read_text())["devDependencies"]
    locked = json.loads((VIEWER / "package-lock.json").read_text())["packages"]
    assert wanted == {name: locked[f"node_modules/{name}"]["version"] for name in wanted}
    assert all("integrity" in entry for name, entry in locked.items() if name)
