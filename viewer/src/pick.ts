/** Which point lies under a place on the screen. */

import * as THREE from "three";
import type { Cloud, Part } from "./cloud";

const REACH_PIXELS = 7;
const SAME_DEPTH = 0.01;

export interface Picked {
  part: Part;
  row: number;
  place: THREE.Vector3;
}

/** The nearest point that is shown within some pixels of (x, y) of a screen of `width` by `height`; null for none. */
export function pick(
  cloud: Cloud,
  camera: THREE.PerspectiveCamera,
  x: number,
  y: number,
  width: number,
  height: number,
  shown: (part: Part, row: number) => boolean,
): Picked | null {
  const m = camera.projectionMatrix.clone().multiply(camera.matrixWorldInverse).elements;
  let best: { part: Part; row: number } | null = null;
  let bestDepth = Infinity;
  let bestDistance = Infinity;
  for (const part of cloud.parts) {
    const p = part.places;
    for (let row = 0, at = 0; row < part.num_points; row++, at += 3) {
      const depth = m[3] * p[at] + m[7] * p[at + 1] + m[11] * p[at + 2] + m[15];
      if (depth <= camera.near || depth > bestDepth * (1 + SAME_DEPTH)) continue;
      const dx = (0.5 + (m[0] * p[at] + m[4] * p[at + 1] + m[8] * p[at + 2] + m[12]) / (2 * depth)) * width - x;
      if (dx > REACH_PIXELS || dx < -REACH_PIXELS) continue;
      const dy = (0.5 - (m[1] * p[at] + m[5] * p[at + 1] + m[9] * p[at + 2] + m[13]) / (2 * depth)) * height - y;
      const distance = dx * dx + dy * dy;
      if (distance > REACH_PIXELS * REACH_PIXELS) continue;
      const nearer = depth < bestDepth * (1 - SAME_DEPTH) || distance < bestDistance;
      if (!nearer || !shown(part, row)) continue;
      best = { part, row };
      bestDepth = depth;
      bestDistance = distance;
    }
  }
  if (!best) return null;
  const place = new THREE.Vector3().fromArray(best.part.places, 3 * best.row);
  return { ...best, place };
}
