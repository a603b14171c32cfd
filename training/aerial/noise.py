"""Noise as surveys have it: single points, clusters, birds, layers by multipath, above and below."""

from dataclasses import replace

import numpy as np
from tiles import IGNORE, NOISE, Tile, is_isolated, join

Generator = np.random.Generator
UP = np.array([0, 0, 1])
LEAST_SHARE, HIGHEST_SHARE = 3e-4, 0.06


def strew(tile: Tile, share: float, rng: Generator) -> Tile:
    """The tile with about ``share`` of its points added as noise, of one to four kinds."""
    kinds = rng.permutation(KINDS)[: rng.integers(1, 5)]
    count = rng.multinomial(max(1, round(share * len(tile))), rng.dirichlet(np.ones(len(kinds))))
    xyz = np.concatenate([kind(tile, number, rng) for kind, number in zip(kinds, count, strict=True) if number])
    echo = rng.integers(len(tile), size=len(xyz))
    noise = replace(tile.take(echo), xyz=xyz)
    if rng.random() < 0.5:
        single = np.minimum(noise.number_of_returns, 1)
        noise = replace(noise, return_number=single, number_of_returns=single)
    return join(tile, replace(noise, label=np.where(is_isolated(xyz, tile), NOISE, IGNORE)))


def ground_or_lowest(tile: Tile) -> np.ndarray:
    """Rows that are ground, or the lowest tenth if there are few such."""
    ground = np.flatnonzero(tile.label == 0)
    return ground if len(ground) > 20 else np.argsort(tile.xyz[:, 2])[: len(tile) // 10 + 1]


def depth_m(count: int, rng: Generator) -> np.ndarray:
    """1 to 100 m, short ones more often; up to a greatest one that is drawn."""
    return np.exp(rng.uniform(0, np.log(rng.choice([6.0, 25.0, 100.0])), count))


def scattered(tile: Tile, count: int, rng: Generator) -> np.ndarray:
    """Anywhere in the box of the tile and some way above and below it."""
    low, high = np.quantile(tile.xyz, [0.01, 0.99], axis=0)
    far_m = depth_m(2, rng)
    return rng.uniform(low - far_m[0] * UP, high + 0.1 + far_m[1] * UP, (count, 3))


def below(tile: Tile, count: int, rng: Generator) -> np.ndarray:
    """Single points below the ground."""
    xyz = tile.xyz[rng.choice(ground_or_lowest(tile), count)]
    return xyz - np.column_stack([rng.normal(0, 0.5, (count, 2)), depth_m(count, rng)])


def above(tile: Tile, count: int, rng: Generator) -> np.ndarray:
    """Single points above anything."""
    xyz = tile.xyz[rng.integers(len(tile), size=count)]
    return xyz + np.column_stack([rng.normal(0, 0.5, (count, 2)), depth_m(count, rng)])


def clusters(tile: Tile, count: int, rng: Generator) -> np.ndarray:
    """Balls of 3 to 60 points, 0.2 to 2 m wide, below or above."""
    size = rng.integers(3, 61)
    middles = (below if rng.random() < 0.6 else above)(tile, -(-count // size), rng)
    return np.repeat(middles, size, 0)[:count] + rng.normal(0, rng.uniform(0.1, 0.8), (count, 3))


def birds(tile: Tile, count: int, rng: Generator) -> np.ndarray:
    """Flocks: 1 to 5 points a bird within 0.3 m, at nearly one height, 5 to 100 m up."""
    size = rng.integers(1, 6)
    middles = above(tile, -(-count // size), rng)
    middles[:, 2] = tile.xyz[:, 2].max() + rng.uniform(5, 100) + rng.normal(0, 3, len(middles))
    return np.repeat(middles, size, 0)[:count] + rng.normal(0, 0.15, (count, 3))


def multipath(tile: Tile, count: int, rng: Generator) -> np.ndarray:
    """A patch of the surface once more, 1 to 40 m lower, thinner and rougher; sometimes upside down."""
    middle = tile.xyz[rng.integers(len(tile)), :2]
    inside = np.flatnonzero(np.abs(tile.xyz[:, :2] - middle).max(1) < rng.uniform(3, 25))
    if not len(inside):
        return below(tile, count, rng)
    xyz = tile.xyz[rng.choice(inside, min(count, len(inside) // 8 + 1), replace=False)]
    low = np.quantile(tile.xyz[inside, 2], 0.05)
    flip = -1 if rng.random() < 0.3 else 1
    z = low + flip * (xyz[:, 2] - low) - np.exp(rng.uniform(0, np.log(40)))
    return np.column_stack([xyz[:, :2], z]) + rng.normal(0, rng.uniform(0, 0.5), xyz.shape)


KINDS = (scattered, below, above, clusters, birds, multipath)
