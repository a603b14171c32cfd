/** What the page asks the service about jobs. */

import { eventsIn } from "./events";
import { type Choices, asked, checked, json, problemOf, textsOf } from "./service";

export const STATES = ["pending", "running", "done", "failed", "quarantined", "context"] as const;
export type FileState = (typeof STATES)[number];

/** One file of a job, as GET /jobs/{id} and its events describe it. */
export interface JobFile {
  number: number;
  name: string;
  state: FileState;
  points: number | null;
  attempts: number;
  error: string;
  warnings: string[];
  /** Least x, y, z and greatest x, y, z in its own units, null where its header does not tell. */
  bounds: number[] | null;
  crs: string;
  /** Of a unit of x and y, null where nobody states it. */
  metres: number | null;
  /** Name of its answer among those of the job, '' until it is done. */
  answer: string;
}

export interface Job {
  id: string;
  state: "waiting" | "running" | "done" | "failed";
  problem: string;
  created: string;
  ended: string | null;
  expires: string | null;
  model: string;
  sources: string[];
  tiles: Record<FileState, number>;
  points: number;
  points_done: number;
  points_s: number | null;
  left_s: number | null;
  disk_bytes: number;
}

export interface Watcher {
  job(job: Job): void;
  file(file: JobFile): void;
}

export function isEnded(job: Job): boolean {
  return job.state === "done" || job.state === "failed";
}

export function numTiles(job: Job): number {
  return Object.values(job.tiles).reduce((sum, count) => sum + count, 0);
}

export async function listJobs(): Promise<Job[]> {
  return (await json<{ jobs: Job[] }>("jobs")).jobs;
}

/** Files of a job, at least the first `most` of them. */
export async function filesOf(id: string, most: number): Promise<JobFile[]> {
  const files: JobFile[] = [];
  for (;;) {
    const after = files.at(-1)?.number ?? 0;
    const page = await json<{ files: JobFile[]; files_left_out: number }>(`jobs/${id}?after=${after}`);
    files.push(...page.files);
    if (page.files_left_out === 0 || files.length >= most) return files;
  }
}

export async function retryJob(id: string): Promise<Job> {
  return (await checked(await fetch(`jobs/${id}/retry`, { method: "POST" }))).json() as Promise<Job>;
}

export async function removeJob(id: string): Promise<void> {
  await checked(await fetch(`jobs/${id}`, { method: "DELETE" }));
}

/** Tell `watcher` what happens to a job; true once nothing more does, false where the answer broke off before. */
export async function watchJob(id: string, signal: AbortSignal, watcher: Watcher): Promise<boolean> {
  const response = await checked(await fetch(`jobs/${id}/events`, { signal }));
  for await (const { name, data } of eventsIn(response.body!)) {
    if (name === "job") watcher.job(JSON.parse(data) as Job);
    else if (name === "tile") watcher.file(JSON.parse(data) as JobFile);
    else if (name === "end") return true;
  }
  return false;
}

/** Where the answer `name` is. */
export function answerOf(id: string, name: string): string {
  return `jobs/${id}/result/${name.split("/").map(encodeURIComponent).join("/")}`;
}

/** Names of the answers of a job that has ended where these are in an object store, null where all come as one file. */
export async function answersInStore(id: string): Promise<string[] | null> {
  const headers = { Accept: "application/json" };
  const { files, expires } = await json<{ files: { name: string }[]; expires: string | null }>(`jobs/${id}/result`, { headers });
  return expires === null ? null : files.map(({ name }) => name);
}

export async function viewOf(id: string, file: JobFile, signal: AbortSignal): Promise<Response> {
  return checked(await fetch(`${answerOf(id, file.answer)}?output=view`, { signal }));
}

/** Send `files` as one job; `onSent` follows how much is on its way. Only XMLHttpRequest tells that. */
export function submitJob(files: File[], choices: Choices, signal: AbortSignal, onSent: (sent: number, all: number) => void): Promise<Job> {
  const { query, form: long } = asked(textsOf(choices));
  const form = long ?? new FormData();
  for (const file of files) form.append("file", file, file.name);
  const request = new XMLHttpRequest();
  return new Promise((resolve, reject) => {
    const stop = () => request.abort();
    request.upload.onprogress = ({ loaded, total }) => onSent(loaded, total);
    request.onload = () => {
      if (request.status === 201) resolve(JSON.parse(request.responseText) as Job);
      else reject(problemOf(request.status, request.responseText));
    };
    request.onerror = () => reject(new TypeError("no answer"));
    request.onabort = () => reject(new DOMException("given up", "AbortError"));
    request.onloadend = () => signal.removeEventListener("abort", stop);
    signal.addEventListener("abort", stop);
    request.open("POST", `jobs?${query}`);
    request.send(form);
  });
}
