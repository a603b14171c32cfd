/** The last few clouds and their answers, kept in this browser, so that a reloaded link finds its file. */

import type { Choices } from "./service";

export interface Kept {
  /** Fingerprint of the file. */
  key: string;
  name: string;
  file: Blob;
  choices: Choices;
  answer: Blob | null;
  kept_ms: number;
}

const MOST = 3;
const MOST_BYTES = 512 * 2 ** 20;
const SAMPLE_BYTES = 1 << 16;

/** Tells files apart by their size, their first and their last bytes; nothing secret is meant by it. */
export async function fingerprint(file: Blob): Promise<string> {
  const ends = new Blob([file.slice(0, SAMPLE_BYTES), file.slice(Math.max(SAMPLE_BYTES, file.size - SAMPLE_BYTES))]);
  let hash = 0x811c9dc5;
  for (const byte of new Uint8Array(await ends.arrayBuffer())) hash = Math.imul(hash ^ byte, 0x01000193);
  return `${file.size.toString(36)}-${(hash >>> 0).toString(36)}`;
}

export async function keep(kept: Kept): Promise<void> {
  if (kept.file.size > MOST_BYTES) return;
  const answer = kept.answer && kept.answer.size <= MOST_BYTES ? kept.answer : null;
  const store = await files("readwrite");
  await done(store.put({ ...kept, answer }));
  const all = await done<Kept[]>(store.getAll());
  const old = all.sort((a, b) => b.kept_ms - a.kept_ms).slice(MOST);
  for (const { key } of old) await done(store.delete(key));
}

export async function find(key: string): Promise<Kept | undefined> {
  return done<Kept | undefined>((await files("readonly")).get(key));
}

export async function forget(): Promise<void> {
  await done((await files("readwrite")).clear());
}

async function files(mode: IDBTransactionMode): Promise<IDBObjectStore> {
  const request = indexedDB.open("pointserve", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("files", { keyPath: "key" });
  return (await done(request)).transaction("files", mode).objectStore("files");
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("The browser's store failed."));
  });
}
