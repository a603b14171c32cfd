import { expect, test } from "vitest";
import { asked, problemOf, textsOf } from "../src/service";

test("what was chosen becomes a query, and nothing else", () => {
  const choices = { model: "aerial", mode: "fast", max_passes: "", condition: "", format: "", columns: "", units: "", crs: "", fields: ["confidence", "entropy"] };
  const { query, form } = asked(textsOf({ ...choices, refine: { smooth: "8", preserve: "2,9" } }));
  expect(query.toString()).toBe("model=aerial&mode=fast&fields=confidence%2Centropy&smooth=8&preserve=2%2C9");
  expect(form).toBeNull();
});

test("what is too long for an address goes into a form, the longest first", () => {
  const { query, form } = asked({ model: "aerial", crs: "W".repeat(1000), within: "{".repeat(1500), noise: "true" });
  expect([...query.keys()]).toEqual(["model", "crs", "noise"]);
  expect([...form!.keys()]).toEqual(["within"]);
  expect(query.toString().length).toBeLessThan(3000);
});

test("a problem says what was wrong by option", () => {
  const problem = problemOf(400, JSON.stringify({ detail: "smooth: no.", options: { smooth: "no" } }));
  expect([problem.message, problem.status, problem.options]).toEqual(["smooth: no.", 400, { smooth: "no" }]);
  expect(problemOf(502, "<html>").options).toEqual({});
});
