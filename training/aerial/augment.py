"""Changes that a survey could have had: density, orientation, terrain, scale, noise, echoes lost, crops grown."""

from dataclasses import replace

import numpy as np
from tiles import IGNORE, Tile

Generator = np.random.Generator


def thin(tile: Tile, density_per_m2: float, rng: Generator) -> Tile:
    """Fewer points: by chance, or one a cell as a minimum spacing leaves them."""
    keep = density_per_m2 / tile.density_per_m2
    if keep >= 1:
        return tile
    if rng.random() < 0.5:
        return tile.take(rng.random(len(tile)) < keep)
    order = rng.permutation(len(tile))
    cells = np.floor(tile.xyz[order] * np.sqrt(density_per_m2)).astype(np.int64)
    cells -= cells.min(0)
    key = (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]
    return tile.take(order[np.unique(key, return_index=True)[1]])


def turn(tile: Tile, rng: Generator) -> Tile:
    """Any heading, mirrored or not, stretched by up to a fifth along the ground and a quarter in height."""
    angle = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    rotation[:, 0] *= rng.choice([-1, 1])
    plane = tile.xyz[:, :2] @ rotation.T * rng.uniform(0.8, 1.2)
    return replace(tile, xyz=np.column_stack([plane, tile.xyz[:, 2] * rng.uniform(0.8, 1.25)]))


def warp(tile: Tile, rng: Generator) -> Tile:
    """Another terrain: a slope and a few long waves added to the height."""
    x, y, z = tile.xyz.T
    heading, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.25)
    z = z + slope * (np.cos(heading) * x + np.sin(heading) * y)
    for _ in range(rng.integers(0, 4)):
        length_m = np.exp(rng.uniform(np.log(40), np.log(400)))
        heading, phase = rng.uniform(0, 2 * np.pi, 2)
        along = np.cos(heading) * x + np.sin(heading) * y
        z = z + rng.uniform(0, 0.02) * length_m * np.sin(2 * np.pi * along / length_m + phase)
    return replace(tile, xyz=np.column_stack([x, y, z]))


def jitter(tile: Tile, rng: Generator) -> Tile:
    """Ranging noise of 0 to 10 cm, and a few stray points above and below, which are ignored."""
    xyz = tile.xyz + rng.normal(0, rng.uniform(0, 0.1), tile.xyz.shape)
    label = tile.label.copy()
    stray = rng.choice(len(tile), rng.binomial(len(tile), rng.uniform(0, 3e-4)), replace=False)
    xyz[stray, 2] += rng.uniform(-20, 60, len(stray))
    label[stray] = IGNORE
    return replace(tile, xyz=xyz, label=label)


def forget_returns(tile: Tile) -> Tile:
    """As a file without return numbers."""
    zeros = np.zeros(len(tile), np.uint8)
    return replace(tile, return_number=zeros, number_of_returns=zeros)


def hide(tile: Tile, rng: Generator) -> Tile:
    """A few gaps of 2 to 15 m, as shadows and missed strips leave them."""
    keep = np.ones(len(tile), bool)
    for _ in range(rng.integers(0, 4)):
        centre = tile.xyz[rng.integers(len(tile)), :2]
        keep &= np.abs(tile.xyz[:, :2] - centre).max(1) > rng.uniform(1, 7.5)
    return tile.take(keep) if keep.sum() > 100 else tile


def grow(tile: Tile, rng: Generator) -> Tile:
    """A field of crops on open ground: echoes from anywhere between its canopy and the ground, labelled by height.

    A strip of 15 to 150 m around a point of the ground, canopy 0.3 to 1.6 m high with rows and gaps; 30 to 90 % of the
    pulses are stopped. Above 0.5 m is medium vegetation, from 0.15 m low vegetation, below that ground.
    """
    ground = np.flatnonzero(tile.label == 0)
    if len(ground) < 100:
        return tile
    centre, heading = tile.xyz[rng.choice(ground), :2], rng.uniform(0, np.pi)
    offset = tile.xyz[ground, :2] - centre
    along = offset @ [np.cos(heading), np.sin(heading)]
    across = offset @ [-np.sin(heading), np.cos(heading)]
    length_m, width_m = np.exp(rng.uniform(np.log(15), np.log(150), 2)) / 2
    field = (np.abs(along) < length_m) & (np.abs(across) < width_m)
    rows = 0.5 + 0.5 * np.sin(2 * np.pi * across[field] / rng.uniform(3, 30) + rng.uniform(0, 2 * np.pi))
    canopy_m = rng.uniform(0.3, 1.6) * (1 - rng.uniform(0, 0.5) * rows)
    height_m = canopy_m * np.sqrt(rng.random(len(rows))) * (rng.random(len(rows)) < rng.uniform(0.3, 0.9))
    xyz, label = tile.xyz.copy(), tile.label.copy()
    xyz[ground[field], 2] += height_m
    label[ground[field]] = np.where(height_m > 0.5, 2, np.where(height_m > 0.15, 1, 0))
    return replace(tile, xyz=xyz, label=label)


def augment(tile: Tile, rng: Generator) -> Tile:
    """One crop as another survey might have seen it."""
    if rng.random() < 0.2:
        tile = grow(tile, rng)
    tile = turn(hide(tile, rng), rng)
    if rng.random() < 0.6:
        tile = warp(tile, rng)
    if rng.random() < 0.7:
        tile = jitter(tile, rng)
    if rng.random() < 0.35:
        tile = forget_returns(tile)
    return tile
