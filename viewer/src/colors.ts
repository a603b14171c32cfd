/** Controls of colors and sizes, and their way to the graphics card. */

import * as THREE from "three";
import type { Cloud } from "./cloud";
import { titleOf } from "./declared";
import { by, options, show } from "./dom";
import { column, scaled } from "./header";
import { plain } from "./numbers";
import { type Color, DIFFERENT, MISSING, NOT_COMPARED, SAME, UNKNOWN, classColors, onScale, safeColors } from "./palette";
import { MODES, type Mode, shaderMode, table } from "./shader";
import type { Stage } from "./stage";

/** How modes are called here, if not by the name of their column. */
const TITLES: Record<Mode, string> = { rgb: "its own color", features: "principal components" };
const STEPS = 256;

export class Colors {
  onChange: () => void = () => {};
  private mode = by<HTMLSelectElement>("color-mode");
  private palette = by<HTMLSelectElement>("palette");
  private size = by<HTMLInputElement>("size");
  private edges = by<HTMLInputElement>("edges");

  constructor(private stage: Stage) {
    const uniforms = stage.material.uniforms;
    const steps = Array.from({ length: STEPS }, (_, step): [number, number, number, boolean] => [...onScale(step / (STEPS - 1)), true]);
    uniforms.scale.value = table(steps);
    uniforms.same.value = vector(SAME);
    uniforms.different.value = vector(DIFFERENT);
    uniforms.notCompared.value = vector(NOT_COMPARED);
    uniforms.missing.value = vector(MISSING);
    for (const control of [this.mode, this.palette, this.size, this.edges]) {
      control.addEventListener("input", () => this.changed());
    }
    paintBar(by<HTMLCanvasElement>("scale-bar"));
  }

  get value(): { color: Mode; palette: "safe" | "model"; size: number; edges: boolean } {
    const palette = this.palette.value === "model" ? "model" : "safe";
    return { color: this.mode.value as Mode, palette, size: Number(this.size.value), edges: this.edges.checked };
  }

  /** Offer what `cloud` has, and take `wanted` where it is among that. */
  offer(cloud: Cloud, wanted: { color: Mode; palette: "safe" | "model"; size: number; edges: boolean }): void {
    const [first, ...others] = MODES.filter((mode) => mode === "class" || mode === "height" || cloud.has(mode));
    const there: Mode[] = [first, ...scaled(cloud.header).map(({ name }) => name), ...others];
    options(this.mode, there.map((mode) => [mode, TITLES[mode] ?? titleOf(mode)]));
    this.mode.value = there.includes(wanted.color) ? wanted.color : "class";
    this.palette.value = wanted.palette;
    this.size.value = String(wanted.size);
    this.edges.checked = wanted.edges;
    this.apply(cloud);
  }

  /** The next way of coloring, for the keyboard. */
  next(): void {
    this.mode.selectedIndex = (this.mode.selectedIndex + 1) % this.mode.length;
    this.changed();
  }

  ofModel(cloud: Cloud): Color[] {
    return [...classColors(cloud.header.classes, this.value.palette === "safe"), UNKNOWN];
  }

  /** The file's classes have the colors of the model's classes of the same name. */
  ofFile(cloud: Cloud): Color[] {
    const { classes, reference } = cloud.header;
    const colors = classColors(classes, this.value.palette === "safe");
    const values = reference?.values ?? [];
    const apart = safeColors(values.map(({ name }) => name));
    return [...values.map(({ key, name }, index) => {
      const same = classes.findIndex((known, at) => known.name === name || (key !== null && cloud.modelKey(at) === key));
      return same >= 0 ? colors[same] : apart[index];
    }), UNKNOWN];
  }

  private changed(): void {
    if (this.stage.cloud) this.apply(this.stage.cloud);
    this.onChange();
  }

  private apply(cloud: Cloud): void {
    const { color, size, edges } = this.value;
    const uniforms = this.stage.material.uniforms;
    uniforms.mode.value = shaderMode(color);
    cloud.showField(color);
    uniforms.heights.value.set(cloud.core.min.z, cloud.core.max.z);
    this.stage.size = size;
    this.stage.shadeEdges(edges);
    const range = rangeOf(cloud, color);
    show(by("scale"), range !== undefined);
    if (range) {
      by("scale-low").textContent = plain(range[0], 2);
      by("scale-high").textContent = plain(range[1], 2);
    }
  }
}

/** Where the scale of `mode` begins and ends, if it has one. */
function rangeOf(cloud: Cloud, mode: Mode): [number, number] | undefined {
  const { middle, metres, core, header } = cloud;
  if (mode === "height") return [middle.z + core.min.z / metres.z, middle.z + core.max.z / metres.z];
  return column(header, mode)?.range;
}

function paintBar(canvas: HTMLCanvasElement): void {
  const context = canvas.getContext("2d");
  if (!context) return;
  const image = context.createImageData(STEPS, 1);
  for (let step = 0; step < STEPS; step++) image.data.set([...onScale(step / (STEPS - 1)), 255], 4 * step);
  context.putImageData(image, 0, 0);
}

function vector(color: Color): THREE.Vector3 {
  return new THREE.Vector3(...color).divideScalar(255);
}
