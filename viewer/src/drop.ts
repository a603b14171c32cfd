/** Files that are dropped or chosen. */

import { by, show } from "./dom";

export function startDrop(open: (files: File[]) => void): void {
  const input = by<HTMLInputElement>("file");
  const target = by("dropping");
  let depth = 0;
  for (const id of ["open", "choose"]) by(id).onclick = () => input.click();
  input.onchange = () => {
    const files = [...(input.files ?? [])];
    input.value = "";
    if (files.length) open(files);
  };
  addEventListener("dragenter", (event) => {
    event.preventDefault();
    show(target, ++depth > 0);
  });
  addEventListener("dragleave", () => show(target, --depth > 0));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    show(target, false);
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) open(files);
  });
}
