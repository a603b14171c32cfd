/** Dark or light: as the system says, until someone chooses. */

import { by } from "./dom";

const KEY = "pointserve-theme";

export function startTheme(): void {
  const kept = localStorage.getItem(KEY);
  if (kept) document.documentElement.dataset.theme = kept;
  by("theme").onclick = switchTheme;
}

export function switchTheme(): void {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem(KEY, root.dataset.theme);
}
