"""Changes that a survey could have had: density, heading, terrain, noise, echoes lost, crops grown, parts exchanged."""

from dataclasses import replace

import numpy as np
from buildings import build
from noise import HIGHEST_SHARE, LEAST_SHARE, strew
from scipy import ndimage
from scipy.spatial import cKDTree
from tiles import BUILDING, IGNORE, WIRE, Tile, join

Generator = np.random.Generator
LEAST_DENSITY_OF_WIRES = 1.5  # points per m2; of a thinner tile's wires so few points are left that nothing tells them


def thin(tile: Tile, density_per_m2: float, rng: Generator, own_per_m2: float | None = None) -> Tile:
    """Fewer points: by chance, or one a cell as a minimum spacing leaves them.

    ``own_per_m2`` is the density of the tile, which is measured if it is not given.
    """
    keep = density_per_m2 / (own_per_m2 or tile.density_per_m2)
    if keep >= 1:
        return tile
    if density_per_m2 < LEAST_DENSITY_OF_WIRES:
        tile = replace(tile, label=np.where(tile.label == WIRE, IGNORE, tile.label))
    if rng.random() < 0.5:
        return tile.take(rng.random(len(tile)) < keep)
    order = rng.permutation(len(tile))
    cells = np.floor(tile.xyz[order] * np.sqrt(density_per_m2)).astype(np.int64)
    cells -= cells.min(0)
    key = (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]
    return tile.take(order[np.unique(key, return_index=True)[1]])


def turn(tile: Tile, rng: Generator) -> Tile:
    """Any heading, mirrored or not, stretched by up to a fifth along the ground and a quarter in height.

    Of tiles with buildings one in five is stretched more along the ground, up to 2.5 times: halls and wide flat roofs.
    """
    angle = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    rotation[:, 0] *= rng.choice([-1, 1])
    plane = tile.xyz[:, :2] @ rotation.T * rng.uniform(0.8, 1.2)
    if rng.random() < 0.2 and (tile.label == BUILDING).mean() > 0.05:
        plane *= rng.uniform(1, 2.5)
    return replace(tile, xyz=np.column_stack([plane, tile.xyz[:, 2] * rng.uniform(0.8, 1.25)]))


def warp(tile: Tile, rng: Generator) -> Tile:
    """Another terrain: a slope, a few long waves, and now and then a step, added to the height.

    Buildings up to 30 m long and wide stay level in half of the cases; what is longer follows the terrain.
    """
    plane = tile.xyz[:, :2]
    if rng.random() < 0.5:
        plane = middle_of_buildings(tile)
    x, y = plane.T
    heading, steepest = rng.uniform(0, 2 * np.pi), 0.9 if rng.random() < 0.3 else 0.25
    slope = rng.uniform(0, steepest)
    added = slope * (np.cos(heading) * x + np.sin(heading) * y)
    for _ in range(rng.integers(0, 4)):
        length_m = np.exp(rng.uniform(np.log(40), np.log(400)))
        heading, phase = rng.uniform(0, 2 * np.pi, 2)
        along = np.cos(heading) * x + np.sin(heading) * y
        added += rng.uniform(0, 0.02 + slope / 10) * length_m * np.sin(2 * np.pi * along / length_m + phase)
    for _ in range(rng.integers(1, 4) if rng.random() < 0.15 else 0):
        heading = rng.uniform(0, 2 * np.pi)
        along = np.cos(heading) * x + np.sin(heading) * y
        begin, width_m = rng.choice(along), np.exp(rng.uniform(np.log(0.3), np.log(15)))
        added += np.exp(rng.uniform(0, np.log(20))) * np.clip((along - begin) / width_m, 0, 1)
    return replace(tile, xyz=tile.xyz + added[:, None] * [0, 0, 1])


def middle_of_buildings(tile: Tile) -> np.ndarray:
    """x and y (N, 2) of each point, for points of a building up to 30 m long and wide that of its middle."""
    plane = tile.xyz[:, :2].copy()
    rows = np.flatnonzero(tile.label == BUILDING)
    if not len(rows):
        return plane
    edge_m = max(1.0, 1.5 * tile.density_per_m2**-0.5)
    column, row = ((plane[rows] - plane[rows].min(0)) / edge_m).astype(np.int64).T
    raster = np.zeros((column.max() + 1, row.max() + 1), bool)
    raster[column, row] = True
    number = ndimage.label(raster, np.ones((3, 3)))[0][column, row]
    count = np.maximum(np.bincount(number), 1)
    middle = np.stack([np.bincount(number, plane[rows, axis]) / count for axis in (0, 1)], 1)
    reach_m = np.zeros(len(count))
    np.maximum.at(reach_m, number, np.abs(plane[rows] - middle[number]).max(1))
    is_short = reach_m[number] < 15
    plane[rows[is_short]] = middle[number[is_short]]
    return plane


def jitter(tile: Tile, rng: Generator) -> Tile:
    """Ranging noise of 0 to 10 cm."""
    return replace(tile, xyz=tile.xyz + rng.normal(0, rng.uniform(0, 0.1), tile.xyz.shape))


def string(tile: Tile, rng: Generator) -> Tile:
    """One to six wires side by side, hanging 6 to 40 m over the ground from end to end of the tile."""
    ground = tile.xyz[tile.label == 0]
    if len(ground) < 100 or tile.density_per_m2 < LEAST_DENSITY_OF_WIRES:
        return tile
    heading, begin = rng.uniform(0, 2 * np.pi), ground[rng.integers(len(ground))]
    length_m, span_m = np.ptp(tile.xyz[:, :2], axis=0).max(), rng.uniform(30, 350)
    lowest_m, sag_m = np.exp(rng.uniform(np.log(6), np.log(40))), span_m * rng.uniform(0.01, 0.04)
    every_m = rng.uniform(0.3, 2.0) * tile.density_per_m2**-0.5
    parts = []
    for _ in range(rng.integers(1, 7)):
        across_m, over_m = rng.uniform(-8, 8), rng.uniform(0, lowest_m / 2)
        along_m = np.arange(-length_m, length_m, every_m)
        along_m = along_m[rng.random(len(along_m)) < 0.9]
        place = (along_m / span_m + 0.5) % 1 - 0.5
        z = begin[2] + lowest_m + over_m + 4 * sag_m * place**2
        x = begin[0] + np.cos(heading) * along_m - np.sin(heading) * across_m
        y = begin[1] + np.sin(heading) * along_m + np.cos(heading) * across_m
        parts.append(np.stack([x, y, z], 1) + rng.normal(0, 0.05, (len(z), 3)))
    xyz = np.concatenate(parts)
    low, high = tile.xyz.min(0), tile.xyz.max(0)
    xyz = xyz[((xyz[:, :2] >= low[:2]) & (xyz[:, :2] <= high[:2])).all(1)]
    near_m, _ = cKDTree(tile.xyz).query(xyz)
    xyz = xyz[near_m > 1.5]
    if not len(xyz):
        return tile
    wires = replace(tile.take(rng.integers(len(tile), size=len(xyz))), xyz=xyz, label=np.full(len(xyz), WIRE))
    return join(tile, wires)


def forget_returns(tile: Tile) -> Tile:
    """As a file without return numbers."""
    zeros = np.zeros(len(tile), np.uint8)
    return replace(tile, return_number=zeros, number_of_returns=zeros)


def hide(tile: Tile, rng: Generator) -> Tile:
    """A few gaps of 2 to 15 m, as shadows and missed strips leave them."""
    keep, (x, y) = np.ones(len(tile), bool), tile.xyz[:, :2].T
    for _ in range(rng.integers(0, 4)):
        centre = tile.xyz[rng.integers(len(tile)), :2]
        least_m = rng.uniform(1, 7.5)
        keep &= (np.abs(x - centre[0]) > least_m) | (np.abs(y - centre[1]) > least_m)
    return tile.take(keep) if keep.sum() > 100 else tile


def graft(tile: Tile, other: Tile, rng: Generator) -> Tile:
    """A part of another tile in the place of one of this, up to two thirds of it long and wide, grounds level.

    What surrounds a thing then tells less of what it is (S. Yun et al., CutMix, ICCV 2019).
    """
    if len(other) < 200:
        return tile
    half_m = np.ptp(tile.xyz[:, :2], axis=0) * rng.uniform(0.1, 1 / 3, 2)
    hole, source = (each.xyz[rng.integers(len(each)), :2] for each in (tile, other))
    gone = tile.take((np.abs(tile.xyz[:, :2] - hole) < half_m).all(1))
    rest = tile.take((np.abs(tile.xyz[:, :2] - hole) >= half_m).any(1))
    part = other.take((np.abs(other.xyz[:, :2] - source) < half_m).all(1))
    if min(len(gone), len(part), len(rest)) < 20:
        return tile
    shift = np.append(hole - source, ground_height_m(gone) - ground_height_m(part))
    return join(rest, replace(part, xyz=part.xyz + shift))


def ground_height_m(tile: Tile) -> float:
    """The middle height of what is labelled ground, or the height of the lowest tenth of the points."""
    ground = tile.xyz[tile.label == 0, 2]
    return float(np.median(ground) if len(ground) else np.quantile(tile.xyz[:, 2], 0.1))


def grow(tile: Tile, rng: Generator) -> Tile:
    """A field of crops, 0.3 to 1.6 m high, on a strip of open ground from 15 m to half the tile long and wide."""
    ground = np.flatnonzero(tile.label == 0)
    if len(ground) < 100:
        return tile
    centre, heading = tile.xyz[rng.choice(ground), :2], rng.uniform(0, np.pi)
    offset = tile.xyz[ground, :2] - centre
    along = offset @ [np.cos(heading), np.sin(heading)]
    across = offset @ [-np.sin(heading), np.cos(heading)]
    longest_m = max(20.0, np.ptp(tile.xyz[:, :2], axis=0).max() / 2)
    length_m, width_m = np.exp(rng.uniform(np.log(15), np.log(longest_m), 2)) / 2
    field = ground[(np.abs(along) < length_m) & (np.abs(across) < width_m)]
    canopy_m = np.maximum(rng.uniform(0.3, 1.6) + swell(tile.xyz[field, :2], rng), 0.1)
    height_m, label = (open_crop if rng.random() < 0.5 else closed_crop)(canopy_m, rng)
    xyz, labels = tile.xyz.copy(), tile.label.copy()
    xyz[field, 2] += height_m
    labels[field] = label
    return replace(tile, xyz=xyz, label=labels)


def swell(plane: np.ndarray, rng: Generator) -> np.ndarray:
    """How much higher or lower a canopy is here than elsewhere, in metres at plane (N, 2): rows, tufts, patches."""
    total_m = np.zeros(len(plane))
    for _ in range(rng.integers(0, 6)):
        length_m = np.exp(rng.uniform(np.log(1.5), np.log(40)))
        heading, phase = rng.uniform(0, 2 * np.pi, 2)
        along = plane @ [np.cos(heading), np.sin(heading)]
        total_m += rng.uniform(0, 0.1) * np.sin(2 * np.pi * along / length_m + phase)
    return total_m


def open_crop(canopy_m: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Heights and labels where 30 to 90 % of the pulses stop anywhere between the canopy and the ground.

    Labels count from a ground that, as surveys have it, may lie up to half a canopy high.
    """
    num_points = len(canopy_m)
    stopped = rng.random(num_points) < rng.uniform(0.3, 0.9)
    height_m = canopy_m * np.sqrt(rng.random(num_points)) * stopped
    return height_m, label_of_height(height_m - canopy_m * rng.uniform(0, 0.5))


def closed_crop(canopy_m: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Heights and labels where pulses stop near the top, rough by 7 to 30 cm, but for one in 7 to 100.

    Those that reach the ground tell how high the others are; surveys call a part of the others ground all the same.
    """
    num_points = len(canopy_m)
    height_m = canopy_m - np.abs(rng.normal(0, rng.uniform(0.1, 0.45), num_points))
    height_m = np.maximum(height_m, 0)
    height_m[rng.random(num_points) < np.exp(rng.uniform(np.log(0.01), np.log(0.15)))] = 0
    called_ground = rng.random(num_points) < rng.uniform(0, 0.5)
    return height_m, np.where(called_ground, 0, label_of_height(height_m))


def label_of_height(height_m: np.ndarray) -> np.ndarray:
    """Medium vegetation above 0.5 m, low vegetation from 0.15 m, below that ground."""
    return np.where(height_m > 0.5, 2, np.where(height_m > 0.15, 1, 0))


def augment(tile: Tile, rng: Generator) -> Tile:
    """One crop as another survey might have seen it."""
    if rng.random() < 0.4:
        tile = grow(tile, rng)
    if rng.random() < 0.3:
        tile = build(tile, rng)
    tile = turn(hide(tile, rng), rng)
    if rng.random() < 0.1:
        tile = string(tile, rng)
    if rng.random() < 0.6:
        tile = warp(tile, rng)
    if rng.random() < 0.7:
        tile = jitter(tile, rng)
    if rng.random() < 0.4:
        tile = strew(tile, np.exp(rng.uniform(np.log(LEAST_SHARE), np.log(HIGHEST_SHARE))), rng)
    if rng.random() < 0.35:
        tile = forget_returns(tile)
    return tile
