/** The material that draws points, and the pass that shades edges of depth. */

import * as THREE from "three";

/** What points are colored by beside fields that have a scale; the order is that of the shader, a field comes after. */
export const MODES = ["class", "height", "intensity", "rgb", "instance", "features"] as const;
/** One of `MODES`, or the name of a field. */
export type Mode = string;

/** The number by which the shader knows `mode`. */
export function shaderMode(mode: Mode): number {
  const place = (MODES as readonly string[]).indexOf(mode);
  return place < 0 ? MODES.length : place;
}

export const COMPARISONS = ["off", "file", "split", "flicker", "differences"] as const;
export type Comparison = (typeof COMPARISONS)[number];

const VERTEX = /* glsl */ `
in vec2 classes;    // of the model, of the file
in vec4 shares;     // of the chosen field, of intensity, 1 where model and file differ and 0.5 where they agree, 1 without a value of the field
in vec3 rgb, instance, features;
uniform highp sampler2D ofModel, ofFile, scale;
uniform int mode, comparison;
uniform bool fileTurn;
uniform float divider, size, pixels;
uniform vec2 heights;
uniform vec3 same, different, notCompared, missing;
flat out vec3 color;

vec3 scaled(float share) { return texture(scale, vec2(share, 0.5)).rgb; }

void main() {
  vec4 there = modelViewMatrix * vec4(position, 1.0);
  gl_Position = projectionMatrix * there;
  gl_PointSize = clamp(size * pixels / max(-there.z, 1e-6), 1.0, 12.0);
  bool file = comparison == 1 || (comparison == 2 && gl_Position.x > divider * gl_Position.w) || (comparison == 3 && fileTurn);
  vec4 entry = file ? texelFetch(ofFile, ivec2(int(classes.y), 0), 0) : texelFetch(ofModel, ivec2(int(classes.x), 0), 0);
  if (entry.a < 0.5) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  if (comparison == 4) color = shares.z > 0.75 ? different : shares.z > 0.25 ? same : notCompared;
  else if (file || mode == 0) color = entry.rgb;
  else if (mode == 1) color = scaled((position.z - heights.x) / (heights.y - heights.x));
  else if (mode == 2) color = vec3(shares.y);
  else if (mode == 3) color = rgb;
  else if (mode == 4) color = instance;
  else if (mode == 5) color = features;
  else color = shares.w > 0.5 ? missing : scaled(shares.x);
}`;

const FRAGMENT = /* glsl */ `
precision mediump float;
flat in vec3 color;
out vec4 outColor;
void main() { outColor = vec4(color, 1.0); }`;

export function pointMaterial(): THREE.RawShaderMaterial {
  return new THREE.RawShaderMaterial({
    glslVersion: THREE.GLSL3,
    vertexShader: `precision highp float;
in vec3 position;
uniform mat4 modelViewMatrix, projectionMatrix;
${VERTEX}`,
    fragmentShader: FRAGMENT,
    uniforms: {
      ofModel: { value: table([]) },
      ofFile: { value: table([]) },
      scale: { value: table([]) },
      mode: { value: 0 },
      comparison: { value: 0 },
      fileTurn: { value: false },
      divider: { value: 0 },
      size: { value: 1 },
      pixels: { value: 1 },
      heights: { value: new THREE.Vector2(0, 1) },
      same: { value: new THREE.Vector3(0.5, 0.5, 0.5) },
      different: { value: new THREE.Vector3(1, 0, 0) },
      notCompared: { value: new THREE.Vector3(0.25, 0.25, 0.25) },
      missing: { value: new THREE.Vector3(0.5, 0.5, 0.5) },
    },
  });
}

/** Colors as a texture of one row; the fourth value is 1 where points are shown. */
export function table(colors: readonly (readonly [number, number, number, boolean])[]): THREE.DataTexture {
  const data = new Uint8Array(4 * Math.max(1, colors.length));
  colors.forEach(([red, green, blue, shown], index) => {
    data.set([red, green, blue, shown ? 255 : 0], 4 * index);
  });
  const texture = new THREE.DataTexture(data, data.length / 4, 1);
  texture.needsUpdate = true;
  return texture;
}

/** Draws what was gathered in a target; darker where the ground lies much farther than beside, after Boucheny's EDL. */
export function edgePass(): THREE.RawShaderMaterial {
  return new THREE.RawShaderMaterial({
    glslVersion: THREE.GLSL3,
    depthTest: false,
    depthWrite: false,
    vertexShader: `precision highp float;
in vec3 position;
void main() { gl_Position = vec4(position.xy, 0.0, 1.0); }`,
    fragmentShader: `precision highp float;
uniform sampler2D colors;
uniform highp sampler2D depths;
uniform vec2 range;
uniform float strength, share; // share: pixels of the target to one of the screen
out vec4 outColor;
float far(ivec2 at) {
  float depth = texelFetch(depths, at, 0).r;
  return depth >= 1.0 ? 1e9 : log2(range.x * range.y / (range.y - depth * (range.y - range.x)));
}
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy * share);
  vec4 color = texelFetch(colors, at, 0);
  if (strength > 0.0 && color.a > 0.0) {
    ivec2 last = textureSize(depths, 0) - 1;
    float here = far(at), sum = 0.0;
    const ivec2 beside[4] = ivec2[](ivec2(1, 0), ivec2(-1, 0), ivec2(0, 1), ivec2(0, -1));
    for (int i = 0; i < 4; i++) sum += max(0.0, here - far(clamp(at + beside[i], ivec2(0), last)));
    color.rgb *= exp(-strength * sum);
  }
  outColor = color;
}`,
    uniforms: {
      colors: { value: null },
      depths: { value: null },
      range: { value: new THREE.Vector2(1, 2) },
      strength: { value: 0 },
      share: { value: 1 },
    },
    transparent: true,
    blending: THREE.NoBlending,
  });
}
