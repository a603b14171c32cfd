/** The confusion matrix of the model's classes and those of the file, and intersection over union, as the answer has them. */

import { make } from "./dom";
import type { Agreement } from "./header";
import { count, share } from "./numbers";

export function renderAgreement(root: HTMLElement, found: Agreement | null | undefined): void {
  if (!found?.judged) {
    root.replaceChildren(make("p", { className: "quiet" }, "None of the file's classes is one that the model knows."));
    return;
  }
  const text = `Mean IoU ${ratio(found.mean_iou)} · ${share(found.accuracy ?? 0, 1)} agree · ${count(found.judged)} points compared`;
  const left = found.ignored ? `, ${count(found.ignored)} left out: their codes say nothing that the model knows` : "";
  const summary = make("p", { id: "mean-iou" }, `${text}${left}.`);
  const how = make("p", { className: "quiet" }, "Of the points of each class of the file (rows), the percentage that the model calls so (columns):");
  const scroll = make("div", { className: "scroll", tabIndex: 0, ariaLabel: "Confusion matrix", role: "group" }, table(found));
  root.replaceChildren(summary, how, scroll);
}

function table({ classes, counts, iou }: Agreement): HTMLTableElement {
  const head = make("tr", {}, heading("", "col"), ...classes.map((name) => heading(name, "col")));
  const hasOthers = counts.some((row) => row[classes.length] > 0);
  if (hasOthers) head.append(heading("other", "col"));
  head.append(heading("IoU", "col"));
  const rows = counts.map((row, index) => {
    const whole = row.reduce((total, value) => total + value, 0);
    const shown = hasOthers ? row : row.slice(0, -1);
    const cells = shown.map((value, column) => {
      const part = whole ? value / whole : 0;
      const cell = make("td", { title: `${share(value, whole)}, ${count(value)} points` }, whole ? String(Math.round(100 * part)) : "–");
      cell.className = column === index ? "hit" : "miss";
      cell.style.setProperty("--part", part.toFixed(3));
      return cell;
    });
    return make("tr", {}, heading(classes[index], "row"), ...cells, make("td", {}, ratio(iou[index])));
  });
  return make("table", { className: "confusion", ariaLabel: "Confusion matrix" }, make("thead", {}, head), make("tbody", {}, ...rows));
}

function heading(text: string, scope: "row" | "col"): HTMLTableCellElement {
  return make("th", { scope, title: text }, make("span", {}, text));
}

function ratio(value: number | null): string {
  return value === null ? "–" : value.toFixed(3);
}
