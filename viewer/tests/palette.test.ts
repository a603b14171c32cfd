import { expect, test } from "vitest";
import { classColors, css, hue, onScale, safeColors, UNKNOWN } from "../src/palette";
import { HEADER } from "./samples";

test("names that mean something have the color of their meaning", () => {
  expect(safeColors(["Ground", "Floor of a room"])[0]).toEqual(safeColors(["terrain"])[0]);
  expect(safeColors(["never classified", "unclassified"])).toEqual([UNKNOWN, UNKNOWN]);
  expect(new Set(safeColors(["low noise", "high noise", "unclassified"]).map(String)).size).toBe(3);
});

test("no two classes have one color as long as there are free ones", () => {
  const colors = safeColors(["ground", "terrain", "building", "water", "tree", "car", "pole"]);
  expect(new Set(colors.map(String)).size).toBe(colors.length);
});

test("a class has the same color whatever else means nothing", () => {
  expect(safeColors(["car", "water"])[1]).toEqual(safeColors(["water"])[0]);
});

test("the model's own colors are taken on demand", () => {
  expect(classColors(HEADER.classes, false)).toEqual([
    [1, 2, 3],
    [4, 5, 6],
  ]);
});

test("a scale goes from its first to its last color and stays there", () => {
  expect(onScale(-1)).toEqual(onScale(0));
  expect(onScale(2)).toEqual(onScale(1));
  const brightness = [0, 0.25, 0.5, 0.75, 1].map((share) => onScale(share).reduce((sum, channel) => sum + channel));
  expect(brightness).toEqual([...brightness].sort((a, b) => a - b));
});

test("hues are colors, and neighbours differ", () => {
  for (let number = -3; number < 50; number++) {
    expect(hue(number).every((channel) => channel >= 0 && channel <= 255)).toBe(true);
    expect(css(hue(number))).not.toBe(css(hue(number + 1)));
  }
});
