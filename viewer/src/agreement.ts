/** How well the model's classes agree with those of the file: confusion matrix and intersection over union. */

import type { Cloud } from "./cloud";
import { make } from "./dom";
import type { Block } from "./header";
import { count, share } from "./numbers";

/** Classes of model and file that are compared as one. */
interface Group {
  key: number;
  name: string;
}

export class Agreement {
  readonly groups: Group[];
  /** Points by group of the file (row) and of the model (column); the last column is for none of the groups. */
  readonly confusion: number[][];
  num_left_out = 0;
  private fileRow: number[];
  private modelColumn: number[];

  constructor(cloud: Cloud) {
    const { classes, reference } = cloud.header;
    const names = new Map<number, string[]>();
    classes.forEach((known, index) => {
      const key = cloud.modelKey(index);
      if (key !== null) names.set(key, [...(names.get(key) ?? []), known.name]);
    });
    this.groups = [...names].sort(([a], [b]) => a - b).map(([key, name]) => ({ key, name: name.join(" + ") }));
    const place = (key: number | null) => this.groups.findIndex((group) => group.key === key);
    this.fileRow = [...(reference?.values.map(({ key }) => place(key)) ?? []), -1];
    this.modelColumn = [...classes.map((_, index) => place(cloud.modelKey(index))), -1];
    this.confusion = this.groups.map(() => new Array<number>(this.groups.length + 1).fill(0));
  }

  add(block: Block): void {
    const { label, reference } = block.columns;
    if (!reference) return;
    for (let i = 0; i < block.num_points; i++) {
      const row = this.fileRow[reference[i]];
      const column = this.modelColumn[label[i]];
      if (row < 0) this.num_left_out++;
      else this.confusion[row][column < 0 ? this.groups.length : column]++;
    }
  }

  /** Intersection over union of each group; NaN where the file holds none of it. */
  iou(): number[] {
    return this.groups.map((_, index) => {
      const truth = sum(this.confusion[index]);
      const predicted = sum(this.confusion.map((row) => row[index]));
      const hits = this.confusion[index][index];
      return truth ? hits / (truth + predicted - hits) : NaN;
    });
  }

  render(root: HTMLElement): void {
    const compared = sum(this.confusion.map(sum));
    if (compared === 0) {
      root.replaceChildren(make("p", { className: "quiet" }, "None of the file's classes is one that the model knows."));
      return;
    }
    const iou = this.iou();
    const known = iou.filter((value) => !Number.isNaN(value));
    const hits = sum(this.groups.map((_, index) => this.confusion[index][index]));
    const mean = sum(known) / known.length;
    const text = `Mean IoU ${mean.toFixed(3)} · ${share(hits, compared)} agree · ${count(compared)} points compared`;
    const left = this.num_left_out ? `, ${count(this.num_left_out)} left out: their codes say nothing that the model knows` : "";
    const summary = make("p", { id: "mean-iou" }, `${text}${left}.`);
    const how = make("p", { className: "quiet" }, "Of the points of each class of the file (rows), the percentage that the model calls so (columns):");
    const scroll = make("div", { className: "scroll", tabIndex: 0, ariaLabel: "Confusion matrix", role: "group" }, this.table(iou));
    root.replaceChildren(summary, how, scroll);
  }

  private table(iou: number[]): HTMLTableElement {
    const head = make("tr", {}, heading("", "col"), ...this.groups.map(({ name }) => heading(name, "col")));
    const hasOthers = this.confusion.some((row) => row[this.groups.length] > 0);
    if (hasOthers) head.append(heading("other", "col"));
    head.append(heading("IoU", "col"));
    const rows = this.confusion.map((row, index) => {
      const whole = sum(row);
      const shown = hasOthers ? row : row.slice(0, -1);
      const cells = shown.map((value, column) => {
        const part = whole ? value / whole : 0;
        const cell = make("td", { title: `${share(value, whole)}, ${count(value)} points` }, whole ? String(Math.round(100 * part)) : "–");
        cell.className = column === index ? "hit" : "miss";
        cell.style.setProperty("--part", part.toFixed(3));
        return cell;
      });
      const score = make("td", {}, Number.isNaN(iou[index]) ? "–" : iou[index].toFixed(3));
      return make("tr", {}, heading(this.groups[index].name, "row"), ...cells, score);
    });
    return make("table", { className: "confusion", ariaLabel: "Confusion matrix" }, make("thead", {}, head), make("tbody", {}, ...rows));
  }
}

function heading(text: string, scope: "row" | "col"): HTMLTableCellElement {
  return make("th", { scope, title: text }, make("span", {}, text));
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
