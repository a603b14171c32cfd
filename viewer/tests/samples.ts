import type { Header } from "../src/header";

/** Header of a view with three points, of which blocks hold two. */
export const HEADER: Header = {
  model: "aerial",
  num_points: 3,
  num_shown: 3,
  block_points: 2,
  classes: [
    { id: 0, name: "ground", color: [1, 2, 3], asprs: 2, count: 2 },
    { id: 1, name: "building", color: [4, 5, 6], asprs: 6, count: 1 },
  ],
  ignore_label: -1,
  num_ignored: 0,
  columns: [
    { name: "position", type: "uint16", components: 3, step: [0.5, 0.5, 0.1], offset: [100, 200, 0] },
    { name: "label", type: "uint8", components: 1 },
    { name: "reference", type: "uint8", components: 1 },
  ],
  reference: {
    column: "classification",
    key: "asprs",
    values: [
      { code: 2, name: "ground", count: 1, key: 2 },
      { code: 6, name: "building", count: 1, key: 6 },
      { code: 64, name: "class 64", count: 1, key: null },
    ],
  },
  warnings: [],
  timings_ms: {},
};

const POSITIONS = [
  [0, 0, 0, 2, 4, 10],
  [65535, 65535, 65535],
];
const LABELS = [[0, 1], [0]];
const REFERENCES = [[0, 0], [2]];

/** The view file of HEADER: magic, length of the header, header, then blocks of padded columns. */
export function viewFile(): Uint8Array {
  const header = new TextEncoder().encode(JSON.stringify(HEADER));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, header.length, true);
  const magic = new TextEncoder().encode("PSVIEW\0\x01");
  const blocks = POSITIONS.flatMap((positions, at) => [
    padded(new Uint8Array(new Uint16Array(positions).buffer)),
    padded(new Uint8Array(LABELS[at])),
    padded(new Uint8Array(REFERENCES[at])),
  ]);
  return joined([magic, length, header, ...blocks]);
}

export function joined(parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function padded(part: Uint8Array): Uint8Array {
  return joined([part, new Uint8Array((4 - (part.length % 4)) % 4)]);
}
