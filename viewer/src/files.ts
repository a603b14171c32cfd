/** The list of files that were opened together, with the state of each. */

import { by, make, press, show } from "./dom";
import type { Choices } from "./service";

export type State = "waiting" | "under way" | "done" | "cancelled" | "failed";

/** A file on its way to classes. */
export interface Source {
  file: Blob;
  name: string;
  /** Name of the made-up survey that it is, '' for any other. */
  sample: string;
  /** Fingerprint, by which a link finds it; '' for a sample. */
  key: string;
  /** Whether it is an answer that was saved, which needs no server. */
  isAnswer: boolean;
  choices: Choices | null;
  answer: Blob | null;
  state: State;
  /** Why it failed. */
  reason: string;
}

export function sourceOf(file: Blob, name: string, known: Partial<Source> = {}): Source {
  return { file, name, sample: "", key: "", isAnswer: false, choices: null, answer: null, state: "waiting", reason: "", ...known };
}

export class FileList {
  sources: Source[] = [];
  onPick: (source: Source) => void = () => {};

  /** Show the list where there are several files; `current` is on the screen, or will be. */
  render(current: Source | null): void {
    show(by("files-section"), this.sources.length > 1);
    by("files").replaceChildren(...this.sources.map((source) => this.row(source, source === current)));
  }

  private row(source: Source, isCurrent: boolean): HTMLLIElement {
    const name = make("span", { className: "name", title: source.name }, source.name);
    const state = make("span", { className: source.state === "failed" ? "warning" : "count" }, source.state);
    const button = make("button", { type: "button", className: "file" }, name, state);
    button.onclick = () => this.onPick(source);
    press(button, isCurrent);
    return make("li", {}, button, ...(source.reason ? [make("p", { className: "warning" }, source.reason)] : []));
  }
}
