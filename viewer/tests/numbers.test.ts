import { expect, test } from "vitest";
import { bytes, count, duration, milliseconds, plain, several, share, short } from "../src/numbers";

test.each([
  [0, "0"],
  [999, "999"],
  [1_499, "1 k"],
  [1_500_000, "1.5 M"],
  [12_400_000, "12 M"],
])("%d is short as %s", (value, text) => expect(short(value)).toBe(text));

test.each([
  [0, 0, "–"],
  [0, 5, "0.0 %"],
  [1, 10_000, "<0.1 %"],
  [1, 3, "33.3 %"],
])("%d of %d is %s", (part, whole, text) => expect(share(part, whole)).toBe(text));

test("units change with the size", () => {
  expect([bytes(1), bytes(2_500_000)]).toEqual(["1 kB", "2.5 MB"]);
  expect([milliseconds(12.4), milliseconds(2_340)]).toEqual(["12 ms", "2.3 s"]);
  expect([count(1_234_567), plain(3), plain(1.23456), plain(1.23456, 1)]).toEqual(["1,234,567", "3", "1.235", "1.2"]);
});

test("durations have their two largest units", () => {
  expect([0, 0.4, 45, 60, 75, 3600, 12_000, 90_061].map(duration)).toEqual([
    "0 s", "0 s", "45 s", "1 min", "1 min 15 s", "1 h", "3 h 20 min", "25 h 1 min",
  ]);
});

test("sizes and numbers of things", () => {
  expect([900, 2e6, 3.21e9].map(bytes)).toEqual(["1 kB", "2.0 MB", "3.2 GB"]);
  expect([0, 1, 1200].map((number) => several(number, "file"))).toEqual(["0 files", "1 file", "1,200 files"]);
});
