"""What a person does with the page."""

import base64
import re
from pathlib import Path
from typing import Any

import numpy as np

from tests.http.server import Server

DROP = """([name, text]) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.body.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
  }
}"""
TO_PIXELS = """async (png) => {
  const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
  const context = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
  context.drawImage(picture, 0, 0);
  const bytes = context.getImageData(0, 0, picture.width, picture.height).data;
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return [picture.width, picture.height, btoa(text)];
}"""
WAIT_MS = 120_000


class Driver:
    """One tab; ``requested`` and ``errors`` hold what it asked for and complained about."""

    def __init__(self, tab: Any, server: Server):
        self.tab = tab
        self.server = server
        self.requested: list[str] = []
        self.errors: list[str] = []
        tab.set_default_timeout(30_000)
        tab.on("request", lambda request: self.requested.append(request.url))
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.on("console", lambda message: message.type == "error" and self.errors.append(message.text))

    def open(self, address: str = "/") -> "Driver":
        """Go to an address of the server and wait until its lists are there."""
        self.tab.goto(self.server.url + address)
        self.tab.wait_for_selector("[data-sample=town]", state="attached")
        return self

    def drop(self, path: Path) -> None:
        """Drop a file and wait for its classes."""
        self.tab.evaluate(DROP, [path.name, base64.b64encode(path.read_bytes()).decode()])
        self.wait_classes()

    def sample(self, name: str) -> None:
        """Choose a sample and wait for its classes."""
        self.tab.click(f"[data-sample={name}]")
        self.wait_classes()

    def wait_classes(self) -> None:
        """Until all points are here and drawn."""
        self.tab.wait_for_selector("#legend button.class", timeout=WAIT_MS)
        self.tab.wait_for_selector("#progress", state="hidden", timeout=WAIT_MS)
        self.wait_drawn()

    def wait_drawn(self) -> None:
        """Until the picture rests."""
        self.tab.wait_for_function(
            "() => { const told = document.getElementById('status').dataset;"
            " return Number(told.points) > 0 && told.drawn === told.points; }",
            timeout=WAIT_MS,
        )

    def classes(self) -> dict[str, bool]:
        """Names in the legend, and whether their points are shown."""
        buttons = self.tab.query_selector_all("#legend button.class")
        return {b.query_selector(".name").inner_text(): b.get_attribute("aria-pressed") == "true" for b in buttons}

    def picture(self) -> bytes:
        """The canvas as PNG."""
        self.wait_drawn()
        self.tab.wait_for_timeout(100)  # a frame to reach the screen
        return self.tab.locator("#view").screenshot()

    def pixels(self) -> np.ndarray:
        """The canvas as uint8 (height, width, 3)."""
        empty = self.tab.context.new_page()
        width, height, text = empty.evaluate(TO_PIXELS, base64.b64encode(self.picture()).decode())
        empty.close()
        return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)[..., :3]

    def card(self) -> dict[str, str]:
        """What is told of the point that was picked."""
        self.tab.wait_for_selector("#picked dl")
        names = self.tab.locator("#picked dt").all_inner_texts()
        return dict(zip(names, self.tab.locator("#picked dd").all_inner_texts(), strict=True))

    def click_at(self, right: float, down: float) -> None:
        """Click the picture at shares of its width and height."""
        box = self.tab.locator("#view").bounding_box()
        self.tab.mouse.click(box["x"] + right * box["width"], box["y"] + down * box["height"])

    def place(self) -> list[float]:
        """Coordinates of the point that was picked."""
        return [float(value) for value in self.card()["x, y, z"].split(", ")]

    def address(self, part: str) -> str:
        """What the address says of ``part``, once it has been written."""
        self.tab.wait_for_function("(part) => location.hash.includes(`${part}=`)", arg=part)
        return re.search(rf"[#&]{part}=([^&]*)", self.tab.url)[1]
