/** Where the files of a job lie on a drawing: those of each coordinate system seen from above, then those without a place. */

import type { JobFile } from "./job";

/** Side of the drawing along the longer axis. */
export const SIDE = 1000;
const LEAST = 6; // that a rectangle still can be hit
const GAP = 0.15; // of a square, between those of files without a place

/** A rectangle, y downwards. */
export interface Cell {
  file: JobFile;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Layout {
  /** Name of the coordinate system, '' where none is stated, null for files that state no place. */
  crs: string | null;
  width: number;
  height: number;
  /** Units of the files to one of the drawing. */
  scale: number;
  /** Metres to a unit of the files, null where that is not known, or nothing has a place. */
  metres: number | null;
  cells: Cell[];
}

export function layoutsOf(files: JobFile[]): Layout[] {
  const systems = new Map<string, JobFile[]>();
  for (const file of files.filter(({ bounds }) => bounds)) {
    const inside = systems.get(file.crs);
    if (inside) inside.push(file);
    else systems.set(file.crs, [file]);
  }
  const placed = [...systems].sort(([, a], [, b]) => b.length - a.length).map(([crs, inside]) => fromAbove(crs, inside));
  const others = files.filter((file) => !file.bounds);
  return others.length ? [...placed, inRows(others, placed.length > 0)] : placed;
}

function fromAbove(crs: string, files: JobFile[]): Layout {
  const along = (axis: number) => files.map((file) => file.bounds![axis]);
  const low = [least(along(0)), least(along(1))];
  const high = [most(along(3)), most(along(4))];
  const extent = [high[0] - low[0], high[1] - low[1]];
  const scale = Math.max(...extent, 1e-9) / SIDE;
  const cells = files.map((file) => {
    const [left, bottom, , right, top] = file.bounds!;
    const width = Math.max(LEAST, (right - left) / scale);
    const height = Math.max(LEAST, (top - bottom) / scale);
    return { file, x: (left - low[0]) / scale, y: (high[1] - top) / scale, width, height };
  });
  const metres = files[0].metres;
  return { crs, scale, metres, cells, width: Math.max(LEAST, extent[0] / scale), height: Math.max(LEAST, extent[1] / scale) };
}

/** Squares in order, small beneath a map. */
function inRows(files: JobFile[], isBeneath: boolean): Layout {
  const columns = Math.max(Math.ceil(Math.sqrt(files.length)), isBeneath ? 12 : 4);
  const side = SIDE / columns;
  const cells = files.map((file, index) => ({
    file,
    x: (index % columns) * side,
    y: Math.floor(index / columns) * side,
    width: side * (1 - GAP),
    height: side * (1 - GAP),
  }));
  return { crs: null, scale: 1, metres: null, cells, width: SIDE, height: Math.ceil(files.length / columns) * side };
}

/** The largest of 1, 2, 5, 10 … that is at most `most`. */
export function roundLength(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most));
  return [5, 2, 1].find((digit) => digit * power <= most * (1 + 1e-9))! * power;
}

/** The cell nearest to `from` of those that lie in the direction (`right`, `down`), or null. */
export function neighbour(cells: Cell[], from: Cell, right: number, down: number): Cell | null {
  let best: Cell | null = null;
  let bestCost = Number.POSITIVE_INFINITY;
  for (const cell of cells) {
    const x = cell.x + cell.width / 2 - from.x - from.width / 2;
    const y = cell.y + cell.height / 2 - from.y - from.height / 2;
    const along = x * right + y * down;
    const aside = Math.abs(x * down) + Math.abs(y * right);
    const cost = along + 2 * aside;
    if (along > 1e-6 && along >= aside / 2 && cost < bestCost) [best, bestCost] = [cell, cost];
  }
  return best;
}

/** Without spreading the values over a stack that many would overflow. */
function least(values: number[]): number {
  return values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
}

function most(values: number[]): number {
  return values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
}
