/** The header of the format `view`; docs/formats.md describes it. */

export interface ClassInfo {
  id: number;
  name: string;
  color: [number, number, number];
  asprs: number | null;
  count: number;
}

export interface FileClass {
  code: number;
  name: string;
  count: number;
  key: number | null;
}

/** How well the model's classes agree with those of the file; null where the file holds none of a class. */
export interface Agreement {
  classes: string[];
  /** Points by class of the file (row) and of the model (column); the last column is for none of the classes. */
  counts: number[][];
  judged: number;
  ignored: number;
  iou: (number | null)[];
  mean_iou: number | null;
  accuracy: number | null;
}

/** A column of the file that was sent, and the channels that it feeds. */
export interface FileColumn {
  name: string;
  feeds: string[];
}

export interface Column {
  name: string;
  type: "uint8" | "uint16" | "uint32" | "int32";
  components: number;
  step?: number | number[];
  offset?: number | number[];
  /** Of a field with a number a point: where its scale begins and ends, and the unit, '' for none. */
  range?: [number, number];
  unit?: string;
  /** What is stored of points without a value, absent where all have one. */
  missing?: number;
}

/** The unit of an axis: so many metres each, and who says so; `assumed` where nobody does. */
export interface Unit {
  name: string;
  metres: number;
  source: string;
}

/** A step that refined the labels, and how many points it changed. */
export interface RefinedStep {
  step: string;
  changed: number;
}

export interface Header {
  model: string;
  num_points: number;
  num_shown: number;
  block_points: number;
  classes: ClassInfo[];
  ignore_label: number;
  num_ignored: number;
  columns: Column[];
  /** Absent in view files of earlier versions. */
  file_columns?: FileColumn[];
  reference: { column: string; key: "asprs" | "id"; values: FileClass[]; agreement?: Agreement | null } | null;
  /** Absent in view files of earlier versions. */
  units?: Record<"x" | "y" | "z", Unit> | null;
  /** Absent if nothing refined the labels. */
  refined?: RefinedStep[];
  warnings: string[];
  timings_ms: Record<string, number>;
}

export type Values = Uint8Array | Uint16Array | Uint32Array | Int32Array;

/** Columns of some points by name, as they are stored. */
export interface Block {
  num_points: number;
  columns: Record<string, Values>;
}

const KINDS = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, int32: Int32Array };
const ALIGNMENT = 4;

export function column(header: Header, name: string): Column | undefined {
  return header.columns.find((known) => known.name === name);
}

/** The fields that have a scale, in the order of the header. */
export function scaled(header: Header): Column[] {
  return header.columns.filter((known) => known.range !== undefined);
}

/** The true value of a stored one, NaN where the point has none. */
export function value(column: Column, stored: number, component = 0): number {
  if (stored === column.missing) return Number.NaN;
  const of = (given: number | number[] | undefined, otherwise: number) =>
    given === undefined ? otherwise : typeof given === "number" ? given : given[component];
  return of(column.offset, 0) + of(column.step, 1) * stored;
}

export function blockBytes(header: Header, numPoints: number): number {
  return header.columns.reduce((sum, column) => sum + padded(column, numPoints), 0);
}

export function decodeBlock(header: Header, buffer: ArrayBuffer, numPoints: number): Block {
  const columns: Record<string, Values> = {};
  let at = 0;
  for (const column of header.columns) {
    columns[column.name] = new KINDS[column.type](buffer, at, numPoints * column.components);
    at += padded(column, numPoints);
  }
  return { num_points: numPoints, columns };
}

function padded(column: Column, numPoints: number): number {
  const size = numPoints * column.components * KINDS[column.type].BYTES_PER_ELEMENT;
  return Math.ceil(size / ALIGNMENT) * ALIGNMENT;
}
