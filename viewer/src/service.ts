/** What the page asks the service, by addresses from where the page lies: a proxy may serve all of it under a path. */

export interface Model {
  name: string;
  task: string;
  backbone: string;
  num_classes: number;
  feat_keys: string[];
  grid_size_m: number | null;
  num_parameters: number;
  /** Fields that it gives beside labels. */
  fields: string[];
  served: boolean;
  reason: string;
}

export interface Sample {
  name: string;
  title: string;
  url: string;
}

export interface Choices {
  model: string;
  mode: string;
  /** Most passes of a mode of several, '' for the server's limit. */
  max_passes: string;
  /** Which of the datasets that the model was trained on, '' for the usual one. */
  condition: string;
  format: string;
  columns: string;
  /** Units of the coordinates, '' for what the file says. */
  units: string;
  /** Their coordinate system, '' for what the file says. */
  crs: string;
  fields: string[];
  /** Options without a control of their own on the page, by name. */
  refine: Record<string, string>;
}

export interface Stage {
  stage: "upload" | "decode" | "segment" | "encode";
  received_bytes: number;
  total_bytes: number | null;
  elapsed_ms: number;
}

const POLL_MS = 400;
const MOST_QUERY_CHARS = 3000; // servers take addresses of at most 4094
const CHOSEN = ["model", "mode", "max_passes", "condition", "format", "columns", "units", "crs"] as const;

/** An answer that says in words what went wrong. */
export class Problem extends Error {
  /** `columns` are those of a file whose channels could not be told from their names, `options` what was wrong by option. */
  constructor(
    text: string,
    readonly status: number,
    readonly columns: string[] = [],
    readonly options: Record<string, string> = {},
  ) {
    super(text);
  }
}

export async function models(): Promise<Model[]> {
  return (await json<{ models: Model[] }>("models")).models;
}

export async function samples(): Promise<Sample[]> {
  return (await json<{ samples: Sample[] }>("samples")).samples;
}

export async function download(url: string, signal: AbortSignal): Promise<Blob> {
  return (await checked(await fetch(url, { signal }))).blob();
}

/** Sends `file`; the answer as soon as it begins to arrive. `onStage` follows the way there. */
export async function predict(
  file: Blob,
  filename: string,
  choices: Choices,
  output: string,
  signal: AbortSignal,
  onStage: (stage: Stage) => void,
): Promise<Response> {
  const { query, form } = asked({ ...textsOf(choices), output, filename });
  const id = identifier();
  const stop = follow(id, onStage);
  try {
    const headers = { "X-Request-Id": id, ...(form ? {} : { "Content-Type": "application/octet-stream" }) };
    form?.append("file", file, filename);
    return await checked(await fetch(`predict?${query}`, { method: "POST", body: form ?? file, headers, signal }));
  } finally {
    stop();
  }
}

/** What was chosen, by the option of a request. */
export function textsOf(choices: Choices): Record<string, string> {
  const own = Object.fromEntries(CHOSEN.map((name) => [name, choices[name]]));
  return { ...own, fields: choices.fields.join(","), ...choices.refine };
}

/** Options that are given as a query, and those that are too long for an address as a form, null without any. */
export function asked(texts: Record<string, string>): { query: URLSearchParams; form: FormData | null } {
  const given = Object.entries(texts).filter(([, text]) => text);
  const query = new URLSearchParams(given);
  const long: [string, string][] = [];
  for (const entry of given.sort(([, a], [, b]) => b.length - a.length)) {
    if (query.toString().length <= MOST_QUERY_CHARS) break;
    query.delete(entry[0]);
    long.push(entry);
  }
  if (!long.length) return { query, form: null };
  const form = new FormData();
  for (const [name, text] of long) form.append(name, text);
  return { query, form };
}

function follow(id: string, onStage: (stage: Stage) => void): () => void {
  let busy = false;
  const timer = setInterval(async () => {
    if (busy) return;
    busy = true;
    try {
      const response = await fetch(`progress/${id}`);
      if (response.status === 200) onStage((await response.json()) as Stage);
    } catch {
      // the prediction itself tells what is wrong
    }
    busy = false;
  }, POLL_MS);
  return () => clearInterval(timer);
}

export async function json<T>(url: string, init: RequestInit = {}): Promise<T> {
  return (await checked(await fetch(url, init))).json() as Promise<T>;
}

export async function checked(response: Response): Promise<Response> {
  if (response.ok) return response;
  throw problemOf(response.status, await response.text());
}

/** What an answer with an error says. */
export function problemOf(status: number, text: string): Problem {
  let told: { detail?: string; columns?: string[]; options?: Record<string, string> } = {};
  try {
    told = JSON.parse(text) as typeof told;
  } catch {
    // not one of the service's own answers
  }
  return new Problem(told.detail ?? `The server answered ${status}.`, status, told.columns, told.options);
}

/** What went wrong, in words. */
export function wordsOf(error: unknown): string {
  return error instanceof TypeError ? "The server cannot be reached." : (error as Error).message;
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

function identifier(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
