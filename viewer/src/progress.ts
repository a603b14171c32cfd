/** What is under way, such as between the drop and the first points, with a bar and a way to end it. */

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
  private running: AbortController | null = null;
  /** Nothing is under way any more. */
  onEnd: () => void = () => {};

  get isUnderWay(): boolean {
    return this.running !== null;
  }

  cancel(): void {
    this.running?.abort();
  }

  /** Run `work`, which can be cancelled; one at a time, the last one wins. */
  async run<T>(what: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.cancel();
    const running = new AbortController();
    this.running = running;
    by("cancel").onclick = () => running.abort();
    this.tell(what, null);
    show(this.box, true);
    try {
      return await work(running.signal);
    } finally {
      if (this.running === running) {
        this.running = null;
        show(this.box, false);
        this.onEnd();
      }
    }
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

  private tell(text: string, share: number | null): void {
    this.text.textContent = text;
    if (share === null) this.bar.removeAttribute("value");
    else this.bar.value = share;
  }
}
