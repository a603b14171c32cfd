/** What the service refused of single options, told at their controls. */

import { make } from "./dom";

/** Say at the controls of `form` what is wrong with the options of these names. */
export function blame(form: HTMLFormElement, problems: Record<string, string>): void {
  const blamed = Object.keys(problems).flatMap((name) => {
    const control = form.elements.namedItem(name);
    return control instanceof HTMLElement ? [mark(control, name, problems[name])] : [];
  });
  blamed[0]?.scrollIntoView({ block: "center" });
}

/** Forget what was wrong with all options of `form`, or with the one whose control holds `changed`. */
export function absolve(form: HTMLFormElement, changed: Node | null = null): void {
  for (const words of form.querySelectorAll(".fault")) {
    const control = form.querySelector(`[aria-describedby~="${words.id}"]`)!;
    if (changed && !control.contains(changed)) continue;
    control.removeAttribute("aria-invalid");
    describe(control, described(control).filter((id) => id !== words.id));
    words.remove();
  }
}

function mark(control: HTMLElement, name: string, problem: string): HTMLElement {
  const words = make("p", { className: "warning fault", id: `fault-${name}` }, problem);
  describe(control, [...described(control), words.id]);
  if (!(control instanceof HTMLFieldSetElement)) control.setAttribute("aria-invalid", "true");
  (control.closest("label") ?? control).after(words);
  const hidden = control.closest("details");
  if (hidden) hidden.open = true;
  return control;
}

function described(control: Element): string[] {
  return (control.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean);
}

function describe(control: Element, ids: string[]): void {
  control.setAttribute("aria-describedby", ids.join(" "));
}
