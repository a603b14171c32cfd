import { expect, test } from "vitest";
import { type Schema, optionOf, titleOf } from "../src/declared";

function declared(schema: Schema) {
  return optionOf({ name: "it", description: "What it does.", schema });
}

test("the kind of a control follows from the schema", () => {
  const kinds = [
    { type: "boolean" },
    { type: "string", enum: ["model", "file"], default: "model" },
    { type: "string", const: "view" },
    { anyOf: [{ type: "string", enum: ["las"] }, { type: "null" }] },
    { type: "array", items: { type: "string", enum: ["withheld", "overlap"] } },
    { anyOf: [{ type: "integer", minimum: 2 }, { type: "null" }] },
    { type: "number" },
    { type: "string", format: "area" },
    { type: "string" },
    { type: "array", items: { type: "integer" } },
  ].map((schema) => declared(schema).kind);
  expect(kinds).toEqual(["flag", "one", "one", "one", "some", "number", "number", "area", "text", "text"]);
});

test("bounds are told in words and given to the control", () => {
  const { description, least, most, isWhole } = declared({ anyOf: [{ type: "integer", minimum: 2, maximum: 1e9 }, { type: "null" }] });
  expect(description).toBe("What it does. Accepted: 2 or more, 1,000,000,000 or less.");
  expect([least, most, isWhole]).toEqual([2, 1e9, true]);
  expect(declared({ type: "number", exclusiveMinimum: 0, exclusiveMaximum: 0.5 }).description).toBe("What it does. Accepted: more than 0, less than 0.5.");
  expect(declared({ type: "array", items: { type: "integer", minimum: 0, maximum: 255 } }).description).toBe("What it does. Accepted: 0 or more, 255 or less.");
});

test("a default is text as in a query, and none is ''", () => {
  const usual = [{ type: "string", default: "model" }, { type: "array", default: [1, 2] }, { type: "boolean", default: false }, { type: "boolean", default: true }, { type: "integer" }];
  expect(usual.map((schema) => declared(schema).usual)).toEqual(["model", "1,2", "", "true", ""]);
});

test("names are shown with their unit", () => {
  expect(["smooth_radius_m", "sieve_m2", "timeout_s", "preserve_flags", "height_above_ground", "units"].map(titleOf)).toEqual([
    "smooth radius, m",
    "sieve, m²",
    "timeout, s",
    "preserve flags",
    "height above ground",
    "units",
  ]);
});
