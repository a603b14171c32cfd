/** What a card tells of one point. */

import type { Cloud, Part } from "./cloud";
import { titleOf } from "./declared";
import { make } from "./dom";
import { column, scaled, value } from "./header";
import { count, plain } from "./numbers";

/** Name and value of everything that is known of a point. */
export function facts(cloud: Cloud, part: Part, row: number): [string, string][] {
  const { header } = cloud;
  const stored = part.columns;
  const label = header.classes[stored.label[row]];
  const out: [string, string][] = [["class", label ? label.name : "ignored"]];
  for (const { name, unit } of scaled(header)) {
    const known = trueValue(cloud, part, name, row);
    out.push([titleOf(name), Number.isNaN(known) ? "–" : [known.toFixed(2), unit].filter(Boolean).join(" ")]);
  }
  if (stored.reference) {
    const told = header.reference!.values[stored.reference[row]];
    out.push(["in the file", told ? `${told.name} (${told.code})` : "–"]);
  }
  out.push(["x, y, z", placeOf(cloud, part, row).map((coordinate) => coordinate.toFixed(decimalsOf(cloud))).join(", ")]);
  if (stored.intensity) out.push(["intensity", plain(trueValue(cloud, part, "intensity", row))]);
  if (stored.rgb) out.push(["red, green, blue", [...stored.rgb.subarray(3 * row, 3 * row + 3)].join(", ")]);
  if (stored.instance) out.push(["instance", String(stored.instance[row])]);
  out.push(["point", `${count(stored.index[row])} of ${count(header.num_points)}`]);
  return out;
}

export function card(rows: [string, string][], close: () => void): Node[] {
  const list = make("dl", {}, ...rows.map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, text))));
  const button = make("button", { type: "button", onclick: close, title: "Close (Esc)" }, "×");
  button.setAttribute("aria-label", "Close");
  return [list, button];
}

/** Coordinates in the file. */
export function placeOf({ header }: Cloud, part: Part, row: number): number[] {
  const position = column(header, "position")!;
  return [0, 1, 2].map((axis) => value(position, part.columns.position[3 * row + axis], axis));
}

/** Of coordinates, that their steps can be told apart by. */
export function decimalsOf({ header }: Cloud): number {
  const steps = column(header, "position")!.step as number[];
  return Math.min(8, Math.max(0, Math.ceil(-Math.log10(Math.min(...steps)))));
}

/** The row with `index` in the file; null where it has not arrived. */
export function findIndex(cloud: Cloud, index: number): { part: Part; row: number } | null {
  for (const part of cloud.parts) {
    const row = part.columns.index.indexOf(index);
    if (row >= 0) return { part, row };
  }
  return null;
}

function trueValue(cloud: Cloud, part: Part, name: string, row: number): number {
  return value(column(cloud.header, name)!, part.columns[name][row]);
}
