import { expect, test } from "vitest";
import type { JobFile } from "../src/job";
import { SIDE, layoutsOf, neighbour, roundLength } from "../src/layout";

function file(number: number, bounds: number[] | null, crs = "EPSG:25832"): JobFile {
  return { number, name: `${number}.laz`, state: "done", points: 7, attempts: 1, error: "", warnings: [], bounds, crs, metres: 1, answer: "" };
}

/** Of a tile 100 units wide whose corner in the south-west is there. */
function square(x: number, y: number): number[] {
  return [x, y, 0, x + 100, y + 100, 9];
}

test("north is up, and the longer side fills the drawing", () => {
  const [layout] = layoutsOf([file(1, square(500, 800)), file(2, square(600, 800)), file(3, square(500, 900)), file(4, square(800, 800))]);
  const { cells } = layout;
  expect([layout.width, layout.height]).toEqual([SIDE, SIDE / 2]);
  expect(cells.map(({ x, y }) => [x, y])).toEqual([[0, 250], [250, 250], [0, 0], [750, 250]]);
  expect(cells.map(({ width, height }) => [width, height])).toEqual(Array(4).fill([250, 250]));
  expect(layout.scale * SIDE).toBe(400);
});

test("each coordinate system has a drawing, the one with most files first, and those without a place come last", () => {
  const layouts = layoutsOf([file(1, square(0, 0), ""), file(2, square(0, 0)), file(3, square(9, 9)), file(4, null), file(5, null)]);
  expect(layouts.map(({ crs }) => crs)).toEqual(["EPSG:25832", "", null]);
  expect(layouts.map(({ cells }) => cells.map((cell) => cell.file.number))).toEqual([[2, 3], [1], [4, 5]]);
  const [first, second] = layouts[2].cells;
  expect([first.x, first.y, second.y]).toEqual([0, 0, 0]);
  expect(second.x).toBeGreaterThan(first.width);
});

test("a file without extent can still be hit, and many do not overflow the stack", () => {
  const [{ cells }] = layoutsOf([file(1, [5, 5, 0, 5, 5, 0])]);
  expect(cells[0].width).toBeGreaterThan(1);
  expect(Number.isFinite(cells[0].x + cells[0].y)).toBe(true);
  const many = Array.from({ length: 130_000 }, (_, index) => file(index, square(100 * index, 0)));
  expect(layoutsOf(many)[0].cells).toHaveLength(130_000);
});

test("arrows lead to what lies in their direction", () => {
  const [{ cells }] = layoutsOf([file(1, square(0, 0)), file(2, square(100, 0)), file(3, square(0, 100)), file(4, square(100, 100)), file(5, square(300, 0))]);
  const from = (number: number, right: number, down: number) => neighbour(cells, cells[number - 1], right, down)?.file.number ?? null;
  expect([from(1, 1, 0), from(1, 0, -1), from(4, -1, 0), from(4, 0, 1)]).toEqual([2, 3, 3, 2]);
  expect([from(2, 1, 0), from(5, 1, 0), from(1, -1, 0)]).toEqual([5, null, null]);
});

test("the bar of the scale has a round length", () => {
  expect([1, 1.99, 2, 4.9, 5, 9.99, 60, 0.03].map(roundLength)).toEqual([1, 1, 2, 2, 5, 5, 50, 0.02]);
});
