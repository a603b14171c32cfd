/** A classified cloud on the screen and everything that one can do with it. */

import * as THREE from "three";
import { renderAgreement } from "./agreement";
import { Cloud, type Part } from "./cloud";
import { Colors } from "./colors";
import { by, make, press, show } from "./dom";
import type { Block, Header } from "./header";
import { Legend, swatch } from "./legend";
import type { View } from "./link";
import { Marks } from "./marks";
import { type Navigation, Navigator } from "./navigation";
import { count, short } from "./numbers";
import { type Color, DIFFERENT, NOT_COMPARED, SAME } from "./palette";
import { type Picked, pick } from "./pick";
import { card, facts, findIndex } from "./point";
import { COMPARISONS, type Comparison, table } from "./shader";
import { Stage } from "./stage";

const CLICK_PIXELS = 5;
const TURN_MS = 1000;
const DIFFERENCES: [string, Color][] = [
  ["model and file agree", SAME],
  ["they differ", DIFFERENT],
  ["not compared: the model does not know the file's class", NOT_COMPARED],
];

export class Viewer {
  readonly stage = new Stage(by<HTMLCanvasElement>("view"));
  readonly navigator = new Navigator(this.stage);
  readonly colors = new Colors(this.stage);
  /** Told when anything changed that a link holds. */
  onChange: () => void = () => {};
  private marks = new Marks(by<SVGSVGElement>("marks"), this.stage);
  private model = new Legend(by("legend").appendChild(make("div")));
  private file = new Legend(by("legend").appendChild(make("div")));
  private comparison = by<HTMLSelectElement>("compare");
  private divider = by<HTMLInputElement>("divider");
  private wanted: View | null = null;
  private point = -1;
  private measuring = false;
  private turn = 0;

  constructor() {
    this.model.onChange = this.file.onChange = () => this.recolor();
    this.colors.onChange = () => this.relist();
    this.navigator.onChange = () => this.onChange();
    this.stage.onFrame = () => this.frame();
    this.comparison.oninput = () => this.compare(this.comparison.value as Comparison);
    this.divider.oninput = () => this.compare(this.comparison.value as Comparison);
    by("show-all").onclick = () => this.showAll();
    by("measure").onclick = () => this.measure(!this.measuring);
    by("whole").onclick = () => this.navigator.whole();
    for (const button of this.navigationButtons) button.onclick = () => this.navigate(button.dataset.navigation as Navigation);
    by("difference-legend").replaceChildren(...DIFFERENCES.map(([name, color]) => make("li", {}, swatch(color), name)));
    this.listenForClicks();
  }

  get cloud(): Cloud | null {
    return this.stage.cloud;
  }

  begin(header: Header, view: View): void {
    const cloud = new Cloud(header, this.stage.material);
    this.unpick();
    this.measure(false);
    this.stage.show(cloud);
    for (const id of ["legend-section", "download-section", "colors-section", "report-section", "share-section"]) show(by(id), true);
    show(by("compare-section"), header.reference !== null);
    renderAgreement(by("agreement"), header.reference?.agreement);
    this.wanted = view;
    this.model.hidden.clear();
    this.file.hidden.clear();
    this.divider.value = String(Math.round(view.divider * 1000));
  }

  add(block: Block): void {
    const { cloud } = this;
    if (!cloud) return;
    cloud.add(block);
    if (cloud.parts.length === 1) this.arrange(cloud, this.wanted!);
    this.stage.more();
  }

  /** Everything as `view` says, once there are points to see. */
  private arrange(cloud: Cloud, view: View): void {
    this.colors.offer(cloud, view);
    this.compare(cloud.header.reference && COMPARISONS.includes(view.comparison) ? view.comparison : "off");
    this.model.hide(view.hidden);
    this.file.hide(view.hiddenFile);
    this.navigator.whole();
    if (view.camera.length === 6) {
      this.navigator.place(new THREE.Vector3(...view.camera.slice(0, 3)), new THREE.Vector3(...view.camera.slice(3)));
    }
    this.navigate(view.navigation);
  }

  end(view: View): void {
    const found = view.point >= 0 && this.cloud ? findIndex(this.cloud, view.point) : null;
    if (found) this.tell({ ...found, place: new THREE.Vector3().fromArray(found.part.places, 3 * found.row) });
    this.stage.more();
  }

  /** The part of a link that is about the picture. */
  get view(): Omit<View, "sample" | "file" | "name" | "choices"> {
    const { camera } = this.stage;
    return {
      ...this.colors.value,
      comparison: this.comparison.value as Comparison,
      divider: Number(this.divider.value) / 1000,
      hidden: [...this.model.hidden],
      hiddenFile: [...this.file.hidden],
      navigation: this.navigator.mode,
      camera: [...camera.position.toArray(), ...this.navigator.target.toArray()],
      point: this.point,
    };
  }

  navigate(mode: Navigation): void {
    for (const button of this.navigationButtons) press(button, button.dataset.navigation === mode);
    this.navigator.choose(mode);
    this.onChange();
  }

  measure(on: boolean): void {
    this.measuring = on;
    press(by("measure"), on);
    this.marks.line = [];
    if (on) this.say([["measure", "Click two or more points; Esc ends."]]);
    else if (this.point < 0) this.unpick();
    this.marks.draw();
  }

  /** Escape: first what is measured, then the point. */
  leave(): void {
    if (this.measuring) this.measure(false);
    else this.unpick();
  }

  toggleClass(index: number): void {
    if (this.cloud && index < this.cloud.header.classes.length) this.model.toggle(index);
  }

  showAll(): void {
    this.model.hide([]);
    this.file.hide([]);
  }

  nextComparison(): void {
    if (!this.cloud?.header.reference) return;
    this.compare(COMPARISONS[(COMPARISONS.indexOf(this.comparison.value as Comparison) + 1) % COMPARISONS.length]);
  }

  private get navigationButtons(): HTMLElement[] {
    return [...document.querySelectorAll<HTMLElement>("#navigation button")];
  }

  private compare(how: Comparison): void {
    const uniforms = this.stage.material.uniforms;
    this.comparison.value = how;
    uniforms.comparison.value = COMPARISONS.indexOf(how);
    uniforms.divider.value = Number(this.divider.value) / 500 - 1;
    show(this.divider, how === "split");
    show(by("sides"), how === "split" || how === "flicker");
    by("sides").dataset.how = how;
    by("sides").style.setProperty("--at", `${Number(this.divider.value) / 10}%`);
    clearInterval(this.turn);
    uniforms.fileTurn.value = false;
    if (how === "flicker") this.turn = setInterval(() => this.takeTurns(), TURN_MS);
    show(by("difference-legend"), how === "differences");
    this.showSides();
    this.relist();
  }

  private takeTurns(): void {
    const { fileTurn } = this.stage.material.uniforms;
    fileTurn.value = !fileTurn.value;
    this.showSides();
    this.stage.draw();
  }

  private showSides(): void {
    by("sides").dataset.turn = this.stage.material.uniforms.fileTurn.value ? "file" : "model";
  }

  /** Both lists of classes, with the colors of now. */
  private relist(): void {
    if (!this.cloud) return;
    const { classes, num_ignored, reference } = this.cloud.header;
    const colors = this.colors.ofModel(this.cloud);
    const entries = classes.map(({ name, count }, index) => ({ index, name, count, color: colors[index] }));
    if (num_ignored) entries.push({ index: classes.length, name: "ignored", count: num_ignored, color: colors[classes.length] });
    const compared = reference !== null && this.comparison.value !== "off";
    this.model.set(compared ? "Of the model" : "", entries);
    const fileColors = this.colors.ofFile(this.cloud);
    const values = compared && reference ? reference.values : [];
    this.file.set(
      compared ? "Of the file" : "",
      values.map(({ name, code, count }, index) => ({ index, name: `${name} (${code})`, count, color: fileColors[index] })),
    );
    this.recolor();
  }

  private recolor(): void {
    if (!this.cloud) return;
    const uniforms = this.stage.material.uniforms;
    const shown = (hidden: Set<number>, colors: [number, number, number][]) =>
      table(colors.map((color, index) => [...color, !hidden.has(index)]));
    uniforms.ofModel.value.dispose();
    uniforms.ofFile.value.dispose();
    uniforms.ofModel.value = shown(this.model.hidden, this.colors.ofModel(this.cloud));
    uniforms.ofFile.value = shown(this.file.hidden, this.colors.ofFile(this.cloud));
    show(by("show-all"), this.model.hidden.size + this.file.hidden.size > 0);
    this.stage.draw();
    this.onChange();
  }

  private frame(): void {
    this.marks.draw();
    if (!this.cloud) return;
    const { drawn, budget, rate } = this.stage.statistics;
    const status = by("status");
    Object.assign(status.dataset, { drawn, budget, rate: rate.toFixed(1), points: this.cloud.num_points });
    const moving = rate ? ` · moving: ${short(budget)} a frame, ${rate.toFixed(0)} frames/s` : "";
    const text = `${count(this.cloud.num_points)} points, ${short(drawn)} drawn${moving}`;
    if (status.textContent !== text) status.textContent = text;
  }

  private listenForClicks(): void {
    const { canvas } = this.stage;
    let begin: PointerEvent | null = null;
    canvas.addEventListener("pointerdown", (event) => (begin = event.isPrimary && event.button === 0 ? event : null));
    canvas.addEventListener("pointerup", (event) => {
      const near = begin && Math.hypot(event.clientX - begin.clientX, event.clientY - begin.clientY) < CLICK_PIXELS;
      begin = null;
      if (near) this.click(event.offsetX, event.offsetY);
    });
  }

  private click(x: number, y: number): void {
    if (!this.cloud) return;
    const { canvas, camera } = this.stage;
    const found = pick(this.cloud, camera, x, y, canvas.clientWidth, canvas.clientHeight, (part, row) => this.isShown(part, row));
    if (!found) return;
    if (this.measuring) this.extend(found);
    else this.tell(found);
  }

  /** Read the point in the middle of the screen, for the keyboard. */
  pickMiddle(): void {
    const { canvas } = this.stage;
    this.click(canvas.clientWidth / 2, canvas.clientHeight / 2);
  }

  private isShown(part: Part, row: number): boolean {
    return this.comparison.value === "file"
      ? !this.file.hidden.has(part.columns.reference[row])
      : !this.model.hidden.has(part.columns.label[row]);
  }

  private tell(found: Picked): void {
    this.point = found.part.columns.index[found.row];
    this.marks.picked = found.place;
    this.say(facts(this.cloud!, found.part, found.row));
    this.onChange();
  }

  private extend(found: Picked): void {
    const line = this.marks.line;
    line.push(found.place);
    const legs = line.slice(1).map((place, index) => place.clone().sub(line[index]));
    const total = legs.reduce((sum, leg) => sum + leg.length(), 0);
    const level = legs.reduce((sum, leg) => sum + Math.hypot(leg.x, leg.y), 0);
    const rise = line[line.length - 1].z - line[0].z;
    this.say(
      legs.length
        ? [
            ["distance", `${total.toFixed(3)} m`],
            ["level", `${level.toFixed(3)} m`],
            ["rise", `${rise.toFixed(3)} m`],
            ["points", String(line.length)],
            ...this.doubt(),
          ]
        : [["measure", "Now the next point."]],
    );
  }

  /** What makes metres uncertain; heights without a stated unit have that of x and y. */
  private doubt(): [string, string][] {
    const { units } = this.cloud!.header;
    const isStated = units && [units.x, units.y].every(({ source }) => source !== "assumed");
    return isStated ? [] : [["unit", "not stated by the file, taken for metres"]];
  }

  private say(rows: [string, string][]): void {
    by("picked").replaceChildren(...card(rows, () => this.leave()));
    show(by("picked"), true);
    this.marks.draw();
  }

  private unpick(): void {
    this.point = -1;
    this.marks.picked = null;
    show(by("picked"), false);
    this.marks.draw();
    this.onChange();
  }
}
