/** What happens between the drop and the first points. */

import { by, show } from "./dom";
import { bytes, milliseconds, short } from "./numbers";
import type { Stage } from "./service";

const DOING = {
  decode: "Reading the file",
  segment: "Finding classes",
  encode: "Writing the answer",
};

export class Progress {
  private box = by("progress");
  private text = by("progress-text");
  private bar = by<HTMLProgressElement>("progress-bar");

  begin(cancel: () => void): void {
    by("cancel").onclick = cancel;
    this.tell("Sending", null);
    show(this.box, true);
  }

  stage(now: Stage): void {
    if (now.stage !== "upload") {
      this.tell(`${DOING[now.stage]} · ${milliseconds(now.elapsed_ms)}`, null);
    } else if (now.total_bytes) {
      const text = `Sending · ${bytes(now.received_bytes)} of ${bytes(now.total_bytes)}`;
      this.tell(text, now.received_bytes / now.total_bytes);
    }
  }

  points(here: number, all: number): void {
    this.tell(`Points · ${short(here)} of ${short(all)}`, all ? here / all : 1);
  }

  end(): void {
    show(this.box, false);
  }

  tell(text: string, share: number | null): void {
    this.text.textContent = text;
    if (share === null) this.bar.removeAttribute("value");
    else this.bar.value = share;
  }
}
