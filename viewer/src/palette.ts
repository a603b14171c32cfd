/** Colors of classes and of scales, 0 to 255. */

import type { ClassInfo } from "./header";

export type Color = [number, number, number];

export const UNKNOWN: Color = [136, 136, 136];
export const DIFFERENT: Color = [213, 94, 0];
export const SAME: Color = [120, 140, 160];
/** Of points whose class in the file is none that the model knows. */
export const NOT_COMPARED: Color = [60, 70, 80];
/** Of points without a value of what is shown; no color of the scale. */
export const MISSING: Color = [204, 121, 167];

/** After Okabe and Ito: told apart by color-blind eyes. */
const SAFE: Color[] = [
  [230, 159, 0],
  [86, 180, 233],
  [0, 158, 115],
  [240, 228, 66],
  [0, 114, 178],
  [213, 94, 0],
  [204, 121, 167],
];
const MEANINGS: [RegExp, Color][] = [
  [/ground|terrain|floor|earth/, [230, 159, 0]],
  [/low vegetation|grass|shrub/, [240, 228, 66]],
  [/high vegetation|medium vegetation|vegetation|tree/, [0, 158, 115]],
  [/building|roof|house/, [213, 94, 0]],
  [/water/, [0, 114, 178]],
  [/noise/, [204, 121, 167]],
  [/never classified|unclassified|ignored|unlabel/, UNKNOWN],
];
const GOLDEN = 0.6180339887;

/** One color a name; what a name means decides where it can, so that model and file agree. */
export function safeColors(names: string[]): Color[] {
  const colors = names.map((name) => MEANINGS.find(([pattern]) => pattern.test(name.toLowerCase()))?.[1]);
  const used = new Set(colors.filter((color) => color !== undefined).map(String));
  const free = SAFE.filter((color) => !used.has(String(color)));
  const taken = new Set<string>([String(UNKNOWN)]);
  let step = 0;
  return colors.map((color) => {
    if (color && (color === UNKNOWN || !taken.has(String(color)))) {
      taken.add(String(color));
      return color;
    }
    return color ? lighter(color) : (free.shift() ?? hue(step++));
  });
}

export function classColors(classes: ClassInfo[], safe: boolean): Color[] {
  return safe ? safeColors(classes.map((known) => known.name)) : classes.map((known) => known.color);
}

/** `share` 0 to 1 on the scale cividis, which color-blind eyes read in order. */
export function onScale(share: number): Color {
  const at = Math.min(Math.max(share, 0), 1) * (SCALE.length - 1);
  const low = Math.min(Math.floor(at), SCALE.length - 2);
  return mix(SCALE[low], SCALE[low + 1], at - low);
}

/** A color for a number that means nothing but itself. */
export function hue(number: number): Color {
  const lightness = [0.62, 0.38, 0.74, 0.5][Math.abs(number) % 4];
  return fromHue((Math.abs(number) * GOLDEN) % 1, lightness);
}

export function css(color: Color): string {
  return `rgb(${color.map(Math.round).join(" ")})`;
}

const SCALE: Color[] = [
  [0, 34, 78],
  [18, 53, 112],
  [59, 73, 108],
  [87, 93, 109],
  [112, 113, 115],
  [138, 134, 120],
  [165, 156, 116],
  [195, 179, 105],
  [225, 204, 85],
  [254, 232, 56],
];

function mix(low: Color, high: Color, share: number): Color {
  return low.map((value, index) => value + share * (high[index] - value)) as Color;
}

function lighter(color: Color): Color {
  return mix(color, [255, 255, 255], 0.45);
}

function fromHue(hue: number, lightness: number): Color {
  const reach = 0.65 * Math.min(lightness, 1 - lightness);
  const channel = (shift: number) => {
    const at = (shift + hue * 12) % 12;
    return 255 * (lightness - reach * Math.max(-1, Math.min(at - 3, 9 - at, 1)));
  };
  return [channel(0), channel(8), channel(4)];
}
