"""Take the pictures of docs/images from the page: ``python -m docs.screenshots`` (needs Chromium and playwright)."""

import base64
import tempfile
from pathlib import Path

import numpy as np

from app.sample.tile import las_bytes, make_tile
from tests.http.server import Server
from tests.page.browser import launched
from tests.page.clouds import ply
from tests.page.driver import Driver

IMAGES = Path(__file__).parent / "images"
TO_WEBP = """async (png) => {
  const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  canvas.getContext("2d").drawImage(picture, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/webp", quality: 0.8 });
  const bytes = new Uint8Array(await blob.arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}"""


def main() -> None:
    """Classes, comparison, channels, a job, a walk in the dark, refined classes, a phone."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        jobs = Path(folder) / "jobs"
        with Server(Path(folder) / "log", models="", jobs_dir=jobs) as server, launched() as browser:
            server.wait_ready()
            desk = Driver(browser.new_page(viewport={"width": 1200, "height": 720}, color_scheme="light"), server)
            desk.open()
            desk.sample("town")
            desk.click_at(0.45, 0.62)
            desk.card()
            save(desk, "page-classes")
            desk.tab.select_option("#compare", "split")
            desk.tab.keyboard.press("Escape")
            desk.tab.locator("#compare-section").scroll_into_view_if_needed()
            save(desk, "page-compare")
            bound = Driver(browser.new_page(viewport={"width": 1200, "height": 720}, color_scheme="light"), server)
            survey = Path(folder) / "survey.ply"
            survey.write_bytes(ply(parcels()))
            bound.open()
            bound.tab.set_input_files("#file", survey)
            bound.tab.wait_for_selector("#problem:not([hidden])")
            for channel, column in {"x": "east", "y": "north", "z": "up", "instance": "parcel"}.items():
                bound.tab.select_option(f"[data-channel={channel}]", column)
            bound.tab.click("#again")
            bound.wait_classes()
            bound.tab.select_option("#color-mode", "instance")
            bound.tab.locator("#channels").evaluate("(box) => box.scrollIntoView()")
            save(bound, "page-channels")
            job = Driver(browser.new_page(viewport={"width": 1200, "height": 720}, color_scheme="light"), server)
            job.open()
            job.tab.set_input_files("#file", survey_of(Path(folder) / "town"))
            job.tab.wait_for_selector("#map-figures .tile.done >> nth=20", timeout=600_000)
            job.tab.locator("#map-figures .tile.failed").click(timeout=600_000)
            save(job, "page-jobs")
            job.tab.on("dialog", lambda dialog: dialog.accept())
            job.tab.click(".job button:has-text('Cancel')")
            job.tab.wait_for_selector("#jobs-section", state="hidden")
            dark = Driver(browser.new_page(viewport={"width": 1200, "height": 720}, color_scheme="dark"), server)
            dark.open("/#sample=forest&color=height&size=4")
            dark.wait_classes()
            save(dark, "page-dark")
            refined = Driver(browser.new_page(viewport={"width": 1200, "height": 720}, color_scheme="light"), server)
            refined.open("/#sample=village&option.noise=true&option.vegetation_heights=0.5,2&option.smooth=8")
            refined.wait_classes()
            refined.tab.click("#refine summary")
            refined.tab.click("text=Draw a box")
            refined.click_at(0.35, 0.45)
            refined.click_at(0.62, 0.6)
            refined.tab.click("#again")
            refined.tab.wait_for_selector("#refined li:has-text('kept')", timeout=600_000)
            refined.wait_classes()
            refined.tab.locator("#legend-section").evaluate("(box) => box.scrollIntoView()")
            save(refined, "page-refine")
            phone = Driver(
                browser.new_page(viewport={"width": 390, "height": 780}, is_mobile=True, has_touch=True), server
            )
            phone.open("/#sample=village")
            phone.wait_classes()
            save(phone, "page-phone")


def survey_of(folder: Path) -> list[Path]:
    """A made-up town in 48 tiles, one of them damaged."""
    folder.mkdir()
    town = make_tile("town", size_m=320, density=1.5)
    column, row = ((town.xyz[:, :2] - town.xyz[:, :2].min(axis=0)) // 40).astype(int).T
    paths = [folder / f"town_{x}_{y}.laz" for x in range(8) for y in range(6)]
    for path in paths:
        x, y = map(int, path.stem.split("_")[1:])
        data = las_bytes(town.taken((column == x) & (row == y)))
        path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2) if (x, y) == (2, 3) else data)
    return paths


def parcels() -> np.ndarray:
    """A made-up village whose columns have names that nobody can know."""
    tile = make_tile("village", size_m=70, density=12)
    parcel = (tile.xyz[:, 0] // 18 + 4 * (tile.xyz[:, 1] // 18)).astype(np.int32)
    names = ["east", "north", "up", "amplitude", "parcel"]
    return np.rec.fromarrays([*tile.xyz.T, tile.intensity, parcel], names=names)


def save(driver: Driver, name: str) -> None:
    """The tab as it is now."""
    driver.tab.wait_for_timeout(500)
    png = base64.b64encode(driver.tab.screenshot()).decode()
    empty = driver.tab.context.browser.new_page()
    (IMAGES / f"{name}.webp").write_bytes(base64.b64decode(empty.evaluate(TO_WEBP, png)))
    empty.close()


if __name__ == "__main__":
    main()
