import { expect, test } from "vitest";
import { fromHash, toHash, type View } from "../src/link";

const VIEW: View = {
  sample: "",
  file: "abc-1",
  name: "tile & more.laz",
  choices: {
    model: "aerial",
    mode: "exact",
    max_passes: "12",
    condition: "ScanNet",
    format: "laz",
    columns: "red:r,green:g",
    units: "ft",
    crs: "EPSG:28992",
    fields: ["confidence", "entropy"],
    refine: { smooth: "8", within: '{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1]]]}', size: "an option of this name" },
  },
  color: "height",
  palette: "model",
  size: 5,
  edges: false,
  comparison: "swipe" as View["comparison"],
  divider: 0.25,
  hidden: [1, 3],
  hiddenFile: [0],
  navigation: "walk",
  camera: [1.5, -2, 3e-4, 0, 0, 12345.6],
  point: 17,
};

test("a view is read back from its address", () => {
  expect(fromHash(`#${toHash(VIEW)}`)).toEqual(VIEW);
});

test("what is usual is left out of the address", () => {
  expect(toHash(fromHash(""))).toBe("");
});

test("no fields are something else than the usual ones", () => {
  const none = { ...VIEW, choices: { ...VIEW.choices, fields: [] } };
  expect(fromHash(toHash(none)).choices.fields).toEqual([]);
});

test("numbers that are none are the usual ones", () => {
  const view = fromHash("#size=x&divider=&camera=1_2_x_4_5_6&hide=1.-2.x.3&point=");
  expect([view.size, view.divider, view.camera, view.hidden, view.point]).toEqual([3, 0.5, [], [1, 3], -1]);
});
