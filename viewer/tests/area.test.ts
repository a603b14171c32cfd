import { expect, test } from "vitest";
import { boxBetween, ringsOf } from "../src/area";

const SQUARE = [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]];
const HOLE = [[1, 1], [2, 1], [2, 2], [1, 1]];

test("a box has four corners", () => {
  expect(ringsOf(" 1, 2,3,4.5")).toEqual([[[1, 2], [3, 2], [3, 4.5], [1, 4.5]]]);
});

test.each([
  { type: "Polygon", coordinates: [SQUARE, HOLE] },
  { type: "MultiPolygon", coordinates: [[SQUARE], [HOLE]] },
  { type: "Feature", geometry: { type: "Polygon", coordinates: [SQUARE, HOLE] } },
  { type: "FeatureCollection", features: [{ type: "Feature", geometry: { type: "MultiPolygon", coordinates: [[SQUARE, HOLE]] } }] },
])("borders and holes of GeoJSON: $type", (shape) => {
  expect(ringsOf(JSON.stringify(shape))).toEqual([SQUARE, HOLE]);
});

test("heights are left out", () => {
  expect(ringsOf(JSON.stringify({ type: "Polygon", coordinates: [[[0, 0, 9], [4, 0, 9], [4, 4, 9]]] }))).toEqual([[[0, 0], [4, 0], [4, 4]]]);
});

test.each(["", "1,2,3", "1,2,3,4,5", "1,,2,3", "a,b,c,d", "{", '{"type":"Point","coordinates":[1,2]}', '{"type":"Polygon","coordinates":[[]]}', '{"type":"Polygon","coordinates":[[["x",1]]]}', '{"type":"Feature"}', "{}"])("%s has no border", (text) => {
  expect(ringsOf(text)).toEqual([]);
});

test("a box between two corners, whichever came first", () => {
  expect(boxBetween([548230.126, 5803410.5, 7], [548210, 5803455.25, 2], 2)).toBe("548210.00,5803410.50,548230.13,5803455.25");
});
