/** A classified cloud: its blocks on this side and on the graphics card. */

import * as THREE from "three";
import { type Block, type Header, type Values, column, value } from "./header";
import { hue } from "./palette";

/** What is kept of a block for reading points: places in metres from the middle of the cloud, and the stored columns. */
export interface Part extends Block {
  places: Float32Array;
}

/** Shares of a point: of the chosen field, of intensity, of the comparison, and 1 where it has no value of the field. */
const SHARES = 4;
const HEIGHTS = 1000; // points that say how high an area lies

export class Cloud {
  readonly parts: Part[] = [];
  readonly points: THREE.Points[] = [];
  readonly group = new THREE.Group();
  /** The middle of the cloud in the file's coordinates, which is 0 here. */
  readonly middle: THREE.Vector3;
  readonly half: THREE.Vector3;
  /** Metres to a unit of each axis of the file. */
  readonly metres: THREE.Vector3;
  /** Where all points are but for a few far ones. */
  readonly core: THREE.Box3;
  num_points = 0;
  private intensities: [number, number] | null = null;
  private field = "";

  constructor(
    readonly header: Header,
    private material: THREE.Material,
  ) {
    const position = column(header, "position")!;
    const largest = position.type === "uint16" ? 0xffff : 0xffffffff;
    const corner = (stored: number) => new THREE.Vector3(...[0, 1, 2].map((axis) => value(position, stored, axis)));
    const low = corner(0);
    const high = corner(largest);
    [0, 1, 2].forEach((axis) => {
      // an axis without extent has the step 1
      if ((position.step as number[])[axis] === 1) high.setComponent(axis, low.getComponent(axis));
    });
    this.middle = low.clone().add(high).multiplyScalar(0.5);
    const { units } = header;
    this.metres = units ? new THREE.Vector3(units.x.metres, units.y.metres, units.z.metres) : new THREE.Vector3(1, 1, 1);
    this.half = high.sub(low).multiplyScalar(0.5).multiply(this.metres);
    this.core = new THREE.Box3(this.half.clone().negate(), this.half.clone());
  }

  get radius(): number {
    return Math.max(this.half.length(), 1e-3);
  }

  /** About `most` places of the first block, without the few far ones. */
  sample(most: number): THREE.Vector3[] {
    const { places, num_points } = this.parts[0] ?? { places: new Float32Array(), num_points: 0 };
    const step = Math.max(1, Math.floor(num_points / most));
    const out: THREE.Vector3[] = [];
    for (let row = 0; row < num_points; row += step) {
      const place = new THREE.Vector3().fromArray(places, 3 * row);
      if (this.core.containsPoint(place)) out.push(place);
    }
    return out;
  }

  /** Where `corners` of the file lie, each at the height of the nearest of some points. */
  laid(corners: [x: number, y: number][]): THREE.Vector3[] {
    const known = this.sample(HEIGHTS);
    return corners.map(([x, y]) => {
      const place = new THREE.Vector3(x, y, 0).sub(this.middle).multiply(this.metres);
      const away = (other: THREE.Vector3) => (other.x - place.x) ** 2 + (other.y - place.y) ** 2;
      const nearest = known.reduce((best, other) => (away(other) < away(best) ? other : best), known[0] ?? place);
      return place.setZ(nearest.z);
    });
  }

  has(name: string): boolean {
    return column(this.header, name) !== undefined;
  }

  add(block: Block): void {
    if (this.parts.length === 0) this.findCore(block);
    const part = { ...block, places: this.places(block) };
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(part.places, 3));
    geometry.setAttribute("classes", new THREE.BufferAttribute(classes(block), 2));
    geometry.setAttribute("shares", new THREE.BufferAttribute(this.shares(block), SHARES, true));
    for (const name of ["rgb", "features"]) {
      const values = block.columns[name];
      if (values) geometry.setAttribute(name, new THREE.BufferAttribute(values as Uint8Array, 3, true));
    }
    const instance = block.columns.instance;
    if (instance) geometry.setAttribute("instance", new THREE.BufferAttribute(hues(instance), 3, true));
    const points = new THREE.Points(geometry, this.material);
    points.frustumCulled = false;
    points.matrixAutoUpdate = false;
    this.parts.push(part);
    this.points.push(points);
    this.group.add(points);
    this.num_points += block.num_points;
  }

  /** Give the shader the values of the field `name`, if it is one that has a scale. */
  showField(name: string): void {
    if (name === this.field) return;
    this.field = name;
    this.points.forEach(({ geometry }, index) => {
      const shares = geometry.getAttribute("shares") as THREE.BufferAttribute;
      this.fillField(shares.array as Uint8Array, this.parts[index]);
      shares.needsUpdate = true;
    });
  }

  dispose(): void {
    for (const points of this.points) points.geometry.dispose();
  }

  /** Values of intensity that are black and white. */
  get intensityRange(): [number, number] {
    return this.intensities ?? [0, 1];
  }

  /** Key by which class `index` of the model is compared with the file's. */
  modelKey(index: number): number | null {
    const { reference, classes } = this.header;
    return reference && index < classes.length ? classes[index][reference.key] : null;
  }

  /** Key by which class `index` of the file is compared with the model's. */
  fileKey(index: number): number | null {
    return this.header.reference?.values[index]?.key ?? null;
  }

  /** The first block is an even sample of all points. */
  private findCore(block: Block): void {
    const places = this.places(block);
    for (let axis = 0; axis < 3; axis++) {
      const [low, high] = middleRange(places.filter((_, at) => at % 3 === axis), 0.005);
      this.core.min.setComponent(axis, low);
      this.core.max.setComponent(axis, high);
    }
  }

  private places(block: Block): Float32Array {
    const position = column(this.header, "position")!;
    const stored = block.columns.position;
    const out = new Float32Array(stored.length);
    for (let axis = 0; axis < 3; axis++) {
      const step = (position.step as number[])[axis];
      const shift = (position.offset as number[])[axis] - this.middle.getComponent(axis);
      const metres = this.metres.getComponent(axis);
      for (let at = axis; at < stored.length; at += 3) out[at] = (stored[at] * step + shift) * metres;
    }
    return out;
  }

  private shares(block: Block): Uint8Array {
    const { intensity, label, reference } = block.columns;
    const out = new Uint8Array(SHARES * block.num_points);
    this.fillField(out, block);
    if (intensity) {
      this.intensities ??= middleRange(intensity, 0.02);
      const [low, high] = this.intensities;
      for (let i = 0; i < intensity.length; i++) out[SHARES * i + 1] = clamped((255 * (intensity[i] - low)) / (high - low));
    }
    if (reference) {
      const model = this.header.classes.map((_, index) => this.modelKey(index));
      const file = this.header.reference!.values.map(({ key }) => key);
      for (let i = 0; i < reference.length; i++) {
        const key = file[reference[i]] ?? null;
        out[SHARES * i + 2] = key === null ? 0 : key === model[label[i]] ? 128 : 255;
      }
    }
    return out;
  }

  private fillField(shares: Uint8Array, block: Block): void {
    const known = column(this.header, this.field);
    if (!known?.range) return;
    const [low, high] = known.range;
    const stored = block.columns[this.field];
    for (let i = 0; i < stored.length; i++) {
      const told = value(known, stored[i]);
      shares[SHARES * i] = clamped((255 * (told - low)) / (high - low || 1));
      shares[SHARES * i + 3] = Number.isNaN(told) ? 255 : 0;
    }
  }
}

function classes(block: Block): Uint16Array {
  const { label, reference } = block.columns;
  const out = new Uint16Array(2 * block.num_points);
  for (let i = 0; i < label.length; i++) {
    out[2 * i] = label[i];
    if (reference) out[2 * i + 1] = reference[i];
  }
  return out;
}

function hues(instances: Values): Uint8Array {
  const out = new Uint8Array(3 * instances.length);
  for (let i = 0; i < instances.length; i++) out.set(instances[i] < 0 ? [136, 136, 136] : hue(instances[i]), 3 * i);
  return out;
}

/** The values that the share `cut` of all lies below, and above. */
function middleRange(values: Values | Float32Array, cut: number): [number, number] {
  const sorted = values.slice().sort();
  const low = sorted[Math.floor(cut * (sorted.length - 1))];
  const high = sorted[Math.ceil((1 - cut) * (sorted.length - 1))];
  return [low, high > low ? high : low + 1e-3];
}

function clamped(value: number): number {
  return Math.min(255, Math.max(0, value));
}
