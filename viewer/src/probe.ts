/** What clicks into the picture read: a point, a measured line, or the corners of a box. */

import * as THREE from "three";
import { boxBetween, ringsOf } from "./area";
import type { Cloud, Part } from "./cloud";
import { by, press, show } from "./dom";
import type { Header } from "./header";
import { Marks } from "./marks";
import { type Picked, pick } from "./pick";
import { card, decimalsOf, facts, findIndex, placeOf } from "./point";
import type { Stage } from "./stage";

const CLICK_PIXELS = 5;

export class Probe {
  /** Index in the file of the point that is read, or -1. */
  point = -1;
  /** Told when another point is read, or none. */
  onChange: () => void = () => {};
  private marks: Marks;
  private measuring = false;
  /** Who waits for a box that is being drawn, and its corners in the file. */
  private boxed: ((box: string) => void) | null = null;
  private corners: number[][] = [];
  private area = "";

  constructor(
    private stage: Stage,
    private isShown: (part: Part, row: number) => boolean,
  ) {
    this.marks = new Marks(by<SVGSVGElement>("marks"), stage);
    by("measure").onclick = () => this.measure(!this.measuring);
    this.listenForClicks();
  }

  /** Forget what was read of the cloud before. */
  clear(): void {
    this.unpick();
    this.measure(false);
    this.marks.rings = [];
  }

  draw(): void {
    this.marks.draw();
  }

  measure(on: boolean): void {
    this.measuring = on;
    this.boxed = null;
    press(by("measure"), on);
    this.marks.line = [];
    if (on) this.say([["measure", "Click two or more points; Esc ends."]]);
    else if (this.point < 0) this.unpick();
    this.marks.draw();
  }

  /** Take the next two points that are clicked for opposite corners of a box, in the file's coordinates. */
  drawBox(done: (box: string) => void): void {
    this.measure(false);
    this.unpick();
    this.boxed = done;
    this.say([["area", "Click two opposite corners; Esc ends."]]);
  }

  /** Draw the borders of an area, as `ringsOf` reads it. */
  outline(area = this.area): void {
    const { cloud } = this.stage;
    this.area = area;
    this.marks.rings = cloud?.parts.length ? ringsOf(area).map((ring) => cloud.laid(ring)) : [];
    this.marks.draw();
  }

  /** Escape: first what is measured, then the point, or the box that is drawn. */
  leave(): void {
    if (this.measuring) this.measure(false);
    else this.unpick();
  }

  /** Read the point in the middle of the screen, for the keyboard. */
  pickMiddle(): void {
    const { canvas } = this.stage;
    this.click(canvas.clientWidth / 2, canvas.clientHeight / 2);
  }

  /** Read the point with this index in the file, where it has arrived. */
  find(index: number): void {
    const found = index >= 0 && this.stage.cloud ? findIndex(this.stage.cloud, index) : null;
    if (found) this.tell({ ...found, place: new THREE.Vector3().fromArray(found.part.places, 3 * found.row) });
  }

  private get cloud(): Cloud {
    return this.stage.cloud!;
  }

  private listenForClicks(): void {
    const { canvas } = this.stage;
    let begin: PointerEvent | null = null;
    canvas.addEventListener("pointerdown", (event) => (begin = event.isPrimary && event.button === 0 ? event : null));
    canvas.addEventListener("pointerup", (event) => {
      const near = begin && Math.hypot(event.clientX - begin.clientX, event.clientY - begin.clientY) < CLICK_PIXELS;
      begin = null;
      if (near) this.click(event.offsetX, event.offsetY);
    });
  }

  private click(x: number, y: number): void {
    const { canvas, camera, cloud } = this.stage;
    if (!cloud) return;
    const found = pick(cloud, camera, x, y, canvas.clientWidth, canvas.clientHeight, this.isShown);
    if (!found) return;
    if (this.measuring) this.extend(found);
    else if (this.boxed) this.corner(found, this.boxed);
    else this.tell(found);
  }

  private tell(found: Picked): void {
    this.point = found.part.columns.index[found.row];
    this.marks.picked = found.place;
    this.say(facts(this.cloud, found.part, found.row));
    this.onChange();
  }

  private extend(found: Picked): void {
    this.marks.line.push(found.place);
    this.say(measured(this.marks.line, this.cloud.header));
  }

  /** One corner of a box, or the second, which completes it. */
  private corner(found: Picked, done: (box: string) => void): void {
    this.marks.line = [found.place];
    this.corners.push(placeOf(this.cloud, found.part, found.row));
    if (this.corners.length < 2) {
      this.say([["area", "Now the opposite corner."]]);
      return;
    }
    const [one, other] = this.corners;
    this.unpick();
    done(boxBetween(one, other, decimalsOf(this.cloud)));
  }

  private say(rows: [string, string][]): void {
    by("picked").replaceChildren(...card(rows, () => this.leave()));
    show(by("picked"), true);
    this.marks.draw();
  }

  private unpick(): void {
    this.point = -1;
    this.boxed = null;
    this.corners = [];
    if (!this.measuring) this.marks.line = [];
    this.marks.picked = null;
    show(by("picked"), false);
    this.marks.draw();
    this.onChange();
  }
}

/** Length, level distance and rise of a line through `places`, in metres, and what is doubtful about it. */
function measured(places: THREE.Vector3[], { units }: Header): [string, string][] {
  const legs = places.slice(1).map((place, index) => place.clone().sub(places[index]));
  if (!legs.length) return [["measure", "Now the next point."]];
  const total = legs.reduce((sum, leg) => sum + leg.length(), 0);
  const level = legs.reduce((sum, leg) => sum + Math.hypot(leg.x, leg.y), 0);
  const rise = places[places.length - 1].z - places[0].z;
  const isStated = units && [units.x, units.y].every(({ source }) => source !== "assumed"); // z without a unit has that of x and y
  return [
    ["distance", `${total.toFixed(3)} m`],
    ["level", `${level.toFixed(3)} m`],
    ["rise", `${rise.toFixed(3)} m`],
    ["points", String(places.length)],
    ...(isStated ? [] : [["unit", "not stated by the file, taken for metres"] satisfies [string, string]]),
  ];
}
