/** The files of a job seen from above, by state; each can be chosen, and one that is done is shown by a click. */

import { by, make, show } from "./dom";
import { type FileState, type JobFile, STATES, answerOf } from "./job";
import { type Cell, type Layout, SIDE, layoutsOf, neighbour, roundLength } from "./layout";
import { count, several } from "./numbers";

const SVG = "http://www.w3.org/2000/svg";
/** What lies on top where files overlap. */
const URGENCY: FileState[] = ["context", "done", "pending", "running", "failed", "quarantined"];
const WORDS: Record<FileState, string> = {
  pending: "waiting",
  running: "under way",
  done: "done",
  failed: "failed",
  quarantined: "given up: it ended what worked on it",
  context: "gives context only",
};
const MARKED: FileState[] = ["failed", "quarantined"];
const STEPS: Record<string, [right: number, down: number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const BAR_SHARE = 0.25; // of the drawing that the bar of its scale takes at most
const MARGIN = 6; // around a drawing, in its units
const BAR_SPACE = 36;

export class TileMap {
  /** Asked to show the answer of a file that is done. */
  onOpen: (file: JobFile) => void = () => {};
  onClose: () => void = () => {};
  private box = by("map");
  private files = new Map<number, JobFile>();
  private chosen: number | null = null;
  private left = 0;
  private id = "";
  private drawn = "";
  private frame = 0;

  constructor() {
    by("map-close").onclick = () => this.close();
    by("tile-open").onclick = () => this.open();
  }

  get isShown(): boolean {
    return !this.box.hidden;
  }

  /** Show the map of the job `id`. */
  show(title: string, id: string): void {
    if (id !== this.id) this.set([], 0);
    this.id = id;
    by("map-title").textContent = title;
    show(this.box, true);
  }

  hide(): void {
    show(this.box, false);
  }

  close(): void {
    this.hide();
    this.onClose();
  }

  /** All files of the job that are known, and how many are left out. */
  set(files: JobFile[], left: number): void {
    this.files = new Map(files.map((file) => [file.number, file]));
    this.left = left;
    if (this.chosen !== null && !this.files.has(this.chosen)) this.chosen = null;
    this.draw();
  }

  /** One file changed; many do at once. */
  update(file: JobFile): void {
    this.files.set(file.number, file);
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.draw());
  }

  private draw(): void {
    const files = [...this.files.values()];
    const now = JSON.stringify([this.id, files]);
    if (now === this.drawn) return;
    this.drawn = now;
    const focused = document.activeElement?.closest(".tiles")?.getAttribute("data-place");
    by("map-figures").replaceChildren(...layoutsOf(files).map((layout, place) => this.figure(layout, place)));
    if (focused) by("map-figures").querySelector<SVGElement>(`[data-place="${focused}"]`)?.focus();
    by("map-legend").replaceChildren(...STATES.flatMap((state) => legendRow(state, files.filter((file) => file.state === state).length)));
    const left = this.left ? ` ${several(this.left, "more file")} are not drawn.` : "";
    by("map-note").textContent = files.length ? `Choose a file to read about it; one that is done is shown.${left}` : "Its files are not known yet.";
    this.tell();
  }

  private figure(layout: Layout, place: number): HTMLElement {
    const beneath = layout.crs === null ? MARGIN : BAR_SPACE;
    const viewBox = `${-MARGIN} ${-MARGIN} ${layout.width + 2 * MARGIN} ${layout.height + MARGIN + beneath}`;
    const svg = element("svg", { class: "tiles", viewBox });
    svg.setAttribute("role", "listbox");
    svg.setAttribute("tabindex", "0");
    svg.setAttribute("data-place", String(place));
    svg.setAttribute("aria-label", layout.crs === null ? "Files that state no place" : "Files seen from above");
    const cells = [...layout.cells].sort((a, b) => URGENCY.indexOf(a.file.state) - URGENCY.indexOf(b.file.state));
    svg.append(...cells.map((cell) => this.cell(cell)));
    svg.onclick = (event) => this.clicked(event);
    svg.onkeydown = (event) => this.pressed(event, layout.cells);
    svg.onmousedown = (event) => event.preventDefault(); // what is told of the first file would move the one under the pointer
    svg.onfocus = () => this.choose(this.among(layout.cells)?.file.number ?? layout.cells[0].file.number);
    const words = this.caption(layout, svg);
    return make("figure", {}, svg as unknown as Node, make("figcaption", { className: "quiet" }, words));
  }

  /** Words beneath a drawing, and the bar in it that they explain. */
  private caption(layout: Layout, svg: SVGElement): string {
    if (layout.crs === null) return `${several(layout.cells.length, "file")} whose headers state no place.`;
    const { scale, metres, width, height } = layout;
    const unit = metres ?? 1;
    const length = roundLength(BAR_SHARE * SIDE * scale * unit);
    const bar = length / scale / unit;
    svg.append(element("path", { class: "bar-of-scale", d: `M${width - bar} ${height + BAR_SPACE / 2}h${bar}` }));
    const extent = [width, height].map((side) => short(side * scale * unit)).join(" × ");
    const words = metres === null ? "in the unit of the files" : "m";
    return `${several(layout.cells.length, "file")}, ${extent} ${words}${layout.crs ? `, ${layout.crs}` : ""}. The bar is ${short(length)}${metres === null ? "" : " m"} long.`;
  }

  private cell({ file, x, y, width, height }: Cell): SVGElement {
    const group = element("g", { id: `tile-${file.number}`, class: `tile ${file.state}` });
    group.setAttribute("role", "option");
    group.setAttribute("aria-selected", String(file.number === this.chosen));
    group.setAttribute("aria-label", `${file.name}: ${WORDS[file.state]}`);
    group.dataset.number = String(file.number);
    const title = element("title", {});
    title.textContent = `${file.name}: ${WORDS[file.state]}`;
    group.append(title, element("rect", { x, y, width, height }));
    if (MARKED.includes(file.state)) group.append(element("path", { d: `M${x} ${y}l${width} ${height}m0 ${-height}l${-width} ${height}` }));
    return group;
  }

  private clicked(event: MouseEvent): void {
    const number = (event.target as Element).closest<SVGElement>(".tile")?.dataset.number;
    if (!number) return;
    this.choose(Number(number));
    (event.currentTarget as SVGElement).focus();
    this.open();
  }

  private pressed(event: KeyboardEvent, cells: Cell[]): void {
    const step = STEPS[event.key];
    if (event.key === "Enter" || event.key === " ") this.open();
    else if (step) {
      const from = this.among(cells) ?? cells[0];
      const next = neighbour(cells, from, ...step);
      if (next) this.choose(next.file.number);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private among(cells: Cell[]): Cell | undefined {
    return cells.find((cell) => cell.file.number === this.chosen);
  }

  private choose(number: number): void {
    this.chosen = number;
    this.tell();
  }

  private open(): void {
    const file = this.chosen === null ? undefined : this.files.get(this.chosen);
    if (file?.state === "done") this.onOpen(file);
  }

  /** Say what is known of the file that is chosen. */
  private tell(): void {
    const file = this.chosen === null ? undefined : this.files.get(this.chosen);
    show(by("tile"), file !== undefined);
    for (const cell of this.box.querySelectorAll(".tile[aria-selected=true]")) cell.setAttribute("aria-selected", "false");
    for (const svg of this.box.querySelectorAll(".tiles")) svg.removeAttribute("aria-activedescendant");
    if (!file) return;
    const cell = by(`tile-${file.number}`);
    cell.setAttribute("aria-selected", "true");
    cell.closest(".tiles")!.setAttribute("aria-activedescendant", cell.id);
    const points = file.points === null ? "" : `, ${several(file.points, "point")}`;
    const again = file.attempts > 1 ? `, tried ${count(file.attempts)} times` : "";
    by("tile-name").textContent = file.name;
    by("tile-state").textContent = `${WORDS[file.state]}${points}${again}`;
    const reasons = [file.error, ...file.warnings].filter(Boolean);
    by("tile-words").replaceChildren(...reasons.map((words) => make("li", { className: words === file.error ? "warning" : "quiet" }, words)));
    show(by("tile-row"), file.state === "done");
    by<HTMLAnchorElement>("tile-file").href = answerOf(this.id, file.answer);
  }
}

function legendRow(state: FileState, number: number): HTMLLIElement[] {
  if (!number) return [];
  const swatch = element("svg", { viewBox: "-1 -1 18 18", "aria-hidden": "true" });
  const tile = element("g", { class: `tile ${state}` });
  tile.append(element("rect", { width: 16, height: 16 }));
  if (MARKED.includes(state)) tile.append(element("path", { d: "M0 0l16 16m0-16l-16 16" }));
  swatch.append(tile);
  return [make("li", {}, swatch as unknown as Node, ` ${count(number)} ${WORDS[state]}`)];
}

function element(name: string, attributes: Record<string, string | number>): SVGElement {
  const made = document.createElementNS(SVG, name) as SVGElement;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

/** A length with as many digits as are of use. */
function short(length: number): string {
  return length >= 100 ? count(Math.round(length)) : String(Number(length.toPrecision(3)));
}
