"""Frames a second of the page while one walks along a large cloud, and points in each frame, in a headless Chromium.

    python -m benchmarks.page --million 5

The cloud is a made-up tile with its own classes, opened as a view file, so that no network runs.
"""

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

from app.clouds import view
from app.sample.tile import make_tile, truth
from tests.http.server import Server, descendants
from tests.page.browser import launched
from tests.page.driver import Driver

DENSITY = 20.0
STEP_S = 2.0
STEPS = 12
WINDOW = {"width": 1280, "height": 800}
STATISTICS = """() => ({
  ...document.getElementById("status").dataset,
  renderer: (() => {
    const gl = document.createElement("canvas").getContext("webgl2");
    return gl.getParameter(gl.getExtension("WEBGL_debug_renderer_info").UNMASKED_RENDERER_WEBGL);
  })(),
})"""


def measure(million: float, folder: Path) -> dict[str, str]:
    """Figures by name."""
    size_m = float(np.sqrt(million * 1e6 / DENSITY) * 1.09)  # the pond gives few returns
    tile = make_tile("town", size_m=size_m, density=DENSITY)
    path = folder / "tile.view"
    path.write_bytes(view.write(tile, truth(tile), None))
    with Server(folder / "stderr.log", models="") as server, launched() as browser:
        server.wait_ready()
        driver = Driver(browser.new_page(viewport=WINDOW), server).open()
        begin_s = time.perf_counter()
        driver.tab.set_input_files("#file", path)
        driver.wait_classes()
        shown_s = time.perf_counter() - begin_s
        rates, budgets, cpu_s = walk(driver)
        renderer = driver.tab.evaluate(STATISTICS)["renderer"]
    return {
        "points": f"{len(tile):,}",
        "bytes a point": f"{path.stat().st_size / len(tile):.1f}",
        "file chosen to all points drawn": f"{shown_s:.1f} s",
        "frames a second while moving, median": f"{np.median(rates):.1f}",
        "the same, 10th percentile": f"{np.percentile(rates, 10):.1f}",
        "points drawn a frame while moving, median": f"{int(np.median(budgets)):,}",
        "processor time of the browser while moving, per second": f"{cpu_s:.2f} s",
        "renderer": renderer,
        "machine": f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} cores, "
        f"load {os.getloadavg()[0]:.1f}",
    }


def walk(driver: Driver) -> tuple[list[float], list[int], float]:
    """Walk along the cloud and back, which moves the camera in every frame; what the page reports meanwhile (frames a
    second, points a frame), and the share of a core that the browser got."""
    driver.tab.click("[data-navigation=walk]")
    driver.tab.focus("#view")
    rates, budgets = [], []
    begin_s, begin_cpu_s = time.perf_counter(), cpu_seconds()
    for step in range(STEPS):
        driver.tab.keyboard.down("ad"[step % 2])
        driver.tab.wait_for_timeout(1000 * STEP_S)
        told = driver.tab.locator("#status").evaluate("(status) => ({ ...status.dataset })")
        driver.tab.keyboard.up("ad"[step % 2])
        if step >= STEPS // 2:  # the number of points a frame has adapted
            rates.append(float(told["rate"]))
            budgets.append(int(told["budget"]))
    return rates, budgets, (cpu_seconds() - begin_cpu_s) / (time.perf_counter() - begin_s)


def cpu_seconds() -> float:
    """Processor time of all processes that this one started."""
    ticks = 0
    for pid in descendants(os.getpid()):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--million", type=float, default=5.0)
    with tempfile.TemporaryDirectory() as temporary:
        for name, figure in measure(parser.parse_args().million, Path(temporary)).items():
            print(f"| {name} | {figure} |")
