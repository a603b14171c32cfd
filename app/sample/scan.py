"""The survey of a land by an airborne scanner: two overlapping strips, several returns a pulse."""

from dataclasses import dataclass, field

import numpy as np

from .land import Box, Land

FLYING_HEIGHT_M = 900.0
GPS_START_S = 372_000_000.0
LINES_PER_S = 100.0
STRIP_SHARE = 0.6  # of the land's width that each of the two strips covers
RETURNS_PER_PULSE = 1.25
UNCLASSIFIED, GROUND, LOW, MEDIUM, HIGH, BUILDING, LOW_NOISE, WATER, HIGH_NOISE = 1, 2, 3, 4, 5, 6, 7, 9, 18


@dataclass
class Pulses:
    """P laser pulses and what each meets.

    ``xy`` float64 (P, 2) in metres, ``time_s``, ``angle_deg`` and ``strip`` (P,). ``surface_m`` is the height of the
    solid surface, ``code`` its ASPRS class, ``reflectance`` 0 to 1; leaves fill ``bottom_m`` to ``top_m``, which is
    -inf if there are none.
    """

    xy: np.ndarray
    time_s: np.ndarray
    angle_deg: np.ndarray
    strip: np.ndarray
    surface_m: np.ndarray = field(init=False)
    code: np.ndarray = field(init=False)
    reflectance: np.ndarray = field(init=False)
    bottom_m: np.ndarray = field(init=False)
    top_m: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.xy)
        self.surface_m = np.zeros(count)
        self.code = np.full(count, GROUND, np.uint8)
        self.reflectance = np.full(count, 0.35)
        self.bottom_m = np.full(count, -np.inf)
        self.top_m = np.full(count, -np.inf)
        self._order = np.argsort(self.xy[:, 1], kind="stable")
        self._sorted_y = self.xy[self._order, 1]

    def near(self, centre: np.ndarray, radius_m: float) -> np.ndarray:
        """Rows of the pulses in the square of half width ``radius_m`` around ``centre``."""
        start, stop = np.searchsorted(self._sorted_y, (centre[1] - radius_m, centre[1] + radius_m))
        rows = self._order[start:stop]
        return rows[np.abs(self.xy[rows, 0] - centre[0]) < radius_m]


@dataclass
class Returns:
    """R returns: ``pulse`` int64 (R,) the row of the pulse, ``xy`` (R, 2), ``z`` (R,), ``code``, ``reflectance``."""

    pulse: np.ndarray
    xy: np.ndarray
    z: np.ndarray
    code: np.ndarray
    reflectance: np.ndarray


def scan(rng: np.random.Generator, land: Land, density: float) -> tuple[Pulses, Returns]:
    """Survey ``land`` with about ``density`` returns per square metre."""
    pulses = _fly(rng, land.size_m, density / RETURNS_PER_PULSE)
    _meet_ground(rng, pulses, land)
    for house in land.houses:
        _meet_box(pulses, house, BUILDING)
    for car in land.cars:
        _meet_box(pulses, car, UNCLASSIFIED)
    _meet_plants(pulses, land)
    layers = [*_canopy_and_surface(rng, pulses), _walls(rng, pulses, land, density), _noise(rng, pulses, land)]
    return pulses, Returns(
        *(np.concatenate([getattr(layer, name) for layer in layers]) for name in Returns.__dataclass_fields__)
    )


def _fly(rng: np.random.Generator, size_m: float, density: float) -> Pulses:
    """Zigzag lines across two strips flown along y."""
    strips = []
    spacing_m = np.sqrt(2 * STRIP_SHARE / density)
    num_lines, num_across = int(size_m / spacing_m), int(STRIP_SHARE * size_m / spacing_m)
    for strip, left_m in enumerate((0.0, (1 - STRIP_SHARE) * size_m)):
        line, step = (grid.ravel() for grid in np.mgrid[:num_lines, :num_across])
        swing = (step + 0.5) / num_across
        sideways = np.where(line % 2 == 0, swing, 1 - swing)  # the mirror swings back and forth
        xy = np.stack([left_m + sideways * STRIP_SHARE * size_m, (line + swing) * spacing_m], 1)
        xy = np.clip(xy + rng.normal(0, 0.12 * spacing_m, xy.shape), 0, size_m)
        flight_m = left_m + STRIP_SHARE * size_m / 2 + (strip - 0.5) * 160  # on either side of the tile
        angle_deg = np.degrees(np.arctan2(xy[:, 0] - flight_m, FLYING_HEIGHT_M))
        time_s = GPS_START_S + 600 * strip + (line + swing) / LINES_PER_S
        strips.append((xy, time_s, angle_deg, np.full(len(xy), strip + 1)))
    return Pulses(*(np.concatenate(parts) for parts in zip(*strips, strict=True)))


def _meet_ground(rng: np.random.Generator, pulses: Pulses, land: Land) -> None:
    pulses.surface_m = land.height_m(pulses.xy)
    pulses.reflectance[land.is_road(pulses.xy)] = 0.12
    grass = land.is_meadow(pulses.xy) & (rng.random(len(pulses.xy)) < 0.35)
    pulses.surface_m[grass] += rng.uniform(0.08, 0.48, grass.sum())
    pulses.code[grass] = LOW
    water = land.is_water(pulses.xy)
    pulses.code[water] = WATER
    pulses.reflectance[water] = 0.03


def _meet_box(pulses: Pulses, box: Box, code: int) -> None:
    rows = pulses.near(box.centre, float(np.linalg.norm(box.half)))
    roof_m = box.roof_m(pulses.xy[rows])
    rows, roof_m = rows[roof_m > -np.inf], roof_m[roof_m > -np.inf]
    pulses.surface_m[rows] = roof_m
    pulses.code[rows] = code
    pulses.reflectance[rows] = box.reflectance


def _meet_plants(pulses: Pulses, land: Land) -> None:
    for plant in land.plants:
        rows = pulses.near(plant.centre, 1.2 * plant.radius_m)
        offset_m = pulses.xy[rows] - plant.centre
        lobes = 1 + 0.18 * np.sin(3 * np.arctan2(offset_m[:, 1], offset_m[:, 0]) + plant.centre.sum())
        distance = np.linalg.norm(offset_m, axis=1) / (plant.radius_m * lobes)
        rows, distance = rows[distance < 1], distance[distance < 1]
        middle_m, half_m = (plant.top_m + plant.bottom_m) / 2, (plant.top_m - plant.bottom_m) / 2
        reach_m = half_m * np.sqrt(1 - distance**2)
        higher = middle_m + reach_m > np.maximum(pulses.top_m[rows], pulses.surface_m[rows])
        pulses.top_m[rows[higher]] = (middle_m + reach_m)[higher]
        pulses.bottom_m[rows[higher]] = (middle_m - reach_m)[higher]


def _canopy_and_surface(rng: np.random.Generator, pulses: Pulses) -> list[Returns]:
    """Returns of the first leaves, of leaves within, of undergrowth, and of the solid surface."""
    surface_m = pulses.surface_m
    bottom_m = np.maximum(pulses.bottom_m, surface_m)
    depth_m = pulses.top_m - bottom_m
    leaves = np.flatnonzero((depth_m > 0.15) & (rng.random(len(depth_m)) < 0.93))
    first_m = np.maximum(pulses.top_m[leaves] - rng.exponential(0.35, len(leaves)), bottom_m[leaves])
    deeper = (first_m - bottom_m[leaves] > 1.5) & (rng.random(len(leaves)) < 0.5)
    within = leaves[deeper]
    within_m = rng.uniform(bottom_m[within], first_m[deeper] - 1.0)
    on_ground = leaves[(pulses.code[leaves] == GROUND) & (depth_m[leaves] > 3)]
    under = on_ground[rng.random(len(on_ground)) < 0.08]
    under_m = surface_m[under] + rng.uniform(0.15, 1.9, len(under))
    chance = np.ones(len(surface_m))
    chance[leaves] = 0.45 * np.exp(-0.02 * depth_m[leaves])
    chance[pulses.code == WATER] = 0.3  # most pulses are mirrored away
    solid = np.flatnonzero(rng.random(len(chance)) < chance)
    solid_m = surface_m[solid] + rng.normal(0, 0.02, len(solid))
    plants = [
        Returns(rows, pulses.xy[rows], z, _vegetation_code(z - surface_m[rows]), np.full(len(rows), 0.4))
        for rows, z in ((leaves, first_m), (within, within_m), (under, under_m))
    ]
    return [*plants, Returns(solid, pulses.xy[solid], solid_m, pulses.code[solid], pulses.reflectance[solid])]


def _vegetation_code(height_m: np.ndarray) -> np.ndarray:
    return np.select([height_m < 0.5, height_m < 2], [LOW, MEDIUM], HIGH).astype(np.uint8)


def _walls(rng: np.random.Generator, pulses: Pulses, land: Land, density: float) -> Returns:
    """Returns from the walls that face a flight line, by pulses that pass the roof."""
    rows, places, heights, reflectances = [], [], [], []
    for house in land.houses:
        for axis, side in ((0, 1), (0, -1), (1, 1), (1, -1)):
            facing = 0.03 + 0.2 * abs(house.axes[axis, 0])
            gable_m = house.slope * house.half[1] if axis == 0 and not house.hipped else 0.0
            area_m2 = 2 * house.half[1 - axis] * house.eaves_m
            count = rng.poisson(density * facing * area_m2)
            local = np.empty((count, 2))
            local[:, axis] = side * (house.half[axis] + rng.normal(0.03, 0.03, count))
            local[:, 1 - axis] = rng.uniform(-1, 1, count) * house.half[1 - axis]
            under_roof_m = house.eaves_m + gable_m * (1 - np.abs(local[:, 1 - axis]) / house.half[1 - axis])
            xy = house.centre + local @ house.axes
            near = pulses.near(house.centre, float(house.half.max()) + 1)
            keep = ((xy >= 0) & (xy <= land.size_m)).all(1) & (len(near) > 0)
            height_m = house.base_m + rng.uniform(0, 1, count) * under_roof_m
            rows.append(rng.choice(near, keep.sum()) if keep.any() else np.empty(0, np.int64))
            places.append(xy[keep])
            heights.append(np.maximum(height_m, land.height_m(xy) + 0.05)[keep])
            reflectances.append(np.full(keep.sum(), 0.25))
    if not rows:
        return _noise(rng, pulses, land, share=0)
    z = np.concatenate(heights)
    code = np.full(len(z), BUILDING, np.uint8)
    return Returns(np.concatenate(rows), np.concatenate(places), z, code, np.concatenate(reflectances))


def _noise(rng: np.random.Generator, pulses: Pulses, land: Land, share: float = 0.0003) -> Returns:
    """Returns of noise: birds above, multipath below."""
    rows = rng.choice(len(pulses.xy), round(share * len(pulses.xy)), replace=False)
    high = rng.random(len(rows)) < 0.6
    offset_m = np.where(high, rng.uniform(25, 90, len(rows)), rng.uniform(-9, -1.5, len(rows)))
    code = np.where(high, HIGH_NOISE, LOW_NOISE).astype(np.uint8)
    return Returns(rows, pulses.xy[rows], pulses.surface_m[rows] + offset_m, code, np.full(len(rows), 0.05))
