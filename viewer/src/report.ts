/** What is told beside a result: what refined the classes, warnings, and where the time went. */

import { titleOf } from "./declared";
import { by, make, show } from "./dom";
import type { Header } from "./header";
import { milliseconds, several, share } from "./numbers";

/** Tell what became of the classes; `steps` says what each step does. */
export function tell({ warnings, refined = [], num_points }: Header, steps: Record<string, string>): void {
  const done = refined.map(({ step, changed }) => {
    const what = changed ? `${several(changed, "point")} got another class (${share(changed, num_points)})` : "no point got another class";
    const title = make("summary", {}, make("strong", {}, titleOf(step)), `: ${what}`);
    return make("li", {}, make("details", {}, title, make("p", { className: "quiet" }, steps[step] ?? "")));
  });
  fill("refined", done);
  fill("warnings", warnings.map((text) => make("li", { className: "warning" }, text)));
}

/** Tell milliseconds by stage. */
export function report(timings_ms: Record<string, number>): void {
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

function fill(id: string, rows: HTMLLIElement[]): void {
  by(id).replaceChildren(...rows);
  show(by(id), rows.length > 0);
}
