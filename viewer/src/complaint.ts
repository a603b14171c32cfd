/** The box that says what went wrong, and what to do about it. */

import { by, make, press, show } from "./dom";
import { Problem, wordsOf } from "./service";

const TOO_MUCH = [413, 504]; // for a request: too large, or took too long

/** Say what went wrong; `asJob` is offered where the cloud was too much for one request. */
export function complain(error: unknown, asJob: (() => void) | null): void {
  const problem = error instanceof Problem ? error : null;
  const hint = problem?.columns.length ? " Choose them under “How to read the file” and classify again." : "";
  const ways = [make("button", { type: "button", onclick: forgive }, "Close")];
  if (asJob && problem && TOO_MUCH.includes(problem.status)) {
    const take = () => {
      forgive();
      asJob();
    };
    ways.unshift(make("button", { type: "button", id: "make-job", className: "strong", onclick: take }, "Make it a job"));
  }
  by("problem").replaceChildren(make("p", {}, wordsOf(error) + hint), make("div", { className: "row" }, ...ways));
  show(by("problem"), true);
  press(by("measure"), false);
}

export function forgive(): void {
  show(by("problem"), false);
}
