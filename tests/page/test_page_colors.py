"""The colors on the screen are those of the points: by their own color, by instance, by features."""

from pathlib import Path

import numpy as np
import pytest

from tests.page.clouds import BLUE, RED, halves, ply
from tests.page.driver import Driver

GREY = (136, 136, 136)


@pytest.fixture
def floor(tmp_path: Path) -> Path:
    path = tmp_path / "floor.ply"
    path.write_bytes(ply(halves()))
    return path


def shown(page: Driver, way: str) -> tuple[np.ndarray, np.ndarray]:
    """Colors (K, 3) west and east of the middle of the picture."""
    page.tab.uncheck("#edges")
    page.tab.select_option("#color-mode", way)
    pixels = page.pixels()
    height, width, _ = pixels.shape
    row = slice(int(0.45 * height), int(0.55 * height))
    west, east = pixels[row, int(0.35 * width) : int(0.42 * width)], pixels[row, int(0.58 * width) : int(0.65 * width)]
    return tuple(np.unique(part.reshape(-1, 3), axis=0) for part in (west, east))


def close(found: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((np.abs(found.astype(int) - color) <= 1).all())


def test_its_own_color(page: Driver, floor: Path):
    page.drop(floor)
    west, east = shown(page, "rgb")
    assert close(west, RED)
    assert close(east, BLUE)


def test_one_color_an_instance(page: Driver, floor: Path):
    page.drop(floor)
    west, east = shown(page, "instance")
    assert len(west) == len(east) == 1
    assert np.abs(west.astype(int) - east).max() > 60
    page.click_at(0.38, 0.5)
    assert page.card()["instance"] == "1"
    page.click_at(0.62, 0.5)
    assert page.card()["instance"] == "2"


def test_points_of_no_instance_are_grey(page: Driver, tmp_path: Path):
    table = halves()
    table.instance[table.x < 20] = -1
    path = tmp_path / "floor.ply"
    path.write_bytes(ply(table))
    page.drop(path)
    west, east = shown(page, "instance")
    assert close(west, GREY)
    assert not close(east, GREY)


def test_principal_components_of_the_features(page: Driver, tile: Path):
    page.tab.check("input[value=features_rgb]")
    page.drop(tile)
    answer = page.server.post("/predict?fields=features_rgb", data=tile.read_bytes()).json()
    told = {tuple(color) for color in answer["features_rgb"]}
    assert len(told) > 50
    west, east = shown(page, "features")
    seen = {tuple(color) for color in np.concatenate([west, east]).tolist()}
    assert len(seen) > 20
    known = np.array(sorted(told))
    # colors beside the cloud are those of the page
    near = [np.abs(known - color).max(axis=1).min() <= 1 for color in seen]
    assert np.mean(near) > 0.95
