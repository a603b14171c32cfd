/**
 * Draws a cloud. Blocks are even samples, so a moving camera sees as many as the time of a frame allows, and a camera
 * that rests sees the others join them frame by frame, until all are there and nothing is drawn any more.
 */

import * as THREE from "three";
import type { Cloud } from "./cloud";
import { edgePass, pointMaterial } from "./shader";

const FRAME_MS = 1000 / 28;
const SLOW_MS = 1000 / 21;
const MAX_PIXELS = 2;
const EDGES = 12;
const LEAST_BLOCKS = 0.25;
const COARSE = 0.5;

export interface Statistics {
  /** Points that a frame of a moving camera draws. */
  budget: number;
  /** Points on the screen now. */
  drawn: number;
  /** Frames a second while the camera last moved. */
  rate: number;
}

export class Stage {
  readonly camera = new THREE.PerspectiveCamera(55, 1, 0.1, 1000);
  readonly material = pointMaterial();
  readonly statistics: Statistics = { budget: 0, drawn: 0, rate: 0 };
  /** Told after every frame. */
  onFrame: () => void = () => {};
  /** Told before every frame; true where it moved the camera. */
  onTick: (elapsed_s: number) => boolean = () => false;
  cloud: Cloud | null = null;
  size = 3;
  private renderer: THREE.WebGLRenderer;
  private target = new THREE.WebGLRenderTarget(1, 1, {
    minFilter: THREE.NearestFilter,
    magFilter: THREE.NearestFilter,
    depthTexture: new THREE.DepthTexture(1, 1, THREE.UnsignedIntType),
  });
  private pass = edgePass();
  private screen = new THREE.Mesh(triangle(), this.pass);
  private seen = new THREE.Matrix4();
  private blocksPerFrame = 4;
  private nextBlock = 0;
  private last_ms = 0;
  private moving = 0;
  private waiting = false;
  /** Half the resolution and no edges, while a slow machine moves. */
  private coarse = false;
  private edges = true;

  constructor(readonly canvas: HTMLCanvasElement) {
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: false, alpha: true, powerPreference: "high-performance" });
    this.renderer.autoClear = false;
    this.renderer.setClearColor(0x000000, 0);
    this.camera.up.set(0, 0, 1);
    this.screen.frustumCulled = false;
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  show(cloud: Cloud): void {
    this.cloud?.dispose();
    this.cloud = cloud;
    this.draw();
  }

  shadeEdges(shaded: boolean): void {
    this.edges = shaded;
    this.draw();
  }

  /** Draw everything again, beginning with the next frame. */
  draw(): void {
    this.nextBlock = 0;
    this.more();
  }

  /** Draw what is not drawn yet. */
  more(): void {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame((now_ms) => this.frame(now_ms));
  }

  private frame(now_ms: number): void {
    this.waiting = false;
    const elapsed_ms = now_ms - this.last_ms;
    this.last_ms = now_ms;
    const walks = this.onTick(Math.min(elapsed_ms, 100) / 1000);
    this.camera.updateMatrixWorld();
    const moved = !this.camera.matrixWorldInverse.equals(this.seen);
    if (moved) {
      this.seen.copy(this.camera.matrixWorldInverse);
      this.nextBlock = 0;
    }
    if (moved && this.moving > 0) this.adapt(elapsed_ms);
    if (!moved && this.coarse) this.setCoarse(false);
    this.moving = moved ? this.moving + 1 : 0;
    this.render();
    this.onFrame();
    if (moved || walks || (this.cloud && this.nextBlock < this.cloud.points.length)) this.more();
  }

  private adapt(elapsed_ms: number): void {
    const total = this.cloud?.points.length ?? 1;
    const rate = 1000 / Math.max(elapsed_ms, 1);
    this.statistics.rate = this.moving < 3 ? rate : 0.85 * this.statistics.rate + 0.15 * rate;
    if (this.moving < 3) return;
    const factor = elapsed_ms > SLOW_MS ? Math.max(0.5, FRAME_MS / elapsed_ms) : elapsed_ms < FRAME_MS ? 1.08 : 1;
    this.blocksPerFrame = Math.min(Math.max(LEAST_BLOCKS, this.blocksPerFrame * factor), Math.max(4, total));
    if (elapsed_ms > SLOW_MS && this.blocksPerFrame < 1 && !this.coarse) this.setCoarse(true);
  }

  private setCoarse(coarse: boolean): void {
    this.coarse = coarse;
    this.sizeTarget();
    this.nextBlock = 0;
  }

  private sizeTarget(): void {
    const share = this.coarse ? COARSE : 1;
    this.target.setSize(Math.ceil(this.canvas.width * share), Math.ceil(this.canvas.height * share));
  }

  private render(): void {
    const { renderer, cloud, camera, statistics } = this;
    renderer.setRenderTarget(this.target);
    if (this.nextBlock === 0) {
      renderer.clear();
      statistics.drawn = 0;
    }
    if (cloud) {
      this.fit(cloud);
      const blocks = Math.max(1, Math.floor(this.blocksPerFrame));
      const end = Math.min(cloud.points.length, this.nextBlock + blocks);
      const part = this.moving > 0 ? Math.min(1, this.blocksPerFrame) : 1;
      const few = Math.ceil(part * (cloud.parts[0]?.num_points ?? 0));
      cloud.points[0]?.geometry.setDrawRange(0, few);
      cloud.points.forEach((points, index) => {
        points.visible = index >= this.nextBlock && index < end;
      });
      renderer.render(cloud.group, camera);
      if (part < 1) {
        statistics.drawn = few; // the block is drawn again once the camera rests
      } else {
        for (; this.nextBlock < end; this.nextBlock++) statistics.drawn += cloud.parts[this.nextBlock].num_points;
      }
      const budget = this.blocksPerFrame < 1 ? this.blocksPerFrame : Math.floor(this.blocksPerFrame);
      statistics.budget = Math.min(Math.ceil(budget * cloud.header.block_points), cloud.num_points);
    }
    renderer.setRenderTarget(null);
    const { colors, depths, range, strength, share } = this.pass.uniforms;
    colors.value = this.target.texture;
    depths.value = this.target.depthTexture;
    range.value.set(camera.near, camera.far);
    strength.value = this.edges && !this.coarse ? EDGES : 0;
    share.value = this.coarse ? COARSE : 1;
    renderer.render(this.screen, camera);
  }

  /** Near and far planes around the cloud; points grow a little while few of them are drawn. */
  private fit(cloud: Cloud): void {
    const far = this.camera.position.length() + cloud.radius;
    this.camera.far = far * 1.1;
    this.camera.near = Math.max(far / 5000, this.camera.position.length() - cloud.radius * 1.1);
    this.camera.updateProjectionMatrix();
    const height = this.target.height / (2 * Math.tan((this.camera.fov * Math.PI) / 360));
    const extent = cloud.core.getSize(new THREE.Vector3());
    const spacing = Math.sqrt((extent.x * extent.y || cloud.radius ** 2) / Math.max(1, cloud.header.num_shown));
    this.material.uniforms.size.value = spacing * (this.size / 2);
    this.material.uniforms.pixels.value = height;
  }

  private resize(): void {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, MAX_PIXELS));
    this.renderer.setSize(width, height, false);
    this.sizeTarget();
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.draw();
  }
}

function triangle(): THREE.BufferGeometry {
  const corners = new Float32Array([-1, -1, 0, 3, -1, 0, -1, 3, 0]);
  return new THREE.BufferGeometry().setAttribute("position", new THREE.BufferAttribute(corners, 3));
}
