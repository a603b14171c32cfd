"""Buildings made up on open ground: houses and halls of many sizes, with flat and pitched roofs."""

from dataclasses import dataclass, replace

import numpy as np
from tiles import BUILDING, IGNORE, Tile

Generator = np.random.Generator
MOST_BUILDINGS = 6
LEAST_POINTS = 6  # under a roof; fewer tell no building
LEAST_GROUND_SHARE = 0.5  # of what a roof covers: buildings stand in the open
OVERHANG_M = 0.5  # what is this much higher than a roof is a tree over it
LARGEST_M, HALL_M = 100.0, 20.0


@dataclass(frozen=True)
class Footprint:
    """A rectangle of half the length and width ``half_m``, around ``centre`` (2,), turned by ``heading`` radians.

    What lies beyond ``notch`` (2,), in parts of ``half_m``, both along and across is cut off: an L, or none of it at 1.
    """

    centre: np.ndarray
    heading: float
    half_m: np.ndarray
    notch: np.ndarray

    @classmethod
    def drawn(cls, centre: np.ndarray, largest_m: float, rng: Generator) -> "Footprint":
        """One of 6 m to ``largest_m`` in length around ``centre``; every third is an L."""
        length_m = np.exp(rng.uniform(np.log(6), np.log(max(largest_m, 7))))
        half_m = np.array([length_m, max(5.0, length_m * rng.uniform(0.25, 1))]) / 2
        notch = rng.uniform(-0.4, 0.6, 2) if rng.random() < 1 / 3 else np.ones(2)
        return cls(centre, rng.uniform(0, 2 * np.pi), half_m, notch)

    def place(self, plane: np.ndarray) -> np.ndarray:
        """``plane`` (N, 2) along and across the footprint, -1 to 1 from wall to wall."""
        cosine, sine = np.cos(self.heading), np.sin(self.heading)
        return (plane - self.centre) @ np.array([[cosine, -sine], [sine, cosine]]) / self.half_m

    def covers(self, place: np.ndarray) -> np.ndarray:
        """Which places (N, 2) lie within the walls, bool (N,)."""
        return (np.abs(place) < 1).all(1) & ~(place > self.notch).all(1)


def build(tile: Tile, rng: Generator) -> Tile:
    """One to six buildings; what they cover of the ground and low plants is raised to their roofs."""
    open_ground = tile.xyz[tile.label == 0, :2]
    if len(open_ground) < 100:
        return tile
    largest_m = min(LARGEST_M, np.ptp(open_ground, axis=0).max() / 3)
    for centre in rng.choice(open_ground, rng.integers(1, MOST_BUILDINGS + 1)):
        tile = roofed(tile, Footprint.drawn(centre, largest_m, rng), rng)
    return tile


def roofed(tile: Tile, footprint: Footprint, rng: Generator) -> Tile:
    """The tile with one building on it, or as it is where the place is not open ground."""
    place = footprint.place(tile.xyz[:, :2])
    inside = np.flatnonzero(footprint.covers(place))
    is_ground = tile.label[inside] == 0
    if len(inside) < LEAST_POINTS or is_ground.mean() < LEAST_GROUND_SHARE:
        return tile
    width_m = 2 * footprint.half_m.min()
    eaves_m = np.exp(rng.uniform(np.log(2.5), np.log(6 + 0.4 * width_m)))
    level_m = np.quantile(tile.xyz[inside[is_ground], 2], 0.8) + eaves_m
    roof_m = level_m + over_eaves_m(place[inside], footprint.half_m, rng)
    is_under = tile.xyz[inside, 2] < roof_m + OVERHANG_M
    rows, roof_m, is_ground = inside[is_under], roof_m[is_under], is_ground[is_under]
    xyz, label = tile.xyz.copy(), tile.label.copy()
    number, total = tile.return_number.copy(), tile.number_of_returns.copy()
    xyz[rows, 2], label[rows] = roof_m, BUILDING
    number[rows] = total[rows] = np.minimum(total[rows], 1)
    is_wall = rng.random(len(rows)) < wall_share(place[rows], footprint.half_m)
    walls = rows[is_wall]
    xyz[walls, 2], label[walls] = xyz[walls, 2] - rng.uniform(0, eaves_m, len(walls)), IGNORE
    is_kept = np.ones(len(tile), bool)
    is_kept[rows[~is_ground & (rng.random(len(rows)) < 0.5)]] = False  # a roof gives one echo, not those of a bush
    changed = replace(tile, xyz=xyz, return_number=number, number_of_returns=total, label=label)
    return changed.take(is_kept)


def over_eaves_m(place: np.ndarray, half_m: np.ndarray, rng: Generator) -> np.ndarray:
    """How far the roof lies over the eaves at ``place`` (N, 2), in metres.

    It is flat with boxes on it, or pitched by 10 to 50 degrees: gabled, hipped, or less steep to one side.
    """
    from_wall_m = (1 - np.abs(place)) * half_m
    if rng.random() < (0.8 if 2 * half_m.min() > HALL_M else 0.3):
        height_m = np.zeros(len(place))
        for _ in range(rng.integers(0, 4)):
            corner, size = rng.uniform(-1, 0.8, 2), rng.uniform(0.05, 0.4, 2)
            on_box = ((place > corner) & (place < corner + size)).all(1)
            height_m[on_box] = rng.uniform(0.5, 4)
        return height_m + rng.uniform(-0.03, 0.03) * place[:, 0] * half_m[0]
    pitch = np.tan(np.radians(rng.uniform(10, 50)))
    shape = rng.integers(3)
    across = int(np.argmin(half_m))
    run_m = (from_wall_m[:, across], from_wall_m.min(1), (1 + place[:, across]) * half_m[across])[shape]
    return np.minimum(run_m * (pitch if shape < 2 else pitch / 3), 12)


def wall_share(place: np.ndarray, half_m: np.ndarray) -> np.ndarray:
    """The chance of each place (N, 2) to be seen as a wall: three in ten within 0.4 m of one."""
    return np.where(((1 - np.abs(place)) * half_m).min(1) < 0.4, 0.3, 0.0)
