/** Ways to move the camera: around a point, or on foot. */

import * as THREE from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
import type { Stage } from "./stage";

export const NAVIGATIONS = ["orbit", "walk"] as const;
export type Navigation = (typeof NAVIGATIONS)[number];

const TURN = Math.PI / 60;
const LOOK = 0.004;
const CENTRED_POINTS = 2000;
const CENTRING_STEPS = 4;
const FILLED = 0.86; // share of the picture's width or height that a whole cloud takes
const CROSSING_S = 12; // time to walk through the cloud
const MOVES: Record<string, [right: number, ahead: number, up: number]> = {
  w: [0, 1, 0],
  s: [0, -1, 0],
  a: [-1, 0, 0],
  d: [1, 0, 0],
  q: [0, 0, -1],
  e: [0, 0, 1],
};
const ARROWS: Record<string, [x: number, y: number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};

export class Navigator {
  mode: Navigation = "orbit";
  onChange: () => void = () => {};
  private orbit: OrbitControls;
  private held = new Set<string>();
  private drag: { id: number; x: number; y: number } | null = null;

  constructor(private stage: Stage) {
    this.orbit = new OrbitControls(stage.camera, stage.canvas);
    this.orbit.zoomToCursor = true;
    this.orbit.maxPolarAngle = Math.PI;
    this.orbit.addEventListener("change", () => this.moved());
    stage.onTick = (elapsed_s) => this.walk(elapsed_s);
    const { canvas } = stage;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.look(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (this.drag = null));
    canvas.addEventListener("wheel", (event) => this.stride(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.press(event));
    canvas.addEventListener("keyup", (event) => this.held.delete(event.key.toLowerCase()));
    canvas.addEventListener("blur", () => this.held.clear());
  }

  get target(): THREE.Vector3 {
    return this.orbit.target;
  }

  choose(mode: Navigation): void {
    const changed = mode !== this.mode;
    this.mode = mode;
    this.orbit.enabled = mode === "orbit";
    this.held.clear();
    const { camera } = this.stage;
    if (changed && mode === "orbit") {
      const distance = 0.3 * (this.stage.cloud?.radius ?? 1);
      this.target.copy(camera.position).addScaledVector(this.ahead(), distance);
      this.orbit.update();
    }
    this.stage.draw();
  }

  /** Look at the whole cloud from the south and from above. */
  whole(): void {
    const { cloud, camera } = this.stage;
    if (!cloud) return;
    const sphere = cloud.core.getBoundingSphere(new THREE.Sphere());
    const distance = (0.9 * sphere.radius) / Math.sin((camera.fov * Math.PI) / 360) / Math.min(1, camera.aspect);
    const from = new THREE.Vector3(0.25, -0.85, 0.62).normalize().multiplyScalar(distance);
    this.place(from.add(sphere.center), sphere.center);
    const places = cloud.sample(CENTRED_POINTS);
    for (let step = 0; step < CENTRING_STEPS; step++) this.centre(places);
  }

  /** Move and zoom so that `places` lie around the middle of the picture; perspective makes one step an approximation. */
  private centre(places: THREE.Vector3[]): void {
    const { camera } = this.stage;
    camera.updateMatrixWorld();
    const bounds = new THREE.Box2();
    for (const place of places) {
      const seen = place.clone().applyMatrix4(camera.matrixWorldInverse);
      if (seen.z < 0) bounds.expandByPoint(new THREE.Vector2(seen.x / -seen.z, seen.y / -seen.z));
    }
    if (bounds.isEmpty()) return;
    const offset = camera.position.clone().sub(this.target);
    const middle = bounds.getCenter(new THREE.Vector2()).multiplyScalar(offset.length());
    const size = bounds.getSize(new THREE.Vector2());
    const height = 2 * Math.tan((camera.fov * Math.PI) / 360);
    const filled = Math.max(size.x / (height * camera.aspect), size.y / height, 1e-3);
    const [right, up] = [new THREE.Vector3(), new THREE.Vector3()];
    camera.matrixWorld.extractBasis(right, up, new THREE.Vector3());
    const target = this.target.clone().addScaledVector(right, middle.x).addScaledVector(up, middle.y);
    this.place(offset.multiplyScalar(filled / FILLED).add(target), target);
  }

  place(position: THREE.Vector3, target: THREE.Vector3): void {
    this.stage.camera.position.copy(position);
    this.target.copy(target);
    this.stage.camera.lookAt(target);
    if (this.mode === "orbit") this.orbit.update();
    this.moved();
  }

  private moved(): void {
    this.stage.more();
    this.onChange();
  }

  private press(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    const arrow = ARROWS[event.key];
    if (this.mode === "walk" && (key in MOVES || arrow)) this.held.add(key);
    else if (arrow) this.turn(-2 * TURN * arrow[0], -TURN * arrow[1]);
    else if (event.key === "+" || event.key === "=") this.approach(0.85);
    else if (event.key === "-") this.approach(1 / 0.85);
    else return;
    event.preventDefault();
    this.stage.more();
  }

  private turn(around: number, over: number): void {
    const offset = this.stage.camera.position.clone().sub(this.target);
    const upright = new THREE.Quaternion().setFromUnitVectors(this.stage.camera.up, new THREE.Vector3(0, 1, 0));
    const angles = new THREE.Spherical().setFromVector3(offset.applyQuaternion(upright));
    angles.theta += around;
    angles.phi = Math.min(Math.max(angles.phi + over, 0.01), Math.PI - 0.01);
    offset.setFromSpherical(angles).applyQuaternion(upright.invert());
    this.place(offset.add(this.target), this.target);
  }

  private approach(factor: number): void {
    if (this.mode === "walk") {
      this.step(0, factor < 1 ? 0.02 : -0.02, 0);
      return;
    }
    const { camera } = this.stage;
    this.place(camera.position.clone().sub(this.target).multiplyScalar(factor).add(this.target), this.target);
  }

  /** Move by what is held down; whether anything is. */
  private walk(elapsed_s: number): boolean {
    if (this.mode !== "walk" || this.held.size === 0) return false;
    const share = elapsed_s / CROSSING_S;
    for (const key of this.held) {
      const move = MOVES[key];
      const arrow = Object.entries(ARROWS).find(([name]) => name.toLowerCase() === key)?.[1];
      if (move) this.step(move[0] * share, move[1] * share, move[2] * share);
      else if (arrow) this.rotate(-arrow[0] * 1.2 * elapsed_s, arrow[1] * 0.9 * elapsed_s);
    }
    return true;
  }

  /** Shares of the cloud's size to the right, ahead and up. */
  private step(right: number, ahead: number, up: number): void {
    const { camera, cloud } = this.stage;
    const size = 2 * (cloud?.radius ?? 1);
    const forward = this.ahead();
    const sideways = forward.clone().cross(camera.up).normalize();
    camera.position.addScaledVector(forward, ahead * size).addScaledVector(sideways, right * size);
    camera.position.z += up * size;
    this.follow();
  }

  private rotate(yaw: number, pitch: number): void {
    const { camera } = this.stage;
    const forward = this.ahead();
    const sideways = forward.clone().cross(camera.up).normalize();
    const turned = forward.clone().applyAxisAngle(sideways, pitch);
    if (Math.abs(turned.dot(camera.up)) < 0.995) forward.copy(turned);
    forward.applyAxisAngle(camera.up, yaw);
    camera.lookAt(camera.position.clone().add(forward));
    this.follow();
  }

  /** Keep the target ahead, so that links and a return to the orbit know where one looks. */
  private follow(): void {
    const { camera, cloud } = this.stage;
    this.target.copy(camera.position).addScaledVector(this.ahead(), 0.3 * (cloud?.radius ?? 1));
    this.moved();
  }

  private ahead(): THREE.Vector3 {
    return this.stage.camera.getWorldDirection(new THREE.Vector3());
  }

  private begin(event: PointerEvent): void {
    if (this.mode !== "walk") return;
    this.drag = { id: event.pointerId, x: event.clientX, y: event.clientY };
    this.stage.canvas.setPointerCapture(event.pointerId);
  }

  private look(event: PointerEvent): void {
    if (this.mode !== "walk" || this.drag?.id !== event.pointerId) return;
    this.rotate((event.clientX - this.drag.x) * LOOK, (event.clientY - this.drag.y) * LOOK);
    this.drag = { id: event.pointerId, x: event.clientX, y: event.clientY };
  }

  private stride(event: WheelEvent): void {
    if (this.mode !== "walk") return;
    event.preventDefault();
    this.step(0, -Math.sign(event.deltaY) * 0.02, 0);
  }
}
