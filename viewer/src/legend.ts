/** A list of classes: name, color, count, share; each can be hidden, or shown alone. */

import { make, press } from "./dom";
import { count, share } from "./numbers";
import { type Color, css } from "./palette";

export interface Entry {
  index: number;
  name: string;
  color: Color;
  count: number;
}

export class Legend {
  readonly hidden = new Set<number>();
  onChange: () => void = () => {};
  private entries: Entry[] = [];

  constructor(private root: HTMLElement) {}

  set(title: string, entries: Entry[]): void {
    this.entries = entries;
    const whole = entries.reduce((sum, entry) => sum + entry.count, 0);
    const rows = entries.map((entry) => this.row(entry, whole));
    const list = make("ul", { className: "legend" }, ...rows);
    list.setAttribute("aria-label", title);
    this.root.replaceChildren(...(title ? [make("h3", {}, title)] : []), list);
    this.update();
  }

  hide(indices: Iterable<number>): void {
    this.hidden.clear();
    for (const index of indices) this.hidden.add(index);
    this.update();
    this.onChange();
  }

  toggle(index: number): void {
    const next = new Set(this.hidden);
    if (!next.delete(index)) next.add(index);
    this.hide(next);
  }

  /** Show one class alone; once more, and all are back. */
  isolate(index: number): void {
    const others = this.entries.map((entry) => entry.index).filter((other) => other !== index);
    const alone = !this.hidden.has(index) && others.every((other) => this.hidden.has(other));
    this.hide(alone ? [] : others);
  }

  private row(entry: Entry, whole: number): HTMLLIElement {
    const name = make("span", { className: "name", title: entry.name }, entry.name);
    const amount = make("span", { className: "count", title: share(entry.count, whole) }, count(entry.count));
    const part = make("span", { className: "share" }, share(entry.count, whole));
    const toggle = make("button", { type: "button", className: "class" }, swatch(entry.color), name, amount, part);
    toggle.dataset.index = String(entry.index);
    toggle.onclick = () => this.toggle(entry.index);
    const only = make("button", { type: "button", className: "only" }, "only");
    only.setAttribute("aria-label", `Only ${entry.name}`);
    only.onclick = () => this.isolate(entry.index);
    return make("li", {}, toggle, only);
  }

  private update(): void {
    for (const button of this.root.querySelectorAll<HTMLElement>("button.class")) {
      press(button, !this.hidden.has(Number(button.dataset.index)));
    }
  }
}

/** A small field of `color`. */
export function swatch(color: Color): HTMLSpanElement {
  const field = make("span", { className: "swatch" });
  field.style.backgroundColor = css(color);
  return field;
}
