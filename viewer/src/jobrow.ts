/** One job in the list: what it is, how far it is, and what can be done with it. Changes keep the focus. */

import { make, show } from "./dom";
import { type Job, type JobFile, answerOf, isEnded, numTiles } from "./job";
import { bytes, count, duration, several, share, short } from "./numbers";

const REASONS_SHOWN = 50;

/** What can be done with a job. */
export interface JobActions {
  choose(job: Job): void;
  map(job: Job): void;
  download(job: Job): void;
  retry(job: Job): void;
  remove(job: Job): void;
}

export class JobRow {
  readonly element = make("li", { className: "job" });
  private title = make("span");
  private made = make("span", { className: "quiet" });
  private state = make("span", { className: "count" });
  private head: HTMLButtonElement;
  private bar = make("progress");
  private about = make("p", { className: "quiet" });
  private problem = make("p", { className: "warning" });
  private reasons = make("ul", { className: "reasons" });
  private download = make("a", { className: "button" }, "Download");
  private answers = make("ul", { className: "reasons", ariaLabel: "Answers" });
  private again: HTMLButtonElement;
  private remove: HTMLButtonElement;
  private details: HTMLDivElement;
  private told = "";

  constructor(
    public job: Job,
    actions: JobActions,
  ) {
    const button = (text: string, action: keyof JobActions) => make("button", { type: "button", onclick: () => actions[action](this.job) }, text);
    this.head = make("button", { type: "button", className: "file", onclick: () => actions.choose(this.job) }, make("span", { className: "name" }, this.title, this.made), this.state);
    this.again = button("Retry what failed", "retry");
    this.remove = button("Delete", "remove");
    this.download.href = `jobs/${job.id}/result`;
    this.download.setAttribute("download", "");
    this.download.onclick = (event) => {
      event.preventDefault();
      actions.download(this.job);
    };
    const row = make("div", { className: "row" }, button("Map", "map"), this.download, this.again, this.remove);
    this.details = make("div", { className: "details" }, this.about, this.problem, row, this.answers, this.reasons);
    this.details.id = `job-${job.id}`;
    this.head.setAttribute("aria-controls", this.details.id);
    this.element.append(this.head, this.bar, this.details);
    this.offer([]);
    this.update(job);
    this.open(false);
  }

  open(isOpen: boolean): void {
    this.head.setAttribute("aria-expanded", String(isOpen));
    show(this.details, isOpen);
  }

  focus(): void {
    this.head.focus();
  }

  update(job: Job): void {
    this.job = job;
    const title = titleOf(job);
    const { done, context } = job.tiles;
    const all = numTiles(job) - context;
    const lost = numFailed(job);
    const ended = isEnded(job);
    this.title.textContent = title;
    this.title.title = job.sources.join("\n");
    this.made.textContent = moment(job.created);
    this.state.textContent = ended ? endOf(job) : job.state === "waiting" ? "waiting" : share(done + lost, all);
    this.state.className = job.state === "failed" || (ended && lost) ? "warning" : "count";
    show(this.bar, !ended);
    this.bar.setAttribute("aria-label", `Progress of ${title}`);
    if (job.state === "running" && all) this.bar.value = job.points ? job.points_done / job.points : (done + lost) / all;
    else this.bar.removeAttribute("value");
    this.about.textContent = aboutOf(job);
    this.problem.textContent = job.problem;
    show(this.problem, job.problem !== "");
    show(this.download, ended && done > 0);
    if (!ended) this.offer([]);
    show(this.again, ended && (lost > 0 || job.tiles.pending > 0));
    this.remove.textContent = ended ? "Delete" : "Cancel";
  }

  /** Links to single answers; the server sends each on to the object store that has it. */
  offer(names: string[]): void {
    const links = names.map((name) => make("a", { href: answerOf(this.job.id, name), target: "_blank", rel: "noreferrer" }, name));
    this.answers.replaceChildren(...links.map((link) => make("li", {}, link)));
    show(this.answers, names.length > 0);
  }

  /** Why files failed, in the words of the service. */
  tell(files: JobFile[]): void {
    const failed = files.filter((file) => file.state === "failed" || file.state === "quarantined");
    const now = JSON.stringify(failed);
    if (now === this.told) return;
    this.told = now;
    const rows = failed.slice(0, REASONS_SHOWN).map(({ name, error }) => make("li", {}, make("strong", {}, name), make("p", { className: "warning" }, error)));
    const left = failed.length - rows.length;
    this.reasons.replaceChildren(...rows, ...(left ? [make("li", {}, `${several(left, "more file")} failed.`)] : []));
    show(this.reasons, failed.length > 0);
  }
}

export function titleOf({ sources }: Job): string {
  const others = sources.length - 1;
  return others > 0 ? `${sources[0]} and ${several(others, "other")}` : (sources[0] ?? "no files");
}

/** How a job ended. */
export function endOf(job: Job): string {
  const lost = numFailed(job);
  if (job.state === "failed") return "failed";
  return lost ? `${count(lost)} of ${count(numTiles(job) - job.tiles.context)} failed` : "done";
}

function numFailed(job: Job): number {
  return job.tiles.failed + job.tiles.quarantined;
}

function aboutOf(job: Job): string {
  const all = numTiles(job) - job.tiles.context;
  const ended = isEnded(job);
  const lost = numFailed(job);
  const parts = [
    ended && lost === 0 && job.tiles.done === all ? several(all, "file") : `${count(job.tiles.done)} of ${several(all, "file")} done`,
    lost ? `${count(lost)} failed` : "",
    job.points ? (ended ? `${short(job.points_done)} points` : `${short(job.points_done)} of ${short(job.points)} points`) : "",
    !ended && job.points_s ? `${short(job.points_s)} points/s` : "",
    !ended && job.left_s !== null ? `${duration(job.left_s)} left` : "",
    job.model,
    `${bytes(job.disk_bytes)} at the server`,
    job.expires ? `kept until ${moment(job.expires)}` : "",
  ];
  return parts.filter(Boolean).join(" · ");
}

function moment(time: string): string {
  return new Date(time).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}
