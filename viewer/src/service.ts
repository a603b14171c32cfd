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
  /** Most passes of an exact mode, '' for the server's limit. */
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
}

export interface Stage {
  stage: "upload" | "decode" | "segment" | "encode";
  received_bytes: number;
  total_bytes: number | null;
  elapsed_ms: number;
}

const POLL_MS = 400;
const CHOSEN = ["model", "mode", "max_passes", "condition", "format", "columns", "units", "crs"] as const;

/** An answer that says in words what went wrong. */
export class Problem extends Error {
  /** `columns` are those of a file whose channels could not be told from their names. */
  constructor(
    text: string,
    readonly status: number,
    readonly columns: string[] = [],
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

/** Values that an option of POST /predict may take. */
export async function accepted(): Promise<Record<string, string[]>> {
  const spec = await json<Spec>("openapi.json");
  const parameters = spec.paths["/predict"].post.parameters;
  return Object.fromEntries(parameters.map(({ name, schema }) => [name, listed(schema)]));
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
  const query = queryOf(choices);
  query.set("output", output);
  query.set("filename", filename);
  const id = identifier();
  const stop = follow(id, onStage);
  try {
    const headers = { "X-Request-Id": id, "Content-Type": "application/octet-stream" };
    return await checked(await fetch(`predict?${query}`, { method: "POST", body: file, headers, signal }));
  } finally {
    stop();
  }
}

/** What was chosen, as options of a request. */
export function queryOf(choices: Choices): URLSearchParams {
  const query = new URLSearchParams();
  for (const name of CHOSEN) if (choices[name]) query.set(name, choices[name]);
  if (choices.fields.length) query.set("fields", choices.fields.join(","));
  return query;
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

interface Schema {
  enum?: string[];
  const?: string;
  anyOf?: Schema[];
  items?: Schema;
}

interface Spec {
  paths: Record<string, { post: { parameters: { name: string; schema: Schema }[] } }>;
}

function listed(schema: Schema): string[] {
  return [...(schema.enum ?? []), ...(schema.const ? [schema.const] : []), ...(schema.anyOf ?? []).flatMap(listed), ...(schema.items ? listed(schema.items) : [])];
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
  let told: { detail?: string; columns?: string[] } = {};
  try {
    told = JSON.parse(text) as typeof told;
  } catch {
    // not one of the service's own answers
  }
  return new Problem(told.detail ?? `The server answered ${status}.`, status, told.columns);
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
