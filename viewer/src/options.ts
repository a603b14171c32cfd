/** The form in which one says how to classify. */

import { Channels } from "./channels";
import { by, make, options, show } from "./dom";
import { short } from "./numbers";
import { type Choices, type Model, accepted, models } from "./service";

/** How fields are called here; what a point has hundreds of is not shown. */
const FIELDS: Record<string, string> = {
  probabilities: "probabilities, as colors",
  features_rgb: "features, as colors",
};
const NOT_SHOWN = "features";

export class Options {
  onSubmit: () => void = () => {};
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
    by<HTMLFormElement>("options").onsubmit = (event) => {
      event.preventDefault();
      this.onSubmit();
    };
  }

  /** Fill the lists with what the service has. */
  async load(): Promise<void> {
    const [known, values] = await Promise.all([models(), accepted()]);
    this.known = known;
    options(this.model, known.filter((model) => model.served).map((model) => [model.name, model.name]));
    options(this.mode, values.mode.map((mode) => [mode, mode]));
    options(this.format, [["", "by its content"], ...values.format.map((name): [string, string] => [name, name])]);
    by("fields").append(...values.fields.filter((name) => name !== NOT_SHOWN).map((name) => this.field(name)));
    show(by("condition-label"), "condition" in values);
    const refused = known.filter((model) => !model.served);
    this.model.title = refused.map((model) => `${model.name}: ${model.reason}`).join("\n");
    this.describe();
  }

  get choices(): Choices {
    return {
      model: this.model.value,
      mode: this.mode.value,
      max_passes: this.mode.value === "exact" ? this.passes.value : "",
      condition: this.condition.value.trim(),
      format: this.format.value,
      columns: this.columns.value.trim(),
      units: this.units.value.trim(),
      crs: this.crs.value.trim(),
      fields: this.fields.filter((box) => box.checked && !box.disabled).map((box) => box.value),
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

  private field(name: string): HTMLLabelElement {
    const box = make("input", { type: "checkbox", name: "field", value: name, checked: name === "confidence" });
    return make("label", { className: "check" }, box, ` ${FIELDS[name] ?? name}`);
  }

  private get fields(): HTMLInputElement[] {
    return [...document.querySelectorAll<HTMLInputElement>("#options input[name=field]")];
  }

  private describe(): void {
    const model = this.known.find(({ name }) => name === this.model.value);
    show(by("passes-label"), this.mode.value === "exact");
    if (!model) return;
    for (const box of this.fields) {
      box.disabled = !model.fields.includes(box.value);
      box.parentElement!.title = box.disabled ? `${model.name} does not give it.` : "";
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
