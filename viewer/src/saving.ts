/** Hands a blob to the browser as a download. */

import { make } from "./dom";

const KEEP_MS = 60_000;

export function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), KEEP_MS);
}

/** `tile.laz` to `tile_classified.csv`. */
export function savedName(name: string, extension: string): string {
  return `${name.replace(/(\.pcd)?\.[^.]*$/, "") || "cloud"}_classified.${extension}`;
}
