/** Files on their way to become a job, each with how far it is and a way to end it. */

import { by, make } from "./dom";
import { type Job, submitJob } from "./job";
import { bytes, duration, several } from "./numbers";
import { type Choices, isAbort, wordsOf } from "./service";

const RATE_AFTER_MS = 2000; // before that a rate says nothing
let underWay = 0;

addEventListener("beforeunload", (event) => {
  if (underWay) event.preventDefault();
});

/** Send `files` and show how far that is; the job, or null where it was given up or refused, which `onRefused` is told. */
export async function upload(files: File[], choices: Choices, onRefused: (error: unknown) => void): Promise<Job | null> {
  const given = new AbortController();
  const what = files.length === 1 ? files[0].name : several(files.length, "file");
  const text = make("p", {}, `Sending ${what}`);
  text.setAttribute("role", "status");
  const bar = make("progress");
  bar.setAttribute("aria-label", `Sending ${what}`);
  const button = make("button", { type: "button" }, "Cancel");
  const row = make("li", { className: "upload" }, text, bar, button);
  button.onclick = () => given.abort();
  by("uploads").append(row);
  const begin = performance.now();
  underWay++;
  try {
    const job = await submitJob(files, choices, given.signal, (sent, all) => {
      text.textContent = `Sending ${what} · ${told(sent, all, performance.now() - begin)}`;
      bar.value = all ? sent / all : 0;
    });
    row.remove();
    return job;
  } catch (error) {
    if (isAbort(error)) row.remove();
    else {
      refuse(row, `${what}: ${wordsOf(error)}`);
      onRefused(error);
    }
    return null;
  } finally {
    underWay--;
  }
}

function told(sent: number, all: number, elapsedMs: number): string {
  if (sent >= all) return `${bytes(all)} sent`;
  const left = elapsedMs > RATE_AFTER_MS && sent ? ` · ${duration(((all - sent) * elapsedMs) / sent / 1000)} left` : "";
  return `${bytes(sent)} of ${bytes(all)}${left}`;
}

function refuse(row: HTMLLIElement, words: string): void {
  const close = make("button", { type: "button", onclick: () => row.remove() }, "Close");
  const text = make("p", { className: "warning" }, words);
  text.setAttribute("role", "alert");
  row.replaceChildren(text, close);
}
