/** The part of the address behind #: all that is needed to see the same again. */

import type { Navigation } from "./navigation";
import type { Choices } from "./service";
import type { Comparison, Mode } from "./shader";

const OPTION = "option."; // before the name of an option that is one of `Choices.refine`

export interface View {
  /** Name of a sample, or ''. */
  sample: string;
  /** Fingerprint of a file, or ''. */
  file: string;
  name: string;
  choices: Choices;
  color: Mode;
  palette: "safe" | "model";
  size: number;
  edges: boolean;
  comparison: Comparison;
  divider: number;
  hidden: number[];
  hiddenFile: number[];
  navigation: Navigation;
  /** Camera, then what it looks at, from the middle of the cloud. */
  camera: number[];
  /** Index in the file of the point whose values are shown, or -1. */
  point: number;
}

export function toHash(view: View): string {
  const query = new URLSearchParams();
  const set = (name: string, value: string | number | boolean, usual: string | number | boolean) => {
    if (value !== usual) query.set(name, String(value));
  };
  set("sample", view.sample, "");
  set("file", view.file, "");
  set("name", view.file ? view.name : "", "");
  set("model", view.choices.model, "");
  set("mode", view.choices.mode, "");
  set("passes", view.choices.max_passes, "");
  set("condition", view.choices.condition, "");
  set("format", view.choices.format, "");
  set("columns", view.choices.columns, "");
  set("units", view.choices.units, "");
  set("crs", view.choices.crs, "");
  set("fields", view.choices.fields.join("."), "confidence");
  for (const [name, value] of Object.entries(view.choices.refine)) query.set(OPTION + name, value);
  set("color", view.color, "class");
  set("palette", view.palette, "safe");
  set("size", view.size, 3);
  set("edges", view.edges, true);
  set("compare", view.comparison, "off");
  set("divider", view.divider, 0.5);
  set("hide", view.hidden.join("."), "");
  set("hidefile", view.hiddenFile.join("."), "");
  set("walk", view.navigation === "walk", false);
  set("point", view.point, -1);
  set("camera", view.camera.map((value) => Number(value.toPrecision(6))).join("_"), "");
  return query.toString();
}

export function fromHash(hash: string): View {
  const query = new URLSearchParams(hash.replace(/^#/, ""));
  const text = (name: string, usual = "") => query.get(name) ?? usual;
  const number = (name: string, usual: number) => {
    const value = Number(query.get(name) || NaN);
    return Number.isFinite(value) ? value : usual;
  };
  const list = (name: string, separator: string, usual = "") => text(name, usual).split(separator).filter(Boolean);
  const camera = list("camera", "_").map(Number);
  const whole = (name: string) => list(name, ".").map(Number).filter((value) => Number.isInteger(value) && value >= 0);
  return {
    sample: text("sample"),
    file: text("file"),
    name: text("name"),
    choices: {
      model: text("model"),
      mode: text("mode"),
      max_passes: text("passes"),
      condition: text("condition"),
      format: text("format"),
      columns: text("columns"),
      units: text("units"),
      crs: text("crs"),
      fields: list("fields", ".", "confidence"),
      refine: Object.fromEntries([...query].flatMap(([name, value]) => (name.startsWith(OPTION) ? [[name.slice(OPTION.length), value]] : []))),
    },
    color: text("color", "class") as Mode,
    palette: text("palette") === "model" ? "model" : "safe",
    size: number("size", 3),
    edges: text("edges") !== "false",
    comparison: text("compare", "off") as Comparison,
    divider: number("divider", 0.5),
    hidden: whole("hide"),
    hiddenFile: whole("hidefile"),
    navigation: text("walk") ? "walk" : "orbit",
    camera: camera.length === 6 && camera.every(Number.isFinite) ? camera : [],
    point: number("point", -1),
  };
}
