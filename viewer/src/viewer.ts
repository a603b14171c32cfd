/** A classified cloud on the screen and everything that one can do with it. */

import * as THREE from "three";
import { renderAgreement } from "./agreement";
import { Cloud, type Part } from "./cloud";
import { Colors } from "./colors";
import { by, make, press, show } from "./dom";
import type { Block, Header } from "./header";
import { Legend, swatch } from "./legend";
import type { View } from "./link";
import { type Navigation, Navigator } from "./navigation";
import { count, short } from "./numbers";
import { type Color, DIFFERENT, NOT_COMPARED, SAME } from "./palette";
import { Probe } from "./probe";
import { COMPARISONS, type Comparison, table } from "./shader";
import { Stage } from "./stage";

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
  readonly probe = new Probe(this.stage, (part, row) => this.isShown(part, row));
  /** Told when anything changed that a link holds. */
  onChange: () => void = () => {};
  private model = new Legend(by("legend").appendChild(make("div")));
  private file = new Legend(by("legend").appendChild(make("div")));
  private comparison = by<HTMLSelectElement>("compare");
  private divider = by<HTMLInputElement>("divider");
  private wanted: View | null = null;
  private turn = 0;

  constructor() {
    this.model.onChange = this.file.onChange = () => this.recolor();
    this.colors.onChange = () => this.relist();
    this.navigator.onChange = this.probe.onChange = () => this.onChange();
    this.stage.onFrame = () => this.frame();
    this.comparison.oninput = () => this.compare(this.comparison.value as Comparison);
    this.divider.oninput = () => this.compare(this.comparison.value as Comparison);
    by("show-all").onclick = () => this.showAll();
    by("whole").onclick = () => this.navigator.whole();
    for (const button of this.navigationButtons) button.onclick = () => this.navigate(button.dataset.navigation as Navigation);
    by("difference-legend").replaceChildren(...DIFFERENCES.map(([name, color]) => make("li", {}, swatch(color), name)));
  }

  get cloud(): Cloud | null {
    return this.stage.cloud;
  }

  begin(header: Header, view: View): void {
    const cloud = new Cloud(header, this.stage.material);
    this.probe.clear();
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
    if (cloud.parts.length === 1) {
      this.arrange(cloud, this.wanted!);
      this.probe.outline();
    }
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
    this.probe.find(view.point);
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
      point: this.probe.point,
    };
  }

  navigate(mode: Navigation): void {
    for (const button of this.navigationButtons) press(button, button.dataset.navigation === mode);
    this.navigator.choose(mode);
    this.onChange();
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
    this.probe.draw();
    if (!this.cloud) return;
    const { drawn, budget, rate } = this.stage.statistics;
    const status = by("status");
    Object.assign(status.dataset, { drawn, budget, rate: rate.toFixed(1), points: this.cloud.num_points });
    const moving = rate ? ` · moving: ${short(budget)} a frame, ${rate.toFixed(0)} frames/s` : "";
    const text = `${count(this.cloud.num_points)} points, ${short(drawn)} drawn${moving}`;
    if (status.textContent !== text) status.textContent = text;
  }

  private isShown(part: Part, row: number): boolean {
    return this.comparison.value === "file"
      ? !this.file.hidden.has(part.columns.reference[row])
      : !this.model.hidden.has(part.columns.label[row]);
  }
}
