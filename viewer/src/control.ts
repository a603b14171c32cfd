/** The control of one option, as its declaration asks for it. */

import { type Option, titleOf } from "./declared";
import { make, options } from "./dom";

export interface Control {
  element: HTMLElement;
  /** Text as in the query of a request, '' for the option's default. */
  value: string;
}

export function controlOf(option: Option): Control {
  const made = MAKERS[option.kind](option);
  const help = make("p", { className: "quiet", id: `help-${option.name}` }, option.description);
  made.named.setAttribute("name", option.name);
  made.named.setAttribute("aria-describedby", help.id);
  return {
    element: make("div", { className: "option" }, made.outer, help),
    get value() {
      return made.get();
    },
    set value(value) {
      made.set(value);
    },
  };
}

interface Made {
  /** By which the form knows it. */
  named: HTMLElement;
  outer: HTMLElement;
  get: () => string;
  set: (value: string) => void;
}

const MAKERS: Record<Option["kind"], (option: Option) => Made> = { flag, one, some, number, text, area: text };

function flag({ name, usual }: Option): Made {
  const box = make("input", { type: "checkbox" });
  const get = () => (box.checked === (usual === "true") ? "" : String(box.checked));
  const set = (value: string) => (box.checked = (value || usual) === "true");
  set("");
  return { named: box, outer: make("label", { className: "check" }, box, ` ${titleOf(name)}`), get, set };
}

function one({ name, values, usual }: Option): Made {
  const select = make("select");
  const others = values.filter((value) => value !== usual);
  options(select, [["", usual], ...others.map((value): [string, string] => [value, titleOf(value)])]);
  const set = (value: string) => (select.value = others.includes(value) ? value : "");
  return { named: select, outer: labelled(name, select), get: () => select.value, set };
}

function some({ name, values, words, usual }: Option): Made {
  const boxes = values.map((value) => make("input", { type: "checkbox", value }));
  const labels = boxes.map((box) => make("label", { className: "check", title: words[box.value] ?? "" }, box, ` ${titleOf(box.value)}`));
  const checked = () => boxes.filter((box) => box.checked).map((box) => box.value).join(",");
  const get = () => (checked() === usual ? "" : checked());
  const set = (value: string) => {
    const wanted = (value || usual).split(",");
    for (const box of boxes) box.checked = wanted.includes(box.value);
  };
  set("");
  const outer = make("fieldset", {}, make("legend", {}, titleOf(name)), ...labels);
  return { named: outer, outer, get, set };
}

function number({ name, least, most, isWhole, usual }: Option): Made {
  const input = make("input", { type: "number", placeholder: usual || "off" });
  if (least !== undefined) input.min = String(least);
  if (most !== undefined) input.max = String(most);
  input.step = isWhole ? "1" : most !== undefined && most <= 1 ? "0.05" : "any";
  const get = () => (input.validity.badInput ? "not a number" : input.value); // the service says what it expects
  return { named: input, outer: labelled(name, input), get, set: (value) => (input.value = value) };
}

function text({ name, usual }: Option): Made {
  const input = make("input", { autocomplete: "off", spellcheck: false, placeholder: usual || "off" });
  return { named: input, outer: labelled(name, input), get: () => input.value.trim(), set: (value) => (input.value = value) };
}

function labelled(name: string, control: HTMLElement): HTMLLabelElement {
  return make("label", {}, titleOf(name), control);
}
