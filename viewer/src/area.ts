/** Areas on the map: a box `xmin,ymin,xmax,ymax`, or polygons as GeoJSON, in the coordinates of a file. */

export type Ring = [x: number, y: number][];

interface Shape {
  type: string;
  features?: Shape[];
  geometry?: Shape;
  coordinates?: number[][][] | number[][][][];
}

/** The borders of the area that `text` states, holes among them; none where it states no area. */
export function ringsOf(text: string): Ring[] {
  try {
    const rings = text.trimStart().startsWith("{") ? ringsIn(JSON.parse(text) as Shape) : [boxOf(text)];
    return rings.flat(2).every(Number.isFinite) ? rings.filter(({ length }) => length > 0) : [];
  } catch {
    return [];
  }
}

/** The box that has two corners opposite to each other, as text, with so many decimals. */
export function boxBetween(one: readonly number[], other: readonly number[], decimals: number): string {
  const low = [0, 1].map((axis) => Math.min(one[axis], other[axis]));
  const high = [0, 1].map((axis) => Math.max(one[axis], other[axis]));
  return [...low, ...high].map((value) => value.toFixed(decimals)).join(",");
}

function boxOf(text: string): Ring {
  const [left, low, right, high, ...others] = text.split(",").map((part) => (part.trim() ? Number(part) : Number.NaN));
  if (high === undefined || others.length) throw new Error("four numbers make a box");
  return [
    [left, low],
    [right, low],
    [right, high],
    [left, high],
  ];
}

function ringsIn({ type, features, geometry, coordinates }: Shape): Ring[] {
  if (type === "FeatureCollection") return features!.flatMap(ringsIn);
  if (type === "Feature") return ringsIn(geometry!);
  const polygons = type === "Polygon" ? [coordinates as number[][][]] : type === "MultiPolygon" ? (coordinates as number[][][][]) : [];
  return polygons.flat().map((ring) => ring.map(([x, y]) => [x, y]));
}
