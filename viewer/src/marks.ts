/** Marks over the picture: the point that was picked and the line that is measured. */

import type * as THREE from "three";
import type { Stage } from "./stage";

const SVG = "http://www.w3.org/2000/svg";

export class Marks {
  picked: THREE.Vector3 | null = null;
  line: THREE.Vector3[] = [];
  /** Borders of an area, each closed. */
  rings: THREE.Vector3[][] = [];

  constructor(
    private root: SVGElement,
    private stage: Stage,
  ) {}

  draw(): void {
    const { clientWidth: width, clientHeight: height } = this.stage.canvas;
    const shapes: SVGElement[] = this.rings.map((ring) => shape("path", { class: "area", d: this.border(ring, width, height) }));
    const line = this.line.map((place) => this.project(place, width, height));
    for (let i = 1; i < line.length; i++) {
      const [from, to] = [line[i - 1], line[i]];
      if (!from || !to) continue;
      shapes.push(shape("line", { x1: from.x, y1: from.y, x2: to.x, y2: to.y }));
      const label = shape("text", { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 - 6 });
      label.textContent = `${this.line[i].distanceTo(this.line[i - 1]).toFixed(2)} m`;
      shapes.push(label);
    }
    for (const end of line) if (end) shapes.push(shape("circle", { cx: end.x, cy: end.y, r: 4 }));
    const picked = this.picked && this.project(this.picked, width, height);
    if (picked) shapes.push(shape("circle", { cx: picked.x, cy: picked.y, r: 8, class: "picked" }));
    this.root.replaceChildren(...shapes);
  }

  /** A path along `ring` without what lies behind the camera. */
  private border(ring: THREE.Vector3[], width: number, height: number): string {
    let isDrawn = false;
    const steps = [...ring, ring[0]].map((corner) => {
      const to = this.project(corner, width, height);
      const step = to ? `${isDrawn ? "L" : "M"}${to.x} ${to.y}` : "";
      isDrawn = to !== null;
      return step;
    });
    return steps.join("");
  }

  private project(place: THREE.Vector3, width: number, height: number): { x: number; y: number } | null {
    const there = place.clone().project(this.stage.camera);
    if (there.z < -1 || there.z > 1) return null;
    return { x: (0.5 + there.x / 2) * width, y: (0.5 - there.y / 2) * height };
  }
}

function shape(name: string, attributes: Record<string, string | number>): SVGElement {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}
