/** What the service declares of itself: options of a prediction, fields of an answer, steps that refine labels. */

import { json } from "./service";

/** How an option is asked for: yes or no, one or some of `values`, a number, an area on the map, other text. */
export type Kind = "flag" | "one" | "some" | "number" | "area" | "text";

/** An option of POST /predict; values are text as in its query. */
export interface Option {
  name: string;
  /** What it does and accepts, in words. */
  description: string;
  kind: Kind;
  /** Those that it takes one or some of. */
  values: string[];
  /** What they mean, by value, as far as that is told. */
  words: Record<string, string>;
  /** Its default, '' for none. */
  usual: string;
  least?: number;
  most?: number;
  isWhole: boolean;
}

export interface Declared {
  options: Option[];
  /** What each step that refines labels does, by its name. */
  steps: Record<string, string>;
}

export interface Schema {
  type?: string;
  format?: string;
  enum?: string[];
  const?: string;
  anyOf?: Schema[];
  items?: Schema;
  default?: unknown;
  minimum?: number;
  exclusiveMinimum?: number;
  maximum?: number;
  exclusiveMaximum?: number;
  "x-enumDescriptions"?: Record<string, string>;
}

export interface Parameter {
  name: string;
  description: string;
  schema: Schema;
}

interface Spec {
  paths: Record<string, { post: { parameters: Parameter[] } }>;
  components: { schemas: Record<string, { properties: Record<string, Schema> }> };
}

export async function declared(): Promise<Declared> {
  const spec = await json<Spec>("openapi.json");
  const steps = spec.components.schemas.StepCount.properties.step["x-enumDescriptions"] ?? {};
  return { options: spec.paths["/predict"].post.parameters.map(optionOf), steps };
}

export function optionOf({ name, description, schema }: Parameter): Option {
  const own = schema.anyOf?.find(({ type }) => type !== "null") ?? schema;
  const one = own.items ?? own;
  const values = one.enum ?? (one.const === undefined ? [] : [one.const]);
  const usual = Array.isArray(schema.default) ? schema.default.join(",") : String(schema.default ?? "");
  const bounds = boundsOf(one).join(", ");
  const isWhole = own.type === "integer";
  return {
    name,
    description: bounds ? `${description} Accepted: ${bounds}.` : description,
    kind: kindOf(own, values),
    values,
    words: one["x-enumDescriptions"] ?? {},
    usual: usual === "false" ? "" : usual,
    least: own.minimum ?? own.exclusiveMinimum,
    most: own.maximum ?? own.exclusiveMaximum,
    isWhole,
  };
}

/** Name of an option, a field or a step as it is shown. */
export function titleOf(name: string): string {
  return name.replace(/_m2$/, ", m²").replace(/_m$/, ", m").replace(/_s$/, ", s").replaceAll("_", " ");
}

function kindOf(schema: Schema, values: string[]): Kind {
  if (schema.type === "boolean") return "flag";
  if (values.length) return schema.type === "array" ? "some" : "one";
  if (schema.type === "integer" || schema.type === "number") return "number";
  return schema.format === "area" ? "area" : "text";
}

function boundsOf({ minimum, exclusiveMinimum, maximum, exclusiveMaximum }: Schema): string[] {
  const bounds: [number | undefined, (bound: string) => string][] = [
    [minimum, (bound) => `${bound} or more`],
    [exclusiveMinimum, (bound) => `more than ${bound}`],
    [maximum, (bound) => `${bound} or less`],
    [exclusiveMaximum, (bound) => `less than ${bound}`],
  ];
  return bounds.flatMap(([bound, words]) => (bound === undefined ? [] : [words(bound.toLocaleString("en"))]));
}
