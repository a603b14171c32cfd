/** Keys that work wherever no text is being written. */

import { by, make } from "./dom";

export type Command = [key: string, shown: string, what: string, run: (event: KeyboardEvent) => void];

/** Told in the list only; the picture itself handles them. */
const OF_PICTURE: [string, string][] = [
  ["← → ↑ ↓", "turn"],
  ["+ −", "closer, farther"],
  ["W A S D Q E", "walk, down and up (in a walk)"],
];

export function startKeys(commands: Command[]): void {
  const dialog = by<HTMLDialogElement>("keys");
  const rows = [...OF_PICTURE, ...commands.map(([, shown, what]): [string, string] => [shown, what]), ["?", "this list"]];
  by("keys-table").replaceChildren(
    ...rows.map(([key, what]) => make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, key)), make("td", {}, what))),
  );
  by("help").onclick = () => dialog.showModal();
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open || isWriting(event.target)) return;
    if (event.key === "?") {
      dialog.showModal();
      return;
    }
    const command = commands.find(([key]) => new RegExp(`^(?:${key})$`, "i").test(event.key));
    command?.[3](event);
  });
}

function isWriting(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input:not([type=checkbox]), select, textarea");
}
