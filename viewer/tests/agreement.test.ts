import { expect, test } from "vitest";
import { Agreement } from "../src/agreement";
import { Cloud } from "../src/cloud";
import type { Material } from "three";
import type { Header } from "../src/header";
import { HEADER } from "./samples";

function agreement(header: Header, label: number[], reference: number[]): Agreement {
  const out = new Agreement(new Cloud(header, {} as Material));
  out.add({ num_points: label.length, columns: { label: new Uint8Array(label), reference: new Uint8Array(reference) } });
  return out;
}

test("confusion and intersection over union are those of points with a class on both sides", () => {
  // the file says ground, ground, building, building, a code of no meaning; the model ground, building, building, ignored, ground
  const found = agreement(HEADER, [0, 1, 1, 2, 0], [0, 0, 1, 1, 2]);
  expect(found.confusion).toEqual([
    [1, 1, 0],
    [0, 1, 1],
  ]);
  expect(found.num_left_out).toBe(1);
  expect(found.iou()).toEqual([1 / 2, 1 / 3]);
});

test("a class that the file lacks has no score", () => {
  expect(agreement(HEADER, [0, 1], [0, 0]).iou()).toEqual([1 / 2, Number.NaN]);
});

test("classes of the model that mean one class of the file are compared as one", () => {
  const [ground, building] = HEADER.classes;
  const classes = [ground, building, { ...building, id: 2, name: "roof" }];
  const found = agreement({ ...HEADER, classes }, [1, 2], [1, 1]);
  expect(found.groups.map(({ name }) => name)).toEqual(["ground", "building + roof"]);
  expect(found.iou()[1]).toBe(1);
});

test("a file without classes compares nothing", () => {
  const found = new Agreement(new Cloud({ ...HEADER, reference: null }, {} as Material));
  found.add({ num_points: 1, columns: { label: new Uint8Array([0]) } });
  expect([found.groups, found.num_left_out]).toEqual([[], 0]);
});
