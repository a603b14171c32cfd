/** From a dropped file, a sample or a link to classes on the screen. */

import { by, make, press, show } from "./dom";
import { type View, fromHash, toHash } from "./link";
import { bytes } from "./numbers";
import { Options } from "./options";
import { Progress } from "./progress";
import { report, serverTiming } from "./report";
import { save, savedName } from "./saving";
import { type Choices, Problem, download, predict, samples } from "./service";
import { find, fingerprint, forget, keep } from "./store";
import { readView } from "./stream";
import type { Viewer } from "./viewer";

const OUTPUTS = ["las", "laz", "ply", "csv", "npz", "view"];
const WRITE_MS = 300;
const VIEW_MARK = "PSVIEW";

interface Source {
  file: Blob;
  name: string;
  sample: string;
  key: string;
}

export class Session {
  readonly options = new Options();
  private progress = new Progress();
  private source: Source | null = null;
  /** What is on the screen; another than `source` while that is on its way, or cannot be read. */
  private shown: Source | null = null;
  private choices: Choices | null = null;
  private running: AbortController | null = null;
  private answer: Blob | null = null;
  private timer = 0;
  private written = "";

  constructor(private viewer: Viewer) {
    this.options.onSubmit = () => void this.again();
    viewer.onChange = () => this.remember();
    for (const output of OUTPUTS) {
      const button = make("button", { type: "button" }, output.toUpperCase());
      button.dataset.output = output;
      button.onclick = () => void this.download(output);
      by("downloads").append(button);
    }
    by("link").onclick = () => void this.copyLink();
    by("forget").onclick = () => void forget().then(() => this.note("link-note", "Nothing is kept any more."));
    addEventListener("hashchange", () => {
      if (location.hash.slice(1) !== this.written) void this.follow();
    });
  }

  /** Fill the page with what the service has, then follow the address. */
  async start(): Promise<void> {
    await this.attempt(async () => {
      const [, known] = await Promise.all([this.options.load(), samples()]);
      by("samples").replaceChildren(
        ...known.map(({ name, title }) => {
          const button = make("button", { type: "button", onclick: () => void this.openSample(name) }, name);
          button.dataset.sample = name;
          return make("li", {}, button, ` ${title}`);
        }),
      );
      await this.follow();
    });
  }

  /** Show a file that someone chose or dropped; a link that waits for it is followed. */
  async openFile(file: File): Promise<void> {
    await this.attempt(async () => {
      const mark = await file.slice(0, VIEW_MARK.length).text();
      const key = await fingerprint(file);
      const wanted = fromHash(location.hash);
      const view = wanted.file === key ? wanted : this.fresh();
      this.source = mark === VIEW_MARK ? null : { file, name: file.name, sample: "", key };
      if (this.source) await this.classify(view);
      else await this.show(file.stream(), view, file.name);
    });
  }

  private async openSample(name: string, view = this.fresh()): Promise<void> {
    await this.attempt(async () => {
      const file = await this.abortable("Making the sample", (signal) => download(`/samples/${name}.laz`, signal));
      this.source = { file, name: `${name}.laz`, sample: name, key: "" };
      await this.classify(view);
    });
  }

  /** Do what the address says. */
  private async follow(): Promise<void> {
    const view = fromHash(location.hash);
    if (view.choices.model) this.options.choices = view.choices;
    if (view.sample) await this.openSample(view.sample, view);
    else if (view.file) await this.attempt(() => this.openKept(view));
  }

  private async openKept(view: View): Promise<void> {
    const kept = await find(view.file);
    if (!kept) {
      by("start").querySelector("h2")!.textContent = `Drop ${view.name || "the file"} here to see this view`;
      return;
    }
    this.source = { file: kept.file, name: kept.name, sample: "", key: kept.key };
    if (kept.answer && JSON.stringify(kept.choices) === JSON.stringify(this.options.choices)) {
      this.choices = kept.choices;
      await this.show(kept.answer.stream(), view, kept.name);
    } else {
      await this.classify(view);
    }
  }

  private async again(): Promise<void> {
    const view = this.shown === this.source ? { ...this.view, hidden: [], hiddenFile: [], point: -1 } : this.fresh();
    if (this.source) await this.attempt(() => this.classify(view));
  }

  /** Send the file of now, with the options of now. */
  private async classify(view: View): Promise<void> {
    const { file, name, key } = this.source!;
    const choices = (this.choices = this.options.choices);
    by<HTMLButtonElement>("again").disabled = false;
    await this.abortable("Sending", async (signal) => {
      const begin = performance.now();
      const response = await predict(file, name, choices, "view", signal, (stage) => this.progress.stage(stage));
      const answered = performance.now();
      const timings = serverTiming(response.headers.get("Server-Timing") ?? "");
      await this.show(response.body!, view, name);
      const atServer = Object.values(timings).reduce((sum, value) => sum + value, 0);
      const there = { "to the server": Math.max(0, answered - begin - atServer), ...timings };
      report(this.viewer.cloud!.header.warnings, { ...there, "from the server": performance.now() - answered });
    });
    if (key) await keep({ key, name, file, choices, answer: this.answer, kept_ms: Date.now() }).catch(() => undefined);
  }

  private async show(stream: ReadableStream<Uint8Array>, view: View, name: string): Promise<void> {
    show(by("start"), false);
    by("name").textContent = name;
    document.title = `${name} · pointserve`;
    by<HTMLButtonElement>("again").disabled = this.source === null;
    for (const button of by("downloads").querySelectorAll("button")) {
      button.disabled = this.source === null && button.dataset.output !== "view";
    }
    let all = 0;
    this.answer = null;
    this.answer = await readView(stream, {
      header: (header) => {
        all = header.num_shown;
        this.shown = this.source;
        this.viewer.begin(header, view);
        this.options.channels.offer(this.source ? (header.file_columns ?? []) : []);
        report(header.warnings, header.timings_ms);
      },
      block: (block) => {
        this.viewer.add(block);
        this.progress.points(this.viewer.cloud!.num_points, all);
      },
    });
    this.viewer.end(view);
    this.remember();
  }

  private async download(output: string): Promise<void> {
    const name = savedName(by("name").textContent ?? "", output);
    if (output === "view" && this.answer) {
      save(this.answer, name);
      return;
    }
    if (!this.source || !this.choices) return;
    const { file, name: sent } = this.source;
    const choices = this.choices;
    await this.attempt(async () => {
      const blob = await this.abortable(`Making ${name}`, async (signal) =>
        (await predict(file, sent, choices, output, signal, (stage) => this.progress.stage(stage))).blob(),
      );
      save(blob, name);
      this.note("download-note", `${name}, ${bytes(blob.size)}`);
    });
  }

  private async copyLink(): Promise<void> {
    this.write();
    const kind = this.source?.sample ? "" : " Whoever opens it elsewhere is asked for the same file.";
    try {
      await navigator.clipboard.writeText(location.href);
      this.note("link-note", `The link is in the clipboard.${kind}`);
    } catch {
      this.note("link-note", `Copy it from the address bar.${kind}`);
    }
  }

  /** Write the address soon, once for many changes. */
  private remember(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.write(), WRITE_MS);
  }

  private write(): void {
    if (!this.viewer.cloud || this.running || !this.source || this.shown !== this.source) return;
    this.written = toHash(this.view);
    history.replaceState(null, "", `#${this.written}`);
  }

  private get view(): View {
    const { sample = "", key = "", name = "" } = this.source ?? {};
    return { ...this.viewer.view, sample, file: key, name, choices: this.choices ?? this.options.choices };
  }

  /** How a new cloud is first seen. */
  private fresh(): View {
    return { ...fromHash(""), ...(this.viewer.cloud ? this.viewer.colours.value : {}) };
  }

  /** Run `work` with a bar of progress that can be cancelled; one at a time, the last one wins. */
  private async abortable<T>(what: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.running?.abort();
    const running = (this.running = new AbortController());
    this.progress.begin(() => running.abort());
    this.progress.tell(what, null);
    try {
      return await work(running.signal);
    } finally {
      if (this.running === running) {
        this.running = null;
        this.progress.end();
        this.remember();
      }
    }
  }

  private async attempt(work: () => Promise<void>): Promise<void> {
    show(by("problem"), false);
    try {
      await work();
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return;
      const columns = error instanceof Problem ? error.columns : [];
      const hint = columns.length ? " Choose them under “How to read the file” and classify again." : "";
      const text = error instanceof TypeError ? "The server cannot be reached." : (error as Error).message + hint;
      const close = make("button", { type: "button", onclick: () => show(by("problem"), false) }, "Close");
      by("problem").replaceChildren(make("p", {}, text), close);
      show(by("problem"), true);
      press(by("measure"), false);
      if (columns.length) this.options.ask(columns);
    }
  }

  private note(id: string, text: string): void {
    by(id).textContent = text;
  }
}
