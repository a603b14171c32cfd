/** Warnings, and where the time went. */

import { by, make } from "./dom";
import type { Header } from "./header";
import { count, milliseconds } from "./numbers";

export function report({ warnings, refined = [] }: Header, timings_ms: Record<string, number>): void {
  const list = warnings.length ? warnings.map((text) => make("li", { className: "warning" }, text)) : [make("li", {}, "No warnings.")];
  list.push(...refined.map(({ step, changed }) => make("li", {}, `Refined: ${step} changed ${count(changed)} points.`)));
  by("warnings").replaceChildren(...list);
  const whole = Object.values(timings_ms).reduce((sum, value) => sum + value, 0);
  const rows = Object.entries(timings_ms).map(([stage, value]) => {
    const bar = make("span", { className: "bar" });
    bar.style.width = `${(100 * value) / Math.max(whole, 1e-9)}%`;
    return make("tr", {}, make("th", { scope: "row" }, stage), make("td", {}, milliseconds(value)), make("td", {}, bar));
  });
  by("timings").querySelector("tbody")!.replaceChildren(...rows);
}

/** `decode;dur=1.2, network;dur=3` as numbers. */
export function serverTiming(header: string): Record<string, number> {
  const entries = header.split(",").map((part) => part.trim().match(/^([\w-]+);dur=([\d.]+)$/));
  return Object.fromEntries(entries.flatMap((found) => (found ? [[found[1], Number(found[2])]] : [])));
}
