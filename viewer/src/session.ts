/** From a dropped file, a sample or a link to classes on the screen. */

import { complain, forgive } from "./complaint";
import { by, make, show } from "./dom";
import { FileList, type Source, sourceOf } from "./files";
import { type View, fromHash, toHash } from "./link";
import { bytes } from "./numbers";
import { Options } from "./options";
import { Progress } from "./progress";
import { report, serverTiming, tell } from "./report";
import { save, savedName } from "./saving";
import { Problem, download, isAbort, predict, samples, wordsOf } from "./service";
import { find, fingerprint, forget, keep } from "./store";
import { isView, readView } from "./stream";
import type { Viewer } from "./viewer";

const OUTPUTS = ["las", "laz", "ply", "csv", "npz", "view"];
const WRITE_MS = 300;

export class Session {
  readonly options = new Options();
  /** Makes a job of a file that is too much for a request; null where the server has no jobs. */
  makeJob: ((files: File[]) => void) | null = null;
  private progress = new Progress();
  private files = new FileList();
  /** Whether someone chose one of several files; the others are then classified without being shown. */
  private picked = false;
  private source: Source | null = null;
  /** What is on the screen; another than `source` while that is on its way, or cannot be read. */
  private shown: Source | null = null;
  private timer = 0;
  private written = "";

  constructor(private viewer: Viewer) {
    this.options.onSubmit = () => void this.again();
    this.files.onPick = (source) => void this.pick(source);
    this.options.refine.onDraw = (done) => viewer.probe.drawBox(done);
    this.options.refine.onArea = (area) => viewer.probe.outline(area);
    viewer.onChange = () => this.remember();
    this.progress.onEnd = () => this.remember();
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

  /** Classify files that someone chose or dropped, one after the other; a link that waits for one is followed. */
  async openFiles(files: File[]): Promise<void> {
    const sources = files.map((file) => sourceOf(file, file.name));
    if (this.source) this.options.forgetColumns();
    await this.openSources(sources);
  }

  /** Show an answer that `fetched` gets. */
  async openAnswer(name: string, fetched: (signal: AbortSignal) => Promise<Response>): Promise<boolean> {
    const source = sourceOf(new Blob(), name, { isAnswer: true });
    const problem = await this.attempt(() =>
      this.progress.run(`Fetching ${name}`, async (signal) => {
        const { body } = await fetched(signal);
        this.files.sources = [source];
        this.source = source;
        await this.show(body!, this.fresh(), source);
      }),
    );
    this.mark(source, problem === null ? "done" : "failed");
    return problem === null;
  }

  private async openSources(sources: Source[]): Promise<void> {
    this.progress.cancel();
    this.files.sources = sources;
    this.picked = false;
    for (const source of sources) {
      if (this.files.sources !== sources) return;
      if (source.state === "waiting") await this.open(source);
    }
  }

  private async open(source: Source, view?: View): Promise<void> {
    if (!this.picked) this.source = source;
    this.mark(source, "under way");
    const several = this.files.sources.length > 1;
    const isWatched = this.source === source && (this.picked || !several);
    const problem = await this.attempt(() => this.work(source, view), !isWatched);
    if (problem === null) this.mark(source, "done");
    else if (problem === "") this.mark(source, "cancelled");
    else this.mark(source, "failed", problem);
  }

  private async work(source: Source, view?: View): Promise<void> {
    if (!source.sample && !source.key) {
      source.isAnswer = await isView(source.file);
      source.key = await fingerprint(source.file);
    }
    const wanted = fromHash(location.hash);
    const asked = view ?? (source.key && wanted.file === source.key ? wanted : this.fresh());
    if (!source.isAnswer) await this.classify(source, asked);
    else if (this.source === source) await this.show(source.file.stream(), asked, source);
    else source.answer = source.file;
  }

  /** Show one of several files; one that is still on its way is shown when it arrives. */
  private async pick(source: Source): Promise<void> {
    this.picked = true;
    this.source = source;
    this.files.render(source);
    if (source.answer) await this.attempt(() => this.show(source.answer!.stream(), this.fresh(), source));
    else if (source.state === "failed" || source.state === "cancelled") await this.open(source);
  }

  private mark(source: Source, state: Source["state"], reason = ""): void {
    Object.assign(source, { state, reason });
    this.files.render(this.source);
  }

  private async openSample(name: string, view?: View): Promise<void> {
    await this.attempt(async () => {
      const file = await this.progress.run("Making the sample", (signal) => download(`samples/${name}.laz`, signal));
      await this.openOne(sourceOf(file, `${name}.laz`, { sample: name }), view);
    });
  }

  private async openOne(source: Source, view?: View): Promise<void> {
    this.files.sources = [source];
    this.picked = false;
    await this.open(source, view);
  }

  /** Do what the address says. */
  private async follow(): Promise<void> {
    const view = fromHash(location.hash);
    if (view.sample || view.file) this.options.choices = view.choices;
    if (view.sample) await this.openSample(view.sample, view);
    else if (view.file) await this.attempt(() => this.openKept(view));
  }

  private async openKept(view: View): Promise<void> {
    const kept = await find(view.file);
    if (!kept) {
      by("start").querySelector("h2")!.textContent = `Drop ${view.name || "the file"} here to see this view`;
      return;
    }
    const { file, name, key, choices, answer } = kept;
    const source = sourceOf(file, name, { key, choices });
    if (answer && JSON.stringify(choices) === JSON.stringify(this.options.choices)) {
      this.source = source;
      this.files.sources = [source];
      await this.show(answer.stream(), view, source);
      this.mark(source, "done");
    } else {
      await this.openOne(source, view);
    }
  }

  private async again(): Promise<void> {
    const { source } = this;
    const view = this.shown === source ? { ...this.view, hidden: [], hiddenFile: [], point: -1 } : this.fresh();
    const { units, crs } = this.options.choices;
    if (units !== source?.choices?.units || crs !== source.choices.crs) view.camera = []; // the cloud has another size
    if (source && !source.isAnswer) await this.open(source, view);
  }

  /** Send a file with the options of now, and show its classes where it is the one that is looked at. */
  private async classify(source: Source, view: View): Promise<void> {
    const { file, name, key } = source;
    const { choices } = this.options;
    source.choices = choices;
    by<HTMLButtonElement>("again").disabled = false;
    await this.progress.run(`Sending ${name}`, async (signal) => {
      const begin = performance.now();
      const response = await predict(file, name, choices, "view", signal, (stage) => this.progress.stage(stage));
      if (this.source !== source) {
        source.answer = await response.blob();
        return;
      }
      const answered = performance.now();
      const timings = serverTiming(response.headers.get("Server-Timing") ?? "");
      await this.show(response.body!, view, source);
      const atServer = Object.values(timings).reduce((sum, value) => sum + value, 0);
      const there = { "to the server": Math.max(0, answered - begin - atServer), ...timings };
      report({ ...there, "from the server": performance.now() - answered });
    });
    if (key) await keep({ key, name, file, choices, answer: source.answer, kept_ms: Date.now() }).catch(() => undefined);
  }

  private async show(stream: ReadableStream<Uint8Array>, view: View, source: Source): Promise<void> {
    const { name, isAnswer } = source;
    for (const id of ["start", "map"]) show(by(id), false);
    by("name").textContent = name;
    document.title = `${name} · pointserve`;
    by<HTMLButtonElement>("again").disabled = isAnswer;
    for (const button of by("downloads").querySelectorAll("button")) {
      button.disabled = isAnswer && button.dataset.output !== "view";
      button.classList.toggle("strong", name.toLowerCase().endsWith(`.${button.dataset.output}`));
    }
    this.note("download-note", "");
    let all = 0;
    source.answer = null;
    source.answer = await readView(stream, {
      header: (header) => {
        all = header.num_shown;
        this.shown = source;
        this.viewer.begin(header, view);
        this.options.channels.offer(isAnswer ? [] : (header.file_columns ?? []));
        this.options.refine.allowDrawing();
        tell(header, this.options.steps);
        report(header.timings_ms);
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
    if (!this.shown) return;
    const { file, name: sent, choices, answer } = this.shown;
    const name = savedName(sent, output);
    if (output === "view" && answer) {
      save(answer, name);
      return;
    }
    if (!choices) return;
    await this.attempt(async () => {
      const blob = await this.progress.run(`Making ${name}`, async (signal) =>
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
    if (!this.viewer.cloud || this.progress.isUnderWay || !this.source || this.source.isAnswer || this.shown !== this.source) return;
    this.written = toHash(this.view);
    history.replaceState(null, "", `#${this.written}`);
  }

  private get view(): View {
    const { sample = "", key = "", name = "" } = this.source ?? {};
    return { ...this.viewer.view, sample, file: key, name, choices: this.source?.choices ?? this.options.choices };
  }

  /** How a new cloud is first seen. */
  private fresh(): View {
    return { ...fromHash(""), ...(this.viewer.cloud ? this.viewer.colors.value : {}) };
  }

  /**
   * Do `work` and show what goes wrong, but for `quiet` work. Gives the text of the problem, '' where the work was
   * cancelled, null where all went well.
   */
  async attempt(work: () => Promise<void>, quiet = false): Promise<string | null> {
    if (!quiet) {
      forgive();
      this.options.absolve();
    }
    try {
      await work();
      return null;
    } catch (error) {
      if (isAbort(error)) return "";
      if (!quiet) {
        complain(error, this.asJob);
        this.options.refuse(error);
        if (error instanceof Problem && error.columns.length) this.options.ask(error.columns);
      }
      return wordsOf(error);
    }
  }

  /** What makes a job of the file at hand, where the server has jobs. */
  private get asJob(): (() => void) | null {
    const { makeJob, source } = this;
    if (!makeJob || !source || source.isAnswer) return null;
    return () => makeJob([new File([source.file], source.name)]);
  }

  private note(id: string, text: string): void {
    by(id).textContent = text;
  }
}
