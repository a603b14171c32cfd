/** Jobs of the server: files become one, the list is kept up to date, one of them is looked at. */

import { by, make, show } from "./dom";
import { type Job, type JobFile, answersInStore, filesOf, isEnded, listJobs, numTiles, removeJob, retryJob, viewOf, watchJob } from "./job";
import { type JobActions, JobRow, endOf, titleOf } from "./jobrow";
import { Problem, wordsOf } from "./service";
import type { Session } from "./session";
import { isView } from "./stream";
import { TileMap } from "./tilemap";
import { upload } from "./upload";

const LOOK_MS = 5000;
const AGAIN_MS = 3000; // before an answer that broke off is asked for again
const MOST_DRAWN = 10_000;

/** Largest body of one request, in bytes; null where the server has no jobs. */
export function largestWithJobs(): number | null {
  const { jobs, maxBodyBytes } = document.documentElement.dataset;
  return jobs === undefined ? null : Number(maxBodyBytes);
}

export class Jobs implements JobActions {
  private rows = new Map<string, JobRow>();
  private tiles = new TileMap();
  /** Id of the job that is looked at. */
  private chosen: string | null = null;
  private files = new Map<number, JobFile>();
  private newer = new Map<number, JobFile>();
  private watching: AbortController | null = null;
  private isLoading = false;
  private isStale = false;
  private timer = 0;

  constructor(
    private session: Session,
    private maxBodyBytes: number,
  ) {
    show(by("start-jobs"), true);
    session.makeJob = (files) => void this.submit(files);
    this.tiles.onOpen = (file) => void this.openFile(file);
    this.tiles.onClose = () => this.row?.focus();
    document.addEventListener("visibilitychange", () => this.attend());
    this.attend();
  }

  /** A file is classified while one waits; more of them, or one that is too large for that, become a job. */
  async openFiles(files: File[]): Promise<void> {
    const areViews = await Promise.all(files.map(isView));
    const clouds = files.filter((_, index) => !areViews[index]);
    if (clouds.length < 2 && !clouds.some(({ size }) => size > this.maxBodyBytes)) {
      await this.session.openFiles(files);
      return;
    }
    const views = files.filter((_, index) => areViews[index]);
    if (views.length) void this.session.openFiles(views);
    await this.submit(clouds);
  }

  get isMapShown(): boolean {
    return this.tiles.isShown;
  }

  /** The map of the job that is looked at, or the cloud. */
  toggleMap(): void {
    if (this.isMapShown) this.tiles.close();
    else if (this.row) this.map(this.row.job);
  }

  map(job: Job): void {
    this.tiles.show(titleOf(job), job.id);
    this.tiles.set([...this.files.values()], numTiles(job) - this.files.size);
  }

  choose(job: Job): void {
    this.select(this.chosen === job.id ? null : job);
  }

  download(job: Job): void {
    void this.session.attempt(async () => {
      const names = await answersInStore(job.id);
      if (names) this.rows.get(job.id)?.offer(names);
      else make("a", { href: `jobs/${job.id}/result`, download: "" }).click();
    });
  }

  retry(job: Job): void {
    void this.session.attempt(async () => {
      const waiting = await retryJob(job.id);
      this.put(waiting);
      this.select(waiting);
      this.attend();
    });
  }

  remove(job: Job): void {
    const question = isEnded(job) ? "Delete this job with its answers?" : "End this job and delete what it has done so far?";
    if (!confirm(question)) return;
    void this.session.attempt(async () => {
      await removeJob(job.id);
      this.forget(job.id);
    });
  }

  private get row(): JobRow | undefined {
    return this.chosen === null ? undefined : this.rows.get(this.chosen);
  }

  private async submit(files: File[]): Promise<void> {
    show(by("jobs-section"), true);
    const { options } = this.session;
    options.absolve();
    const job = await upload(files, options.choices, (error) => options.refuse(error));
    if (!job) return;
    this.put(job);
    this.select(job);
    this.attend();
  }

  private select(job: Job | null): void {
    this.watching?.abort();
    this.watching = null;
    this.chosen = job?.id ?? null;
    this.files.clear();
    for (const [id, row] of this.rows) row.open(id === this.chosen);
    if (!job) {
      this.tiles.hide();
      return;
    }
    this.map(job);
    void this.load();
    this.watch();
  }

  /** Look at the server as long as somebody looks at the page: a watcher takes a place there. */
  private attend(): void {
    if (document.hidden) {
      clearTimeout(this.timer);
      this.watching?.abort();
      this.watching = null;
      return;
    }
    void this.refresh();
    this.watch();
  }

  /** Bring the list up to date, now and then while any job goes on. */
  private async refresh(): Promise<void> {
    clearTimeout(this.timer);
    let mayChange = true;
    try {
      const jobs = await listJobs();
      for (const job of jobs) this.put(job);
      const known = new Set(jobs.map(({ id }) => id));
      for (const id of this.rows.keys()) if (!known.has(id)) this.forget(id);
      mayChange = jobs.some((job) => !isEnded(job));
      if (!mayChange) this.say("");
    } catch (error) {
      this.say(`The jobs cannot be listed: ${wordsOf(error)}`);
    }
    clearTimeout(this.timer);
    if (mayChange && !document.hidden) this.timer = setTimeout(() => void this.refresh(), LOOK_MS);
  }

  /** Fetch the files of the job that is looked at; what events tell meanwhile is newer. */
  private async load(): Promise<void> {
    this.isStale = true;
    if (this.isLoading) return;
    this.isLoading = true;
    try {
      while (this.isStale && this.chosen !== null) {
        const id = this.chosen;
        this.isStale = false;
        this.newer.clear();
        const files = await filesOf(id, MOST_DRAWN);
        if (this.chosen !== id) continue;
        this.files = new Map([...files.map((file): [number, JobFile] => [file.number, file]), ...this.newer]);
        this.tell();
      }
    } catch (error) {
      this.say(`The files of the job cannot be listed: ${wordsOf(error)}`);
    } finally {
      this.isLoading = false;
    }
  }

  /** Follow the job that is looked at until it ends, and once more when it is tried again. */
  private watch(): void {
    const { row } = this;
    if (this.watching || document.hidden || !row || isEnded(row.job)) return;
    const watching = new AbortController();
    this.watching = watching;
    void this.follow(row.job.id, watching.signal).finally(() => {
      if (this.watching === watching) this.watching = null;
    });
  }

  private async follow(id: string, signal: AbortSignal): Promise<void> {
    const watcher = { job: (job: Job) => this.changed(job), file: (file: JobFile) => this.fileChanged(id, file) };
    while (!signal.aborted) {
      try {
        if (await watchJob(id, signal, watcher)) {
          await this.refresh();
          return;
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Problem && error.status === 404) {
          this.forget(id);
          return;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  private changed(job: Job): void {
    this.put(job);
    if (job.id !== this.chosen) return;
    const isKnown = this.files.size >= Math.min(numTiles(job), MOST_DRAWN);
    if (!isKnown || isEnded(job)) void this.load();
  }

  private fileChanged(id: string, file: JobFile): void {
    if (id !== this.chosen) return;
    this.newer.set(file.number, file);
    if (!this.files.has(file.number)) return;
    this.files.set(file.number, file);
    this.row?.tell([...this.files.values()]);
    if (this.isMapShown) this.tiles.update(file);
  }

  private tell(): void {
    const { row } = this;
    row?.tell([...this.files.values()]);
    if (row && this.isMapShown) this.map(row.job);
  }

  private put(job: Job): void {
    const row = this.rows.get(job.id);
    if (row) {
      if (isEnded(job) && !isEnded(row.job)) this.say(`${titleOf(job)}: ${endOf(job)}`);
      row.update(job);
      return;
    }
    this.rows.set(job.id, new JobRow(job, this));
    const newest = [...this.rows.values()].sort((a, b) => b.job.created.localeCompare(a.job.created));
    newest.forEach(({ element }, place) => {
      const list = by("jobs");
      if (list.children[place] !== element) list.insertBefore(element, list.children[place] ?? null);
    });
    show(by("jobs-section"), true);
  }

  private forget(id: string): void {
    this.rows.get(id)?.element.remove();
    this.rows.delete(id);
    if (this.chosen === id) this.select(null);
    show(by("jobs-section"), this.rows.size > 0 || by("uploads").childElementCount > 0);
  }

  private async openFile(file: JobFile): Promise<void> {
    const id = this.chosen;
    if (id !== null && (await this.session.openAnswer(file.name, (signal) => viewOf(id, file, signal)))) by("view").focus();
  }

  private say(text: string): void {
    const note = by("jobs-note");
    if (note.textContent !== text) note.textContent = text;
  }
}
