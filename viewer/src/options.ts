/** The form in which one says how to classify. */

import { Channels } from "./channels";
import { type Option, declared, titleOf } from "./declared";
import { by, make, options, show } from "./dom";
import { absolve, blame } from "./fault";
import { short } from "./numbers";
import { Refine } from "./refine";
import { type Choices, type Model, Problem, models } from "./service";

/** How fields are called here, if not by their name; what a point has hundreds of is not shown. */
const FIELDS: Record<string, string> = {
  probabilities: "probabilities, as colors",
  features_rgb: "features, as colors",
};
const NOT_SHOWN = "features";
const SINGLE_PASS = "fast"; // the mode in which passes are not counted
/** What the page says of a request by itself, or nobody has to say who waits before it. */
const SAID_BY_THE_PAGE = ["output", "filename", "seed", "timeout_s"];

export class Options {
  onSubmit: () => void = () => {};
  /** What each step that refines labels does, by its name. */
  steps: Record<string, string> = {};
  readonly refine = new Refine();
  private form = by<HTMLFormElement>("options");
  private model = by<HTMLSelectElement>("model");
  private mode = by<HTMLSelectElement>("mode");
  private format = by<HTMLSelectElement>("format");
  private columns = by<HTMLInputElement>("columns");
  readonly channels = new Channels(this.columns);
  private units = by<HTMLInputElement>("units");
  private crs = by<HTMLInputElement>("crs");
  private passes = by<HTMLInputElement>("max-passes");
  private condition = by<HTMLInputElement>("condition");
  private known: Model[] = [];

  constructor() {
    this.model.onchange = this.mode.onchange = () => this.describe();
    this.form.addEventListener("input", ({ target }) => absolve(this.form, target as Node));
    this.form.onsubmit = (event) => {
      event.preventDefault();
      this.onSubmit();
    };
  }

  /** Fill the form with what the service has. */
  async load(): Promise<void> {
    const [known, { options: all, steps }] = await Promise.all([models(), declared()]);
    this.known = known;
    this.steps = steps;
    options(this.model, known.filter((model) => model.served).map((model) => [model.name, model.name]));
    const valuesOf = (name: string) => all.find((option) => option.name === name)?.values ?? [];
    options(this.mode, valuesOf("mode").map((mode) => [mode, mode]));
    options(this.format, [["", "by its content"], ...valuesOf("format").map((name): [string, string] => [name, name])]);
    by("fields").append(...this.boxes(all));
    show(by("condition-label"), all.some(({ name }) => name === "condition"));
    const others = all.filter(({ name }) => !SAID_BY_THE_PAGE.includes(name) && !this.form.elements.namedItem(name));
    this.refine.offer(others);
    const refused = known.filter((model) => !model.served);
    this.model.title = refused.map((model) => `${model.name}: ${model.reason}`).join("\n");
    this.describe();
  }

  get choices(): Choices {
    return {
      model: this.model.value,
      mode: this.mode.value,
      max_passes: this.mode.value === SINGLE_PASS ? "" : this.passes.value,
      condition: this.condition.value.trim(),
      format: this.format.value,
      columns: this.columns.value.trim(),
      units: this.units.value.trim(),
      crs: this.crs.value.trim(),
      fields: this.fields.filter((box) => box.checked && !box.disabled).map((box) => box.value),
      refine: this.refine.values,
    };
  }

  set choices(choices: Choices) {
    for (const name of ["model", "mode", "format"] as const) {
      const select = this[name];
      if ([...select.options].some((option) => option.value === choices[name])) select.value = choices[name];
    }
    this.columns.value = choices.columns;
    this.units.value = choices.units;
    this.crs.value = choices.crs;
    this.passes.value = choices.max_passes;
    this.condition.value = choices.condition;
    for (const box of this.fields) box.checked = choices.fields.includes(box.value);
    this.refine.values = choices.refine;
    this.describe();
  }

  /** Forget which columns were chosen: they are those of another file. */
  forgetColumns(): void {
    this.columns.value = "";
  }

  /** Let one say what `columns` are, because nobody else can. */
  ask(columns: string[]): void {
    this.channels.ask(columns);
    by<HTMLDetailsElement>("reading").open = true;
    by("channels").scrollIntoView({ block: "center" });
  }

  /** Say at its control what was wrong with each option, as far as `error` tells. */
  refuse(error: unknown): void {
    if (error instanceof Problem) blame(this.form, error.options);
  }

  /** Forget what was wrong. */
  absolve(): void {
    absolve(this.form);
  }

  private boxes(all: Option[]): HTMLLabelElement[] {
    const { values = [], words = {} } = all.find(({ name }) => name === "fields") ?? {};
    return values.filter((name) => name !== NOT_SHOWN).map((name) => {
      const box = make("input", { type: "checkbox", name: "field", value: name, checked: name === "confidence" });
      box.dataset.words = words[name] ?? "";
      return make("label", { className: "check" }, box, ` ${FIELDS[name] ?? titleOf(name)}`);
    });
  }

  private get fields(): HTMLInputElement[] {
    return [...document.querySelectorAll<HTMLInputElement>("#options input[name=field]")];
  }

  private describe(): void {
    const model = this.known.find(({ name }) => name === this.model.value);
    show(by("passes-label"), this.mode.value !== SINGLE_PASS);
    if (!model) return;
    for (const box of this.fields) {
      box.disabled = !model.fields.includes(box.value);
      box.parentElement!.title = box.disabled ? `${model.name} does not give it.` : box.dataset.words!;
    }
    const grid = model.grid_size_m ? `, voxels of ${model.grid_size_m} m` : "";
    this.channels.mark(model.feat_keys);
    const reads = model.feat_keys.map((name) => make("code", {}, name));
    by("card").replaceChildren(
      `${model.backbone}, ${short(model.num_parameters)} parameters, ${model.num_classes} classes${grid}; reads `,
      ...reads.flatMap((name, index) => (index ? [", ", name] : [name])),
      ".",
    );
  }
}
