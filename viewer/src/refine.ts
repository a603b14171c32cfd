/** The options that have no control of their own on the page, each with one that follows from its declaration. */

import { ringsOf } from "./area";
import { type Control, controlOf } from "./control";
import { type Option, titleOf } from "./declared";
import { by, make, show } from "./dom";

export class Refine {
  /** Asked to let someone draw a box, and to hand it to `done`. */
  onDraw: (done: (box: string) => void) => void = () => {};
  /** Told when the area changed that options are about; '' for none. */
  onArea: (area: string) => void = () => {};
  private box = by("refine");
  private controls = new Map<string, Control>();
  private areas: Control[] = [];
  private drawing: HTMLButtonElement[] = [];

  constructor() {
    this.box.addEventListener("input", () => this.changed());
    by("refine-none").onclick = () => (this.values = {});
  }

  offer(options: Option[]): void {
    for (const option of options) {
      const control = controlOf(option);
      this.controls.set(option.name, control);
      if (option.kind === "area") this.addWays(control, option.name);
    }
    by("refine-options").replaceChildren(...[...this.controls.values()].map(({ element }) => element));
    this.changed();
  }

  /** What differs from its default, by option, in the order of their declaration. */
  get values(): Record<string, string> {
    return Object.fromEntries([...this.controls].flatMap(([name, { value }]) => (value ? [[name, value]] : [])));
  }

  set values(values: Record<string, string>) {
    for (const [name, control] of this.controls) control.value = values[name] ?? "";
    this.changed();
  }

  /** The area that is stated now, if it can be drawn. */
  get area(): string {
    return this.areas.map(({ value }) => value).find((value) => ringsOf(value).length) ?? "";
  }

  /** There is a picture to draw in. */
  allowDrawing(): void {
    for (const button of this.drawing) button.disabled = false;
  }

  /** Ways to state an area beside writing it: two corners in the picture, or a file. */
  private addWays(control: Control, name: string): void {
    this.areas.push(control);
    const take = (area: string) => {
      control.value = area;
      control.element.querySelector("input")!.dispatchEvent(new Event("input", { bubbles: true }));
    };
    const draw = make("button", { type: "button", disabled: true, onclick: () => this.onDraw(take) }, "Draw a box");
    const input = make("input", { type: "file", accept: ".geojson,.json,application/geo+json", hidden: true });
    input.setAttribute("aria-label", `GeoJSON of ${titleOf(name)}`);
    input.onchange = async () => {
      const file = input.files?.[0];
      input.value = "";
      if (file) take(compact(await file.text()));
    };
    const open = make("button", { type: "button", onclick: () => input.click() }, "From a GeoJSON file");
    this.drawing.push(draw);
    control.element.querySelector("label")!.after(make("div", { className: "row" }, draw, open, input));
  }

  private changed(): void {
    const given = Object.keys(this.values);
    by("refine-given").textContent = given.length ? `: ${given.map(titleOf).join(", ")}` : "";
    show(by("refine-none"), given.length > 0);
    this.onArea(this.area);
  }
}

/** JSON without what stands between its parts; any other text as it is. */
function compact(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text));
  } catch {
    return text;
  }
}
